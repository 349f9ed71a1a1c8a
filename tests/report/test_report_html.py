"""The report as a page, read by a parser: what it shows, that names stay text, and how large it is."""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import dataclass, field
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import msgspec
import pytest
from pages import HOSTILE, batch, comparison, sliding

from fc2conv.io.escape import one_line
from fc2conv.report.html import render
from fc2conv.report.parts import Finding, ReasonReport, TargetReport
from fc2conv.report.render import rendered
from fc2conv.report.sliding import SlidingReport
from fc2conv.report.types import BatchReport, Document, Report

VOID = frozenset(["meta", "link", "br", "input"])


@dataclass
class Page(HTMLParser):
    """A parsed page: its elements with their attributes, all text, and the text of each cell of each table."""

    elements: list[tuple[str, dict[str, str | None]]] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    code: dict[str, str] = field(default_factory=dict)
    rows: list[list[str]] = field(default_factory=list)
    open_tags: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
        if tag not in VOID:
            self.open_tags.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open_tags.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open_tags and self.open_tags[-1] in ("style", "script"):
            self.code[self.open_tags[-1]] = data
        else:
            self.texts.append(data)
            if self.rows and {"td", "th"} & set(self.open_tags):
                self.rows[-1][-1] += data

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())

    def row(self, first: str) -> list[str]:
        """The cells of the row that begins with `first`, with one space between words."""
        clean = [[" ".join(cell.split()) for cell in row] for row in self.rows]
        return next(row for row in clean if row and row[0].startswith(first))

    def ids(self) -> list[str]:
        return [value for _, attributes in self.elements if (value := attributes.get("id"))]


def parsed(document: Document) -> Page:
    page = Page()
    page.feed(render(document).decode("utf-8"))
    page.close()
    assert not page.open_tags
    return page


@pytest.fixture(scope="module")
def many(vgg: Report, failed: Report, strange: Report) -> BatchReport:
    return batch([vgg, failed, strange], 45)


@pytest.fixture(scope="module")
def documents(vgg: Report, failed: Report, strange: Report, many: BatchReport) -> list[Document]:
    return [vgg, failed, strange, many, comparison("lenet", "lenet")]


def test_a_page_tells_what_the_report_does(vgg: Report) -> None:
    page = parsed(vgg)
    assert "3 of 3 fully connected layers converted, proved" in page.text
    assert page.row("fc6")[1:] == ["Gemm", "convert", "7 × 7", "64 × 784 →64 × 16 × 7 × 7", "–"]
    assert page.row("Layout nodes")[1:] == ["1", "1"]
    assert page.row("Nodes")[1:] == ["14", "14"]
    assert page.row("exact")[1] == "proved"
    assert page.row("logits")[1] == "proved"
    assert vgg.verification is not None
    (output,) = vgg.verification.outputs
    counts = [int(row[1].replace(",", "")) for row in page.rows if row[0] == "equal" or "e-" in row[0]]
    assert counts == [each.count for each in output.histogram]
    for version in vgg.versions.values():
        assert version in page.text
    assert all(each in page.text for each in vgg.input.sha256.values())


def test_drawings_mark_what_changed_and_link_it(vgg: Report) -> None:
    page = parsed(vgg)
    nodes = [str(attributes.get("class")).split() for tag, attributes in page.elements if tag == "svg"]
    changes = [classes[2] for classes in nodes if classes[0] == "node"]
    assert changes.count("removed") == changes.count("added") == 1
    assert changes.count("changed") == 6
    links = {str(attributes["href"]) for tag, attributes in page.elements if tag == "a"} - {"#content"}
    assert len(links) == 16
    assert {link[1:] for link in links} <= set(page.ids())
    assert "N × 784" in page.text
    assert "N × 64 × 1 × 1" in page.text


