"""Integer arithmetic on shapes, evaluated on symbols: Shape -> Gather -> Unsqueeze -> Concat -> Reshape and the like.

Exporters compute the target of a Reshape from the shape of what it reads; shape inference alone does not see
through these chains on a symbolic batch. A value is a flat tuple of `Size`; what has no size of that form
(a sum with a symbol, a quotient that is not whole) becomes a symbol of its own.
"""

from __future__ import annotations

from collections.abc import Callable

from onnx import NodeProto, TensorProto

from fc2conv.axes import Size, product
from fc2conv.graph import attribute, int_attribute, op
from fc2conv.layout.context import Context, Ints, UnknownError

Evaluate = Callable[[Context, NodeProto], Ints | None]


def _shape(ctx: Context, node: NodeProto) -> Ints | None:
    shape = ctx.shape(node.input[0])
    if shape is None:
        return None
    if op(node) == "Size":
        return (product(shape),)
    start, end = attribute(node, "start"), attribute(node, "end")
    return tuple(shape)[slice(start and int(start.i), int(end.i) if end is not None else None)]


def _gather(ctx: Context, node: NodeProto) -> Ints | None:
    data, indices = ctx.integers(node.input[0]), ctx.constants.ints(node.input[1])
    if data is None or indices is None or int_attribute(node, "axis", 0):
        return None
    return tuple(data[i] for i in indices) if all(-len(data) <= i < len(data) for i in indices) else None


def _slice(ctx: Context, node: NodeProto) -> Ints | None:
    data = ctx.integers(node.input[0])
    starts, ends = ctx.listed(node, "starts", 1), ctx.listed(node, "ends", 2)
    steps = ctx.listed(node, "steps", 4) or [1]
    if data is None or not starts or not ends or len(starts) != 1:
        return None
    return data[slice(starts[0], ends[0] if abs(ends[0]) < 1 << 30 or ends[0] < 0 else None, steps[0])]


def _concat(ctx: Context, node: NodeProto) -> Ints | None:
    parts = [ctx.integers(name) for name in node.input]
    return None if any(part is None for part in parts) else tuple(v for part in parts for v in part or ())


def _same(ctx: Context, node: NodeProto) -> Ints | None:
    return ctx.integers(node.input[0])


def _cast(ctx: Context, node: NodeProto) -> Ints | None:
    """Among integers; a quotient of floating-point numbers is not truncated."""
    whole = int_attribute(node, "to", 0) in (TensorProto.INT64, TensorProto.INT32)
    return ctx.integers(node.input[0]) if whole else None


def _pairs(combine: Callable[[Size, Size], Size | None]) -> Evaluate:
    def evaluate(ctx: Context, node: NodeProto) -> Ints | None:
        left, right = ctx.integers(node.input[0]), ctx.integers(node.input[1])
        if left is None or right is None or not left or not right:
            return None
        count = max(len(left), len(right))
        if len(left) not in (1, count) or len(right) not in (1, count):
            return None
        out: list[Size] = []
        for i in range(count):
            value = combine(left[i % len(left)], right[i % len(right)])
            out.append(value if value is not None else Size(1, (f"?{node.output[0]}[{i}]",)))
        return tuple(out)

    return evaluate


def _plus(sign: int) -> Callable[[Size, Size], Size | None]:
    def add(left: Size, right: Size) -> Size | None:
        if left.symbols == right.symbols:
            total = left.coefficient + sign * right.coefficient
            return Size(total, left.symbols if total else ())
        return left if right == Size(0) else right if left == Size(0) and sign > 0 else None

    return add


def _quotient(left: Size, right: Size) -> Size | None:
    if left.known and right.known and right.coefficient:
        return Size(int(left.coefficient / right.coefficient))  # ONNX truncates
    return left.over(right)


def _filled(ctx: Context, node: NodeProto) -> Ints | None:
    shape = ctx.integers(node.input[0])
    value = attribute(node, "value")
    if shape is None or len(shape) != 1 or not shape[0].known or not 0 <= shape[0].coefficient <= 64:
        return None
    fill = int(ctx.constants.file.array(value.t).reshape(-1)[0]) if value is not None else 0
    return (Size(fill),) * shape[0].coefficient


def _range(ctx: Context, node: NodeProto) -> Ints | None:
    ends = [ctx.integers(name) for name in node.input]
    if any(end is None or len(end) != 1 or not end[0].known for end in ends):
        return None
    start, stop, step = (end[0].coefficient for end in ends if end)
    return tuple(Size(i) for i in range(start, stop, step)) if step and abs((stop - start) // step) <= 64 else None


def _where(ctx: Context, node: NodeProto) -> Ints | None:
    """Exporters write Where(Equal(target, -1), ones, target) around Expand's target."""
    condition, yes, no = (ctx.integers(name) for name in node.input)
    if condition is None or yes is None or no is None:
        return None
    count = max(map(len, (condition, yes, no)))
    if any(len(part) not in (1, count) for part in (condition, yes, no)) or any(not c.known for c in condition):
        return None
    pick = [part * count if len(part) == 1 else part for part in (condition, yes, no)]
    return tuple(y if c.coefficient else n for c, y, n in zip(*pick, strict=True))


def _equal(left: Size, right: Size) -> Size | None:
    if left.known and right.known:
        return Size(int(left == right))
    negative = min(left.coefficient, right.coefficient) < 0  # a size is never negative, whatever its symbols are
    return Size(0) if negative else Size(1) if left == right else None


EVALUATE: dict[str, Evaluate] = {
    "Shape": _shape,
    "Size": _shape,
    "Gather": _gather,
    "Slice": _slice,
    "Concat": _concat,
    "Unsqueeze": _same,
    "Squeeze": _same,
    "Cast": _cast,
    "Identity": _same,
    "Reshape": _same,
    "Add": _pairs(_plus(1)),
    "Sub": _pairs(_plus(-1)),
    "Mul": _pairs(lambda left, right: left * right),
    "Div": _pairs(_quotient),
    "Equal": _pairs(_equal),
    "ConstantOfShape": _filled,
    "Range": _range,
    "Where": _where,
}


def evaluate(ctx: Context, node: NodeProto) -> Ints | None:
    """The integers that a node computes, or None where it computes none or they are not known."""
    how = EVALUATE.get(op(node))
    if how is None or not node.input:
        return None
    # Only shapes begin such a chain; every other member needs an operand that is in it.
    if op(node) not in ("Shape", "Size") and not any(name in ctx.ints for name in node.input):
        return None
    try:
        return how(ctx, node)
    except UnknownError:
        return None
