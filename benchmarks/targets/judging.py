"""What every judge does: takes pairs, runs both models in turns, and prints one row of a table for each.

A judge is a function that loads a model and returns a `Loaded`. It raises any exception for a model that it refuses.
"""

from __future__ import annotations

import argparse
import math
import random
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime

LEAST = 0.02
"""Seconds that one turn takes at least."""

Arrays = dict[str, "np.ndarray[Any, Any]"]


@dataclass
class Loaded:
    """A model as a judge has it: how it is run, and what is said of its nodes."""

    run: Callable[[Mapping[str, Any]], list[Any]]
    said: str = ""


def judge(name: str, version: str, load: Callable[[Path], Loaded]) -> None:
    """Judge the pairs of a folder that the command line names; print a table."""
    parser = argparse.ArgumentParser(description=f"What {name} makes of models before and after a conversion.")
    parser.add_argument("pairs", type=Path, help="the folder that pairs.py has written")
    parser.add_argument("--rounds", type=int, default=21)
    arguments = parser.parse_args()
    print(f"{name} {version}\n")
    print("| model | before | after | equal to onnxruntime | time after / before (95 %) |")
    print("| --- | --- | --- | --- | --- |")
    ratios = []
    for after in sorted(arguments.pairs.glob("*.after.onnx")):
        before = after.with_name(after.name.replace(".after.", ".before."))
        row, ratio = _row(before, after, load, arguments.rounds)
        print(f"| {after.name.removesuffix('.after.onnx')} | {row} |", flush=True)
        ratios += [ratio] if ratio else []
    if ratios:
        print(f"\nGeometric mean of the ratios: {math.exp(statistics.fmean(map(math.log, ratios))):.3f}")


def _row(before: Path, after: Path, load: Callable[[Path], Loaded], rounds: int) -> tuple[str, float]:
    inputs = _inputs(before)
    expected = _reference(before, inputs)
    cells, loaded = [], []
    for path in (before, after):
        try:
            found = load(path)
            given = found.run(inputs)
        except Exception as error:  # noqa: BLE001 (a refusal is the answer, whatever the judge raises)
            cells.append(f"refused: {str(error).strip().splitlines()[0][:60] if str(error).strip() else type(error)}")
            continue
        loaded.append(found)
        cells.append(f"accepted{f', {found.said}' if found.said else ''}")
        last = _gap(expected, given)
    if len(loaded) < 2:
        return " | ".join([*cells, "", ""]), 0.0
    found, low, high = _times(*loaded, inputs, rounds)
    return " | ".join([*cells, f"{last:.1e}", f"{found:.3f} ({low:.3f} to {high:.3f})"]), found


def _inputs(path: Path) -> Arrays:
    model = onnx.load(path, load_external_data=False)
    weights = {tensor.name for tensor in model.graph.initializer}
    own = np.random.default_rng(0)
    out: Arrays = {}
    for value in model.graph.input:
        if value.name in weights:
            continue
        kind = value.type.tensor_type
        dtype = onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type)
        shape = [dim.dim_value for dim in kind.shape.dim]
        whole = np.issubdtype(dtype, np.integer)
        out[value.name] = (own.integers(0, 4, shape) if whole else own.standard_normal(shape)).astype(dtype)
    return out


def _reference(path: Path, inputs: Mapping[str, Any]) -> list[Any]:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"]).run(None, dict(inputs))


def _gap(expected: list[Any], given: list[Any]) -> float:
    """The largest difference of an output, by its largest value."""
    gaps = []
    for one, other in zip(expected, given, strict=True):
        a, b = np.asarray(one, np.float64), np.asarray(other, np.float64)
        gaps.append(float(np.abs(a.ravel() - b.ravel()).max() / max(np.abs(a).max(), 1e-30)) if a.size else 0.0)
    return max(gaps)


def _times(one: Loaded, other: Loaded, inputs: Mapping[str, Any], rounds: int) -> tuple[float, float, float]:
    """The median of paired ratios, with a bootstrap interval."""
    repeat = max(1, math.ceil(LEAST / max(_turn(one, inputs, 1), 1e-6)))
    ratios = []
    for i in range(rounds):
        first, second = (one, other) if i % 2 else (other, one)
        taken = {id(each): _turn(each, inputs, repeat) for each in (first, second)}
        ratios.append(taken[id(other)] / taken[id(one)])
    own = random.Random(0)
    medians = sorted(statistics.median(own.choices(ratios, k=len(ratios))) for _ in range(1000))
    return statistics.median(ratios), medians[25], medians[974]


def _turn(loaded: Loaded, inputs: Mapping[str, Any], repeat: int) -> float:
    start = time.perf_counter()
    for _ in range(repeat):
        loaded.run(inputs)
    return time.perf_counter() - start
