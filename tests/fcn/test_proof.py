"""The proof of the mode: a planted fault in a sliding model fails it, and then nothing is written."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import ModelProto, NodeProto, numpy_helper
from textmodel import parse

import fc2conv
from fc2conv import Options, SlidingOptions, VerifyOptions
from fc2conv.errors import LimitError, MismatchError
from fc2conv.fcn import Slid, slide
from fc2conv.io.reader import model_file_from_proto
from fc2conv.rewrite.scopes import rewrite_model
from fc2conv.sandbox import parent
from fc2conv.verification.sliding import Shown, prove
from fc2conv.verification.spec import MapClaim

Load = Callable[[str], ModelProto]


def made(original: ModelProto, **options: object) -> Slid:
    given = Options(sliding=SlidingOptions(**options))  # type: ignore[arg-type]
    file = model_file_from_proto(original)
    _, rewritten = rewrite_model(file, given)
    assert rewritten is not None
    base = replace(file, model=rewritten.model, payloads=rewritten.payloads)
    _, slid = slide(base, file.model, given)
    assert slid is not None
    return slid


def shown(original: ModelProto, slid: Slid, fault: Callable[[ModelProto], None], crops: bool = False) -> Shown:
    file = model_file_from_proto(original)
    model = ModelProto()
    model.CopyFrom(slid.model)
    fault(model)
    sliding = replace(file, model=model, payloads=slid.payloads)
    return prove(file, sliding, slid.claims, VerifyOptions(), crops)


def nothing(_: ModelProto) -> None:
    pass


def node(model: ModelProto, op_type: str, index: int = -1) -> NodeProto:
    return [each for each in model.graph.node if each.op_type == op_type][index]


def ints(op_type: str, name: str, values: list[int], index: int = -1) -> Callable[[ModelProto], None]:
    """Another attribute."""

    def fault(model: ModelProto) -> None:
        found = node(model, op_type, index)
        rest = [a for a in found.attribute if a.name != name]
        del found.attribute[:]
        found.attribute.extend([*rest, onnx.helper.make_attribute(name, values)])

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
    fixture_name, fault, rung = FAULTS[name]
    original = fixture(fixture_name)
    slid = made(original)
    assert {check.verdict for check in shown(original, slid, nothing).checks} == {"pass"}
    found = {check.name: check.verdict for check in shown(original, slid, fault).checks}
    assert found[rung] == "fail"


def test_pooling_that_is_global_again_is_caught(fixture: Load) -> None:
    """At the training size it is the same; on larger images it is one cell."""
    original = fixture("gap")

    def fault(model: ModelProto) -> None:
        found = node(model, "AveragePool")
        found.op_type = "GlobalAveragePool"
        del found.attribute[:]

    found = {check.name: check.verdict for check in shown(original, made(original), fault).checks}
    assert found == {"training size": "pass", "windows": "fail"}


def test_all_windows_are_compared(fixture: Load) -> None:
    original = fixture("lenet")
    checks = {check.name: check.detail for check in shown(original, made(original), nothing).checks}
    assert checks["windows"].startswith("13 windows of 1 heads")  # 3 x 3 cells on 36 x 36, and 2 x 2 on 33 x 33


def test_what_stands_beside_the_map_is_compared(fixture: Load) -> None:
    original = fixture("gap")
    slid = made(original, reduce="mean", cam=True)
    assert {check.verdict for check in shown(original, slid, nothing).checks} == {"pass"}

    def max_for_mean(model: ModelProto) -> None:
        node(model, "GlobalAveragePool").op_type = "GlobalMaxPool"

    def cam_of_the_input(model: ModelProto) -> None:
        cam = next(each for each in model.graph.node if "logits_cam" in each.output)
        cam.input[0] = next(each for each in model.graph.node if each.name == "relu1").input[0]

    for fault in (max_for_mean, cam_of_the_input):
        found = {check.name: check.verdict for check in shown(original, slid, fault).checks}
        assert found == {"training size": "pass", "windows": "fail"}


def test_crops_fail_where_nothing_pads_and_they_differ(fixture: Load) -> None:
    original = fixture("lenet")
    slid = made(original)
    found = shown(original, slid, nothing, crops=True)
    assert found.checks[-1].verdict == "pass"
    assert found.crops[0].max > 1e-3
    assert np.array(found.crops[0].map).shape == (3, 3)

    def unpadded(claim: MapClaim) -> MapClaim:
        return replace(claim, padded=False)

    slid = replace(slid, claims=replace(slid.claims, maps=tuple(map(unpadded, slid.claims.maps))))
    assert shown(original, slid, nothing, crops=True).checks[-1].verdict == "fail"


def test_without_padding_the_crops_are_equal(fixture: Load) -> None:
    original = fixture("unpadded")
    found = shown(original, made(original), nothing, crops=True)
    assert [check.verdict for check in found.checks] == ["pass", "pass", "pass"]
    assert found.crops[0].max < 1e-5 * found.crops[0].reference
    assert found.crops[0].size == [26, 26]


def test_a_failure_writes_nothing(fixture: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from fc2conv.report.types import Check
    from fc2conv.verification import sliding

    def failing(*_: object) -> Shown:
        return Shown([Check(name="windows", verdict="fail", detail="planted")])

    monkeypatch.setattr(sliding, "prove", failing)
    source, target = tmp_path / "in.onnx", tmp_path / "out.onnx"
    onnx.save(fixture("gap"), source)
    with pytest.raises(MismatchError, match="windows: planted"):
        fc2conv.convert(source, target, Options(sliding=SlidingOptions()))
    assert list(tmp_path.iterdir()) == [source]


def test_a_crash_is_a_limit(fixture: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    import faulthandler
    import os
    import signal

    from fc2conv.verification import sliding

    def crash(*_: object) -> Shown:
        faulthandler.disable()
        os.kill(os.getpid(), signal.SIGSEGV)
        raise AssertionError

    monkeypatch.setattr(parent, "_may_fork", lambda: True)
    monkeypatch.setattr(sliding, "prove", crash)
    with pytest.raises(LimitError, match="SIGSEGV"):
        fc2conv.convert(fixture("gap"), options=Options(sliding=SlidingOptions()))


def test_an_original_that_does_not_run_is_not_the_fault_of_the_other(fixture: Load) -> None:
    original = fixture("gap")
    slid = made(original)
    original.graph.node.add(op_type="Magic", domain="nobody", input=["image"], output=["spell"])
    original.opset_import.add(domain="nobody", version=1)
    found = shown(original, slid, lambda _: None)
    assert [(check.name, check.verdict) for check in found.checks] == [("training size", "inconclusive")]
    assert "does not run the original" in found.checks[0].detail


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