def test_a_kept_layer_tells_reason_remedy_and_culprit(planned: Report) -> None:
    row = parsed(planned).row("aux/MatMul")
    assert row[2] == "keep"
    assert planned.kept[0].reason is not None
    for said in ("FC102", planned.kept[0].reason.meaning, planned.kept[0].reason.remedy, "At aux/LayerNormalization"):
        assert said in row[5]


def test_a_failed_verification_leads_with_what_failed(failed: Report) -> None:
    page = parsed(failed)
    assert failed.outcome == "differs"
    assert failed.verification is not None
    check = next(check for check in failed.verification.checks if check.verdict == "differs")
    assert page.text.index("the result differs, nothing was written") < page.text.index(check.detail)
    assert page.text.index(check.detail) < page.text.index("Decisions")
    assert page.row("File size")[2] == "not written"
    assert page.row("numeric")[1] == "differs"
    assert "beyond the bound" in page.text


def test_a_comparison_is_a_page_as_well() -> None:
    page = parsed(comparison("lenet", "mini_vgg"))
    assert "The two models differ" in page.text
    assert page.row("seed")[1] == "7"


def test_a_batch_has_a_row_a_section_and_a_link_for_each_model(many: BatchReport) -> None:
    page = parsed(many)
    rows = [attributes for tag, attributes in page.elements if tag == "tr" and "data-model" in attributes]
    sections = [
        attributes["id"] for tag, attributes in page.elements if tag == "details" and "data-model" in attributes
    ]
    assert [row["data-model"] for row in rows] == sections == [f"m{i + 1}" for i in range(len(many.rows))]
    assert [row["data-outcome"] for row in rows] == [row.outcome for row in many.rows]
    assert {f"#{section}" for section in sections} <= {e.get("href") for tag, e in page.elements if tag == "a"}
    for outcome, count in many.counts.items():
        assert f"{outcome} {count}" in page.text


def test_a_large_batch_draws_no_heads(vgg: Report) -> None:
    few, many = batch([vgg], 12), batch([vgg], 80)
    assert "graph" in {attributes.get("class") for tag, attributes in parsed(few).elements if tag == "svg"}
    page = parsed(many)
    assert "graph" not in {attributes.get("class") for tag, attributes in page.elements if tag == "svg"}
    assert "too many heads" in page.text


def test_ids_are_unique(documents: list[Document]) -> None:
    for document in documents:
        ids = parsed(document).ids()
        assert len(ids) == len(set(ids))


def test_names_are_text_wherever_they_stand(documents: list[Document]) -> None:
    for document in documents:
        page = parsed(document)
        tags = {tag for tag, _ in page.elements}
        assert not tags & {"img", "iframe", "object", "embed", "base", "form", "foreignobject"}
        assert sum(tag == "script" for tag, _ in page.elements) == 1
        for tag, attributes in page.elements:
            assert not [name for name in attributes if name.startswith("on") or name == "style"], (tag, attributes)
            for name in ("href", "src", "xlink:href"):
                assert re.match(r"#|data:,$", attributes.get(name) or "#")


def test_hostile_names_are_shown_whole(strange: Report, many: BatchReport) -> None:
    """What does not print is escaped; what is long is clipped in its place, and there to be unfolded."""
    text = "".join(parsed(strange).texts)
    for layer in strange.sites:
        assert one_line(layer.node) in text
    index = "".join(parsed(many).texts)
    assert all(one_line(name) in index for name in HOSTILE)
    assert all(char.isprintable() or char == "\n" for char in render(strange).decode())


def test_the_policy_allows_what_the_page_holds_and_no_more(documents: list[Document]) -> None:
    for document in documents:
        page = parsed(document)
        policy = next(e["content"] for tag, e in page.elements if e.get("http-equiv") == "Content-Security-Policy")
        assert policy is not None
        assert policy.startswith("default-src 'none'; ")
        assert "unsafe" not in policy
        assert "http" not in policy
        for kind, code in page.code.items():
            digest = base64.b64encode(hashlib.sha256(code.encode()).digest()).decode()
            assert f"{kind}-src 'sha256-{digest}'" in policy
        assert not re.search(r"url\((?!#)|@import", page.code["style"])
        assert not re.search(r"innerHTML|fetch|import|XMLHttp|eval|document\.write", page.code["script"])


