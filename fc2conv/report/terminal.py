"""Draws text for people: lines and tables below one another, as the stream can show them."""

from __future__ import annotations

import os
import shutil
from collections.abc import Collection, Iterable, Sequence
from typing import TextIO

from fc2conv.dataclass import dataclass
from fc2conv.io.escape import one_line

_LEAST_WIDTH, _LEAST_NAME = 40, 16


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

    @property
    def plain(self) -> bool:
        """Whether lines stay as they are: not folded, not coloured, no rules."""
        return self.width is None and not self.lines and not self.colour

    @classmethod
    def of(cls, stream: TextIO | None, *, wide: bool = False, **asked: bool) -> Look:
        """Choose a look that `stream` can show: unfolded ASCII in a pipe, else its width; obey NO_COLOR and COLUMNS."""
        if stream is None or not stream.isatty():
            return cls(**asked)
        plain = bool(os.environ.get("NO_COLOR")) or os.environ.get("TERM") == "dumb"
        width = None if wide else max(shutil.get_terminal_size().columns, _LEAST_WIDTH)
        unicode = (stream.encoding or "").lower().replace("-", "").startswith("utf")
        return cls(width, lines=unicode, colour=not plain, **asked)


@dataclass(frozen=True)
class Line:
    """A line of text in a style of rich's; one that is `whole` is never folded, so that it can be copied."""

    text: str
    style: str = ""
    whole: bool = False


@dataclass(frozen=True)
class Column:
    """A column of a table: its head, if any, numbers to the right, and no folding where it is `whole`."""

    head: str = ""
    right: bool = False
    whole: bool = False


@dataclass(frozen=True)
class Table:
    """Rows of equal length, `gap` apart; `rule` draws a line below the heads."""

    columns: Sequence[Column]
    rows: Sequence[Sequence[Line]]
    gap: int = 2
    rule: bool = False


Part = Line | Table


def styled(content: str, style: str = "") -> Line:
    """Make a line whose text is shown literally: nothing in it moves the cursor."""
    return Line(one_line(content), style)


BLANK = Line("")


def grid(rows: Iterable[Sequence[Line]]) -> list[Table]:
    """Lay out rows without a head; return no table where there are no rows."""
    found = list(rows)
    return [Table([Column() for _ in found[0]], found)] if found else []


def columns(left: Iterable[str], right: Iterable[str] = (), whole: Collection[str] = ()) -> list[Column]:
    """Make columns of words and columns of numbers; those in `whole` are never folded."""
    words = [Column(head, whole=head in whole) for head in left]
    return words + [Column(head, right=True) for head in right]


def sizes(shape: Iterable[int] | None) -> str:
    """Write a shape as `4096x25088`; "" where it is not known."""
    return "x".join(map(str, shape or ()))


def cut(name: str, columns: int) -> str:
    """Cut the middle out of a name that takes more than `columns` of a terminal."""
    safe = one_line(name)
    if cells(safe) <= columns:
        return safe
    from rich.cells import set_cell_size

    end = (columns - 3) // 2
    head = set_cell_size(safe, columns - 3 - end)
    tail = set_cell_size(safe[::-1], end)[::-1]
    return f"{head}...{tail}"


def cells(text: str) -> int:
    """Count the columns of a terminal that text takes."""
    if text.isascii():
        return len(text)
    from rich.cells import cell_len

    return cell_len(text)


def fitted(
    rows: Iterable[Sequence[str]], look: Look, name: int = 0, folds: int | None = None, heads: Sequence[str] = ()
) -> list[list[str]]:
    """Cut the names in one column so that rows and `heads` fit a terminal; column `folds` may take several lines."""
    found = [list(map(one_line, row)) for row in rows]
    if look.width is None or not found:
        return found
    widths = [max(map(cells, column)) for column in zip(*found, *([heads] if heads else []), strict=True)]
    if folds is not None:
        widths[folds] = min(widths[folds], look.width // 3)
    room = look.width - sum(widths) + widths[name] - (3 if look.lines else 2) * len(widths)
    for row in found:
        row[name] = cut(row[name], max(room, _LEAST_NAME))
    return found


def draw(parts: Sequence[Part], look: Look) -> str:
    """Draw the parts below one another. Never fold the headline and commands, so that they can be copied."""
    if look.plain:
        drawn = [line for part in parts for line in _plain(part)]
    else:
        from fc2conv.report.folded import folded

        drawn = folded(parts, look)
    return "\n".join(map(str.rstrip, drawn)) + "\n"


def _plain(part: Part) -> list[str]:
    if isinstance(part, Line):
        return [part.text]
    heads = [[column.head for column in part.columns]]
    rows = [*(heads if any(heads[0]) else []), *([cell.text for cell in row] for row in part.rows)]
    widths = [max(map(cells, column)) for column in zip(*rows, strict=True)]
    return [(" " * part.gap).join(map(_padded, row, widths, part.columns)) for row in rows]


def _padded(text: str, width: int, column: Column) -> str:
    space = " " * (width - cells(text))
    return space + text if column.right else text + space
