"""Numbers that may change at other sizes, and what is made of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import field

from onnx import NodeProto

from fc2conv.dataclass import dataclass
from fc2conv.verification.exact.evenness import worst
from fc2conv.verification.exact.terms import digest


@dataclass(frozen=True)
class Bend:
    """A number that may change at other sizes: from an item on, by `how` it is made, and `roots`, how its parts were.

    The parts are those that did not grow evenly with the sizes that they were made of.
    """

    item: int
    how: bytes
    roots: frozenset[bytes]


@dataclass(frozen=True)
class Pins:
    """Values that must be only variables: their `keys` at both sizes, and their `nodes`, by the key in one model."""

    keys: dict[bytes, tuple[set[bytes], set[bytes]]] = field(default_factory=dict)
    nodes: dict[bytes, NodeProto] = field(default_factory=dict)


@dataclass(frozen=True)
class Use:
    """A use of numbers that may differ from an item on: its node, and the content of these numbers at both sizes.

    It `hides` if a number is the same at both sizes, so that they do not show what is done with another number.
    """

    item: int
    node: NodeProto
    hides: bool
    read: Sequence[bytes] = ()


Uses = dict[bytes, Use]
"""What uses one number on the way to the same outputs, by the value that is made of it."""


def one_of(bends: Sequence[Bend]) -> Bend:
    """Return what may change in a number that is one of some numbers, or is made of all."""
    first, *others = bends
    how = digest(*(each.how for each in bends)) if others else first.how
    return Bend(worst([each.item for each in bends]), how, first.roots.union(*(each.roots for each in others)))
