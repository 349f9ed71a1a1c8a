"""Fully convolutional mode: a converted network freed from the size of its image, so that it yields a map of scores.

`stage.py` is its door: it loads the rest where the mode is asked for.
"""
