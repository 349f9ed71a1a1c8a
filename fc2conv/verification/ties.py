"""Labels that a tie decides: which of two classes is the largest may change with the last bit of a sum.

An integer, a text or a step is as exact as the numbers that it was decided by. So where an output parts, the walk goes
back from it, past all that only moves, selects and names, to the nodes that decide (ArgMax, TopK, a comparison, a Cast
to integers). The original then decides once more on its own numbers, moved within their tolerance to the other side of
each near tie. An element that so becomes what the other model gives is a tie, and no difference.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import NodeProto, helper

from fc2conv.io.reader import ModelFile
from fc2conv.options import VerifyOptions
from fc2conv.verification.arithmetic import MOVES, Arithmetic
from fc2conv.verification.compare import ROUNDINGS, tolerance
from fc2conv.verification.drafts import extracted
from fc2conv.verification.feeds import Feeds
from fc2conv.verification.runtime import RefusedError, Session

Array = NDArray[Any]
_ORDERS = ("ArgMax", "ArgMin", "TopK", "Hardmax")
_SIDES = ("Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Equal")
_STEPS = ("Cast", "Floor", "Ceil", "Round", "Sign")
_RANKS = 4
"""How far behind the first a class may be that is tried as the first."""
_MOST = 8
"""Nodes that decide on one output."""


@dataclass(frozen=True)
class Ties:
    """What decides on the outputs of one model, and what it decides within the tolerance."""

    original: ModelFile
    options: VerifyOptions
    arithmetic: Arithmetic

    def operands(self, name: str) -> list[str]:
        """The numbers by which an output is decided."""
        return list(dict.fromkeys(each for node in self._deciding(name) for each in self._live(node)))

    def settled(
        self, name: str, given: Feeds, pair: tuple[Array, Array], bound: float, moves: Mapping[str, float]
    ) -> tuple[Array, int]:
        """The second of a pair, with the first's element at each tie, and how many these are.

        `moves` are further tolerances of operands by name; elements within `bound` are not looked at.
        """
        reference, found = pair
        operands = self.operands(name)
        if not operands or reference.shape != found.shape or reference.dtype != found.dtype:
            return found, 0
        unlike = open_ = _unlike(reference, found, bound)
        try:
            values = dict(zip(operands, Session(self.original, operands).run(given, operands), strict=True))
            tail = self._tail(name, {**given, **values})
            if tail is None or _unlike(reference, tail.run({**given, **values}, [name])[0], 0.0).any():
                return found, 0
            for change in self._changes(name, values, moves):
                (made,) = tail.run({**given, **values, **change}, [name])
                if made.shape == found.shape:
                    open_ = open_ & _unlike(made, found, bound)
        except RefusedError:
            return found, 0
        ties = unlike & ~open_
        return np.where(ties, reference, found), int(ties.sum())

    def _deciding(self, name: str) -> list[NodeProto]:
        """The nodes nearest to an output that make of floating-point numbers what is none, or a step."""
        found: dict[str, NodeProto] = {}
        stack, seen = [name], {name}
        while stack:
            node = self.arithmetic.maker(value := stack.pop())
            if node is None:
                continue
            if self._decides(node, value):
                found[node.output[0]] = node
            elif node.op_type in MOVES or not any(map(self._may_be_float, node.output)):
                stack += [each for each in node.input if each not in seen]
                seen.update(node.input)
        return list(found.values())[:_MOST]

    def _may_be_float(self, name: str) -> bool:
        return bool(name) and (self.arithmetic.is_float(name) or not self.arithmetic.types.get(name))

    def _decides(self, node: NodeProto, value: str) -> bool:
        by_type = node.op_type == "Cast" and self.arithmetic.is_float(node.output[0])
        by_place = node.op_type == "TopK" and value == node.output[0]  # its numbers, which are only moved
        decides = node.op_type in (*_ORDERS, *_SIDES, *_STEPS) and not by_type and not by_place
        return decides and bool(self._live(node))

    def _live(self, node: NodeProto) -> list[str]:
        """The operands that were computed in floating point."""
        several = node.input if node.op_type in _SIDES else node.input[:1]
        return [name for name in several if self.arithmetic.maker(name) and self.arithmetic.is_float(name)]

    def _tail(self, name: str, given: Feeds) -> Session | None:
        """The original from what is given to one output."""
        part = extracted(self.original.model, {each: array.dtype for each, array in given.items()}, name)
        return None if part is None else Session(replace(self.original, model=part))

    def _changes(self, name: str, values: Feeds, moves: Mapping[str, float]) -> Iterator[Feeds]:
        """Operands with near ties turned round: those of one node at a time, and those of all nodes at once."""
        slack = {each: self._slack(each, array, moves) for each, array in values.items()}
        every = [list(self._turned(node, values, slack)) for node in self._deciding(name)]
        for changes in every:
            yield from changes
        for row in zip_longest(*every, fillvalue={}) if len(every) > 1 else ():
            yield {each: array for change in row for each, array in change.items()}

    def _slack(self, name: str, array: Array, moves: Mapping[str, float]) -> float:
        """How far an operand may be off."""
        rtol, atol = tolerance(self.options, str(array.dtype), self.arithmetic.of(name))
        sizes = np.abs(array.astype(np.float64))
        largest = sizes[np.isfinite(sizes)].max(initial=0.0)
        return max(atol + rtol * float(largest), ROUNDINGS * moves.get(name, 0.0))

    def _turned(self, node: NodeProto, values: Feeds, slack: Mapping[str, float]) -> Iterator[Feeds]:
        live = self._live(node)
        if node.op_type in _ORDERS:
            rows, back = _rows(node, values[live[0]], self._opset)
            yield from ({live[0]: back(each)} for each in _reordered(node, rows, 2 * slack[live[0]]))
            return
        for sign in (1.0, -1.0):  # the first operand is moved one way, and the second the other
            signs = (sign if name == node.input[0] else -sign for name in live)
            yield {name: _shifted(values[name], s * slack[name]) for name, s in zip(live, signs, strict=True)}

    @property
    def _opset(self) -> int:
        return next((o.version for o in self.original.model.opset_import if o.domain in ("", "ai.onnx")), 1)


def _unlike(one: Array, other: Array, bound: float) -> NDArray[np.bool_]:
    """Where two results of one shape part."""
    unlike = np.asarray(one != other)
    if one.dtype.kind in "SUO":
        return unlike
    wide, far = one.astype(np.float64), other.astype(np.float64)
    close = np.isnan(wide) & np.isnan(far)
    with np.errstate(invalid="ignore"):
        return unlike & ~close & ~(np.abs(wide - far) <= bound)


def _shifted(array: Array, by: float) -> Array:
    return (array.astype(np.float64) + by).astype(array.dtype)


def _rows(node: NodeProto, array: Array, opset: int) -> tuple[Array, Any]:
    """An operand as rows [R, K] of what is put in order, and how such rows become an operand again."""
    axes = {a.name: a.i for a in node.attribute}
    if node.op_type == "Hardmax" and opset < 13:
        axis = axes.get("axis", 1) % max(1, array.ndim)
        return array.reshape(int(np.prod(array.shape[:axis])), -1), lambda rows: rows.reshape(array.shape)
    axis = axes.get("axis", 0 if node.op_type.startswith("Arg") else -1)
    moved = np.moveaxis(array, axis, -1)
    back = lambda rows: np.ascontiguousarray(np.moveaxis(rows.reshape(moved.shape), -1, axis))  # noqa: E731
    return moved.reshape(-1, moved.shape[-1]), back


def _reordered(node: NodeProto, rows: Array, slack: float) -> Iterator[Array]:
    """The rows with one element of each before another that is larger by no more than `slack`."""
    attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute if a.name == "largest"}
    down = node.op_type == "ArgMin" or attributes.get("largest", 1) == 0
    order = np.argsort(rows if down else -rows.astype(np.float64), axis=-1, kind="stable")
    width = rows.shape[-1]
    firsts = [(0, k) for k in range(1, min(_RANKS, width))]
    pairs: Sequence[Sequence[tuple[int, int]]] = [[each] for each in firsts]
    if node.op_type == "TopK":
        pairs = [*pairs, *([(k, k + 1) for k in range(start, width - 1, 2)] for start in (0, 1))]
    for each in pairs:
        made = rows.copy()
        for before, behind in each:
            _put_before(made, order[:, before], order[:, behind], slack, -np.inf if down else np.inf)
        if not np.array_equal(made, rows, equal_nan=True):
            yield made


def _put_before(rows: Array, before: Array, behind: Array, slack: float, up: float) -> None:
    """Gives an element of each row a number just beyond another's, where that is no further off."""
    index = np.arange(len(rows))
    one, other = rows[index, before], rows[index, behind]
    near = np.abs(one.astype(np.float64) - other.astype(np.float64)) <= slack
    rows[index, behind] = np.where(near, np.nextafter(one, np.array(up, dtype=rows.dtype)), other)
