"""How text for people is drawn: what the stream can show, and the parts below one another."""

from __future__ import annotations

import io
import os
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TextIO

from fc2conv.io.escape import one_line

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.text import Text

_PIPE_WIDTH = 80
_MIN_WIDTH, _MAX_WIDTH = 40, 120


@dataclass(frozen=True)
class Look:
    """How text is drawn: `width` in columns, `lines` for rules that need Unicode, `colour`, details, heads as diffs."""

    width: int = _PIPE_WIDTH
    lines: bool = False
    colour: bool = False
    verbose: bool = False
    diff: bool = False

    @classmethod
    def of(cls, stream: TextIO | None, *, verbose: bool = False, diff: bool = False) -> Look:
        """What `stream` can show; NO_COLOR and TERM=dumb are respected, and a pipe gets 80 columns of ASCII."""
        if stream is None or not stream.isatty():
            return cls(verbose=verbose, diff=diff)
        plain = bool(os.environ.get("NO_COLOR")) or os.environ.get("TERM") == "dumb"
        width = min(max(shutil.get_terminal_size().columns, _MIN_WIDTH), _MAX_WIDTH)
        unicode = (stream.encoding or "").lower().replace("-", "").startswith("utf")
        return cls(width=width, lines=unicode, colour=not plain, verbose=verbose, diff=diff)


def styled(content: str, style: str = "") -> Text:
    """Content taken to the letter: no markup, no emoji codes, nothing that moves the cursor."""
    from rich.text import Text

    return Text(one_line(content), style=style)


def draw(parts: Iterable[RenderableType], look: Look) -> str:
    """The parts below one another; the headline is not wrapped, so that its paths can be copied, nor a command."""
    from rich.console import Console

    buffer = io.StringIO()
    console = Console(
        file=buffer,
        width=look.width,
        force_terminal=look.colour,
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
