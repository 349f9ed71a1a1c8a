"""ncnn as a judge, through pnnx: one CPU thread, float32.

`pip install ncnn onnx onnxruntime` and `pip install --no-deps pnnx`: the program in its wheel needs no PyTorch.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import subprocess
import tempfile
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ncnn
import numpy as np
import onnx
from judging import Loaded, judge

FOLDERS: list[tempfile.TemporaryDirectory[str]] = []


def load(path: Path) -> Loaded:
    """A net of what pnnx writes, and how many layers of the kinds that matter it has."""
    FOLDERS.append(tempfile.TemporaryDirectory())
    target = Path(FOLDERS[-1].name) / "model.onnx"
    target.symlink_to(path.resolve())
    model = onnx.load(path, load_external_data=False)
    weights = {tensor.name for tensor in model.graph.initializer}
    names = [value.name for value in model.graph.input if value.name not in weights]
    spec = importlib.util.find_spec("pnnx")
    assert spec is not None
    assert spec.origin is not None
    done = subprocess.run(
        [str(Path(spec.origin).with_name("pnnx")), "model.onnx"],
        cwd=target.parent, capture_output=True, text=True, errors="replace", check=False, timeout=250,
    )  # fmt: skip
    param = target.with_name("model.ncnn.param")
    if not param.exists():
        raise ValueError(f"pnnx: {(done.stderr.strip().splitlines() or ['no file'])[-1]}")
    kinds = Counter(line.split()[0] for line in param.read_text().splitlines()[2:])
    net = ncnn.Net()
    net.opt.num_threads, net.opt.use_vulkan_compute = 1, False
    net.opt.use_fp16_packed = net.opt.use_fp16_storage = net.opt.use_fp16_arithmetic = net.opt.use_bf16_storage = False
    if net.load_param(str(param)) or net.load_model(str(param.with_suffix(".bin"))):
        raise ValueError(
            f"ncnn does not load it; of pnnx alone: {', '.join(name for name in kinds if '.' in name) or 'none'}"
        )

    def run(inputs: Mapping[str, Any]) -> list[Any]:
        extractor = net.create_extractor()
        held = [np.ascontiguousarray(inputs[name][0] if inputs[name].ndim > 1 else inputs[name]) for name in names]
        for i, array in enumerate(held):
            extractor.input(f"in{i}", ncnn.Mat(array))
        found = []
        for i in range(len(model.graph.output)):
            code, mat = extractor.extract(f"out{i}")
            if code:
                raise ValueError(f"no output {i}")
            found.append(np.array(mat))
        return found

    return Loaded(
        run,
        ", ".join(
            f"{kinds[name]} {name}" for name in ("Convolution", "Convolution1D", "InnerProduct", "Gemm") if kinds[name]
        ),
    )


if __name__ == "__main__":
    judge("ncnn", f"{ncnn.__version__}, pnnx {importlib.metadata.version('pnnx')}", load)
