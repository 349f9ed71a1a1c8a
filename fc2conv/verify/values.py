"""Values: what is known of one tensor of a model, with its ids (see `ids`) made only where they are asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from fc2conv.verify.ids import Array, Ids, anchor, constants

Rule = Callable[[Sequence[Ids]], Ids]
"""How a value's ids come from the ids of its inputs."""


class UnmodelledError(Exception):
    """The ids of a value cannot be told; the message names the node that is in the way, for the user."""


@dataclass(eq=False)
class Value:
    """One tensor.

    `key` is equal for values that are made in the same way; unlike keys say nothing. `signature` is what the node
    does to its `inputs`. `parts` are the values from whose ids `rule` makes the ids; with no rule the value is an
    anchor, whose elements get fresh ids. `read` gives the elements of a constant. `doubt` names the node because of
    which unlike ids of this value prove nothing.
    """

    key: np.uint64
    node: str
    shape: tuple[int, ...] | None = None
    elem_type: int = 0
    signature: np.uint64 = field(default_factory=lambda: np.uint64(0))
    inputs: tuple[Value, ...] = ()
    parts: tuple[Value, ...] = ()
    rule: Rule | None = None
    read: Callable[[], Array] | None = None
    doubt: str = ""
    _ids: Ids | None = field(default=None, init=False, repr=False)

    @property
    def is_constant(self) -> bool:
        """Whether the elements are known numbers."""
        return self.read is not None

    def array(self) -> Array:
        """The elements of a constant."""
        if self.read is None:
            raise UnmodelledError(f"{self.node} is not a constant")
        return self.read()

    def ids(self) -> Ids:
        """The id of every element; raises UnmodelledError where it cannot be told. Kept once made."""
        for value in _unmade(self):
            value._ids = value._made()
        if self._ids is None:
            raise UnmodelledError(self.node)
        return self._ids

    def _made(self) -> Ids:
        if self.read is not None:
            try:
                return constants(self.read())
            except TypeError as error:
                raise UnmodelledError(f"{self.node} ({error})") from error
        if self.rule is not None:
            try:
                made = self.rule([part.ids() for part in self.parts])
            except (ValueError, IndexError) as error:  # numpy's, for shapes that do not fit each other
                raise UnmodelledError(f"{self.node} ({error})") from error
            if self.shape is not None and made.shape != self.shape:
                raise UnmodelledError(f"{self.node} (its ids have shape {made.shape}, inference says {self.shape})")
            return made
        if self.shape is None:
            raise UnmodelledError(f"{blame(self)} (the shape of its result is not known)")
        return anchor(self.key, self.shape)


def _unmade(value: Value) -> list[Value]:
    """The values whose ids `value` needs and that have none yet, inputs first; a loop, as models are deep."""
    order: list[Value] = []
    seen: set[int] = set()
    stack = [(value, False)]
    while stack:
        top, ready = stack.pop()
        if ready:
            order.append(top)
        elif top._ids is None and id(top) not in seen:
            seen.add(id(top))
            stack.append((top, True))
            if top.rule is not None and top.read is None:
                stack.extend((part, False) for part in top.parts)
    return order


def same(one: Value, other: Value, depth: int = 4) -> bool:
    """Whether two values hold the same elements; UnmodelledError where it cannot be told.

    Equal keys settle it at once; then two equal nodes on equal inputs do (this spares the ids of large tensors);
    then the ids do.
    """
    if one.key == other.key:
        return True
    if one.shape is not None and other.shape is not None and one.shape != other.shape:
        return False
    inputs = zip(one.inputs, other.inputs, strict=False)
    if depth and _alike(one, other) and all(same(a, b, depth - 1) for a, b in inputs):
        return True
    return bool(np.array_equal(one.ids(), other.ids()))


def _alike(one: Value, other: Value) -> bool:
    return bool(one.inputs) and one.signature == other.signature and len(one.inputs) == len(other.inputs)


def blame(value: Value) -> str:
    """The node because of which a value's shape is not known."""
    while (before := next((v for v in value.inputs if v.shape is None), None)) is not None:
        value = before
    return value.node


def difference(one: Value, other: Value) -> str:
    """Where two values that are not the same part ways, in words."""
    if one.shape != other.shape:
        return f"shape {list(other.shape or ())}, not {list(one.shape or ())}"
    unlike = one.ids() != other.ids()
    place = np.unravel_index(int(np.argmax(unlike)), unlike.shape)
    return f"{int(unlike.sum())} of {unlike.size} elements are other ones, first at {[int(i) for i in place]}"
