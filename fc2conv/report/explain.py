"""The reason codes as text for `fc2conv explain`."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable

from fc2conv.reasons import Code

WIDTH = 80


def as_text(codes: Iterable[Code]) -> str:
    """Code, meaning and remedy of each, within 80 columns, with a blank line between two codes."""
    return "\n".join(_entry(code) for code in codes)


def _entry(code: Code) -> str:
    def lines(text: str) -> str:
        return textwrap.fill(text, WIDTH, initial_indent="  ", subsequent_indent="  ")

    return f"{code.value}\n{lines(code.meaning)}\n{lines('Remedy: ' + code.remedy)}\n"
