"""The positions along open axes that nodes name, by numbers that they hold or that are computed from sizes.

Nothing is known of what lies beyond a position that two sizes do not have.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import ceil

import numpy as np
from onnx import NodeProto

from fc2conv.verification.exact.evenness import BENT, FAR, Items, Numbers, Twice, Values, crossing, depends
from fc2conv.verification.exact.terms import ABSENT, WINDOWS, Shape, Term

MOST_ITEMS = 64
"""The most items at which a network is run to see what lies beyond a position."""

PICKING = frozenset("Gather GatherND GatherElements ScatterND ScatterElements Slice Split Compress Trilu".split())
"""Operators whose further operands say where elements of the first one are, or are put."""
_ELEMENTS = {
    **dict.fromkeys(
        """CenterCropPad Expand Gather GatherElements GatherND Pad Reshape Resize Slice Split Squeeze Tile TopK
        Unsqueeze Upsample""".split(),
        (0,),
    ),
    **dict.fromkeys(("ConstantOfShape", "Shape", "Size"), ()),
    "Range": (0, 2),
}
"""The operands whose elements are in a result, for operators with other operands that say where, or how many."""
_INDEXED = WINDOWS | frozenset(
    """Slice Split Gather GatherND GatherElements ScatterND ScatterElements Pad TopK Trilu Compress Resize
