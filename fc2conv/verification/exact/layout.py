"""Operators that move elements: residues move as numbers do."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from fc2conv.verification.exact.evaluate import At, OpaqueError, Rule
from fc2conv.verification.exact.field import Array, Residues
from fc2conv.verification.nodes import UnmodelledError, evaluate


def reshape(at: At) -> Residues:
    """Give the same elements another shape."""
    x = at.res(0)
    if x[0].size != int(np.prod(at.shape)):
        raise OpaqueError
    return x.reshape(len(x), *at.shape)


def same(at: At) -> Residues:
    """Give the first operand: Dropout where it does nothing, and whose mask is true throughout."""
    if at.op.version < 7 and not at.attr("is_test", 0):
        raise OpaqueError
    if at.has(2) and bool(at.numbers(2).reshape(-1)[0]):
        raise OpaqueError
    return np.ones_like(at.res(0)) if at.term.index else at.res(0)


def transpose(at: At) -> Residues:
    """Permute the dimensions."""
    x = at.res(0)
    perm = at.attr("perm", list(range(x.ndim - 1))[::-1])
    return x.transpose(0, *(axis + 1 for axis in perm))


def concat(at: At) -> Residues:
    """Join along an axis."""
    parts = [at.res(i) for i in range(len(at.term.inputs))]
    rank = parts[0].ndim - 1
    return np.concatenate(parts, axis=at.attr("axis", 1) % rank + 1)


def split(at: At) -> Residues:
    """Cut along an axis: the part of this result."""
    x, axis = at.res(0), at.attr("axis", 0)
    axis = axis % (x.ndim - 1) + 1
    size = x.shape[axis]
    sizes = at.attr("split", None) or at.ints(1)
    if sizes is None:
        count = at.attr("num_outputs", len(at.op.node.output))
        each = -(-size // count)
        sizes = [each] * (count - 1) + [size - each * (count - 1)]
    start = sum(sizes[: at.term.index])
    return np.take(x, np.arange(start, start + sizes[at.term.index]), axis=axis)


def expand(at: At) -> Residues:
    """Repeat by broadcasting."""
    x = at.res(0)
    lead = len(at.shape) - (x.ndim - 1)
    if lead < 0:
        raise OpaqueError
    return np.broadcast_to(x.reshape(len(x), *[1] * lead, *x.shape[1:]), (len(x), *at.shape))


def gather(at: At) -> Residues:
    """Pick along an axis by known indices."""
    indices = at.numbers(1).astype(np.int64)
    return np.take(at.res(0), indices, axis=at.attr("axis", 0) % (len(at.dims(0))) + 1)


def sliced(at: At) -> Residues:
    """Cut along axes, by numbers that are attributes in the first definition and operands in newer ones."""
    x = at.res(0)
    starts, ends = (at.attr(name, None) or at.ints(i) or [] for i, name in ((1, "starts"), (2, "ends")))
    axes = at.attr("axes", None) or at.ints(3) or range(len(starts))
    steps = at.ints(4) or [1] * len(starts)
    cuts = [slice(None)] * x.ndim
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        size = x.shape[axis % (x.ndim - 1) + 1]
        stop = None if step < 0 and end < -size else end
        cuts[axis % (x.ndim - 1) + 1] = slice(start, stop, step)
    return x[tuple(cuts)]


def moved(at: At) -> Residues:
    """Move by the operator's own semantics; what it fills with is 0."""
    rest = [at.numbers(i) if at.has(i) else None for i in range(1, len(at.term.inputs))]
    return _gathered(at, rest, np.zeros((at.field.lanes, 1), np.int32))


def _gathered(at: At, rest: Sequence[Array | None], fill: Residues) -> Residues:
    """Run the operator on the elements' positions, from 1 on, and gather by what it gives: at 0 is what it fills."""
    count = int(np.prod(at.dims(0), dtype=np.int64))
    positions = np.arange(1, count + 1, dtype=np.int64).reshape(at.dims(0))
    found = _run(at, [positions, *rest]).astype(np.int64)
    return np.asarray(np.concatenate([fill, at.res(0).reshape(at.field.lanes, -1)], axis=1)[:, found])


