"""Proof and comparison of two models, with no code in common with what converted them."""
