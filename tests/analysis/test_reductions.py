"""Reductions over channels, space and batch."""

from __future__ import annotations

import pytest
from inferring import Seen, look

from fc2conv.analysis.facts import FormOf, NewInts, Remap
from fc2conv.layout.view import Provenance


def reduced(axes: list[int] | None, keep: int, before: str = "a = Identity (x)", op: str = "ReduceMean") -> Seen:
    attributes = f"keepdims = {keep}" + (f", axes = {axes}" if axes is not None else "")
    gone = 0 if keep else (4 if axes is None else len(axes))
    out = f"float[{','.join('?' * (4 - gone))}]" if gone < 4 else "float"
    return look(f"graph (float[N,4,3,2] x) => ({out} y) {{ {before} y = {op} <{attributes}> (a) }}")


@pytest.mark.parametrize(
    ("axes", "kept", "removed", "spatial_form", "places"),
    [
        ([2, 3], "x.0 | x.1 | 1 | 1", "x.0 | x.1", "x.0 | x.1 | 1 | 1", [2, 3]),
        ([-1], "x.0 | x.1 | x.2 | 1", "x.0 | x.1 | x.2", "x.0 | x.1 | x.2 | 1", [3]),
        ([1], "x.0 | 1 | x.2 | x.3", "x.0 | x.2 | x.3", "x.0 | 1 | x.2 | x.3", [1]),
        ([0], "1 | x.1 | x.2 | x.3", "x.1 | x.2 | x.3", "1 | x.1 | x.2 | x.3", [0]),
        ([1, 2, 3], "x.0 | 1 | 1 | 1", "x.0", "x.0 | 1 | 1 | 1", [1, 2, 3]),
        (None, "1 | 1 | 1 | 1", "", "1 | 1 | 1 | 1", [0, 1, 2, 3]),
    ],
)
def test_what_is_summed_over_is_one(
    axes: list[int] | None, kept: str, removed: str, spatial_form: str, places: list[int]
) -> None:
    for keep, dims in ((1, kept), (0, removed)):
        seen = reduced(axes, keep)
        assert (seen.dims("y"), seen.spatial_form("y")) == (dims, spatial_form)
        # The spatial form keeps its rank, whatever the original does.
        assert seen.recipe("y") == Remap((FormOf("a"),), {"keepdims": 1, "axes": places})


@pytest.mark.parametrize("keep", [0, 1])
def test_reduction_of_channels_last(keep: int) -> None:
    seen = reduced([1, 2], keep, "a = Transpose <perm = [0, 2, 3, 1]> (x)")
    assert seen.dims("y") == ("x.0 | 1 | 1 | x.1" if keep else "x.0 | x.1")
    assert (seen.spatial_form("y"), seen.runs_with("y")["axes"]) == ("x.0 | x.1 | 1 | 1", [2, 3])


def test_a_sum_over_the_channels_is_a_norm_and_hides_the_map() -> None:
    assert reduced([1], 1).provenance("y") == (Provenance.OPAQUE, "y")
    assert reduced([2], 1).provenance("y") == (Provenance.MAP, "")


def test_reduction_of_a_flattened_map_is_one_of_three_dimensions() -> None:
    seen = look(
        """graph (float[N,4,3,2] x) => (float[?,?] y)
        { a = Flatten (x)
          y = ReduceMean <axes = [1]> (a) }"""
    )
    assert (seen.dims("y"), seen.spatial_form("y")) == ("x.0 | 1", "x.0 | 1 | 1 | 1")
    assert seen.runs_with("y")["axes"] == [1, 2, 3]


def test_reduction_of_a_part_of_the_channels_needs_the_original() -> None:
    seen = look(
        """graph (float[N,4,3,2] x) => (float[?,?,?] y) <int64[4] s = {0, 2, 2, 6}>
        { a = Reshape (x, s)
          [half] y = ReduceMean <axes = [2], keepdims = 0> (a) }"""
    )
    assert (seen.recipe("half"), seen.spatial_form("y")) == (None, None)
    assert seen.provenance("y") == (Provenance.OPAQUE, "half")


@pytest.mark.parametrize(("op", "opset"), [("ReduceSum", 13), ("ReduceMean", 18)])
def test_axes_as_an_operand(op: str, opset: int) -> None:
    seen = look(
        f"""graph (float[N,4,3,2] x) => (float[?,?] y) <int64[2] axes = {{2, 3}}>
        {{ y = {op} <keepdims = 0> (x, axes) }}""",
        opset=opset,
    )
    assert seen.dims("y") == "x.0 | x.1"
    assert seen.recipe("y") == Remap((FormOf("x"), NewInts((2, 3))), {"keepdims": 1})


def test_axes_that_nobody_knows_lose_the_layout() -> None:
    seen = look(
        """graph (float[N,4,3,2] x, int64[2] axes) => (float[?,?] y)
        { [sum] y = ReduceSum <keepdims = 0> (x, axes) }"""
    )
    assert seen.dims("y") is None or seen.provenance("y") == (Provenance.LOST, "sum")


def test_a_norm_over_a_dimension_of_size_one_still_applies_its_function() -> None:
    seen = look("graph (float[N,4,1,1] x) => (float[?,?,?] y) { y = ReduceL1 <axes = [2], keepdims = 0> (x) }")
    assert (seen.dims("y"), seen.spatial_form("y")) == ("x.0 | x.1 | 1", "x.0 | x.1 | 1 | 1")
    (place,) = seen.runs_with("y")["axes"]  # type: ignore[misc]
    assert place in (2, 3)


def test_no_axes_at_all_may_mean_nothing() -> None:
    seen = look("graph (float[N,4,3,2] x) => (float[?,?,?,?] y) { y = ReduceSum <noop_with_empty_axes = 1> (x) }")
    assert seen.dims("y") == "x.0 | x.1 | x.2 | x.3"


def test_a_global_pool_of_tokens_is_a_reduction_of_the_channels() -> None:
    seen = look(
        """graph (float[N,4,3,2] x) => (float[?,?,?] y) <int64[3] s = {0, 4, 6}>
        { a = Reshape (x, s)  b = Transpose <perm = [0, 2, 1]> (a)  [pool] y = GlobalMaxPool (b) }"""
    )
    assert (seen.dims("y"), seen.spatial_form("y")) == ("x.0 | x.2 x.3 | 1", "x.0 | 1 | x.2 | x.3")
    assert seen.provenance("y") == (Provenance.OPAQUE, "pool")


def test_a_global_pool_of_a_map_makes_a_map() -> None:
    seen = look("graph (float[N,4,3,2] x) => (float[?,?,?,?] y) { y = GlobalMaxPool (x) }")
    assert (seen.dims("y"), seen.provenance("y")) == ("x.0 | y.1 | 1 | 1", (Provenance.MAP, ""))
