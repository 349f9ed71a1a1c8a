"""The text report: what it says, and that it fits wherever it is read."""

from __future__ import annotations

import io

import msgspec
import pytest

from fc2conv.io.escape import one_line
from fc2conv.report.render import rendered
from fc2conv.report.terminal import Look
from fc2conv.report.text import headline, report_text, to_text
from fc2conv.report.types import Comparison, Counts, OutputDifference, Report, Verdict, Verification

WIDE = 80


def test_headline_names_files_layers_and_proof(converted: Report, planned: Report, idle: Report) -> None:
    assert headline(converted) == "vgg16.onnx -> out.onnx: 3 of 4 fully connected layers converted, proved"
    assert headline(planned) == "vgg16.onnx: 3 of 4 fully connected layers can be converted"
    assert headline(idle) == "resnet.onnx: no fully connected layers"


def test_headline_of_an_unchanged_model(converted: Report) -> None:
    kept = converted.sites[3:]
    unchanged = msgspec.structs.replace(converted, outcome="unchanged", sites=kept, verification=None)
    assert (
        headline(unchanged) == "vgg16.onnx -> out.onnx: 0 of 1 fully connected layer converted, the model is unchanged"
    )
    none = msgspec.structs.replace(unchanged, sites=[])
    assert headline(none) == "vgg16.onnx -> out.onnx: no fully connected layers"


@pytest.mark.parametrize("verdict", ["skipped", None])
def test_headline_never_claims_a_proof_that_did_not_run(converted: Report, verdict: str | None) -> None:
    verification = Verification(verdict=Verdict.SKIPPED) if verdict else None
    assert headline(msgspec.structs.replace(converted, verification=verification)).endswith("converted, not verified")


def test_every_layer_has_its_row(converted: Report) -> None:
    rows = [" ".join(line.split()) for line in report_text(converted, Look()).splitlines()]
    assert "fc6 Gemm 4096x25088 -> 4096x512x7x7 7x7 convert" in rows
    assert "fc8 Gemm 1000x4096 -> 1000x4096x1x1 1x1 convert" in rows
    assert "Layout nodes: 3 -> 1" in rows


def test_a_kept_layer_has_its_code_its_culprit_and_its_detail(converted: Report) -> None:
    layer = converted.sites[3]
    assert layer.reason is not None
    detailed = msgspec.structs.replace(layer, reason=msgspec.structs.replace(layer.reason, detail="[N,?,768]"))
    text = _flat(report_text(msgspec.structs.replace(converted, sites=[detailed]), Look()))
    assert "aux/MatMul MatMul 768x1000 keep, FC102 at aux/LayerNormalization: [N,?,768]" in text


def test_a_reason_is_printed_once_however_many_layers_have_it(converted: Report) -> None:
    many = msgspec.structs.replace(converted, sites=[converted.sites[3]] * 5)
    text = _flat(report_text(many, Look()))
    assert text.count("FC102 The layout of the feature map") == 1
    assert text.count("Use --scope all to convert it") == 1


def test_checks_take_one_line_and_details_when_verbose(converted: Report) -> None:
    short, long = (report_text(converted, Look(verbose=verbose)) for verbose in (False, True))
    assert "structure" in short
    assert "error below 2^-62" in short
    assert "outside the heads" not in short
    assert "outside the heads" in long
    assert "logits" in long
    assert "Peak memory  64.0 MiB" in long
    assert "load 0.012 s, verify 1.500 s" in long


LONG = "/backbone/stages.3/blocks.11/mlp/and/many/more/words/than/a/terminal/has/columns/fc1/MatMul_quantized"


