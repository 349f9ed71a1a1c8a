"""A model against what the same conversion makes of the original now: nothing in it is anything else."""

from __future__ import annotations

from itertools import zip_longest

from onnx import GraphProto, ModelProto, NodeProto

from fc2conv.io.reader import ModelFile
from fc2conv.report.verification import Check, Verdict
from fc2conv.verification.nodes import canonical, label
from fc2conv.verification.structure import Tensors


def check_remade(made: ModelFile, there: ModelFile, by: str, now: str) -> Check:
    """Holds a model against what version `now` makes; one of another version `by` may be another and right as well."""
    unlike = _unlike(made, there)
    if not unlike:
        return Check(
            name="remade", verdict=Verdict.AGREES, detail="the model is what this conversion makes of the original"
        )
    if by != now:
        detail = f"{unlike} what fc2conv {now} makes; the model was made by {by}"
        return Check(name="remade", verdict=Verdict.INCONCLUSIVE, detail=detail)
    return Check(name="remade", verdict=Verdict.DIFFERS, detail=f"{unlike} what this conversion makes of the original")


def _unlike(made: ModelFile, there: ModelFile) -> str:
    """The first thing in which two models are not the same; "" if there is none."""
    one, other = made.model.graph, there.model.graph
    for a, b in zip_longest(one.node, other.node):
        if a is None or b is None or _bytes(a, made) != _bytes(b, there):
            return f"the node {label(b or a)} is not"
    tensors = Tensors(made, there)
    for a, b in zip_longest(one.initializer, other.initializer):
        if a is None or b is None or a.name != b.name or not tensors.identical(("", b.name), b):
            return f"the initializer {(b or a).name} is not"
    return "" if _rest(made) == _rest(there) else "what stands around the nodes is not"


def _bytes(node: NodeProto, file: ModelFile) -> bytes:
    return canonical(ModelProto(graph=GraphProto(node=[node])), file)


def _rest(file: ModelFile) -> bytes:
    """All but the main graph's nodes and initializers."""
    model = ModelProto()
    model.CopyFrom(file.model)
    model.graph.ClearField("node")
    model.graph.ClearField("initializer")
    return canonical(model, file)
