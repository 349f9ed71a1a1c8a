"""A reason as the report tells it."""

from __future__ import annotations

import msgspec


class ReasonReport(msgspec.Struct, frozen=True, kw_only=True):
    """A reason as it is told: stable code, meaning, remedy, the node at which it arose, and the case's detail."""

    code: str
    meaning: str
    remedy: str
    node: str
    detail: str = ""
