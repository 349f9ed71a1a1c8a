"""Operators that move elements: they move residues as they move numbers."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np

from fc2conv.verification.exact.evaluate import At, OpaqueError, Rule
from fc2conv.verification.exact.field import Residues, tag
from fc2conv.verification.exact.operators import trains
from fc2conv.verification.exact.terms import RESHAPES
from fc2conv.verification.reference import UnmodelledError, evaluate


def reshape(at: At) -> Residues:
    x = at.res(0)
    if x[0].size != prod(at.shape):
        raise OpaqueError
    return at.field.reshaped(x, at.shape)


def same(at: At) -> Residues:
    """Return the first operand for a Dropout that does nothing, or its mask: it is true throughout, since opset 12."""
    if (at.op.version < 7 and not at.attr("is_test", 0)) or trains(at.op, at.term.inputs):
        raise OpaqueError
    if at.term.index and at.op.version < 12:
        raise OpaqueError  # runtimes make another one
    return np.ones_like(at.res(0)) if at.term.index else at.res(0)


def transpose(at: At) -> Residues:
    x = at.res(0)
    perm = at.attr("perm", list(range(x.ndim - 1))[::-1])
    return x.transpose(0, *(axis + 1 for axis in perm))


def concat(at: At) -> Residues:
    parts = [at.res(i) for i in range(len(at.term.inputs))]
    return at.field.joined(parts, at.attr("axis", 1) % (parts[0].ndim - 1))


def _part(x: Residues, axis: int, part: slice | int) -> Residues:
    """Cut along one axis of a tensor, counted without the lanes."""
    return np.asarray(x[(slice(None),) * (axis + 1) + (part,)])


def split(at: At) -> Residues:
    """Cut along an axis, and return the part of this result."""
    size = at.dims(0)[axis := at.attr("axis", 0) % len(at.dims(0))]
    count = at.attr("num_outputs", len(at.op.node.output))
    sizes = at.attr("split", None) or at.ints(1) or [-(-size // count)] * count  # the last may have fewer
    start = sum(sizes[: at.term.index])
    return _part(at.res(0), axis, slice(start, start + sizes[at.term.index]))


def sliced(at: At) -> Residues:
    """Cut along axes, by numbers that are attributes in the first definition and operands in newer ones."""
    x = at.res(0)
    starts, ends = (at.attr(name, None) or at.ints(i) or [] for i, name in ((1, "starts"), (2, "ends")))
    axes = at.attr("axes", None) or at.ints(3) or range(len(starts))
    cuts = [slice(None)] * x.ndim
    for start, end, axis, step in zip(starts, ends, axes, at.ints(4) or [1] * len(starts), strict=True):
        axis = axis % (x.ndim - 1) + 1
        start = max(start, -x.shape[axis]) if step < 0 else start
        cuts[axis] = slice(start, None if step < 0 and end < -x.shape[axis] else end, step)
    return x[tuple(cuts)]


def expand(at: At) -> Residues:
    x = at.res(0)
    lead = len(at.shape) - (x.ndim - 1)
    if lead < 0:
        raise OpaqueError
    return np.broadcast_to(x.reshape(len(x), *[1] * lead, *x.shape[1:]), (len(x), *at.shape))


def _looked_up(at: At, axis: int, dims: Sequence[int]) -> Residues:
    """Pick along an axis by indices that are not known; `dims` are their dimensions."""
    x, rank = at.res(0), len(dims)
    lines = at.field.sequence(np.moveaxis(x, axis, -1))
    lines = lines.reshape(*lines.shape[:axis], *[1] * rank, *lines.shape[axis:])
    indices = at.evaluator.read(at.operand(1)).reshape(len(x), *[1] * (axis - 1), *dims, *[1] * (x.ndim - 1 - axis))
    return at.field.ordered(tag("Gather"), [lines, indices])


def gather(at: At) -> Residues:
    """Pick along an axis by known indices; by others return a hash of each line and the index."""
    x, axis, known = at.res(0), at.attr("axis", 0) % len(at.dims(0)) + 1, at.operand(1).value
    if known is None:
        return _looked_up(at, axis, at.dims(1))
    places = known.astype(np.int64)
    if places.size == 1 and places.ndim <= 1:
        first = int(places.reshape(-1)[0]) % x.shape[axis]
        return _part(x, axis - 1, slice(first, first + 1) if places.ndim else first)
    return at.field.taken(x, places, axis - 1)


_NONE = 99


def moved(data: Sequence[int] = (0,), filler: int = _NONE) -> Rule:
    """Make a rule that runs an operator on the positions of the elements of some operands, and gathers by the result.

    Positions count on from 1; the fill value, which is the operand `filler`, has the position 0.
    """

    def rule(at: At) -> Residues:
        if at.attr("reduction", b"none") != b"none" or at.attr("value", 0.0):
            raise OpaqueError  # numbers among positions
        fill = at.res(filler).reshape(-1, 1) if at.has(filler) else np.zeros((at.field.lanes, 1), np.int32)
        parts, start = [fill], 1
        operands = [at.numbers(i) if at.has(i) and i not in data else None for i in range(len(at.term.inputs))]
        if at.has(filler):
            operands[filler] = np.array(0, np.int64)
        for i in data:
            size = prod(at.dims(i))
            operands[i] = np.arange(start, start + size, dtype=np.int64).reshape(at.dims(i))
            parts.append(at.res(i).reshape(at.field.lanes, -1))
            start += size
        try:
            found = np.asarray(evaluate(at.op.node, at.op.version, operands)[at.term.index])
        except UnmodelledError as error:
            raise OpaqueError from error
        return np.asarray(np.concatenate(parts, axis=1)[:, found.astype(np.int64)])

    return rule


def gather_nd(at: At) -> Residues:
    """Pick by places; a place of one index that is not known is an index of a Gather."""
    single = at.operand(1).value is None and not at.attr("batch_dims", 0) and at.dims(1)[-1:] == (1,)
    return _looked_up(at, 1, at.dims(1)[:-1]) if single else moved()(at)


def pad(at: At) -> Residues:
    """Pad by one number; negative pads cut, and other modes move elements."""
    x = at.res(0)
    pads = at.attr("pads", None) or at.ints(1) or []
    if at.attr("mode", b"constant") != b"constant":
        return moved(filler=2)(at)
    axes = at.ints(3) or list(range(x.ndim - 1))
    fill = at.res(2) if at.has(2) else at.field.number(at.attr("value", 0.0))
    widths = [(0, 0)] * (x.ndim - 1)
    for i, axis in enumerate(axes):
        begin, end = pads[i], pads[i + len(axes)]
        place = axis % len(widths)
        left = slice(max(0, -begin), x.shape[place + 1] + min(0, end))
        if left.start > left.stop:
            raise OpaqueError  # more is cut off than there is
        x, widths[place] = _part(x, place, left), (max(0, begin), max(0, end))
    return at.field.padded(x, widths, fill)


def chosen(at: At, condition: Residues, yes: Residues, no: Residues) -> Residues:
    """Compute no + condition * (yes - no), as a condition is 0 or 1."""
    return at.field.add(no, at.field.mul(condition, at.field.sub(yes, no)))


def where(at: At) -> Residues:
    return chosen(at, at.res(0), at.res(1), at.res(2))


def branch(at: At) -> Residues:
    """Choose one of two branches elementwise, as Where does; the operands are condition, else, then."""
    half = (len(at.term.inputs) - 1) // 2
    no, yes = at.res(1 + at.term.index), at.res(1 + half + at.term.index)
    if yes.shape != no.shape:
        raise OpaqueError
    return chosen(at, at.res(0).reshape(-1, *[1] * len(at.shape)), yes, no)


RULES: dict[str, Rule] = {
    **dict.fromkeys(RESHAPES, reshape),
    **dict.fromkeys("Tile DepthToSpace SpaceToDepth GatherElements Trilu Compress".split(), moved()),
    **dict.fromkeys(("ScatterND", "ScatterElements"), moved(data=(0, 2))),
    "GatherND": gather_nd,
    "Dropout": same,
    "Transpose": transpose,
    "Concat": concat,
    "Slice": sliced,
    "Split": split,
    "Expand": expand,
    "Gather": gather,
    "Pad": pad,
    "Where": where,
    "If": branch,
}
