"""Every golden case: run first, compare decisions second."""

from __future__ import annotations

from dataclasses import replace

import pytest
from execute import difference, feeds, run
from onnx import checker

import fc2conv

from . import (
    cases_blocks,
    cases_bodies,
    cases_calls,
    cases_choices,
    cases_elementwise,
    cases_exporters,
    cases_forms,
    cases_fused,
    cases_gemm,
    cases_joins,
    cases_kept,
    cases_layout,
    cases_matmul,
    cases_networks,
    cases_parts,
    cases_reductions,
    cases_scopes,
    cases_softmax,
    cases_subgraphs,
    cases_weights,
)
from .case import ABSENT, Case, layout_nodes, meets

GROUPS = (
    cases_gemm,
    cases_matmul,
    cases_weights,
    cases_layout,
    cases_reductions,
    cases_softmax,
    cases_elementwise,
    cases_joins,
    cases_parts,
    cases_exporters,
    cases_kept,
    cases_scopes,
    cases_subgraphs,
    cases_forms,
    cases_blocks,
    cases_networks,
    cases_bodies,
    cases_fused,
    cases_calls,
    cases_choices,
)
CASES = [case for group in GROUPS for case in group.CASES]
each_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


def without_verification(case: Case) -> fc2conv.Options:
    """The case's options; these tests judge the result by themselves."""
    return replace(case.options, verify=False)


def test_names_are_unique() -> None:
    assert len({case.name for case in CASES}) == len(CASES)


@each_case
def test_case_itself_runs(case: Case) -> None:
    model = case.model()
    checker.check_model(model, full_check=True)
    for sizes in case.runs:
        assert run(model, feeds(model, sizes))


@each_case
def test_converted_model_is_equal_and_decided_as_expected(case: Case) -> None:
    model = case.model()
    before = model.SerializeToString()
    conversion = fc2conv.convert(model, options=without_verification(case))
    converted = conversion.model

    assert model.SerializeToString() == before, "the argument was changed"
    checker.check_model(converted, full_check=True)
    for sizes in case.runs:
        inputs = feeds(model, sizes)
        assert difference(run(model, inputs), run(converted, inputs)) <= case.tolerance

    sites = {site.node: site for site in conversion.report.sites}
    assert set(sites) <= set(case.expect)
    for node, expectation in case.expect.items():
        if node not in sites:
            assert isinstance(expectation, tuple), f"{node} is not reported"
            assert ABSENT in expectation, f"{node} is not reported"
            continue
        site = sites[node]
        code, blocked_by = (site.reason.code, site.reason.node) if site.reason else ("", "")
        decided = f"{node}: {site.decision} {site.kernel_shape} {code} at {blocked_by}"
        assert meets(expectation, site.decision, site.kernel_shape, code, blocked_by), decided
    for site in conversion.report.converted:
        op_types = {n.name: n.op_type for n in converted.graph.node}
        assert site.scope or op_types[site.node] == ("Add" if site.parts else "Conv")

    bound = layout_nodes(model) if case.layout is None else case.layout
    assert layout_nodes(converted) <= bound
    assert conversion.report.layout_nodes.before == layout_nodes(model)
    assert conversion.report.layout_nodes.after == layout_nodes(converted)


@each_case
def test_converting_twice_changes_nothing(case: Case) -> None:
    once = fc2conv.convert(case.model(), options=without_verification(case)).model
    again = fc2conv.convert(once, options=without_verification(case))
    assert again.report.outcome == "unchanged"
    assert again.model.SerializeToString() == once.SerializeToString()


NUMBERS_DECIDE = {"scan_over_maps_of_another_symbol", "scan_within_a_loop"}
"""Cases with a body whose state has a size that is not known: exact arithmetic does not follow it."""


@each_case
def test_verification_has_no_false_alarm(case: Case) -> None:
    model = case.model()
    converted = fc2conv.convert(model, options=without_verification(case)).model
    verdict = fc2conv.verify(model, converted, case.options.verification).verdict
    assert verdict == ("agrees" if case.name in NUMBERS_DECIDE else "proved")
