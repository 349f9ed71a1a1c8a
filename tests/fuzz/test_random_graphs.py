"""A fixed set of random graphs, converted in both scopes: none wrong, none invalid, none crashes.

`benchmarks/long_fuzz.py` runs more of them.
"""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import checker

from fc2conv import Options

from .builder import OPSETS
from .graphs import random_graph
from .judge import SCOPES, judge_seed, judge_whole
from .other import compared

SEEDS, CHUNK = range(200), 40


def test_generator_is_deterministic() -> None:
    for seed in SEEDS[:20]:
        assert random_graph(seed).model.SerializeToString() == random_graph(seed).model.SerializeToString()


@pytest.mark.parametrize("chunk", range(0, len(SEEDS), CHUNK))
def test_converted_random_graphs_are_right(chunk: int) -> None:
    faults, converted, opsets = dict[tuple[int, str], str](), dict.fromkeys(SCOPES, 0), set()
    for seed in SEEDS[chunk : chunk + CHUNK]:
        graph = random_graph(seed)
        checker.check_model(graph.model, full_check=True)
        opsets.add(graph.opset)
        for scope in SCOPES:
            verdict = judge_whole(graph, Options(scope=scope, verify=False))  # it runs the original as well
            converted[scope] += verdict.converted
            if verdict.fault:
                faults[seed, scope] = verdict.fault
    first = onnx.printer.to_text(random_graph(min(faults)[0]).model) if faults else ""
    assert not faults, f"{faults}\n{first[:4000]}"
    assert converted["spatial"] >= CHUNK / 2
    assert converted["all"] >= CHUNK
    assert len(opsets) > len(OPSETS) / 2


@pytest.mark.parametrize("scope", SCOPES)
def test_no_right_conversion_is_refused(scope: str) -> None:
    verdicts = {seed: judge_seed(seed, scope, verify=True) for seed in SEEDS[:20]}
    assert not {seed: verdict.fault for seed, verdict in verdicts.items() if verdict.fault}


@pytest.mark.parametrize("scope", SCOPES)
def test_no_options_make_a_model_wrong(scope: str) -> None:
    verdicts = {seed: judge_seed(seed, scope, verify=True, optioned=True) for seed in SEEDS[20:40]}
    assert not {seed: verdict.fault for seed, verdict in verdicts.items() if verdict.fault}


def test_no_model_that_computes_nearly_the_same_is_accepted() -> None:
    pairs = [compared(random_graph(seed), np.random.default_rng([seed, 1])) for seed in SEEDS[:60]]
    there = [pair for pair in pairs if pair is not None]
    assert sum(pair.parts for pair in there) >= 10
    assert not [pair.fault for pair in there if pair.fault]
