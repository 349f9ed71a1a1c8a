"""Edits that keep the exact function, at places that the seed chooses; each says whether there was a place for it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
from editing import FLOAT, Array, Editor, attribute, reads
from onnx import NodeProto, TensorProto, helper

Edit = Callable[[Editor], bool]


def behind(make: Callable[[Editor, str, int], list[NodeProto]], rank: int = 1) -> Edit:
    """Put nodes that change nothing behind a float value of at least this rank."""

    def edit(new: Editor) -> bool:
        name = new.value(lambda _, shape: len(shape) >= rank)
        if name:
            size = len(new.shape(name))
            new.behind(name, lambda x: make(new, x, size))
        return bool(name)

    return edit


def instead(op_types: str, make: Callable[[Editor, NodeProto], list[NodeProto] | None]) -> Edit:
    """Put other nodes of the same function in the place of one; `make` gives None for a form that it does not know."""

    def edit(new: Editor) -> bool:
        nodes = [n for n in new.nodes if n.op_type in op_types.split() and not n.domain and new.matters(n)]
        for i in new.rng.permutation(len(nodes)):
            if (made := make(new, nodes[i])) is not None:
                new.instead(nodes[i], made)
                return True
        return False

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


# ------------------------------------------------------------------ the same sums and products


def _weighted(new: Editor, node: NodeProto) -> Array | None:
    array = new.constant(node.input[1])
    return array if array is not None and array.dtype == np.float32 else None


def _gemm(new: Editor, node: NodeProto) -> list[NodeProto] | None:
    """Gemm as MatMul and Add."""
    w = _weighted(new, node)
    if (
        w is None
        or attribute(node, "transA", 0)
        or any(attribute(node, name, 1.0) != 1.0 for name in ("alpha", "beta"))
    ):
        return None
    product = new.make("MatMul", node.input[0], new.add(w.T if attribute(node, "transB", 0) else w))
    return [product, new.make("Add", product.output[0], node.input[2])] if len(node.input) > 2 else [product]


def _matmul(new: Editor, node: NodeProto) -> list[NodeProto] | None:
    """MatMul of rows as Gemm."""
    w = _weighted(new, node)
    if w is None or w.ndim != 2 or len(new.shape(node.input[0])) != 2:
        return None
    return [new.make("Gemm", node.input[0], new.add(w.T), transB=1)]


def _plain(new: Editor, node: NodeProto) -> Array | None:
    """The kernel of a convolution in one group."""
    return _weighted(new, node) if attribute(node, "group", 1) == 1 and len(new.shape(node.output[0])) == 4 else None


def _like(new: Editor, node: NodeProto, x: str, w: Array, b: str = "") -> NodeProto:
    made = new.make("Conv", x, new.add(w), *([b] if b else []))
    made.attribute.extend(node.attribute)
    return made


def _bias(node: NodeProto) -> str:
    return node.input[2] if len(node.input) > 2 else ""


def _inputs_split(new: Editor, node: NodeProto) -> list[NodeProto] | None:
    """A convolution as a sum over two parts of the channels."""
    w = _plain(new, node)
    if w is None or w.shape[1] < 2:
        return None
    cut = int(new.rng.integers(1, w.shape[1]))
    ends = ((0, cut), (cut, w.shape[1]))
    parts = [new.sliced(node.input[0], [1], [start], [end]) for start, end in ends]
    convs = [_like(new, node, part.output[0], w[:, start:end], _bias(node) if start else "")
             for part, (start, end) in zip(parts, ends, strict=True)]  # fmt: skip
    return [*parts, *convs, new.make("Add", *(c.output[0] for c in convs))]


def _outputs_split(new: Editor, node: NodeProto) -> list[NodeProto] | None:
    """A convolution as two that are joined."""
    w = _plain(new, node)
    b = new.constant(_bias(node)) if _bias(node) else None
    if w is None or len(w) < 2 or (b is None and _bias(node)):
        return None
    cut = int(new.rng.integers(1, len(w)))
    convs = [_like(new, node, node.input[0], w[part], "" if b is None else new.add(b[part]))
             for part in (slice(0, cut), slice(cut, None))]  # fmt: skip
    return [*convs, new.make("Concat", *(c.output[0] for c in convs), axis=1)]


def _kernel_split(new: Editor, node: NodeProto) -> list[NodeProto] | None:
    """A kernel as the sum of two with zeros in the other's places."""
    w = _plain(new, node)
    if w is None or w.shape[-1] < 2:
        return None
    left, right = w.copy(), w.copy()
    left[..., 1:], right[..., :1] = 0, 0
    convs = [_like(new, node, node.input[0], left, _bias(node)), _like(new, node, node.input[0], right)]
    return [*convs, new.make("Add", *(c.output[0] for c in convs))]


