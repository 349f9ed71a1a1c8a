"""A batch that works in this process, for tests of what is around the pool."""

from __future__ import annotations

import pytest
from inprocess import here

from fc2conv import api
from fc2conv.batch import local
from fc2conv.batch.perform import InlineEngine


@pytest.fixture
def inline(monkeypatch: pytest.MonkeyPatch) -> None:
    """The command's local engine is the one without processes, which a test need not start; nothing is contained."""
    monkeypatch.setattr(local, "LocalEngine", lambda *_: InlineEngine())
    monkeypatch.setattr(api, "contained", here)
