"""LSTM, GRU and RNN: hashes of their whole operands, in which what is absent is what it stands for."""

from __future__ import annotations

from math import prod

import numpy as np

from fc2conv.verification.exact.evaluate import At, Rule, needs_plain
from fc2conv.verification.exact.field import Residues, tag
from fc2conv.verification.exact.functions import salt

_LENGTHS = 4


def recurrent(at: At) -> Residues:
    """A hash of the operands and of the element's index: absent biases and states are 0, absent lengths are full."""
    needs_plain(at, range(len(at.term.inputs)))
    field = at.field
    total = field.uniform((salt(at.op.name, at.op.attributes), at.op.version, at.term.index), ())
    for i in range(len(at.term.inputs)):
        if at.has(i) and not _absent(at, i):
            flat = at.res(i).reshape(field.lanes, -1)
            key = ("operand", i, at.dims(i))
            total = field.add(total, field.mix(field.sequence(flat, key), tag(key)))
    places = field.uniform("index", (prod(at.shape),))
    spread = field.add(places, field.mix(total, tag("element"))[:, None])
    return field.mix(spread, tag("recurrent")).reshape(field.lanes, *at.shape)


def _absent(at: At, index: int) -> bool:
    """Whether an operand is what stands for an absent one."""
    if index == _LENGTHS:
        lengths = at.operand(index).value
        steps = at.dims(0)[1 if at.attr("layout", 0) else 0]
        return lengths is not None and bool(np.all(lengths == steps))
    return index > _LENGTHS - 2 and not at.res(index).any()


RULES: dict[str, Rule] = dict.fromkeys(("LSTM", "GRU", "RNN"), recurrent)
"""One rule for each operator."""
