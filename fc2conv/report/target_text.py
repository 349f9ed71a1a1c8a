"""What the report says of the target, of operators and of forms, as text."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from typing import TYPE_CHECKING

from fc2conv.io.escape import counted, one_line
from fc2conv.report.terminal import Look, columns, cut, grid, styled
from fc2conv.report.types import Report, SiteReport

if TYPE_CHECKING:
    from rich.console import RenderableType


def target_parts(report: Report, look: Look) -> list[RenderableType]:
    if report.target is None:
        return []
    rows: list[tuple[RenderableType, RenderableType]] = []
    for finding in report.target.findings:
        node = finding.node if look.width is None else cut(finding.node, look.width // 2)
        more = f" and {finding.nodes - 1} more" if finding.nodes > 1 else ""
        at = f"{node}{more}{'' if finding.layer else ' (as it was)'}"
        rows += [(styled(finding.code, "bold"), styled(f"{at}: {finding.detail}")), ("", styled(finding.remedy))]
    return ["", styled(verdict(report), "bold"), *([grid(rows)] if rows else [])]


def operator_table(report: Report) -> list[RenderableType]:
    """Draw the operators before and after; nothing where no operator is of interest."""
    table = columns(["operator"], ["before", "after"])
    for row in operator_rows(report):
        table.add_row(*map(styled, row))
    return ["", table] if table.row_count else []


def forms_line(report: Report) -> str:
    """Count the layers of each form, as `Forms of layers: map x1, point x2`."""
    return f"Forms of layers: {', '.join(f'{form} x{count}' for form, count in report.forms.items())}"


def verdict(report: Report) -> str:
    """The one line about the target, such as `Target dla: it takes all layers`, or about options without one."""
    assert report.target is not None
    left = sum(finding.nodes for finding in report.target.illegal)
    if "target" not in report.options:
        beyond = f"{counted(left, 'node')} of layers and products are beyond them"
        return f"Limits of the options: {beyond if left else 'all layers are within them'}"
    title = f" ({report.target.title})" if report.target.title else ""
    took = "it takes all layers" if not left else f"it does not take {counted(left, 'node')} of layers and products"
    return f"Target {one_line(report.target.name)}{one_line(title)}: {took}"


def operator_rows(report: Report) -> Iterator[tuple[str, str, str]]:
    """The operators of which there are more or fewer nodes than before, and those that layers are made of."""
    for name, count in report.operators.items():
        if count.before != count.after or name in ("Conv", "Gemm", "MatMul"):
            yield one_line(name), str(count.before), str(count.after)


def counted_kernels(site: SiteReport, cross: str = "x") -> str:
    """The kernels of a layer, equal ones that follow each other together: `3x3`, `1x4 + 1x2`, `9 times 3x3`."""
    kernels = [site.kernel_shape] if site.kernel_shape else [part[2:] for part in site.parts]
    texts = []
    for kernel, same in groupby(cross.join(map(str, kernel)) for kernel in kernels):
        count = len(list(same))
        texts.append(kernel if count == 1 else f"{count} times {kernel}" if count > 2 else f"{kernel} + {kernel}")
    return " + ".join(texts)
