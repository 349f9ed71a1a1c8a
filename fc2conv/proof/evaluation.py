"""Ids of values: made on demand, in bounded memory, and from as near as it goes.

There are two ways to the ids of a value. The full one goes back to opaque nodes and graph inputs. The short one stops
at values that both models are known to make, whose elements are named by the value itself. An element may so have
several names, and a name is never that of two elements: equal ids settle that two values are equal in either way, and
unlike ones only in the full one, which is thus taken when the short one did not answer.
"""

from __future__ import annotations

from collections import Counter, OrderedDict

import numpy as np

from fc2conv.proof.ids import Ids, anchor, constants
from fc2conv.proof.values import UnmodelledError, Value, blame, fitting

BUDGET = 1 << 25
"""Bytes of ids that are kept for values that may be asked for again."""

_DEPTH = 4


class Evaluation:
    """Makes ids, and keeps the latest of them."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[int, bool], tuple[Value, Ids]] = OrderedDict()
        self._bytes = 0

    def ids(self, value: Value, full: bool) -> Ids:
        """The id of every element; raises UnmodelledError where it cannot be told."""
        made: dict[int, Ids] = {}
        order = self._order(value, full, made)
        uses = Counter(id(part) for each in order for part in _parts(each, full))
        for each in order:
            parts = _parts(each, full)
            made[id(each)] = _ids(each, [made[id(part)] for part in parts], full)
            self._keep(each, made[id(each)], full)
            for part in parts:
                uses[id(part)] -= 1
                if not uses[id(part)]:
                    del made[id(part)]
        return made[id(value)]

    def same(self, one: Value, other: Value) -> bool:
        """Whether two values hold the same elements; UnmodelledError where it cannot be told."""
        if self._same(one, other, _DEPTH):
            return True
        if _unlike_shapes(one, other):
            return False
        return bool(np.array_equal(self.ids(one, True), self.ids(other, True)))

    def difference(self, one: Value, other: Value) -> str:
        """Where two values that are not the same part ways, in words."""
        if _unlike_shapes(one, other):
            return f"shape {list(other.shape or ())}, not {list(one.shape or ())}"
        first, second = self.ids(one, True), self.ids(other, True)
        if first.shape != second.shape:
            return f"shape {list(second.shape)}, not {list(first.shape)}"
        unlike = first != second
        place = [int(i) for i in np.unravel_index(int(np.argmax(unlike)), unlike.shape)]
        return f"{int(unlike.sum())} of {unlike.size} elements are other ones, first at {place}"

    def _same(self, one: Value, other: Value, depth: int) -> bool:
        """What keys, equal nodes on equal inputs (this spares the ids of large tensors), or the short way can tell."""
        if one is other or one.key == other.key:
            return True
        if _unlike_shapes(one, other):
            return False
        if depth and one.inputs and one.signature == other.signature and len(one.inputs) == len(other.inputs):
            pairs = zip(one.inputs, other.inputs, strict=True)
            if all(self._same(a, b, depth - 1) for a, b in pairs):
                return True
        try:
            return bool(np.array_equal(self.ids(one, False), self.ids(other, False)))
        except UnmodelledError:
            return False

    def _order(self, value: Value, full: bool, made: dict[int, Ids]) -> list[Value]:
        """The values whose ids are to be made for those of `value`, inputs first; `made` gets those that were kept."""
        order: list[Value] = []
        seen: set[int] = set()
        stack = [(value, False)]  # a loop, as models are deep
        while stack:
            top, ready = stack.pop()
            if ready:
                order.append(top)
            elif id(top) not in seen:
                seen.add(id(top))
                if (id(top), full) in self._kept:
                    self._kept.move_to_end((id(top), full))
                    made[id(top)] = self._kept[id(top), full][1]
                else:
                    stack.append((top, True))
                    stack.extend((part, False) for part in _parts(top, full))
        return order

    def _keep(self, value: Value, ids: Ids, full: bool) -> None:
        """Keeps ids for later, and lets the oldest go; the value is held as well, as its id() is the key."""
        self._kept[id(value), full] = (value, ids)
        self._bytes += ids.nbytes
        while self._bytes > BUDGET and len(self._kept) > 1:
            self._bytes -= self._kept.popitem(last=False)[1][1].nbytes


def _parts(value: Value, full: bool) -> tuple[Value, ...]:
    """The values from whose ids those of `value` are made."""
    return () if value.is_constant or value.rule is None or _near(value, full) else value.parts


def _near(value: Value, full: bool) -> bool:
    return not full and value.common and not value.moved and value.shape is not None


def _ids(value: Value, parts: list[Ids], full: bool) -> Ids:
    if value.is_constant:
        with fitting(value.node):
            return constants(value.array())
    if value.rule is None or _near(value, full):
        if value.shape is None:
            raise UnmodelledError(f"{blame(value)} (the shape of its result is not known)")
        return anchor(value.key, value.shape)
    with fitting(value.node):
        made = value.rule(parts)
    if value.shape is not None and made.shape != value.shape:
        raise UnmodelledError(f"{value.node} (its ids have shape {made.shape}, inference says {value.shape})")
    return made


def _unlike_shapes(one: Value, other: Value) -> bool:
    return one.shape is not None and other.shape is not None and one.shape != other.shape
