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


def test_a_later_pass_infers_few_nodes_again(monkeypatch: pytest.MonkeyPatch) -> None:
    passes: list[int] = []
    run_pass, infer = Inference._pass, Inference._inferred

    def counted_pass(self, *arguments):  # type: ignore[no-untyped-def]
        passes.append(0)
        return run_pass(self, *arguments)

    def counted(self, *arguments):  # type: ignore[no-untyped-def]
        passes[-1] += 1
        return infer(self, *arguments)

    monkeypatch.setattr(Inference, "_pass", counted_pass)
    monkeypatch.setattr(Inference, "_inferred", counted)
    short = 0
    for seed in range(40):
        passes.clear()
        _outcome(seed, Options())
        short += len(passes) > 1 and min(passes) < passes[0] / 2
    assert short > 3
