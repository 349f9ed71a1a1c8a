"""Text that a model chose, made safe to print: a node's name may hold escape sequences or turn the line around."""

from __future__ import annotations


def one_line(text: str) -> str:
    """`text` with all that does not print escaped: controls, line ends, bidi overrides, lone surrogates."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode("ascii") for char in text)


def shortened(text: str, most: int = 120) -> str:
    """`one_line(text)` of at most `most` characters; a longer one loses its middle, as ends tell names apart."""
    told = one_line(text)
    if len(told) <= most:
        return told
    end = (most - 3) // 2
    return f"{told[: most - 3 - end]}...{told[-end:]}"
