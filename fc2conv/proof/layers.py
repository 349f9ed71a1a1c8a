"""The original's side of a converted layer: what a fully connected one computes.

An FC layer is `out[r, g, m] = sum_k x[g, r, k] W[g, m, k] + bias`, over the rows r of its input, in G groups where its
weight has one matrix for each index g of some axes, else in one. Its ids are
`D[r, g, m] = H(layer, (g, m), sum_k H(x[g, r, k], k))`. The convolution of the same layer has as many groups, and sees
the window of its input at every position p as a row of J elements for each, by its attributes as they stand (see
`convs`). If `order` says which k each element of a group's window is, its ids are
`H(layer, (g, m), sum_j H(x[g, p, j], order[g, j]))`: the same hash where the same numbers meet the same weights. That
`kernel[g, m, j] = W[g, m, order[g, j]]` is then all that is left to show. A fused or quantized layer is such a layer
with what stands before it (`source` is then made of its input) and behind it (`finish`, `activate`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import helper

from fc2conv.proof import ids as h
from fc2conv.proof import rules
from fc2conv.proof.ids import Array, Ids
from fc2conv.proof.nodes import Call
from fc2conv.proof.parameters import Parameters
from fc2conv.proof.values import UnmodelledError, Value, blame


@dataclass(frozen=True)
class Layer:
    """One FC layer of the original.

    `rows` makes its rows [G, R, K] from the ids of `source`, and `place` its output from ids [R, G * M]. `oriented`
    reads the weight as [G, M, K], and `outputs` is G * M; `shape` is the output's, and `axes` its axes of g and m, in
    this order. `conv` is what it must become. `finish` makes the ids [R, G * M] of what a fused operator does next,
    from the layer's and from those of `operands`; `activate` those of the last thing that it does, wherever they stand.
    """

    label: str
    key: np.uint64
    source: Value
    weight: Value
    oriented: Callable[[], Array]
    rows: Callable[[Ids], Ids]
    place: Callable[[Ids], Ids]
    outputs: int
    shape: tuple[int, ...]
    axes: tuple[int, ...]
    elem_type: int
    groups: int = 1
    alpha: float = 1.0
    addend: Value | None = None
    beta: float = 1.0
    conv: str = "Conv"
    parameters: Parameters | None = None
    operands: tuple[Value, ...] = ()
    finish: Callable[[Ids, Sequence[Ids]], Ids] = lambda made, _: made
    activate: Callable[[Ids], Ids] = lambda made: made

    @property
    def rank(self) -> int:
        """The output's number of dimensions."""
        return len(self.shape)

    def products(self, rows: Ids, order: NDArray[np.int64] | None = None) -> Ids:
        """The ids [R, G * M] of the sums over k, without bias, from rows [G, R, K] and an order [G, K]."""
        channel = h.mix(np.arange(self.outputs, dtype=np.uint64) ^ self.key).reshape(self.groups, 1, -1)
        orders = [None] * self.groups if order is None else order
        sums = np.stack([self.sums(each, how) for each, how in zip(rows, orders, strict=True)])
        made = np.moveaxis(h.mix(sums[:, :, None] ^ channel), 0, 1)
        return made.reshape(sums.shape[1], self.outputs)

    @staticmethod
    def sums(rows: Ids, order: NDArray[np.int64] | None = None) -> Ids:
        """What each row [R, K] of a group is as a sequence over k; column j of `rows` is element `order[j]`."""
        return h.along(rows if order is None else rows[:, np.argsort(order)])


def gemm(call: Call, key: np.uint64) -> Layer:
    """`alpha * A' B' + beta * C`, A' and B' transposed as transA and transB say; the weight may be either.

    FusedGemm is the same, and applies a function to the result.
    """
    layer = product(call, key, 1)
    if len(layer.shape) != 2 or not layer.axes:
        raise UnmodelledError(f"{call.label} (a Gemm whose result has shape {list(layer.shape)})")
    return replace(
        layer,
        addend=call.inputs[2] if len(call.inputs) > 2 else None,
        beta=call.number("beta", 1.0),
        activate=_activation(call),
    )


def matmul(call: Call, key: np.uint64) -> Layer:
    """`X W` or `W X`; FusedMatMul and TransposeMatMul have alpha, transA and transB as well."""
    return product(call, key, 1)


def _activation(call: Call) -> Callable[[Ids], Ids]:
    """What FusedGemm does last: the ONNX operator that it names, with attributes of other names."""
    given = call.attributes
    if not given.get("activation"):
        return lambda made: made
    prefix = "activation_"
    attributes = {name.removeprefix(prefix): value for name, value in given.items() if name.startswith(prefix)}
    return as_node(call, given["activation"].decode(), **attributes)


def as_node(call: Call, op_type: str, **attributes: Any) -> Callable[[Ids], Ids]:
    """What a node of one input would do: parts of a fused operator are named as nodes of their own would be."""
    node = helper.make_node(op_type, ["x"], ["y"], **attributes)
    rule = rules.pointwise(Call(node, call.inputs[:1], call.file, call.opset))[0].rule
    return lambda made: rule([made])


