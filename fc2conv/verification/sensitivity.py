"""How far a model's own values move where each of its inputs moves by one unit in the last place.

A network may make much of little: a recurrent one on inputs that it was not trained for, a threshold, a quotient by
what is almost zero. A conversion adds up the same products in another order, which is a change of that size at one
layer. So this says what a difference of two models is worth: one that is proved to be rounding, and smaller, is right.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, helper

from fc2conv.io.reader import ModelFile
from fc2conv.options import VerifyOptions
from fc2conv.verification.arithmetic import Arithmetic
from fc2conv.verification.compare import Pairing
from fc2conv.verification.feeds import Feeds
from fc2conv.verification.runtime import RefusedError, Session

DIRECTIONS = 8
"""How often all elements of the inputs are moved, each up or down at random."""

_EXACT, _FACTOR = "::exact", "::ulp"
_FLOATS = ("float16", "bfloat16", "float32", "float64")


def measured(
    original: ModelFile, options: VerifyOptions, optimized: bool, given: Sequence[Feeds], values: Sequence[Pairing]
) -> dict[str, float]:
    """The largest move of each value over these runs; nothing where no number that is fed becomes a float."""
    names = [value.name for value in values]
    largest = dict.fromkeys(names, 0.0)
    model, firsts = _opened(original.model)
    try:
        session = Session(replace(original, model=model), names, optimized, options.providers)
        sizes = Session(original, firsts, optimized, options.providers) if firsts else None
        for index, feeds in enumerate(given):
            made = sizes.run(feeds, firsts) if sizes is not None else []
            fed = feeds | {f"{name}{_FACTOR}": np.ones_like(array) for name, array in zip(firsts, made, strict=True)}
            if not any(array.dtype.name in _FLOATS for array in fed.values()):
                return {}
            before = session.run(fed, names)
            for direction in range(DIRECTIONS):
                after = session.run(_nudged(fed, np.random.default_rng([options.seed, index, direction])), names)
                for value, one, other in zip(values, before, after, strict=True):
                    apart = Pairing(value.name, moved=value.moved, probe=True)
                    apart.add(one, other)
                    largest[value.name] = max(largest[value.name], apart.difference)
    except RefusedError:
        return {}
    return largest


def _opened(original: ModelProto) -> tuple[ModelProto, list[str]]:
    """The model with a factor, fed as 1, behind each node that makes floats of integers that are fed; and these floats.

    An image of bytes, or words by their numbers, have no ulp; what they become first has one.
    """
    model, arithmetic = ModelProto(), Arithmetic(original)
    model.CopyFrom(original)
    fed = {v.name for v in original.graph.input} - {t.name for t in original.graph.initializer}
    floats = {name for name in fed if arithmetic.is_float(name)}
    firsts: list[str] = []
    model.graph.ClearField("node")
    for node in original.graph.node:
        model.graph.node.add().CopyFrom(node)
        if node.op_type in ("Shape", "Size") or not fed.intersection(node.input):
            continue
        fed.update(node.output)
        made = [name for name in node.output if arithmetic.is_float(name)]
        if not floats.intersection(node.input):
            firsts += made
            copy = model.graph.node[-1]
            copy.output[:] = [f"{name}{_EXACT}" if name in made else name for name in copy.output]
            for name in made:
                factor = model.graph.input.add(name=f"{name}{_FACTOR}")
                factor.type.tensor_type.elem_type = arithmetic.types[name]
                model.graph.node.append(helper.make_node("Mul", [f"{name}{_EXACT}", factor.name], [name]))
        floats.update(made)
    return model, firsts


def _nudged(feeds: Feeds, rng: np.random.Generator) -> Feeds:
    return {name: _moved(a, rng) if a.dtype.name in _FLOATS else a for name, a in feeds.items()}


def _moved(array: NDArray[Any], rng: np.random.Generator) -> NDArray[Any]:
    """Each element up or down by one ulp, at random."""
    towards = np.where(rng.integers(0, 2, array.shape) > 0, np.inf, -np.inf).astype(array.dtype)
    return np.asarray(np.nextafter(array, towards))
