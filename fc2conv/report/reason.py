"""A reason as the report tells it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec


class ReasonReport(msgspec.Struct, frozen=True, kw_only=True):
    """A reason as it is reported: stable code, meaning, remedy, the node at which it arose, and the case's detail."""

    code: str
    meaning: str
    remedy: str
    node: str
    detail: str = ""


def is_layer(code: str) -> bool:
    """Return whether a site with this reason ("" without one) is a layer: no product of activations or of constants."""
    return code not in ("FC201", "FC207")


def tally(counts: Mapping[str, int]) -> str:
    """Write how often each code occurs, as `FC101 x2, FC302 x1`."""
    return ", ".join(f"{code} x{count}" for code, count in sorted(counts.items()))


def explained(reasons: Iterable[ReasonReport | None]) -> dict[str, tuple[str, list[str]]]:
    """Return the meaning of each code that occurs, and what helps in these cases, each remedy once."""
    out: dict[str, tuple[str, list[str]]] = {}
    for reason in reasons:
        if reason is not None:
            _, remedies = out.setdefault(reason.code, (reason.meaning, []))
            if reason.remedy not in remedies:
                remedies.append(reason.remedy)
    return out
