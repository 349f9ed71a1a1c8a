"""What each output gives, as an edit of the original: logits before a last Softmax, or probabilities after one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from onnx import GraphProto, ModelProto, NodeProto, ValueInfoProto, helper

from fc2conv.errors import UsageError
from fc2conv.fcn.activations import LAID_OUT, MAXIMA, MEANS, activation_of, behind_layout
from fc2conv.io.reader import ModelFile
from fc2conv.ir.element_types import element_type
from fc2conv.ir.graph import Graph, op
from fc2conv.ir.layer_operators import LAYER_OPERATORS
from fc2conv.options import ScoreMap
from fc2conv.rewrite.pool import unused
from fc2conv.rewrite.swap import alive

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
    graph, before = model.graph, Graph.of(model)
    taken = set(before.names)
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
    nodes, _ = alive([*before.nodes, *graph.node[len(before.nodes) :]], outputs, before)
    for field, entries in (("output", list(outputs.values())), ("node", nodes)):
        graph.ClearField(field)
        getattr(graph, field).extend(entries)
    return replace(file, model=model)


def _logits(model: ModelProto, value: ValueInfoProto) -> ValueInfoProto:
    makers = _makers(model.graph)
    end = behind_layout(makers, value.name)
    _, name = activation_of(makers, end) if end is not None else ("", "")
    if end is None or not name:
        return value
    new = _like(value, name, shaped=value.name in end.output and name == end.input[0])
    new.type.tensor_type.elem_type = element_type(Graph.of(model), new.name) or new.type.tensor_type.elem_type
    return new


def _probabilities(graph: GraphProto, value: ValueInfoProto, taken: set[str]) -> ValueInfoProto:
    makers = _makers(graph)
    end = behind_layout(makers, value.name)
    made = unused(f"{value.name}_probabilities", taken)
    if end is not None and activation_of(makers, end)[0] == "LogSoftmax":
        graph.node.append(helper.make_node("Exp", [value.name], [made], name=f"{made}_exp"))
    elif _are_scores(makers, value.name):
        graph.node.append(helper.make_node("Softmax", [value.name], [made], name=f"{made}_softmax", axis=1))
    else:
        return value
    return _like(value, made, shaped=True)


def _makers(graph: GraphProto) -> dict[str, NodeProto]:
    return {made: node for node in graph.node for made in node.output}


def _are_scores(makers: Mapping[str, NodeProto], name: str) -> bool:
    """Return whether a value is the result of a layer or a pooling, but for numbers that are added or multiplied."""
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
