"""Exact arithmetic: two models as programs over a random prime field, so that equal residues prove equal functions."""
