"""What every judge does: takes pairs, gives each model to a process of its own, and prints a table of the answers.

A judge is a function that loads a model and returns a `Loaded`. It raises any exception for a model that it refuses. A
crash and a process that does not end are answers too. Where the judge states costs, as a compiler for an accelerator
does, those are compared; else both models are timed in turns.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import random
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime

LEAST = 0.02
"""Seconds that one turn takes at least."""

Arrays = dict[str, "np.ndarray[Any, Any]"]
Answer = dict[str, Any]


@dataclass
class Loaded:
    """A model as a judge has it: how it is run, what is said of its nodes, and what a run costs on each machine."""

    run: Callable[[Mapping[str, Any]], list[Any]]
    said: str = ""
    costs: Mapping[str, float] = field(default_factory=dict)


Load = Callable[[Path], Loaded]


def judge(name: str, version: str, load: Load, tolerance: float = 0.01) -> None:
    """Judge the pairs of a folder that the command line names; print a table.

    A result that is farther from onnxruntime's than `tolerance`, by its largest value, is wrong.
    """
    parser = argparse.ArgumentParser(description=f"What {name} makes of models before and after a conversion.")
    parser.add_argument("pairs", type=Path, help="the folder that pairs.py has written")
    parser.add_argument("--rounds", type=int, default=21, help="of timing; 0: none")
    parser.add_argument("--timeout", type=int, default=300, help="seconds for one process")
    parser.add_argument("--only", default="", help="models with this in their name")
    parser.add_argument("--child", nargs="+", type=Path, help=argparse.SUPPRESS)
    given, _ = parser.parse_known_args()
    if given.child:
        with _last_line() as say:
            looks = given.rounds < 0
            say(_look(load, tolerance, given.pairs, *given.child) if looks else _time(load, given.rounds, *given.child))
        return
    print(f"{name} {version}\n", flush=True)
    print("| model | before | after | gap before | gap after | after / before |\n| --- | --- | --- | --- | --- | --- |")
    answers = {}
    for before in sorted(given.pairs.glob("*.before.onnx")):
        model = before.name.removesuffix(".before.onnx")
        if given.only in model:
            answers[model] = _pair(before, given)
            print(f"| {model} | {' | '.join(_cells(answers[model]))} |", flush=True)
    print(f"\n{families(answers)}")


def families(answers: Mapping[str, Answer]) -> str:
    """A row for each family: the part of a model's name before two underscores."""
    grouped: dict[str, list[Answer]] = defaultdict(list)
    for model, answer in answers.items():
        grouped[model.partition("__")[0] if "__" in model else "fixtures"].append(answer)
    grouped["all"] = list(answers.values())
    rows = ["| family | models | converted | accepted before | accepted after | gap | after / before | largest |"]
    rows.append("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for family, members in grouped.items():
        changed = [each for each in members if each["after"] is not None]
        accepted = ["refused" not in each["before"] for each in members]
        still = ["refused" not in (each["after"] or each["before"]) for each in members]
        gaps = [(each["after"] or {}).get("gap", 0.0) for each in members]
        ratios = [each["ratio"][0] for each in changed if each.get("ratio")]
        mean = f"{math.exp(statistics.fmean(map(math.log, ratios))):.3f}" if ratios else ""
        cells = [family, len(members), len(changed), sum(accepted), sum(still), f"{max(gaps, default=0.0):.0e}", mean]
        rows.append(f"| {' | '.join(map(str, cells))} | {f'{max(ratios):.3f}' if ratios else ''} |")
    return "\n".join(rows)


def _pair(before: Path, given: argparse.Namespace) -> Answer:
    """What the judge answers to both models of a pair, and the ratio of their costs; no second answer where none is."""
    after = before.with_name(before.name.replace(".before.", ".after."))
    out: Answer = {"before": _ask(before, given, -1, before), "after": None, "ratio": []}
    if not after.exists():
        return out
    out["after"] = _ask(before, given, -1, after)
    costs = [each.get("costs") for each in (out["before"], out["after"])]
    if all(costs):
        ratios = [costs[1][key] / costs[0][key] for key in costs[0]]
        out["ratio"] = [max(ratios), min(ratios), max(ratios)]
    elif given.rounds and not any("refused" in out[each] for each in ("before", "after")):
        out["ratio"] = _ask(before, given, given.rounds, before, after).get("ratio", [])
    return out


def _cells(answer: Answer) -> list[str]:
    shown, gaps = [], []
    for each in (answer["before"], answer["after"]):
        if each is None:
            shown, gaps = [*shown, "nothing is converted"], [*gaps, ""]
        elif "refused" in each:
            shown, gaps = [*shown, f"refused: {each['refused']}"], [*gaps, ""]
        else:
            costs = [f"{name} {cost:.0f}" for name, cost in each["costs"].items()]
            shown, gaps = (
                [*shown, ", ".join(["accepted", *filter(None, [each["said"]]), *costs])],
                [*gaps, f"{each['gap']:.1e}"],
            )
    ratio = answer["ratio"]
    return [*shown, *gaps, f"{ratio[0]:.3f} ({ratio[1]:.3f} to {ratio[2]:.3f})" if ratio else ""]


def _ask(reference: Path, given: argparse.Namespace, rounds: int, *models: Path) -> Answer:
    """The answer of a process of its own."""
    command = [sys.executable, sys.argv[0], str(reference), "--rounds", str(rounds)]
    command += ["--child", *map(str, models)]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", timeout=given.timeout, check=False
        )
    except subprocess.TimeoutExpired:
        return {"refused": f"no answer in {given.timeout} s"}
    lines = done.stdout.strip().splitlines()
    if done.returncode < 0 or not lines or not lines[-1].startswith("{"):
        return {"refused": f"crashed with signal {-done.returncode}" if done.returncode < 0 else "no answer"}
    found: Answer = json.loads(lines[-1])
    return found


