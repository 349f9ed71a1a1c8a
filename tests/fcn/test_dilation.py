"""--output-stride: every cell of an unpadded network is the original on its crop, and the cells of before stay."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from execute import run
from onnx import ModelProto
from proving import made, node, nothing, shown, with_attribute
from sliding_judge import CLOSE, accepted, apart, at_crops, geometry, image, slid
from sliding_networks import Load, pooled
from textmodel import parse

import fc2conv
from fc2conv import Options, SlidingOptions
from fc2conv.errors import UsageError

UNPADDED = {
    "stride and pooling": "c = Conv <strides = [2, 2]> (x, k)  "
    "d = MaxPool <kernel_shape = [2, 2], strides = [2, 2]> (c)",
    "mean": "c = Conv <strides = [2, 2]> (x, k)  d = AveragePool <kernel_shape = [2, 2], strides = [2, 2]> (c)",
    "twice": "c = Conv <strides = [2, 2]> (x, k)  d = Conv <strides = [2, 2]> (c, l)",
    "dilated": "c = Conv <strides = [2, 2]> (x, k)  d = Conv <dilations = [2, 1]> (c, l)",
    "branches": "c = Conv <strides = [2, 2]> (x, k)  a = Conv <strides = [2, 2]> (c, m)  "
    "b = MaxPool <kernel_shape = [1, 1], strides = [2, 2]> (c)  d = Add (a, b)",
    "every second cell": "c = Conv (x, k)  d = Slice (c, one, far, both, two)",
    "rest of a cut": "c = Conv <strides = [2, 2]> (x, k)  d = Slice (c, one, far, both)",
    "one axis": "c = Conv <strides = [2, 1]> (x, k)  d = MaxPool <kernel_shape = [2, 2]> (c)",
}
PADDED = {
    "small pads": "c = Conv <strides = [2, 2], pads = [1, 1, 1, 1]> (x, k)  "
    "d = MaxPool <kernel_shape = [2, 2], strides = [2, 2]> (c)",
    "pads of a mean": "c = Conv <strides = [2, 2]> (x, k)  "
    "d = AveragePool <kernel_shape = [3, 3], strides = [2, 2], pads = [1, 1, 1, 1], count_include_pad = 1> (c)",
    "pads as large as the kernel": "c = Conv <strides = [4, 4]> (x, k)  n = Neg (c)  "
    "d = MaxPool <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (n)",
    "pad": "c = Conv <strides = [2, 2]> (x, k)  p = Pad (c, rim)  d = Conv <strides = [2, 2]> (p, l)",
    "squeeze and excitation": "c = Conv <strides = [2, 2]> (x, k)  "
    "g = GlobalAveragePool (c)  s = Sigmoid (g)  d = Mul (c, s)",
    "mean of the whole": "c = Conv <strides = [4, 4], pads = [1, 1, 1, 1]> (x, k)  q = ReduceMean <axes = [2, 3]> (c)  "
    "d = Sub (c, q)",
}
_WEIGHTS = """float[4,2,3,3] k, float[4,4,2,2] l, float[4,4,1,1] m, int64[2] one = {1, 1},
    int64[2] far = {99999, 99999}, int64[2] both = {2, 3}, int64[2] two = {2, 2},
    int64[8] rim = {0, 0, 1, 0, 0, 0, 0, 1}"""


def network(body: str, size: int = 19) -> ModelProto:
    """A network whose map `d` a layer reads whole."""
    flat = parse(f"g (float[N,2,{size},{size}] x) => (float[A] d) <{_WEIGHTS}> {{ {body} }}", opset=13)
    shape = run(flat, {"x": np.zeros((1, 2, size, size), np.float32)})[0].shape
    count = int(np.prod(shape[1:]))
    text = f"g (float[N,2,{size},{size}] x) => (float[N,5] y) <{_WEIGHTS}, float[5,{count}] w>"
    return parse(f"{text} {{ {body}  f = Flatten (d)  [fc] y = Gemm <transB = 1> (f, w) }}", opset=13)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("kind", UNPADDED)
def test_every_pixel_is_the_original_on_its_crop(kind: str, stride: int) -> None:
    original = network(UNPADDED[kind])
    if kind == "one axis" and stride > 1:
        pytest.skip("its maps have a stride of 1 along one axis")
    sliding = slid(original, output_stride=stride)
    axes = geometry(sliding, "y")["axes"]
    assert [axis["stride"] for axis in axes] == [stride, stride]
    assert at_crops(original, sliding, [24, 22]) < CLOSE
    assert all(given == [1, 1] for given in strides(sliding)) or stride > 1


def strides(model: ModelProto) -> list[list[int]]:
    return [list(a.ints) for node in model.graph.node for a in node.attribute if a.name == "strides"]


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("kind", PADDED)
def test_the_cells_of_before_are_what_they_were(kind: str, stride: int) -> None:
    original = network(PADDED[kind], 20)
    plain, dense = slid(original), slid(original, output_stride=stride)
    every = int(geometry(plain, "y")["axes"][0]["stride"]) // stride
    assert every > 1 or stride == 2
    for size in (28, 29, 31):
        given = image(original, {2: size, 3: size + 2})
        (before,), (now,) = run(plain, given), run(dense, given)
        assert apart(before, now[:, :, ::every, ::every]) < CLOSE
        assert now.shape[2] > before.shape[2] or every == 1


def test_a_window_that_is_not_full_becomes_padding() -> None:
    original = network("c = Conv (x, k)  d = MaxPool <kernel_shape = [2, 2], strides = [2, 2], ceil_mode = 1> (c)")
    plain, dense = slid(original), slid(original, output_stride=1)
    given = image(original, {2: 23, 3: 25})
    (before,), (now,) = run(plain, given), run(dense, given)
    assert apart(before, now[:, :, ::2, ::2]) < CLOSE


NOT_FULL = {
    "maxima": "MaxPool <kernel_shape = [3, 3], strides = [2, 2], ceil_mode = 1>",
    "padded maxima": "MaxPool <kernel_shape = [3, 3], strides = [3, 3], pads = [1, 1, 1, 1], ceil_mode = 1>",
    "means": "AveragePool <kernel_shape = [2, 2], strides = [2, 2], ceil_mode = 1>",
    "means over padding": "AveragePool <kernel_shape = [3, 3], strides = [2, 2], ceil_mode = 1, count_include_pad = 1>",
    "means without padding": "AveragePool <kernel_shape = [3, 3], strides = [2, 2], pads = [1, 1, 1, 1]>",
}


RUNTIME = tuple(int(part) for part in onnxruntime.__version__.split(".")[:2])


@pytest.mark.parametrize("name", NOT_FULL)
def test_the_last_window_of_any_image_is_the_same(name: str) -> None:
    """Whether it is full depends on the size of the image; what is behind it reads the rim."""
    if name == "means over padding" and RUNTIME < (1, 30):
        pytest.skip("this onnxruntime divides the last window of a mean by too many elements")
    original = parse(
        f"""g (float[1,2,26,26] x) => (float[1,5] y) <{_WEIGHTS}, float[4,4,3,3] k4, float[5,4] w>
        {{ a = Conv <strides = [2, 2]> (x, k)  r = Relu (a)  d = {NOT_FULL[name]} (r)
           e = Conv <pads = [1, 1, 1, 1]> (d, k4)  p = GlobalAveragePool (e)  f = Flatten (p)
           [fc] y = Gemm <transB = 1> (f, w) }}""",
        opset=13,
    )
    plain, dense = slid(original), slid(original, output_stride=1)
    every = int(geometry(plain, "y")["axes"][0]["stride"])
    for size in range(30, 36):
        given = image(original, {2: size, 3: size + 1})
        (before,), (now,) = run(plain, given), run(dense, given)
        assert apart(before, now[:, :, ::every, ::every][:, :, : before.shape[2], : before.shape[3]]) < CLOSE


@pytest.mark.parametrize("name", ["GlobalAveragePool", "GlobalMaxPool", "ReduceMean of opset 18", "tokens"])
def test_pooling_with_holes(name: str) -> None:
    original = pooled(name)
    for each in original.graph.node:
        if each.op_type == "Conv":
            each.attribute.append(onnx.helper.make_attribute("strides", [2, 2]))
    if name == "tokens":
        original.graph.initializer[[t.name for t in original.graph.initializer].index("rows")].CopyFrom(
            onnx.numpy_helper.from_array(np.array([0, 4, 9]), "rows")
        )
    assert at_crops(original, slid(original, output_stride=1), [13, 12]) < CLOSE


def test_it_is_proved_and_the_report_says_what_the_cells_are(fixture: Load) -> None:
    for name, said in (("unpadded", "all are the original on their crops"), ("gap", "the original on no crop")):
        options = Options(sliding=SlidingOptions(output_stride=1))
        report = fc2conv.convert(fixture(name), options=options).report
        assert report.verification is not None
        checks = {check.name: check for check in report.verification.checks}
        assert checks["placement"].verdict == "proved"
        assert ("others those of shifted images" in checks["placement"].detail) == (name == "unpadded")
        assert report.sliding is not None
        assert report.sliding.outputs[0].axes[0].every == 4
        from fc2conv.report.sliding_text import cells_between

        assert said in cells_between(report.sliding)[0]


@pytest.mark.parametrize("options", [{"output_stride": 1}, {"padding": "same"}, {"padding": "valid"}])
def test_class_activation_maps_go_with_it(options: dict[str, Any], fixture: Load) -> None:
    report = fc2conv.convert(fixture("gap"), options=Options(sliding=SlidingOptions(cam=True, **options))).report
    assert report.verification is not None
    assert "logits_cam (cells)" in [output.output for output in report.verification.outputs]
    checks = {check.name: check.verdict for check in report.verification.checks}
    assert checks["placement"] == "proved"


@pytest.mark.parametrize(
    "body",
    [
        "c = Conv <strides = [2, 2]> (x, k)  d = InstanceNormalization (c, v, v)",
        "c = Conv <strides = [2, 2]> (x, k)  d = DepthToSpace <blocksize = 2> (c)",
        "c = Conv <strides = [2, 2]> (x, k)  d = AveragePool <kernel_shape = [2, 2], strides = [2, 2], "
        "pads = [1, 1, 0, 0], ceil_mode = 1, count_include_pad = 1> (c)",
    ],
)
def test_what_has_no_form_with_holes(body: str) -> None:
    _, _, last = body.rpartition("  ")
    flat = "f = Flatten (d)  [fc] y = Gemm <transB = 1> (f, w)"
    columns = {"I": 4 * 81, "D": 18 * 18, "A": 4 * 25}[last[4]]
    text = (
        f"g (float[N,2,19,19] x) => (float[N,5] y) <{_WEIGHTS}, float[4] v, float[5,{columns}] w> {{ {body}  {flat} }}"
    )
    options = Options(sliding=SlidingOptions(output_stride=1))
    report = fc2conv.plan(parse(text, opset=13), options).sliding
    assert report is not None
    assert [each.code for each in report.obstacles] == ["FC511"]


def test_a_stride_that_divides_none(fixture: Load) -> None:
    with pytest.raises(UsageError, match=r"does not divide the strides of the maps, which are 4: give one of 1, 2, 4"):
        slid(fixture("gap"), output_stride=3)


@pytest.mark.parametrize("opset", [9, 17])
def test_maps_that_meet_with_other_numbers_of_cells(opset: int) -> None:
    """A mean of 2x2 beside a convolution of 3x3: with strides both have as many cells, with dilations one has more."""
    cut = (
        "Slice <starts = [0, 0], ends = [-1, -1], axes = [2, 3]> (s)" if opset < 10 else "Slice (s, zeros, ends, axes)"
    )
    original = parse(
        f"""g (float[1,2,17,17] x) => (float[1,5] y) <float[4,2,3,3] k, float[4,4,3,3] k4, float[5,4] w, float[5] b,
            int64[2] zeros = {{0, 0}}, int64[2] ends = {{-1, -1}}, int64[2] axes = {{2, 3}}>
        {{ a = Conv <strides = [2, 2]> (x, k)  r = Relu (a)  c = Conv <strides = [2, 2]> (r, k4)
           s = AveragePool <kernel_shape = [2, 2], strides = [2, 2]> (r)  z = {cut}  u = Add (c, z)
           q = GlobalAveragePool (u)  f = Flatten (q)  [fc] y = Gemm <transB = 1> (f, w, b) }}""",
        opset=opset,
    )
    conversion = fc2conv.convert(original, options=Options(sliding=SlidingOptions(output_stride=1)))
    assert conversion.model is not None
    assert conversion.report.verification is not None
    assert conversion.report.verification.verdict.accepted
    assert at_crops(original, conversion.model, (20, 22)) < CLOSE


def test_maps_of_two_strides_are_proved_behind_padding() -> None:
    """Without --output-stride there is no such network (FC510), so that its own windows have holes."""
    original = parse(
        """g (float[1,2,16,16] x) => (float[1,5] y) <float[4,2,3,3] k, float[4,4,3,3] k4, float[5,80] w>
        { a = Conv <strides = [2, 2], pads = [1, 1, 1, 1]> (x, k)
          b = Conv <strides = [2, 2], pads = [1, 1, 1, 1]> (a, k4)
          p = MaxPool <kernel_shape = [2, 2], strides = [2, 2]> (b)
          f = Flatten (b)  g = Flatten (p)  c = Concat <axis = 1> (f, g)  y = Gemm <transB = 1> (c, w) }""",
        opset=13,
    )
    dense = made(original, output_stride=1)
    assert {check.verdict for check in shown(original, dense, nothing).checks} == {"proved"}

    def fault(model: ModelProto) -> None:
        with_attribute(node(model, "Conv"), "dilations", [4, 3])

    assert "differs" in {check.verdict for check in shown(original, dense, fault).checks}


def test_a_map_that_is_an_output_as_well_keeps_its_holes() -> None:
    original = parse(
        """g (float[N,2,20,20] x) => (float[N,5] y, float[N,5,5,4] t)
        <float[4,2,3,3] a, float[4,4,3,3] b, float[8,5] w, float[5] q>
        { d = Conv <strides = [2, 2], pads = [1, 1, 1, 1]> (x, a)
          e = Conv <strides = [2, 2], pads = [1, 1, 1, 1]> (d, b)
          m = GlobalMaxPool (d)  n = GlobalMaxPool (e)  t = Transpose <perm = [0, 2, 3, 1]> (e)
          j = Concat <axis = 1> (m, n)  f = Flatten (j)  y = Gemm (f, w, q) }""",
        opset=13,
    )
    (head,) = (claim for claim in made(original, output_stride=1).claims.maps if claim.name == "y")
    assert {feature.name: feature.holes for feature in head.features} == {"d": {2: 2, 3: 2}, "t": {2: 4, 3: 4}}


def test_all_images_get_the_stride() -> None:
    original = parse(
        """g (float[1,2,11,11] x, float[1,2,11,11] z) => (float[1,5] y) <float[4,2,3,3] k, float[5,100] w>
        { a = Conv <strides = [2, 2]> (x, k)  b = Conv <strides = [2, 2]> (z, k)  c = Sub (a, b)  d = Abs (c)
          f = Flatten (d)  y = Gemm <transB = 1> (f, w) }"""
    )
    report = fc2conv.convert(original, options=Options(sliding=SlidingOptions(output_stride=1))).report
    assert report.verification is not None
    assert report.verification.verdict == "proved"


def test_an_answer_for_the_whole_image_beside_a_map_with_holes() -> None:
    original = parse(
        """g (float[N,2,16,16] x) => (float[N,5] y, float[N,4,7,7] e) <float[4,2,3,3] k, float[4,5] w>
        { c = Conv <strides = [2, 2]> (x, k)  p = GlobalAveragePool (c)  f = Flatten (p)
          y = MatMul (f, w)  e = Relu (c) }"""
    )
    plain, dense = slid(original, global_pool="keep"), accepted(original, global_pool="keep", output_stride=1)
    given = image(original, {2: 23, 3: 25})
    for before, now in zip(run(plain, given), run(dense, given), strict=True):
        assert apart(before, now[:, :, ::2, ::2]) < CLOSE


@pytest.mark.parametrize("opset", [18, 22])
@pytest.mark.parametrize("pads", ["", ", pads = [1, 1, 1, 1]"])
def test_norms_of_windows_with_dilations(opset: int, pads: str) -> None:
    original = parse(
        f"""g (float[N,2,16,16] x) => (float[N,5] y) <float[4,2,3,3] k, float[4,5] w>
        {{ c = Conv (x, k)  d = LpPool <kernel_shape = [3, 3], strides = [2, 2]{pads}> (c)
           p = GlobalAveragePool (d)  f = Flatten (p)  y = MatMul (f, w) }}""",
        opset=opset,
    )
    plain, dense = slid(original), accepted(original, output_stride=1)
    given = image(original, {2: 23, 3: 25})
    (before,), (now,) = run(plain, given), run(dense, given)
    assert apart(before, now[:, :, ::2, ::2]) < CLOSE
