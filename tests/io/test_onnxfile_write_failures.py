"""What is left on disk: after every failure, of a process that died, and of a source that changes."""

from __future__ import annotations

import errno
import mmap
import multiprocessing
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from onnxfile_models import snapshot, write

from fc2conv import system
from fc2conv.errors import InputError, OutputError
from fc2conv.io import payload, workspace, writer
from fc2conv.io.reader import read_model
from fc2conv.io.writer import stage
from fc2conv.options import Form


def test_leaving_without_publishing_leaves_nothing(source: Path, tmp_path: Path) -> None:
    file = read_model(source)
    for form in ("inline", "external"):
        with stage(file.model, file.payloads, tmp_path / "out.onnx", form=form, source=file) as result:
            assert result.path.exists()
        assert sorted(snapshot(tmp_path)) == ["in.onnx"]


@pytest.mark.parametrize("form", ["inline", "external"])
@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()])
@pytest.mark.parametrize(
    ("place", "name"),
    [(os, "fsync"), (os, "replace"), (os, "copy_file_range"), (payload.Sink, "_write"), (writer, "_write")],
)
@pytest.mark.parametrize("after", [0, 1])
def test_a_failure_at_any_step_changes_nothing(
    form: Form,
    error: BaseException,
    place: object,
    name: str,
    after: int,
    source: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out = tmp_path / "out.onnx"
    out.write_bytes(b"old")
    before = snapshot(tmp_path)
    real, calls = getattr(place, name), 0

    def failing(*arguments: object, **named: object) -> object:
        nonlocal calls
        calls += 1
        if calls > after:
            raise error
        return real(*arguments, **named)

    monkeypatch.setattr(place, name, failing)
    found = outcome(lambda: write(read_model(source), out, form))
    monkeypatch.undo()
    if isinstance(found, OutputError):
        assert "out.onnx cannot be written (No space left" in found.message
        assert found.remedy
    if out.read_bytes() == b"old":
        assert found is not None
        assert snapshot(tmp_path) == before
    else:  # the failure came after the last rename, or never
        assert calls <= after or name == "fsync"
        assert read_model(out).array(read_model(out).model.graph.initializer[0]).shape == (32, 32)
        assert not list(tmp_path.glob(".fc2conv-*"))


def outcome(action: Callable[[], None]) -> BaseException | None:
    try:
        action()
    except (OutputError, KeyboardInterrupt) as error:
        return error
    return None


def test_an_interrupt_just_after_the_last_rename_keeps_the_data(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.replace

    def interrupted(old: Path, new: Path) -> None:
        real(old, new)
        if Path(new).name == "out.onnx":
            raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write(read_model(source), tmp_path / "out.onnx", "external")
    assert read_model(tmp_path / "out.onnx").payloads


def test_what_the_kernel_does_not_copy(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unsupported(*_: object) -> int:
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    monkeypatch.setattr(os, "copy_file_range", unsupported)
    write(read_model(source), tmp_path / "out.onnx")
    assert (tmp_path / "out.onnx").read_bytes() == source.read_bytes()


@pytest.mark.parametrize("most", [1000, 1 << 30])
@pytest.mark.parametrize("shift", [0, 29, mmap.PAGESIZE])
def test_the_kernel_copies_what_lies_on_pages_as_in_its_source(
    shift: int, most: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = np.random.default_rng(0).bytes(3 * payload.BLOCK + 100)
    (tmp_path / "in").write_bytes(data)
    asked: list[int] = []

    def copy(source: int, sink: int, offset: int, count: int) -> int:
        asked.append(offset)
        return os.write(sink, os.pread(source, min(count, most), offset)) if len(asked) < 3 else 0

    monkeypatch.setattr(system, "kernel_copy", copy)
    with payload.Sink(tmp_path / "out", 0o600) as sink:
        sink.add(memoryview(data)[:shift])
        sink.add(payload.Span(tmp_path / "in", 0, len(data)))
    assert (tmp_path / "out").read_bytes() == data[:shift] + data
    assert bool(asked) == (shift != 29)


@pytest.mark.parametrize("threads", [True, False])
def test_a_large_file_is_written_where_no_thread_can_start(
    threads: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(_: object) -> None:
        raise RuntimeError("can't start new thread")

    if not threads:
        monkeypatch.setattr(payload.Thread, "start", refused)
    data = np.random.default_rng(0).bytes(2 * payload.COPY_BLOCK + 100)
    with payload.Sink(tmp_path / "out", 0o600) as sink:
        for _ in range(2):
            sink.add(memoryview(data))
    assert (tmp_path / "out").read_bytes() == data + data


def test_a_source_that_changes_is_noticed(source: Path, tmp_path: Path) -> None:
    file = read_model(source)
    source.write_bytes(source.read_bytes())
    os.utime(source, ns=(1, 1))
    with pytest.raises(InputError, match="changed"):
        stage(file.model, file.payloads, tmp_path / "out.onnx", form="keep", source=file)
    source.write_bytes(source.read_bytes()[:2000])
    with pytest.raises((InputError, OutputError)):
        stage(file.model, file.payloads, tmp_path / "out.onnx", form="keep", source=file)
    assert sorted(snapshot(tmp_path)) == ["in.onnx"]


def killed_while_staging(source: Path, out: Path, ready: object, locked: bool) -> None:
    file = read_model(source)
    result = stage(file.model, file.payloads, out, form="keep", source=file)
    if not locked:
        (result.path.parent / ".fc2conv-lock").unlink()
        result.path.unlink()
    ready.set()  # type: ignore[attr-defined]
    multiprocessing.Event().wait(60)


@pytest.mark.parametrize("locked", [True, False])
def test_only_folders_of_dead_processes_are_swept(locked: bool, source: Path, tmp_path: Path) -> None:
    spawn = multiprocessing.get_context("spawn")
    ready = spawn.Event()
    other = spawn.Process(target=killed_while_staging, args=(source, tmp_path / "other.onnx", ready, locked))
    other.start()
    try:
        assert ready.wait(60)
        if locked:
            write(read_model(source), tmp_path / "out.onnx")
            assert len(list(tmp_path.glob(".fc2conv-*"))) == 1
    finally:
        other.kill()
        other.join()
    (tmp_path / ".fc2conv-mine").mkdir()
    write(read_model(source), tmp_path / "out.onnx")
    assert [each.name for each in tmp_path.glob(".fc2conv-*")] == [".fc2conv-mine"]


def test_a_swept_folder_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, calls = system.lock, 0

    def too_late(path: Path, flags: int) -> Callable[[], None] | None:
        nonlocal calls
        calls += 1
        if calls == 1:
            path.parent.rmdir()
        return real(path, flags)

    monkeypatch.setattr(system, "lock", too_late)
    made = workspace.Workspace(tmp_path)
    assert made.path.is_dir()
    made.remove()
    assert snapshot(tmp_path) == {}
