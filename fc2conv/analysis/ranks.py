"""Reasons for operands of unknown rank: where the shape is lost, and how it is given."""

from __future__ import annotations

from fc2conv.analysis.context import Context
from fc2conv.ir.graph import label, op
from fc2conv.ir.schema import schema_of
from fc2conv.layers import FCLayer
from fc2conv.reasons import Code, Reason

_SHAPED_BY = {
    **dict.fromkeys(("Reshape", "Expand", "Tile", "Resize", "Upsample", "Slice", "Pad", "TopK"), 1),
    **dict.fromkeys(("ConstantOfShape", "Range"), 0),
}
"""How many operands give the result its shape by their own shape; the others do so by their values."""

_TAKE_TENSORS = "Cut the model behind what takes the input apart, so that its inputs are tensors."
_SQUEEZED = "Give the Squeeze its axes, as it removes each open size that is 1; or write the sizes with --static."
_SETTLE = (
    "If the condition depends on sizes alone, write them into the model with --static; otherwise give the "
    "result's shape with --overwrite-input-shape and use --scope all."
)


def rankless(ctx: Context, layer: FCLayer, name: str) -> Reason:
    """Return a Reason that says where the shape of an operand of unknown rank is lost, and how it is given."""
    node, value = _unshaped(ctx, name)
    maker = ctx.graph.made_by(value)
    chosen = maker is not None and op(maker) == "If"
    sizes = _features(layer) if value == layer.x else "0,3,224,224"
    remedy = f"Give the shape of {value}, such as --overwrite-input-shape {value}:{sizes}, where 0 is any size."
    if maker is not None and op(maker) == "Squeeze":
        remedy = _SQUEEZED
    elif chosen or not _is_tensor(ctx, value):
        remedy = _SETTLE if chosen else _TAKE_TENSORS
    elif known := with_known_sizes(ctx, value):
        also = remedy[0].lower() + remedy[1:-1]
        remedy = f"{known}; or {also}, and inputs with --load-inputs."
    why = ", so that nothing would be proved" if value == ctx.unsized else ""
    return Reason(Code.UNKNOWN_RANK, node, f"nothing tells the shape of {value}{why}", remedy)


def _is_tensor(ctx: Context, name: str) -> bool:
    given = (value for value in ctx.graph.outermost.proto.input if value.name == name)
    return all(value.type.HasField("tensor_type") for value in given)


def _features(layer: FCLayer) -> str:
    """Return the sizes of a matrix that a layer may read."""
    return ",".join(["0", *(str(layer.shape[row]) for row in layer.matrix.rows)])


def _unshaped(ctx: Context, name: str) -> tuple[str, str]:
    """Find the node (or the input) at which the shape of a value is lost, and the first tensor without one."""
    while (node := ctx.graph.made_by(name)) is not None:
        tensors = (each for each in node.input[: _SHAPED_BY.get(op(node))] if each and _may_be_tensor(ctx, each))
        unknown = next((each for each in tensors if ctx.shape(each) is None), None)
        if unknown is None:
            return label(node), name
        name = unknown
    return name, name


def _may_be_tensor(ctx: Context, name: str) -> bool:
    """Return whether a value may be a tensor: no operator makes a sequence, a map or an optional value of it."""
    maker = ctx.graph.made_by(name)
    if maker is not None and op(maker) == "Loop" and (i := list(maker.output).index(name) + 2) < len(maker.input):
        return _may_be_tensor(ctx, maker.input[i])
    schema = None if maker is None else schema_of(maker.op_type, ctx.graph.opset, maker.domain)
    return schema is None or any(kind.startswith("tensor(") for kind in schema.outputs[0].types)


def with_known_sizes(ctx: Context, name: str) -> str:
    """Return the remedy where an input of the model gives the sizes of a value, or of what it is made of; else ""."""
    while (node := ctx.graph.made_by(name)) is not None:
        own = _SHAPED_BY.get(op(node), len(node.input))
        said = (each for each in node.input[own:] if each and ctx.number(each) is None)
        if given := next((each for each in said if each in ctx.graph.outermost.inputs), ""):
            return f"Make {given} a constant of the model, as its numbers are sizes"
        shapes = ((each, ctx.shape(each)) for each in node.input[:own] if each)
        name = next((each for each, shape in shapes if shape is None or not all(size.known for size in shape[1:])), "")
    return ""
