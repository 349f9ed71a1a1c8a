"""The rewriter: carries out a plan on a copy of the model."""
