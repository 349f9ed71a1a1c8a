"""The JSON report: a contract, so every property that a reader may rely on is checked here."""

from __future__ import annotations

import json
import math
from importlib import resources

import msgspec

from fc2conv.report.json import render
from fc2conv.report.types import SCHEMA_VERSION, Comparison, OutputDifference, Report, Verdict, Verification


def test_one_line_of_ascii_with_sorted_keys(converted: Report) -> None:
    data = render(converted)
    assert data.isascii()
    assert data.endswith(b"}\n")
    assert data.count(b"\n") == 1
    assert data.decode() == json.dumps(json.loads(data), sort_keys=True, separators=(",", ":")) + "\n"
    assert data == render(converted)


def test_reads_back_as_the_same_report(converted: Report, idle: Report) -> None:
    for report in (converted, idle):
        assert msgspec.json.decode(render(report), type=Report) == report
    assert json.loads(render(converted))["schema_version"] == SCHEMA_VERSION


def test_numbers_that_json_lacks_are_null() -> None:
    output = OutputDifference(
        output="y", max_abs_difference=math.nan, max_abs_reference=math.inf, bound=0.5, verdict=Verdict.DIFFERS
    )
    comparison = Comparison(a="a", b="b", verification=Verification(verdict=Verdict.DIFFERS, outputs=[output]))
    (report,) = json.loads(render(comparison))["verification"]["outputs"]
    assert (report["max_abs_difference"], report["max_abs_reference"], report["bound"]) == (None, None, 0.5)
    msgspec.json.decode(render(comparison), type=Comparison)


def test_names_that_are_no_text_still_give_json(converted: Report) -> None:
    layer = msgspec.structs.replace(converted.sites[0], node="\x1b[2J\n\udcff")
    data = render(msgspec.structs.replace(converted, sites=[layer]))
    assert json.loads(data)["sites"][0]["node"] == "\x1b[2J\n\udcff"
    assert b"\x1b" not in data


def test_only_run_may_differ_between_two_runs(converted: Report) -> None:
    report = json.loads(render(converted))
    report.pop("run")
    assert not [key for key in _keys(report) if "time" in key or "second" in key or "memory" in key]


def test_the_schema_describes_what_is_written(converted: Report) -> None:
    schema = json.loads(resources.files("fc2conv.report").joinpath("schema.json").read_text(encoding="utf-8"))
    definitions = schema["$defs"]
    report = json.loads(render(converted))
    assert set(report) == set(definitions["Report"]["properties"])
    assert set(report["sites"][3]["reason"]) == set(definitions["ReasonReport"]["properties"])
    kinds = ("Report", "Comparison", "BatchReport", "Failure")
    assert [one["$ref"] for one in schema["oneOf"]] == [f"#/$defs/{kind}" for kind in kinds]
    assert str(SCHEMA_VERSION) in schema["title"]


def _keys(value: object) -> set[str]:
    match value:
        case dict():
            return set(value).union(*map(_keys, value.values()))
        case list():
            return set().union(*map(_keys, value))
    return set()
