"""Whether a model holds nothing but convolutions, and if not, what is left: the last line of a report."""

from __future__ import annotations

from collections import Counter

from fc2conv.io.escape import one_line
from fc2conv.report.types import Report

_MULTIPLY = frozenset(
    """Gemm MatMul MatMulInteger QLinearMatMul QGemm FusedGemm FusedMatMul TransposeMatMul MatMulIntegerToFloat
    DynamicQuantizeMatMul MatMulNBits MatMulBnb4 MatMulFpQ4 GemmFloat8 FusedMatMulActivation
    LSTM GRU RNN DynamicQuantizeLSTM Attention QAttention MultiHeadAttention GroupQueryAttention PackedAttention
    PackedMultiHeadAttention DecoderMaskedMultiHeadAttention DecoderMaskedSelfAttention DecoderAttention
    LongformerAttention SparseAttention LinearAttention MoE QMoE""".split()
)
"""Operators that multiply matrices, whatever their domain. An Einsum counts only as a layer."""


def closing(report: Report) -> str:
    """Say in one line whether only convolutions are left, and if not, what and why; "" where nothing was written."""
    planned = report.outcome == "planned"
    if report.outcome in ("differs", "inconclusive") or (report.sliding is not None and report.sliding.obstacles):
        return ""
    left = _left(report)
    if not left:
        return f"Convolutions only: yes{', after the conversion' if planned and report.converted else ''}"
    what = "Would be left" if planned and report.converted else "Left"
    return f"Convolutions only: no. {what}: {', '.join(left)}"


def _left(report: Report) -> list[str]:
    """List what is left, as `2 MatMul (FC201)`: first what has a reason, then what was not looked into."""
    reasons = Counter((site.op_type, site.code) for site in report.kept)
    rest = Counter(
        {name: count.after for name, count in report.operators.items() if name.rpartition("::")[2] in _MULTIPLY}
    )
    rest.subtract(Counter(site.op_type for site in report.kept))
    lines = [f"{count} {one_line(name)} ({code})" for (name, code), count in sorted(reasons.items())]
    return lines + [f"{count} {one_line(name)}" for name, count in sorted(rest.items()) if count > 0]