def _padded_before(new: Editor, node: NodeProto) -> list[NodeProto] | None:
    """Pads as a node of their own."""
    given = attribute(node, "pads", None)
    w = _plain(new, node)
    if w is None or not isinstance(given, list) or not any(given) or new.opset < 11 or attribute(node, "auto_pad"):
        return None
    half = len(given) // 2
    pads = new.make("Pad", node.input[0], new.ints(0, 0, *given[:half], 0, 0, *given[half:]))
    conv = _like(new, node, pads.output[0], w, _bias(node))
    kept = [a for a in conv.attribute if a.name != "pads"]
    conv.ClearField("attribute")
    conv.attribute.extend(kept)
    return [pads, conv]


def _pointwise(new: Editor, node: NodeProto) -> list[NodeProto] | None:
    """A 1x1 convolution as a MatMul of the channels."""
    w = _plain(new, node)
    others = {"strides", "pads", "auto_pad", "dilations"} & {a.name for a in node.attribute}
    if w is None or max(w.shape[2:]) > 1 or any(set(attribute(node, n)) - {0, 1} for n in others - {"auto_pad"}):  # type: ignore[call-overload]
        return None
    if any(attribute(node, "pads", [0])) or "auto_pad" in others:  # type: ignore[call-overload]
        return None
    turned = new.make("Transpose", node.input[0], perm=[0, 2, 3, 1])
    product = new.make("MatMul", turned.output[0], new.add(w[:, :, 0, 0].T))
    added = [new.make("Add", product.output[0], _bias(node))] if _bias(node) else []
    last = (added or [product])[-1].output[0]
    return [turned, product, *added, new.make("Transpose", last, perm=[0, 3, 1, 2])]


def _norm_in_parts(new: Editor, node: NodeProto) -> list[NodeProto] | None:
    """BatchNormalization as (x - m) * s / sqrt(v + eps) + b."""
    arrays = [new.constant(name) for name in node.input[1:5]]
    rank = len(new.shape(node.input[0]))
    if len(node.output) > 1 or rank < 2 or any(a is None for a in arrays):
        return None
    s, b, m, v = (new.add(a.reshape(-1, *[1] * (rank - 2))) for a in arrays if a is not None)
    eps = new.add(np.array(attribute(node, "epsilon", 1e-5), np.float32))
    centred, safe = new.make("Sub", node.input[0], m), new.make("Add", v, eps)
    root, scaled = new.make("Sqrt", safe.output[0]), new.make("Mul", centred.output[0], s)
    divided = new.make("Div", scaled.output[0], root.output[0])
    return [centred, safe, root, scaled, divided, new.make("Add", divided.output[0], b)]


def _layer_norm_in_parts(new: Editor, node: NodeProto) -> list[NodeProto] | None:
    """LayerNormalization over the last axis, as exporters write it."""
    x = node.input[0]
    rank = len(new.shape(x))
    if len(node.output) > 1 or attribute(node, "axis", -1) not in (-1, rank - 1) or len(node.input) < 3:
        return None
    mean = new.reduced("ReduceMean", x, [rank - 1])
    centred = new.make("Sub", x, mean.output[0])
    square = new.make("Pow", centred.output[0], new.add(np.array(2, np.float32)))
    variance = new.reduced("ReduceMean", square.output[0], [rank - 1])
    safe = new.make("Add", variance.output[0], new.add(np.array(attribute(node, "epsilon", 1e-5), np.float32)))
    root = new.make("Sqrt", safe.output[0])
    out = new.make("Div", centred.output[0], root.output[0])
    scaled = new.make("Mul", out.output[0], node.input[1])
    return [mean, centred, square, variance, safe, root, out, scaled, new.make("Add", scaled.output[0], node.input[2])]


