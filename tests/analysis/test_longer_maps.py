"""Resize and Tile run on a spatial form that is not the value itself: channels last, or a network that is lifted."""

from __future__ import annotations

import numpy as np
import pytest
from execute import difference, feeds, run
from onnx import ModelProto
from textmodel import parse

import fc2conv
from fc2conv import Options

LINE = "graph (float[N,4,16] x) => (float[N,5] y) <float[6,4,3] k, float[{}] w, float[3] scales = {{1, 1, 2}}, {}>"
LASTS = "graph (float[N,3,8,8] x) => (float[N,5] y) <float[4,3,3,3] k, float[{}] w, {}>"
MODELS = {
    "nearest, lifted": (LINE.format("192,5", "int64 z"), 'r = Resize <mode = "nearest"> (c, , scales)', [1, 32]),
    "linear, lifted": (LINE.format("192,5", "int64 z"), 'r = Resize <mode = "linear"> (c, , scales)', [1, 32]),
    "repeated, lifted": (LINE.format("192,5", "int64[3] t = {1, 1, 2}"), "r = Tile (c, t)", [1, 32]),
    "channels repeated, lifted": (LINE.format("192,5", "int64[3] t = {1, 2, 1}"), "r = Tile (c, t)", [1, 16]),
    "nearest, channels last": (
        LASTS.format("1024,5", "float[4] s = {1, 2, 2, 1}"),
        't = Transpose <perm = [0, 2, 3, 1]> (c)  r = Resize <mode = "nearest"> (t, , s)',
        [16, 16],
    ),
    "repeated, channels last": (
        LASTS.format("512,5", "int64[4] s = {1, 2, 1, 1}"),
        "t = Transpose <perm = [0, 2, 3, 1]> (c)  r = Tile (t, s)",
        [16, 8],
    ),
}


def model_of(name: str) -> ModelProto:
    head, node, _ = MODELS[name]
    pads = "[1, 1]" if "lifted" in name else "[1, 1, 1, 1]"
    text = f"{{ c = Conv <pads = {pads}> (x, k)  {node}  f = Flatten (r)  [fc] y = MatMul (f, w) }}"
    return parse(head.replace(", int64 z>", ">") + text)


@pytest.mark.parametrize("name", MODELS)
def test_the_spatial_form_is_longer_as_the_value_is(name: str) -> None:
    model, lifts = model_of(name), "lifted" in name
    done = fc2conv.convert(model, None, Options(conv_rank="2d" if lifts else "auto"))
    inputs = feeds(model, {"N": 2})
    assert difference(run(model, inputs), run(done.model, inputs)) < 1e-4
    assert done.report.verification is not None
    assert done.report.verification.verdict == "proved"
    assert done.report.sites[0].kernel_shape == MODELS[name][2]
    assert done.report.layout_nodes.after == (2 if lifts else 1)


def test_sizes_that_are_numbers() -> None:
    head = LINE.format("144,5", "int64[3] to = {1, 6, 24}").replace("float[N,", "float[1,")
    text = "{ c = Conv <pads = [1, 1]> (x, k)  r = Resize (c, , , to)  f = Flatten (r)  [fc] y = MatMul (f, w) }"
    model = parse(head + text)
    done = fc2conv.convert(model, None, Options(conv_rank="2d"))
    inputs = feeds(model, {})
    assert difference(run(model, inputs), run(done.model, inputs)) < 1e-4
    assert done.report.sites[0].kernel_shape == [1, 24]


def test_numbers_that_are_no_row_of_scales() -> None:
    """An operand of another rank behind tokens, of which onnxruntime makes nothing: the node stays as it is."""
    model = parse(
        "graph (float[N,5,6] x) => (float[N,5,3] y) <float[6,8] v, float[8,3] w>"
        '{ [fc] a = MatMul (x, v)  y = Resize <mode = "nearest"> (a, w) }'
    )
    report = fc2conv.convert(model, None, Options(scope="all")).report
    assert [site.decision for site in report.sites] == ["convert"]


CHANGES = {
    "mode": ('mode = "nearest"', 'mode = "linear"'),
    "rounding": ('mode = "nearest"', 'mode = "nearest", nearest_mode = "floor"'),
}


@pytest.mark.parametrize("change", CHANGES)
def test_other_ways_to_resize_are_not_proved_equal(change: str) -> None:
    model = model_of("nearest, channels last")
    other = ModelProto.FromString(model.SerializeToString())
    (node,) = (each for each in other.graph.node if each.op_type == "Resize")
    old, new = (parse(f"graph (float[1] x) => (float[1] y) {{ y = Resize <{each}> (x) }}") for each in CHANGES[change])
    assert list(node.attribute) == list(old.graph.node[0].attribute)
    del node.attribute[:]
    node.attribute.extend(new.graph.node[0].attribute)
    assert fc2conv.verify(model, other).verdict != "proved"


def test_an_order_of_axes_does_not_matter() -> None:
    head = "graph (float[N,3,4,6] x) => (float[N,3,8,18] y) <float[4] s = {1, 1, 2, 3}, float[4] o = {1, 1, 3, 2}>"
    one = parse(f"{head} {{ y = Resize (x, , s) }}")
    other = parse(
        f"""{head} {{ t = Transpose <perm = [0, 1, 3, 2]> (x)  r = Resize (t, , o)
        y = Transpose <perm = [0, 1, 3, 2]> (r) }}"""
    )
    assert fc2conv.verify(one, other).verdict == "proved"


@pytest.mark.parametrize("rounding", ["round_prefer_floor", "round_prefer_ceil", "floor", "ceil"])
@pytest.mark.parametrize("coordinates", ["half_pixel", "asymmetric"])
def test_the_nearest_element_is_the_one_that_onnxruntime_takes(coordinates: str, rounding: str) -> None:
    head = "graph (float[1,1,4] x) => (float[1,1,12] y)"
    how = f'mode = "nearest", coordinate_transformation_mode = "{coordinates}", nearest_mode = "{rounding}"'
    model = parse(f"{head} <float[3] s = {{1, 1, 3}}> {{ y = Resize <{how}> (x, , s) }}")
    (taken,) = run(model, {"x": np.arange(4, dtype=np.float32).reshape(1, 1, 4)})
    places = ", ".join(str(int(each)) for each in taken.ravel())
    gathered = parse(f"{head} <int64[12] i = {{{places}}}> {{ y = Gather <axis = 2> (x, i) }}")
    assert fc2conv.verify(model, gathered).verdict == "proved"
