"""Cells against the original on their windows, in exact arithmetic: what no comparison of numbers sees is refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import onnx
import pytest
from onnx import ModelProto, NodeProto, helper, numpy_helper
from proving import Load, made, node, nothing, shown, with_attribute
from textmodel import parse

import fc2conv
from fc2conv import Options, SlidingOptions
from fc2conv.verification.spec import MapClaim

Fault = Callable[[ModelProto], None]
IMAGE = 18
"""The training size of the fixture without padding."""


def constant(model: ModelProto, name: str, values: object) -> str:
    model.graph.initializer.append(numpy_helper.from_array(np.asarray(values), name))
    return name


def put(model: ModelProto, place: int, *nodes: NodeProto) -> None:
    every = list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend([*every[:place], *nodes, *every[place:]])


def cut(model: ModelProto, name: str, start: int, end: int, result: str) -> NodeProto:
    """Rows from one to another."""
    bounds = [constant(model, f"{result}_{what}", np.array([n])) for what, n in (("from", start), ("to", end))]
    return helper.make_node("Slice", [name, *bounds, constant(model, f"{result}_axes", np.array([2]))], [result])


def head(model: ModelProto) -> NodeProto:
    """The convolution that was a layer over several cells."""
    sizes = {tensor.name: tensor.dims for tensor in model.graph.initializer}
    return [each for each in model.graph.node if each.op_type == "Conv" and sizes[each.input[1]][2] > 1][-1]


def behind(model: ModelProto, found: NodeProto, make: Callable[[str, str], NodeProto]) -> None:
    name, found.output[0] = found.output[0], "before"
    place = next(i for i, each in enumerate(model.graph.node) if "before" in each.output)
    put(model, place + 1, make("before", name))


def nudged(operand: int, index: int = -1) -> Fault:
    """One ulp of one number of a convolution's kernel (1) or bias (2)."""

    def fault(model: ModelProto) -> None:
        tensor = next(t for t in model.graph.initializer if t.name == node(model, "Conv", index).input[operand])
        values = numpy_helper.to_array(tensor).copy()
        values.flat[1] = np.nextafter(values.flat[1], np.float32(9))
        tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))

    return fault


def padded_and_cropped(model: ModelProto) -> None:
    """A row of zeros in front of the head's map, and the last row of its result away."""
    found = head(model)
    with_attribute(found, "pads", [1, 0, 0, 0])
    behind(model, found, lambda name, made: cut(model, name, 0, -1, made))


def dilated(model: ModelProto) -> None:
    """A dilated kernel, with pads that keep the sizes."""
    first = node(model, "Conv", 0)
    size = next(t.dims for t in model.graph.initializer if t.name == first.input[1])[2]
    pads = next((list(a.ints) for a in first.attribute if a.name == "pads"), [0] * 4)
    with_attribute(first, "dilations", [2, 1])
    with_attribute(first, "pads", [pads[0] + size // 2, pads[1], pads[2] + size - 1 - size // 2, pads[3]])


def swapped(model: ModelProto) -> None:
    """Two channels of a layer's map change places."""
    found = head(model)
    count = next(t.dims[0] for t in model.graph.initializer if t.name == found.input[1])
    order = constant(model, "order", np.array([1, 0, *range(2, count)]))
    behind(model, found, lambda name, made: helper.make_node("Gather", [name, order], [made], axis=1))


def flipped(model: ModelProto) -> None:
    tensor = next(t for t in model.graph.initializer if t.name == head(model).input[1])
    values = np.ascontiguousarray(numpy_helper.to_array(tensor)[:, :, ::-1])
    tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))


FAULTS = {
    "one ulp of a kernel": nudged(1),
    "one ulp of a bias": nudged(2),
    "one ulp of a kernel of the backbone": nudged(1, 0),
    "pads with a crop": padded_and_cropped,
    "a dilation with pads": dilated,
    "two channels": swapped,
    "a kernel from below": flipped,
}


@pytest.mark.parametrize("name", ["lenet", "unpadded"])
@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS.keys())
def test_a_fault_is_refused(fault: Fault, name: str, fixture: Load) -> None:
    original = fixture(name)
    found = {check.name: check.verdict for check in shown(original, made(original), fault).checks}
    assert found["training size"] in ("differs", "inconclusive")
    assert not found["windows"].accepted


def strided(model: ModelProto) -> None:
    with_attribute(head(model), "strides", [2, 1])


def moved_beyond(model: ModelProto) -> None:
    """Rows of the image beyond the training size are moved by one pixel."""
    for each in model.graph.node:
        each.input[:] = ["moved" if name == "image" else name for name in each.input]
    parts = [cut(model, "image", 0, IMAGE, "first"), cut(model, "image", IMAGE - 1, -1, "rest")]
    put(model, 0, *parts, helper.make_node("Concat", ["first", "rest"], ["moved"], axis=2))


