"""The committed fixtures are what their script makes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import onnx
import pytest
from execute import difference, feeds, run

import fc2conv

from .case import layout_nodes

FIXTURES = Path(__file__).parents[2] / "fixtures"


def test_committed_fixtures_are_what_the_script_writes(tmp_path: Path) -> None:
    subprocess.run([sys.executable, FIXTURES / "make_fixtures.py", tmp_path], check=True, capture_output=True)
    made = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    committed = {path.name: path.read_bytes() for path in FIXTURES.glob("*.onnx")}
    assert made.keys() == committed.keys()
    assert [name for name in made if made[name] != committed[name]] == []


def test_fixtures_are_small() -> None:
    assert sum(path.stat().st_size for path in FIXTURES.glob("*.onnx")) < 1_000_000


KERNELS = {
    "lenet": ({"fc1": [5, 5], "fc2": [1, 1], "fc3": [1, 1]}, 1),
    "mini_vgg": ({"fc6": [7, 7], "fc7": [1, 1], "fc8": [1, 1]}, 1),
    "keras_nhwc": ({"model/dense/MatMul": [3, 3], "model/dense_1/MatMul": [1, 1]}, 6),
    "se_block": ({"squeeze": [1, 1], "excite": [1, 1]}, 0),
    "dynamo": ({"node_linear": [6, 6], "node_linear_1": [1, 1]}, 1),
    "paddle": ({"p2o.MatMul.0": [6, 6]}, 1),
    "tokens": ({"up": [1, 1], "down": [1, 1]}, 0),
    "two_heads": ({"policy_0": [4, 4], "policy_2": [1, 1], "value_0": [4, 4], "value_2": [1, 1]}, 3),
    "crnn": ({"embed": [4, 1], "classify": [1, 1]}, 2),
    "gap": ({"classifier": [1, 1]}, 1),
    "unpadded": ({"fc": [3, 3], "fc1": [1, 1]}, 1),
    "audio": ({"fc": [11], "fc1": [1]}, 1),
    "volume": ({"fc": [2, 3, 4], "fc1": [1, 1, 1]}, 1),
}


@pytest.mark.parametrize("name", KERNELS)
def test_every_layer_of_a_fixture_is_converted(name: str) -> None:
    model = onnx.load(FIXTURES / f"{name}.onnx")
    conversion = fc2conv.convert(model, options=fc2conv.Options(verify=False))
    for batch in (1, 3):
        inputs = feeds(model, {"N": batch})
        assert difference(run(model, inputs), run(conversion.model, inputs)) <= 1e-5
    kernels, layout = KERNELS[name]
    assert {layer.node: layer.kernel_shape for layer in conversion.report.sites} == kernels
    assert layout_nodes(conversion.model) <= layout


def test_every_fixture_is_tried() -> None:
    assert KERNELS.keys() == {path.stem for path in FIXTURES.glob("*.onnx")}
