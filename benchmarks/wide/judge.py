"""Runs the command on each exported model, and judges what it wrote with onnx and onnxruntime alone.

A verdict is `ok` (converted, and equal to the original at every batch), `unchanged`, `unrun` (onnxruntime does not run
the original), `refused` (no output; the exit code says how), `invalid`, or `wrong`.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime

from .lines import EXPORTED, append, lines

SCOPES = ("spatial", "all")
BATCHES = (1, 2, 5)
MIDDLE = 2
SECONDS = 600
TOLERANCE = 1e-3  # a fault of layout is of the order of 1
ULPS = 30  # how much further than under one ulp of its inputs a network may move
LAYOUT = frozenset(("Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose"))
OUTSIDE = (Exception,)  # onnxruntime's errors have no common base but this one

Line = dict[str, Any]


def judge_all(folder: Path, results: Path, command: str, only: list[str], *, again: bool) -> None:
    """Judges what has no line in `results` yet, in both scopes, small files first."""
    if again:
        results.unlink(missing_ok=True)
    done = {(line["model"], line["scope"]) for line in lines(results)}
    exports = {line["model"]: line for line in lines(folder / EXPORTED) if "error" not in line}
    paths = {name: path for name in exports if (path := folder / f"{name}.onnx").exists()}
    for name in sorted(paths, key=lambda each: paths[each].stat().st_size):
        export, path = exports[name], paths[name]
        if only and not any(part in export["model"] for part in only):
            continue
        for scope in SCOPES:
            if (export["model"], scope) in done:
                continue
            line = {**{key: export[key] for key in ("model", "family", "exporter")}, "scope": scope}
            line |= judge(path, export, command, scope)
            append(results, line)
            shown = {key: line.get(key) for key in ("verdict", "exit", "layout", "gaps", "why") if line.get(key)}
            print(line["model"], scope, json.dumps(shown)[:400], flush=True)


def judge(path: Path, export: Line, command: str, scope: str) -> Line:
    """What the command makes of one model in one scope."""
    with tempfile.TemporaryDirectory() as name:
        output, report = Path(name, "out.onnx"), Path(name, "report.json")
        call = [command, "convert", str(path), str(output), "--scope", scope, "--report", str(report), "--quiet"]
        start = time.monotonic()
        try:
            ran = subprocess.run(
                [*call, "--no-config"], capture_output=True, text=True, check=False, timeout=SECONDS, cwd=name
            )
        except subprocess.TimeoutExpired:
            return {"verdict": "refused", "exit": "timeout", "why": f"no end in {SECONDS} s"}
        line: Line = {"exit": ran.returncode, "seconds": round(time.monotonic() - start, 2)}
        if report.exists():
            line |= _told(json.loads(report.read_text(encoding="utf-8")))
        if ran.returncode:
            verdict = "refused" if _runs(path, export) else "unrun"
            return {**line, "verdict": verdict, "why": " ".join(ran.stderr.split())[:600]}
        return line | _compared(path, output, export)


def _runs(model: Path, export: Line) -> bool:
    """Whether onnxruntime runs an exported model on one of the batches."""
    for batch in BATCHES if export["open"] else (None,):
        try:
            _Session(model).run(_feeds(export["inputs"], batch))
        except OUTSIDE:
            continue
        return True
    return False


def _told(report: Line) -> Line:
    """Of each layer its operator, the code of its reason ("" where it was converted), itself, and the node named."""
    sites = [
        [
            s["op_type"],
            *((r["code"], s["node"], r["node"], r["detail"]) if (r := s["reason"]) else ("", s["node"], "", "")),
        ]
        for s in report["sites"]
    ]
    return {"outcome": report["outcome"], "sites": sites}


def _compared(before: Path, after: Path, export: Line) -> Line:
    old, new = onnx.load(before), onnx.load(after)
    line: Line = {"layout": [_layout_nodes(old), _layout_nodes(new)], "gaps": {}}
    if before.read_bytes() == after.read_bytes():
        return {**line, "verdict": "unchanged"}
    if _invalid(after) and not _invalid(before):
        return {**line, "verdict": "invalid", "why": _invalid(after)}
    if _signature(old) != _signature(new):
        return {**line, "verdict": "invalid", "why": "the signature is another"}
    reference, seen = _Session(before), _Session(after)
    for batch in BATCHES if export["open"] else (None,):
        feeds = _feeds(export["inputs"], batch)
        try:
            expected = reference.run(feeds)
        except OUTSIDE as error:
            line |= {"gaps": {**line["gaps"], str(batch): None}, "unrun": str(error)[:200]}
            continue
        try:
            gap = _gap(expected, seen.run(feeds))
        except OUTSIDE as error:
            return {**line, "verdict": "invalid", "why": f"batch {batch}: {error}"[:600]}
        line["gaps"][str(batch)] = float(f"{gap:.3g}")
        if gap > TOLERANCE:
            line["moved"] = float(f"{_gap(expected, reference.run(_nudged(feeds))):.3g}")
            if gap > ULPS * line["moved"]:
                return {**line, "verdict": "wrong", "why": f"batch {batch}: {gap:.3g}"}
    ran = any(gap is not None for gap in line["gaps"].values())
    if ran and (why := _optimized(before, after, _feeds(export["inputs"], MIDDLE if export["open"] else None))):
        return {**line, "verdict": "invalid", "why": why}
    if ran:
        line["spread"] = _spread(reference, export)
    return {**line, "verdict": "ok" if ran else "unrun"}


def _spread(reference: _Session, export: Line) -> float:
    """How far the original's outputs are apart on two inputs: below the tolerance, a comparison says little."""
    batch = MIDDLE if export["open"] else None
    feeds = _feeds(export["inputs"], batch)
    others = {name: _other(array, export["inputs"][name]["bounds"]) for name, array in feeds.items()}
    return float(f"{_gap(reference.run(feeds), reference.run(others)):.3g}")


