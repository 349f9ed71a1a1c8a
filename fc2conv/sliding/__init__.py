"""Fully convolutional mode: a converted network freed from the size of its image, so that it yields a map of scores."""

from fc2conv.sliding.model import Slid, slide
from fc2conv.sliding.recipe import Recipe, recipe_of
from fc2conv.sliding.scores import with_scores

__all__ = ["Recipe", "Slid", "recipe_of", "slide", "with_scores"]
