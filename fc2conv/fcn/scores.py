"""What each output gives, as an edit of the original: logits before a last Softmax, or probabilities after one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from onnx import GraphProto, ModelProto, NodeProto, ValueInfoProto, helper

from fc2conv.errors import UsageError
from fc2conv.fcn.activations import ACTIVATIONS, MAXIMA, MEANS, is_log_softmax
from fc2conv.io.reader import ModelFile
from fc2conv.ir.element_types import element_type
from fc2conv.ir.graph import Graph, op, reads
from fc2conv.ir.layer_operators import LAYER_OPERATORS
from fc2conv.options import ScoreMap
from fc2conv.rewrite.pool import unused

LAID_OUT = ("Identity", "Dropout", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose", "Cast")
_LINEAR = ("Add", "Sub", "Mul", "Div", "BatchNormalization")


def with_scores(file: ModelFile, wanted: Mapping[str, ScoreMap]) -> ModelFile:
    """Return the model with its outputs as they are wanted, by name ("" means all); raise UsageError for a wrong name.

    The logits of `y = Softmax(x)` are the output x. Probabilities of an output y are the output `y_probabilities`: its
    exponential where a LogSoftmax makes y (however it is written), a Softmax over dimension 1 where y are the scores of
    a layer or a pooling.
    Any other output, such as a gate, has neither, and stays.
    """
    if not wanted:
        return file
    model = ModelProto()
    model.CopyFrom(file.model)
    graph, taken = model.graph, set(Graph.of(model).names)
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
            new = _logits(model, values[name])
        elif choice == "probabilities":
            new = _probabilities(graph, values[name], taken)
        outputs.setdefault(new.name, new)
    kept = list(outputs.values())
    graph.ClearField("output")
    graph.output.extend(kept)
    _drop(graph, set(names) - outputs.keys())
    return replace(file, model=model)


def _drop(graph: GraphProto, gone: set[str]) -> None:
    """Remove the nodes that made what is no output any more, as far as no other node reads them."""
    while gone:
        read = set(reads(graph.node)) | {value.name for value in graph.output}
        dead = [node for node in graph.node if gone & set(node.output) and not read & set(node.output)]
        gone = {name for node in dead for name in node.input}
        for node in dead:
            graph.node.remove(node)


def _end(graph: GraphProto, name: str) -> tuple[NodeProto | None, bool]:
    """Return the node that makes an output, before nodes that only lay it out, and whether there are any of these."""
    given = name
    makers = {made: node for node in graph.node for made in node.output}
    while (node := makers.get(name)) is not None and node.op_type in LAID_OUT:
        name = node.input[0]
    return node, name != given


def _log(graph: GraphProto, node: NodeProto | None) -> NodeProto | None:
    """Return the node that reads the logits where `node` gives their log-probabilities; None for any other node."""
    if node is None or is_log_softmax({made: each for each in graph.node for made in each.output}, node):
        return node
    inner, _ = _end(graph, node.input[0]) if node.op_type == "Log" else (None, False)
    return inner if inner is not None and inner.op_type == "Softmax" else None


def _logits(model: ModelProto, value: ValueInfoProto) -> ValueInfoProto:
    graph = model.graph
    end, laid_out = _end(graph, value.name)
    node = _log(graph, end) or (end if end is not None and end.op_type in ACTIVATIONS else None)
    if node is None:
        return value
    new = _like(value, node.input[0], shaped=node is end and not laid_out)
    new.type.tensor_type.elem_type = element_type(Graph.of(model), new.name) or new.type.tensor_type.elem_type
    return new


def _probabilities(graph: GraphProto, value: ValueInfoProto, taken: set[str]) -> ValueInfoProto:
    node, _ = _end(graph, value.name)
    made = unused(f"{value.name}_probabilities", taken)
    if _log(graph, node) is not None:
        graph.node.append(helper.make_node("Exp", [value.name], [made], name=f"{made}_exp"))
    elif _are_scores(graph, value.name):
        graph.node.append(helper.make_node("Softmax", [value.name], [made], name=f"{made}_softmax", axis=1))
    else:
        return value
    return _like(value, made, shaped=True)


def _are_scores(graph: GraphProto, name: str) -> bool:
    """Return whether a value is the result of a layer or a pooling, but for numbers that are added or multiplied."""
    makers = {made: node for node in graph.node for made in node.output}
    while (node := makers.get(name)) is not None:
        if op(node) in (*LAYER_OPERATORS, *MEANS, *MAXIMA, "Conv", "com.microsoft::FusedConv"):
            return not any(a.name == "activation" for a in node.attribute)
        computed = [each for each in node.input if each in makers and makers[each].op_type != "Constant"]
        if node.op_type not in (*LAID_OUT, *_LINEAR) or len(computed) != 1:
            return False
        name = computed[0]
    return False


def _like(value: ValueInfoProto, name: str, shaped: bool) -> ValueInfoProto:
    new = ValueInfoProto()
    new.CopyFrom(value)
    new.name = name
    if not shaped:
        new.type.tensor_type.ClearField("shape")
    return new
