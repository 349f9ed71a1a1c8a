"""The reason codes as text for `fc2conv explain` and as the page docs/reasons.md: both made from the enum alone."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable

from fc2conv.reasons import Code

WIDTH = 80

FAMILIES = {
    "FC1": "The layout of the layer's input is not known",
    "FC2": "Not a fully connected layer with a constant weight",
    "FC3": "Not worth it, or not allowed",
    "FC4": "What the runtime cannot do",
    "FC5": "What keeps a network from sliding over larger images",
    "FC6": "What the target cannot do",
}

_PAGE = """\
# Why a layer was left as it is

Every layer that fc2conv leaves has one of these codes and the name of the node that caused it; FC5xx name what keeps
`--fully-convolutional` from writing a network, and FC6xx the limit of a `--target`. Codes are stable: none changes its
meaning and none is used again.
`fc2conv explain FC102` prints a code here.

<!-- Made from fc2conv/reasons.py by docs/generate.py; a test compares the two. -->
"""


def as_text(codes: Iterable[Code]) -> str:
    """Code, meaning and remedy of each, within 80 columns, with a blank line between two codes."""
    return "\n".join(_entry(code) for code in codes)


def as_markdown() -> str:
    """The page docs/reasons.md: one table for each family of codes."""
    parts = [_PAGE]
    for prefix, title in FAMILIES.items():
        rows = [f"| {code.value} | {_cell(code.meaning)} | {_cell(code.remedy)} |" for code in _family(prefix)]
        parts.append(
            "\n".join([f"## {prefix}xx: {title}", "", "| code | meaning | remedy |", "| --- | --- | --- |", *rows, ""])
        )
    return "\n".join(parts)


def _entry(code: Code) -> str:
    def lines(text: str) -> str:
        return textwrap.fill(text, WIDTH, initial_indent="  ", subsequent_indent="  ")

    return f"{code.value}\n{lines(code.meaning)}\n{lines('Remedy: ' + code.remedy)}\n"


def _family(prefix: str) -> list[Code]:
    return [code for code in Code if code.value.startswith(prefix)]


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
