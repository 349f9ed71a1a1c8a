"""IREE as a judge: its CPU code, one thread. `pip install 'iree-base-compiler[onnx]' iree-base-runtime onnxruntime`"""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import iree.runtime
import onnx
from judging import Loaded, judge

DEVICE = ("--iree-hal-target-device=local", "--iree-hal-local-target-device-backends=llvm-cpu")


def load(path: Path) -> Loaded:
    """A compiled module."""
    with tempfile.TemporaryDirectory() as folder:
        imported, compiled = Path(folder) / "model.mlir", Path(folder) / "model.vmfb"
        _run("iree-import-onnx", str(path), "--opset-version", "17", "-o", str(imported))
        _run("iree-compile", str(imported), *DEVICE, "--iree-llvmcpu-target-cpu=host", "-o", str(compiled))
        content = compiled.read_bytes()
    config = iree.runtime.Config("local-sync")
    module = iree.runtime.load_vm_module(iree.runtime.VmModule.copy_buffer(config.vm_instance, content), config)
    graph = onnx.load(path, load_external_data=False).graph
    call = module[graph.name]
    weights = {tensor.name for tensor in graph.initializer}
    names = [value.name for value in graph.input if value.name not in weights]

    def run(inputs: Mapping[str, Any]) -> list[Any]:
        found = call(*(inputs[name] for name in names))
        return [each.to_host() for each in (found if isinstance(found, list | tuple) else [found])]

    return Loaded(run)


def _run(program: str, *arguments: str) -> None:
    command = [str(Path(sys.executable).with_name(program)), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False, timeout=250)
    if done.returncode:
        errors = [line for line in done.stderr.splitlines() if "error:" in line] or done.stderr.splitlines() or [""]
        raise ValueError(f"{program}: {errors[0].partition('error:')[2] or errors[0]}")


if __name__ == "__main__":
    judge("IREE", importlib.metadata.version("iree-base-compiler"), load)