@dataclass(frozen=True)
class _Geometry:
    """Which axes of a product's operands are r, g, k and m.

    `shape` is the source's, `wide` the weight's, and `right` says that the weight is the right operand. `last`: k is
    the source's last axis as it stands, else the one before. `turned`: the weight's matrices are stored as [M, K].
    """

    shape: tuple[int, ...]
    wide: tuple[int, ...]
    right: bool
    last: bool
    turned: bool

    @property
    def stack(self) -> list[int]:
        """The sizes of g."""
        return [size for size in self.wide[:-2] if size != 1]

    @property
    def groups(self) -> tuple[int, ...]:
        """The source's axes of g; negative where it has none for one of the weight's."""
        return tuple(len(self.shape) - len(self.wide) + i for i, size in enumerate(self.wide[:-2]) if size != 1)

    @property
    def lead(self) -> tuple[int, ...]:
        """The source's sizes but that of k."""
        return self.shape[:-1] if self.last else (*self.shape[:-2], self.shape[-1])

    @property
    def others(self) -> list[int]:
        """Which of `lead` are r."""
        return [i for i in range(len(self.lead)) if i not in self.groups]

    @property
    def outputs(self) -> int:
        """The size of m."""
        return 1 if len(self.wide) == 1 else self.wide[-2 if self.turned else -1]

    def result(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """The result's shape and its axes of g and m; a weight of more dimensions than the source gives it those."""
        ones = (1,) * max(0, len(self.wide) - max(2, len(self.shape)))
        if len(self.wide) == 1:
            return (*ones, *self.lead), ()
        at = len(self.lead) if self.right else len(self.lead[:-1])
        axes = (*self.groups, at)
        return (*ones, *self.lead[:at], self.outputs, *self.lead[at:]), tuple(len(ones) + i for i in axes)

    def oriented(self, weight: Array) -> Array:
        """The weight as [G, M, K]."""
        if weight.ndim == 1:
            return weight.reshape(1, 1, -1)
        matrices = weight.reshape(-1, *self.wide[-2:])
        return matrices if self.turned else matrices.swapaxes(-1, -2)

    def rows(self, x: Ids) -> Ids:
        """The source's ids as [G, R, K]."""
        each = x if self.last else np.swapaxes(x, -1, -2)
        moved = each.transpose(*self.groups, *self.others, len(self.lead))
        return moved.reshape(prod(self.stack), prod(moved.shape[len(self.groups) : -1]), moved.shape[-1])

    def place(self, products: Ids) -> Ids:
        """The result's ids from those [R, G * M] of the products."""
        order = [*self.others, *self.groups, len(self.lead)]
        sizes = (*self.lead, self.outputs)
        out = products.reshape([sizes[i] for i in order]).transpose(np.argsort(order))
        made, axes = self.result()
        return (out if not axes or self.right or not self.lead else np.swapaxes(out, -1, -2)).reshape(made)


def product(call: Call, key: np.uint64, second: int) -> Layer:
    """The geometry of a product of the operands 0 and `second`, one of which is the weight.

    The weight is a vector [K], which has one output and no axis of it, or a matrix, or has one for each index of
    leading dimensions: those that are not 1 are the groups, and must be the source's as well. The result gets those
    that are more than its own rank.
    """
    a, b = call.data(0), call.data(second)
    if a.is_weight == b.is_weight:
        raise UnmodelledError(f"{call.label} ({'both' if a.is_weight else 'neither'} of its operands is a constant)")
    right = b.is_weight
    weight, source = (b, a) if right else (a, b)
    if source.shape is None or weight.shape is None:
        unknown = source if source.shape is None else weight
        raise UnmodelledError(f"{blame(unknown)} (the shape of its result is not known)")
    if any(call.attributes.get(name, 0) for name in ("transBatchA", "transBatchB")):
        raise UnmodelledError(f"{call.label} (transBatchA or transBatchB)")
    flips = [bool(call.attributes.get(name, 0)) for name in ("transA", "transB")]
    flip_x, flip_w = flips if right else reversed(flips)
    last = len(source.shape) == 1 or right != flip_x
    geometry = _Geometry(source.shape, weight.shape, right, last, turned=flip_w == right)
    groups, stack = geometry.groups, geometry.stack
    known = weight.shape and source.shape and all(i >= 0 for i in groups)
    if not known or [source.shape[i] for i in groups] != stack:
        raise UnmodelledError(f"{call.label} (a weight of shape {weight.shape} and an input of shape {source.shape})")
    shape, axes = geometry.result()
    return Layer(
        label=call.label,
        key=key,
        source=source,
        weight=weight,
        oriented=lambda: geometry.oriented(weight.array()),
        rows=geometry.rows,
        place=geometry.place,
        outputs=prod(stack) * geometry.outputs,
        shape=shape,
        axes=axes,
        elem_type=source.elem_type,
        groups=prod(stack),
        alpha=call.number("alpha", 1.0),
    )
