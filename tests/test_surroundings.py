"""Where the system gives little, and names are no text: one true line, the right exit code, nothing left behind."""

from __future__ import annotations

import errno
import os
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from batches import WIDE, model, save, save_external

import fc2conv
from fc2conv.__main__ import main
from fc2conv.batch import staging
from fc2conv.batch.staging import staged
from fc2conv.batch.tasks import Item
from fc2conv.errors import ExitCode, InputError, OutputError
from fc2conv.io import forms
from fc2conv.io.forms import runnable
from fc2conv.io.reader import read_model
from fc2conv.io.workspace import Workspace
from fc2conv.sandbox import parent
from fc2conv.sandbox.shortage import death, shortage

ODD = os.fsdecode(b"m\xff\xe9")
MIB = 1 << 20
OPEN = Path("/proc/self/fd")


def limited(kind: int, most: int) -> Callable[[], None]:
    return lambda: resource.setrlimit(kind, (most, most))


FRESH = """
import sys
import fc2conv.system
fc2conv.system.FORKS = False
from fc2conv.__main__ import main
sys.exit(main())
"""
"""The command line where no child is a fork."""


def run(cwd: Path, *argv: str, before: Callable[[], None], forks: bool = True) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *(("-m", "fc2conv") if forks else ("-c", FRESH)), *argv]
    return subprocess.run(command, cwd=cwd, preexec_fn=before, capture_output=True, text=True, check=False, timeout=60)


# ------------------------------------------------------------------ limits of the system


@pytest.mark.parametrize(
    ("argv", "forks", "kind", "most", "remedy"),
    [
        (["lenet.onnx", "out.onnx"], True, resource.RLIMIT_NOFILE, 7, "raise `ulimit -n`, which is 7"),
        (["lenet.onnx", "out.onnx"], False, resource.RLIMIT_NOFILE, 6, "raise `ulimit -n`, which is 6"),
        (["batch", "lenet.onnx", "out"], True, resource.RLIMIT_NOFILE, 9, "raise `ulimit -n`, which is 9"),
        (
            ["verify", "lenet.onnx", "lenet.onnx"],
            True,
            resource.RLIMIT_AS,
            60 * MIB,
            "raise `ulimit -v`, which is 61440",
        ),
        (["check", "lenet.onnx"], False, resource.RLIMIT_AS, 60 * MIB, "raise `ulimit -v`, which is 61440"),
    ],
    ids=["convert", "convert, no fork", "batch", "verify", "check, no fork"],
)
def test_too_little(argv: list[str], forks: bool, kind: int, most: int, remedy: str, lenet: Path) -> None:
    done = run(lenet.parent, *argv, before=limited(kind, most), forks=forks)
    assert done.returncode == ExitCode.LIMIT
    assert done.stderr.startswith("fc2conv: error: ")
    assert done.stderr.endswith(f"{remedy}\n")
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""
    assert [path for path in lenet.parent.rglob("*") if path.name not in ("lenet.onnx", "out", ".fc2conv")] == [
        path for path in (lenet.parent / "out" / ".fc2conv").glob("*") if path.name in ("journal.jsonl", "lock")
    ]


UNMAPPED = ImportError("x.so: failed to map segment from shared object")


def test_what_an_error_is_short_of() -> None:
    def wrapped(error: Exception, what: Exception | None = None) -> Exception:
        (what := what or InputError("the file cannot be read", "fetch it again")).__context__ = error
        return what

    for error, limit, remedy in (
        (wrapped(OSError(errno.EMFILE, "Too many open files")), "system", "raise `ulimit -n`"),
        (wrapped(OSError(errno.ENOMEM, "Cannot allocate memory")), "memory", "raise --memory-limit"),
        (MemoryError(), "memory", "raise --memory-limit"),
        (UNMAPPED, "memory", "raise --memory-limit"),
        (ValueError("array is too big; `arr.size` is larger"), "memory", "raise --memory-limit"),
        (wrapped(UNMAPPED, ImportError("there is no numpy")), "memory", "raise --memory-limit"),
        (RuntimeError("can't start new thread"), "system", "raise `ulimit -u`"),
    ):
        found = shortage(error)
        assert found is not None
        assert (found.limit, found.remedy.startswith(remedy)) == (limit, True)
    assert shortage(wrapped(OSError(errno.EACCES, "Permission denied"))) is None
    assert shortage(wrapped(BlockingIOError(errno.EAGAIN, "locked"))) is None
    assert shortage(InputError("'bad_alloc' names no value")) is None
    assert shortage(ZeroDivisionError("division by zero")) is None


