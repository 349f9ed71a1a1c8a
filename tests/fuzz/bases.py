"""The models that are damaged: the smaller fixtures, every golden case, some random graphs, and those of a folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import onnx
from golden.case import CASES

from .graphs import random_graph
from .mutants import Base

FIXTURES = Path(__file__).parents[2] / "fixtures"
SMALL = 20_000
RANDOM_GRAPHS = 150


def bases(folder: Path | None = None) -> Sequence[Base]:
    """The models to damage, always in the same order; with a folder only the models that are in it."""
    if folder is not None:
        return [_stored(path) for path in sorted(folder.rglob("*.onnx"))]
    fixtures = [_stored(path) for path in sorted(FIXTURES.glob("*.onnx")) if path.stat().st_size <= SMALL]
    cases = [Base(case.name, case.model(), case.runs[0]) for case in CASES]
    graphs = [random_graph(seed) for seed in range(RANDOM_GRAPHS)]
    return [*fixtures, *cases, *(Base(f"random_{i}", each.model, {"N": each.batch}) for i, each in enumerate(graphs))]


def _stored(path: Path) -> Base:
    return Base(path.stem, onnx.load(path), {})
