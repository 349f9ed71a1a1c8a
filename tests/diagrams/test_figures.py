"""Nodes, parameters and multiply-accumulates, against counts by hand."""

from __future__ import annotations

import pytest
from textmodel import parse

import fc2conv
from fc2conv.options import Options
from fc2conv.report.types import Figures, Report

ILLUSTRATED = Options(illustrate=True)

HEAD = """graph (float[2,3,4,4] x) => (float[2,5] y)
<float[6,3,3,3] k, float[6] kb, float[5,24] w, float[5] b>
{
  c = Conv (x, k, kb)
  f = Flatten (c)
  y = Gemm <transB = 1> (f, w, b)
}"""


def planned(text: str, **more: int) -> Report:
    return fc2conv.plan(parse(text, **more), ILLUSTRATED)


def before(text: str, **more: int) -> Figures:
    found = planned(text, **more).before
    assert found is not None
    return found


def test_a_convolution_has_the_macs_of_its_layer() -> None:
    report = planned(HEAD)
    conv, layer = (2 * 6 * 2 * 2) * (3 * 3 * 3), 2 * 5 * 24
    wanted = Figures(nodes=3, parameters=6 * 27 + 6 + 5 * 24 + 5, macs=conv + layer)
    assert report.before == report.after == wanted


def test_an_unknown_size_counts_as_one_and_is_noted() -> None:
    found = before(HEAD.replace("[2,", "[N,"))
    assert found.macs == (6 * 2 * 2) * 27 + 5 * 24
    assert found.macs_assumed


@pytest.mark.parametrize(
    ("text", "macs"),
    [
        ("graph (float[3,7] x) => (float[3,4] y) <float[7,4] w> { y = MatMul (x, w) }", 3 * 4 * 7),
        ("graph (float[7,3] x) => (float[3,4] y) <float[7,4] w> { y = Gemm <transA = 1> (x, w) }", 3 * 4 * 7),
        ("graph (float[7] x) => (float[4] y) <float[7,4] w> { y = MatMul (x, w) }", 4 * 7),
        ("graph (float[2,3,7] x, float[2,7,4] w) => (float[2,3,4] y) { y = MatMul (x, w) }", 2 * 3 * 4 * 7),
        (
            "graph (float[1,4,6,6] x) => (float[1,4,4,4] y) <float[4,2,3,3] k> { y = Conv <group = 2> (x, k) }",
            4 * 4 * 4 * 2 * 9,
        ),
        (
            "graph (float[1,4,3,3] x) => (float[1,2,5,5] y) <float[4,2,3,3] k> { y = ConvTranspose (x, k) }",
            4 * 3 * 3 * 2 * 9,
        ),
    ],
)
def test_what_multiplies_is_counted(text: str, macs: int) -> None:
    found = before(text)
    assert (found.macs, found.macs_assumed, found.macs_uncounted) == (macs, False, 0)


def test_what_cannot_be_counted_is_noted() -> None:
    einsum = 'graph (float[3,7] x) => (float[3,4] y) <float[7,4] w> { y = Einsum <equation = "ij,jk->ik"> (x, w) }'
    assert (before(einsum).macs, before(einsum).macs_uncounted) == (0, 1)


def test_subgraphs_count() -> None:
    text = """graph (float[1,3,4,4] x, bool p) => (float[1,5] y) <float[5,48] w>
    { y = If (p) <
        then_branch = g () => (float[1,5] t) { f = Flatten (x)  t = Gemm <transB = 1> (f, w) },
        else_branch = h () => (float[1,5] e) { g = Flatten (x)  e = Gemm <transB = 1> (g, w) }
      > }"""
    report = planned(text)
    assert report.before == Figures(nodes=5, parameters=240, macs=2 * 240)
    assert [head.scope for head in report.heads if head.drawing] == [head.scope for head in report.heads]
    assert len(report.heads) == 2


def test_nothing_is_counted_unless_asked_for() -> None:
    report = fc2conv.plan(parse(HEAD))
    assert (report.before, report.after, report.heads[0].drawing) == (None, None, None)
