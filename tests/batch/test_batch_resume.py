"""The journal: what is done is not done again, what was cut short is, and two runs never meet in one folder."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from batches import KEPT, WIDE, batch, files_of, outcomes_of, rows_of, save, save_external, timeless, wait_for

from fc2conv.batch.journal import Entry, Journal, Shard, journals, last_run
from fc2conv.errors import ExitCode, InputError, OutputError
from fc2conv.report.json import of_line
from fc2conv.report.types import BatchRow

pytestmark = pytest.mark.usefixtures("inline")


def entries(out: Path) -> list[Entry]:
    lines = (out / ".fc2conv" / "journal.jsonl").read_bytes().splitlines(keepends=True)
    return [of_line(line, Entry) for line in lines]


def last_entries(out: Path) -> tuple[set[str], set[str]]:
    """The names of the rows that the last run made, and of those that it found made."""
    rows: set[str] = set()
    same: set[str] = set()
    for entry in entries(out):
        if entry.run is not None:
            rows, same = set(), set()
        elif entry.row is not None:
            rows.add(entry.row.name)
        elif entry.same is not None:
            same.add(entry.same)
    return rows, same


@pytest.fixture
def zoo(tmp_path: Path) -> Path:
    """Two models to convert, one kept, one invalid."""
    source = tmp_path / "zoo"
    save(source / "a.onnx", 1)
    save_external(source / "sub" / "b.onnx", "b.bin", 2)
    save(source / "kept.onnx", text=KEPT)
    (source / "empty.onnx").touch()
    return source


ALL = {"a.onnx", "sub/b.onnx", "kept.onnx", "empty.onnx"}


def test_a_second_run_does_only_what_is_not_done(zoo: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert batch(zoo, out, "--jobs", "1", "-q") == ExitCode.BATCH_FAILURES
    first, report = files_of(out), timeless(out)
    assert last_entries(out) == (ALL, set())

    assert batch(zoo, out, "--jobs", "1", "-q") == ExitCode.BATCH_FAILURES
    assert last_entries(out) == (set(), ALL)
    assert (files_of(out), timeless(out)) == (first, report)

    (out / "a.onnx").write_bytes(b"not what was written")
    data = next((out / "sub").glob("*.data"))
    data.unlink()
    assert batch(zoo, out, "--jobs", "1", "-q") == ExitCode.BATCH_FAILURES
    assert last_entries(out) == ({"a.onnx", "sub/b.onnx"}, {"kept.onnx", "empty.onnx"})
    assert (files_of(out), timeless(out)) == (first, report)

    assert batch(zoo, out, "--jobs", "1", "-q", "--retry") == ExitCode.BATCH_FAILURES
    assert last_entries(out) == ({"kept.onnx", "empty.onnx"}, {"a.onnx", "sub/b.onnx"})

    save(zoo / "empty.onnx", 3)
    (zoo / "kept.onnx").unlink()
    assert batch(zoo, out, "--jobs", "1", "-q", "--timeout", "600") == ExitCode.DONE
    assert last_entries(out) == ({"empty.onnx"}, {"a.onnx", "sub/b.onnx"})
    assert set(outcomes_of(out)) == ALL - {"kept.onnx"}

    assert batch(zoo, out, "--jobs", "1", "-q", "--exclude", "fc") == ExitCode.DONE
    assert last_entries(out) == (ALL - {"kept.onnx"}, set())
    assert batch(zoo, out, "--jobs", "1", "-q", "--exclude", "fc", "--no-resume") == ExitCode.DONE
    assert last_entries(out) == (ALL - {"kept.onnx"}, set())


def test_data_that_changes_is_another_model(zoo: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    batch(zoo, out, "--jobs", "1", "-q")
    key = rows_of(out)["sub/b.onnx"].key
    data = zoo / "sub" / "b.bin"
    values = bytearray(data.read_bytes())
    values[5] ^= 1
    data.write_bytes(values)
    batch(zoo, out, "--jobs", "1", "-q")
    assert last_entries(out)[0] == {"sub/b.onnx"}
    assert rows_of(out)["sub/b.onnx"].key != key


def test_inputs_that_change_are_other_options(tmp_path: Path) -> None:
    out, inputs = tmp_path / "out", tmp_path / "x.npz"
    save(tmp_path / "zoo" / "a.onnx")
    for value, done in ((1, False), (1, True), (2, False)):
        np.savez(inputs, x=np.full((2, 3, 4, 4), value, np.float32))
        given = ("--load-inputs", str(inputs), "--jobs", "1", "-q")
        assert batch(tmp_path / "zoo", out, *given) == ExitCode.DONE
        assert last_entries(out) == ((set(), {"a.onnx"}) if done else ({"a.onnx"}, set()))


def test_a_line_that_was_cut_short_is_done_again(zoo: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    batch(zoo, out, "--jobs", "1", "-q")
    first, report = files_of(out), timeless(out)
    path = out / ".fc2conv" / "journal.jsonl"
    path.write_bytes(path.read_bytes()[:-30])
    cut = ALL - set(outcomes_of(out))
    assert len(cut) == 1
    batch(zoo, out, "--jobs", "1", "-q")
    assert last_entries(out) == (cut, ALL - cut)
    assert (files_of(out), timeless(out)) == (first, report)


def test_a_journal_that_is_damaged_says_where(zoo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    batch(zoo, out, "--jobs", "1", "-q")
    path = out / ".fc2conv" / "journal.jsonl"
    path.write_bytes(b"{}x\n" + path.read_bytes())
    capsys.readouterr()
    assert batch(zoo, out, "--jobs", "1", "-q") == ExitCode.INPUT
    assert "journal.jsonl is damaged at line 1" in capsys.readouterr().err


def test_a_second_run_at_the_same_time_stops(zoo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    with Journal(out / ".fc2conv"):
        assert batch(zoo, out, "--jobs", "1") == ExitCode.OUTPUT
        assert batch(zoo, out, "--jobs", "1", "--shard", "1/2") == ExitCode.OUTPUT
    assert capsys.readouterr().err.count("another run works in") == 2
    with Journal(out / ".fc2conv", Shard(1, 2)), Journal(out / ".fc2conv", Shard(2, 2)):
        for shard in (None, Shard(1, 2)):
            with pytest.raises(OutputError, match="another run works in"):
                Journal(out / ".fc2conv", shard)
    assert not files_of(out)


def test_shards_are_one_batch(tmp_path: Path) -> None:
    source, out, whole = tmp_path / "zoo", tmp_path / "out", tmp_path / "whole"
    for seed in range(6):
        save(source / f"{seed}.onnx", seed)
    for shard in ("1/3", "2/3", "3/3"):
        assert batch(source, out, "--jobs", "1", "-q", "--shard", shard) == ExitCode.DONE
    assert len(journals(out / ".fc2conv")) == 3
    assert {path.parent.name for path in journals(out / ".fc2conv")} == {f"shard-{i}-of-3" for i in (1, 2, 3)}
    assert batch(source, whole, "--jobs", "1", "-q") == ExitCode.DONE
    assert files_of(out) == files_of(whole)
    header, rows = last_run(out / ".fc2conv")
    assert [row.name for row in rows] == [f"{seed}.onnx" for seed in range(6)]
    assert header.models == 6
    begun = out / ".fc2conv" / "shard-1-of-9" / "journal.jsonl"
    begun.parent.mkdir()
    begun.touch()
    assert last_run(out / ".fc2conv") == (header, rows)


def test_enough_failures_stop_the_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, out = tmp_path / "zoo", tmp_path / "out"
    for number in range(6):
        source.mkdir(exist_ok=True)
        (source / f"{number}.onnx").touch()
    assert batch(source, out, "--jobs", "1", "--max-failures", "2") == ExitCode.BATCH_FAILURES
    assert list(outcomes_of(out).values()) == ["invalid"] * 2
    assert "2 of 6 models, 0 written, 2 failed" in capsys.readouterr().out
    assert batch(source, out, "--jobs", "1", "--max-failures", "2", "-q") == ExitCode.BATCH_FAILURES
    assert len(outcomes_of(out)) == 4
    for _ in range(2):
        assert batch(source, out, "--jobs", "1", "--max-failures", "9", "-q") == ExitCode.BATCH_FAILURES
        assert len(outcomes_of(out)) == 6


def test_killed_at_any_time_and_resumed_is_as_undisturbed(tmp_path: Path) -> None:
    """benchmarks/batch_kills.py does this twenty times, with more models."""
    for seed in range(5):
        save(tmp_path / "zoo" / f"{seed}.onnx", seed, WIDE)
        save_external(tmp_path / "zoo" / "external" / f"{seed}.onnx", f"{seed}.bin", seed)
    calm, disturbed = tmp_path / "calm", tmp_path / "disturbed"
    calm.mkdir()
    disturbed.mkdir()
    command = [sys.executable, "-m", "fc2conv", "batch", "../zoo", "out", "--jobs", "2", "-q"]
    assert subprocess.run(command, cwd=calm, check=False).returncode == ExitCode.DONE
    out, chance = disturbed / "out", random.Random(3)
    for _ in range(2):
        rows = chance.randrange(1, 4) + len(journal_of(out))
        with subprocess.Popen(command, cwd=disturbed) as driver:
            wait_for(lambda rows=rows: len(journal_of(out)) >= rows or None)
            driver.send_signal(signal.SIGKILL)
    assert 0 < len(files_of(out)) < len(files_of(calm / "out"))
    assert subprocess.run(command, cwd=disturbed, check=False).returncode == ExitCode.DONE
    assert files_of(out) == files_of(calm / "out")
    assert timeless(out) == timeless(calm / "out")
    assert not [*out.rglob(".fc2conv-*"), *out.rglob("scratch")]


def test_interrupted_it_stops_cleanly_and_goes_on(tmp_path: Path) -> None:
    source, out = tmp_path / "zoo", tmp_path / "out"
    for seed in range(12):
        save(source / f"{seed:02}.onnx", seed)
    command = [sys.executable, "-m", "fc2conv", "batch", "zoo", "out", "--jobs", "1"]
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as driver:
        wait_for(lambda: len(journal_of(out)) >= 3 or None)
        driver.send_signal(signal.SIGINT)
        _, printed = driver.communicate()
    assert driver.returncode == ExitCode.INTERRUPTED
    assert "the same command continues" in printed
    assert "Traceback" not in printed
    done = outcomes_of(out)
    assert 0 < len(done) < 12
    assert set(files_of(out)) >= set(done)
    assert json.loads((out / ".fc2conv" / "report.json").read_text())["models"] == 12
    assert batch(source, out, "--jobs", "1", "-q") == ExitCode.DONE
    assert len(outcomes_of(out)) == 12


def journal_of(out: Path) -> list[bytes]:
    path = out / ".fc2conv" / "journal.jsonl"
    return path.read_bytes().splitlines() if path.exists() else []


def test_a_folder_without_a_journal(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no journal"):
        last_run(tmp_path)


def test_a_row_travels_as_it_is(tmp_path: Path) -> None:
    row = BatchRow(name="\udce9\n\x1b.onnx", outcome="crashed", stderr="\ud800", message="é")
    with Journal(tmp_path) as journal:
        journal.append(Entry(row=row))
    assert of_line((tmp_path / "journal.jsonl").read_bytes(), Entry).row == row
