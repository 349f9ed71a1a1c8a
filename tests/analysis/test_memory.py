"""What passes keep of nodes changes no result, and a later pass infers few nodes again."""

from __future__ import annotations

import pytest
from fuzz.graphs import random_graph
from inferring import drawn

from fc2conv import Options
from fc2conv.analysis import Inference
from fc2conv.analysis.memory import Memory
from fc2conv.io.reader import model_file_from_proto
from fc2conv.rewrite.scopes import rewrite_scopes


def _outcome(seed: int, options: Options) -> tuple[list[object], bytes]:
    """The layouts and decisions of all scopes, and the converted model."""
    plans, made = rewrite_scopes(model_file_from_proto(random_graph(seed).model), options)
    seen = [
        [(name, drawn(view.dims), drawn(view.spatial_form), view.provenance) for name, view in plan.facts.views.items()]
        + [(str(each.index), str(each.reason)) for each in plan.decisions]
        for plan in plans
    ]
    return [*seen], b"" if made is None else made.model.SerializeToString(deterministic=True)


@pytest.mark.parametrize("scope", ["spatial", "all"])
def test_what_is_kept_changes_no_result(scope: str, monkeypatch: pytest.MonkeyPatch) -> None:
    options = Options(scope=scope)  # type: ignore[arg-type]
    kept = [_outcome(seed, options) for seed in range(40)]
    assert any(model for _, model in kept)
    monkeypatch.setattr(Memory, "recall", lambda *_: None)
    assert [_outcome(seed, options) for seed in range(40)] == kept


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> list[tuple[bool, int]]:
    """Of each pass, whether spatial forms were wanted of everything, and how many nodes were inferred."""
    seen: list[tuple[bool, int]] = []
    run_pass, infer = Inference._pass, Inference._inferred

    def counted_pass(self, ctx, requested, wanted):  # type: ignore[no-untyped-def]
        seen.append((wanted.everything, 0))
        return run_pass(self, ctx, requested, wanted)

    def counted(self, *arguments):  # type: ignore[no-untyped-def]
        seen[-1] = (seen[-1][0], seen[-1][1] + 1)
        return infer(self, *arguments)

    monkeypatch.setattr(Inference, "_pass", counted_pass)
    monkeypatch.setattr(Inference, "_inferred", counted)
    return seen


def test_a_later_pass_infers_few_nodes_again(passes: list[tuple[bool, int]]) -> None:
    short = 0
    for seed in range(40):
        passes.clear()
        _outcome(seed, Options())
        short += len(passes) > 1 and min(count for _, count in passes) < passes[0][1] / 2
    assert short > 3


def test_the_plan_in_the_other_scope_infers_few_nodes_again(passes: list[tuple[bool, int]]) -> None:
    first, again = [], []
    for seed in range(120):
        passes.clear()
        _outcome(seed, Options())
        wide = [count for everything, count in passes if everything]
        first += [passes[0][1]] if wide else []
        again += wide[:1]
    assert len(again) > 3
    assert sum(again) < sum(first) / 2
