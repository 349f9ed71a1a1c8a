"""What is exported: an architecture with random weights, and example inputs at a batch of 2."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

BATCH = 2


@dataclass(frozen=True)
class Architecture:
    """A model to export: `make` gives the module and its example inputs by name, when it is called."""

    family: str
    name: str
    make: Callable[[], tuple[Any, dict[str, Any]]]
    open_batch: bool = True

    def stem(self, exporter: str) -> str:
        """The name of its file by one exporter."""
        return f"{self.family}/{self.name}__{exporter}"