def cut_beyond(model: ModelProto) -> None:
    """Rows beyond what is run are away: nothing that is computed says anything of it."""
    for each in model.graph.node:
        each.input[:] = ["cut" if name == "image" else name for name in each.input]
    put(model, 0, cut(model, "image", 0, 1000, "cut"))


LARGER = {
    "a stride": (strided, "differs"),
    "rows beyond": (moved_beyond, "differs"),
    "a crop": (cut_beyond, "inconclusive"),
}


@pytest.mark.parametrize(("fault", "verdict"), LARGER.values(), ids=LARGER.keys())
def test_a_fault_that_larger_images_alone_show_is_refused(fault: Fault, verdict: str, fixture: Load) -> None:
    original = fixture("unpadded")
    found = {check.name: check.verdict for check in shown(original, made(original), fault).checks}
    assert found == {"training size": "proved", "windows": verdict}


@pytest.mark.parametrize("name", ["unpadded", "gap"])
def test_a_window_that_is_moved_by_one_pixel_is_refused(name: str, fixture: Load) -> None:
    """The claim says that neighbours are one cell further apart than they are."""
    original = fixture(name)
    slid = made(original)

    def moved(claim: MapClaim) -> MapClaim:
        features = tuple(replace(f, steps={**f.steps, 2: f.steps[2] + 1}) for f in claim.features)
        return replace(claim, features=features, periods={**claim.periods, 2: claim.periods[2] + 1})

    assert {check.verdict for check in shown(original, slid, nothing).checks} == {"proved"}
    slid = replace(slid, claims=replace(slid.claims, maps=tuple(map(moved, slid.claims.maps))))
    assert shown(original, slid, nothing).checks[1].verdict == "differs"


@pytest.mark.parametrize("name", ["lenet", "unpadded", "mini_vgg", "gap", "audio"])
def test_windows_are_proved(name: str, fixture: Load) -> None:
    original = fixture(name)
    slid = made(original)
    checks = shown(original, slid, nothing).checks
    assert all(check.detail.startswith("proved") for check in checks)
    images = {feature.name for claim in slid.claims.maps for feature in claim.features} & set(slid.claims.inputs)
    assert bool(images) == (not any(claim.padded for claim in slid.claims.maps))


SEGMENTATIONS = {
    "a padded end": ("y = Conv <pads = [1, 1, 1, 1]> (c, q)", "float[1,5,16,16]", "y"),
    "scores for each pixel": ("m = Conv <pads = [1, 1, 1, 1]> (c, q)  y = Reshape (m, to)", "float[1,5,256]", "c"),
}


@pytest.mark.parametrize("kind", SEGMENTATIONS)
def test_without_windows_larger_images_are_compared(kind: str) -> None:
    """The maps have several cells at the training size, and their last node pads."""
    body, shape, compared = SEGMENTATIONS[kind]
    model = parse(
        f"""g (float[1,2,32,32] x) => ({shape} y) <float[5,4,3,3] q, float[4,2,3,3] k, int64[3] to = {{1, 5, 256}}>
        {{ c = Conv <pads = [1, 1, 1, 1], strides = [2, 2]> (x, k)  {body} }}"""
    )
    report = fc2conv.convert(model, options=Options(sliding=SlidingOptions())).report
    assert report.verification is not None
    last = report.verification.checks[-1]
    assert (last.name, last.verdict) == ("windows", "proved")
    assert f"576 cells of {compared} on 48x48; 625 cells of {compared} on 49x49" in last.detail


@pytest.mark.parametrize("joined", ["d = Relu (c)", "e = Conv <pads = [1, 1]> (c, l)  d = Add (c, e)"])
def test_a_padded_signal_that_is_lifted_is_compared_with_what_it_was(joined: str) -> None:
    model = parse(
        f"""g (float[N,2,24] x) => (float[N,5] y) <float[4,2,3] k, float[4,4,3] l, float[48,5] w>
        {{ c = Conv <pads = [1, 1], strides = [2]> (x, k)  {joined}  f = Flatten (d)  [fc] y = MatMul (f, w) }}"""
    )
    report = fc2conv.convert(model, options=Options(sliding=SlidingOptions(), conv_rank="2d")).report
    assert report.verification is not None
    assert report.verification.verdict == "proved"
    assert report.sites[0].kernel_shape == [1, 12]


