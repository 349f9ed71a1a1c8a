"""Numbers that count up from 0, each once and in order: as indices they say a view of other sizes.

Gather (Flatten (x [N, C, 1, 1]), Range (0, N) * C + [0 .. C-1])   ->   x, as PyTorch's newer exporter writes it
"""

from __future__ import annotations

import numpy as np

from fc2conv.ir.constants import Constants
from fc2conv.ir.folding import computed
from fc2conv.ir.graph import op

_ITEMS = 3
"""How many items are looked at: the numbers of an item grow evenly, so that those of the others follow."""


def counts_up(constants: Constants, name: str, elements: int | None = None) -> bool:
    """Return whether numbers are 0, 1, 2 and so on: a constant of `elements` numbers, or those of N equal items."""
    known = _of_items(constants, name)
    if known is None or (constants.is_constant(name) and known.size != elements):
        return False
    return np.array_equal(known.reshape(-1), np.arange(known.size))


def _of_items(constants: Constants, name: str) -> np.ndarray | None:
    """Compute the numbers of a few items, where each item adds a multiple of its place to the same ones; else None."""
    if constants.is_constant(name):
        return constants.array(name)
    node = constants.graph.made_by(name)
    if node is None:
        return None
    if op(node) == "Range":
        ends = [constants.numbers(each) for each in (node.input[0], node.input[2])]
        from_0 = [None if each is None else each.ints() for each in ends] == [[0], [1]]
        return np.arange(_ITEMS) if from_0 else None
    scaled = op(node) == "Mul" and any(map(constants.is_constant, node.input))
    if not scaled and op(node) not in ("Add", "Unsqueeze", "Identity"):
        return None
    operands = {each: _of_items(constants, each) for each in node.input}
    arrays = {each: array for each, array in operands.items() if array is not None}
    made = computed(node, arrays, constants.graph.opsets) if len(arrays) == len(operands) else None
    return None if made is None else made[0]
