"""The arithmetic that made a value: the coarsest in which something was rounded on the way to it from the inputs.

A head in float32 whose result is cast to double, or put into a map of Python's floats, is as exact as float32. So the
type of a value says too little. Each node on the way counts with the type of its results. One that only moves elements
does not count, and one that quantizes counts above all, as the last bit of a float may tip a step.
"""

from __future__ import annotations

from collections.abc import Iterable

from onnx import TensorProto

from fc2conv.verification.exact.terms import Term
from fc2conv.verification.exact.walk import Walk

TOLERANCES = {
    "": (0.0, 0.0),
    "float64": (1e-10, 1e-12),
    "float32": (1e-4, 1e-6),
    "bfloat16": (1e-2, 1e-3),
    "float16": (1e-2, 1e-3),
    "quantized": (5e-2, 1e-5),
}
"""(rtol, atol) by arithmetic, from none to the coarsest, against the largest magnitude of the value.

Sums of 25088 float32 products in another order part by about 1e-6 of the range, wrong layouts by about 1. Where a model
quantizes, the results part by a step.
"""

FLOATS = {
    TensorProto.DOUBLE: "float64",
    TensorProto.FLOAT: "float32",
    TensorProto.BFLOAT16: "bfloat16",
    TensorProto.FLOAT16: "float16",
    **{kind: "quantized" for name, kind in TensorProto.DataType.items() if name.startswith(("FLOAT8", "FLOAT4"))},
}
"""The arithmetic of each floating-point element type; one of 8 bits has so few numbers that they are steps."""

_QUANTIZE = ("QLinear", "QGemm", "QAttention", "QEmbed")
_MOVE = frozenset(
    """Identity Reshape Flatten Squeeze Unsqueeze Transpose Slice Split Concat Gather Expand Tile Pad Where Relu Max Min
MaxPool ArgMax TopK Shape Size Constant Cast CastLike ZipMap""".split()
)
"""Operators of which each result is an element of an operand, or a label of one; a Cast rounds where it narrows."""


def coarsest(kinds: Iterable[str]) -> str:
    """The arithmetic that rounds most; "" of none."""
    return max(kinds, key=list(TOLERANCES).index, default="")


def arithmetic(walk: Walk) -> dict[str, str]:
    """The coarsest arithmetic on the way to each value of a model that was walked."""
    known: dict[bytes, str] = {}
    for term in walk.table.terms.values():
        read = (known.get(each.key, "") for each in term.inputs)
        known[term.key] = coarsest([_own(term), *read])
    return {name: known.get(term.key, "") for name, term in walk.values.items()}


def _own(term: Term) -> str:
    """The arithmetic of one node; `ai.onnx.ml` computes in float32, whatever it reads."""
    if not term.has_op:
        return ""
    name, first = term.op.name.rpartition("::")[2], term.operand(0)
    if "Quantize" in name or name.startswith(_QUANTIZE):
        return "quantized"
    if name not in _MOVE:
        return FLOATS.get(term.kind, "") if term.kind else "float32"
    if name in ("Cast", "CastLike") and first.kind in FLOATS:
        made = FLOATS.get(term.kind, "")
        return made if coarsest([FLOATS[first.kind], made]) != FLOATS[first.kind] else ""
    return ""
