"""Layout nodes of models before conversion, after fc2conv, and after onnxsim's fuse_matmul_into_conv, by family.

    layouts.py MODELS --peers-python PY [--score SCORE.py] [--sample 5] [--only SUBSTRING ...] [--kept FOLDER] [--each]

fc2conv runs in this process's interpreter without verification; onnxsim as a command beside the given interpreter,
without its own check. onnxsim simplifies all of a graph, also where no layer is, so that its counts are not those of a
conversion. There are two fair measures, each with a table:

- The same layers of the same model: onnxsim's plain result is the model. onnxsim fuses it, and fc2conv converts, with
  scope `all`, the layers that are gone then (`--include`) and no other. Who has more nodes?
- What a conversion adds: fc2conv's result less the model, against onnxsim's fused result less its plain one.

Layers are products with one constant operand. `--kept` keeps onnxsim's results, which are not made again.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import measure
import zoo

FUSE = ("--enable-optimization", "fuse_matmul_into_conv")
COLUMNS = ("before", "spatial", "all", "onnxsim", "fused", "same")
TITLES = (
    "before",
    "fc2conv",
    "fc2conv, all",
    "onnxsim",
    "onnxsim, fuse_matmul_into_conv",
    "fc2conv, those layers of onnxsim's",
)
RANDOM = frozenset("RandomNormal RandomUniform RandomNormalLike RandomUniformLike Bernoulli Multinomial".split())
SECOND = dict.fromkeys(("Gemm", "MatMul", "MatMulInteger", "FusedMatMul", "FusedGemm", "Einsum"), 1) | dict.fromkeys(
    ("QGemm", "QLinearMatMul"), 3
)
"""Operators that may be layers, each with the place of its second factor."""


def layers(model: Any) -> dict[str, Any]:
    """Products with exactly one constant operand, by the names of their results."""
    found: dict[str, Any] = {}
    outer: set[str] = set()
    for graph in zoo.graphs(model.graph):
        constant = outer | {tensor.name for tensor in graph.initializer}
        for node in graph.node:
            if node.op_type not in (*RANDOM, "If", "Loop", "Scan") and all(not i or i in constant for i in node.input):
                constant.update(node.output)
        outer = outer or constant
        for node in graph.node:
            second = SECOND.get(node.op_type, len(node.input))
            if second < len(node.input) and (node.input[0] in constant) != (node.input[second] in constant):
                found[node.output[0]] = node
    return found


def counted(model: Any) -> list[int]:
    """[layout nodes, layers] of a model."""
    return [zoo.layout_nodes(model), len(layers(model))]


def count_one(path: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    """The counts of one model before and after each tool; None where a tool failed."""
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
    import fc2conv

    score = zoo.module(arguments.score)
    model = zoo.load(path, score)
    found: dict[str, Any] = {"before": counted(model)}
    for scope in ("spatial", "all"):
        options = fc2conv.Options(scope=scope, verify=False)  # type: ignore[arg-type]
        found[scope] = counted(fc2conv.convert(model, options=options).model)
    if arguments.peers_python is not None:
        with tempfile.TemporaryDirectory(dir=arguments.temporary) as temporary:
            kept = (arguments.kept or Path(temporary)) / path.relative_to(arguments.folder)
            plain, fused = _onnxsim(arguments.peers_python, model, kept, Path(temporary))
            found["onnxsim"], found["fused"] = (
                None if each is None else counted(zoo.load(each, score)) for each in (plain, fused)
            )
            if plain is not None and fused is not None:
                found["same"] = _same_layers(zoo.load(plain, score), zoo.load(fused, score))
    return found


def _onnxsim(python: Path, model: Any, kept: Path, temporary: Path) -> list[Path | None]:
    """onnxsim's plain and its fused result."""
    import onnx

    out = [kept.with_name(f"{kept.stem}.{name}.onnx") for name in ("plain", "fused")]
    kept.parent.mkdir(parents=True, exist_ok=True)
    if not all(path.exists() for path in out):
        given = temporary / "in.onnx"
        onnx.save(model, given)
        for path, flags in zip(out, ((), FUSE), strict=True):
            measure.run([str(python.parent / "onnxsim"), str(given), str(path), "0", *flags])
    return [path if path.exists() else None for path in out]