SplitToSequence Squeeze""".split()
)


def unseen(node: NodeProto, few: Values, many: Values) -> int:
    """Return the largest position along an open axis that lies beyond both sizes; 0 where there is none.

    Windows after the second one go on as before it, and what is put around a map is the same at any size.
    """
    named = () if node.op_type in WINDOWS or _puts_around(node, few) else positions(Twice(node, few, many))
    return max((abs(n) for n, pair in named if abs(n) >= max(pair)), default=0)


def in_result(node: NodeProto, name: str) -> bool:
    """Return whether elements of an operand are in the result, or scale it, and do not only say where or how many."""
    picked = _ELEMENTS.get(node.op_type)
    return picked is None or name in [node.input[i] for i in picked if i < len(node.input)] or name not in node.input


def _puts_around(node: NodeProto, values: Values) -> bool:
    """Return whether a node is a Pad that adds one number or the outermost cells, and cuts nothing."""
    mode = next((a.s for a in node.attribute if a.name == "mode"), b"constant")
    pads = _listed(node, values, "pads", 1) if node.op_type == "Pad" and mode in (b"constant", b"edge") else []
    return bool(pads) and min(pads) >= 0


def item_of(position: int, pair: tuple[int, int], sizes: tuple[int, int]) -> int:
    """Return the item that holds a position, where an axis grows as it does between two sizes; no less than few."""
    each = (pair[1] - pair[0]) / (sizes[1] - sizes[0])
    item = sizes[0] + ceil((position - pair[0]) / each) if each > 0 else position
    return max(item, sizes[0]) if position else 0


def _even(at: Twice) -> bool:
    """Return whether a node is a Resize by the same factors at both sizes, and so at all sizes."""
    shapes = [each.shape or () for pair in at.pairs([at.node.input[0], at.node.output[0]]) for each in pair]
    return (
        at.node.op_type == "Resize"
        and len({*map(len, shapes)}) == 1
        and all(before * more == many_before * after for before, many_before, after, more in zip(*shapes, strict=True))
    )


def positions(at: Twice) -> Iterator[tuple[int, tuple[int, int]]]:
    """Yield the positions along open axes that a node names, negative from the end, with both sizes of the axis."""
    node = at.node
    for one, other in at.pairs(node.input[:1]) if node.op_type in _INDEXED and not _even(at) else ():
        if node.op_type == "Slice" and None in (one.shape, other.shape):
            # of a shape that is not known the first axis may be open, which a negative number may be as well
            numbers = _numbers(node, at.few, FAR)
            yield from ((n, (FAR, FAR)) for axis, n in numbers if axis == 0 or axis > FAR // 2)
        if one.shape is None or other.shape is None or len(one.shape) != len(other.shape):
            continue
        opened = opened_axes(one, other)
        for axis, n in _numbers(node, at.few, len(one.shape)) if opened else ():
            if axis in opened or axis < 0:
                yield n, opened.get(axis, min(opened.values(), key=max))


def opened_axes(one: Term, other: Term) -> dict[int, tuple[int, int]]:
    """Return the axes of a value that grow, each with both sizes."""
    pairs = zip(one.shape or (), other.shape or (), strict=False)
    return {axis: pair for axis, pair in enumerate(pairs) if pair[0] != pair[1]}


def leaves_one(at: Twice) -> bool:
    """Return whether a node gives one element along an axis of its first operand that is open."""
    opened = {axis for pair in at.pairs(at.node.input[:1]) for axis in opened_axes(*pair)}
    left = (at.few[name].shape or () for name in at.node.output if name in at.few)
    return any(n == 1 for shape in left for axis, n in enumerate(shape) if axis in opened)


def _numbers(node: NodeProto, values: Values, rank: int) -> Iterator[tuple[int, int]]:
    """Yield the positions that a node names, each after its axis, which is -1 where it is not determined."""
    given = {a.name: list(a.ints) or [a.i] for a in node.attribute}

    def listed(name: str, index: int) -> list[int]:
        return _listed(node, values, name, index)

    if node.op_type == "Slice":
        cuts, steps = _cuts(node, values, rank), listed("steps", 4)
        yield from ((axis, n) for axis, *both in cuts for n in both if abs(n) < FAR)
        for (axis, start, _), step in zip(cuts, steps, strict=False):
            yield from ((axis, abs(start) + 1 + left) for left in range(abs(step) if abs(step) > 1 else 0))
    elif node.op_type in WINDOWS:
        yield from _second(node, values)
    elif node.op_type == "Pad":
        pads = listed("pads", 1)
        axes = listed("axes", 3) or range(len(pads) // 2)
        yield from ((axis % rank, n) for axis, n in zip((*axes, *axes), pads, strict=False))
    elif node.op_type in ("Split", "Gather", "TopK"):
        axis = given.get("axis", [-1 if node.op_type == "TopK" else 0])[0]
        yield from ((axis % rank, n) for n in listed("k" if node.op_type == "TopK" else "split", 1))
    elif node.op_type == "SplitToSequence":  # which item is read is not known here
        yield from ((given.get("axis", [0])[0] % rank, FAR - 1 if n > 1 else 0) for n in listed("", 1)[:1])
    elif node.op_type == "Squeeze":  # without axes it is another thing where a size is 1
        yield from ((axis, 1) for axis in range(0 if listed("axes", 1) else rank))
    elif node.op_type == "Compress":
        yield -1, len(listed("", 1))
    elif node.op_type == "Trilu":
        yield from ((-1, abs(n) + 2) for n in listed("", 1))  # where the diagonal leaves the first row or column
    elif node.op_type == "Resize":
        yield from enumerate(listed("", 3))
        scales = values.get(node.input[2], ABSENT).value if len(node.input) > 2 else None
        listed_scales = [] if scales is None else scales.reshape(-1).tolist()
        yield from ((axis, ceil(2 / n)) for axis, n in enumerate(listed_scales) if 0 < n < 1)  # two cells are left
    else:
        yield from ((-1, n) for n in listed("", 1))


def _second(node: NodeProto, values: Values) -> Iterator[tuple[int, int]]:
    """Yield the latest end of the second window along each axis with a stride above 1, and the places before it.

    With a stride of 1 a window that goes beyond the map on both sides has other cells in a larger map.
    """
    given = {a.name: list(a.ints) for a in node.attribute}
    padded = any(given.get("pads", ())) or any(a.name == "auto_pad" and a.s.startswith(b"SAME") for a in node.attribute)
    kernel = given.get("kernel_shape") or list((values.get(node.input[1], ABSENT).shape or ())[2:])
    ones = [1] * len(kernel)
    each = zip(kernel, given.get("dilations", ones), given.get("strides", ones), strict=False)
    for i, (n, hole, step) in enumerate(each, start=2):
        yield from ((i, 2 + (n - 1) * hole + left) for left in range(step if step > 1 else padded))


def _listed(node: NodeProto, values: Values, name: str, index: int) -> list[int]:
    """Return the integers of the operand at an index, or of the attribute that it replaces."""
    value = values.get(node.input[index], ABSENT).value if index < len(node.input) else None
    if value is None:
        return next((list(a.ints) or [a.i] for a in node.attribute if a.name == name), [])
    return [int(n) for n in value.reshape(-1)]


def _cuts(node: NodeProto, values: Values, rank: int) -> list[tuple[int, int, int]]:
    """Return the axes that a Slice cuts, each with its start and its end."""
    starts, ends = _listed(node, values, "starts", 1), _listed(node, values, "ends", 2)
    axes = _listed(node, values, "axes", 3) or range(len(starts))
    return [(axis % rank, start, end) for axis, start, end in zip(axes, starts, ends, strict=False)]


def _cuts_at_both(at: Twice, shapes: Sequence[Shape]) -> Iterator[tuple[int, tuple[int, int], tuple[int, int]]]:
    """Yield each axis that a Slice cuts, with its start at both sizes, and its end."""
    cuts = (_cuts(at.node, values, len(shape)) for values, shape in zip((at.few, at.many), shapes, strict=True))
    for (axis, *one), (_, *other) in zip(*cuts, strict=False):
        starts, ends = zip(one, other, strict=True)
        yield axis, starts, ends


def nonempty_from(at: Twice, sizes: Items) -> int:
    """Return the number of items beyond which a result that is empty at both sizes may have elements; 0 if never.

    A number below 0 says that it may have elements with fewer items.
    """
    node, first = at.node, next(iter(at.node.input), "")
    shapes = [values.get(first, ABSENT).shape or () for values in (at.few, at.many)]
    if node.op_type != "Slice" or not all(shapes) or any(step < 0 for step in _listed(node, at.few, "steps", 4)):
        read = at.pairs(node.input if node.op_type == "Range" else node.input[1:] or node.input)
        return FAR if any(depends(one.value, other.value) for one, other in read) else 0
    found: list[int] = []
    for axis, *both in _cuts_at_both(at, shapes):
        dims = [np.array([shape[axis]]) for shape in shapes]
        start, end = ([n + size * (n < 0) for n, size in zip(pair, dims, strict=True)] for pair in both)
        ordered = (start, end), (start, dims), ([np.zeros(1)] * 2, end)  # so that there are elements
        found += [crossing("Less", [(a[0], a[1]), (b[0], b[1])], sizes) for a, b in ordered if a[1] >= b[1]]
    return max(found, key=abs) if found and all(found) else 0


def length_crossings(at: Twice, sizes: Items) -> list[int]:
    """Return the numbers of items at which the open axes of a node's numbers pass the positions that it names."""
    return [crossing("Less", [_pair(*pair), _pair(abs(n), abs(n))], sizes) for n, pair in positions(at)]


