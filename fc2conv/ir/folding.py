"""What a node makes of known operands, and how large that is: a small file may ask for terabytes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod

import numpy as np
from onnx import NodeProto, helper

from fc2conv.ir.arithmetic import Call, Numbers, evaluate
from fc2conv.ir.arithmetic.moving import gather_nd
from fc2conv.ir.graph import changed, int_attribute, ints_attribute, label, onnx_opset, op, own_op, text_attribute
from fc2conv.sandbox import hush, note

LAYOUT = frozenset(["Identity", "Transpose", "Reshape", "Flatten", "Squeeze", "Unsqueeze"])
_EXACT = frozenset(
    (
        "Cast Concat Slice Gather Expand Tile Split Shape Add Sub Mul Div Neg Abs Sqrt Where Equal Max Min Floor Ceil "
        "Clip CastLike Sign Trilu EyeLike Dropout BitShift BitwiseAnd BitwiseOr BitwiseXor BitwiseNot Relu "
        "Pad TopK Compress DepthToSpace SpaceToDepth ReverseSequence OneHot ScatterND ScatterElements GatherElements"
    ).split()
)
EXACT = _EXACT | LAYOUT | {"Constant", "ConstantOfShape"}
"""Operators whose results every runtime rounds in the same way."""
_PRODUCTS = frozenset("MatMul Gemm Einsum".split())
FOLDED = (_EXACT | _PRODUCTS).union(
    (
        "QuantizeLinear DequantizeLinear DynamicQuantizeLinear Pow Exp Reciprocal ReduceSum ReduceL2 ReduceMean "
        "ReduceMax ReduceMin ReduceL1 ReduceSumSquare LpNormalization ArgMax ArgMin NonZero Size Range Not And Or Xor "
        "Less LessOrEqual Greater GreaterOrEqual IsNaN IsInf Mod Log Round Tanh Sigmoid GatherND CumSum Sum Mean "
        "ReduceProd LeakyRelu Elu Erf Softmax LogSoftmax Sin Cos Tan Asin Acos Atan Sinh Cosh Asinh Acosh Atanh "
        "Softsign Selu Celu HardSwish Gelu ThresholdedRelu PRelu Hardmax BatchNormalization "
        "LayerNormalization InstanceNormalization Resize"
    ).split()
)
"""Operators whose constant results are computed where their values are needed, however many elements they have."""
OF_INTEGERS = frozenset("Div Mod Pow ReduceMean".split())
"""Operators that ONNX's reference rounds in another way than runtimes where the operands are integers."""
MAX_FOLDED = 1 << 28
"""The most elements of a constant that is computed, and of each operand that it is computed from."""
_LEAST = {"DequantizeLinear": 19, "QuantizeLinear": 19}
"""From which version on the reference knows an operator; what it meant before is unchanged there."""
_SINCE = {"BatchNormalization": 14, **dict.fromkeys(("Softmax", "LogSoftmax", "Hardmax"), 13)}
"""From which operator set on the reference computes an operator as runtimes do."""


def folded(
    node: NodeProto, known: Mapping[str, np.ndarray], opset: int, opsets: Mapping[str, int]
) -> dict[str, np.ndarray]:
    """Compute the results of a node on constants, by name; leave out large ones, and what runtimes round otherwise."""
    kind, whole = own_op(node), all(array.dtype.kind in "iub" for array in known.values())
    if any(array.size > MAX_FOLDED for array in known.values()):
        return {}
    made: dict[str, np.ndarray] = {}
    if whole or kind not in FOLDED:
        operands = tuple(Numbers.of(known[name]) if name else None for name in node.input)
        small = evaluate(Call(node, opset, operands))
        made = {name: each.array() for name, each in zip(node.output, small or (), strict=False) if each.known}
    if not made and kind in FOLDED and not (whole and kind in OF_INTEGERS):
        fits = made_elements(node, [known[name] for name in node.input if name]) <= MAX_FOLDED
        found = computed(node, known, opsets) if fits else None
        made = dict(zip(filter(None, node.output), found or (), strict=False))
    if all(map(_finite, known.values())):
        made = {name: array for name, array in made.items() if _finite(array) or _masks(kind, array)}
    return made