@pytest.mark.parametrize("verbose", [False, True])
@pytest.mark.parametrize("node", ["fc", LONG, "層" * 60])
def test_names_are_whole_in_a_pipe_and_cut_in_the_middle_on_a_terminal(
    converted: Report, node: str, verbose: bool
) -> None:
    layers = [msgspec.structs.replace(layer, node=node) for layer in converted.sites]
    report = msgspec.structs.replace(converted, sites=layers)
    rows = [line for line in report_text(report, Look(verbose=verbose)).splitlines() if f"{node} " in line]
    assert len(rows) == len(layers)
    shown = report_text(report, Look(width=WIDE, verbose=verbose, lines=True)).splitlines()
    assert all(_columns(line) <= WIDE for line in shown)
    assert all(line == line.rstrip() for line in shown)
    cut = [line for line in shown if line.startswith(node[:2])]
    assert len(cut) == len(layers)
    assert all(node == "fc" or ("..." in line and node[-2:] in line) for line in cut)


def test_a_pipe_gets_plain_ascii(converted: Report, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("FORCE_COLOR", "CLICOLOR_FORCE", "TTY_COMPATIBLE"):
        monkeypatch.setenv(name, "1")
    monkeypatch.setenv("COLUMNS", "40")
    text = report_text(converted, Look.of(io.StringIO(), verbose=True))
    assert text.isascii()
    assert "\x1b" not in text
    assert any(len(line) > WIDE for line in text.splitlines())


@pytest.mark.parametrize("node", ["fc", "層 \x1b[1m", LONG])
def test_a_pipe_and_a_terminal_that_is_wide_enough_show_the_same(converted: Report, node: str) -> None:
    layers = [msgspec.structs.replace(layer, node=layer.node + node) for layer in converted.sites]
    report = msgspec.structs.replace(converted, sites=layers)
    for more in (False, True):
        pipe, wide = (Look(width, verbose=more, diff=more) for width in (None, 10_000))
        assert report_text(report, pipe) == report_text(report, wide)


class Terminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


def test_where_names_are_cut_no_head_is_folded(converted: Report) -> None:
    names = "/a/name/as/exporters/write/it/of/a/module/in/a/module/"
    sites = [msgspec.structs.replace(site, node=names + site.node) for site in converted.converted]
    shown = report_text(msgspec.structs.replace(converted, sites=sites), Look(width=80, lines=True)).splitlines()
    assert shown[2].split() == ["node", "op", "weight", "kernel", "decision"]
    assert all("..." in line for line in shown[4 : 4 + len(sites)])
    assert all(len(line) <= 80 for line in shown[1:])


@pytest.mark.parametrize("columns", [50, 200])
def test_a_terminal_has_the_width_that_columns_says(
    converted: Report, monkeypatch: pytest.MonkeyPatch, columns: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    layers = [msgspec.structs.replace(layer, node=LONG) for layer in converted.sites]
    report = msgspec.structs.replace(converted, sites=layers)
    monkeypatch.setenv("NO_COLOR", "1")
    _, *rows = report_text(report, Look.of(Terminal())).splitlines()
    assert all(_columns(line) <= columns for line in rows)
    assert any(LONG in line for line in rows) == (columns == 200)
    assert LONG in report_text(report, Look.of(Terminal(), wide=True))


def test_a_summary_has_the_operators_and_no_layers(converted: Report) -> None:
    counts = {"Conv": Counts(before=13, after=16), "Gemm": Counts(before=3, after=0), "Relu": Counts(before=5, after=5)}
    text = report_text(msgspec.structs.replace(converted, operators=counts), Look(summary=True))
    assert "fc6" not in text
    assert "Verification" not in text
    assert [line.split() for line in text.splitlines() if line[:4] in ("Conv", "Gemm", "Relu")] == [
        ["Conv", "13", "16"],
        ["Gemm", "3", "0"],
        ["Convolutions", "only:", "no.", "Left:", "1", "MatMul", "(FC102)"],
    ]


def test_the_last_line_says_whether_only_convolutions_are_left(converted: Report, planned: Report) -> None:
    def closing(report: Report, **operators: int) -> str:
        counts = {name: Counts(before=count, after=count) for name, count in operators.items()}
        return report_text(msgspec.structs.replace(report, operators=counts), Look()).splitlines()[-1]

    done = msgspec.structs.replace(converted, sites=converted.sites[:3])
    assert closing(done, Conv=3, Relu=2) == "Convolutions only: yes"
    assert closing(done, LSTM=2) == "Convolutions only: no. Left: 2 LSTM"
    assert closing(planned, MatMul=3) == "Convolutions only: no. Would be left: 1 MatMul (FC102), 2 MatMul"
    for outcome in ("differs", "inconclusive"):
        assert "Convolutions only" not in closing(msgspec.structs.replace(done, outcome=outcome))


def test_external_data_is_named(converted: Report) -> None:
    assert converted.output is not None
    output = msgspec.structs.replace(converted.output, data=["out-1a2b3c4d.data"])
    text = report_text(msgspec.structs.replace(converted, output=output), Look())
    assert "External data: out-1a2b3c4d.data\n" in text


@pytest.mark.parametrize(("variable", "value"), [("NO_COLOR", "1"), ("TERM", "dumb")])
def test_a_terminal_has_colour_unless_it_is_switched_off(
    converted: Report, monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert "\x1b[" in report_text(converted, Look.of(Terminal()))
    monkeypatch.setenv(variable, value)
    assert "\x1b[" not in report_text(converted, Look.of(Terminal()))


def test_names_are_data_and_not_markup_or_escape_sequences(converted: Report) -> None:
    names = ["[bold red]x[/]", "\x1b[2J\x07wipe", ":smile:", "a\nfc2conv: error: no", "\u202eevil", "\udcff"]
    layers = [msgspec.structs.replace(converted.sites[0], node=name) for name in names]
    text = report_text(msgspec.structs.replace(converted, sites=layers), Look())
    for shown in ("[bold red]x[/]", "\\x1b[2J\\x07wipe", ":smile:", "a\\nfc2conv: error: no", "\\u202eevil", "\\udcff"):
        assert shown in text
    assert all(char.isprintable() or char == "\n" for char in text)


def test_one_line_leaves_what_prints() -> None:
    assert one_line("größe/層:0 \\ 'x'") == "größe/層:0 \\ 'x'"
    assert one_line("a\r\n\tb\x9b\u2028\u200b") == "a\\r\\n\\tb\\x9b\\u2028\\u200b"


def test_comparison_says_who_differs_and_by_how_much() -> None:
    output = OutputDifference(
        output="logits", max_abs_difference=None, max_abs_reference=2.0, bound=1e-3, verdict=Verdict.DIFFERS
    )
    verification = Verification(verdict=Verdict.DIFFERS, outputs=[output])
    text = _flat(to_text(Comparison(a="a.onnx", b="b.onnx", verification=verification), Look()))
    assert text.startswith("a.onnx, b.onnx: the two models differ")
    assert "logits unknown 0.001 2 differs" in text


def test_notes_and_what_the_original_makes_of_one_ulp_are_shown() -> None:
    output = OutputDifference(
        output="y", max_abs_difference=2e-3, max_abs_reference=1.0, bound=1e-4, verdict=Verdict.PROVED, input_ulp=7e-3
    )
    verification = Verification(verdict=Verdict.PROVED, outputs=[output], notes=["ir_version: 8 -> 9", "a\nb"])
    comparison = Comparison(a="a.onnx", b="b.onnx", verification=verification)
    text = _flat(to_text(comparison, Look()))
    assert "largest difference bound 1 ulp of inputs largest value y 0.002 0.0001 0.007 1 proved" in text
    assert text.endswith("no result depends on it: ir_version: 8 -> 9 a\\nb")
    for suffix in ("html", "md"):
        page = rendered(comparison, f"x.{suffix}").decode()
        assert "0.007" in page
        assert "ir_version: 8 " in page
    quiet = msgspec.structs.replace(output, input_ulp=None)
    plain = Comparison(a="a", b="b", verification=Verification(verdict=Verdict.PROVED, outputs=[quiet]))
    assert "ulp" not in to_text(plain, Look(verbose=True))
    assert b"ulp" not in rendered(plain, "x.md")


def _flat(text: str) -> str:
    return " ".join(text.split())


def _columns(line: str) -> int:
    from rich.cells import cell_len

    return cell_len(line)
