"""What the report says of the target, of operators and of forms, as text, and its last line about other operators."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import groupby

from fc2conv.io.escape import counted, one_line
from fc2conv.report.terminal import BLANK, Line, Look, Part, Table, columns, cut, grid, styled
from fc2conv.report.types import Report, SiteReport

_MULTIPLY = frozenset(
    """Gemm MatMul MatMulInteger QLinearMatMul QGemm FusedGemm FusedMatMul TransposeMatMul MatMulIntegerToFloat
    DynamicQuantizeMatMul MatMulNBits MatMulBnb4 MatMulFpQ4 GemmFloat8 FusedMatMulActivation
    LSTM GRU RNN DynamicQuantizeLSTM Attention QAttention MultiHeadAttention GroupQueryAttention PackedAttention
    PackedMultiHeadAttention DecoderMaskedMultiHeadAttention DecoderMaskedSelfAttention DecoderAttention
    LongformerAttention SparseAttention LinearAttention MoE QMoE""".split()
)
"""Operators that multiply matrices, whatever their domain. An Einsum counts only as a layer."""


def target_parts(report: Report, look: Look) -> list[Part]:
    if report.target is None:
        return []
    rows: list[tuple[Line, Line]] = []
    for finding in report.target.findings:
        node = finding.node if look.width is None else cut(finding.node, look.width // 2)
        more = f" and {finding.nodes - 1} more" if finding.nodes > 1 else ""
        at = f"{node}{more}{'' if finding.layer else ' (as it was)'}"
        rows += [(styled(finding.code, "bold"), styled(f"{at}: {finding.detail}")), (BLANK, styled(finding.remedy))]
    return [BLANK, styled(verdict(report), "bold"), *grid(rows)]


def operator_table(report: Report) -> list[Part]:
    """Draw the operators before and after; return no parts where no operator is of interest."""
    rows = [list(map(Line, row)) for row in operator_rows(report)]
    return [BLANK, Table(columns(["operator"], ["before", "after"]), rows)] if rows else []


def verdict(report: Report) -> str:
    """Return the one line about the target, as `Target dla: it takes all layers`, or about options without a target."""
    assert report.target is not None
    left = sum(finding.nodes for finding in report.target.illegal)
    if "target" not in report.options:
        beyond = f"{counted(left, 'node')} of layers and products are beyond them"
        return f"Limits of the options: {beyond if left else 'all layers are within them'}"
    title = f" ({report.target.title})" if report.target.title else ""
    took = "it takes all layers" if not left else f"it does not take {counted(left, 'node')} of layers and products"
    return f"Target {one_line(report.target.name)}{one_line(title)}: {took}"


def operator_rows(report: Report) -> Iterator[tuple[str, str, str]]:
    """Yield the operators whose number of nodes has changed, and those that layers are made of."""
    for name, count in report.operators.items():
        if count.before != count.after or name in ("Conv", "Gemm", "MatMul"):
            yield one_line(name), str(count.before), str(count.after)


def counted_kernels(site: SiteReport, cross: str = "x") -> str:
    """Write the kernels of a layer, equal ones in a row counted: `3x3`, `1x4 + 1x2`, `9 times 3x3`."""
    kernels = [site.kernel_shape] if site.kernel_shape else [part[2:] for part in site.parts]
    texts = []
    for kernel, same in groupby(cross.join(map(str, kernel)) for kernel in kernels):
        count = len(list(same))
        texts.append(kernel if count == 1 else f"{count} times {kernel}" if count > 2 else f"{kernel} + {kernel}")
    return " + ".join(texts)


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
    """List what is left, as `2 MatMul (FC201)`: first sites with a reason, then other nodes that multiply matrices."""
    sites = [site for site in report.sites if site.reason is not None]
    reasons = Counter((site.op_type, site.code) for site in sites)
    rest = Counter(
        {name: count.after for name, count in report.operators.items() if name.rpartition("::")[2] in _MULTIPLY}
    )
    rest.subtract(Counter(site.op_type for site in sites))
    lines = [f"{count} {one_line(name)} ({code})" for (name, code), count in sorted(reasons.items())]
    return lines + [f"{count} {one_line(name)}" for name, count in sorted(rest.items()) if count > 0]
