"""A fixed set of damaged models: each is converted rightly or refused in one line, and none is more than that.

`benchmarks/mutate.py` runs more of them.
"""

from __future__ import annotations

from collections import Counter

import pytest

from .bases import bases
from .mutants import mutant
from .workers import results

CASES = 500
PROVED = 80
"""Cases that are verified, which takes longer, and as many that are made fully convolutional."""


def test_a_mutant_is_its_seeds_alone() -> None:
    models = bases()
    first = [mutant(seed, models) for seed in range(50)]
    assert [mutant(seed, models) for seed in range(50)] == first
    assert len({case.serialized for case in first}) > 45
    changed = next(case for case in first if case.changes)
    left_out = frozenset(int(change.partition(":")[0]) for change in changed.changes)
    assert not mutant(first.index(changed), models, left_out).changes


def test_damaged_models_are_converted_rightly_or_refused() -> None:
    found = list(results(0, CASES))
    assert [result.seed for result in found] == list(range(CASES))
    assert [result for result in found if result.trial.finding] == []
    codes = Counter(result.trial.code for result in found)
    compared = Counter(result.trial.compared for result in found)
    assert codes[0] > CASES / 5
    assert codes[3] > CASES / 5
    assert compared["onnxruntime"] > CASES / 10


@pytest.mark.parametrize("way", ["verified", "sliding"])
def test_no_verification_is_at_a_loss_or_fails_without_cause(way: str) -> None:
    found = list(results(10_000, 10_000 + PROVED, way=way))
    assert [result for result in found if result.trial.finding] == []
    codes = Counter(result.trial.code for result in found)
    assert codes[0] > PROVED / 20
    assert codes[3] > PROVED / 5
