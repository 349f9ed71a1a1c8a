"""Cuts along an open axis: at the size of another axis, and where the model takes few sizes."""

from __future__ import annotations

import pytest
from textmodel import parse

from fc2conv.io.reader import model_file_from_proto
from fc2conv.options import VerifyOptions
from fc2conv.report.verification import Verdict
from fc2conv.verification.pair import verify_pair

TWO = "graph (float[1,S,4] x, float[1,T,4] m, float[1,U,4] u) => (float[1,A,4] y, float[1,T,4] z, float[1,U,4] v)"
COUNTED = "s = Shape(m) t = Slice(s, one, two) r = Shape(u) n = Slice(r, one, two)"


@pytest.mark.parametrize(
    ("cut", "other"),
    [
        ("k = Identity(t)", "y = Identity(x)"),
        ("k = Add(t, n)", "y = Identity(x)"),
        ("k = Add(t, two)", "y = Identity(x)"),
        ("k = Mul(t, two)", "y = Identity(x)"),
        ("k = Min(t, n)", "y = Slice(x, zero, n, one)"),
        ("k = Min(t, n)", "y = Slice(x, zero, t, one)"),
    ],
)
def test_a_cut_at_the_size_of_another_axis_is_seen_where_that_is_the_smaller(cut: str, other: str) -> None:
    head = f"{TWO} <int64[1] zero = {{0}}, int64[1] one = {{1}}, int64[1] two = {{2}}> {{ {COUNTED} "
    both = (f"{cut} y = Slice(x, zero, k, one)", other)
    files = (model_file_from_proto(parse(f"{head} {each} z = Relu(m) v = Relu(u) }}", opset=17)) for each in both)
    assert verify_pair(*files, False, VerifyOptions(only="exact")).verdict is Verdict.DIFFERS


@pytest.mark.parametrize("cut", [8, 9, 10, 20, 40, None])
def test_an_axis_with_few_positions_grows_as_far_as_these(cut: int | None) -> None:
    """A table of 50 positions takes no larger sizes, which was a reason to compare at none but the first."""
    text = f"""graph (float[N,T,4] v) => (float[N,U,4] y)
        <float[50,4] places, int64[1] z = {{0}}, int64[1] i = {{1}}, int64[1] e = {{{cut or 0}}}>
        {{ x = MADE  s = Shape <start = 1, end = 2> (x)  p = Slice (places, z, s, z)  y = Add (x, p) }}"""
    made = ("Identity (v)", "Identity (v)" if cut is None else "Slice (v, z, e, i)")
    files = (model_file_from_proto(parse(text.replace("MADE", each), opset=17)) for each in made)
    found = verify_pair(*files, False, VerifyOptions(only="exact"))
    assert (found.verdict is Verdict.PROVED) == (cut is None), found.checks
