"""A folder in which much is wrong: each good model is converted, each bad one has its row, no more is touched."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
from pathlib import Path

import onnxruntime
import pytest
from batches import KEPT, PLAIN, batch, files_of, model, outcomes_of, rows_of, save, save_external, wait_for

from fc2conv.__main__ import main
from fc2conv.batch import local
from fc2conv.errors import ExitCode

ODD = ["with space.onnx", "new\nline.onnx", "ünï ☃.onnx", "-dash.onnx", "--help.onnx", "UPPER.ONNX", "[x]*?.onnx"]


@pytest.fixture
def hostile(monkeypatch: pytest.MonkeyPatch) -> None:
    """The pool's processes are those of hostile_worker.py."""
    monkeypatch.setattr(local, "WORKER", "hostile_worker")


@pytest.mark.usefixtures("hostile")
def test_what_undoes_a_process_costs_one_row(tmp_path: Path) -> None:
    source, out = tmp_path / "zoo", tmp_path / "out"
    for name in ("segfault", "abort", "hungry", "fault", "talks", "good", "sub/good"):
        save(source / f"{name}.onnx")
    before = files_of(source)
    assert batch(source, out, "--jobs", "2", "--memory-limit", "400", "-q") == ExitCode.BATCH_FAILURES
    rows = rows_of(out)
    assert {name: row.outcome for name, row in rows.items()} == {
        "abort.onnx": "crashed",
        "fault.onnx": "error",
        "good.onnx": "converted",
        "hungry.onnx": "out-of-memory",
        "segfault.onnx": "crashed",
        "sub/good.onnx": "converted",
        "talks.onnx": "converted",
    }
    assert (rows["segfault.onnx"].signal, rows["abort.onnx"].signal) == ("SIGSEGV", "SIGABRT")
    assert "about to crash" in rows["segfault.onnx"].stderr
    assert "ZeroDivisionError: planted" in rows["fault.onnx"].message
    assert "hostile_worker.py" in rows["fault.onnx"].stderr
    assert "raise --memory-limit" in rows["hungry.onnx"].message
    assert set(files_of(out)) == {"good.onnx", "sub/good.onnx", "talks.onnx"}
    assert files_of(source) == before