def test_a_quantized_kernel_is_laid_out_for_a_signal_that_is_lifted() -> None:
    model = parse(
        """g (float[N,2,24] x) => (float[N,5] y)
        <int8[4,2,3] k, int8[96,5] w, float s = {0.05}, int8 z = {0}, int64[1] two = {2}>
        { q = QuantizeLinear (x, s, z)  d = DequantizeLinear (q, s, z)  u = Unsqueeze (d, two)
          e = DequantizeLinear (k, s, z)  l = Unsqueeze (e, two)  c = Conv <pads = [0, 1, 0, 1]> (u, l)
          v = DequantizeLinear (w, s, z)  f = Flatten (c)  [fc] y = MatMul (f, v) }""",
        scale=30,
    )
    report = fc2conv.convert(model, options=Options(sliding=SlidingOptions())).report
    assert report.verification is not None
    assert report.verification.verdict == "proved"


@pytest.mark.parametrize(
    "front",
    [
        "d = Identity (x)  s = Shape (d)",
        "q = QuantizeLinear (x, t, z)  d = DequantizeLinear (q, t, z)  s = Shape (d)",
        "d = Conv <kernel_shape = [1, 1]> (x, m)  s = Shape (d)",
    ],
)
def test_a_head_may_ask_for_the_sizes_of_the_image(front: str) -> None:
    """The batch of a Reshape is often that of the image, or of what is made of it far in front of the padding."""
    original = parse(
        f"""g (float[N,2,8,8] x) => (float[N,5] y) <float[4,2,3,3] k, float[5,4] w, int64[1] first = {{0}},
           int64[1] rest = {{-1}}, float t = {{0.02}}, int8 z = {{0}}, float[2,2,1,1] m>
        {{ {front}  n = Gather (s, first)  l = Concat <axis = 0> (n, rest)
          c = Conv <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (d, k)  r = Relu (c)  p = GlobalAveragePool (r)
          f = Reshape (p, l)  [fc] y = Gemm <transB = 1> (f, w) }}"""
    )
    checks = shown(original, made(original), nothing).checks
    assert [check.verdict for check in checks] == ["proved", "proved"]


def test_a_norm_of_groups_may_ask_for_the_sizes_of_its_map() -> None:
    """The head begins behind the Reshape whose target is computed of a map in front of the norm."""
    original = parse(
        """g (float[N,2,8,8] x) => (float[N,5] y) <float[4,2,3,3] k, float[5,4] w, int64[3] groups = {0, 2, -1},
           float[2] one, float[2] two, float[4,1,1] scale>
        { c = Conv <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (x, k)  r = Relu (c)  q = Reshape (r, groups)
          i = InstanceNormalization (q, one, two)  s = Shape (r)  b = Reshape (i, s)  m = Mul (b, scale)
          p = GlobalAveragePool (m)  f = Flatten (p)  [fc] y = Gemm <transB = 1> (f, w) }"""
    )
    checks = shown(original, made(original), nothing).checks
    assert [check.verdict for check in checks] == ["proved", "proved"]


def test_where_nothing_is_compared_nothing_is_proved(fixture: Load) -> None:
    """The last node pads, so that no head could be compared."""
    original = fixture("gap")
    slid = made(original)
    claims = replace(slid.claims, maps=tuple(replace(claim, features=()) for claim in slid.claims.maps))
    found = shown(original, replace(slid, claims=claims), nothing).checks[1]
    assert (found.verdict, found.detail.partition(":")[0]) == ("inconclusive", "nothing compared")


def test_a_weight_may_serve_head_and_backbone(fixture: Load) -> None:
    original = fixture("mini_vgg")
    original.graph.initializer.append(numpy_helper.from_array(np.float32(1.5).reshape(1), "scale"))
    for index in (0, 3):
        relu = node(original, "Relu", index)
        name, relu.output[0] = relu.output[0], f"{relu.output[0]}_plain"
        place = list(original.graph.node).index(relu)
        put(original, place + 1, helper.make_node("Mul", [f"{name}_plain", "scale"], [name]))
    onnx.checker.check_model(original)
    slid = made(original)
    assert {check.verdict for check in shown(original, slid, nothing).checks} == {"proved"}


def test_an_axis_that_is_padded_grows_beside_one_along_which_windows_move() -> None:
    """The last cells of the training size read the padding, and are others on a larger image."""
    model = parse(
        """graph (float[N,4,2,4] x) => (float[N,1,1,3] y) <float[1,4,2,3] k, float[1] b>
        { y = Conv <pads = [0, 2, 0, 2], strides = [1, 2]> (x, k, b) }"""
    )
    found = fc2conv.convert(model, options=fc2conv.Options(sliding=fc2conv.SlidingOptions())).report.verification
    assert found is not None
    assert {check.name: check.verdict for check in found.checks}["windows"] == "proved"
