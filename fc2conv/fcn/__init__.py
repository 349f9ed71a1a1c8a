"""Fully convolutional mode: a converted network freed from the size of its image, so that it yields a map of scores."""

from fc2conv.fcn.model import Slid, slide
from fc2conv.fcn.recipe import Recipe, recipe_of
from fc2conv.fcn.scores import with_scores

__all__ = ["Recipe", "Slid", "recipe_of", "slide", "with_scores"]
