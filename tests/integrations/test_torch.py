"""Programs of torch.onnx.export(dynamo=True), converted in memory."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from execute import run

import fc2conv

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
pytest.importorskip("onnxscript", reason="onnxscript is not installed, and PyTorch's exporter needs it")


@pytest.fixture(scope="module")
def program() -> Any:
    torch.manual_seed(0)
    network = torch.nn.Sequential(
        torch.nn.Conv2d(3, 8, 3),
        torch.nn.ReLU(),
        torch.nn.Flatten(),
        torch.nn.Linear(8 * 4 * 4, 7),
        torch.nn.ReLU(),
        torch.nn.Linear(7, 5),
    ).eval()
    return torch.onnx.export(network, (torch.randn(1, 3, 6, 6),), dynamo=True, verbose=False)


@pytest.mark.parametrize("form", ["program", "model", "model_proto"])
def test_a_program_is_converted_in_memory(program: Any, form: str) -> None:
    given = program if form == "program" else getattr(program, form)
    conversion = fc2conv.convert(given)
    assert conversion.model is not None
    assert [layer.kernel_shape for layer in conversion.report.converted] == [[4, 4], [1, 1]]
    before, image = program.model_proto, np.random.default_rng(0).standard_normal((1, 3, 6, 6), np.float32)
    inputs = {before.graph.input[0].name: image}
    assert np.abs(run(before, inputs)[0] - run(conversion.model, inputs)[0]).max() < 1e-5
