"""The proof of the mode: a planted fault in a sliding model fails it, and then nothing is written."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import ModelProto, numpy_helper
from proving import Load, made, node, nothing, shown, with_attribute
from textmodel import parse

import fc2conv
from fc2conv import Options, SlidingOptions, VerifyOptions
from fc2conv.errors import LimitError, MismatchError
from fc2conv.verification.sliding import Shown


def ints(op_type: str, name: str, values: list[int], index: int = -1) -> Callable[[ModelProto], None]:
    """Another attribute."""

    def fault(model: ModelProto) -> None:
        with_attribute(node(model, op_type, index), name, values)

    return fault


def moved_bias(model: ModelProto) -> None:
    tensor = next(t for t in model.graph.initializer if t.name == node(model, "Conv").input[2])
    values = numpy_helper.to_array(tensor)
    tensor.CopyFrom(numpy_helper.from_array(np.roll(values, 1), tensor.name))


def wrong_softmax(model: ModelProto) -> None:
    """Normalizes over the columns of the map: the same as it should be on one cell of as many columns as classes."""
    found = node(model, "Softmax")
    del found.attribute[:]
    found.attribute.append(onnx.helper.make_attribute("axis", 3))


FAULTS = {
    "pooling that is not of the training extent": ("gap", ints("AveragePool", "kernel_shape", [4, 5]), "training size"),
    "pooling of another stride": ("gap", ints("AveragePool", "strides", [2, 2]), "windows"),
    "a layer that is padded": ("gap", ints("Conv", "pads", [0, 0, 1, 1]), "training size"),
    "a layer with another stride": ("lenet", ints("Conv", "strides", [2, 1], -3), "windows"),
    "a softmax over the columns": ("lenet", wrong_softmax, "training size"),
    "a bias in another order": ("lenet", moved_bias, "training size"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_caught(name: str, fixture: Load) -> None:
    fixture_name, fault, failing = FAULTS[name]
    original = fixture(fixture_name)
    slid = made(original)
    assert {check.verdict for check in shown(original, slid, nothing).checks} == {"proved"}
    found = {check.name: check.verdict for check in shown(original, slid, fault).checks}
    assert found[failing] == "differs"


def test_pooling_that_is_global_again_is_caught(fixture: Load) -> None:
    """At the training size it is the same; on larger images it is one cell."""
    original = fixture("gap")

    def fault(model: ModelProto) -> None:
        found = node(model, "AveragePool")
        found.op_type = "GlobalAveragePool"
        del found.attribute[:]

    found = {check.name: check.verdict for check in shown(original, made(original), fault).checks}
    assert found == {"training size": "proved", "windows": "differs"}


def test_all_windows_are_compared(fixture: Load) -> None:
    original = fixture("lenet")
    checks = {check.name: check.detail for check in shown(original, made(original), nothing).checks}
    assert checks["windows"].startswith("proved")
    assert "9 cells of 1 head on 36x36; 4 cells of 1 head on 33x33" in checks["windows"]


def test_what_is_beside_the_map_is_compared(fixture: Load) -> None:
    original = fixture("gap")
    slid = made(original, reduce="mean", cam=True)
    assert {check.verdict for check in shown(original, slid, nothing).checks} == {"proved"}

    def max_for_mean(model: ModelProto) -> None:
        node(model, "GlobalAveragePool").op_type = "GlobalMaxPool"

    def cam_of_the_input(model: ModelProto) -> None:
        cam = next(each for each in model.graph.node if "logits_cam" in each.output)
        cam.input[0] = next(each for each in model.graph.node if each.name == "relu1").input[0]

    for fault in (max_for_mean, cam_of_the_input):
        found = {check.name: check.verdict for check in shown(original, slid, fault).checks}
        assert found == {"training size": "proved", "windows": "differs"}


MIXED = """g (float[N,2,16,16] x) => (float[N,5] y, float[N,3,16,16] m)
    <float[4,2,3,3] k, float[5,4] w, float[3,4,3,3] q>
    { c = Conv <pads = [1, 1, 1, 1]> (x, k)  r = Relu (c)  m = Conv <pads = [1, 1, 1, 1]> (r, q)
      p = GlobalAveragePool (r)  f = Flatten (p)  [fc] y = Gemm <transB = 1> (f, w) }"""
"""A class, which is compared on windows, and a segmentation, which has none."""


def test_of_each_output_something_is_compared() -> None:
    found = shown(parse(MIXED), made(parse(MIXED)), nothing, crops=True)
    assert [check.verdict for check in found.checks] == ["proved", "proved", "agrees"]
    assert "9 cells of 1 head, 324 cells of m on 18x18" in found.checks[1].detail
    assert found.checks[2].detail.endswith("no crops of m")
    compared = {each.output: each.verdict for each in found.outputs}
    assert (compared["y (windows)"], compared["m (windows)"]) == ("proved", "proved")


@pytest.mark.parametrize("pad", ["Pad (c, p, half)", 'Pad <mode = "edge"> (c, p)'])
def test_what_is_put_around_a_map_of_one_cell_is_the_same_around_any(pad: str) -> None:
    original = parse(
        f"""g (float[N,3,1,1] x) => (float[N,4,1,5] y) <float[4,3,1,1] k, int64[8] p = {{0, 0, 0, 1, 0, 0, 0, 3}},
        float half = {{0.5}}> {{ c = Conv (x, k)  d = {pad}  y = Relu (d) }}"""
    )
    done = fc2conv.convert(original, options=Options(sliding=SlidingOptions()))
    assert done.report.verification is not None
    assert done.report.verification.verdict == "proved"


def test_an_output_of_which_nothing_is_compared_passes_no_check() -> None:
    slid = made(parse(MIXED))
    one, other = slid.claims.maps
    claims = replace(slid.claims, maps=(one, replace(other, windowed=(2, 3))))
    found = shown(parse(MIXED), replace(slid, claims=claims), nothing)
    assert found.checks[1].verdict == "inconclusive"
    assert found.checks[1].detail.startswith(
        "nothing compared of m: it has no head behind the padding, and the original"
    )
    compared = {each.output: each.verdict for each in found.outputs}
    assert (compared["y (windows)"], compared["m (windows)"]) == ("proved", "inconclusive")


def test_a_fault_of_the_other_output_is_caught() -> None:
    def cut(model: ModelProto) -> None:
        """Only so much of the image is looked at as there is at the training size."""
        segmentation = next(each for each in model.graph.node if "m" in each.output)
        bounds = {"low": [0, 0], "high": [16, 16], "axes": [2, 3]}
        names = [f"planted_{name}" for name in bounds]
        model.graph.initializer.extend(
            numpy_helper.from_array(np.array(values), name) for name, values in zip(names, bounds.values(), strict=True)
        )
        place = list(model.graph.node).index(segmentation)
        model.graph.node.insert(place, onnx.helper.make_node("Slice", [segmentation.input[0], *names], ["planted"]))
        model.graph.node[place + 1].input[0] = "planted"

    found = shown(parse(MIXED), made(parse(MIXED)), cut)
    assert found.checks[0].verdict == "proved"
    assert not found.checks[1].verdict.accepted


def test_more_runs_compare_no_map_with_a_value_of_another_layout(fixture: Load) -> None:
    options = Options(sliding=SlidingOptions(), verification=VerifyOptions(check_n=2))
    found = fc2conv.convert(fixture("lenet"), options=options).report.verification
    assert found is not None
    assert found.verdict == "proved"


def test_padding_leaves_a_gap_that_is_no_fault(fixture: Load) -> None:
    original = fixture("lenet")
    found = shown(original, made(original), nothing, crops=True)
    assert found.checks[-1].verdict == "agrees"
    assert found.crops[0].max > 1e-3
    assert np.array(found.crops[0].map).shape == (3, 3)


def test_without_padding_the_crops_are_equal(fixture: Load) -> None:
    original = fixture("unpadded")
    found = shown(original, made(original), nothing, crops=True)
    assert [check.verdict for check in found.checks] == ["proved", "proved", "agrees"]
    assert found.crops[0].max < 1e-5 * found.crops[0].reference
    assert found.crops[0].size == [26, 26]


def test_a_failure_writes_nothing(fixture: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from fc2conv.report.types import Check, Verdict
    from fc2conv.verification import sliding

    def failing(*_: object) -> Shown:
        return Shown([Check(name="windows", verdict=Verdict.DIFFERS, detail="planted")])

    monkeypatch.setattr(sliding, "prove", failing)
    source, target = tmp_path / "in.onnx", tmp_path / "out.onnx"
    onnx.save(fixture("gap"), source)
    with pytest.raises(MismatchError, match="windows: planted"):
        fc2conv.convert(source, target, Options(sliding=SlidingOptions()))
    assert list(tmp_path.iterdir()) == [source]


@pytest.mark.contained
def test_a_crash_is_a_limit(fixture: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    import faulthandler
    import os
    import signal

    from fc2conv.verification import sliding

    def crash(*_: object) -> Shown:
        faulthandler.disable()
        os.kill(os.getpid(), signal.SIGSEGV)
        raise AssertionError

    monkeypatch.setattr(sliding, "prove", crash)
    with pytest.raises(LimitError, match="SIGSEGV"):
        fc2conv.convert(fixture("gap"), options=Options(sliding=SlidingOptions()))


def test_an_original_that_does_not_run_is_not_the_fault_of_the_other(fixture: Load) -> None:
    original = fixture("gap")
    slid = made(original)
    next(each for each in original.graph.node if each.op_type == "Relu").domain = "nobody"
    original.opset_import.add(domain="nobody", version=1)
    found = shown(original, slid, lambda _: None)
    assert found.checks[0].verdict == "inconclusive"


HEADS = {
    "a Cast": ("f = Flatten (c)  a = Cast <to = 1> (f)  [fc] y = Gemm <transB = 1> (a, w)", "float16", "float16"),
    "an activation": ("f = Flatten (c)  a = Relu (f)  [fc] y = Gemm <transB = 1> (a, w)", "float", "float"),
    "a Cast of the map": (
        "a = Cast <to = 1> (c)  f = Flatten (a)  [fc] y = Gemm <transB = 1> (f, w)",
        "float16",
        "float16",
    ),
    "channels last": (
        "t = Transpose <perm = [0, 2, 3, 1]> (c)  f = Flatten (t)  a = Tanh (f)  [fc] y = Gemm <transB = 1> (a, w)",
        "float",
        "float",
    ),
}


@pytest.mark.parametrize("name", HEADS)
def test_a_head_is_found_behind_whatever_the_conversion_has_moved(name: str) -> None:
    body, image, weight = HEADS[name]
    model = parse(
        f"""g ({image}[N,2,8,8] x) => (float[N,5] y) <{weight}[4,2,3,3] k, float[5,256] w>
        {{ c = Conv <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (x, k)  {body} }}"""
    )
    report = fc2conv.convert(model, options=Options(sliding=SlidingOptions())).report
    assert report.verification is not None
    compared = {each.output for each in report.verification.outputs}
    assert "y (windows)" in compared


BEHIND_PADDING = {
    "a norm": "f = ReduceL2 <axes = [2, 3], keepdims = 0> (c)  y = Gemm <transB = 1> (f, w4)",
    "norms": """n = GlobalLpPool <p = 1> (c)  m = GlobalLpPool (c)  a = Add (n, m)  f = Flatten (a)
        y = Gemm <transB = 1> (f, w4)""",
    "numbers beside the image": """p = GlobalAveragePool (c)  q = Flatten (p)  f = Concat <axis = 1> (q, v)
        y = Gemm <transB = 1> (f, w6)""",
    "the best classes": """p = GlobalAveragePool (c)  q = Flatten (p)  f = Gemm <transB = 1> (q, w4)
        y, i = TopK (f, three)""",
    "the mean and a mean of squares": """m = ReduceMean <axes = [2, 3]> (c)  d = Sub (c, m)  e = Mul (d, d)
        s = ReduceMean <axes = [2, 3], keepdims = 0> (e)  q = Flatten (m)  f = Concat <axis = 1> (q, s)
        y = Gemm <transB = 1> (f, w8)""",
}


@pytest.mark.parametrize("options", [{}, {"padding": "same"}, {"output_stride": 1}])
@pytest.mark.parametrize("name", BEHIND_PADDING)
def test_a_head_of_several_nodes_and_values_is_compared(name: str, options: dict[str, Any]) -> None:
    model = parse(
        f"""g (float[1,2,8,8] x, float[1,2] v) => (float[1,M] y)
        <float[4,2,3,3] k, float[5,4] w4, float[5,6] w6, float[5,8] w8, int64[1] three = {{3}}>
        {{ c = Conv <pads = [1, 1, 1, 1], strides = [2, 2]> (x, k)  {BEHIND_PADDING[name]} }}""",
        opset=13,
    )
    report = fc2conv.convert(model, options=Options(sliding=SlidingOptions(**options))).report
    assert report.verification is not None
    assert report.verification.verdict == "proved"


def test_what_reads_the_whole_image_is_compared_where_it_is_padded_as_at_the_training_size() -> None:
    model = parse(
        """g (float[1,2,9,9] x) => (float[1,5] y) <float[4,2,3,3] k, float[5,4] w>
        { c = Conv <strides = [2, 2], auto_pad = "SAME_UPPER"> (x, k)  p = GlobalAveragePool (c)  f = Flatten (p)
          y = Gemm <transB = 1> (f, w) }"""
    )
    report = fc2conv.convert(model, options=Options(sliding=SlidingOptions(global_pool="keep"))).report
    assert report.verification is not None
    assert report.verification.verdict == "proved"


ODD_ENDS = {
    "more channels than an image has cells": """g (float[N,4,3,2] x) => (float[N,6] y) <float[6,24] w>
        { f = Flatten (x)  y = Gemm <transB = 1> (f, w) }""",
    "a norm of the image that a reshape to numbers follows": """g (float[2,1,4] x) => (float[2,1,4] y)
        <float[1] a = {2.0}, float[1] b = {1.0}, int64[3] t = {-1, 1, 4}, float[1,1] w>
        { n = InstanceNormalization (x, a, b)  r = Reshape (n, t)  h = Tanh (r)  m = Mul (h, n)  y = MatMul (w, m) }""",
}


@pytest.mark.parametrize("name", ODD_ENDS)
def test_padded_channels_and_reshapes_to_numbers_leave_no_doubt(name: str) -> None:
    options = Options(scope="all", sliding=SlidingOptions(), channel_multiple=8)
    report = fc2conv.convert(parse(ODD_ENDS[name], opset=11), options=options).report
    assert report.verification is not None
    assert report.verification.verdict == "proved"
