"""The command line on a library that is stubbed: what it passes on, what it prints where, and how it exits."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

import fc2conv
from fc2conv.__main__ import main
from fc2conv.errors import (
    ExitCode,
    Fc2convError,
    InconclusiveError,
    InputError,
    LimitError,
    MismatchError,
    OutputError,
    UsageError,
)
from fc2conv.options import Options, VerifyOptions
from fc2conv.reasons import Code
from fc2conv.report.types import Comparison, Failure, Report, Verdict, Verification


@dataclass
class Library:
    """The calls that the command line made, and what the stubbed library says to them."""

    planned: Report
    converted: Report
    verification: Verification
    calls: list[tuple[Any, ...]] = field(default_factory=list)
    fails: dict[str, BaseException] = field(default_factory=dict)

    def plan(self, model: str, options: Options, **_: Any) -> Report:
        self._called("plan", model, options)
        return self.planned

    def convert(self, model: str, output: str, options: Options, **_: Any) -> SimpleNamespace:
        self._called("convert", model, output, options)
        return SimpleNamespace(report=self.converted, model=None)

    def verify(self, a: str, b: str, options: VerifyOptions, **_: Any) -> Verification:
        self._called("verify", a, b, options)
        return self.verification

    def _called(self, *call: Any) -> None:
        self.calls.append(call)
        if call[1] in self.fails:
            raise self.fails[call[1]]


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch, planned: Report, converted: Report, passed: Verification) -> Library:
    stub = Library(planned=planned, converted=converted, verification=passed)
    for name in ("plan", "convert", "verify"):
        monkeypatch.setitem(vars(fc2conv), name, getattr(stub, name))
    return stub


Captured = pytest.CaptureFixture[str]

# --- commands -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("argv", [["in.onnx", "out.onnx"], ["convert", "in.onnx", "out.onnx"]])
def test_convert_is_the_default(library: Library, capsys: Captured, argv: list[str]) -> None:
    assert main(argv) == ExitCode.DONE
    assert library.calls == [("convert", "in.onnx", "out.onnx", Options())]
    printed = capsys.readouterr()
    assert printed.out.startswith("vgg16.onnx -> out.onnx: 3 of 4 fully connected layers converted, proved\n")
    assert printed.err == ""


def test_options_may_stand_anywhere_around_the_models(library: Library) -> None:
    for argv in (["--no-verify", "a", "b"], ["a", "--no-verify", "b"], ["a", "b", "--no-verify"]):
        assert main(argv) == ExitCode.DONE
    assert library.calls == [("convert", "a", "b", Options(verify=False))] * 3


def test_every_option_reaches_the_library(library: Library) -> None:
    line = """
        a b --scope all --include x* --include y --exclude z --overwrite-input-shape im:0:1,3,8,8
        --overwrite-input-shape t:7 --freeze-initializers --max-added-transposes 2 --force --seed 5
        --check-n 3 --rtol 1e-3 --atol 0 --external-data
    """
    shapes = {"im:0": (1, 3, 8, 8), "t": (7,)}
    assert main(line.split()) == ExitCode.DONE
    assert library.calls[0][3] == Options(
        scope="all",
        include=("x*", "y"),
        exclude=("z",),
        input_shapes=shapes,
        freeze_initializers=True,
        max_added_transposes=2,
        force=True,
        form="external",
        verify=True,
        verification=VerifyOptions(seed=5, check_n=3, rtol=1e-3, atol=0.0, input_shapes=shapes),
    )


@pytest.mark.parametrize(("flags", "form"), [([], "keep"), (["--inline"], "inline"), (["--external-data"], "external")])
def test_form_of_the_output(library: Library, flags: list[str], form: str) -> None:
    assert main(["a", "b", *flags]) == ExitCode.DONE
    assert library.calls[0][3].form == form


def test_a_model_may_be_called_like_a_command(library: Library) -> None:
    assert main(["./check", "./verify"]) == ExitCode.DONE
    assert library.calls == [("convert", "./check", "./verify", Options())]


def test_dry_run_plans_and_writes_nothing(library: Library, capsys: Captured) -> None:
    assert main(["a", "b", "--dry-run"]) == ExitCode.DONE
    assert [call[0] for call in library.calls] == ["plan"]
    assert "3 of 4 fully connected layers can be converted" in capsys.readouterr().out


def test_require_that_is_met_converts_and_reports_once(library: Library, capsys: Captured) -> None:
    assert main(["a", "b", "--require", "3"]) == ExitCode.DONE
    assert [call[0] for call in library.calls] == ["plan", "convert"]
    assert capsys.readouterr().out.count("vgg16.onnx") == 1


@pytest.mark.parametrize("more", [[], ["--dry-run"]])
def test_require_that_is_unmet_writes_nothing(library: Library, capsys: Captured, more: list[str]) -> None:
    assert main(["a", "b", "--require", "4", *more]) == ExitCode.CHECK_FOUND
    assert [call[0] for call in library.calls] == ["plan"]
    printed = capsys.readouterr()
    assert "FC102" in printed.out
    assert printed.err.startswith("fc2conv: error: 3 of at least 4 layers can be converted, nothing was written: ")


def test_check_exits_with_1_where_there_is_work(library: Library, idle: Report) -> None:
    assert main(["check", "a.onnx"]) == ExitCode.CHECK_FOUND
    library.planned = idle
    assert main(["check", "a.onnx", "b.onnx"]) == ExitCode.DONE
    assert [call[:2] for call in library.calls] == [("plan", "a.onnx"), ("plan", "a.onnx"), ("plan", "b.onnx")]


def test_check_goes_on_after_a_model_that_cannot_be_read(library: Library, capsys: Captured) -> None:
    library.fails["bad.onnx"] = InputError("bad.onnx is empty", "export it again")
    assert main(["check", "bad.onnx", "good.onnx", "--output-format", "json"]) == ExitCode.INPUT
    out, err = capsys.readouterr()
    assert err == "fc2conv: error: bad.onnx is empty: export it again\n"
    bad, good = map(json.loads, out.splitlines())
    assert (bad["models"], bad["exit_code"], bad["sites"]) == (["bad.onnx"], ExitCode.INPUT, [])
    assert (bad["message"], bad["remedy"]) == ("bad.onnx is empty", "export it again")
    assert good["outcome"] == "planned"


@pytest.mark.parametrize("argv", [["a", "b"], ["a", "b", "--dry-run"], ["verify", "a", "b"], ["check", "a"]])
def test_json_has_a_document_for_what_cannot_be_read(library: Library, capsys: Captured, argv: list[str]) -> None:
    library.fails["a"] = InputError("a is empty")
    assert main([*argv, "--output-format", "json"]) == ExitCode.INPUT
    found = msgspec.json.decode(capsys.readouterr().out, type=Failure)
    assert (found.message, found.exit_code, found.outcome) == ("a is empty", ExitCode.INPUT, "error")


def test_json_of_what_differs_is_its_report(library: Library, capsys: Captured) -> None:
    library.fails["a"] = MismatchError("no", report=msgspec.structs.replace(library.converted, outcome="differs"))
    assert main(["a", "b", "--output-format", "json"]) == ExitCode.MISMATCH
    assert msgspec.json.decode(capsys.readouterr().out, type=Report).outcome == "differs"


def test_check_prints_json_lines(library: Library, capsys: Captured) -> None:
    assert main(["check", "a", "b", "c", "--output-format", "json"]) == ExitCode.CHECK_FOUND
    reports = [msgspec.json.decode(line, type=Report) for line in capsys.readouterr().out.splitlines()]
    assert reports == [library.planned] * 3


@pytest.mark.parametrize(
    ("verdict", "code"),
    [
        ("proved", ExitCode.DONE),
        ("differs", ExitCode.MISMATCH),
        ("inconclusive", ExitCode.INCONCLUSIVE),
        ("skipped", ExitCode.INCONCLUSIVE),
    ],
)
def test_verify_exits_by_its_verdict(library: Library, capsys: Captured, verdict: Any, code: ExitCode) -> None:
    library.verification = Verification(verdict=Verdict(verdict))
    assert main(["verify", "a", "b", "--seed", "7", "--output-format", "json"]) == code
    assert library.calls == [("verify", "a", "b", VerifyOptions(seed=7))]
    found = msgspec.json.decode(capsys.readouterr().out, type=Comparison)
    assert (found.a, found.b, found.verification, found.options) == ("a", "b", library.verification, {"seed": "7"})


def test_a_report_that_holds_no_comparison_is_refused_before_one(library: Library, capsys: Captured) -> None:
    assert main(["verify", "a", "b", "--report", "found.json", "--report", "Found.CSV"]) == ExitCode.USAGE
    assert library.calls == []
    assert "Found.CSV cannot hold a comparison" in capsys.readouterr().err


def test_explain(capsys: Captured) -> None:
    assert main(["explain", "fc102"]) == ExitCode.DONE
    one = capsys.readouterr().out
    assert one.startswith("FC102\n")
    assert main(["explain"]) == ExitCode.DONE
    every = capsys.readouterr().out
    assert one in every
    assert [line for line in every.splitlines() if line.startswith("FC")] == [code.value for code in Code]


# --- what is printed where ------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("library")
def test_quiet_is_silent_but_json_was_asked_for(capsys: Captured) -> None:
    assert main(["a", "b", "-q"]) == ExitCode.DONE
    assert capsys.readouterr() == ("", "")
    assert main(["a", "b", "-q", "--output-format", "json"]) == ExitCode.DONE
    assert json.loads(capsys.readouterr().out)["outcome"] == "converted"


@pytest.mark.usefixtures("library")
def test_verbose_adds_times_and_memory(capsys: Captured) -> None:
    main(["a", "b"])
    assert "Peak memory" not in capsys.readouterr().out
    main(["a", "b", "-v"])
    assert "Peak memory" in capsys.readouterr().out


# --- errors ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "error",
    [UsageError, InputError, MismatchError, InconclusiveError, OutputError, LimitError],
    ids=lambda e: e.__name__,
)
def test_an_error_is_one_line_and_its_exit_code(library: Library, capsys: Captured, error: type[Fc2convError]) -> None:
    library.fails["a"] = error("node 'x\x1b[2J\ny' is odd", "look at it")
    assert main(["a", "b"]) == error.exit_code
    assert capsys.readouterr() == ("", "fc2conv: error: node 'x\\x1b[2J\\ny' is odd: look at it\n")


def test_a_fault_of_our_own_says_so(library: Library, capsys: Captured) -> None:
    library.fails["a"] = KeyError("fc6")
    assert main(["a", "b"]) == ExitCode.FAULT
    err = capsys.readouterr().err
    assert err == "fc2conv: error: KeyError: 'fc6': this is a fault of fc2conv, please report it; --debug shows where\n"


@pytest.mark.parametrize(
    ("stop", "code"),
    [
        (KeyboardInterrupt(), ExitCode.INTERRUPTED),
        (MemoryError(), ExitCode.LIMIT),
        (BrokenPipeError(), ExitCode.FAULT),
        (EOFError(), ExitCode.FAULT),
        (RecursionError("deep"), ExitCode.FAULT),
    ],
    ids=lambda value: type(value).__name__,
)
def test_other_stops(library: Library, capsys: Captured, stop: BaseException, code: ExitCode) -> None:
    library.fails["a"] = stop
    assert main(["a", "b"]) == code
    printed = capsys.readouterr().err
    assert printed.startswith("fc2conv: ")
    assert printed.count("\n") == 1


def test_debug_shows_where(library: Library, capsys: Captured) -> None:
    library.fails["a"] = InputError("broken")
    for argv in (["a", "b"], ["check", "a"]):
        assert main(argv) == ExitCode.INPUT
        assert "Traceback" not in capsys.readouterr().err
        assert main([*argv, "--debug"]) == ExitCode.INPUT
        assert "in _called" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (
            "a",
            "Missing argument 'OUT': `fc2conv check IN` prints the plan and writes nothing",
        ),
        ("a b c", "unexpected extra argument"),
        ("check", "Missing argument 'IN...'"),
        ("verify a", "Missing argument 'B'"),
        ("a b --no-such-option", "No such option"),
        ("a b --inline --external-data", "--external-data and --inline exclude each other"),
        ("a b --overwrite-input-shape x", "'x' is not NAME:SIZE,SIZE,..."),
        ("a b --overwrite-input-shape :1,2", "':1,2' is not NAME:SIZE"),
        ("a b --overwrite-input-shape x:", "'x:' is not NAME:SIZE"),
        ("a b --overwrite-input-shape x:1,-1", "'x:1,-1' is not NAME:SIZE"),
        ("a b --overwrite-input-shape x:1,N", "'x:1,N' is not NAME:SIZE"),
        ("a b --overwrite-input-shape x:1 --overwrite-input-shape x:2", "an input has two shapes"),
        ("verify a b --per-output y:1 --per-output y:2", "one output has two tolerances"),
        ("a b --check-n 0", "0 is not in the range"),
        ("a b --seed -1", "-1 is not in the range"),
        ("a b --rtol nan", "'nan' is not a finite number >= 0"),
        ("a b --atol -1", "'-1' is not a finite number >= 0"),
        ("a b --atol much", "'much' is not a finite number >= 0"),
        ("a b --require 0", "0 is not in the range"),
        ("a b --scope some", "'some' is not one of"),
        ("a -", "can't be piped"),
        ("-q check a", "a model of that name is ./check"),
        ("explain FC999", "'FC999' is not a code; `fc2conv explain` lists them"),
    ],
)
def test_usage_errors(library: Library, capsys: Captured, argv: str, message: str) -> None:
    assert main(argv.split()) == ExitCode.USAGE
    out, err = capsys.readouterr()
    assert message in err
    assert err.startswith("fc2conv: error: ")
    assert err.count("\n") == 1
    assert (out, library.calls) == ("", [])