@contextlib.contextmanager
def _last_line() -> Any:
    """A function that writes an answer as the last line of the output, whatever the judge prints."""
    answers: list[Answer] = []
    yield answers.append
    print(f"\n{json.dumps(answers[0])}", flush=True)


def _look(load: Load, tolerance: float, reference: Path, model: Path) -> Answer:
    """Whether a model is accepted, what is said of it, and how far its results are from the reference's."""
    inputs = inputs_of(reference)
    expected = _expected(reference, inputs)
    try:
        found = load(model)
        gap = _gap(expected, found.run(inputs))
    except Exception as error:  # noqa: BLE001 (a refusal is the answer, whatever the judge raises)
        lines = str(error).strip().splitlines() or [type(error).__name__]
        return {"refused": lines[0][:100].replace("|", "/")}
    if not gap < tolerance:
        return {"refused": f"wrong by {gap:.1e}"}
    return {"said": found.said, "costs": dict(found.costs), "gap": gap}


def _time(load: Load, rounds: int, before: Path, after: Path) -> Answer:
    """The ratio of times of a pair, with its interval."""
    return {"ratio": _times(load(before), load(after), inputs_of(before), rounds)}


def inputs_of(path: Path) -> Arrays:
    """Random arrays for the inputs of a model of fixed sizes: the same ones each time."""
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


def _expected(path: Path, inputs: Mapping[str, Any]) -> list[Any]:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return list(onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"]).run(None, dict(inputs)))


def _gap(expected: list[Any], given: list[Any]) -> float:
    """The largest difference of an output, by its largest value."""
    gaps = []
    if len(expected) != len(given):
        return math.inf
    for one, other in zip(expected, given, strict=True):
        a, b = np.asarray(one, np.float64), np.asarray(other, np.float64)
        if a.size != b.size:
            return math.inf
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
    start = time.process_time()
    for _ in range(repeat):
        loaded.run(inputs)
    return time.process_time() - start
