"""Other tools' results held against their models: are they proved, or what was folded with rounding?

    python benchmarks/other_tools.py MODELS... --tools-python ENV/bin/python --out DIR [--most 60] [--only NAME...]

MODELS are files or folders; of a folder the `--most` smallest models are taken. ENV has onnxsim, onnxslim and
onnxruntime. Each result is written to DIR/TOOL/MODEL.onnx, and each comparison is one line of DIR/results.jsonl. What
is there is not made again, so that a run that was stopped goes on; `--again` compares anew.

A result that is not proved is a *fold* where it holds floats that the original does not, in whatever order; the
operators that the tool took away say of what. It *rounds elsewhere* where a tool moved casts, as those of networks in
half precision, so as to compute in float32. Any other is a finding.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import measure
import numpy as np
import onnx
from onnx import ModelProto, TensorProto, numpy_helper
from zoo import graphs

ORT = """import sys, onnxruntime as ort
o = ort.SessionOptions(); o.optimized_model_filepath = sys.argv[2]; o.log_severity_level = 4
o.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_{}
ort.InferenceSession(sys.argv[1], o, providers=['CPUExecutionProvider'])"""
FUSE = ["--enable-optimization", "fuse_matmul_into_conv"]
TOOLS = ("onnxsim", "onnxsim, matmul into conv", "onnxslim", "onnxruntime basic", "onnxruntime extended")
TIMEOUT = 300
FLOATS = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE, TensorProto.BFLOAT16)


def command(tool: str, python: Path, model: Path, out: Path) -> list[str]:
    """The command line that writes a tool's result."""
    name = str(python.parent / tool.partition(",")[0])
    return {
        "onnxsim": [name, str(model), str(out)],
        "onnxsim, matmul into conv": [name, str(model), str(out), *FUSE],
        "onnxslim": [name, str(model), str(out)],
        "onnxruntime basic": [str(python), "-c", ORT.format("BASIC"), str(model), str(out)],
        "onnxruntime extended": [str(python), "-c", ORT.format("EXTENDED"), str(model), str(out)],
    }[tool]


def made(tool: str, python: Path, model: Path, out: Path) -> str:
    """Make a tool's result where it is not there yet; returns what went wrong."""
    failed = out.with_suffix(".failed")
    if failed.exists():
        return failed.read_text()
    if out.exists():
        return ""
    out.parent.mkdir(parents=True, exist_ok=True)
    try:
        done = subprocess.run(command(tool, python, model, out), capture_output=True, text=True, timeout=TIMEOUT)
    except subprocess.TimeoutExpired:
        why = f"more than {TIMEOUT} s"
    else:
        why = "" if done.returncode == 0 and out.exists() else (done.stderr.strip().splitlines() or ["nothing"])[-1]
    if why:
        out.unlink(missing_ok=True)
        failed.write_text(why[:300])
    return why


def compared(model: Path, out: Path) -> dict[str, Any]:
    """What `fc2conv verify` says, by its exit code and its report."""
    line = ["fc2conv", "verify", str(model), str(out), "--output-format", "json", "--timeout", str(TIMEOUT)]
    done = subprocess.run(line, capture_output=True, text=True)
    if not done.stdout.startswith("{"):
        return {"exit": done.returncode, "exact": "", "detail": done.stderr.strip()[:400]}
    checks = {each["name"]: each for each in json.loads(done.stdout)["verification"]["checks"]}
    exact = checks.get("exact", {})
    worst = next((c for c in checks.values() if c["verdict"] == "differs"), exact)
    detail = exact.get("detail", "") if exact.get("verdict") != "skipped" else f"{worst['name']}: {worst['detail']}"
    return {"exit": done.returncode, "proved": detail.startswith("proved"), "detail": detail}


def numbers(model: ModelProto) -> set[str]:
    """Digests of all float constants of more than one element, each sorted: layout and order do not count."""
    scopes = [*graphs(model.graph)]
    nodes = [node for scope in scopes for node in scope.node] + [n for f in model.functions for n in f.node]
    tensors = [t for scope in scopes for t in scope.initializer]
    tensors += [a.t for node in nodes for a in node.attribute if a.HasField("t")]
    arrays = [numpy_helper.to_array(t) for t in tensors if t.data_type in FLOATS]
    arrays += [np.array(a.floats, np.float32) for node in nodes for a in node.attribute if len(a.floats) > 1]
    return {hashlib.sha1(np.sort(a, axis=None).tobytes()).hexdigest() for a in arrays if a.size > 1}


