"""Exports architectures, each in a process of its own; what became of each is a line of exported.jsonl.

What has a line is not exported again, so that a run that was interrupted goes on where it ended.
"""

from __future__ import annotations

import itertools
import json
import os
import random
import signal
import time
import traceback
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from .architecture import Architecture
from .lines import EXPORTED, append, lines

SECONDS = 240
SCRIPT_OPSETS = (11, 13, 14, 16, 17, 18, 20)
DYNAMO_OPSETS = (18, 18, 20, 21, 23)
MAX_BYTES = 130 << 20


def export_all(folder: Path, architectures: list[Architecture], only: list[str], *, retry: bool) -> None:
    """Exports what has no line yet: all by TorchScript (or skl2onnx), every second one by dynamo too."""
    import timm  # noqa: F401  what every child needs is imported once, before the first fork
    import torchvision  # noqa: F401
    import transformers  # noqa: F401

    folder.mkdir(parents=True, exist_ok=True)
    done = {line["model"] for line in lines(folder / EXPORTED) if not (retry and "error" in line)}
    for architecture, exporter in _planned(architectures):
        stem = architecture.stem(exporter)
        if stem in done or (only and not any(part in stem for part in only)):
            continue
        path = folder / f"{stem}.onnx"
        path.parent.mkdir(parents=True, exist_ok=True)
        start = time.monotonic()
        line = _apart(lambda a=architecture, e=exporter, p=path: EXPORTERS[e](a, p))  # type: ignore[misc]
        line = {"model": stem, "family": architecture.family, "exporter": exporter, **line}
        if "error" in line:
            path.unlink(missing_ok=True)
        append(folder / EXPORTED, line)
        print(f"{stem}: {line.get('error', 'exported')[:200]} ({time.monotonic() - start:.0f} s)", flush=True)


def _planned(architectures: list[Architecture]) -> list[tuple[Architecture, str]]:
    """What is exported by what: all by one exporter, every second network by both; the slow ones take turns."""
    pipelines = [each for each in architectures if each.family == "scikit-learn"]
    networks = [each for each in architectures if each.family != "scikit-learn"]
    quick = [(each, "torchscript") for each in networks]
    slow = [(each, "dynamo") for each in networks[::2]]
    turns = itertools.chain.from_iterable(itertools.zip_longest(quick, slow))
    return [*((each, "skl2onnx") for each in pipelines), *(each for each in turns if each is not None)]


