"""The original's side of a converted layer: what a fully connected one computes.

An FC layer is `out[r, m] = sum_k x[r, k] W[m, k] + bias`, over the rows r of its input. Its ids are
`D[r, m] = H(layer, m, sum_k H(x[r, k], k))`. The convolution of the same layer sees the window of its input at
every position p as a row of J elements, by its attributes as they stand (see `convs`). If `order` says which k each
element of the window is, its ids are `H(layer, m, sum_j H(x[p, j], order[j]))`: the same hash where the same numbers
meet the same weights. That `kernel[m, j] = W[m, order[j]]` is then all that is left to show. A fused or quantized layer
is such a layer with what stands before it (`source` is then made of its input) and behind it (`finish`, `activate`).
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

    `rows` makes its rows [R, K] from the ids of `source`, and `place` its output from ids [R, M]. `oriented`
    reads the weight as [M, K]; `shape` is the output's, and `axis` its axis of m (-1: it has none). `conv` is what it
    must become. `finish` makes the ids [R, M] of what a fused operator does next, from the layer's and from those of
    `operands`; `activate` those of the last thing that it does, wherever they stand.
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
    axis: int
    elem_type: int
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
        """The ids [R, M] of the sums over k, without bias."""
        channel = h.mix(np.arange(self.outputs, dtype=np.uint64) ^ self.key)
        return h.mix(self.sums(rows, order)[:, None] ^ channel[None, :])

    @staticmethod
    def sums(rows: Ids, order: NDArray[np.int64] | None = None) -> Ids:
        """What each row is as a sequence over k; column j of `rows` is element `order[j]`."""
        return h.along(rows if order is None else rows[:, np.argsort(order)])


def gemm(call: Call, key: np.uint64) -> Layer:
    """`alpha * A' B' + beta * C`, A' and B' transposed as transA and transB say; the weight may be either.

    FusedGemm is the same, and applies a function to the result.
    """
    layer = product(call, key, 1)
    if len(layer.shape) != 2 or layer.axis < 0:
        raise UnmodelledError(f"{call.label} (a Gemm whose result has shape {list(layer.shape)})")
    return replace(
        layer,
        addend=call.inputs[2] if len(call.inputs) > 2 else None,
        beta=float(call.attributes.get("beta", 1.0)),
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
    names = {name.removeprefix("activation_"): value for name, value in given.items()}
    attributes = {name: value for name, value in names.items() if f"activation_{name}" in given}
    return as_node(call, given["activation"].decode(), **attributes)


def as_node(call: Call, op_type: str, **attributes: Any) -> Callable[[Ids], Ids]:
    """What a node of one input would do: parts of a fused operator are named as nodes of their own would be."""
    node = helper.make_node(op_type, ["x"], ["y"], **attributes)
    rule = rules.pointwise(Call(node, call.inputs[:1], call.file, call.opset))[0].rule
    return lambda made: rule([made])


def product(call: Call, key: np.uint64, second: int) -> Layer:
    """The geometry of a product of the operands 0 and `second`, one of which is the weight.

    The weight is a vector [K], which has one output and no axis of it, or has rank 2, or more with leading ones, of
    which the result gets those that are more than its own rank.
    """
    a, b = call.data(0), call.data(second)
    if a.is_constant == b.is_constant:
        raise UnmodelledError(f"{call.label} ({'both' if a.is_constant else 'neither'} of its operands is a constant)")
    right = b.is_constant
    weight, source = (b, a) if right else (a, b)
    shape, wide = source.shape, weight.shape
    if shape is None or wide is None:
        raise UnmodelledError(f"{blame(source if shape is None else weight)} (the shape of its result is not known)")
    if not wide or not shape or prod(wide[:-2]) != 1:
        raise UnmodelledError(f"{call.label} (a weight of shape {wide} and an input of shape {shape})")
    flips = [bool(call.attributes.get(name, 0)) for name in ("transA", "transB")]
    if any(call.attributes.get(name, 0) for name in ("transBatchA", "transBatchB")):
        raise UnmodelledError(f"{call.label} (transBatchA or transBatchB)")
    flip_x, flip_w = (flips[0], flips[1]) if right else (flips[1], flips[0])
    last = len(shape) == 1 or right != flip_x  # whether k is the source's last axis, as it stands
    turned = flip_w == right  # whether the weight's matrix, as stored, is [M, K]
    lead = shape[:-1] if last else (*shape[:-2], shape[-1])
    if len(wide) == 1:
        made, axis, outputs = lead, -1, 1
    else:
        outputs = wide[-2 if turned else -1]
        made, axis = ((*lead, outputs), len(lead)) if right else ((*lead[:-1], outputs, *lead[-1:]), len(lead[:-1]))
    ones = (1,) * max(0, len(wide) - max(2, len(shape)))
    made, axis = (*ones, *made), axis + len(ones) if axis >= 0 else axis

    def oriented() -> Array:
        array = weight.array()
        return array.reshape(1, -1) if array.ndim == 1 else (lambda w: w if turned else w.T)(array.reshape(wide[-2:]))

    def place(products: Ids) -> Ids:
        out = products.reshape((*lead, outputs))
        return (out if axis < 0 or right or not lead else np.swapaxes(out, -1, -2)).reshape(made)

    return Layer(
        label=call.label,
        key=key,
        source=source,
        weight=weight,
        oriented=oriented,
        rows=lambda x: (x if last else np.swapaxes(x, -1, -2)).reshape(-1, shape[-1 if last else -2]),
        place=place,
        outputs=outputs,
        shape=made,
        axis=axis,
        elem_type=source.elem_type,
        alpha=float(call.attributes.get("alpha", 1.0)),
    )
