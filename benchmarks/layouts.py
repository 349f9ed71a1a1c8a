"""Layout nodes of models before conversion, after fc2conv, and after onnxsim's fuse_matmul_into_conv, by family.

    layouts.py MODELS --peers-python PY [--score SCORE.py] [--sample 5] [--only SUBSTRING ...] [--each]

fc2conv runs in this process's interpreter without verification, in both scopes; onnxsim as a command beside the given
interpreter, without its own check. onnxsim simplifies the rest of the graph as well, so that it is run a second time
without the fusion: what the fusion adds is the difference. Layers are Gemms and MatMuls with one constant operand.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import measure
import zoo

FUSE = ("--enable-optimization", "fuse_matmul_into_conv")
COLUMNS = ("before", "spatial", "all", "onnxsim", "fused")
TITLES = ("before", "fc2conv", "fc2conv, all", "onnxsim", "onnxsim, fuse_matmul_into_conv")
RANDOM = frozenset("RandomNormal RandomUniform RandomNormalLike RandomUniformLike Bernoulli Multinomial".split())


def layers(model: Any) -> int:
    """Gemms, MatMuls and their kin with exactly one constant operand."""
    found = 0
    outer: set[str] = set()
    for graph in zoo.graphs(model.graph):
        constant = outer | {tensor.name for tensor in graph.initializer}
        for node in graph.node:
            if node.op_type not in (*RANDOM, "If", "Loop", "Scan") and all(not i or i in constant for i in node.input):
                constant.update(node.output)
        outer = outer or constant
        for node in graph.node:
            if node.op_type in ("Gemm", "MatMul", "MatMulInteger", "QGemm", "FusedMatMul", "FusedGemm"):
                second = 3 if node.op_type == "QGemm" else 1
                found += (node.input[0] in constant) != (node.input[second] in constant)
            elif node.op_type == "QLinearMatMul":
                found += (node.input[0] in constant) != (node.input[3] in constant)
    return found


def count_one(path: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    """[layout nodes, layers left] of one model before and after each tool; None where a tool failed."""
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
    import onnx

    import fc2conv

    model = zoo.load(path, zoo.module(arguments.score))
    found: dict[str, Any] = {"before": [zoo.layout_nodes(model), layers(model)]}
    for scope in ("spatial", "all"):
        options = fc2conv.Options(scope=scope, verify=False)  # type: ignore[arg-type]
        converted = fc2conv.convert(model, options=options).model
        found[scope] = [zoo.layout_nodes(converted), layers(converted)]
    if arguments.peers_python is None:
        return found
    with tempfile.TemporaryDirectory(dir=arguments.temporary) as folder:
        given, out = Path(folder) / "in.onnx", Path(folder) / "out.onnx"
        onnx.save(model, given)
        del model
        for name, flags in (("onnxsim", ()), ("fused", FUSE)):
            found[name] = _onnxsim(arguments.peers_python, given, out, flags)
            measure.remove([out])
    return found


def _onnxsim(python: Path, given: Path, out: Path, flags: Sequence[str]) -> list[int] | None:
    import onnx

    sample = measure.run([str(python.parent / "onnxsim"), str(given), str(out), "0", *flags])
    if sample.exit_code or not out.exists():
        return None
    model = onnx.load(out)
    return [zoo.layout_nodes(model), layers(model)]


def count_all(arguments: argparse.Namespace) -> dict[Path, dict[str, Any]]:
    """The counts of every model."""
    peers = ["--peers-python", str(arguments.peers_python)] if arguments.peers_python else []
    extra = [*peers, *(["--temporary", str(arguments.temporary)] if arguments.temporary else [])]
    found = {}
    for path in zoo.models(arguments):
        command = zoo.child(__file__, arguments, path, extra)
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=arguments.timeout)
        except subprocess.TimeoutExpired:
            print(f"{path.name}: no answer in {arguments.timeout} s", file=sys.stderr)
            continue
        if done.returncode:
            lines = done.stderr.strip().splitlines() or [f"exit {done.returncode}"]
            print(f"{path.name}: {lines[-1][:160]}", file=sys.stderr)
            continue
        found[path] = json.loads(done.stdout.splitlines()[-1])
        print(f"{path.name}: {found[path]}", file=sys.stderr)
    return found


def by_family(found: Mapping[Path, dict[str, Any]], folder: Path) -> str:
    """Sums over the models that every tool could read, and in how many of them each tool has more than before."""
    families: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for path, counts in found.items():
        families[zoo.family(folder, path)].append(counts)
    rows = [_row(name, families[name]) for name in sorted(families)]
    total = _row("all", [counts for members in families.values() for counts in members])
    return measure.markdown(["family", "models", "peer failed", *TITLES], [*rows, total])


def _row(name: str, members: Sequence[dict[str, Any]]) -> list[object]:
    whole = [counts for counts in members if all(counts.get(column) for column in COLUMNS)]
    row: list[object] = [name, len(members), len(members) - len(whole)]
    for column in COLUMNS:
        nodes, left = (sum(counts[column][i] for counts in whole) for i in (0, 1))
        grew = sum(counts[column][0] > counts["before"][0] for counts in whole)
        told = f", {grew} grew" if column != "before" else ""
        row.append(f"{nodes} ({left} layers{told})")
    return row


def by_model(found: Mapping[Path, dict[str, Any]], folder: Path) -> str:
    """A row for each model; a dash where a tool failed."""
    rows = [
        [path.relative_to(folder).as_posix(), *(_cell(counts.get(column)) for column in COLUMNS)]
        for path, counts in found.items()
    ]
    return measure.markdown(["model", *TITLES], rows)


def _cell(counts: list[int] | None) -> str:
    return f"{counts[0]} ({counts[1]})" if counts else "-"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    zoo.add_arguments(parser)
    parser.add_argument("--peers-python", type=Path, help="interpreter of a venv with onnx and onnxsim")
    parser.add_argument("--temporary", type=Path, help="where filled models go")
    parser.add_argument("--each", action="store_true", help="a row for each model as well")
    arguments = parser.parse_args()
    if arguments.at:
        print(json.dumps(count_one(arguments.at, arguments)))
        return
    found = count_all(arguments)
    print(by_family(found, arguments.folder))
    if arguments.each:
        print(f"\n{by_model(found, arguments.folder)}")


if __name__ == "__main__":
    main()
