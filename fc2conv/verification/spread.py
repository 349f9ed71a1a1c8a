"""How the differences of an output spread: how many elements differ by how much."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from fc2conv.report.types import Bin

_PER_DECADE = 2


@dataclass
class Spread:
    """Counts of |d| over all runs: of zeros, and by half decades, `10 ** (key / 2) <= |d| < 10 ** ((key + 1) / 2)`."""

    equal: int = 0
    counts: Counter[int] = field(default_factory=Counter)

    def add(self, apart: NDArray[np.float64]) -> None:
        """Takes in one run of differences, which are finite and not negative."""
        some = apart[apart > 0]
        self.equal += apart.size - some.size
        keys, counts = np.unique(np.floor(np.log10(some) * _PER_DECADE).astype(np.int64), return_counts=True)
        for key, count in zip(keys.tolist(), counts.tolist(), strict=True):
            self.counts[key] += count

    def bins(self) -> list[Bin]:
        """From the smallest difference to the largest, empty bins between among them; first those that are equal."""
        bins = [Bin(low=0.0, high=0.0, count=self.equal)] if self.equal else []
        keys = range(min(self.counts), max(self.counts) + 1) if self.counts else range(0)
        return bins + [Bin(low=_edge(key), high=_edge(key + 1), count=self.counts[key]) for key in keys]


def _edge(key: int) -> float:
    return float(f"{10 ** (key / _PER_DECADE):.3g}")
