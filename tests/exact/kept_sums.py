"""Edits that write the same sums, products and functions in another way."""

from __future__ import annotations

import numpy as np
from editing import FLOAT, Array, Edit, Editor, attribute, instead
from onnx import NodeProto


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
