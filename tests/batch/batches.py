"""What the tests of batches need: tiny models, runs of the command in this process, and looks at what came of them."""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import onnx
from onnx import numpy_helper
from textmodel import parse

from fc2conv.__main__ import main
from fc2conv.batch.results import collected, folder_of
from fc2conv.report.types import BatchReport, BatchRow

T = TypeVar("T")

TEXT = """
tiny (float[N,3,4,4] x) => (float[N,5] y) <float[5,12] fc_w, float[5] fc_b>
{
  m = MaxPool <kernel_shape = [2, 2], strides = [2, 2]> (x)
  f = Flatten (m)
  [fc] y = Gemm <transB = 1> (f, fc_w, fc_b)
}
"""
PLAIN = "plain (float[N,3] x) => (float[N,3] y) { y = Relu (x) }"
KEPT = "kept (float[N,8] x) => (float[N,5] y) <float[8,5] w> { [fc] y = MatMul (x, w) }"
"""A layer that no feature map reaches."""

WIDE_KEPT = KEPT.replace("[8,5]", "[8,500]").replace("N,5]", "N,500]")
"""The same with 16 kB of weights."""

WIDE = TEXT.replace("float[5,12] fc_w, float[5] fc_b", "float[512,12] fc_w, float[512] fc_b").replace("N,5]", "N,512]")
"""24 KiB of weights, which may be external."""


def model(text: str = TEXT, seed: int = 0) -> onnx.ModelProto:
    """The model of a text, its weights random by `seed`."""
    made = parse(text)
    random = np.random.default_rng(seed)
    for tensor in made.graph.initializer:
        values = random.standard_normal(tuple(tensor.dims)).astype(np.float32)
        tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    return made


def save(path: Path, seed: int = 0, text: str = TEXT) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(model(text, seed).SerializeToString())
    return path


def save_external(path: Path, data: str, seed: int = 0, text: str = WIDE) -> Path:
    """A model whose weights are in the file `data` beside it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    (path.parent / data).unlink(missing_ok=True)
    onnx.save(model(text, seed), path, save_as_external_data=True, location=data, size_threshold=1024)
    return path


def batch(source: object, destination: object, *more: str) -> int:
    """The command, run in this process."""
    return main(["batch", str(source), str(destination), *more])


def report_of(run: Path) -> BatchReport:
    return collected(folder_of(run))[0]


def rows_of(run: Path) -> dict[str, BatchRow]:
    return {row.name: row for row in report_of(run).rows}


def outcomes_of(run: Path) -> dict[str, str]:
    return {row.name: row.outcome for row in report_of(run).rows}


def files_of(folder: Path) -> dict[str, str]:
    """The SHA-256 of every file below a folder, what the run keeps for itself aside."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file() and not any(part.startswith(".fc2conv") for part in path.relative_to(folder).parts)
    }


def wait_for(event: Callable[[], T | None], seconds: float = 60) -> T:
    """What `event` gives as soon as it gives something."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := event():
            return found
        threading.Event().wait(0.02)
    raise AssertionError(f"not seen in {seconds} s")


def timeless(run: Path) -> Any:
    """The report of a run without what differs from run to run."""

    def without(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: without(item) for key, item in value.items() if key != "run"}
        return [without(item) for item in value] if isinstance(value, list) else value

    return without(json.loads((run / ".fc2conv" / "report.json").read_text()))
