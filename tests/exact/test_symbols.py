"""Equal symbols are equal residues: random programs over a field and over symbols, with views of all kinds."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from fc2conv.verification.exact.field import Field, Residues
from fc2conv.verification.exact.symbols import Symbols


def _divided(rng: np.random.Generator, shape: tuple[int, ...]) -> list[int]:
    """The shape with two axes that are one, or one that is two."""
    axis = int(rng.integers(len(shape)))
    if len(shape) > 1 and axis + 1 < len(shape) and rng.integers(2):
        return [*shape[:axis], shape[axis] * shape[axis + 1], *shape[axis + 2 :]]
    part = next((n for n in (2, 3) if shape[axis] % n == 0), 1)
    return [*shape[:axis], part, shape[axis] // part, *shape[axis + 1 :]]


def _program(field: Field, seed: int) -> list[Residues]:
    """Values that random operations make, each drawn from the shapes alone, so that it is the same over any field."""
    rng = np.random.default_rng(seed)
    values = [field.uniform(name, (2, 6, 4)) for name in "ab"]
    values.append(field.of(np.arange(24, dtype=np.float32).reshape(6, 4)))
    for _ in range(60):
        x = values[int(rng.integers(len(values)))]
        rank, what = x.ndim - 1, int(rng.integers(12))
        axis = int(rng.integers(rank)) if rank else 0
        partner = next((y for y in values[::-1] if y is not x and y.shape == x.shape), x)
        if not rank or x.size > 1 << 12:
            continue
        if what == 0 or what == 11:
            made = x.transpose(0, *(1 + rng.permutation(rank)))
        elif what == 1 and rank < 6:
            made = field.reshaped(x, _divided(rng, x.shape[1:]))
        elif what == 2:
            step = int(rng.choice([1, 2, -1]))
            made = x[(slice(None),) * (axis + 1) + (slice(None, None, step),)]
        elif what == 3:
            made = field.add(x, partner) if rng.integers(2) else field.add(partner, x)
        elif what == 4:
            made = field.mul(x, x[(slice(None),) * (axis + 1) + (slice(0, 1),)])
        elif what == 5:
            made = field.neg(field.sub(x, partner))
        elif what == 6:
            made = field.total(x, [axis], keepdims=bool(rng.integers(2)))
        elif what == 7:
            made = field.joined([x, partner], axis)
        elif what == 8:
            made = field.padded(x, [(1, 0) if i == axis else (0, 0) for i in range(rank)], field.of(np.float32(2)))
        elif what == 9 and rank > 1:
            made = field.matmul(x, x.swapaxes(-1, -2))
        elif what == 10 and x.shape[axis + 1] > 2:
            made = np.lib.stride_tricks.sliding_window_view(x, 2, axis=axis + 1)
        else:
            made = field.relu(field.taken(x, np.arange(x.shape[axis + 1]), axis))
        values.append(made)
    return values


@pytest.mark.parametrize("seed", range(24))
def test_equal_symbols_are_equal_residues(seed: int) -> None:
    symbols = Symbols()
    residues, places = _program(Field(b"seed", 1), seed), _program(symbols, seed)
    assert [x.shape[1:] for x in residues] == [x.shape[1:] for x in places]
    for i, j in combinations(range(len(places)), 2):
        if places[i].shape == places[j].shape and symbols.same(places[i], places[j]):
            assert np.array_equal(residues[i], residues[j]), (i, j)


def test_layouts_of_one_computation_are_one_symbol() -> None:
    field = Symbols()
    x, w, b = field.uniform("x", (2, 6, 8, 5)), field.uniform("w", (5, 1)), field.of(np.arange(5, dtype=np.float32))
    rows = field.reshaped(x.transpose(0, 1, 3, 2, 4), (96, 5))
    one = field.relu(field.mul(field.add(rows, b), field.matmul(rows, w)))
    turned = x.transpose(0, 1, 4, 2, 3)
    scores = field.total(field.reshaped(field.matmul(x, w), (2, 1, 6, 8)), [1])
    other = field.relu(field.mul(field.add(turned, b.reshape(1, 5, 1, 1)), scores))
    assert field.same(one, field.reshaped(other.transpose(0, 1, 4, 3, 2), (96, 5))) is False  # a sum of one is a sum
    other = field.relu(field.mul(field.add(turned, b.reshape(1, 5, 1, 1)), field.matmul(x, w).transpose(0, 1, 4, 2, 3)))
    assert field.same(one, field.reshaped(other.transpose(0, 1, 4, 3, 2), (96, 5)))
    assert not field.same(one, field.reshaped(other.transpose(0, 1, 3, 4, 2), (96, 5)))


def test_an_empty_constant_has_a_symbol() -> None:
    field = Symbols()
    empty = field.of(np.zeros((2, 0, 3), np.float32))
    assert empty.shape == (1, 2, 0, 3)
    assert field.joined([empty, field.uniform("x", (2, 1, 3))], 1).shape == (1, 2, 1, 3)
