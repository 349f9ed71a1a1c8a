"""A folder of models, and a sample of it; skeletons (large tensors replaced by statistics) are filled on the way in.

The module that fills them has a function `hydrate(model) -> int`, and is given by its path. The subfolders are the
families. Beside `m.onnx` may lie `m.onnx.zoo.json`, the shapes of inputs that are open: {"input": [1, 3, 224, 224]}.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import random
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

LAYOUT = frozenset(("Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose"))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments that say which models."""
    parser.add_argument("folder", type=Path, help="the models, in a subfolder for each family")
    parser.add_argument("--score", type=Path, help="a module with hydrate(model), which fills skeletons")
    parser.add_argument("--only", nargs="*", default=[], help="only models whose path contains one of these")
    parser.add_argument("--sample", type=int, default=0, help="at most so many models of each family")
    parser.add_argument("--seed", type=int, default=0, help="of the sample")
    parser.add_argument("--timeout", type=int, default=300, help="seconds for one model")
    parser.add_argument("--at", type=Path, help=argparse.SUPPRESS)


def models(arguments: argparse.Namespace) -> list[Path]:
    """The chosen models, in the order of their names."""
    families: dict[str, list[Path]] = defaultdict(list)
    for path in sorted(arguments.folder.rglob("*.onnx")):
        if not arguments.only or any(part in str(path) for part in arguments.only):
            families[family(arguments.folder, path)].append(path)
    chooser = random.Random(arguments.seed)
    chosen = [
        path
        for paths in families.values()
        for path in (chooser.sample(paths, min(arguments.sample, len(paths))) if arguments.sample else paths)
    ]
    return sorted(chosen)


def family(folder: Path, path: Path) -> str:
    """The subfolder in which a model lies."""
    parts = path.relative_to(folder).parts
    return parts[0] if len(parts) > 1 else "."


def module(path: Path | None) -> ModuleType | None:
    """The module at a path."""
    if path is None:
        return None
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


def load(path: Path, score: ModuleType | None) -> Any:
    """The model with its weights, filled in where it is a skeleton."""
    import onnx

    model = onnx.load(path, load_external_data=False)
    if score is None or not score.hydrate(model):
        model = onnx.load(path)
    return model


def save(model: Any, path: Path) -> None:
    """Writes a model; its weights stand in a file beside it where protobuf holds no more."""
    import onnx

    apart = model.ByteSize() >= 1 << 31
    onnx.save(model, path, save_as_external_data=apart, location=f"{path.name}.data" if apart else None)


def shapes(path: Path) -> dict[str, list[int]]:
    """The shapes of the inputs that the model leaves open, by name."""
    side = path.with_name(f"{path.name}.zoo.json")
    return {k: v for k, v in json.loads(side.read_text()).items() if isinstance(v, list)} if side.exists() else {}


def graphs(graph: Any) -> Iterator[Any]:
    """A graph and all that its nodes hold."""
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            for inner in [*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs]:
                yield from graphs(inner)


def nodes(model: Any) -> list[Any]:
    """The nodes of the graph, of subgraphs and of functions."""
    found = [node for graph in graphs(model.graph) for node in graph.node]
    return found + [node for function in model.functions for node in function.node]


def layout_nodes(model: Any) -> int:
    """How many layout nodes a model holds."""
    return sum(node.op_type in LAYOUT for node in nodes(model))


def child(script: str, arguments: argparse.Namespace, path: Path, extra: Sequence[str]) -> list[str]:
    """The command that looks at one model in a process of its own, so that its crash is an answer and not the end."""
    score = ["--score", str(arguments.score)] if arguments.score else []
    return [sys.executable, script, str(arguments.folder), *score, *extra, "--at", str(path)]


def answers(script: str, arguments: argparse.Namespace, extra: Sequence[str]) -> Iterator[tuple[Path, dict[str, Any]]]:
    """What a child says of each model, as it comes; models of which there is no answer are named on stderr."""
    for path in models(arguments):
        command = child(script, arguments, path, extra)
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=arguments.timeout)
        except subprocess.TimeoutExpired:
            print(f"{path.name}: no answer in {arguments.timeout} s", file=sys.stderr)
            continue
        if done.returncode:
            lines = done.stderr.strip().splitlines() or [f"exit {done.returncode}"]
            print(f"{path.name}: {lines[-1][:160]}", file=sys.stderr)
            continue
        found = json.loads(done.stdout.splitlines()[-1])
        print(f"{path.name}: {found}", file=sys.stderr)
        yield path, found
