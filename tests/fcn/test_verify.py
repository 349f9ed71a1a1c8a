"""A sliding model is proved again from two files: what it is made of is in its metadata."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import ModelProto, numpy_helper

import fc2conv
from fc2conv import Options, SlidingOptions
from fc2conv.errors import ExitCode
from fc2conv.fcn.stage import RECIPE, recipe_of
from fc2conv.report.types import Verification

WAYS = {
    "plain": Options(sliding=SlidingOptions()),
    "scores": Options(sliding=SlidingOptions(score_map={"": "logits"}, reduce="mean")),
    "cams": Options(scope="all", sliding=SlidingOptions(cam=True, upsample=True, verify_crops=True)),
    "external": Options(form="external", sliding=SlidingOptions(), input_shapes={"image": (1, 3, 20, 20)}),
}


def made(root: Path, folder: Path, options: Options = WAYS["plain"]) -> tuple[Path, Path]:
    """A fixture, and what becomes of it."""
    original, out = root / "fixtures" / "gap.onnx", folder / "fcn.onnx"
    fc2conv.convert(original, out, options)
    return original, out


def verdicts(found: Verification) -> dict[str, str]:
    return {check.name: check.verdict for check in found.checks}


@pytest.mark.parametrize("way", WAYS)
def test_a_right_one_passes(way: str, root: Path, tmp_path: Path) -> None:
    original, out = made(root, tmp_path, WAYS[way])
    found = fc2conv.verify(original, out)
    assert found.verdict.accepted
    assert {"exact", "training size", "windows"} <= {n for n, v in verdicts(found).items() if v.accepted}
    assert "remade" in verdicts(found)
    recipe = recipe_of(onnx.load(out, load_external_data=False))
    assert recipe is not None
    assert recipe.options.sliding is not None
    assert (recipe.options.scope, recipe.options.sliding.cam) == (WAYS[way].scope, way == "cams")
    assert (recipe.options.form, recipe.options.sliding.verify_crops) == ("keep", False)


def one_ulp(model: ModelProto) -> None:
    tensor = next(t for t in model.graph.initializer if t.data_type == 1 and len(t.dims) == 4)
    array = numpy_helper.to_array(tensor).copy()
    array.flat[0] = np.nextafter(array.flat[0], np.float32(9))
    tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))


def another_pool(model: ModelProto) -> None:
    node = next(n for n in model.graph.node if n.op_type == "AveragePool")
    kept = [a for a in node.attribute if a.name != "strides"]
    del node.attribute[:]
    node.attribute.extend([*kept, onnx.helper.make_attribute("strides", [2, 2])])


def another_place(model: ModelProto) -> None:
    entry = next(e for e in model.metadata_props if e.key.startswith("fc2conv.geometry."))
    entry.value = entry.value.replace('"stride":4.0', '"stride":8.0')


def a_node_more(model: ModelProto) -> None:
    model.graph.node.add(op_type="Identity", input=[model.graph.input[0].name], output=["nobody"])


def a_weight_more(model: ModelProto) -> None:
    model.graph.initializer.append(numpy_helper.from_array(np.zeros(3), "nobody"))


FAULTS: dict[str, Callable[[ModelProto], None]] = {
    "not what this conversion makes of the original, exact: ": one_ulp,
    "not what this conversion makes of the original, ": another_pool,
    "what fc2conv.geometry.logits says of the cells": another_place,
}


@pytest.mark.parametrize("said", FAULTS)
def test_a_fault_that_no_number_shows_is_caught(said: str, root: Path, tmp_path: Path) -> None:
    original, out = made(root, tmp_path)
    model = onnx.load(out)
    before = model.SerializeToString()
    FAULTS[said](model)
    assert model.SerializeToString() != before
    onnx.save(model, out)
    found = fc2conv.verify(original, out)
    assert found.verdict == "differs"
    last = found.checks[-1]
    assert (last.name, last.verdict) == ("remade", "differs")
    assert last.detail.startswith(said)


def renamed(model: ModelProto) -> None:
    """Another name for every value between the inputs and the outputs."""
    fixed = {value.name for value in (*model.graph.input, *model.graph.output)}
    del model.graph.value_info[:]
    for node in model.graph.node:
        for names in (node.input, node.output):
            names[:] = [name if name in fixed or not name else f"other_{name}" for name in names]
    for tensor in model.graph.initializer:
        tensor.name = f"other_{tensor.name}"


@pytest.mark.parametrize("change", [a_node_more, a_weight_more, renamed])
def test_what_computes_the_same_passes(change: Callable[[ModelProto], None], root: Path, tmp_path: Path) -> None:
    original, out = made(root, tmp_path)
    model = onnx.load(out)
    change(model)
    onnx.save(model, out)
    found = fc2conv.verify(original, out)
    assert (found.verdict, verdicts(found)["remade"], verdicts(found)["windows"]) == ("proved", "proved", "proved")


@pytest.mark.parametrize(("change", "verdict"), [(a_node_more, "proved"), (one_ulp, "inconclusive")])
def test_another_version_may_make_another_network(
    change: Callable[[ModelProto], None], verdict: str, root: Path, tmp_path: Path
) -> None:
    """What is not the same is then proved or refused by the claims."""
    original, out = made(root, tmp_path)
    model = onnx.load(out)
    entry = next(e for e in model.metadata_props if e.key == RECIPE)
    entry.value = json.dumps({**json.loads(entry.value), "version": "0.0.1"})
    change(model)
    onnx.save(model, out)
    found = fc2conv.verify(original, out)
    assert verdicts(found)["remade"] == verdict
    assert found.verdict == ("proved" if verdict == "proved" else "differs")
    assert ("made by fc2conv 0.0.1" in found.checks[-1].detail) == (verdict != "proved")


@pytest.mark.parametrize("value", ["", "{}", "[]", "7", '{"version":1,"options":{"scope":"none"}}', '{"options":{}}'])
def test_a_recipe_that_says_nothing_is_none(value: str, root: Path, tmp_path: Path) -> None:
    original, out = made(root, tmp_path)
    model = onnx.load(out)
    next(e for e in model.metadata_props if e.key == RECIPE).value = value
    onnx.save(model, out)
    found = fc2conv.verify(original, out)
    assert (found.verdict, verdicts(found)["signature"]) == ("differs", "differs")


def test_another_original_is_no_original(root: Path, tmp_path: Path) -> None:
    _, out = made(root, tmp_path)
    found = fc2conv.verify(root / "fixtures" / "unpadded.onnx", out)
    assert found.verdict == "differs"


def test_the_report_is_its_certificate(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from fc2conv.__main__ import main

    original, out, report = (
        str(root / "fixtures" / "gap.onnx"),
        str(tmp_path / "fcn.onnx"),
        str(tmp_path / "report.json"),
    )
    assert main([original, out, "--fully-convolutional", "--verify-crops", "--report", report, "-q"]) == ExitCode.DONE
    assert main(["verify", original, out, "--certificate", report]) == ExitCode.DONE
    assert "recorded" in capsys.readouterr().out
