"""Vela, the compiler for Arm Ethos-U, as a judge: the cycles that it estimates, and operators left to the CPU.

`pip install onnx2tf tensorflow ethos-u-vela onnx onnxruntime`; a model is written as TFLite with int8, from four random
batches, and compiled for a U55, a U65 and a U85. The gap is that of the quantized model, run by TFLite.
"""

from __future__ import annotations

import contextlib
import csv
import importlib.metadata
import math
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

os.environ |= {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "", "TF_USE_LEGACY_KERAS": "1"}

import numpy as np
from judging import Loaded, inputs_of, judge

MACHINES = ("ethos-u55-128", "ethos-u65-256", "ethos-u85-256")


def load(path: Path) -> Loaded:
    """A quantized model, and what Vela says of it for each machine."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "model.tflite"
        file.write_bytes(_quantized(path, Path(folder) / "saved"))
        answers = {machine: _vela(file, machine) for machine in MACHINES}
        content = file.read_bytes()
    said = {f"{npu} operators on the NPU, {cpu} on the CPU" for npu, cpu, _ in answers.values()}
    costs = {machine.removeprefix("ethos-"): cycles for machine, (*_, cycles) in answers.items()}
    return Loaded(lambda inputs: _run(content, inputs), " or ".join(sorted(said)), costs)


def _quantized(path: Path, folder: Path) -> bytes:
    import onnx2tf
    import tensorflow

    images = np.random.default_rng(0).random((20, 128, 128, 3), np.float32)
    np.save(folder.parent / "calibration_image_sample_data_20x128x128x3_float32.npy", images)
    source = str(path.resolve())
    try:
        with contextlib.chdir(folder.parent):  # where the images lie that onnx2tf would download
            onnx2tf.convert(
                input_onnx_file_path=source,
                output_folder_path=str(folder),
                non_verbose=True,
                output_signaturedefs=True,
                not_use_onnxsim=True,
            )
    except SystemExit as error:
        raise ValueError("onnx2tf does not convert it") from error
    inputs = inputs_of(path)
    signature = tensorflow.saved_model.load(str(folder)).signatures["serving_default"]
    wanted = signature.structured_input_signature[1]

    def examples() -> Iterator[dict[str, Any]]:
        for scale in (0.5, 1.0, 1.0, 2.0):
            yield {name: _like(spec, inputs, name, scale) for name, spec in wanted.items()}

    converter = tensorflow.lite.TFLiteConverter.from_saved_model(str(folder))
    converter.optimizations = [tensorflow.lite.Optimize.DEFAULT]
    converter.representative_dataset = examples
    converter.target_spec.supported_ops = [tensorflow.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = converter.inference_output_type = tensorflow.int8
    return bytes(converter.convert())


def _like(spec: Any, inputs: Mapping[str, Any], name: str, scale: float) -> Any:
    """The array of an input as TensorFlow has it: channels last."""
    plain = {re.sub(r"\W", "_", key): array for key, array in inputs.items()}
    array = inputs.get(name, plain.get(re.sub(r"\W", "_", name)))
    if array is None:
        array = next(iter(inputs.values()))
    array = _last(array, tuple(spec.shape))
    return (array * scale).astype(array.dtype) if np.issubdtype(array.dtype, np.floating) else array


def _last(array: Any, shape: tuple[int, ...]) -> Any:
    """An array with its channels last, where the shape asks for that."""
    moved = np.moveaxis(array, 1, -1) if array.ndim > 2 else array
    return np.ascontiguousarray(moved if moved.shape == shape else array)


def _vela(file: Path, machine: str) -> tuple[int, int, float]:
    """Operators on the NPU, operators on the CPU, and cycles."""
    out = file.parent / machine
    command = [
        str(Path(sys.executable).with_name("vela")),
        str(file),
        "--accelerator-config",
        machine,
        "--output-dir",
        str(out),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=280)
    counts = {kind: int(number) for kind, number in re.findall(r"(CPU|NPU) operators = (\d+)", done.stdout)}
    summaries = list(out.glob("*_summary_*.csv"))
    if done.returncode or not summaries:
        lines = (done.stderr + done.stdout).strip().splitlines() or ["no answer"]
        crash = f" crashed with signal {-done.returncode}," if done.returncode < 0 else ""
        raise ValueError(f"vela for {machine}{crash}: {lines[-1]}")
    with summaries[0].open() as rows:
        row = next(csv.DictReader(rows))
    return counts.get("NPU", 0), counts.get("CPU", 0), float(row["cycles_total"])


def _run(content: bytes, inputs: Mapping[str, Any]) -> list[Any]:
    import tensorflow

    interpreter = tensorflow.lite.Interpreter(model_content=content, num_threads=1)
    interpreter.allocate_tensors()
    for detail in interpreter.get_input_details():
        spec = tensorflow.TensorSpec(detail["shape"])
        array = _like(spec, inputs, detail["name"].removeprefix("serving_default_").partition(":")[0], 1.0)
        scale, zero = detail["quantization"]
        if scale:
            array = np.clip(np.round(array / scale) + zero, -128, 127)
        interpreter.set_tensor(detail["index"], array.astype(detail["dtype"]))
    interpreter.invoke()
    found = []
    for detail in sorted(interpreter.get_output_details(), key=lambda each: each["name"]):
        scale, zero = detail["quantization"]
        array = interpreter.get_tensor(detail["index"])
        found.append((array.astype(np.float32) - zero) * scale if scale else array)
    return [np.moveaxis(each, -1, 1) if each.ndim > 2 else each for each in found]


if __name__ == "__main__":
    versions = (importlib.metadata.version(name) for name in ("ethos-u-vela", "onnx2tf", "tensorflow"))
    judge("Vela", "{}, onnx2tf {}, TensorFlow {}".format(*versions), load, math.inf)
