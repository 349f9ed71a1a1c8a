"""Text that a model chose, made safe to print: a node's name may hold escape sequences or turn the line around."""

from __future__ import annotations


def one_line(text: str) -> str:
    """`text` with all that does not print escaped: controls, line ends, bidi overrides, lone surrogates."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode("ascii") for char in text)
