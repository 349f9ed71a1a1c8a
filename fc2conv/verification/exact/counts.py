"""Sizes that values decide: the boxes that a network finds, the places where something is not 0.

Nothing is known of these sizes. So each is one more open size, which both models have in common where the same operator
reads equal operands. Its value is a function of these operands, as the value of any node without a rule is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from fc2conv.verification.exact.shapes import UNKNOWN, Kind
from fc2conv.verification.exact.terms import Op, Shape, Term

if TYPE_CHECKING:
    from fc2conv.verification.exact.walk import Walk

MOST_COUNTS = 64
STEPS = (0, 1, 2, 3, 5, 9, 17, 33, 65)
"""The steps at which two models are compared; the first two are always run."""
_SPREAD = 31


def counts(step: int) -> Shape:
    """Return all sizes at one of the steps at which models are compared.

    Each grows by another number, and each sum of two by another one too: i and i * i modulo a prime distinguish them.
    """
    return tuple(2 + i + (1 + i * i % _SPREAD) * step for i in range(MOST_COUNTS))


def earlier(walk: Walk, op: Op, inputs: Sequence[Term]) -> list[Term] | None:
    """Return the results of the same node in the first model; None where there is no such node."""
    for terms in walk.table.counted if walk.side > 1 else ():
        first = terms[0]
        same_operator = first.op.digest == op.digest and len(first.inputs) == len(inputs)
        if same_operator and all(map(walk.same, first.inputs, inputs)):
            return terms
    return None


def sized(kinds: Sequence[Kind], partly: Sequence[Kind], left: list[int], one_shape: bool) -> list[Kind]:
    """Return type and shape of each result, with the next of the sizes that are `left` wherever values decide one.

    With `one_shape` all results have the shape of the first.
    """
    found: list[Kind] = []
    for (kind, known), (inferred, shape) in zip(kinds, partly, strict=True):
        if found and one_shape:
            known = found[0][1]
        elif known is None and shape is not None and shape.count(UNKNOWN) <= len(left):
            known = tuple(left.pop(0) if n == UNKNOWN else n for n in shape)
        found.append((kind or inferred, known))
    return found