@pytest.mark.parametrize(
    ("code", "last", "begun", "limit", "remedy"),
    [
        (-11, "", True, "crash", "do not trust it"),
        (-11, "", False, "crash", "install fc2conv and its requirements again"),
        (-24, "", True, "time", "ulimit -t"),
        (-15, "", True, "system", "another process ended it"),
        (1, "OpenBLAS error: Memory allocation still failed", False, "memory", "--memory-limit"),
        (-6, "terminate called after throwing an instance of 'std::bad_alloc'", True, "memory", "--memory-limit"),
    ],
)
def test_what_a_death_means(code: int, last: str, begun: bool, limit: str, remedy: str) -> None:
    found = death(code, last, begun=begun)
    assert found.limit == limit
    assert remedy in found.remedy


def test_a_death_by_a_limit_of_time_that_leaves_no_signal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fc2conv.system.ulimit", lambda flag: (1, True) if flag == "-t" else None)
    found = death(-9, "", begun=True)
    assert (found.limit, found.remedy.startswith("raise `ulimit -t`, which is 1, or raise ")) == ("time", True)


@pytest.fixture
def two_descriptors() -> Iterator[None]:
    """Leaves two more descriptors than are open."""
    used = max(int(path.name) for path in OPEN.iterdir())
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (used + 2, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def another() -> int:
    """One more descriptor; -1 where there is none."""
    try:
        return os.dup(0)
    except OSError:
        return -1


def test_a_private_folder_is_removed_with_its_own_descriptor(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    workspace = Workspace(tmp_path)
    (workspace.path / "data").mkdir()
    (workspace.path / "data" / "weights").write_bytes(b"half")
    with (workspace.path / "a").open("wb"):
        request.getfixturevalue("two_descriptors")
        kept = [*iter(another, -1)]
        workspace.remove()
        for each in kept:
            os.close(each)
    assert not list(tmp_path.iterdir())


def test_the_weights_of_a_file_share_one_descriptor(tmp_path: Path) -> None:
    file = read_model(save_external(tmp_path / "a.onnx", "a.bin"))
    before = len([*OPEN.iterdir()])
    kept = [file.array(tensor) for tensor in file.model.graph.initializer for _ in range(3)]
    assert len([*OPEN.iterdir()]) <= before + 1
    assert np.array_equal(kept[0], onnx.numpy_helper.to_array(model(WIDE).graph.initializer[0]))
    kept.clear()
    assert len([*OPEN.iterdir()]) == before


def test_a_replaced_file_is_mapped_again(tmp_path: Path) -> None:
    first = read_model(save(tmp_path / "a.onnx", 1, WIDE))
    old = first.array(first.model.graph.initializer[0])
    save(tmp_path / "b.onnx", 2, WIDE).replace(tmp_path / "a.onnx")
    second = read_model(tmp_path / "a.onnx")
    new = second.array(second.model.graph.initializer[0])
    assert not np.array_equal(old, new)


# ------------------------------------------------------------------ streams, folders, /proc


@pytest.mark.parametrize("forks", [True, False])
def test_all_streams_closed(forks: bool, lenet: Path) -> None:
    def closed() -> None:
        os.closerange(0, 3)

    done = run(lenet.parent, "lenet.onnx", "out.onnx", "--report", "r.json", before=closed, forks=forks)
    assert (done.returncode, done.stdout, done.stderr) == (ExitCode.DONE, "", "")
    assert fc2conv.verify(lenet, lenet.with_name("out.onnx")).verdict == "proved"
    assert lenet.with_name("r.json").read_bytes().startswith(b"{")


def test_without_proc(lenet: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody knows of threads then, so that nothing is forked; onnxruntime gets the weights in memory."""
    listdir = os.listdir

    def absent(path: str = ".") -> list[str]:
        if str(path).startswith("/proc"):
            raise FileNotFoundError(errno.ENOENT, "No such file or directory", path)
        return listdir(path)

    monkeypatch.setattr(os, "listdir", absent)
    assert not parent._may_fork()
    monkeypatch.setattr(os.path, "isdir", lambda _: False)
    prepared, folder = runnable(read_model(lenet))
    assert folder is None
    assert not any(tensor.external_data for tensor in prepared.graph.initializer)
    monkeypatch.undo()
    assert runnable(read_model(lenet))[1] == lenet.parent


@pytest.mark.parametrize(
    ("argv", "code", "message"),
    [
        (["lenet.onnx", "out.onnx"], ExitCode.INPUT, "lenet.onnx does not exist"),
        (["{}", "out.onnx"], ExitCode.OUTPUT, "out.onnx cannot be written (No such file or directory)"),
        (["check", "{}", "--report", "r.json"], ExitCode.OUTPUT, "r.json cannot be written (No such file"),
        (["batch", "{}", "out"], ExitCode.OUTPUT, "cannot be written (No such file or directory)"),
        (["heatmap", "{}", "a.png", "b.png"], ExitCode.OUTPUT, "b.png cannot be written (No such file"),
        (["report", "run"], ExitCode.INPUT, "run holds no journal"),
        (["check", "{}"], ExitCode.CHECK_FOUND, ""),
    ],
)
def test_a_working_folder_that_is_gone(
    argv: list[str],
    code: ExitCode,
    message: str,
    lenet: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    gone = lenet.parent / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert main([each.format(lenet) for each in argv]) == code
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == bool(message)


def test_no_folder_for_temporary_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refused(*_: object, **__: object) -> str:
        raise FileNotFoundError(errno.ENOENT, "No usable temporary directory found")

    monkeypatch.setattr(staging, "Workspace", refused)
    fetched = staged(Item(name="a.onnx", kind="zip", location="a.zip", member="a.onnx"))
    with pytest.raises(OutputError, match=r"no folder can be made for temporary files .*: free some space, or have"):
        fetched.__enter__()
    save(tmp_path / "zoo" / "a.onnx")
    assert main(["batch", str(tmp_path / "zoo"), str(tmp_path / "out"), "-q"]) == ExitCode.OUTPUT
    assert "no folder can be made in " in capsys.readouterr().err


# ------------------------------------------------------------------ names that are no UTF-8


def test_files_whose_names_are_no_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / ODD
    save(folder / f"{ODD}.onnx", 0, WIDE)
    monkeypatch.chdir(folder)
    reports = [word for suffix in ("json", "html", "md", "xml", "csv") for word in ("--report", f"{ODD}.{suffix}")]
    assert main([f"{ODD}.onnx", f"out{ODD}.onnx", *reports]) == ExitCode.DONE
    assert "m\\udcff\\udce9.onnx" in capsys.readouterr().out
    assert main(["verify", f"{ODD}.onnx", f"out{ODD}.onnx", "--certificate", f"{ODD}.json", "-q"]) == ExitCode.DONE
    assert main([f"{ODD}.onnx", f"external{ODD}.onnx", "--external-data", "-q"]) == ExitCode.DONE
    (data,) = folder.glob("external*.data")
    assert data.name.startswith("externalm__-")
    assert main(["verify", f"{ODD}.onnx", f"external{ODD}.onnx", "-q"]) == ExitCode.DONE


def test_a_large_file_whose_name_is_no_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = read_model(save(tmp_path / f"{ODD}.onnx", 0, WIDE))
    monkeypatch.setattr(forms, "MAX_INLINE", 1 << 10)
    with pytest.raises(InputError, match=r"only by a name in UTF-8.*: copy it to a folder with such a name"):
        runnable(file)


@pytest.mark.parametrize("name", ["scheduler", "library"])
def test_arguments_that_are_no_text(name: str, lenet: Path, capsys: pytest.CaptureFixture[str]) -> None:
    argv = {
        "scheduler": ["batch", str(lenet), str(lenet.with_name("out")), "--scheduler", f"tcp://{ODD}:1"],
        "library": ["verify", str(lenet), str(lenet), "--custom-op-library", f"{ODD}.so"],
    }
    assert main(argv[name]) == ExitCode.USAGE
    printed = capsys.readouterr().err
    assert printed.startswith("fc2conv: error: ")
    assert printed.isascii()
    assert printed.count("\n") == 1
