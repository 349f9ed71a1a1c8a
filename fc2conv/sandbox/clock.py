"""How long the stages of the work on a model take."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from fc2conv.sandbox import note

_DOING = {"load": "reading", "convert": "converting", "write": "writing", "verify": "verifying"}


@dataclass
class Clock:
    """The seconds of each stage, of which the parent is notified."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Measures a stage by its name; one that comes again adds up."""
        note(_DOING[name])
        start = time.perf_counter()
        yield
        self.seconds[name] = round(self.seconds.get(name, 0.0) + time.perf_counter() - start, 4)
