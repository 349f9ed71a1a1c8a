"""Scope `spatial` against scope `all`: the cost of the whole model decides, and `plan` says what the other gives."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from execute import difference, feeds, run
from onnx import ModelProto
from textmodel import parse

import fc2conv
from fc2conv import Options
from fc2conv.__main__ import main
from fc2conv.report.types import Report
from fc2conv.rewrite import model as rewriting

SERVES = """t = Transpose <perm = [0, 2, 3, 1]> (x)
[one] a = MatMul (t, w)
z = Transpose <perm = [0, 3, 1, 2]> (a)"""
"""Two layout nodes that go."""

COSTS = """f = Flatten (x)
[norm] n = Trilu (f)
[fc] y = Gemm (n, v)"""
"""Two layout nodes that come."""

SECOND = """h = Flatten (x)
[norm2] m = Trilu (h)
[fc2] q = Gemm (m, v)"""
"""Two more."""

TABLE = "[row] b = MatMul (r, u)"
"""A layer that reads no map."""


def model(*parts: str) -> ModelProto:
    outputs = {SERVES: "float[N,8,3,2] z", COSTS: "float[N,3] y", SECOND: "float[N,3] q", TABLE: "float[N,6] b"}
    inputs = "float[N,4,3,2] x" + (", float[N,5] r" if TABLE in parts else "")
    weights = "float[4,8] w, float[24,3] v, float[5,6] u"
    nodes = "\n".join(parts)
    return parse(
        f"graph ({inputs}) => ({', '.join(outputs[part] for part in parts)}) <{weights}> {{ {nodes} }}", opset=17
    )


def codes(report: Report) -> dict[str, str]:
    return {layer.node: layer.reason.code if layer.reason is not None else "" for layer in report.sites}


def test_what_adds_nodes_is_converted_where_the_whole_model_has_no_more() -> None:
    original = model(SERVES, COSTS)
    done = fc2conv.convert(original)
    assert codes(done.report) == {"one": "", "fc": ""}
    assert done.report.layout_nodes.after <= done.report.layout_nodes.before
    assert done.model is not None
    inputs = feeds(original, {"N": 2})
    for a, b in zip(run(original, inputs), run(done.model, inputs), strict=True):
        assert difference(a, b) < 1e-5
    again = fc2conv.plan(done.model)
    assert again.sites == []


@pytest.mark.parametrize("parts", [(COSTS,), (COSTS, TABLE), (SERVES, COSTS, SECOND)])
def test_it_is_kept_where_the_model_would_have_more(parts: Sequence[str]) -> None:
    done = fc2conv.convert(model(*parts))
    assert codes(done.report)["fc"] == "FC301"
    assert done.model is not None
    assert codes(fc2conv.plan(done.model))["fc"] == "FC301"  # the same on its own output


def test_a_layer_that_reads_no_map_is_no_part_of_it() -> None:
    assert codes(fc2conv.plan(model(SERVES, COSTS, TABLE))) == {"one": "", "fc": "", "row": "FC101"}


def test_a_budget_of_the_caller_counts_for_each_head() -> None:
    none = Options(max_added_transposes=0)
    assert codes(fc2conv.plan(model(SERVES, COSTS), none)) == {"one": "", "fc": "FC301"}


@pytest.mark.parametrize("parts", [(SERVES,), (COSTS,), (SERVES, COSTS), (COSTS, TABLE), (SERVES, COSTS, TABLE)])
@pytest.mark.parametrize("scope", ["spatial", "all"])
def test_the_other_scope_gives_what_is_said(scope: str, parts: Sequence[str]) -> None:
    given = fc2conv.plan(model(*parts), Options(scope=scope)).other_scope  # type: ignore[arg-type]
    assert given is not None
    assert given.scope != scope
    found = fc2conv.convert(model(*parts), options=Options(scope=given.scope)).report
    assert (given.converted, given.layers) == (len(found.converted), len(found.layers))
    assert given.layout_nodes == found.layout_nodes


def test_it_is_planned_only_where_it_may_differ(monkeypatch: pytest.MonkeyPatch) -> None:
    planned: list[str] = []

    def counted(file: object, options: Options) -> object:
        planned.append(options.scope)
        return rewrite_model(file, options)  # type: ignore[arg-type]

    rewrite_model = rewriting.rewrite_model
    monkeypatch.setattr(rewriting, "rewrite_model", counted)
    from fc2conv import pipeline as flow

    for scope in ("spatial", "all"):
        found = flow.plan(model(SERVES), Options(scope=scope)).other_scope  # type: ignore[arg-type]
        assert found is not None
        assert found.converted == 1
    assert planned == []
    flow.plan(model(TABLE), Options())
    assert planned == ["all"]


def test_check_ends_with_it(tmp_path: object, capsys: pytest.CaptureFixture[str]) -> None:
    import onnx

    paths = []
    for name, parts in {"a": (SERVES,), "b": (COSTS, TABLE)}.items():
        paths.append(f"{tmp_path}/{name}.onnx")
        onnx.save(model(*parts), paths[-1])
    main(["check", *paths, "-v"])
    printed = [line for line in capsys.readouterr().out.splitlines() if line.startswith("With --scope")]
    assert printed == ["With --scope all: the same", "With --scope all: 2 of 2 layers, layout nodes 1 -> 5"]
    main(["check", paths[1], "--scope", "all"])
    last = capsys.readouterr().out.splitlines()[-2]
    assert last == "With --scope spatial: 0 of 2 layers, layout nodes 1 -> 1"