def index_crossings(at: Twice, sizes: Items) -> list[int]:
    """Return the numbers of items at which indices made of sizes pass 0, or a side of what they index.

    An index below 0 is counted from the end. An index into a constant may come to any of its elements.
    """
    first = next(iter(at.pairs(at.node.input[:1])), None)
    read = [(one.value, other.value) for one, other in at.pairs(at.node.input[1:])]
    grown = [pair for pair in read if depends(*pair)] if at.node.op_type in PICKING else []
    if first is None or not grown:
        return []
    if first[0].foldable:
        return [FAR]
    shapes = [term.shape or () for term in first]
    if at.node.op_type == "Slice":
        return _slice_crossings(at, shapes, sizes) if all(shapes) else [FAR]
    sides = [_pair(0, 0)]
    if at.node.op_type == "Trilu":
        sides += [_pair(*(sign * (shape or (0, 0))[axis] for shape in shapes)) for axis in (-2, -1) for sign in (1, -1)]
    return [crossing("Less", [pair, side], sizes) for pair in grown for side in sides]


def _slice_crossings(at: Twice, shapes: Sequence[Shape], sizes: Items) -> list[int]:
    """Return the numbers of items at which starts and ends of a Slice that grow pass 0 or a side."""
    found = []
    for axis, *both in _cuts_at_both(at, shapes):
        sides = [_pair(*(sign * shape[axis] for shape in shapes)) for sign in (0, 1, -1)]
        grown = [pair for pair in both if pair[0] != pair[1]]
        found += [crossing("Less", [_pair(*pair), side], sizes) for pair in grown for side in sides]
    return found


def sign_changes(at: Twice, sizes: Items) -> list[str]:
    """Return the names of the numbers that a node computes with and that change their sign, or may pass others.

    A law of functions may be true for one sign alone.
    """
    op = at.node.op_type
    names = [] if op in PICKING or op in _ELEMENTS else [name for name in at.node.input if name in at.names]
    grown = {name: pair for name in names if depends(*(pair := at.of(name)))}
    return [name for name, pair in grown.items() if op in BENT or crossing("Less", [pair, _pair(0, 0)], sizes)]


def _pair(one: int, other: int) -> Numbers:
    return np.array([one]), np.array([other])
