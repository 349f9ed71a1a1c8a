"""`--report FILE` of each command: which file is written, what it holds, and that a failure is reported as well."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import msgspec
import pytest
from batches import WIDE, model, save_external
from made import kept_layer
from onnx.external_data_helper import set_external_data
from pages import refused

import fc2conv
from fc2conv.__main__ import main
from fc2conv.errors import ExitCode, MismatchError
from fc2conv.options import Options, VerifyOptions
from fc2conv.reasons import Code
from fc2conv.report.types import Check, Comparison, Report, Verdict, Verification

Captured = pytest.CaptureFixture[str]


@pytest.fixture
def vgg(tmp_path: Path, root: Path) -> Path:
    return Path(shutil.copy(root / "fixtures" / "mini_vgg.onnx", tmp_path))


def read(path: Path) -> Report:
    return msgspec.json.decode(path.read_bytes(), type=Report)


@pytest.mark.parametrize("suffix", ["html", "json"])
def test_a_failed_verification_leaves_its_report_and_nothing_else(
    vgg: Path, tmp_path: Path, capsys: Captured, suffix: str
) -> None:
    out, report = tmp_path / "out.onnx", tmp_path / f"report.{suffix}"
    with refused():
        assert main([str(vgg), str(out), "--rtol", "0", "--atol", "0", "--report", str(report)]) == ExitCode.MISMATCH
    assert sorted(tmp_path.iterdir()) == sorted([vgg, report])
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("fc2conv: error: verification failed, numeric: ")
    if suffix == "json":
        found = read(report)
        assert (found.outcome, found.output) == ("differs", None)
        assert found.verification is not None
        assert found.verification.verdict == "differs"
        assert found.options == {"atol": "0.0", "rtol": "0.0"}
        assert len(found.input.sha256) == 1


def test_the_error_holds_the_report(vgg: Path) -> None:
    with refused(), pytest.raises(MismatchError) as stop:
        fc2conv.convert(vgg, None, Options(verification=VerifyOptions(rtol=0.0, atol=0.0)))
    assert isinstance(stop.value.report, Report)
    assert stop.value.report.outcome == "differs"


def test_nothing_compared_is_reported_as_well(vgg: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    undecided = Verification(verdict=Verdict.INCONCLUSIVE, checks=[Check(name="numeric", verdict=Verdict.INCONCLUSIVE)])
    monkeypatch.setattr("fc2conv.verification.pair.verify_pair", lambda *_: undecided)
    report = tmp_path / "report.json"
    assert main([str(vgg), str(tmp_path / "out.onnx"), "--report", str(report)]) == ExitCode.INCONCLUSIVE
    assert (read(report).outcome, read(report).verification) == ("inconclusive", undecided)
    assert sorted(tmp_path.iterdir()) == sorted([vgg, report])


def test_check_writes_a_page(vgg: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    assert main(["check", str(vgg), "-q", "--report", str(page)]) == ExitCode.CHECK_FOUND
    text = page.read_text(encoding="utf-8")
    assert "3 of 3 fully connected layers can be converted" in text
    assert text.count('<svg class="graph') == 2


def test_a_report_of_check_is_about_one_model(vgg: Path, tmp_path: Path, capsys: Captured) -> None:
    page = tmp_path / "page.html"
    assert main(["check", str(vgg), str(vgg), "--report", str(page)]) == ExitCode.USAGE
    assert "holds the report of one model" in capsys.readouterr().err
    assert not page.exists()


def test_verify_writes_a_report(vgg: Path, tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    assert main(["verify", str(vgg), str(vgg), "-q", "--seed", "3", "--report", str(report)]) == ExitCode.DONE
    found = msgspec.json.decode(report.read_bytes(), type=Comparison)
    assert (found.verification.verdict, found.options) == ("proved", {"seed": "3"})
    assert found.versions["fc2conv"] == fc2conv.__version__


@pytest.mark.parametrize("command", ["convert", "check", "verify"])
def test_a_report_that_cannot_be_written(vgg: Path, tmp_path: Path, capsys: Captured, command: str) -> None:
    other = {"convert": [str(tmp_path / "out.onnx")], "check": [], "verify": [str(vgg)]}[command]
    there = str(tmp_path / "no" / "report.html")
    assert main([command, str(vgg), *other, "-q", "--report", there]) == ExitCode.OUTPUT
    printed = capsys.readouterr().err
    assert printed == f"fc2conv: error: {there} cannot be written: its folder does not exist: make the folder first\n"
    assert not (tmp_path / "out.onnx").exists()


def test_the_histogram_counts_every_element(vgg: Path) -> None:
    found = fc2conv.convert(vgg).report.verification
    assert found is not None
    (output,) = found.outputs
    assert sum(each.count for each in output.histogram) == 10
    largest = output.histogram[-1]
    assert output.max_abs_difference is not None
    assert largest.count > 0
    assert largest.low * 0.99 <= output.max_abs_difference <= largest.high * 1.01
    lows = [each.low for each in output.histogram]
    assert lows == sorted(lows)


@pytest.mark.parametrize("name", ["out.txt", "out", "out.pdf"])
def test_a_suffix_that_names_no_form_is_refused_before_the_work(
    vgg: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    out = vgg.with_name("out.onnx")
    assert main([str(vgg), str(out), "--report", str(vgg.with_name(name))]) == ExitCode.USAGE
    assert "use one of .csv, .html, .json, .md, .nodes.json, .xml" in capsys.readouterr().err
    assert not out.exists()


def test_a_page_without_what_draws_it_names_the_command(
    vgg: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("fc2conv.report.render.find_spec", lambda _: None)
    out = vgg.with_name("out.onnx")
    assert main([str(vgg), str(out), "--report", str(vgg.with_name("r.html"))]) == ExitCode.USAGE
    assert "pip install 'fc2conv[report]'" in capsys.readouterr().err
    assert not out.exists()


def test_the_data_of_an_output_is_named_from_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An unchanged model has data beside it too, and is written anew where its weights are to be stored elsewhere."""
    monkeypatch.chdir(tmp_path)
    save_external(Path("in.onnx"), "w.bin")
    Path("other").mkdir()
    Path("link").symlink_to("other")
    for source, out, forms in (
        ("in.onnx", "copy.onnx", []),
        ("in.onnx", "link/copy.onnx", ["--external-data"]),
        ("in.onnx", "whole.onnx", ["--inline"]),
        ("whole.onnx", "link/apart.onnx", ["--external-data"]),
    ):
        assert main([source, out, "--exclude", "*", "--report", "r.json", "-q", *forms]) == ExitCode.DONE
        report = read(Path("r.json"))
        assert (report.outcome, report.output is not None) == ("unchanged", True)
        assert report.output is not None
        assert len(report.output.data) == (out != "whole.onnx")
        assert all(Path(out).with_name(each).is_file() for each in report.output.data)
        assert (report.output.data == ["w.bin"]) == out.endswith("copy.onnx")
        assert main(["verify", "in.onnx", out, "--exact-only", "-q"]) == ExitCode.DONE


def test_data_files_of_one_name_have_their_own_hash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    made = model(WIDE, 3)
    names = ("one/w.bin", "two/w.bin")
    for tensor, name in zip(made.graph.initializer, names, strict=True):
        Path(name).parent.mkdir()
        Path(name).write_bytes(tensor.raw_data)
        set_external_data(tensor, name, 0, len(tensor.raw_data))
        tensor.ClearField("raw_data")
    Path("in.onnx").write_bytes(made.SerializeToString())
    assert main(["in.onnx", "out.onnx", "--report", "r.json", "-q"]) == ExitCode.DONE
    hashes = read(Path("r.json")).input.sha256
    assert hashes == {name: hashlib.sha256(Path(name).read_bytes()).hexdigest() for name in ("in.onnx", *names)}


def test_a_product_is_no_layer_that_was_kept(planned: Report) -> None:
    product = kept_layer("qk", Code.WEIGHT_NOT_CONSTANT, "")
    report = msgspec.structs.replace(planned, sites=[*planned.sites, product])
    assert report.kept == planned.kept
    assert Code.WEIGHT_NOT_CONSTANT.meaning in str(report)
