"""How often an open size is a factor of a value that sums over an axis, or is multiplied by its size."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from math import isfinite

from onnx import NodeProto

from fc2conv.verification.exact.evenness import STRAIGHT, Twice, depends, longer
from fc2conv.verification.exact.positions import opened_axes
from fc2conv.verification.exact.terms import Term
from fc2conv.verification.nodes import integer

Place = tuple[str, int]

_ADDED = frozenset("Add Sub Sum ReduceSum".split())
"""Operators that make of quotients by different sizes one with both sizes in the denominator."""
_SUMS = frozenset("ReduceSum ReduceMean ReduceProd MatMul MatMulInteger Gemm Einsum GlobalLpPool".split())
"""Operators that sum over the axes that a result does not have."""
_ALONG = {
    **dict.fromkeys("Softmax LogSoftmax".split(), (2, 1, -1)),
    **dict.fromkeys("RMSNormalization SimplifiedLayerNormalization".split(), (3, 1, -1)),
    "LayerNormalization": (6, 4, -1),
    "InstanceNormalization": (6, 4, 2),
    "GroupNormalization": (6, 4, 1),
    "CumSum": (1, 1, 0),
}
"""How often an operand is a factor of a result, how often a sum over axes that stay, and the first axis."""
_ALONE, _ONE_AXIS = frozenset("Softmax LogSoftmax".split()), 13
"""Operators that sum over that axis alone, and the opset from which they do."""


class Degrees:
    """The values of one model as polynomials of open sizes; a value that is `cut` is a variable.

    `degree` is the largest, which `node` makes. `steps` counts the nodes that raise a degree, by their degrees.
    """

    def __init__(self, cut: Callable[[Term], bool]) -> None:
        self.degree, self.node = 0, NodeProto()
        self.steps = Counter[tuple[int, ...]]()
        self._cut = cut
        self._found: dict[bytes, int] = {}
        self._numbers: dict[tuple[Place, str], int] = {}
        self._grow: dict[tuple[bytes, bytes], int] = {}

    def of(self, place: Place, name: str, one: Term, other: Term) -> int:
        """Return how often an open size is a factor of a value, or of a number that is known."""
        if one.value is None:
            return self._found.get(one.key, 0)
        if (place, name) in self._numbers:
            return self._numbers[place, name]
        pair = one.key, other.key
        if pair not in self._grow:
            self._grow[pair] = int(depends(one.value, other.value))
        return self._grow[pair]

    def note(self, at: Twice, version: int, scales: list[int]) -> None:
        """Note how often an open size is a factor of a node's results."""
        node, pairs, made = at.node, at.pairs(at.names), at.pairs(at.node.output)
        own = [term for term, _ in made if not self._cut(term)]
        if not own or any(term.key in self._found for term, _ in made):
            return  # a call has its body's
        times, sums, start = _ALONG.get(node.op_type, (1, 0, 0))
        opened = [opened_axes(*pair) for pair in pairs]
        if node.op_type in _ALONG and opened:
            start = integer(node, "axis", start)
            rank = len(pairs[0][0].shape or ())
            first, alone = start % max(rank, 1), node.op_type in _ALONE and version >= _ONE_AXIS
            sums = sums if any(axis == first if alone else axis >= first for axis in opened[0]) else 0
        elif node.op_type in _SUMS:
            left = Counter(opened_axes(*made[0]).values())
            sums = int(any(Counter(each.values()) - left for each in opened))
        if node.op_type == "Pow" and len(pairs) > 1 and pairs[1][0].value is not None and pairs[1][0].size == 1:
            power = abs(float(pairs[1][0].value.reshape(-1)[0]))
            times = max(1, int(power)) if isfinite(power) else 1
        straight = node.op_type in STRAIGHT and node.op_type not in _ADDED
        degree = (max if straight else sum)([0, *scales]) * times + sums
        self._found |= dict.fromkeys((term.key for term in own), degree)
        if degree > max([1, *scales]):
            self.steps[(*sorted(scales), degree)] += 1
        if degree > self.degree:
            self.degree, self.node = degree, node

    def note_numbers(self, at: Twice, place: Place, scales: list[int]) -> None:
        """Note how often an open size is a factor of a node's numbers; with more items it may read more numbers."""
        op = at.node.op_type
        degree = (max if op in STRAIGHT else sum)([0, *scales]) + (op in _SUMS and longer(at.numbers))
        self._numbers |= {(place, name): degree for name in at.gives if degree > 1}
