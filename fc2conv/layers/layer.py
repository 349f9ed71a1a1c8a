"""A fully connected layer as data: its geometry, which is the same for every kind, and its arithmetic, which is not.

A layer computes, for the dimensions k of x,  y[.., m, ..] = sum_k alpha * W[m, k] * x[.., k, ..] + bias[m],
in floating point (`Floating`), in integers with one scaling at the end (`QLinear`), or in plain integers (`Integer`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from math import prod

from onnx import NodeProto

from fc2conv.dataclass import dataclass
from fc2conv.ir.constants import Constants
from fc2conv.ir.stored import Matrix


@dataclass(frozen=True)
class Activation:
    """A function that a fused operator applies to its result: an ONNX operator and its attributes."""

    op_type: str
    attributes: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Floating:
    """Conv, and an activation where the operator was fused with one."""

    activation: Activation | None = None
    single = ()


@dataclass(frozen=True)
class QLinear:
    """QLinearConv: operands by name; the weight's scale and zero point are scalars or one value per output."""

    x_scale: str
    x_zero_point: str
    w_scale: str
    w_zero_point: str
    y_scale: str
    y_zero_point: str

    @property
    def single(self) -> tuple[str, ...]:
        """The operands that are one value each."""
        return self.x_scale, self.x_zero_point, self.y_scale, self.y_zero_point


@dataclass(frozen=True)
class Integer:
    """ConvInteger, and what the operator did around it.

    `quantizes`: x is floating point and quantized first (DynamicQuantizeLinear). `x_scale` and `w_scale`: the integers
    are scaled to floating point. Empty names are absent operands. The weight's zero point is one value, or one per
    output.
    """

    x_zero_point: str = ""
    w_zero_point: str = ""
    x_scale: str = ""
    w_scale: str = ""
    quantizes: bool = False

    @property
    def single(self) -> tuple[str, ...]:
        """The operands that are one value each."""
        return self.x_scale, self.x_zero_point


Arithmetic = Floating | QLinear | Integer


@dataclass(frozen=True)
class FCLayer:
    """One fully connected layer.

    `x` is the node's activation, `weight` its constant of the shape `shape`. All dimensions are counted from the end.
    `k` are those of x that are summed over, in the order of the `matrix`'s rows, and `m` those of the result in which
    its outputs lie (a vector has none). What else the weight has comes before these: one matrix for each index of
    the dimensions `groups` of x, or size 1. `once` are dimensions of x of size 1, in whose place the result has
    outputs. `kept` is the order in which the result has the last dimensions of x that are not summed over, where it
    differs from theirs. `absorbed` are the positions of nodes that became part of it. `bias` is one value per output
    (or one for all); `addend` anything else that Gemm adds. `output` is the value that the whole computes.
    """

    node: NodeProto
    x: str
    weight: str
    shape: tuple[int, ...]
    matrix: Matrix
    k: tuple[int, ...]
    m: tuple[int, ...]
    output: str
    arithmetic: Arithmetic = Floating()
    alpha: float = 1.0
    beta: float = 1.0
    bias: str | None = None
    addend: str | None = None
    groups: tuple[int, ...] = ()
    once: tuple[int, ...] = ()
    kept: tuple[int, ...] = ()
    absorbed: tuple[int, ...] = ()

    @property
    def scalars(self) -> tuple[str, ...]:
        """Operands that are read as they are: scales and zero points of the activation."""
        return tuple(filter(None, self.arithmetic.single))

    @property
    def output_sizes(self) -> tuple[int, ...]:
        """The sizes of the dimensions in which the outputs lie in the result."""
        return tuple([self.shape[i] for i in self.matrix.outputs])

    @property
    def outputs(self) -> int:
        """How many outputs M the layer has."""
        return prod(self.output_sizes)

    @property
    def matrices(self) -> int:
        """How many matrices the weight holds side by side."""
        return prod([self.shape[i] for i in self.matrix.side_by_side(len(self.shape))])


def per_output(constants: Constants, name: str, m: tuple[int, ...], count: int) -> bool:
    """Return whether a constant that broadcasts to the result differs only from output to output."""
    shape = constants.shape(name)
    if shape is None:
        return False
    positions = [len(shape) + i for i in m]
    fits = all(size == 1 or (positions == [i] and size == count) for i, size in enumerate(shape))
    return fits and constants.computable(name)


def per_channel(constants: Constants, name: str, count: int) -> bool:
    """Return whether a scale or zero point is one value, or one per output."""
    shape = constants.shape(name)
    return shape is not None and prod(shape) == max(shape, default=1) and prod(shape) in (1, count)
