"""Numbers and names as a page shows them."""

from __future__ import annotations

import math

from fc2conv.io.escape import one_line

_UNITS = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))
_BYTES = ((2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB"))


def short(text: str, limit: int = 60) -> str:
    """`text` on one line, without what comes before its last half where it is longer than `limit` characters."""
    line = one_line(text)
    if len(line) <= limit:
        return line
    tail = limit * 3 // 5
    return f"{line[: limit - tail - 1]}\N{HORIZONTAL ELLIPSIS}{line[-tail:]}"


def start(text: str, limit: int) -> str:
    """`text` on one line, without its end where it is longer than `limit` characters."""
    line = one_line(text)
    return line if len(line) <= limit else line[: limit - 1] + "\N{HORIZONTAL ELLIPSIS}"


def amount(value: int) -> str:
    """A count in the unit that suits it: `138.4 M`."""
    return next((f"{value / size:.4g} {unit}" for size, unit in _UNITS if value >= size), str(value))


def size(value: int) -> str:
    """Bytes in the unit that suits them: `527.8 MiB`."""
    return next((f"{value / size:.4g} {unit}" for size, unit in _BYTES if value >= size), f"{value} bytes")


def number(value: float | None) -> str:
    """Write a measured number with three digits; a dash for None."""
    return "\N{EN DASH}" if value is None or not math.isfinite(value) else f"{value:.3g}"


def sizes(shape: list[int] | None) -> str:
    """Write a shape, `4096 x 25088`; a dash for None."""
    return times(" x ".join(map(str, shape))) if shape else "\N{EN DASH}"


def times(text: str) -> str:
    """A text of the report with its crosses as such."""
    return text.replace(" x ", " \N{MULTIPLICATION SIGN} ")
