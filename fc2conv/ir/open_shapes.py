"""Shapes that depend on numbers which inference loses: one rule for each operator.

A rule gives no shape where too little is known, or where the node contradicts itself.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from onnx import NodeProto

from fc2conv.ir.arithmetic import Numbers
from fc2conv.ir.arithmetic.amount import Amount, of_size
from fc2conv.ir.arithmetic.moving import slice_range
from fc2conv.ir.graph import attribute, int_attribute, ints_attribute, op, text_attribute
from fc2conv.ir.subgraph_shapes import scales_of
from fc2conv.layout.axes import ONE, Size, product

Shape = tuple[Size, ...]


class Values(Protocol):
    """What is known of the values of a scope."""

    def shape(self, name: str) -> Shape | None:
        """Return a value's shape; None where not even its rank is known."""

    def number(self, name: str) -> Numbers | None:
        """Return a value's elements; None where they are not known, or many."""


def _reshaped(known: Values, node: NodeProto) -> Shape | None:
    """Compute the shape of a Reshape: 0 copies a size, and -1 is what is left."""
    data, shape_attribute = known.shape(node.input[0]), ints_attribute(node, "shape")
    target = known.number(node.input[1]) if shape_attribute is None else None
    if shape_attribute is None and target is None:
        return _of_rank(known, node, node.input[1])
    sizes = list(map(Size, shape_attribute or ())) if target is None else list(target.as_sizes())
    for i, size in enumerate(sizes):
        if size == Size(0) and not int_attribute(node, "allowzero", 0) and data is not None and i < len(data):
            sizes[i] = data[i]
    if Size(-1) in sizes:
        i = sizes.index(Size(-1))
        rest = product(size for size in sizes if size != Size(-1))
        whole = product(data).over(rest) if data is not None else None
        sizes[i] = _unknown(node, i) if whole is None else whole
    return tuple(sizes)


def _expanded(known: Values, node: NodeProto) -> Shape | None:
    """Compute the shape of an Expand: the larger of two sizes, one of which is 1."""
    data, target = known.shape(node.input[0]), known.number(node.input[1])
    if data is None or target is None:
        return _of_rank(known, node, node.input[1])
    sizes = target.as_sizes()
    rank = max(len(data), len(sizes))
    pairs = zip((ONE,) * (rank - len(data)) + data, (ONE,) * (rank - len(sizes)) + sizes, strict=True)
    return tuple(
        wanted
        if size in (ONE, wanted)
        else size
        if wanted == ONE or (size.known and size != ONE)
        else _unknown(node, i)
        for i, (size, wanted) in enumerate(pairs)
    )


def _filled(known: Values, node: NodeProto) -> Shape | None:
    """Return the shape of a ConstantOfShape: the numbers themselves."""
    target = known.number(node.input[0])
    return _of_rank(known, node, node.input[0]) if target is None else target.as_sizes()


def _tiled(known: Values, node: NodeProto) -> Shape | None:
    """Compute the shape of a Tile: each size times its number of repeats."""
    if len(node.input) != 2:
        return None  # before opset 6
    data, times = known.shape(node.input[0]), known.number(node.input[1])
    if data is None or times is None or len(data) != times.cells.size:
        return None
    return tuple(size * each for size, each in zip(data, times.as_sizes(), strict=True))


def _resized(known: Values, node: NodeProto) -> Shape | None:
    """Resize to sizes that are not all known, or by scales, of which a whole number multiplies a size."""
    data, wanted = known.shape(node.input[0]), node.input[3] if len(node.input) > 3 else ""
    if data is None:
        return None
    if not wanted:
        return _scaled(node, data, known.number(scales_of(node)))
    sizes, axes = known.number(wanted), _axes(node, data)
    if sizes is None or sizes.known or axes is None or sizes.cells.size != len(axes):
        return None
    if attribute(node, "keep_aspect_ratio_policy") is not None:
        return None
    resized = dict(zip(axes, sizes.as_sizes(), strict=True))
    return tuple(resized.get(axis, size) for axis, size in enumerate(data))