def _same_layers(plain: Any, fused: Any) -> list[int]:
    """The counts of the plain result in which fc2conv has converted the layers that the fused one has not any more."""
    import fc2conv

    left = layers(fused)
    gone = [node.name or name for name, node in layers(plain).items() if name not in left]
    if not gone:
        return counted(plain)
    patterns = tuple(name.replace("[", "[[]") for name in gone)
    options = fc2conv.Options(scope="all", include=patterns, verify=False)
    return counted(fc2conv.convert(plain, options=options).model)


def count_all(arguments: argparse.Namespace) -> dict[Path, dict[str, Any]]:
    """The counts of every model."""
    peers = ["--peers-python", str(arguments.peers_python)] if arguments.peers_python else []
    folders = [("--temporary", arguments.temporary), ("--kept", arguments.kept)]
    extra = [*peers, *(part for flag, folder in folders if folder for part in (flag, str(folder)))]
    return dict(zoo.answers(__file__, arguments, extra))


def same_layers(members: Sequence[dict[str, Any]]) -> list[object]:
    """The layers that onnxsim converts; the layout nodes of its plain result, after its fusion, and after fc2conv."""
    whole = [counts for counts in members if all(counts.get(column) for column in COLUMNS)]
    nodes = [sum(counts[column][0] for counts in whole) for column in ("onnxsim", "fused", "same")]
    converted = sum(counts["onnxsim"][1] - counts["fused"][1] for counts in whole)
    more = sum(counts["same"][0] > counts["fused"][0] for counts in whole)
    less = sum(counts["same"][0] < counts["fused"][0] for counts in whole)
    return [len(whole), converted, *nodes, less, more]


SAME = ("models", "layers", "onnxsim", "onnxsim, fuse_matmul_into_conv", "fc2conv", "models with less", "with more")


def added(members: Sequence[dict[str, Any]]) -> list[object]:
    """Layout nodes before and what each conversion adds, with the layers that it leaves."""
    whole = [counts for counts in members if all(counts.get(column) for column in COLUMNS)]
    row: list[object] = [len(members), len(members) - len(whole)]
    for base, columns in (("before", ("spatial", "all")), ("onnxsim", ("fused",))):
        nodes, left = (sum(counts[base][i] for counts in whole) for i in (0, 1))
        row.append(f"{nodes} ({left})")
        for column in columns:
            after, left = (sum(counts[column][i] for counts in whole) for i in (0, 1))
            row.append(f"{after - nodes:+d} ({left})")
    return row


ADDED = ("models", "peer failed", "before", "fc2conv", "fc2conv, all", "onnxsim", "onnxsim, fuse_matmul_into_conv")


def by_family(
    found: Mapping[Path, dict[str, Any]],
    folder: Path,
    titles: Sequence[str],
    row: Callable[[Sequence[dict[str, Any]]], Iterable[object]],
) -> str:
    """A table with a row for each family; sums are over the models that every tool could read."""
    families: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for path, counts in found.items():
        families[zoo.family(folder, path)].append(counts)
    rows = [[name, *row(families[name])] for name in sorted(families)]
    return measure.markdown(["family", *titles], [*rows, ["all", *row(list(found.values()))]])


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
    parser.add_argument("--kept", type=Path, help="where onnxsim's results stay, for another time")
    parser.add_argument("--each", action="store_true", help="a row for each model as well")
    arguments = parser.parse_args()
    if arguments.at:
        print(json.dumps(count_one(arguments.at, arguments)))
        return
    found = count_all(arguments)
    print(by_family(found, arguments.folder, SAME, same_layers))
    print(f"\n{by_family(found, arguments.folder, ADDED, added)}")
    if arguments.each:
        print(f"\n{by_model(found, arguments.folder)}")


if __name__ == "__main__":
    main()
