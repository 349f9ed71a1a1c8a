"""OpenVINO's CPU plugin as a judge: one thread, float32. `pip install openvino onnx onnxruntime`"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import openvino
from judging import Loaded, judge

CORE = openvino.Core()
SETTINGS = {"INFERENCE_NUM_THREADS": 1, "INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}


def load(path: Path) -> Loaded:
    """A compiled model, and how many nodes of the kinds that matter it has."""
    compiled = CORE.compile_model(CORE.read_model(path), "CPU", SETTINGS)
    request = compiled.create_infer_request()
    kinds = Counter(node.get_rt_info()["layerType"] for node in compiled.get_runtime_model().get_ops())
    said = ", ".join(f"{kinds[name]} {name}" for name in ("Convolution", "FullyConnected", "Reorder") if kinds[name])

    def run(inputs: object) -> list[object]:
        found = request.infer(inputs)
        return [found[each] for each in compiled.outputs]

    return Loaded(run, said)


if __name__ == "__main__":
    judge("OpenVINO", openvino.__version__, load)