def _apart(work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What the work gives in a forked child, or why it gave nothing."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        quiet = os.open(os.devnull, os.O_WRONLY)
        os.dup2(quiet, 1)
        os.dup2(quiet, 2)
        signal.alarm(SECONDS)
        try:
            line = work()
        except BaseException as error:  # noqa: BLE001  whatever an exporter raises is its answer
            where = traceback.extract_tb(error.__traceback__)[-1]
            line = {"error": f"{type(error).__name__}: {str(error)[:300]} ({where.name})"}
        with os.fdopen(writing, "w") as pipe:
            json.dump(line, pipe)
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        text = pipe.read()
    _, status = os.waitpid(child, 0)
    return json.loads(text) if text else {"error": f"the exporter ended with status {status}"}  # type: ignore[no-any-return]


# ------------------------------------------------------------------ the exporters, in the child


def _torchscript(architecture: Architecture, path: Path) -> dict[str, Any]:
    import torch

    module, inputs = _made(architecture)
    opset = SCRIPT_OPSETS[zlib.crc32(architecture.name.encode()) % len(SCRIPT_OPSETS)]

    def write(batch: bool, version: int) -> None:
        torch.onnx.export(
            module,
            tuple(inputs.values()),
            str(path),
            dynamo=False,
            opset_version=version,
            input_names=list(inputs),
            dynamic_axes={name: {0: "batch"} for name in inputs} if batch else None,
        )

    return _first_of(architecture, path, inputs, write, (opset, 17, 20))


def _dynamo(architecture: Architecture, path: Path) -> dict[str, Any]:
    import torch

    module, inputs = _made(architecture)
    opset = DYNAMO_OPSETS[zlib.crc32(architecture.name.encode()) % len(DYNAMO_OPSETS)]

    def write(batch: bool, version: int) -> None:
        size = torch.export.Dim("batch", min=1, max=64)
        torch.onnx.export(
            module,
            tuple(inputs.values()),
            str(path),
            dynamo=True,
            opset_version=version,
            input_names=list(inputs),
            dynamic_shapes={"arguments": tuple({0: size} for _ in inputs)} if batch else None,
            external_data=False,
            verbose=False,
        )

    return _first_of(architecture, path, inputs, write, (opset, 18))


def _first_of(
    architecture: Architecture,
    path: Path,
    inputs: dict[str, Any],
    write: Callable[[bool, int], None],
    opsets: tuple[int, ...],
) -> dict[str, Any]:
    """Tries an open batch at each opset, then a fixed one."""
    errors = []
    for batch in (True, False) if architecture.open_batch else (False,):
        for opset in dict.fromkeys(opsets):
            try:
                write(batch, opset)
            except Exception as error:  # noqa: BLE001  exporters raise whatever they like
                errors.append(f"opset {opset}, batch {'open' if batch else 'fixed'}: {type(error).__name__}: {error}")
                continue
            if path.stat().st_size > MAX_BYTES:
                raise ValueError(f"the file has {path.stat().st_size >> 20} MiB")
            return {"opset": opset, "open": batch, "inputs": {k: _described(v.numpy()) for k, v in inputs.items()}}
    raise ValueError(" | ".join(" ".join(error.split())[:250] for error in errors))


def _made(architecture: Architecture) -> tuple[Any, dict[str, Any]]:
    """The module in evaluation mode, with every parameter and statistic random, and its inputs."""
    import torch

    random.seed(0)
    torch.manual_seed(0)
    module, inputs = architecture.make()
    for name, tensor in [*module.named_parameters(), *module.named_buffers()]:
        if not torch.is_floating_point(tensor):
            continue
        with torch.no_grad():
            if name.endswith("running_var"):
                tensor.uniform_(0.5, 1.5)
            elif name.endswith("running_mean"):
                tensor.normal_(0, 0.1)
            elif name.endswith(("bias", "gamma", "weight")) and tensor.dim() == 1:
                tensor.add_(torch.randn_like(tensor) * 0.1)
    return _Flat(module.eval(), list(inputs)), inputs


def _Flat(module: Any, names: list[str]) -> Any:  # noqa: N802  a class that needs torch
    import torch

    class Flat(torch.nn.Module):
        """The module with its inputs by position, and the tensors of its result in a row."""

        def __init__(self) -> None:
            super().__init__()
            self.module = module

        def forward(self, *arguments: Any) -> Any:
            return tuple(_tensors(self.module(**dict(zip(names, arguments, strict=True)))))

    return Flat()


def _tensors(value: Any) -> Iterator[Any]:
    if hasattr(value, "detach"):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from _tensors(item)
    elif isinstance(value, (tuple, list)):
        for item in value:
            yield from _tensors(item)


def _sklearn(architecture: Architecture, path: Path) -> dict[str, Any]:
    model, rest = architecture.make()
    path.write_bytes(model.SerializeToString())
    opset = next(entry.version for entry in model.opset_import if entry.domain == "")
    return {"opset": opset, "open": True, "inputs": {k: _described(v) for k, v in rest.items()}}


def _described(array: Any) -> dict[str, Any]:
    """The type and shape of an example, and between which values it lies."""
    bounds = [array.min().item(), array.max().item()] if array.size else [0, 0]
    return {"dtype": str(array.dtype), "shape": list(array.shape), "bounds": bounds}


EXPORTERS: dict[str, Callable[[Architecture, Path], dict[str, Any]]] = {
    "torchscript": _torchscript,
    "dynamo": _dynamo,
    "skl2onnx": _sklearn,
}