def _finite(array: np.ndarray) -> bool:
    return array.dtype.kind not in "fc" or bool(np.isfinite(array).all())


def _masks(kind: str, array: np.ndarray) -> bool:
    """Return whether infinite results of a node may be meant, as in a mask: only EXACT operators and Log make masks."""
    return (kind in EXACT or kind == "Log") and not np.isnan(array).any()


def _differs(node: NodeProto, kind: str, operands: Mapping[str, np.ndarray], opset: int) -> bool:
    """Return whether ONNX's reference computes a node otherwise than runtimes do."""
    shapes = [operands[name].shape if name else None for name in node.input]
    return bool(
        kind == "Resize"
        or opset < _SINCE.get(kind, 1)
        or (kind == "LpNormalization" and int_attribute(node, "p", 2) == 1)
        or (kind == "NonZero" and shapes[0] == ())
        or (kind == "Squeeze" and shapes[1:] == [(0,)])
    )


def computed(node: NodeProto, operands: Mapping[str, np.ndarray], opsets: Mapping[str, int]) -> list[np.ndarray] | None:
    """Compute the results of a node by ONNX's reference, or by onnxruntime; return None where these do not."""
    kind, opset = own_op(node), onnx_opset(opsets)
    if kind == "Dropout" and len(node.input) > 2 and np.any(operands.get(node.input[2], False)):
        return None  # it drops others on every run
    if kind != op(node):
        node = changed(node)
        node.domain = ""
    if _differs(node, kind, operands, opset):
        return _run(node, operands, opset)
    from onnx.reference import ReferenceEvaluator

    if kind == "Pad":
        node, operands = _cropped(node, operands)
    if kind == "OneHot" and node.input[0] != node.input[1] and operands[depth := node.input[1]].size == 1:
        operands = {**operands, depth: operands[depth].reshape(())}  # the reference takes no list of one
    versions = [helper.make_opsetid(domain, max(n, _LEAST.get(kind, 1))) for domain, n in opsets.items()]
    values = [helper.make_empty_tensor_value_info(name) for name in operands]
    names = [name for name in node.output if name]
    graph = helper.make_graph([node], "constant", values, [helper.make_empty_tensor_value_info(name) for name in names])
    note("onnx.reference", label(node))
    try:
        if kind == "GatherND":  # the reference takes one element at a time
            data, index = (operands[name] for name in node.input)
            return [gather_nd(data, index, int_attribute(node, "batch_dims", 0))]
        if kind == "Slice":  # the reference takes nothing from a start below the first place, backwards
            parts = tuple(Numbers(operands[name], operands[name].dtype) if name else None for name in node.input)
            return [each.cells for each in evaluate(Call(node, opset, parts)) or ()] or None
        with np.errstate(all="ignore"):  # what overflows here overflows in the model
            outputs = ReferenceEvaluator(helper.make_model(graph, opset_imports=versions)).run(names, dict(operands))
        made = [np.asarray(each) for each in (outputs if isinstance(outputs, list) else outputs.values())]
        if kind.startswith("Reduce"):  # the reference adds integers in a wider type
            return [each.astype(operands[node.input[0]].dtype, copy=False) for each in made]
        return made
    except (ValueError, TypeError, LookupError, RuntimeError, ArithmeticError, AssertionError):
        return None


def _run(node: NodeProto, operands: Mapping[str, np.ndarray], opset: int) -> list[np.ndarray] | None:
    """Compute the results of a node by onnxruntime; return None where it has no kernel for these types."""
    from fc2conv.io.alone import REFUSALS, run_alone

    hush()
    note("onnxruntime", label(node))
    try:
        made = run_alone(node, {"": opset}, [operands.get(name) for name in node.input])
        return [each for each in made if each is not None]
    except REFUSALS:
        return None


