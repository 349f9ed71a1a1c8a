"""What each output gives, as an edit of the original: logits before a last Softmax, or probabilities behind one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from onnx import GraphProto, ModelProto, ValueInfoProto, helper

from fc2conv.errors import UsageError
from fc2conv.io.reader import ModelFile
from fc2conv.ir.graph import reads
from fc2conv.options import ScoreMap

_ENDS = ("Softmax", "Sigmoid", "LogSoftmax")
_PASSED = ("Identity", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose", "Cast")


def with_scores(file: ModelFile, wanted: Mapping[str, ScoreMap]) -> ModelFile:
    """The model with its outputs as they are wanted, by name ("" stands for all); raises UsageError for no output.

    The logits of `y = Softmax(x)` are the output x. Probabilities of an output y that no Softmax or Sigmoid makes are
    the output `y_probabilities`, a Softmax over dimension 1.
    """
    if not wanted:
        return file
    model = ModelProto()
    model.CopyFrom(file.model)
    graph = model.graph
    names = [value.name for value in graph.output]
    for name in wanted:
        if name and name not in names:
            raise UsageError(f"--score-map names {name!r}, which is no output", f"the outputs are {', '.join(names)}")
    values = {value.name: value for value in graph.output}
    outputs: dict[str, ValueInfoProto] = {}
    for name in names:
        choice = wanted.get(name, wanted.get(""))
        new = values[name]
        if choice == "logits":
            new = _logits(graph, values[name])
        elif choice == "probabilities":
            new = _probabilities(graph, values[name])
        outputs.setdefault(new.name, new)
    kept = list(outputs.values())
    graph.ClearField("output")
    graph.output.extend(kept)
    _drop(graph, set(names) - outputs.keys())
    return replace(file, model=model)


def _drop(graph: GraphProto, gone: set[str]) -> None:
    """Takes out the nodes that made what is no output any more, as far as nobody else reads them."""
    while gone:
        read = set(reads(graph.node)) | {value.name for value in graph.output}
        dead = [node for node in graph.node if gone & set(node.output) and not read & set(node.output)]
        gone = {name for node in dead for name in node.input}
        for node in dead:
            graph.node.remove(node)


def _end(graph: GraphProto, name: str) -> tuple[str, bool] | None:
    """The operand of the Softmax or Sigmoid that makes an output, through nodes that only lay it out; are there any?"""
    given = name
    makers = {made: node for node in graph.node for made in node.output}
    while name in makers:
        node = makers[name]
        if node.op_type in _ENDS:
            return str(node.input[0]), name != given
        if node.op_type not in _PASSED:
            return None
        name = node.input[0]
    return None


def _logits(graph: GraphProto, value: ValueInfoProto) -> ValueInfoProto:
    source = _end(graph, value.name)
    return value if source is None else _like(value, source[0], shaped=not source[1])


def _probabilities(graph: GraphProto, value: ValueInfoProto) -> ValueInfoProto:
    if _end(graph, value.name) is not None:
        return value
    made = f"{value.name}_probabilities"
    graph.node.append(helper.make_node("Softmax", [value.name], [made], name=f"{made}_softmax", axis=1))
    return _like(value, made, shaped=True)


def _like(value: ValueInfoProto, name: str, shaped: bool) -> ValueInfoProto:
    new = ValueInfoProto()
    new.CopyFrom(value)
    new.name = name
    if not shaped:
        new.type.tensor_type.ClearField("shape")
    return new