def _other(array: Any, bounds: list[Any]) -> Any:
    if array.dtype.kind == "f":
        return -array[::-1]
    low, count = bounds[0], bounds[1] - bounds[0] + 1
    return ((array - low + count // 2) % count + low).astype(array.dtype) if array.dtype.kind == "i" else array


def _optimized(before: Path, after: Path, feeds: Mapping[str, Any]) -> str:
    """Why the result does not run, or not as it does otherwise, with onnxruntime's optimizations on."""
    try:
        _Session(before, optimized=True).run(feeds)
    except OUTSIDE:
        return ""
    try:
        gap = _gap(_Session(after).run(feeds), _Session(after, optimized=True).run(feeds))
    except OUTSIDE as error:
        return f"optimized: {error}"[:600]
    original = _gap(_Session(before).run(feeds), _Session(before, optimized=True).run(feeds)) if gap > TOLERANCE else 0
    return f"optimized: {gap:.3g}, the original {original:.3g}" if gap > max(TOLERANCE, ULPS * original) else ""


def _invalid(path: Path) -> str:
    try:
        onnx.checker.check_model(str(path), full_check=True)
    except OUTSIDE as error:
        return str(error)[:400]
    return ""


def _signature(model: onnx.ModelProto) -> list[Any]:
    return [
        (v.name, v.type.tensor_type.elem_type, [(d.dim_value, d.dim_param) for d in v.type.tensor_type.shape.dim])
        for v in model.graph.input
    ] + [(v.name, v.type.tensor_type.elem_type) for v in model.graph.output]


def _layout_nodes(model: onnx.ModelProto) -> int:
    nodes = [node for graph in _graphs(model.graph) for node in graph.node]
    nodes += [node for function in model.functions for node in function.node]
    return sum(node.op_type in LAYOUT for node in nodes)


def _graphs(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            for inner in [*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs]:
                yield from _graphs(inner)


# ------------------------------------------------------------------ runs


def _feeds(inputs: Mapping[str, Line], batch: int | None) -> dict[str, Any]:
    """Random inputs of the described types, with another batch in front where one is given."""
    draw = np.random.default_rng(7 if batch is None else batch)
    feeds = {}
    for name, declared in inputs.items():
        shape = declared["shape"] if batch is None else [batch, *declared["shape"][1:]]
        low, high = declared["bounds"]
        if declared["dtype"].startswith(("int", "bool")):
            feeds[name] = draw.integers(low, high + 1, shape).astype(declared["dtype"])
        else:
            positive = low >= 0
            values = draw.random(shape) if positive else draw.standard_normal(shape)
            feeds[name] = values.astype(declared["dtype"])
    return feeds


def _nudged(feeds: Mapping[str, Any]) -> dict[str, Any]:
    """The inputs, each moved by one ulp up or down."""
    draw = np.random.default_rng(1)
    return {
        name: np.nextafter(array, array + draw.choice([-1, 1], array.shape).astype(array.dtype))
        if array.dtype.kind == "f"
        else array
        for name, array in feeds.items()
    }


class _Session:
    """A model in onnxruntime, opened when it is first run."""

    def __init__(self, path: Path, *, optimized: bool = False) -> None:
        self._path, self._optimized = path, optimized
        self._session: Any = None

    def run(self, feeds: Mapping[str, Any]) -> list[Any]:
        if self._session is None:
            options = onnxruntime.SessionOptions()
            level = onnxruntime.GraphOptimizationLevel
            options.graph_optimization_level = level.ORT_ENABLE_ALL if self._optimized else level.ORT_DISABLE_ALL
            options.intra_op_num_threads = options.inter_op_num_threads = 1
            options.log_severity_level = 4
            self._session = onnxruntime.InferenceSession(str(self._path), options, providers=["CPUExecutionProvider"])
        wanted = {value.name for value in self._session.get_inputs()}
        return self._session.run(None, {k: v for k, v in feeds.items() if k in wanted})  # type: ignore[no-any-return]


def _gap(expected: list[Any], seen: list[Any]) -> float:
    """The largest difference of an output, as a part of its largest value."""
    return max(map(_apart, (_array(each) for each in expected), (_array(each) for each in seen)), default=0.0)


def _array(value: Any) -> Any:
    if isinstance(value, list):  # what ZipMap gives: a map for each row
        return np.array(
            [[row[key] for key in sorted(row)] for row in value] if value and isinstance(value[0], dict) else value
        )
    return np.asarray(value)


def _apart(a: Any, b: Any) -> float:
    if a.shape != b.shape or a.dtype != b.dtype:
        return float("inf")
    if a.dtype.kind != "f":
        return 0.0 if np.array_equal(a, b) else float("inf")
    a, b = a.astype(np.float64), b.astype(np.float64)
    finite = np.isfinite(a)
    if not np.array_equal(finite, np.isfinite(b)):
        return float("inf")
    if not finite.any():
        return 0.0
    distance = float(np.abs(a[finite] - b[finite]).max())
    return distance / (float(np.abs(a[finite]).max()) or 1.0)
