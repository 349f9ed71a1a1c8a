"""How far a model's own values move where each of its inputs moves by one unit in the last place.

A network may make much of little: a recurrent one on inputs that it was not trained for, a threshold, a quotient by
what is almost zero. A conversion adds up the same products in another order, which is a change of that size at one
layer. So this says what a difference of two models is worth: one that is proved to be rounding, and smaller, is right.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fc2conv.onnxfile import ModelFile
from fc2conv.options import VerifyOptions
from fc2conv.proof.compare import Pairing
from fc2conv.proof.feeds import Feeds
from fc2conv.proof.runtime import RefusedError, Session

DIRECTIONS = 8
"""How often all elements of the inputs are moved, each up or down at random."""

_FLOATS = ("float16", "bfloat16", "float32", "float64")


def measured(
    original: ModelFile, options: VerifyOptions, optimized: bool, given: Sequence[Feeds], values: Sequence[Pairing]
) -> dict[str, float]:
    """The largest move of each value over these runs; nothing where no input is a floating-point number."""
    names = [value.name for value in values]
    largest = dict.fromkeys(names, 0.0)
    try:
        session = Session(original, names, optimized, options.providers)
        for index, feeds in enumerate(given):
            if not any(array.dtype.name in _FLOATS for array in feeds.values()):
                return {}
            before = session.run(feeds, names)
            for direction in range(DIRECTIONS):
                after = session.run(_nudged(feeds, np.random.default_rng([options.seed, index, direction])), names)
                for value, one, other in zip(values, before, after, strict=True):
                    apart = Pairing(value.name, moved=value.moved, probe=True)
                    apart.add(one, other)
                    largest[value.name] = max(largest[value.name], apart.difference)
    except RefusedError:
        return {}
    return largest


def _nudged(feeds: Feeds, rng: np.random.Generator) -> Feeds:
    return {name: _moved(a, rng) if a.dtype.name in _FLOATS else a for name, a in feeds.items()}


def _moved(array: NDArray[Any], rng: np.random.Generator) -> NDArray[Any]:
    """Each element up or down by one ulp, at random."""
    towards = np.where(rng.integers(0, 2, array.shape) > 0, np.inf, -np.inf).astype(array.dtype)
    return np.asarray(np.nextafter(array, towards))
