"""Node data for Model Explorer: what its own types take, a value for each layer and for each cause."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

import fc2conv
from fc2conv.errors import UsageError
from fc2conv.report.explorer import render
from fc2conv.report.types import Comparison, Report


def results(report: Report) -> dict[str, Any]:
    data = json.loads(render(report))
    found: dict[str, Any] = data["results"]
    return found


def test_a_layer_has_its_decision_and_a_cause_what_it_keeps(converted: Report) -> None:
    layers = [msgspec.structs.replace(layer, form="map") for layer in converted.converted]
    report = msgspec.structs.replace(converted, sites=[*layers, *converted.kept])
    values = {node: result["value"] for node, result in results(report).items()}
    assert values == {
        "fc6": "convert: map 7x7",
        "fc7": "convert: map 1x1",
        "fc8": "convert: map 1x1",
        "aux/MatMul": "keep: FC102",
        "aux/LayerNormalization": "FC102: 1 layer kept",
    }
    colours = {result["bgColor"] for result in results(converted).values()}
    assert len(colours) == 3


def test_only_reports_of_one_model_have_nodes(passed: fc2conv.Verification) -> None:
    with pytest.raises(UsageError, match="node data are for a plan or a conversion"):
        render(Comparison(a="a.onnx", b="b.onnx", verification=passed))


def test_model_explorer_takes_it(lenet: Path, tmp_path: Path) -> None:
    """Its own types read the file, and its adapter for ONNX has nodes of these names."""
    explorer = pytest.importorskip("model_explorer", reason="Model Explorer is not installed")
    adapter = pytest.importorskip("model_explorer_onnx.main", reason="Model Explorer's ONNX adapter is not installed")
    builder = explorer.node_data_builder
    fc2conv.plan(lenet, exclude=["fc3"]).save(tmp_path / "plan.nodes.json")
    data = json.loads((tmp_path / "plan.nodes.json").read_text())
    read = {name: builder.NodeDataResult(**result) for name, result in data.pop("results").items()}
    kept = builder.GraphNodeData(results=read, **data)
    graphs = adapter.ONNXAdapter().convert(str(lenet), {})["graphs"]
    assert set(kept.results) <= {node.id for node in graphs[0].nodes}
    assert json.loads(kept.to_json_string())["results"]["fc1"]["value"] == "convert: map 5x5"
