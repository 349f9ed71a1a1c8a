"""Conversions without a process of their own, for tests of what they give that run some thousands of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from fc2conv import system
from fc2conv.options import Limits

needs_fork = pytest.mark.skipif(not system.FORKS, reason="what is patched here is not in a fresh interpreter")


def here(_: Limits, work: Callable[..., tuple[Any, bytes]], *arguments: object, **__: object) -> tuple[Any, memoryview]:
    """Replaces `fc2conv.sandbox.contained`, and contains nothing."""
    value, blob = work(*arguments)
    return value, memoryview(blob)
