"""FcToConv in a workflow of Olive, beside Olive's own passes."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import onnx
import pytest

import fc2conv

olive = pytest.importorskip("olive", reason="Olive is not installed: pip install olive-ai")

from fc2conv.integrations.olive import package_config  # noqa: E402

os.environ["OLIVE_DISABLE_TELEMETRY"] = "1"


def workflow(model: Path, folder: Path, passes: dict[str, Any]) -> dict[str, Any]:
    accelerator = {"device": "cpu", "execution_providers": ["CPUExecutionProvider"]}
    return {
        "input_model": {"type": "OnnxModel", "model_path": str(model)},
        "systems": {"here": {"type": "LocalSystem", "accelerators": [accelerator]}},
        "host": "here",
        "target": "here",
        "passes": passes,
        "output_dir": str(folder / "out"),
        "cache_dir": str(folder / "cache"),
    }


def operators(path: Path) -> list[str]:
    return [node.op_type for node in onnx.load(path).graph.node]


def test_a_workflow_converts_between_passes_of_olive(lenet: Path, tmp_path: Path) -> None:
    passes = {
        "clean": {"type": "OnnxPeepholeOptimizer"},
        "convert": {"type": "FcToConv", "scope": "all", "exclude": ["fc3"]},
        "quantize": {"type": "OnnxDynamicQuantization"},
    }
    olive.run(workflow(lenet, tmp_path, passes), package_config=package_config())
    report = json.loads((tmp_path / "out" / "fc2conv.json").read_text())
    assert [layer["decision"] for layer in report["sites"]] == ["convert", "convert", "keep"]
    assert report["verification"]["verdict"] == "proved"
    assert operators(tmp_path / "out" / "model.onnx").count("ConvInteger") == 4


def test_weights_in_a_file_of_their_own_go_along(lenet: Path, tmp_path: Path) -> None:
    passes = {"convert": {"type": "FcToConv", "form": "external"}}
    olive.run(workflow(lenet, tmp_path, passes), package_config=package_config())
    assert fc2conv.verify(lenet, tmp_path / "out" / "model.onnx").verdict == "proved"


def test_the_commands_of_the_page_run(root: Path, tmp_path: Path) -> None:
    """docs/integrations.md has the workflow, and the two commands."""
    page = (root / "docs" / "integrations.md").read_text(encoding="utf-8")
    (config,) = re.findall(r"```json\n(.*?)```", page, re.S)
    (commands,) = (block for block in re.findall(r"```text\n(.*?)```", page, re.S) if "olive run" in block)
    (tmp_path / "workflow.json").write_text(config)
    (tmp_path / "fixtures").symlink_to(root / "fixtures")
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    env = {**os.environ, "PATH": path, "PYTHONPATH": str(root)}
    done = subprocess.run(
        ["bash", "-ec", commands], cwd=tmp_path, env=env, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert operators(tmp_path / "out" / "model.onnx").count("ConvInteger") == 4


def test_a_value_that_is_no_choice_is_refused_before_the_work(lenet: Path, tmp_path: Path) -> None:
    passes = {"convert": {"type": "FcToConv", "scope": "everything"}}
    with pytest.raises(ValueError, match="scope"):
        olive.run(workflow(lenet, tmp_path, passes), package_config=package_config())
