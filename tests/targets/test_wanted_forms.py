"""Forms that a target wants: convolutions of rank 4, layers that stay as they are, and what it has no form for."""

from __future__ import annotations

from pathlib import Path

import pytest
from limited import CELLS, MAP, converted, kernels, written
from textmodel import parse

import fc2conv
from fc2conv import Options


def test_a_convolution_over_a_volume_is_named_where_rank_4_is_asked_for() -> None:
    text = """graph (float[N,2,4,6,6] x) => (float[N,9] y) <float[3,2,3,3,3] k, float[96,9] w>
    { [volume] c = Conv (x, k)  r = Relu (c)  f = Flatten (r)  [fc] y = Gemm (f, w) }"""
    model, report = converted(parse(text), Options(conv_rank="2d"))
    assert sorted(map(len, kernels(model))) == [4, 5]
    assert report.target is not None
    (finding,) = report.target.findings
    assert (finding.code, finding.node, finding.layer) == ("FC603", "volume", False)
    assert "rank 5" in finding.detail
    assert "--conv-rank 2d" in finding.detail
    assert "two-dimensional" in finding.remedy


def test_a_convolution_that_is_not_lifted_is_named_and_asks_for_nothing_that_was_tried() -> None:
    text = """graph (float[N,6,11] x, float[6,6,3] k) => (float[N,9] y) <float[54,9] w>
    { [row] c = Conv (x, k)  f = Flatten (c)  [fc] y = Gemm (f, w) }"""
    for options in (Options(conv_rank="2d"), Options(target="dla", static=1)):
        report = fc2conv.plan(parse(text), options=options)
        assert report.target is not None
        (finding,) = report.target.findings
        assert (finding.code, finding.node, finding.layer) == ("FC603", "row", False)
        assert "--conv-rank" not in finding.remedy


def test_a_network_of_one_dimension_has_nothing_to_name() -> None:
    text = """graph (float[N,6,11] x) => (float[N,9] y) <float[6,6,3] k, float[54,9] w>
    { c = Conv (x, k)  f = Flatten (c)  [fc] y = Gemm (f, w) }"""
    model, report = converted(parse(text), Options(conv_rank="2d"))
    assert set(map(len, kernels(model))) == {4}
    assert report.target is not None
    assert not report.target.findings


@pytest.mark.parametrize(
    ("pool", "rank"),
    [
        ("LpPool <kernel_shape = [2]> (c)", 4),
        ("LpPool <kernel_shape = [2], p = 1> (c)", 3),
        ("GlobalLpPool <p = 1> (c)", 4),
        ("GlobalLpPool <p = 3> (c)", 3),
    ],
)
def test_a_pool_by_a_norm_is_lifted_where_a_proof_follows_it(pool: str, rank: int) -> None:
    cells = 1 if "Global" in pool else 8
    text = f"""graph (float[N,6,11] x) => (float[N,9] y) <float[6,6,3] k, float[{6 * cells},9] w>
    {{ c = Conv (x, k)  p = {pool}  f = Flatten (p)  [fc] y = Gemm (f, w) }}"""
    model, _ = converted(parse(text), Options(conv_rank="2d"))
    assert set(map(len, kernels(model))) == {4}
    assert ("Reshape" in [node.op_type for node in model.graph.node][1:]) == (rank == 3)


@pytest.mark.parametrize(("options", "decisions"), [
    (Options(target="ncnn"), ["keep", "convert"]),
    (Options(target="ncnn", layer_form="map"), ["convert", "convert"]),
    (Options(target="ncnn", layer_form="keep"), ["keep", "keep"]),
])  # fmt: skip
def test_a_target_may_want_vectors_as_they_are_and_tokens_as_convolutions(
    options: Options, decisions: list[str]
) -> None:
    found = []
    for text in (MAP, CELLS):
        model, report = converted(parse(text), options)
        (layer,) = report.layers
        found.append(layer.decision)
        if layer.decision == "keep":
            assert layer.reason is not None
            assert layer.reason.code == "FC607"
        assert ("Conv" in {node.op_type for node in model.graph.node}) == (layer.decision == "convert")
    assert found == decisions


@pytest.mark.parametrize(("most", "helps"), [(3, True), (2, False)])
def test_a_layer_that_is_kept_asks_for_another_form_only_where_there_is_one(
    most: int, helps: bool, tmp_path: Path
) -> None:
    path = written(tmp_path, f"height = [{{most = {most}}}]")
    (layer,) = fc2conv.plan(parse(CELLS), Options(target=path, layer_form="keep", scope="all")).sites
    assert layer.reason is not None
    assert (layer.reason.code, "--layer-form" in layer.reason.remedy) == ("FC607", helps)


INTEGERS = """graph (uint8[N,4,3,8] x, float[N,4,3,8] z) => (int32[N,7] y, float[N,7] f)
    <int8[96,7] w, float[96,7] v>
    { g = Flatten (x)  [whole] y = MatMulInteger (g, w)
      h = Flatten (z)  [float] f = MatMul (h, v) }"""


@pytest.mark.parametrize(("options", "decisions"), [
    (Options(target="onnxruntime-cpu"), {"whole": "keep", "float": "convert"}),
    (Options(target="onnxruntime-cpu", layer_form="map"), {"whole": "convert", "float": "convert"}),
    (Options(), {"whole": "convert", "float": "convert"}),
])  # fmt: skip
def test_a_target_may_want_some_operators_as_they_are(options: Options, decisions: dict[str, str]) -> None:
    model, report = converted(parse(INTEGERS), options)
    assert {layer.node: layer.decision for layer in report.layers} == decisions
    assert [layer.reason.code for layer in report.layers if layer.reason is not None] == [
        "FC607" for decision in decisions.values() if decision == "keep"
    ]
    assert ("MatMulInteger" in {node.op_type for node in model.graph.node}) == (decisions["whole"] == "keep")
