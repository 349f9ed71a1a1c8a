"""onnxruntime's CPU time of converted models beside that of their originals, by family.

    runtime.py MODELS [--score SCORE.py] [--sample 4] [--only SUBSTRING ...] [--rounds 11] [--threads 1] [--each]

Each model has a process of its own, in which sessions of the original and of what each scope makes of it take turns,
with all of onnxruntime's optimizations. A ratio is the median over the rounds of converted / original: more than 1 is
slower. Of a family the table gives the geometric mean of its models, and the slowest of them.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import measure
import zoo

SCOPES = ("spatial", "all")
LEAST = 0.04
"""Seconds that one turn takes at least: a small model runs several times in it."""


def time_one(path: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    """Milliseconds of the original and of each scope's model, and the ratios of the rounds."""
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
    import fc2conv

    model = zoo.load(path, zoo.module(arguments.score))
    turns: dict[str, Callable[[], float]] = {}
    layers = {}
    session = _session(model, arguments.threads)
    inputs = _inputs(session, zoo.shapes(path), arguments.batch)
    turns["original"] = _turn(session, inputs)
    for scope in SCOPES:
        conversion = fc2conv.convert(model, options=fc2conv.Options(scope=scope, verify=False))
        layers[scope] = len(conversion.report.converted)
        if layers[scope]:
            turns[scope] = _turn(_session(conversion.model, arguments.threads), inputs)
    seconds: dict[str, list[float]] = defaultdict(list)
    for _ in range(arguments.rounds):
        for name, turn in turns.items():
            seconds[name].append(turn())
    base = seconds["original"]
    found: dict[str, Any] = {"ms": 1000 * statistics.median(base)}
    for scope in SCOPES:
        if layers[scope]:
            ratio = statistics.median(new / old for new, old in zip(seconds[scope], base, strict=True))
            found[scope] = [layers[scope], 1000 * statistics.median(seconds[scope]), ratio]
    return found


def _session(model: Any, threads: int) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def _turn(session: Any, inputs: Mapping[str, Any]) -> Callable[[], float]:
    """A function that runs a session and says how many seconds one run took."""
    session.run(None, inputs)
    start = time.perf_counter()
    session.run(None, inputs)
    count = max(1, math.ceil(LEAST / (time.perf_counter() - start)))

    def run() -> float:
        start = time.perf_counter()
        for _ in range(count):
            session.run(None, inputs)
        return (time.perf_counter() - start) / count

    return run


def _inputs(session: Any, given: Mapping[str, list[int]], batch: int) -> dict[str, Any]:
    import numpy as np

    random = np.random.default_rng(0)
    types = {"float": "f4", "float16": "f2", "double": "f8", "bool": "?"}
    arrays = {}
    for value in session.get_inputs():
        default = [size if isinstance(size, int) and size > 0 else batch for size in value.shape]
        shape = given.get(value.name, default)
        kind = value.type.removeprefix("tensor(").removesuffix(")")
        floats = kind in ("float", "float16", "double")
        array = random.standard_normal(shape) if floats else random.integers(0, 2, shape)
        arrays[value.name] = np.asarray(array).astype(types.get(kind, kind))
    return arrays


def time_all(arguments: argparse.Namespace) -> dict[Path, dict[str, Any]]:
    """The times of every model that runs and of which something is converted."""
    extra = ["--rounds", str(arguments.rounds), "--threads", str(arguments.threads), "--batch", str(arguments.batch)]
    answers = zoo.answers(__file__, arguments, extra)
    return {path: times for path, times in answers if any(scope in times for scope in SCOPES)}


def by_family(found: Mapping[Path, dict[str, Any]], folder: Path) -> str:
    """A row for each family and scope."""
    families: dict[str, list[tuple[str, dict[str, Any]]]] = defaultdict(list)
    for path, times in found.items():
        for name in (zoo.family(folder, path), "all"):
            families[name].append((path.stem, times))
    rows = []
    for name in sorted(families, key=lambda name: (name == "all", name)):
        for scope in SCOPES:
            members = [(each, times["ms"], *times[scope]) for each, times in families[name] if scope in times]
            if members:
                worst = max(members, key=lambda member: member[4])
                best = min(members, key=lambda member: member[4])
                mean = math.exp(statistics.fmean(math.log(member[4]) for member in members))
                sums = [sum(member[i] for member in members) for i in (1, 2, 3)]
                cells = [len(members), sums[1], f"{sums[0]:.1f}", f"{sums[2]:.1f}", f"{mean:.2f}", f"{best[4]:.2f}"]
                rows.append([name, scope, *cells, f"{worst[4]:.2f} ({worst[0]})"])
    header = ["family", "scope", "models", "layers", "original ms", "converted ms", "mean ratio", "least", "largest"]
    return measure.markdown(header, rows)


def by_model(found: Mapping[Path, dict[str, Any]], folder: Path) -> str:
    """A row for each model."""
    rows = []
    for path, times in found.items():
        cells = [f"{times[scope][2]:.2f} ({times[scope][0]})" if scope in times else "" for scope in SCOPES]
        rows.append([path.relative_to(folder).as_posix(), f"{times['ms']:.2f}", *cells])
    return measure.markdown(["model", "original ms", *(f"{scope}: ratio (layers)" for scope in SCOPES)], rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    zoo.add_arguments(parser)
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--batch", type=int, default=1, help="the size of every open dimension")
    parser.add_argument("--each", action="store_true", help="a row for each model as well")
    arguments = parser.parse_args()
    if arguments.at:
        print(json.dumps(time_one(arguments.at, arguments)))
        return
    found = time_all(arguments)
    print(by_family(found, arguments.folder))
    if arguments.each:
        print(f"\n{by_model(found, arguments.folder)}")


if __name__ == "__main__":
    main()
