"""What quantized products are scaled with, on either side of a conversion.

With integers x, w and their zero points zx, zw, all quantized layers and convolutions sum the same products:
`s[r, m] = sum_k (x[r, k] - zx) (w[m, k] - zw[m])`. The plain ones (MatMulInteger, ConvInteger) give s. The others give
`saturate(round((s + bias[m]) * sx * sw[m] / sy) + zy)` (QLinearMatMul, QGemm, QLinearConv). Sources: the ONNX operator
specification; onnxruntime's ContribOperators.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fc2conv.proof import ids as h
from fc2conv.proof.ids import Ids
from fc2conv.proof.values import UnmodelledError, Value

_ZERO = h.constants(np.zeros((), dtype=np.int8))
_NAMES = ("scale of its input", "zero point of its input", "scale of its weight", "zero point of its weight",
          "scale of its result", "zero point of its result", "bias")  # fmt: skip
_Pair = tuple[Value | None, Value | None]


@dataclass(frozen=True)
class Parameters:
    """Scale and zero point of input, weight and result, and the bias; what is absent is 0, as is no scale."""

    op: str
    x: _Pair
    w: _Pair
    y: _Pair = (None, None)
    bias: Value | None = None

    @property
    def _all(self) -> tuple[Value | None, ...]:
        return (*self.x, *self.w, *self.y, self.bias)

    @property
    def parts(self) -> tuple[Value, ...]:
        """Those that are there, in a fixed order."""
        return tuple(value for value in self._all if value is not None)

    def result(self, products: Ids, made: Sequence[Ids]) -> Ids:
        """The ids [R, M] of the layer's result from those of its products and of `parts`.

        The weight's parameters and the bias are one number or one per output, all others one number.
        """
        rest, outputs = iter(made), products.shape[1]
        given = [_ZERO if value is None else next(rest) for value in self._all]
        told = [self._vector(i, each, outputs if i in (2, 3, 6) else 1) for i, each in enumerate(given)]
        return h.ordered(h.salt(self.op), [products, h.ordered(h.salt("parameters"), told)])

    @staticmethod
    def _vector(index: int, ids: Ids, outputs: int) -> Ids:
        if ids.size not in (1, outputs):
            raise UnmodelledError(f"a layer (its {_NAMES[index]} has shape {list(ids.shape)})")
        return ids.reshape(-1)

    def unlike(self, wanted: Parameters) -> str:
        """The first constant here that is not what it must be, in words, so that a message can tell the numbers."""
        for name, mine, other in zip(_NAMES, self._all, wanted._all, strict=True):
            found, must = (_numbers(value) for value in (mine, other))
            if found is None or must is None or not found.size or not must.size:
                continue
            size = max(found.size, must.size)
            if {found.size, must.size} - {1, size}:
                return f"the {name} has {found.size} elements, where {must.size} must be"
            found, must = np.broadcast_to(found, size), np.broadcast_to(must, size)
            parted = h.constants(found) != h.constants(must)
            if parted.any():
                i = int(np.argmax(parted))
                return f"the {name} is {found[i]} at [{i}], where {must[i]} must be"
        return ""


def _numbers(value: Value | None) -> h.Array | None:
    """The elements of a constant, 0 for what is absent, None for what is computed."""
    if value is None:
        return np.zeros(1, dtype=np.int8)
    return value.array().reshape(-1) if value.is_constant else None