def test_headings_leave_out_no_level(documents: list[Document]) -> None:
    for document in documents:
        levels = [int(tag[1]) for tag, _ in parsed(document).elements if re.fullmatch(r"h[1-6]", tag)]
        assert levels[0] == 1
        assert levels.count(1) == 1
        assert all(after <= before + 1 for before, after in pairwise(levels))


def test_the_page_is_small(vgg: Report) -> None:
    """Of a head with three layers some 35 kB, of which 15 kB are the page's own style and script."""
    assert len(render(vgg)) < 60_000
    assert len(render(batch([vgg], 300, hostile=False))) < 2_000_000


def test_the_same_report_gives_the_same_bytes(documents: list[Document]) -> None:
    for document in documents:
        assert render(document) == render(document)


def test_the_suffix_chooses_the_page(vgg: Report) -> None:
    assert rendered(vgg, "REPORT.HTML").startswith(b"<!doctype html>")
    assert rendered(vgg, "report.json").startswith(b"{")


def test_a_report_without_anything_is_a_page(idle: Report, tmp_path: Path) -> None:
    (tmp_path / "idle.html").write_bytes(render(idle))
    page = parsed(idle)
    assert "no fully connected layers" in page.text
    assert "Every option has its default." in page.text
    assert parsed(msgspec.structs.replace(idle, options={"scope": "all"})).row("scope")[1] == "all"


def test_a_sliding_network_tells_its_maps() -> None:
    report = sliding()
    page = parsed(report)
    assert "image takes 17 × 17 and more; it was trained on 20 × 20." in page.text
    assert page.row("logits")[1:] == ["map", "N × 5 × logits_H × logits_W", "image 2", "4", "4", "-3", "23"]
    assert page.row("image 3")[1:] == ["4", "4", "-3", "23"]
    assert page.row("logits_max")[1:3] == ["max of logits", "N × 5"]
    assert page.row("Multiply-accumulates")[2] == "by the image"
    assert report.sliding is not None
    assert [f"{gap.max:.3g}" in page.text for gap in report.sliding.crops] == [True]


def test_a_network_that_does_not_slide_tells_why(idle: Report) -> None:
    reason = ReasonReport(code="FC506", meaning="No form.", remedy="Keep it.", node="pool")
    page = parsed(msgspec.structs.replace(idle, sliding=SlidingReport(obstacles=[reason])))
    assert "It cannot be made fully convolutional: FC506 No form. At pool Keep it." in page.text


def test_operators_the_target_of_each_layer_and_the_proof_of_each_output_are_shown(vgg: Report) -> None:
    def refusal(name: str) -> Finding:
        return Finding(code="FC601", meaning="m", remedy="r", node=name, op_type="Conv", names=[name])

    first, second, *_ = (layer.node for layer in vgg.converted)
    target = TargetReport(name="acme", findings=[refusal(f"{first}_part_1"), refusal(second)])
    page = render(msgspec.structs.replace(vgg, target=target)).decode()
    decisions = page.partition('<table class="decisions stacked">')[2].partition("</table>")[0]
    assert decisions.count("FC601</span>") == 2
    assert decisions.count("takes it</span>") == len(vgg.sites) - 2
    operators = page.partition('<table class="figures operators">')[2].partition("</table>")[0]
    assert "Gemm" in operators
    assert "Convolutions only: yes" in page
    outputs = page.partition('<table class="outputs">')[2].partition("</table>")[0]
    assert ">Proof</th>" in outputs
    assert outputs.count(">proved</span>") == 2 * len(vgg.verification.outputs if vgg.verification else ())
    assert "takes it" not in render(vgg).decode()
