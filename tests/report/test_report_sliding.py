"""What each form of report says of a network that was made fully convolutional, or cannot be."""

from __future__ import annotations

import csv
from xml.etree import ElementTree

import msgspec
import pytest

from fc2conv.report.github import commands
from fc2conv.report.parts import ReasonReport
from fc2conv.report.render import rendered
from fc2conv.report.sliding import AxisGeometry, CropGap, SlidingInput, SlidingOutput, SlidingReport
from fc2conv.report.terminal import Look
from fc2conv.report.text import headline, report_text
from fc2conv.report.types import Report


@pytest.fixture
def freed() -> SlidingReport:
    rows = AxisGeometry(
        input="image",
        dim=2,
        size=28,
        minimum=26,
        step=1,
        remainders=[0],
        stride=4.0,
        period=8,
        offset=-3.0,
        field=34.0,
    )
    runs = SlidingInput(
        input="image", dims=[2, 3], sizes=[28, 30], minimum=[26, 28], step=[1, 2], remainders=[[0], [0]]
    )
    return SlidingReport(
        inputs=[runs],
        outputs=[
            SlidingOutput(
                output="y",
                of="y",
                kind="map",
                shape=["N", 5, "y_H", "y_W"],
                axes=[rows, msgspec.structs.replace(rows, dim=3, stride=2.0)],
                upsampled=True,
            ),
            SlidingOutput(output="y_mean", of="y", kind="mean", shape=["N", 5]),
        ],
        crops=[
            CropGap(output="y", size=[36, 34], max=0.25, mean=0.0625, reference=2.0, map=[[0.25, 0.125], [0.0, 0.5]])
        ],
    )


@pytest.fixture
def refused() -> SlidingReport:
    reason = ReasonReport(code="FC501", meaning="No form.", remedy="Cut it.", node="lstm", detail="LSTM")
    return SlidingReport(obstacles=[reason])


def replaced(report: Report, sliding: SlidingReport) -> Report:
    return msgspec.structs.replace(report, sliding=sliding)


def test_headline(
    converted: Report, planned: Report, idle: Report, freed: SlidingReport, refused: SlidingReport
) -> None:
    said = headline(replaced(converted, freed))
    assert said.endswith("3 of 4 fully connected layers converted, made fully convolutional, proved")
    assert headline(replaced(planned, freed)).endswith(" can be converted; it can be made fully convolutional")
    assert headline(replaced(planned, refused)).endswith(" can be converted; it cannot be made fully convolutional")
    alone = msgspec.structs.replace(idle, outcome="converted", sliding=freed, verification=converted.verification)
    assert headline(alone).endswith("no fully connected layers, made fully convolutional, proved")


def test_text(converted: Report, freed: SlidingReport) -> None:
    lines = [
        " ".join(line.split()) for line in report_text(replaced(converted, freed), Look(verbose=True)).splitlines()
    ]
    assert "y map, upsampled [N, 5, H, W] 4, 2 8 -3 34" in lines
    assert {"0.25 0.125", "0 0.5"} <= set(lines)


def test_markdown(converted: Report, planned: Report, freed: SlidingReport, refused: SlidingReport) -> None:
    page = rendered(replaced(converted, freed), "a.md").decode()
    assert "Fully convolutional: `image` of 26x28 and more, any x multiples of 2 (trained on 28x30)" in page
    assert "| `y` | map, upsampled | `N x 5 x y_H x y_W` | 4, 2 | 8 | -3 | 34 |" in page
    assert "| `y_mean` | mean of `y` | `N x 5` |" in page
    assert "| `y` | 36x34 | 0.25 | 0.0625 | 2 |" in page
    assert "| FC501 | `lstm` | No form. | Cut it. |" in rendered(replaced(planned, refused), "a.md").decode()


def test_the_page_has_the_gap_of_each_cell(converted: Report, freed: SlidingReport) -> None:
    page = rendered(replaced(converted, freed), "a.html").decode()
    assert '<tr><th scope="row">0</th><td class="number">0.25</td><td class="number">0.125</td></tr>' in page


def test_junit(planned: Report, refused: SlidingReport) -> None:
    suite = ElementTree.fromstring(rendered(replaced(planned, refused), "a.xml"))
    case = next(each for each in suite.iter("testcase") if each.get("classname") == "fc2conv.sliding")
    failure = case.find("failure")
    assert failure is not None
    assert (case.get("name"), failure.get("type"), failure.text) == ("lstm", "FC501", "LSTM")


def test_annotations(planned: Report, refused: SlidingReport) -> None:
    assert "title=fc2conv FC501::" in commands([replaced(planned, refused)])


@pytest.mark.parametrize("outcome", ["differs", "inconclusive", "converted"])
def test_csv_has_the_outcome(converted: Report, outcome: str) -> None:
    report = msgspec.structs.replace(converted, outcome=outcome, sites=[])
    (row,) = csv.DictReader(rendered(report, "a.csv").decode().splitlines())
    assert row["outcome"] == outcome
