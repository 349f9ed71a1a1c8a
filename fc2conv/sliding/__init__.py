"""Fully convolutional mode: a converted network freed from the size of its image, so that it yields a map of scores."""

from fc2conv.sliding.model import Slid, slide
from fc2conv.sliding.scores import with_scores

__all__ = ["Slid", "slide", "with_scores"]