@pytest.mark.usefixtures("hostile")
def test_what_hangs_is_ended(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(local, "_GRACE", 0.1)
    source, out = tmp_path / "zoo", tmp_path / "out"
    save(source / "hang.onnx")
    save(source / "hang2.onnx")
    assert batch(source, out, "--jobs", "2", "--timeout", "0.5", "-q") == ExitCode.BATCH_FAILURES
    assert outcomes_of(out) == {"hang.onnx": "timeout", "hang2.onnx": "timeout"}
    assert "raise --timeout" in rows_of(out)["hang.onnx"].message
    assert not files_of(out)


def test_bad_files_and_odd_names(tmp_path: Path) -> None:
    source, out = tmp_path / "zoo", tmp_path / "out"
    for seed, name in enumerate(ODD):
        save(source / name, seed)
    (source / os.fsdecode(b"latin-\xe9.onnx")).write_bytes(model().SerializeToString())
    whole = save(source / "plain.onnx", text=PLAIN).read_bytes()
    save(source / "kept.onnx", text=KEPT)
    (source / "empty.onnx").touch()
    (source / "cut.onnx").write_bytes(whole[: len(whole) // 2])
    (source / "pointer.onnx").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")
    (source / "folder.onnx").mkdir()
    save(source / "deep.onnx" / "model.onnx")
    (source / "loop").symlink_to(source, target_is_directory=True)
    (source / "self.onnx").symlink_to("self.onnx")
    (source / "gone.onnx").symlink_to("nowhere")
    (source / "notes.txt").write_text("no model")
    os.mkfifo(source / "pipe.onnx")
    assert batch(source, out, "--jobs", "1", "-q") == ExitCode.BATCH_FAILURES
    outcomes = outcomes_of(out)
    bad = {"empty", "cut", "pointer", "folder", "self", "gone", "pipe"}
    assert {name for name, outcome in outcomes.items() if outcome == "invalid"} == {f"{name}.onnx" for name in bad}
    good = {*ODD, os.fsdecode(b"latin-\xe9.onnx"), "deep.onnx/model.onnx"}
    assert {name for name, outcome in outcomes.items() if outcome == "converted"} == good
    assert (outcomes["plain.onnx"], outcomes["kept.onnx"]) == ("unchanged", "kept")
    assert set(files_of(out)) == good | {"plain.onnx", "kept.onnx"}
    assert (out / "plain.onnx").read_bytes() == whole
    assert "git lfs pull" in rows_of(out)["pointer.onnx"].message
    for name in ODD:
        onnxruntime.InferenceSession(str(out / name), providers=["CPUExecutionProvider"])


def test_models_that_share_their_data(tmp_path: Path) -> None:
    source, out = tmp_path / "zoo", tmp_path / "out"
    first = save_external(source / "a.onnx", "weights.bin")
    (source / "b.onnx").write_bytes(first.read_bytes())
    save_external(source / "broken.onnx", "gone.bin")
    (source / "gone.bin").unlink()
    assert batch(source, out, "--jobs", "2", "-q") == ExitCode.BATCH_FAILURES
    assert outcomes_of(out) == {"a.onnx": "converted", "b.onnx": "converted", "broken.onnx": "invalid"}
    for name, row in rows_of(out).items():
        if not row.failed:
            assert set(row.outputs) == {name, *(each for each in row.outputs if each.endswith(".data"))}
            assert len(row.outputs) == 2
            onnxruntime.InferenceSession(str(out / name), providers=["CPUExecutionProvider"])


def test_what_may_not_be_read_has_a_row(tmp_path: Path) -> None:
    source, out = tmp_path / "zoo", tmp_path / "out"
    save(source / "good.onnx")
    save(source / "closed.onnx").chmod(0)
    save(source / "shut" / "inside.onnx")
    (source / "shut").chmod(0)
    command = [sys.executable, "-m", "fc2conv", "batch", str(source), str(out), "--jobs", "1", "-q"]
    done = subprocess.run(command, preexec_fn=_without_override, capture_output=True, text=True, check=False)
    (source / "shut").chmod(0o700)
    assert done.returncode == ExitCode.BATCH_FAILURES, done.stderr
    assert outcomes_of(out) == {"closed.onnx": "invalid", "good.onnx": "converted", "shut": "invalid"}
    assert "may not be listed" in rows_of(out)["shut"].message


def _without_override() -> None:
    """Root reads what nobody may read: the capabilities to do so are dropped before the program begins."""
    if os.geteuid() == 0:
        dac_override, dac_read_search, drop = 1, 2, 24
        for capability in (dac_override, dac_read_search):
            assert ctypes.CDLL(None).prctl(drop, capability, 0, 0, 0) == 0


def test_nothing_is_written_through_links_out_of_the_destination(tmp_path: Path) -> None:
    source, out, other = tmp_path / "zoo", tmp_path / "out", tmp_path / "other"
    save(source / "sub" / "a.onnx")
    save(source / "b.onnx")
    out.mkdir()
    other.mkdir()
    (out / "sub").symlink_to(other, target_is_directory=True)
    (out / "b.onnx").symlink_to(other / "b.onnx")
    assert batch(source, out, "--jobs", "1", "-q") == ExitCode.BATCH_FAILURES
    assert outcomes_of(out) == {"b.onnx": "error", "sub/a.onnx": "error"}
    assert not any(other.iterdir())


def test_processes_end_with_the_driver(tmp_path: Path) -> None:
    save(tmp_path / "zoo" / "hang.onnx")
    code = (
        "import sys, fc2conv.batch.local as local; local.WORKER = 'hostile_worker'\n"
        "from fc2conv.__main__ import main; sys.exit(main(sys.argv[1:]))"
    )
    command = [sys.executable, "-c", code, "batch", str(tmp_path / "zoo"), str(tmp_path / "out"), "--jobs", "1"]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    with subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL) as driver:
        child = _child_of(driver.pid)
        driver.send_signal(signal.SIGKILL)
        driver.wait()
    wait_for(lambda: not _lives(child))


def _child_of(pid: int) -> int:
    children = Path(f"/proc/{pid}/task/{pid}/children")
    return int(wait_for(lambda: children.read_text(encoding="utf-8").split())[0])


def _lives(pid: int) -> bool:
    status = Path(f"/proc/{pid}/status")
    return status.exists() and "\nState:\tZ" not in status.read_text(encoding="utf-8")


@pytest.mark.parametrize("way", ["symbolic link", "hard link", "FIFO"])
@pytest.mark.parametrize("name", ["journal.jsonl", "lock", "report.json", "report.html"])
def test_a_run_folder_leads_to_no_other_file(tmp_path: Path, name: str, way: str) -> None:
    source, run = tmp_path / "zoo", tmp_path / "out" / ".fc2conv"
    model = save(source / "a.onnx")
    run.mkdir(parents=True)
    if way == "FIFO":
        os.mkfifo(run / name)
    elif way == "hard link":
        (run / name).hardlink_to(model)
    else:
        (run / name).symlink_to(model)
    before = model.read_bytes()
    code = batch(source, tmp_path / "out", "--jobs", "1", "-q")
    assert model.read_bytes() == before
    if name.startswith("report") and way == "hard link":  # the name is another file's from then on
        assert code == ExitCode.DONE
        assert not (run / name).samefile(model)
    else:
        assert code == ExitCode.OUTPUT
        assert not files_of(tmp_path / "out")


def test_a_run_removes_nothing_of_others(tmp_path: Path) -> None:
    save(tmp_path / "zoo" / "a.onnx")
    mine = tmp_path / "run" / "scratch" / "mine.txt"
    mine.parent.mkdir(parents=True)
    mine.touch()
    (mine.parent / "fc2conv-process-killed").mkdir()
    assert batch(tmp_path / "zoo", tmp_path / "out", "--run", str(tmp_path / "run"), "-q") == ExitCode.DONE
    assert list(mine.parent.iterdir()) == [mine]


def test_no_report_over_a_journal_or_an_output(tmp_path: Path) -> None:
    save(tmp_path / "zoo" / "a.onnx")
    out = tmp_path / "out"
    assert batch(tmp_path / "zoo", out, "-q") == ExitCode.DONE
    before = files_of(tmp_path)
    (tmp_path / "link").symlink_to(out / ".fc2conv" / "journal.jsonl")
    for name in (out / "a.onnx", out / ".fc2conv" / "journal.jsonl", tmp_path / "link"):
        assert main(["report", str(out), "--report", str(tmp_path / "x.csv"), "--report", str(name)]) == ExitCode.USAGE
    assert main(["report", str(out), "--report", str(tmp_path / "no" / "x.csv")]) == ExitCode.OUTPUT
    (tmp_path / "link").unlink()
    assert files_of(tmp_path) == before


def test_no_report_over_the_manifest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(tmp_path / "a.onnx")
    manifest = tmp_path / "models.csv"
    manifest.write_text("model\na.onnx\n", encoding="utf-8")
    assert batch(manifest, tmp_path / "out", "-q") == ExitCode.DONE
    before = manifest.read_bytes()
    assert main(["report", str(tmp_path / "out"), "-q", "--report", str(manifest)]) == ExitCode.USAGE
    monkeypatch.chdir(tmp_path)
    assert batch("models.csv", "near", "-q") == ExitCode.DONE
    (tmp_path / "sub").mkdir()
    monkeypatch.chdir(tmp_path / "sub")
    for other in ("../models.csv", "../near/a.onnx"):
        assert main(["report", "../near", "-q", "--report", other]) == ExitCode.USAGE
    assert manifest.read_bytes() == before


@pytest.mark.parametrize("role", ["source", "configuration", "inputs"])
def test_no_report_over_what_a_run_reads(tmp_path: Path, capsys: pytest.CaptureFixture[str], role: str) -> None:
    save(tmp_path / "a.onnx")
    texts = {"source": ("csv", "model\na.onnx\n"), "configuration": ("csv", 'scope = "all"'), "inputs": ("html", "")}
    suffix, text = texts[role]
    file = tmp_path / f"report.{suffix}"
    file.write_text(text)
    source = file if role == "source" else tmp_path / "a.onnx"
    more = {"source": [], "configuration": ["--config", str(file)], "inputs": ["--load-inputs", f"x:{file}"]}[role]
    assert batch(source, tmp_path / "out", "--run", str(tmp_path), "-q", *more) == ExitCode.USAGE
    assert f"would be written over the {role}" in capsys.readouterr().err
    assert file.read_text() == text
    assert not (tmp_path / "journal.jsonl").exists()
