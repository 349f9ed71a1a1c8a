"""A head before and after, node by node."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest

import fc2conv
from fc2conv.__main__ import main
from fc2conv.errors import ExitCode
from fc2conv.io.escape import one_line
from fc2conv.options import Options
from fc2conv.report.diff import lines, title
from fc2conv.report.parts import DrawnNode, Graph, HeadDrawing
from fc2conv.report.terminal import Look
from fc2conv.report.text import report_text
from fc2conv.report.types import HeadReport, Report


def planned(model: str | onnx.ModelProto) -> Report:
    return fc2conv.plan(model, Options(illustrate=True))


def lines_of(report: Report) -> list[str]:
    return [
        " ".join(filter(None, (line.mark.strip() or "=", line.op_type, line.name, line.detail, line.shape)))
        for head in report.heads
        if head.drawing is not None
        for line in lines(head.drawing)
    ]


def test_a_head_before_and_after(root: Path) -> None:
    report = planned(str(root / "fixtures" / "lenet.onnx"))
    assert lines_of(report) == [
        "= MaxPool pool2 Nx16x5x5",
        "- Flatten flatten Nx400",
        "- Gemm fc1 120x400 Nx120",
        "+ Conv fc1 120x16x5x5 Nx120x1x1",
        "- Relu relu3 Nx120",
        "+ Relu relu3 Nx120x1x1",
        "- Gemm fc2 84x120 Nx84",
        "+ Conv fc2 84x120x1x1 Nx84x1x1",
        "- Relu relu4 Nx84",
        "+ Relu relu4 Nx84x1x1",
        "- Gemm fc3 10x84 Nx10",
        "+ Conv fc3 10x84x1x1 Nx10x1x1",
        "- Softmax softmax Nx10",
        "+ Softmax softmax Nx10x1x1",
        "+ Flatten probabilities_flatten Nx10",
    ]
    assert [title(head) for head in report.heads] == ["@@ fc1 .. fc3: 1 -> 1 layout node @@"]


@pytest.mark.parametrize("name", ["tokens", "two_heads", "crnn", "keras_nhwc", "se_block", "mini_vgg"])
def test_the_marks_add_up_to_both_graphs(root: Path, name: str) -> None:
    """What is not added is the head before, what is not removed the head after, each in the order of its graph."""
    report = planned(str(root / "fixtures" / f"{name}.onnx"))
    for head in report.heads:
        assert head.drawing is not None
        found = list(lines(head.drawing))
        for graph, other in ((head.drawing.before, "+"), (head.drawing.after, "-")):
            nodes = [(node.op_type, node.name) for node in graph.nodes if node.kind == "node"]
            assert [(line.op_type, line.name) for line in found if line.mark != other] == nodes


def test_nodes_that_changed_places_are_listed_once() -> None:
    def graph(*nodes: tuple[str, str, int | None]) -> Graph:
        return Graph(
            nodes=[DrawnNode(name=n, op_type="X", change=c, counterpart=p) for n, c, p in nodes],  # type: ignore[arg-type]
            edges=[],
        )

    drawing = HeadDrawing(
        before=graph(("a", "same", 1), ("b", "same", 0), ("c", "changed", 2), ("d", "removed", None)),
        after=graph(("b", "same", 1), ("a", "same", 0), ("c", "changed", 2), ("e", "added", None)),
    )
    assert [line.mark + line.name for line in lines(drawing)] == [" b", " a", "-c", "+c", "-d", "+e"]


def test_it_fits_a_terminal_and_escapes_names(root: Path) -> None:
    model = onnx.load(root / "fixtures" / "lenet.onnx")
    for node in model.graph.node:
        node.name = f"\x1b[2J[red]{node.name}" * 30
    report = planned(model)
    text = report_text(report, Look(diff=True))
    assert "@@ \\x1b[2J[red]" in text
    assert f" {one_line(report.sites[0].node)} " in text
    assert all(len(line) <= 80 for line in report_text(report, Look(width=80, diff=True)).splitlines()[1:])
    assert "\x1b" not in text
    assert "@@" not in report_text(report, Look())


def test_colours_on_a_terminal(root: Path) -> None:
    text = report_text(planned(str(root / "fixtures" / "lenet.onnx")), Look(colour=True, diff=True))
    assert "\x1b[31m-\x1b[0m" in text
    assert "\x1b[32m+\x1b[0m" in text


def test_more_layers_than_are_drawn_are_counted(root: Path) -> None:
    report = planned(str(root / "fixtures" / "lenet.onnx"))
    (head,) = report.heads
    assert head.drawing is not None
    cut = HeadDrawing(before=head.drawing.before, after=head.drawing.after, sites_left_out=7)
    many = HeadReport(sites=head.sites, layout_before=1, layout_after=1, drawing=cut)
    import msgspec

    assert "  ... and 7 more layers of this head\n" in report_text(
        msgspec.structs.replace(report, heads=[many]), Look(diff=True)
    )


def test_the_command(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = str(root / "fixtures" / "lenet.onnx")
    assert main(["check", model, "--diff"]) == ExitCode.CHECK_FOUND
    assert "\n- Flatten flatten " in capsys.readouterr().out
    main(["check", model])
    assert "- Flatten" not in capsys.readouterr().out
