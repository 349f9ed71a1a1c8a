"""JUnit XML and CSV: what a build server and a spreadsheet read, whatever the names hold."""

from __future__ import annotations

import csv
from xml.etree import ElementTree

import msgspec
import pytest

from fc2conv.errors import UsageError
from fc2conv.report.render import rendered
from fc2conv.report.types import BatchReport, BatchRow, Comparison, Report, Run, Verdict, Verification

HOSTILE = "=cmd|\x1b[2J\x00\n]]>&<\"'\udcff.onnx"


@pytest.fixture
def batch(converted: Report, idle: Report) -> BatchReport:
    """One row of every kind."""
    kept = msgspec.structs.replace(converted, outcome="unchanged", sites=[converted.sites[3]])
    rows = [
        BatchRow(name=HOSTILE, outcome="converted", report=converted, run=Run(seconds={"total": 1.5})),
        BatchRow(name="idle", outcome="unchanged", report=idle),
        BatchRow(name="kept", outcome="kept", report=kept),
        BatchRow(name="bad", outcome="invalid", exit_code=3, message="is <empty>\x07"),
        BatchRow(name="dead", outcome="crashed", exit_code=8, signal="SIGSEGV", stderr="a\x1b[2J\nb", message="died"),
    ]
    return BatchReport(source="zoo", destination="out", rows=rows, models=5)


def cases(data: bytes) -> dict[str, ElementTree.Element]:
    root = ElementTree.fromstring(data)
    (suite,) = root
    assert suite.get("tests") == str(len(suite)) == root.get("tests")
    return {str(case.get("name")): case for case in suite}


def test_a_case_a_model(batch: BatchReport) -> None:
    data = rendered(batch, "out.xml")
    found = cases(data)
    first, *rest = found
    assert first == "=cmd|\\x1b[2J\\x00\\n]]>&<\"'\\udcff.onnx"
    assert rest == ["idle", "kept", "bad", "dead"]
    assert found[first].get("time") == "1.500"
    assert [child.tag for case in found.values() for child in case] == ["skipped", "failure", "error"]
    skipped, failure, error = (child for case in found.values() for child in case)
    assert skipped.get("message") == "aux/MatMul: FC102 at aux/LayerNormalization"
    assert (failure.get("type"), failure.get("message")) == ("invalid", "is <empty>\\x07")
    assert (error.get("type"), error.text) == ("crashed", "a\\x1b[2J\nb")


def test_a_case_a_layer_and_a_check(converted: Report, passed: Verification) -> None:
    found = cases(rendered(converted, "out.xml"))
    assert list(found) == ["fc6", "fc7", "fc8", "aux/MatMul", "structure", "exact"]
    assert [name for name, case in found.items() if len(case)] == ["aux/MatMul"]
    checks = [
        msgspec.structs.replace(check, verdict=Verdict(verdict))
        for check, verdict in zip(passed.checks, ("skipped", "differs"), strict=True)
    ]
    other = Comparison(
        a="a", b="b", verification=msgspec.structs.replace(passed, verdict=Verdict.DIFFERS, checks=checks)
    )
    assert [case[0].tag for case in cases(rendered(other, "out.xml")).values()] == ["skipped", "failure"]


def test_a_line_a_model(batch: BatchReport, converted: Report) -> None:
    text = rendered(batch, "OUT.CSV").decode("utf-8")
    assert len(text.splitlines()) == 6
    first, *_, dead = csv.DictReader(text.splitlines())
    assert first["name"].startswith("'=cmd|\\x1b[2J\\x00\\n")
    found = [first[name] for name in ("outcome", "layers", "converted", "reasons", "layout_before", "verification")]
    assert found == ["converted", "4", "3", "FC102:1", "3", "proved"]
    assert (dead["signal"], dead["exit_code"], dead["message"]) == ("SIGSEGV", "8", "died")
    (alone,) = csv.DictReader(rendered(converted, "one.csv").decode("utf-8").splitlines())
    assert (alone["name"], alone["converted"]) == ("vgg16.onnx", "3")


def test_a_comparison_is_no_table(passed: Verification) -> None:
    with pytest.raises(UsageError, match="has no CSV"):
        rendered(Comparison(a="a", b="b", verification=passed), "x.csv")


def test_the_json_of_a_batch_is_as_if_made_at_once(batch: BatchReport) -> None:
    data = rendered(batch, "x.json")
    whole = msgspec.json.decode(data.replace(b"\\udcff", b""), type=BatchReport)
    assert [row.outcome for row in whole.rows] == [row.outcome for row in batch.rows]
    keys = [b'"destination":', b'"models":', b'"rows":[', b'"run":', b'"schema_version":', b'"source":', b'"versions":']
    places = [data.index(keys[0]), data.index(keys[1]), data.index(keys[2]), *(data.rindex(key) for key in keys[3:])]
    assert places == sorted(places)
