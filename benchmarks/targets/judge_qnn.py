"""onnxruntime-qnn as a judge: the compiler for Qualcomm's HTP, and its emulator on x86 Linux.

`pip install onnxruntime-qnn onnxruntime onnx`; float32 runs as float16. The compiler states no cycles, and the time
of an emulator says nothing about a chip: run it with `--rounds 0`.
"""

from __future__ import annotations

import contextlib
import json
import tempfile
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import onnxruntime
import onnxruntime_qnn
from judging import Loaded, inputs_of, judge


def load(path: Path) -> Loaded:
    """A session, and how many nodes it leaves to the CPU."""
    name = onnxruntime_qnn.get_ep_name()
    with contextlib.suppress(onnxruntime.capi.onnxruntime_pybind11_state.Fail):
        onnxruntime.register_execution_provider_library(name, onnxruntime_qnn.get_library_path())
    devices = [device for device in onnxruntime.get_ep_devices() if device.ep_name == name]
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.add_provider_for_devices(devices[:1], {"backend_path": onnxruntime_qnn.get_qnn_htp_path()})
    with tempfile.TemporaryDirectory() as folder:
        options.enable_profiling, options.profile_file_prefix = True, str(Path(folder) / "profile")
        session = onnxruntime.InferenceSession(path, options)
        session.run(None, inputs_of(path))
        events = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
    kinds = Counter(
        (event["args"]["provider"], event["args"]["op_name"])
        for event in events
        if event.get("cat") == "Node" and "provider" in event.get("args", {})
    )
    left = sum(count for (provider, _), count in kinds.items() if not provider.startswith("QNN"))
    pieces = sum(count for (provider, _), count in kinds.items() if provider.startswith("QNN"))

    def run(inputs: Mapping[str, Any]) -> list[Any]:
        return list(session.run(None, dict(inputs)))

    return Loaded(run, f"{pieces} pieces on the HTP, {left} nodes on the CPU")


if __name__ == "__main__":
    judge("onnxruntime-qnn", f"{onnxruntime_qnn.__version__}, onnxruntime {onnxruntime.__version__}", load)
