"""What a target takes: a reason for each limit, which names it, its value, the layer's value and the source."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import onnx
import pytest
from textmodel import parse

import fc2conv
from fc2conv import Options
from fc2conv.__main__ import main
from fc2conv.errors import ExitCode
from fc2conv.targets.legality import Geometry, reasons
from fc2conv.targets.profile import made, table

CONV = Geometry("c", "Conv", "conv", (3, 5), 16, 32, rank=4, spatial=(3, 5), type="float32")
LAYER = Geometry("f", "Gemm", "fc", inputs=240, outputs=32, rank=2, type="float32")
PRODUCT = Geometry("p", "MatMul", "product", rank=3)
SOURCE = '\n[sources.doc]\ntitle = "Manual"\nversion = "2"\ndate = "2026-11-28"\n'


@pytest.mark.parametrize(
    ("layer", "fact", "said"),
    [
        (CONV, "conv.kernel-height = [{most = 2}]", "FC601 kernel height 3, and mine takes at most 2"),
        (CONV, "conv.kernel-width = [{allowed = [1, 3]}]", "FC601 kernel width 5, and mine takes 1, 3"),
        (CONV, "conv.kernel-area = [{most = 9}]", "FC601 kernel area 15, and mine takes at most 9"),
        (
            replace(CONV, kernel=(3, 4)),
            "conv.kernel-width = [{odd = true}]",
            "FC601 kernel width 4, and mine takes odd",
        ),
        (CONV, "conv.kernels = [{sizes = [[1, 1], [3, 3]]}]", "FC601 kernel 3x5, and mine takes 1x1, 3x3"),
        (
            CONV,
            "conv.kernel-law = [{lanes = 10, most = 29}]",
            "FC601 weights of one output 30, and mine takes height * width * ceil(channels / 10) at most 29",
        ),
        (CONV, "conv.input-channels = [{most = 8}]", "FC602 input channels 16, and mine takes at most 8"),
        (CONV, "conv.output-channels = [{multiple = 5}]", "FC602 output channels 32, and mine takes a multiple of 5"),
        (CONV, "conv.rank = [{allowed = [3]}]", "FC603 rank 4, and mine takes 3"),
        (CONV, "conv.height = [{least = 4, most = 9}]", "FC603 map height 3, and mine takes 4 to 9"),
        (CONV, 'conv.types = [{names = ["int8"]}]', "FC604 type float32, and mine takes int8"),
        (replace(CONV, batch=4), "model.batch = [{allowed = [1]}]", "FC605 batch 4, and mine takes 1"),
        (replace(CONV, batch=None), "model.static = [{value = true}]", "FC605 batch open, and mine takes a number"),
        (CONV, 'model.lacks = [{names = ["Conv"]}]', "FC606 Conv: mine lacks it"),
        (LAYER, "fc.runs = [{value = false}]", "FC606 layers as they are Gemm, and mine takes no"),
        (LAYER, 'fc.operators = [{names = ["MatMul"]}]', "FC606 operator Gemm, and mine takes MatMul"),
        (LAYER, "fc.inputs = [{most = 100}]", "FC602 inputs 240, and mine takes at most 100"),
        (replace(LAYER, rank=3), "fc.rank = [{allowed = [2]}]", "FC603 rank 3, and mine takes 2"),
        (
            PRODUCT,
            "product.runs = [{value = false}]",
            "FC606 product of two computed values MatMul, and mine takes none",
        ),
    ],
)
def test_every_limit_has_its_reason(layer: Geometry, fact: str, said: str) -> None:
    text = f'title = "x"\n{fact.replace("}]", ", source = " + chr(34) + "doc" + chr(34) + "}]")}\n{SOURCE}'
    profile = made({"name": "mine", **table(text, "mine.toml")}, "mine.toml")
    (found,) = reasons(layer, profile)
    assert f"{found.code.value} {found.detail}" == f"{said} (Manual 2, 2026-11-28)"
    assert ("--max-kernel-area" in found.remedy) == ("kernel area" in said)
    others = [each for each in (CONV, LAYER, PRODUCT) if each.kind != layer.kind]
    assert not any(reasons(each, profile) for each in others)


@pytest.mark.parametrize("key", ["conv.input-channels", "model.batch"])
def test_a_fact_for_some_types_holds_for_these(key: str) -> None:
    text = f'title = "x"\n{key} = [{{least = 2, most = 8, source = "doc", types = ["int8"]}}]\n{SOURCE}'
    profile = made({"name": "mine", **table(text, "")}, "")
    assert not reasons(CONV, profile)
    assert reasons(replace(CONV, type="int8"), profile)


def test_a_kernel_and_a_map_of_one_dimension_have_a_width_alone() -> None:
    line = replace(CONV, kernel=(5,), spatial=(5,), rank=3)
    for fact in ("kernel-height", "height"):
        text = f'title = "x"\nconv.{fact} = [{{least = 4, source = "doc"}}]\n{SOURCE}'
        profile = made({"name": "mine", **table(text, "")}, "")
        assert reasons(CONV, profile)
        assert not reasons(line, profile)


TEXT = """graph (float[N,4,6,6] x) => (float[N,5] y) <float[144,5] w> { f = Flatten (x)  [fc] y = Gemm (f, w) }"""
ATTENTION = """graph (float[1,4,6,6] x) => (float[1,5] y) <float[144,5] w>
{ f = Flatten (x)  t = Transpose <perm = [1, 0]> (f)  p = MatMul (f, t)  [fc] m = Gemm (f, w)  y = Add (m, p) }"""


@pytest.mark.parametrize(
    ("text", "line", "code", "said"),
    [
        (TEXT, "--target dla", ExitCode.CHECK_FOUND, "dla does not take all layers: FC605 x1"),
        (TEXT, "--target dla --static", ExitCode.DONE, ""),
        (TEXT, "--target dla --static=2", ExitCode.DONE, ""),
        (TEXT, "--target ethos-u --static", ExitCode.DONE, ""),
        (TEXT, "--target k210 --static", ExitCode.DONE, ""),  # kept, and it runs there as it is
        (TEXT, "--target dla --fail-on nothing", ExitCode.DONE, ""),
        (TEXT, "--target ethos-u --static --fail-on FC607", ExitCode.CHECK_FOUND, "FC607 x1 (--fail-on FC607)"),
        (TEXT, "--target ethos-u --static --fail-on fc601", ExitCode.DONE, ""),
        (TEXT, "--target ethos-u --static --fail-on kept", ExitCode.CHECK_FOUND, "1 layer would be kept: FC607 x1"),
        (TEXT, "--target ethos-u --static --allow FC607", ExitCode.DONE, ""),
        (ATTENTION, "--target dla", ExitCode.CHECK_FOUND, "dla does not take all layers: FC606 x1"),
        (ATTENTION, "--target ethos-u", ExitCode.DONE, ""),
        (ATTENTION, "--fail-on FC201", ExitCode.CHECK_FOUND, "FC201 x1 (--fail-on FC201)"),
    ],
)
def test_check_is_a_gate(
    text: str, line: str, code: ExitCode, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "model.onnx"
    onnx.save(parse(text), path)
    assert main(["check", str(path), *line.split()]) == code
    assert said in capsys.readouterr().err


def test_a_layer_that_does_not_fit_is_kept_and_says_why() -> None:
    report = fc2conv.plan(parse(TEXT), Options(target="k210"))
    (layer,) = report.sites
    assert layer.reason is not None
    assert (layer.decision, layer.form, layer.reason.code) == ("keep", "keep", "FC601")
    assert layer.reason.detail == "kernel 6x6, and k210 takes 1x1, 3x3 (nncase, K210 target, 2026-11)"
    assert layer.reason.remedy.startswith("Allow other kernels with --max-kernel, ")
    (helped,) = fc2conv.plan(parse(TEXT), Options(target="k210", max_kernel=6)).sites
    assert helped.kernel_shape == [6, 6]


def test_what_helps_is_what_the_layer_was_kept_for() -> None:
    """A layer of tokens is kept by its scope, and the target does not run it: another scope helps."""
    text = "graph (float[1,7,4] x) => (float[1,7,5] y) <float[4,5] w> { [fc] y = MatMul (x, w) }"
    report = fc2conv.plan(parse(text), Options(target="dla"))
    assert report.target is not None
    (finding,) = report.target.findings
    assert finding.code == "FC603"
    assert "--scope all" in finding.remedy
    wide = fc2conv.plan(parse(text), Options(target="dla", scope="all")).target
    assert wide is not None
    assert wide.findings == []


def test_findings_of_what_was_there_before_do_not_count() -> None:
    text = """graph (float[1,4,60,6] x) => (float[1,5] y) <float[4,4,40,1] k, float[504,5] w>
    { c = Conv (x, k)  f = Flatten (c)  [fc] y = Gemm (f, w) }"""
    report = fc2conv.plan(parse(text), Options(target="dla"))
    assert report.target is not None
    assert [(each.code, each.layer) for each in report.target.findings] == [("FC601", False)]
    assert report.target.illegal == []


@pytest.mark.parametrize(("name", "found"), [("[own]", "own"), ("", "c")])
def test_a_convolution_that_is_lifted_was_there_before(name: str, found: str) -> None:
    text = f"""graph (float[1,4,30] x) => (float[1,5] y) <float[4,4,9] k, float[88,5] w>
    {{ {name} c = Conv (x, k)  f = Flatten (c)  [fc] y = Gemm (f, w) }}"""
    report = fc2conv.plan(parse(text), Options(target="tidl"))
    assert report.target is not None
    assert {(each.code, each.node, each.layer) for each in report.target.findings} >= {("FC601", found, False)}
    assert report.target.illegal == []


@pytest.mark.parametrize(("kernel", "codes"), [(5, []), (11, ["FC601"])])
def test_a_kernel_of_one_dimension_is_no_pair(kernel: int, codes: list[str]) -> None:
    """A target of 1x1 and 3x3 kernels that runs networks of one dimension as they are."""
    text = f"""graph (float[1,4,30] x) => (float[1,5] y) <float[4,4,{kernel}] k, float[{4 * (31 - kernel)},5] w>
    {{ c = Conv (x, k)  f = Flatten (c)  [fc] y = Gemm (f, w) }}"""
    report = fc2conv.plan(parse(text), Options(target="max78000"))
    assert [layer.decision for layer in report.sites] == ["convert"]
    assert report.target is not None
    assert [(each.code, each.layer) for each in report.target.findings] == [(code, False) for code in codes]


def test_the_reason_is_the_one_that_no_cut_helps_against() -> None:
    """A vector is no map of four cells and more, however few channels it is cut into."""
    text = "graph (float[1,9000] x) => (float[1,5] y) <float[9000,5] w> { [fc] y = Gemm (x, w) }"
    (layer,) = fc2conv.plan(parse(text), Options(target="k210", scope="all")).sites
    assert layer.reason is not None
    assert (layer.reason.code, "--max-channels" in layer.reason.remedy) == ("FC603", False)


def test_the_report_counts_operators_and_forms() -> None:
    text = """graph (float[N,4,3,3] x) => (float[N,6] y, float[N,3,3,4] z) <float[36,6] w, float[4,4] v>
    { f = Flatten (x)  [fc] y = Gemm (f, w)  t = Transpose <perm = [0, 2, 3, 1]> (x)  [cells] z = MatMul (t, v) }"""
    report = fc2conv.plan(parse(text))
    assert report.forms == {"map": 1, "tokens [N,C,H,W]": 1}
    counts = {name: (each.before, each.after) for name, each in report.operators.items()}
    assert counts["Conv"] == (0, 2)
    assert counts["Gemm"] == (1, 0)


def test_options_alone_are_limits_and_no_target() -> None:
    seen = fc2conv.plan(parse(TEXT), conv_rank="2d")
    assert "Limits of the options: all layers are within them" in str(seen)
