"""What became of each layer of a model of the zoo, and what its new layout nodes are for, as JSON by scope.

    looks.py ZOO MODEL

`coverage.py --look ZOO` runs this for every model of the folder, one process a model.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

SCOPES = ("spatial", "all")
LAYOUT = frozenset(("Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose"))
FORMS = {
    "output": "A graph output of shape [N, M] that was computed without a layout node, or that shared one with others "
    "in front of its layers. It leaves the spatial domain by one Flatten or Reshape of its own.",
    "output moved": "A graph output that keeps axes of the map and has its features last. The convolution makes them "
    "the second dimension, and a Transpose puts them back.",
    "inner": "A node that stays on originals (it needs the original layout, or has no form on the map) reads a value "
    "that a convolution, or a node beside one, makes on its spatial form. One Flatten or Reshape.",
    "inner moved": "As `inner`, with axes of the map kept, so that it is a Transpose.",
    "input": "A layer sums over what is not the channels of a map as it stands: features [N, K] that no map reaches or "
    "that a node made which needs the original layout, or rows of merged dimensions. A Reshape makes the convolution's "
    "input.",
    "input moved": "As `input`, and what is summed over is not the second dimension: the width of a map, tokens with "
    "their features last, or positions (token mixing). A Transpose puts it there.",
    "join": "Two operands of an elementwise node come from convolutions over different maps, such as 3x3 and 1x1 "
    "extents, or tokens as channels and tokens as positions. One of them is laid out like the other.",
}
"""What a layout node is for that was not there before the conversion."""


def look_at_all(zoo: Path) -> None:
    """Prints what this script says of every model, as one JSON object by model."""
    looks: dict[str, Any] = {}
    for path in sorted((zoo / "models").rglob("*.onnx")):
        command = [sys.executable, __file__, str(zoo), str(path)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=1200)
        name = path.relative_to(zoo / "models").as_posix()
        looks[name] = json.loads(done.stdout) if done.returncode == 0 else {}
        if done.returncode:
            print(f"{name}: {done.stderr.strip().splitlines()[-1:]}", file=sys.stderr)
    json.dump(looks, sys.stdout, indent=1, sort_keys=True)


def look_at(zoo: Path, path: Path) -> None:
    """Prints, by scope, each layer's operator and decision, and how many new layout nodes are of which form."""
    sys.path[:0] = [str(zoo), str(Path(__file__).resolve().parent.parent)]
    import onnx
    import score  # type: ignore[import-not-found]

    import fc2conv

    model = onnx.load(path, load_external_data=False)
    filled = score.hydrate(model)
    found = {}
    for scope in SCOPES:
        options = fc2conv.Options(scope=scope, verify=False)
        try:
            result = fc2conv.convert(model if filled else path, None, options)
        except fc2conv.errors.Fc2convError as error:
            found[scope] = {"error": str(error)}
            continue
        nodes = result.report.layout_nodes
        assert result.model is not None
        found[scope] = {
            "sites": [_site(site) for site in result.report.sites],
            "layout": [nodes.before, nodes.after],
            "forms": dict(Counter(_forms(model, result.model))),
        }
    json.dump(found, sys.stdout)


def _site(site: Any) -> list[str]:
    """Operator, reason code, node, and what the reason names besides; the code is empty for a converted layer."""
    if site.reason is None:
        return [site.op_type, "", site.node, ""]
    blocked_by = site.reason.node if site.reason.node != site.node else ""
    return [site.op_type, site.reason.code, site.node, " ".join(filter(None, (blocked_by, site.reason.detail)))]


def _graphs(graph: Any) -> Iterator[Any]:
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            for inner in [*([attribute.g] if attribute.type == 5 else []), *attribute.graphs]:
                yield from _graphs(inner)


def _forms(before: Any, after: Any) -> Iterator[str]:
    """The form of each chain of layout nodes that the original has not."""
    old = {(n.op_type, *n.input, *n.output) for g in _graphs(before.graph) for n in g.node}
    known = {name for g in _graphs(before.graph) for n in g.node for name in n.output}
    for graph in _graphs(after.graph):
        readers = defaultdict(list)
        for node in graph.node:
            for name in node.input:
                readers[name].append(node)
        outputs = {value.name for value in graph.output}
        new = [n for n in graph.node if n.op_type in LAYOUT and (n.op_type, *n.input, *n.output) not in old]
        inside = {id(n) for n in new if any(id(m) != id(n) and m.output[0] == n.input[0] for m in new)}
        for node in new:
            if id(node) not in inside:
                yield _form(node, readers, known, outputs, {id(n) for n in new})


def _form(node: Any, readers: dict[str, list[Any]], known: set[str], outputs: set[str], new: set[int]) -> str:
    chain, at = [node], node
    while True:
        behind = readers[at.output[0]]
        if len(behind) != 1 or id(behind[0]) not in new or at.output[0] in outputs:
            break
        at = behind[0]
        chain.append(at)
    moved = " moved" if any(each.op_type == "Transpose" for each in chain) else ""
    name = at.output[0]
    if name in outputs:
        return f"output{moved}"
    kinds = {reader.op_type for reader in readers[name]}
    if kinds and kinds <= {"Conv", "ConvInteger", "QLinearConv", "DynamicQuantizeLinear"}:
        return f"input{moved}"
    return f"inner{moved}" if name in known else "join" if kinds & {"Add", "Mul", "Sub", "Div"} else f"input{moved}"


if __name__ == "__main__":
    look_at(Path(sys.argv[1]), Path(sys.argv[2]))
