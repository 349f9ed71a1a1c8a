"""Layers of reports, made by hand."""

from __future__ import annotations

from fc2conv.reasons import Code
from fc2conv.report.types import ReasonReport, SiteReport


def converted_layer(node: str, before: list[int], after: list[int]) -> SiteReport:
    return SiteReport(
        node=node,
        op_type="Gemm",
        decision="convert",
        weight=f"{node}.weight",
        weight_before=before,
        weight_after=after,
        kernel_shape=after[2:],
    )


def kept_layer(node: str, code: Code, blocked_by: str, detail: str = "") -> SiteReport:
    reason = ReasonReport(code=code.value, meaning=code.meaning, remedy=code.remedy, node=blocked_by, detail=detail)
    return SiteReport(node=node, op_type="MatMul", decision="keep", weight_before=[768, 1000], reason=reason)