def _cropped(node: NodeProto, operands: Mapping[str, np.ndarray]) -> tuple[NodeProto, Mapping[str, np.ndarray]]:
    """Return a Pad with numbers below 0 as a Pad of cropped data, as ONNX's reference does not crop."""
    data, listed = operands[node.input[0]], ints_attribute(node, "pads")
    pads = np.array(listed) if listed is not None else operands[node.input[1]]
    if text_attribute(node, "mode", "constant") != "constant" or not (pads < 0).any():
        return node, operands
    axes = operands[node.input[3]] if len(node.input) > 3 and node.input[3] else range(data.ndim)
    cut, less = [slice(None)] * data.ndim, np.maximum(-pads, 0)
    for axis, low, high in zip(axes, *np.split(less, 2), strict=True):
        cut[axis] = slice(low, data.shape[axis] - high)
    node = changed(node, pads=None if listed is None else np.maximum(pads, 0).tolist())
    names = node.input[:1] if listed is not None else node.input[:2]
    return node, {**operands, **dict(zip(names, (data[tuple(cut)], np.maximum(pads, 0)), strict=False))}


def made_elements(node: NodeProto, operands: Sequence[np.ndarray]) -> int:
    """Return an upper bound of the elements that a node of ONNX's own domain makes of these operands.

    The bound is the size that the operator's specification gives: for Expand, Tile, Range and Gather by the values of
    their operands, for Concat the sum, and for all others that are folded at most the broadcast of the operands'
    shapes.
    """
    kind, first = op(node), operands[0]
    if kind == "Expand" and len(operands) > 1:
        return _broadcast([first.shape, _sizes(operands[1])])
    if kind == "Tile" and len(operands) > 1:
        return first.size * prod(_sizes(operands[1]))
    if kind == "Range" and len(operands) == 3:
        start, limit, delta = (float(each.reshape(-1)[0]) if each.size else 0.0 for each in operands)
        return int(min(abs((limit - start) / delta), 2.0**62)) + 1 if delta else 0
    if kind == "Gather" and len(operands) > 1 and first.ndim:
        axis = int_attribute(node, "axis", 0)
        length = first.shape[axis] if -first.ndim <= axis < first.ndim else 1
        return operands[1].size * (first.size // (length or 1))
    if kind == "GatherND" and len(operands) > 1 and operands[1].ndim:
        *places, count = operands[1].shape
        return prod(places) * prod(first.shape[count:])
    if kind == "Einsum":  # a sum over this many products
        terms = text_attribute(node, "equation", "").replace(" ", "").partition("->")[0].split(",")
        letters = [
            pair for term, each in zip(terms, operands, strict=False) for pair in zip(term, each.shape, strict=False)
        ]
        return prod(each.size for each in operands) if "." in "".join(terms) else prod(size for _, size in {*letters})
    if kind == "Pad" and first.ndim:
        pads = ints_attribute(node, "pads") if len(operands) < 2 else _sizes(operands[1])
        return prod(size + 2 * max([0, *(pads or ())]) for size in first.shape)
    if kind == "Resize" and len(operands) > 1:
        return _resized(first.shape, operands[-1], ints_attribute(node, "axes") or range(first.ndim))
    if kind == "OneHot" and len(operands) > 1:
        return first.size * prod(_sizes(operands[1].reshape(-1)[:1]))
    if kind == "NonZero":
        return first.size * first.ndim
    if kind in ("Concat", "Slice", "Split", "Clip"):
        return sum(each.size for each in operands)
    return _broadcast([each.shape for each in operands])


def _resized(shape: tuple[int, ...], target: np.ndarray, axes: Sequence[int]) -> int:
    """Return how many elements a Resize makes by sizes or by scales; more, where it keeps the ratio of the sizes."""
    pairs = zip(axes, target.reshape(-1).tolist(), strict=False)
    whole = target.dtype.kind in "iu"
    factors = [max(size, 0) / max(shape[axis], 1) if whole else size for axis, size in pairs]
    return int(prod(shape) * max([1.0, *factors]) ** len(factors)) + 1


def _sizes(array: np.ndarray) -> tuple[int, ...]:
    return tuple(max(int(size), 0) for size in array.reshape(-1)) if array.dtype.kind in "iu" else ()


def _broadcast(shapes: Sequence[tuple[int, ...]]) -> int:
    """Return how many elements the broadcast of some shapes has, where they broadcast."""
    rank = max(map(len, shapes))
    padded = [(1,) * (rank - len(shape)) + shape for shape in shapes]
    return prod(0 if 0 in sizes else max(sizes) for sizes in zip(*padded, strict=True))
