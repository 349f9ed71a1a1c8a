"""Proof and comparison of two models, with no code in common with what converted them."""

from fc2conv.proof.pair import verify_pair
from fc2conv.proof.sites import SitePair

__all__ = ["SitePair", "verify_pair"]
