"""A fixed set of random graphs, converted in both scopes: none wrong, none invalid, none crashes.

`benchmarks/long_fuzz.py` runs more of them.
"""

from __future__ import annotations

import onnx
import pytest
from execute import feeds, run
from onnx import checker

from .builder import OPSETS
from .graphs import random_graph
from .judge import SCOPES, judge_seed

SEEDS = range(600)


def test_generator_makes_valid_graphs_that_run() -> None:
    for seed in SEEDS:
        graph = random_graph(seed)
        checker.check_model(graph.model, full_check=True)
        assert run(graph.model, feeds(graph.model, {"N": graph.batch}))


def test_generator_is_deterministic() -> None:
    for seed in SEEDS[:20]:
        assert random_graph(seed).model.SerializeToString() == random_graph(seed).model.SerializeToString()


@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize("chunk", range(0, len(SEEDS), 60))
def test_converted_random_graphs_are_right(chunk: int, scope: str) -> None:
    verdicts = {seed: judge_seed(seed, scope) for seed in SEEDS[chunk : chunk + 60]}
    faults = {seed: verdict.fault for seed, verdict in verdicts.items() if verdict.fault}
    first = onnx.printer.to_text(random_graph(min(faults)).model) if faults else ""
    assert not faults, f"seeds {faults}\n{first[:4000]}"
    assert sum(verdict.converted for verdict in verdicts.values()) >= (30 if scope == "spatial" else 60)


@pytest.mark.parametrize("scope", SCOPES)
def test_no_right_conversion_is_refused(scope: str) -> None:
    verdicts = {seed: judge_seed(seed, scope, verify=True) for seed in SEEDS[:40]}
    assert not {seed: verdict.fault for seed, verdict in verdicts.items() if verdict.fault}


def test_generator_writes_every_opset() -> None:
    assert {random_graph(seed).opset for seed in SEEDS} == set(OPSETS)
