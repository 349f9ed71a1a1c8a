"""The Markdown report: rendered as its readers render it, whatever a model's names hold."""

from __future__ import annotations

from html.parser import HTMLParser

import msgspec
import pytest
from made import kept_layer
from markdown_it import MarkdownIt

from fc2conv.errors import UsageError
from fc2conv.io.escape import shortened
from fc2conv.reasons import Code
from fc2conv.report import markdown
from fc2conv.report.markdown import LIMIT, code, cut, render
from fc2conv.report.render import check, rendered
from fc2conv.report.types import (
    BatchReport,
    BatchRow,
    Comparison,
    Document,
    OutputDifference,
    Report,
    Verdict,
    Verification,
)

OURS = {"h3", "p", "table", "thead", "tbody", "tr", "th", "td", "code", "strong", "em", "details", "summary"}
HOSTILE = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "</details></table>",
    "<!-- ",
    "a|b\\|c",
    "``x` `y```",
    "\\`x\\`",
    "[x](javascript:alert(1)) ![y](https://example.org/z.png)",
    "&lt;b&gt; &amp;",
    "**a** __b__ ~~c~~ $x$ @user #1 :smile:",
    "www.example.org https://example.org",
    "| --- | --- |",
    "# h\n\n- item\r\n\x1b[2J\u202e\u2028\ud800",
    "\N{PILE OF POO}\N{ZERO WIDTH JOINER}層 'x' \"y\"",
    "n" * 10_000,
]


class Page(HTMLParser):
    """The elements of a page, their attributes, and the text of each cell and heading."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: set[str] = set()
        self.cells: list[str] = []
        self.open: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes |= {name for name, _ in attrs}
        self.open.append(tag)
        if tag in ("td", "h3"):
            self.cells.append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if {"td", "h3"} & set(self.open):
            self.cells[-1] += data


def page(data: bytes) -> Page:
    return Page(MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"]).render(data.decode()))


@pytest.fixture
def documents(converted: Report, planned: Report, idle: Report, passed: Verification) -> list[Document]:
    rows = [
        BatchRow(name="a/ok.onnx", outcome="converted", report=converted),
        BatchRow(name="b.onnx", outcome="crashed", message="SIGSEGV in onnxruntime"),
    ]
    return [
        converted,
        planned,
        idle,
        Comparison(a="a.onnx", b="b.onnx", verification=passed),
        BatchReport(source="zoo", destination="out", rows=rows),
    ]


def test_every_document_is_well_formed(documents: list[Document]) -> None:
    for document in documents:
        shown = page(render(document))
        assert set(shown.tags) <= OURS
        assert shown.open == []
        assert shown.tags[0] == "h3"


def test_what_a_reader_looks_for_is_there(converted: Report) -> None:
    cells = page(render(converted)).cells
    assert cells[0] == "vgg16.onnx -> out.onnx: 3 of 4 fully connected layers converted, proved"
    row = cells.index("fc6")
    assert cells[row : row + 5] == ["fc6", "Gemm", "4096x25088 → 4096x512x7x7", "7x7", "convert"]
    assert "keep, FC102 at aux/LayerNormalization" in cells
    assert Code.VIEW_LOST.remedy in cells
    assert "logits" in cells


def test_a_batch_tells_failures_first(documents: list[Document]) -> None:
    cells = page(render(documents[-1])).cells
    assert cells.index("b.onnx") < cells.index("a/ok.onnx")
    assert "SIGSEGV in onnxruntime" in cells
    assert "3 of 4" in cells
    assert "FC102 x1" in cells


@pytest.mark.parametrize("name", HOSTILE, ids=range(len(HOSTILE)))
def test_a_name_is_text_wherever_it_is(converted: Report, passed: Verification, name: str) -> None:
    layer = kept_layer(name, Code.VIEW_LOST, name + "!", name)
    layers = [msgspec.structs.replace(converted.sites[0], node=name, op_type=name), layer]
    output = OutputDifference(
        output=name, max_abs_difference=None, max_abs_reference=1.0, bound=0.1, verdict=Verdict.INCONCLUSIVE
    )
    verification = msgspec.structs.replace(passed, outputs=[output], notes=[name])
    files = msgspec.structs.replace(converted.input, path=name, sha256={name: "0" * 64})
    report = msgspec.structs.replace(converted, sites=layers, verification=verification, input=files)
    plain = page(render(converted))
    for document in (report, Comparison(a=name, b=name, verification=verification)):
        shown = page(render(document))
        assert set(shown.tags) <= OURS
        assert shown.attributes <= plain.attributes
        assert shown.open == []
        assert " ".join(shortened(name).split()) in [" ".join(cell.split()) for cell in shown.cells]
    assert max(map(len, render(report).splitlines())) < 4_000


def test_a_name_of_letters_stays_readable() -> None:
    assert code("/features.0/fc_1/MatMul:0") == "`/features.0/fc_1/MatMul:0`"
    assert code(" ") == ""


def test_what_is_too_long_is_cut_between_lines_and_says_so(converted: Report, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(markdown, "LIMIT", LIMIT // 16)
    many = msgspec.structs.replace(converted, sites=converted.sites * 250)
    data = render(many)
    assert markdown.LIMIT - 1_000 < len(data) <= markdown.LIMIT
    shown = page(data)
    assert shown.open == []
    assert shown.tags[-1] == "em"
    assert b"left out here" in data[-200:]
    assert b"left out here" not in render(converted)


@pytest.mark.parametrize("most", range(200, 700, 37))
def test_a_cut_closes_what_is_open(converted: Report, most: int) -> None:
    data = cut(render(converted).decode(), most)
    assert len(data) <= most
    assert page(data).open == []


def test_the_suffix_chooses_the_form(converted: Report) -> None:
    assert rendered(converted, "a/B.MD") == render(converted)
    assert rendered(converted, "report.json").startswith(b"{")
    check("x.md", "several")
    check("x.json", "several")
    for name in ("x.html", "x.csv"):
        with pytest.raises(UsageError, match="holds the report of one model"):
            check(name, "several")