def _axes(node: NodeProto, data: Shape) -> list[int] | None:
    """Return the axes that a Resize lists, or all; None where one is no axis of its operand."""
    axes = ints_attribute(node, "axes") or range(len(data))
    return [axis % len(data) for axis in axes] if all(-len(data) <= axis < len(data) for axis in axes) else None


def _scaled(node: NodeProto, data: Shape, scales: Numbers | None) -> Shape | None:
    axes = _axes(node, data)
    crops = text_attribute(node, "coordinate_transformation_mode", "") == "tf_crop_and_resize"
    if crops or axes is None or scales is None or not scales.known or scales.cells.size != len(axes):
        return None
    out = list(data)
    for axis, scale in zip(axes, scales.array().flat, strict=True):
        whole = scale >= 1 and float(scale).is_integer()
        out[axis] = data[axis] * Size(int(scale)) if whole else _unknown(node, axis)
    return tuple(out)


def _counted(known: Values, node: NodeProto) -> Shape | None:
    """Return the shape of a Range from 0 by 1, whose size is its end."""
    start, stop, step = (known.number(name) for name in node.input)
    if start is None or stop is None or step is None or not (start.known and step.known):
        return None
    if not start.cells.size == stop.cells.size == step.cells.size == 1:
        return None
    return stop.as_sizes() if (start.array().item(), step.array().item()) == (0, 1) else None


def _sliced(known: Values, node: NodeProto) -> Shape | None:
    """Compute the shape of a Slice by numbers that are not all known; an axis is cut by known ones, or taken whole."""
    data, bounds = known.shape(node.input[0]), [known.number(name) if name else None for name in node.input[1:]]
    if data is None or len(bounds) < 2 or bounds[0] is None or bounds[1] is None or bounds[1].known:
        return None
    if any(each is not None and not each.known for each in bounds[2:]):
        return None
    starts, ends = bounds[0].cells.ravel(), bounds[1].cells.ravel()
    axes = bounds[2].ints() if bounds[2:] and bounds[2] is not None else range(len(starts))
    steps = bounds[3].ints() if bounds[3:] and bounds[3] is not None else [1] * len(starts)
    along = all(-len(data) <= axis < len(data) for axis in axes)
    if not len(starts) == len(ends) == len(axes) == len(steps) or not along or 0 in steps:
        return None
    sizes = list(data)
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        whole = of_size(data[axis])
        if not any(isinstance(each, Amount) for each in (start, end)) and data[axis].known:
            sizes[axis] = Size(len(slice_range(data[axis].coefficient, start, end, step)))
        elif start != 0 or step != 1 or end != whole:
            sizes[axis] = _unknown(node, axis % len(data))
    return tuple(sizes)


def _convolved(known: Values, node: NodeProto) -> Shape | None:
    """Return the rank and channels of a Conv or ConvTranspose of an unknown value: those of the weight."""
    weight = known.shape(node.input[1]) if known.shape(node.input[0]) is None else None
    if weight is None or len(weight) < 2:
        return None
    channels = weight[0] if op(node) == "Conv" else weight[1] * Size(int_attribute(node, "group", 1))
    return tuple(channels if i == 1 else _unknown(node, i) for i in range(len(weight)))


def _of_rank(known: Values, node: NodeProto, target: str) -> Shape | None:
    """Return an unknown size for each element of a target."""
    shape = known.shape(target)
    if shape is None or len(shape) != 1 or not shape[0].known:
        return None
    return tuple(_unknown(node, i) for i in range(shape[0].coefficient))


def _unknown(node: NodeProto, i: int) -> Size:
    return Size(1, (f"?{node.output[0]}.{i}",))


RULES: dict[str, Callable[[Values, NodeProto], Shape | None]] = {
    "Reshape": _reshaped,
    "Expand": _expanded,
    "ConstantOfShape": _filled,
    "Tile": _tiled,
    **dict.fromkeys(("Resize", "Upsample"), _resized),
    "Range": _counted,
    "Slice": _sliced,
    **dict.fromkeys(("Conv", "ConvTranspose"), _convolved),
}
"""Operators whose results have computed sizes; inference knows only those that it can count."""