def filled(data: tuple[int, ...]) -> Rule:
    """Make a rule for an operator that moves several operands: their positions are counted on."""

    def rule(at: At) -> Residues:
        if at.attr("reduction", b"none") != b"none":
            raise OpaqueError  # positions would be added up
        parts: list[Residues] = []
        operands: list[Array | None] = []
        start = 0
        for i in range(len(at.term.inputs)):
            if not at.has(i):
                operands.append(None)
            elif i in data:
                size = int(np.prod(at.dims(i), dtype=np.int64))
                operands.append(np.arange(start, start + size, dtype=np.int64).reshape(at.dims(i)))
                parts.append(at.res(i).reshape(at.field.lanes, -1))
                start += size
            else:
                operands.append(at.numbers(i))
        return np.asarray(np.concatenate(parts, axis=1)[:, _run(at, operands).astype(np.int64)])

    return rule


def pad(at: At) -> Residues:
    """Move, and fill with one constant."""
    x = at.res(0)
    given = at.attr("pads", None)
    pads = [int(n) for n in given] if given is not None else at.ints(1) or []
    axes = at.ints(3) if at.has(3) else list(range(x.ndim - 1))
    assert axes is not None
    mode = at.attr("mode", b"constant").decode()
    if mode != "constant" or any(n < 0 for n in pads):
        return _padded_by_running(at)
    fill = at.res(2).reshape(len(x)) if at.has(2) else at.field.number(at.attr("value", 0.0)).reshape(len(x))
    widths = [(0, 0)] * x.ndim
    for i, axis in enumerate(axes):
        widths[axis % (x.ndim - 1) + 1] = (pads[i], pads[i + len(axes)])
    lanes = [np.pad(lane, widths[1:], constant_values=value) for lane, value in zip(x, fill, strict=True)]
    return np.stack(lanes)


def _padded_by_running(at: At) -> Residues:
    if at.attr("value", 0.0):
        raise OpaqueError  # a number that would be taken for a position
    rest = [at.numbers(i) if at.has(i) else None for i in range(1, len(at.term.inputs))]
    if len(rest) > 1:
        rest[1] = np.array(0, np.int64)
    fill = at.res(2).reshape(at.field.lanes, 1) if at.has(2) else np.zeros((at.field.lanes, 1), np.int32)
    return _gathered(at, rest, fill)


def where(at: At) -> Residues:
    """Choose by a known condition, elementwise; by an unknown one it is a hash."""
    return choice(at, 0, at.res(1), at.res(2))


def choice(at: At, index: int, yes: Residues, no: Residues) -> Residues:
    """Choose by the condition that an operand is."""
    condition = at.operand(index).value
    if condition is None:
        return at.field.ordered(_WHERE, [at.res(index), yes, no])
    rank = max(condition.ndim, yes.ndim - 1, no.ndim - 1)
    lifted = [x.reshape(len(x), *[1] * (rank + 1 - x.ndim), *x.shape[1:]) for x in (yes, no)]
    return np.where(condition.reshape(1, *[1] * (rank - condition.ndim), *condition.shape), *lifted)


_WHERE = 0x5EED


def branch(at: At) -> Residues:
    """Choose one of two branches, elementwise: the same hash as where; operands are condition, else, then."""
    half = (len(at.term.inputs) - 1) // 2
    no, yes = at.res(1 + at.term.index), at.res(1 + half + at.term.index)
    if yes.shape != no.shape:
        raise OpaqueError
    condition = at.res(0).reshape(at.field.lanes, *[1] * len(at.shape))
    return at.field.ordered(_WHERE, [condition, yes, no])


def _run(at: At, operands: Sequence[Array | None]) -> Array:
    try:
        return np.asarray(evaluate(at.op.node, at.op.version, operands)[at.term.index])
    except UnmodelledError as error:
        raise OpaqueError from error


RULES: dict[str, Callable[[At], Residues]] = {
    **dict.fromkeys("Reshape Flatten Squeeze Unsqueeze".split(), reshape),
    **dict.fromkeys("Tile DepthToSpace SpaceToDepth GatherElements GatherND Trilu Compress".split(), moved),
    **dict.fromkeys(("ScatterND", "ScatterElements"), filled((0, 2))),
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
"""One rule for each operator."""
