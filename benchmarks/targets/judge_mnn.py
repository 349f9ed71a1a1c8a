"""MNN as a judge: one CPU thread, float32. `pip install MNN onnx onnxruntime`

The converter is called as a library: its command installs a logger with the first `pip` of the path, and reports
that it was used.
"""

from __future__ import annotations

import importlib.metadata
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import _tools
import MNN
import numpy as np
import onnx
from judging import Loaded, judge


def load(path: Path) -> Loaded:
    """A module of what the converter writes."""
    model = onnx.load(path, load_external_data=False)
    weights = {tensor.name for tensor in model.graph.initializer}
    names = [value.name for value in model.graph.input if value.name not in weights]
    outputs = [value.name for value in model.graph.output]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "model.mnn"
        options = {"-f": "ONNX", "--modelFile": str(path), "--MNNModel": str(file), "--bizCode": "judge"}
        _tools.mnnconvert(["mnnconvert", *(part for option in options.items() for part in option)])
        if not file.exists():
            raise ValueError("the converter wrote no file")
        manager = MNN.nn.create_runtime_manager(({"backend": "CPU", "precision": "high", "numThread": 1},))
        module = MNN.nn.load_module_from_file(str(file), names, outputs, runtime_manager=manager)

    def run(inputs: Mapping[str, Any]) -> list[Any]:
        given = []
        for name in names:
            array = np.ascontiguousarray(inputs[name])
            kind = MNN.expr.int if np.issubdtype(array.dtype, np.integer) else MNN.expr.float
            given.append(MNN.expr.const(array, list(array.shape), MNN.expr.NCHW, kind))
        found = module.forward(given)
        found = found if isinstance(found, list | tuple) else [found]
        return [np.array(MNN.expr.convert(each, MNN.expr.NCHW).read()) for each in found]

    return Loaded(run)


if __name__ == "__main__":
    judge("MNN", importlib.metadata.version("MNN"), load)
