"""Every golden case: run first, compare the text of what comes out second; `--update-golden` writes it."""

from __future__ import annotations

import pytest
from execute import difference, feeds, run
from onnx import checker, helper, printer

import fc2conv

from .case import CASES, Case, layout_nodes, output

PROBE = helper.make_graph([helper.make_node("Constant", [], ["y"], value_float=1.4142135)], "probe", [], [])
ALL_DIGITS = "1.4142135" in printer.to_text(PROBE)
"""Whether this onnx prints a float with all its digits, as the golden texts have it."""


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.path.parent.name}/{case.name}")
def test_golden(case: Case, request: pytest.FixtureRequest) -> None:
    model = case.model()
    checker.check_model(model, full_check=True)
    before = model.SerializeToString()
    conversion = fc2conv.convert(model, options=case.options)
    converted, report = conversion.model, conversion.report
    assert model.SerializeToString() == before, "the argument was changed"

    checker.check_model(converted, full_check=True)
    for sizes in case.runs:
        inputs = feeds(model, sizes)
        assert difference(run(model, inputs), run(converted, inputs)) <= case.tolerance

    verdict = fc2conv.verify(model, converted, case.options.verification).verdict
    assert verdict == case.header.get("verdict", ["proved"])[0]
    assert (report.layout_nodes.before, report.layout_nodes.after) == (layout_nodes(model), layout_nodes(converted))
    types = {node.name: node.op_type for node in converted.graph.node}
    for layer in report.converted:
        assert layer.scope or types[layer.node] == ("Add" if layer.parts else "Conv")

    again = fc2conv.convert(converted, options=case.options)
    assert again.report.outcome == "unchanged"
    assert again.model.SerializeToString() == converted.SerializeToString()

    found = output(report, converted, verdict)
    if request.config.getoption("update_golden"):
        case.path.write_text(case.given + found, "utf-8")
    elif ALL_DIGITS:
        assert found == case.expected


def test_names_are_unique() -> None:
    assert len({case.name for case in CASES}) == len(CASES)
