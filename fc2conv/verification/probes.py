"""Where the two models are looked at besides their outputs: values that a fault shows in before a Softmax hides it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from onnx import GraphProto, ModelProto, NodeProto

from fc2conv.verification.nodes import captured, label
from fc2conv.verification.sites import SitePair

MOST = 32
"""Values that are looked at besides the outputs, spread over the model."""

_HIDING = ("Softmax", "LogSoftmax", "Hardmax", "Sigmoid", "ArgMax", "ArgMin", "TopK", "Clip", "Tanh")
_GEMMS = ("Gemm", "FusedGemm")


@dataclass(frozen=True)
class Probe:
    """A value of the original, the converted model's with the same elements, and the original's node that makes it.

    `moved`: the elements may stand in other places, so that they are compared in the order of their size. `layer` is
    the converted layer whose result it is, or from which it comes. `shown`: it is reported as outputs are.
    """

    old: str
    new: str
    node: str
    moved: bool = False
    layer: str = ""
    shown: bool = False


def probes(original: ModelProto, converted: ModelProto, pairs: Sequence[SitePair]) -> list[Probe]:
    """The probes of the main graph, in the order in which the original makes them; no output among them."""
    old, new = _producers(original.graph), _producers(converted.graph)
    outputs = {v.name for v in original.graph.output}
    found: dict[str, Probe] = {}
    live = _live(original.graph)
    for probe in (*_hidden(original.graph, old, new), *_boundaries(old, new), *_layers(old, new, pairs)):
        if probe.old in live and probe.old not in outputs:
            found.setdefault(probe.old, probe)
    place = {name: i for i, name in enumerate(old)}
    ordered = sorted(found.values(), key=lambda probe: place[probe.old])
    step = max(1, -(-len(ordered) // MOST))
    return [probe for i, probe in enumerate(ordered) if probe.shown or i % step == 0]


def made(graph: GraphProto) -> dict[str, str]:
    """The node that makes each value of a graph, as it is called in messages; in the order of the nodes."""
    return {name: label(node) for name, node in _producers(graph).items()}


def suspects(graph: GraphProto, pairs: Sequence[SitePair]) -> dict[str, str]:
    """For each value of the original's graph the last converted layer from which it comes, where there is one."""
    own = {name: pair.node for pair in pairs if not pair.scope for name in (pair.fc_output, pair.output)}
    found: dict[str, str] = {}
    for node in graph.node:
        from_inputs = next((found[name] for name in (*node.input, *captured(node)) if name in found), "")
        for name in node.output:
            if layer := own.get(name, from_inputs):
                found[name] = layer
    return found


def _producers(graph: GraphProto) -> dict[str, NodeProto]:
    return {name: node for node in graph.node for name in node.output if name}


def _live(graph: GraphProto) -> set[str]:
    """The values that depend on an input."""
    live = {v.name for v in graph.input} - {t.name for t in graph.initializer}
    for node in graph.node:
        if live.intersection((*node.input, *captured(node))):
            live.update(node.output)
    return live


def _hidden(graph: GraphProto, old: Mapping[str, NodeProto], new: Mapping[str, NodeProto]) -> Iterator[Probe]:
    """What goes into a Softmax or a similar operator, where both models have it."""
    for node in graph.node:
        name = node.input[0] if node.op_type in _HIDING and node.input else ""
        if name in old and name in new:
            yield Probe(name, name, label(old[name]), shown=node.op_type in _HIDING[:3])


def _boundaries(old: Mapping[str, NodeProto], new: Mapping[str, NodeProto]) -> Iterator[Probe]:
    """Values that both models have and make in different ways: the ends of what was converted."""
    for name, node in old.items():
        other = new.get(name)
        if other is not None and (node.op_type != other.op_type or list(node.input) != list(other.input)):
            yield Probe(name, name, label(node))


def _layers(old: Mapping[str, NodeProto], new: Mapping[str, NodeProto], pairs: Sequence[SitePair]) -> Iterator[Probe]:
    for pair in pairs:
        first, conv = old.get(pair.fc_output), new.get(pair.conv_output)
        if pair.scope or first is None or conv is None or pair.output not in old or pair.conv_output in old:
            continue
        adds = first.op_type in _GEMMS and len(first.input) > 2 and first.input[2]
        if adds and conv.op_type == "Conv" and len(conv.input) < 3:
            continue  # what Gemm adds is then a node of its own
        yield Probe(pair.output, pair.conv_output, label(first), moved=True, layer=pair.node)
