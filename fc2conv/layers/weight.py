"""What a layer's weight and its per-output constants look like."""

from __future__ import annotations

from math import prod

from fc2conv.ir.constants import Constants
from fc2conv.layers.layer import FCLayer


def vector(constants: Constants, name: str) -> bool:
    """Whether a weight has one dimension, so that the layer has one output without a dimension of its own."""
    return len(constants.shape(name) or ()) == 1


def outputs(constants: Constants, layer: FCLayer) -> int:
    """How many outputs M the layer has."""
    return prod(output_sizes(constants, layer))


def output_sizes(constants: Constants, layer: FCLayer) -> tuple[int, ...]:
    """How large the dimensions are that the outputs have in the result."""
    shape = constants.shape(layer.weight)
    assert shape is not None
    return tuple(shape[i] for i in layer.matrix.outputs)


def per_output(constants: Constants, name: str, m: tuple[int, ...], count: int) -> bool:
    """Whether a constant that broadcasts to the result differs only from output to output."""
    shape = constants.shape(name) if constants.is_constant(name) else None
    if shape is None:
        return False
    positions = [len(shape) + i for i in m]
    fits = all(size == 1 or (positions == [i] and size == count) for i, size in enumerate(shape))
    return fits and constants.computable(name)


def per_channel(constants: Constants, name: str, count: int) -> bool:
    """Whether a scale or zero point is one value, or one per output."""
    shape = constants.shape(name) if constants.is_constant(name) else None
    return shape is not None and (all(size == 1 for size in shape) or sorted(shape)[-1:] == [count])
