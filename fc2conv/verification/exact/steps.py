"""Values that are integers times one scale: what DequantizeLinear gave, however it was moved since.

To quantize such a value by the same scale gives the integer back. A positive scale keeps the order, so that a maximum
is that of the integers.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fc2conv.verification.exact.evaluate import At
from fc2conv.verification.exact.field import Residues
from fc2conv.verification.exact.terms import Term

_MOVES = frozenset("Reshape Transpose Slice Split Gather Expand Tile DepthToSpace SpaceToDepth".split())
_CHOICES = frozenset("MaxPool GlobalMaxPool ReduceMax ReduceMin".split())
_NAMES = ("DequantizeLinear", "com.microsoft::DequantizeLinear")


@dataclass(frozen=True)
class Step:
    """One positive scale, a zero point (None: 0) and the type of the integers."""

    scale: Term
    zero: Term | None
    kind: int

    @property
    def key(self) -> tuple[bytes, bytes, int]:
        """What two steps that are one have in common."""
        return self.scale.key, b"" if self.zero is None else self.zero.key, self.kind

    def integers(self, at: At, x: Residues) -> Residues:
        """x / scale + zero point."""
        field = at.field
        scale, zero = (_one(at, term, x.ndim) for term in (self.scale, self.zero))
        whole = field.mul(x, field.inverse(scale))
        return field.add(whole, zero) if self.zero is not None else whole

    def real(self, at: At, x: Residues) -> Residues:
        """(x - zero point) * scale."""
        field = at.field
        scale, zero = (_one(at, term, x.ndim) for term in (self.scale, self.zero))
        return field.mul(field.sub(x, zero) if self.zero is not None else x, scale)


def _one(at: At, term: Term | None, rank: int) -> Residues:
    numbers = np.zeros(1, np.int64) if term is None or term.value is None else term.value
    return at.field.of(numbers.reshape(-1)).reshape(at.field.lanes, *[1] * (rank - 1))


def step(scale: Term | None, zero: Term | None, kind: int) -> Step | None:
    """Return the step of a scale and a zero point, if both are one known number."""
    known = [term.value for term in (scale, zero) if term is not None]
    if scale is None or any(value is None or value.size != 1 for value in known):
        return None
    positive = scale.value is not None and float(scale.value.reshape(-1)[0]) > 0
    return Step(scale, zero, kind) if positive else None


def stepped(term: Term | None) -> Step | None:
    """Return the step of all elements of a value; None where it is not known to have one."""
    while term is not None and term.op is not None and (term.op.name in _MOVES or term.op.name in _CHOICES):
        if term.index and term.op.name != "Split":
            return None
        term = term.inputs[0]
    if term is None or term.op is None:
        return None
    if term.op.name == "Concat":
        found = [stepped(each) for each in term.inputs]
        keys = {each.key if each is not None else None for each in found}
        return found[0] if len(keys) == 1 else None
    if term.op.name not in _NAMES or term.op.attributes.get("block_size"):
        return None
    source = term.inputs[0]
    scale, zero = (term.inputs[i] if i < len(term.inputs) else None for i in (1, 2))
    return step(scale, zero, source.kind if source else 0)
