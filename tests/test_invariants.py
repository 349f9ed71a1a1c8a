"""What holds for every view, of every graph: the tensor and its spatial form hold the same axes, each once."""

from __future__ import annotations

import pytest
from fuzz.graphs import random_graph
from golden.case import CASES, Case
from onnx import ModelProto

from fc2conv.io.reader import model_file_from_proto
from fc2conv.layout.axes import axes_of, refine
from fc2conv.layout.view import View
from fc2conv.options import Options
from fc2conv.rewrite.scopes import fit_model


def holds_each_axis_once(view: View) -> bool:
    if view.spatial_form is None:
        return True
    both = refine(view.dims, view.spatial_form)
    return both is not None and sorted(map(str, axes_of(both[0]))) == sorted(map(str, axes_of(both[1])))


def check(model: ModelProto, options: Options) -> None:
    for plan in fit_model(model_file_from_proto(model), options)[0]:
        for name, view in plan.facts.views.items():
            assert holds_each_axis_once(view), f"{name}: {view.dims} has the spatial form {view.spatial_form}"


@pytest.mark.parametrize("seed", range(50))
def test_random_graphs(seed: int) -> None:
    for scope in ("spatial", "all"):
        check(random_graph(seed).model, Options(scope=scope))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_golden_cases(case: Case) -> None:
    check(case.model(), case.options)
