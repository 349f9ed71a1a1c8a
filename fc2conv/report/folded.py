"""Draws parts for a terminal, folded at its width and in colour, by rich."""

from __future__ import annotations

import io
from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.table import Table as Drawn
from rich.text import Text

from fc2conv.report.terminal import Line, Look, Part, Table

_UNFOLDED = 1 << 20


def folded(parts: Sequence[Part], look: Look) -> list[str]:
    """Draw the parts below one another as lines; do not fold the first."""
    buffer = io.StringIO()
    console = Console(
        file=buffer,
        width=look.width or _UNFOLDED,
        force_terminal=look.colour,
        force_jupyter=False,
        color_system="standard" if look.colour else None,
        no_color=not look.colour,
        highlight=False,
        markup=False,
        emoji=False,
    )
    for part in parts:
        if isinstance(part, Line):
            console.print(Text(part.text, part.style), soft_wrap=part.whole or part is parts[0])
        else:
            console.print(_table(part))
    return buffer.getvalue().splitlines()


def _table(table: Table) -> Drawn:
    headed = any(column.head for column in table.columns)
    drawn = Drawn(
        box=box.SIMPLE_HEAD if table.rule else None,
        show_header=headed,
        show_edge=False,
        pad_edge=False,
        padding=(0, 1 if headed else table.gap),
        collapse_padding=not headed,
        header_style="bold",
    )
    for column in table.columns:
        drawn.add_column(
            column.head, overflow="fold", no_wrap=column.whole, justify="right" if column.right else "left"
        )
    for row in table.rows:
        drawn.add_row(*(Text(cell.text, cell.style) for cell in row))
    return drawn
