"""Conversions without a process of their own, for tests of what they give that run some thousands of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fc2conv.options import Limits


def here(_: Limits, work: Callable[..., tuple[Any, bytes]], *arguments: object, **__: object) -> tuple[Any, memoryview]:
    """Stands for `fc2conv.sandbox.contained`, and contains nothing."""
    value, blob = work(*arguments)
    return value, memoryview(blob)
