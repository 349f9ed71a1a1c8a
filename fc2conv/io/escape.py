"""Text as it is printed: a name that a model chose is made safe first, as it may hold escape sequences."""

from __future__ import annotations

import os


def one_line(text: str) -> str:
    """Return `text` with every unprintable character escaped: controls, line ends, bidi overrides, lone surrogates."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode("ascii") for char in text)


def shown(name: object) -> str:
    """Return a name or a path as a message shows it: `one_line` of its text, or of its bytes."""
    text = os.fspath(name) if isinstance(name, os.PathLike) else name
    return one_line(text.decode("utf-8", "backslashreplace") if isinstance(text, bytes) else str(text))


def shortened(text: str, most: int = 120) -> str:
    """Return `one_line(text)`, cut in its middle to at most `most` characters, as ends tell names apart."""
    line = one_line(text)
    if len(line) <= most:
        return line
    end = (most - 3) // 2
    return f"{line[: most - 3 - end]}...{line[-end:]}"


def counted(count: int, noun: str) -> str:
    """Return a number with its noun: `1 layer`, `2 layers`, `0 layers`."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
