"""How far a model's own values move where each of its inputs moves by one unit in the last place.

A network may make much of little: a recurrent one on inputs that it was not trained for, or a quotient by a number that
is almost zero. A conversion adds up the same products in another order, which is a change of that size at one layer. So
this is the scale of a difference: one that is proved to be rounding, and is smaller, is right.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import replace

import numpy as np
from onnx import ModelProto, helper

from fc2conv.io.reader import ModelFile
from fc2conv.options import VerifyOptions
from fc2conv.verification.compare import FLOATS, TOLERANCES, Value
from fc2conv.verification.feeds import Feeds, inputs
from fc2conv.verification.nodes import element_types
from fc2conv.verification.runtime import RefusedError, Session

DIRECTIONS = 8
"""How often all elements of the inputs are moved, each up or down at random."""


def measure(original: ModelFile, options: VerifyOptions, given: Sequence[Feeds], values: Sequence[Value]) -> None:
    """Note how far each value moves over these runs; note nothing where no number that is fed becomes a float."""
    names = [value.name for value in values]
    model, firsts = _begun(original.model)
    try:
        front = Session(original, firsts, False, options.providers) if firsts else None
        session = Session(replace(original, model=model), names, False, options.providers)
        for index, fed in enumerate(given):
            fed = fed | dict(zip(firsts, front.run(fed, firsts) if front else (), strict=True))
            before = session.run(fed, names)
            for direction in range(DIRECTIONS if any(a.dtype.name in TOLERANCES for a in fed.values()) else 0):
                rng = np.random.default_rng([options.seed, index, direction])
                for value, one, other in zip(values, before, session.run(_nudged(fed, rng), names), strict=True):
                    apart = Value(value.name, probe=True)
                    apart.add(one, other)
                    value.moves = max(value.moves or 0.0, apart.difference)
                    value.unsteady = value.unsteady or bool(apart.fault)
    except RefusedError:
        return


def _begun(original: ModelProto) -> tuple[ModelProto, list[str]]:
    """Return the model without nodes that make floats of integer inputs, and the floats, which become inputs.

    An image of bytes, or words as numbers, have no ulp; the floats that they first become have one.
    """
    model, types = deepcopy(original), element_types(original)
    model.graph.ClearField("node")
    fed = {v.name for v in inputs(original)}
    floats = {name for name in fed if types.get(name) in FLOATS}
    firsts: list[str] = []
    for node in original.graph.node:
        made = [name for name in node.output if types.get(name) in FLOATS]
        ends = node.op_type in ("Shape", "Size") or not fed.intersection(node.input)
        if ends or not made or floats.intersection(node.input):
            model.graph.node.add().CopyFrom(node)
        else:
            firsts += made
            model.graph.input.extend(helper.make_tensor_value_info(name, types[name], None) for name in made)
        if not ends:
            fed.update(node.output)
            floats.update(made)
    return model, firsts


def _nudged(feeds: Feeds, rng: np.random.Generator) -> Feeds:
    """Move each element of the floats up or down by one ulp, at random."""
    found = {}
    for name, array in feeds.items():
        if array.dtype.name in TOLERANCES:
            towards = np.where(rng.integers(0, 2, array.shape) > 0, np.inf, -np.inf).astype(array.dtype)
            array = np.asarray(np.nextafter(array, towards))
        found[name] = array
    return found
