"""Text as it is printed: what a model chose is made safe first, as a name may hold escape sequences."""

from __future__ import annotations

import os


def one_line(text: str) -> str:
    """`text` with all that does not print escaped: controls, line ends, bidi overrides, lone surrogates."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode("ascii") for char in text)


def shown(name: object) -> str:
    """Returns a name or a path as a message shows it: `one_line` of its text, or of its bytes."""
    text = os.fspath(name) if isinstance(name, os.PathLike) else name
    return one_line(text.decode("utf-8", "backslashreplace") if isinstance(text, bytes) else str(text))


def shortened(text: str, most: int = 120) -> str:
    """`one_line(text)` of at most `most` characters; a longer one loses its middle, as ends tell names apart."""
    line = one_line(text)
    if len(line) <= most:
        return line
    end = (most - 3) // 2
    return f"{line[: most - 3 - end]}...{line[-end:]}"


def counted(count: int, noun: str) -> str:
    """Give a number with its noun: `1 layer`, `2 layers`, `0 layers`."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