def _softmax_in_parts(new: Editor, node: NodeProto) -> list[NodeProto] | None:
    """Softmax as exp(x) over its sum."""
    rank = len(new.shape(node.input[0]))
    if new.opset < 13 or not rank:
        return None
    exps = new.make("Exp", node.input[0])
    total = new.reduced("ReduceSum", exps.output[0], [int(attribute(node, "axis", -1)) % rank])  # type: ignore[call-overload]
    return [exps, total, new.make("Div", exps.output[0], total.output[0])]


def _pooled(new: Editor, node: NodeProto) -> list[NodeProto] | None:
    """GlobalAveragePool as a ReduceMean."""
    rank = len(new.shape(node.input[0]))
    return [new.reduced("ReduceMean", node.input[0], [*range(2, rank)])] if rank > 2 else None


def _relu(new: Editor, node: NodeProto) -> list[NodeProto] | None:
    """Relu as Max with 0 or as a Clip from 0."""
    if new.kinds.get(node.output[0], (0,))[0] != FLOAT:
        return None
    if new.rng.integers(2):
        return [new.clipped(node.input[0], 0.0)]
    return [new.make("Max", node.input[0], new.add(np.zeros((), np.float32)))] if new.opset >= 8 else None


def _difference(new: Editor, node: NodeProto) -> list[NodeProto] | None:
    """a - b as a + (-b)."""
    minus = new.make("Neg", node.input[1])
    return [minus, new.make("Add", node.input[0], minus.output[0])]


def _sum_swapped(new: Editor, node: NodeProto) -> list[NodeProto] | None:
    """The operands of a sum or product in the other order."""
    return [new.make(node.op_type, node.input[1], node.input[0])] if new.opset >= 7 else None


def _silu(new: Editor, node: NodeProto) -> list[NodeProto] | None:
    """Sigmoid as 1 / (1 / Sigmoid)."""
    inner = new.make("Sigmoid", node.input[0])
    over = new.make("Reciprocal", inner.output[0])
    return [inner, over, new.make("Reciprocal", over.output[0])]


EDITS: dict[str, Edit] = {
    "other names": renamed,
    "metadata": described,
    "nodes in another order": reordered,
    "constants copied": copied,
    "initializers as Constant nodes": moved,
    "the next opset": raised,
    "a node as a function": as_function,
    "Identity": behind(lambda e, x, _: [e.make("Identity", x)]),
    "Dropout": behind(lambda e, x, _: [e.make("Dropout", x)]),
    "two Transposes": behind(_double_transpose, 2),
    "Reshape there and back": behind(_there_and_back),
    "Reshape to zeros": behind(_copied_by_zeros),
    "double and back": behind(_to_double),
    "x + 0": behind(lambda e, x, _: [e.make("Add", x, e.add(np.zeros((), np.float32)))]),
    "x * 1": behind(lambda e, x, _: [e.make("Mul", x, e.add(np.ones((), np.float32)))]),
    "-(-x)": behind(lambda e, x, _: [n := e.make("Neg", x), e.make("Neg", n.output[0])]),
    "two slices joined": behind(_parted, 2),
    "Flatten as Reshape": instead("Flatten", _flattened),
    "Gemm as MatMul and Add": instead("Gemm", _gemm),
    "MatMul as Gemm": instead("MatMul", _matmul),
    "inputs of a Conv split": instead("Conv", _inputs_split),
    "outputs of a Conv split": instead("Conv", _outputs_split),
    "kernel split": instead("Conv", _kernel_split),
    "Pad before Conv": instead("Conv", _padded_before),
    "Conv 1x1 as MatMul": instead("Conv", _pointwise),
    "BatchNormalization in parts": instead("BatchNormalization", _norm_in_parts),
    "LayerNormalization in parts": instead("LayerNormalization", _layer_norm_in_parts),
    "Softmax in parts": instead("Softmax", _softmax_in_parts),
    "GlobalAveragePool as ReduceMean": instead("GlobalAveragePool", _pooled),
    "Relu as Max or Clip": instead("Relu", _relu),
    "Sub as Add and Neg": instead("Sub", _difference),
    "operands in another order": instead("Add Mul", _sum_swapped),
    "1 / (1 / x)": instead("Sigmoid", _silu),
}
