"""How text for people is drawn: what the stream can show, and the parts below one another."""

from __future__ import annotations

import io
import os
import shutil
from collections.abc import Collection, Iterable, Sequence
from typing import TextIO

from rich import box
from rich.cells import cell_len, set_cell_size
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from fc2conv.dataclass import dataclass
from fc2conv.io.escape import one_line

_LEAST_WIDTH, _LEAST_NAME = 40, 16
_UNFOLDED = 1 << 20


@dataclass(frozen=True)
class Look:
    """How text is drawn: `width` in columns (None: no line is folded and no name is cut), rules in Unicode, colour.

    `verbose` adds details, `diff` the heads node by node, and `summary` leaves out the layers.
    """

    width: int | None = None
    lines: bool = False
    colour: bool = False
    verbose: bool = False
    diff: bool = False
    summary: bool = False

    @classmethod
    def of(cls, stream: TextIO | None, *, wide: bool = False, **asked: bool) -> Look:
        """Choose what `stream` can show: unfolded ASCII in a pipe, else its width; NO_COLOR and COLUMNS count."""
        if stream is None or not stream.isatty():
            return cls(**asked)
        plain = bool(os.environ.get("NO_COLOR")) or os.environ.get("TERM") == "dumb"
        width = None if wide else max(shutil.get_terminal_size().columns, _LEAST_WIDTH)
        unicode = (stream.encoding or "").lower().replace("-", "").startswith("utf")
        return cls(width, lines=unicode, colour=not plain, **asked)


def styled(content: str, style: str = "") -> Text:
    """Take content to the letter: no markup, no emoji codes, nothing that moves the cursor."""
    return Text(one_line(content), style=style)


def grid(rows: Iterable[Iterable[RenderableType]]) -> Table:
    """Lay out rows without a head."""
    table = Table.grid(padding=(0, 2))
    for row in rows:
        table.add_row(*row)
    return table


def columns(
    left: Iterable[str], right: Iterable[str] = (), whole: Collection[str] = (), *, lines: bool = False
) -> Table:
    """Make a table of columns of words and columns of numbers; those that are `whole` are never folded."""
    table = Table(box=box.SIMPLE_HEAD if lines else None, show_edge=False, pad_edge=False, header_style="bold")
    for name in left:
        table.add_column(name, overflow="fold", no_wrap=name in whole)
    for name in right:
        table.add_column(name, overflow="fold", justify="right")
    return table


def sizes(shape: Iterable[int] | None) -> str:
    """Write a shape as `4096x25088`; nothing where it is not known."""
    return "x".join(map(str, shape or ()))


def cut(name: str, columns: int) -> str:
    """Cut the middle out of a name that takes more than `columns` of a terminal."""
    safe = one_line(name)
    if cell_len(safe) <= columns:
        return safe
    end = (columns - 3) // 2
    head = set_cell_size(safe, columns - 3 - end)
    tail = set_cell_size(safe[::-1], end)[::-1]
    return f"{head}...{tail}"


def fitted(
    rows: Iterable[Sequence[str]], look: Look, name: int = 0, folds: int | None = None, heads: Sequence[str] = ()
) -> list[list[str]]:
    """Cut the names in one column so that rows and `heads` fit a terminal; column `folds` may take several lines."""
    found = [list(map(one_line, row)) for row in rows]
    if look.width is None or not found:
        return found
    widths = [max(map(cell_len, column)) for column in zip(*found, *([heads] if heads else []), strict=True)]
    if folds is not None:
        widths[folds] = min(widths[folds], look.width // 3)
    room = look.width - sum(widths) + widths[name] - (3 if look.lines else 2) * len(widths)
    for row in found:
        row[name] = cut(row[name], max(room, _LEAST_NAME))
    return found


def draw(parts: Iterable[RenderableType], look: Look) -> str:
    """Draw the parts below one another; the headline and commands are never folded, so that they can be copied."""
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
    head, *rest = parts
    console.print(head, soft_wrap=True)
    for part in rest:
        console.print(part, soft_wrap=bool(getattr(part, "no_wrap", False)))
    return "\n".join(line.rstrip() for line in buffer.getvalue().splitlines()) + "\n"