def operators(model: ModelProto) -> Counter[str]:
    """How many nodes of each operator a model has."""
    nodes = [node for scope in graphs(model.graph) for node in scope.node]
    return Counter(node.op_type for node in (*nodes, *(n for f in model.functions for n in f.node)))


def judged(tool: str, model: Path, out: Path) -> dict[str, Any]:
    """One line: the comparison, and what the tool folded where it is not proved."""
    row = {"model": model.stem, "tool": tool, **compared(model, out)}
    if not row.get("proved"):
        before, after = onnx.load(model), onnx.load(out)
        row["new_numbers"] = len(numbers(after) - numbers(before))
        row["gone"] = dict(operators(before) - operators(after))
        row["come"] = dict(operators(after) - operators(before))
    return row


def chosen(paths: Sequence[Path], most: int, only: Sequence[str]) -> list[Path]:
    """Files as they are, and the smallest of each folder."""
    found: list[Path] = []
    for path in paths:
        inside = sorted(path.glob("*.onnx"), key=lambda p: p.stat().st_size)[:most] if path.is_dir() else [path]
        found += [each for each in inside if not only or any(part in each.name for part in only)]
    return found


FOLDED = ("BatchNormalization", "Mul", "Add", "Div", "Sub", "Cast", "QuantizeLinear", "DequantizeLinear")


def outcome(row: Mapping[str, Any]) -> str:
    """The column of the table in which a row counts."""
    if "failed" in row:
        return "the tool failed"
    if row.get("proved"):
        return "proved"
    if row["new_numbers"]:
        return "folds with rounding"
    return "rounds elsewhere" if "Cast" in row["come"] else "else"


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Counts by tool, then what is not proved, and how it was refused."""
    columns = ("proved", "folds with rounding", "rounds elsewhere", "else", "the tool failed")
    counts = {tool: Counter(outcome(row) for row in rows if row["tool"] == tool) for tool in TOOLS}
    lines = [measure.markdown(("tool", *columns), [(tool, *(n[c] for c in columns)) for tool, n in counts.items()])]
    folds = Counter((row["tool"], ", ".join(k for k in FOLDED if k in row["gone"]) or "constants", row["exit"])
                    for row in rows if outcome(row) == "folds with rounding")  # fmt: skip
    listed = [(*key, count) for key, count in sorted(folds.items())]
    lines.append(measure.markdown(("tool", "folded", "exit code", "models"), listed))
    left = ("else", "rounds elsewhere")
    other = [(r["tool"], r["model"], r["exit"], r["detail"]) for r in rows if outcome(r) in left]
    lines.append(measure.markdown(("tool", "model", "exit code", "what exact arithmetic says"), other))
    return "\n\n".join(lines)


def read(path: Path) -> dict[tuple[str, str], dict[str, Any]]:
    """The rows so far: of two for one comparison the later one."""
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []
    return {(row["model"], row["tool"]): row for row in rows}


def lines(models: Iterable[Path], given: argparse.Namespace, known: Mapping[tuple[str, str], Any]) -> Iterator[Any]:
    """A row for every pair that is not known yet."""
    for model in models:
        for tool in TOOLS:
            if (model.stem, tool) in known and not given.again:
                continue
            out = given.out / tool.replace(", ", "_").replace(" ", "_") / model.name
            why = made(tool, given.tools_python, model, out)
            yield {"model": model.stem, "tool": tool, "failed": why} if why else judged(tool, model, out)


def main() -> None:
    """Make, compare, and print the table of what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", type=Path, nargs="+")
    parser.add_argument("--tools-python", type=Path, required=True, help="has onnxsim, onnxslim and onnxruntime")
    parser.add_argument("--out", type=Path, required=True, help="results of the tools, and of the comparisons")
    parser.add_argument("--most", type=int, default=60, help="so many models of each folder")
    parser.add_argument("--only", nargs="*", default=[], help="models whose name contains one of these")
    parser.add_argument("--again", action="store_true", help="compare anew what was compared")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    log = given.out / "results.jsonl"
    models = chosen(given.models, given.most, given.only)
    with log.open("a") as file:
        for row in lines(models, given, read(log)):
            print(json.dumps(row), file=file, flush=True)
            print(f"{row['tool']}: {row['model']}: {outcome(row)}", file=sys.stderr)
    names = {model.stem for model in models}
    print(table([row for row in read(log).values() if row["model"] in names]))


if __name__ == "__main__":
    main()
