"""Places that cannot be written, and several runs at one place, by the whole command line on a real file system."""

from __future__ import annotations

import difflib  # noqa: F401  click loads it late
import encodings.ascii  # noqa: F401  as does a child that is asked for its memory
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import onnx
import pytest

from fc2conv import api
from fc2conv import pipeline as flow
from fc2conv.errors import OutputError
from fc2conv.io import staged
from fc2conv.io.reader import read_model
from fc2conv.io.writer import stage
from fc2conv.options import Options

from .trials import files, in_child, model

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="children are forked as on Linux")

NOBODY = 65534
FEATURES = 16


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder that other users can enter, with a model in it."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        given, loads = Path(name) / "in.onnx", Path(name) / "loads.onnx"
        given.write_bytes(model(1, FEATURES).SerializeToString())
        # What is loaded on the way is loaded here: another user may not read it.
        flow.convert(str(given), str(loads), Options(verify=False))
        api.load()
        loads.unlink()
        yield Path(name)


def without_privileges() -> None:
    """Root may write anywhere: it becomes somebody who may not."""
    if os.getuid() == 0:
        os.setgroups([])
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)


@pytest.mark.parametrize("effective", [False, True])
def test_without_permission(place: Path, effective: bool) -> None:
    there = place / "there"
    there.mkdir()
    (there / "old.onnx").write_bytes(b"old")
    (there / "old.onnx").chmod(0o444)
    there.chmod(0o555)
    if effective and os.getuid():
        pytest.skip("only root can be another user in effect alone")
    prepare = (lambda: os.seteuid(NOBODY)) if effective else without_privileges
    for name, words in (("new.onnx", "its folder is not writable"), ("old.onnx", "may not be written")):
        ended = in_child([str(place / "in.onnx"), str(there / name)], prepare=prepare)
        assert (ended.code, ended.printed.count("\n")) == (6, 1), ended.printed
        assert words in ended.printed
    assert files(there) == {"old.onnx": b"old"}
    there.chmod(0o755)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can mount a file system")
def test_on_a_read_only_file_system(place: Path) -> None:
    there = place / "there"
    there.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "ro,size=1m", "fc2conv", there], capture_output=True)
    if mounted.returncode:
        pytest.skip("no file system can be mounted here")
    try:
        ended = in_child([str(place / "in.onnx"), str(there / "out.onnx")])
    finally:
        subprocess.run(["umount", there], check=True)
    assert ended.code == 6
    assert "(Read-only file system): the file system is read-only" in ended.printed


@pytest.mark.parametrize("form", ["inline", "external"])
def test_the_folder_vanishes(place: Path, form: str) -> None:
    file, there = read_model(place / "in.onnx"), place / "there"
    there.mkdir()
    with stage(file.model, file.payloads, there / "out.onnx", form=form, source=file) as result:  # type: ignore[arg-type]
        shutil.rmtree(there)
        with pytest.raises(OutputError, match=r"out\.onnx cannot be written \(No such file"):
            result.publish()
    assert not there.exists()


@pytest.mark.parametrize("form", ["--inline", "--external-data"])
def test_several_runs_at_once_leave_one_whole_result(place: Path, command: Path, form: str) -> None:
    wanted = {}
    for seed in range(4):
        (place / f"{seed}.onnx").write_bytes(model(seed, FEATURES).SerializeToString())
        assert in_child([str(place / f"{seed}.onnx"), str(place / "out.onnx"), form]).code == 0
        wanted[seed] = (place / "out.onnx").read_bytes()
    for each in place.glob("out*"):
        each.unlink()
    runs = [
        subprocess.Popen([command, f"{seed}.onnx", "out.onnx", "--no-verify", "-q", form], cwd=place)
        for seed in (0, 1, 2, 3, 0, 1)
    ]
    assert [run.wait(timeout=300) for run in runs] == [0] * 6
    assert (place / "out.onnx").read_bytes() in wanted.values()
    (tensor, *_) = onnx.load(place / "out.onnx").graph.initializer
    assert tensor.dims[0] == FEATURES
    assert {each.suffix for each in place.iterdir()} <= {".onnx", ".data"}


def test_data_is_never_taken_back_from_under_another_run(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One run fails just after its data file appeared, while another that needs the same file is about to publish."""
    file = read_model(place / "in.onnx")
    first, second = (
        stage(file.model, file.payloads, place / "out.onnx", form="external", source=file) for _ in range(2)
    )
    placed, other = staged.Staged._place, threading.Thread(target=second.publish)

    def place_and_fail(self: staged.Staged, *arguments: object) -> None:
        placed(self, *arguments)  # type: ignore[arg-type]
        if self is first:
            other.start()
            other.join(timeout=0.2)  # it waits for this one to end
            raise OSError(5, "Input/output error")

    monkeypatch.setattr(staged.Staged, "_place", place_and_fail)
    with first, second:
        with pytest.raises(OutputError):
            first.publish()
        other.join(timeout=60)
    assert onnx.load(place / "out.onnx").graph.initializer[0].raw_data


@pytest.mark.parametrize("report", ["in.onnx", "out.onnx", "link.onnx"])
def test_a_report_never_replaces_a_model(place: Path, report: str) -> None:
    (place / "link.onnx").symlink_to("in.onnx")
    before = files(place)
    ended = in_child([str(place / "in.onnx"), str(place / "out.onnx"), "--report", str(place / report)])
    assert (ended.code, ended.printed.count("\n")) == (2, 1)
    assert files(place) == before
