"""Edits that keep the exact function, at places that the seed chooses; each says whether there was a place for it."""

from __future__ import annotations

from collections.abc import Callable

import kept_sums
import numpy as np
import onnx
from editing import FLOAT, Edit, Editor, attribute, instead, reads
from onnx import NodeProto, TensorProto, helper


def behind(make: Callable[[Editor, str, int], list[NodeProto]], rank: int = 1) -> Edit:
    """Put nodes that change nothing behind a float value of at least this rank."""

    def edit(new: Editor) -> bool:
        name = new.value(lambda _, shape: len(shape) >= rank)
        if name:
            size = len(new.shape(name))
            new.behind(name, lambda x: make(new, x, size))
        return bool(name)

    return edit


# ------------------------------------------------------------------ nothing is computed in another way


def renamed(new: Editor) -> bool:
    """All inner values, weights and nodes get other names."""
    graph = new.model.graph
    kept = {v.name for v in (*graph.input, *graph.output)}
    names = {name for node in graph.node for name in node.output if name} | {t.name for t in graph.initializer}
    table = {name: f"v{i}" for i, name in enumerate(sorted(names - kept))}
    if any(a.HasField("g") for node in graph.node for a in node.attribute):
        return False
    for i, node in enumerate(graph.node):
        node.name = f"n{i}"
        node.input[:] = [table.get(name, name) for name in node.input]
        node.output[:] = [table.get(name, name) for name in node.output]
    for tensor in graph.initializer:
        tensor.name = table.get(tensor.name, tensor.name)
    del graph.value_info[:]
    return True


def described(new: Editor) -> bool:
    """Metadata, producer, doc strings and the IR version."""
    model = new.model
    model.producer_name, model.doc_string, model.graph.doc_string, model.graph.name = "other", "some", "words", "g2"
    model.metadata_props.add(key="author", value="nobody")
    model.ir_version = max(model.ir_version, 8)
    for node in model.graph.node:
        node.doc_string = node.op_type
    return True


def reordered(new: Editor) -> bool:
    """The nodes in another order that suits, by the seed."""
    left = [*new.nodes]
    made = {name for node in left for name in node.output}
    order: list[NodeProto] = []
    while left:
        ready = [node for node in left if not reads(node) & made]
        node = ready[int(new.rng.integers(len(ready)))]
        order.append(node)
        left.remove(node)
        made -= {*node.output}
    copies = [NodeProto.FromString(node.SerializeToString()) for node in order]
    del new.model.graph.node[:]
    new.model.graph.node.extend(copies)
    return True


def copied(new: Editor) -> bool:
    """Each reader of a constant gets its own copy."""
    for node in new.nodes:
        for i, name in enumerate(node.input):
            array = new.constant(name) if name else None
            if array is not None and array.size < 1 << 16 and array.dtype.kind in "fiub":
                new.replace(node, i, array)
    return True


def moved(new: Editor) -> bool:
    """Initializers become Constant nodes."""
    tensors = [t for t in new.model.graph.initializer if new.constant(t.name) is not None]
    for tensor in tensors:
        node = helper.make_node("Constant", [], [tensor.name], value=tensor)
        new.model.graph.initializer.remove(tensor)
        new.model.graph.node.insert(0, node)
    return bool(tensors)


def raised(new: Editor) -> bool:
    """onnx's own converter to the next opset."""
    if new.opset < 7 or new.opset > 20 or len(new.model.opset_import) > 1 or new.model.functions:
        return False
    made = onnx.version_converter.convert_version(new.model, new.opset + 1)
    new.model.CopyFrom(made)
    return True


def as_function(new: Editor) -> bool:
    """One node becomes a model-local function of its own."""
    plain = [n for n in new.nodes if not any(a.HasField("g") for a in n.attribute) and all(n.input) and not n.domain]
    node = new.one(n for n in plain if n.op_type != "Dropout")
    if node is None or new.model.ir_version < 8:
        return False
    body = NodeProto()
    body.CopyFrom(node)
    ins, outs = [f"i{i}" for i in range(len(node.input))], [f"o{i}" if o else "" for i, o in enumerate(node.output)]
    body.input[:], body.output[:] = ins, outs
    imports = [o for o in new.model.opset_import if o.domain in ("", "ai.onnx")]
    function = helper.make_function("local", "Own", ins, [o for o in outs if o], [body], imports)
    if len(function.output) != len(outs):
        return False
    new.model.functions.append(function)
    new.model.opset_import.append(helper.make_opsetid("local", 1))
    node.op_type, node.domain = "Own", "local"
    node.ClearField("attribute")
    return True


def _double_transpose(new: Editor, x: str, rank: int) -> list[NodeProto]:
    perm = [int(axis) for axis in new.rng.permutation(rank)]
    one = new.make("Transpose", x, perm=perm)
    return [one, new.make("Transpose", one.output[0], perm=[int(axis) for axis in np.argsort(perm)])]


def _there_and_back(new: Editor, x: str, _: int) -> list[NodeProto]:
    shape = new.make("Shape", x)
    flat = new.shaped(x, -1)
    return [shape, flat, new.make("Reshape", flat.output[0], shape.output[0])]


def _copied_by_zeros(new: Editor, x: str, rank: int) -> list[NodeProto]:
    return [new.shaped(x, *[0] * rank)]


def _flattened(new: Editor, node: NodeProto) -> list[NodeProto] | None:
    """Flatten as a Reshape."""
    return [new.shaped(node.input[0], 0, -1)] if attribute(node, "axis", 1) == 1 else None


def _to_double(new: Editor, x: str, _: int) -> list[NodeProto]:
    wide = new.make("Cast", x, to=TensorProto.DOUBLE)
    return [wide, new.make("Cast", wide.output[0], to=FLOAT)]


def _parted(new: Editor, x: str, rank: int) -> list[NodeProto]:
    parts = [new.sliced(x, [rank - 1], [start], [end]) for start, end in ((0, 1), (1, 1 << 40))]
    return [*parts, new.make("Concat", *(p.output[0] for p in parts), axis=rank - 1)]


EDITS: dict[str, Edit] = {
    "other names": renamed,
    "metadata": described,
    "nodes in another order": reordered,
    "constants copied": copied,
    "initializers as Constant nodes": moved,
    "the next opset": raised,
    "a node as a function": as_function,
    "Identity": behind(lambda e, x, _: [e.make("Identity", x)]),
    "Dropout": behind(lambda e, x, _: [e.make("Dropout", x, **({"is_test": 1} if e.opset < 7 else {}))]),
    "two Transposes": behind(_double_transpose, 2),
    "Reshape there and back": behind(_there_and_back),
    "Reshape to zeros": behind(_copied_by_zeros),
    "double and back": behind(_to_double),
    "x + 0": behind(lambda e, x, _: [e.make("Add", x, e.add(np.zeros((), np.float32)))]),
    "x * 1": behind(lambda e, x, _: [e.make("Mul", x, e.add(np.ones((), np.float32)))]),
    "-(-x)": behind(lambda e, x, _: [n := e.make("Neg", x), e.make("Neg", n.output[0])]),
    "two slices joined": behind(_parted, 2),
    "Flatten as Reshape": instead("Flatten", _flattened),
    **kept_sums.EDITS,
}
