"""Writing: round trips, forms, what is left on disk after success and after every failure, and refused outputs."""

from __future__ import annotations

import errno
import multiprocessing
import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import ModelProto, numpy_helper
from onnxfile_models import EVERYWHERE, initializer, save, save_external, snapshot, weight

from fc2conv import workspace
from fc2conv.errors import InputError, OutputError
from fc2conv.onnxfile import (
    Buffer,
    ModelFile,
    materialize,
    model_file_from_proto,
    payload,
    read_model,
    set_payload,
    stage,
    stage_copy,
    staged,
    writer,
)
from fc2conv.options import Form


def write(file: ModelFile, path: Path, form: Form = "keep") -> None:
    with stage(file.model, file.payloads, path, form=form, source=file) as result:
        assert read_model(result.path).nbytes == result.nbytes
        result.publish()
        assert read_model(path).nbytes == result.nbytes


@pytest.fixture
def model() -> ModelProto:
    return initializer()


@pytest.fixture
def source(model: ModelProto, tmp_path: Path) -> Path:
    return save(model, tmp_path / "in.onnx")


@pytest.mark.parametrize("make", EVERYWHERE, ids=lambda make: make.__name__)
def test_inline_round_trip_is_byte_identical(make: Callable[[], ModelProto], tmp_path: Path) -> None:
    path = save(make(), tmp_path / "in.onnx")
    write(read_model(path), tmp_path / "out.onnx")
    assert (tmp_path / "out.onnx").read_bytes() == path.read_bytes()
    assert sorted(snapshot(tmp_path)) == ["in.onnx", "out.onnx"]


@pytest.mark.parametrize("make", EVERYWHERE, ids=lambda make: make.__name__)
def test_external_and_back(make: Callable[[], ModelProto], tmp_path: Path) -> None:
    path = save(make(), tmp_path / "in.onnx")
    write(read_model(path), tmp_path / "out.onnx", "external")
    (data,) = tmp_path.glob("*.data")
    assert data.name.startswith("out-")
    file = read_model(tmp_path / "out.onnx")
    assert file.external
    assert {each.path for each in file.payloads.values()} == {data}
    write(file, tmp_path / "back.onnx", "inline")
    got, expected = onnx.load(tmp_path / "back.onnx"), onnx.load(path)
    expected.graph.initializer and expected.graph.initializer[0].ClearField("data_location")
    assert got.SerializeToString() == expected.SerializeToString()


def test_external_stays_external(model: ModelProto, tmp_path: Path) -> None:
    path = save_external(model, tmp_path / "in.onnx")
    write(read_model(path), tmp_path / "out.onnx")
    loaded = onnx.load(tmp_path / "out.onnx")
    for old, new in zip(model.graph.initializer, loaded.graph.initializer, strict=True):
        np.testing.assert_array_equal(numpy_helper.to_array(old), numpy_helper.to_array(new))
    assert len(list(tmp_path.glob("out-*.data"))) == 1


@pytest.mark.parametrize("form", ["inline", "external"])
def test_in_place(form: Form, model: ModelProto, source: Path) -> None:
    for _ in range(2):
        write(read_model(source), source, form)
        assert numpy_helper.to_array(onnx.load(source).graph.initializer[0]).tobytes() == (
            model.graph.initializer[0].raw_data
        )


def test_the_same_content_has_the_same_name_and_is_written_once(source: Path, tmp_path: Path) -> None:
    write(read_model(source), tmp_path / "out.onnx", "external")
    before = snapshot(tmp_path)
    (data,) = tmp_path.glob("*.data")
    inode = data.stat().st_ino
    write(read_model(source), tmp_path / "out.onnx", "external")
    assert snapshot(tmp_path) == before
    assert data.stat().st_ino == inode


def test_a_name_that_other_content_has_is_not_taken(source: Path, tmp_path: Path) -> None:
    write(read_model(source), tmp_path / "out.onnx", "external")
    (data,) = tmp_path.glob("*.data")
    data.write_bytes(b"damaged")
    write(read_model(source), tmp_path / "out.onnx", "external")
    assert data.read_bytes() == b"damaged"
    assert numpy_helper.to_array(onnx.load(tmp_path / "out.onnx").graph.initializer[0]).shape == (32, 32)


@dataclass(frozen=True)
class Slabs:
    """A payload of a kind that the package does not know."""

    data: bytes

    @property
    def nbytes(self) -> int:
        return len(self.data)

    def blocks(self) -> Iterator[bytes]:
        yield self.data[:1000]
        yield self.data[1000:]


@pytest.mark.parametrize("form", ["inline", "external"])
def test_any_payload_can_be_written(form: Form, source: Path, tmp_path: Path) -> None:
    file = read_model(source)
    payloads = {**file.payloads, "fc2conv:new": Slabs(bytes(range(256)) * 16), "fc2conv:b": Buffer(b"\1" * 4096)}
    skeleton = ModelProto.FromString(file.model.SerializeToString())
    for key in ("fc2conv:new", "fc2conv:b", "fc2conv:new"):
        added = weight(f"V{len(skeleton.graph.initializer)}")
        set_payload(added, key)
        skeleton.graph.initializer.append(added)
    with stage(skeleton, payloads, tmp_path / "out.onnx", form=form, source=file) as result:
        result.publish()
    loaded = onnx.load(tmp_path / "out.onnx")
    assert [each.raw_data[:2] for each in loaded.graph.initializer[2:]] == [b"\0\1", b"\1\1", b"\0\1"]
    assert loaded.SerializeToString() == materialize(skeleton, payloads).SerializeToString() or form == "external"


def test_a_payload_that_yields_too_little_is_a_fault(source: Path, tmp_path: Path) -> None:
    file = read_model(source)

    class Short(Slabs):
        @property
        def nbytes(self) -> int:
            return 5000

    broken = dict.fromkeys(file.payloads, Short(bytes(4096)))
    with pytest.raises(ValueError, match="4096 bytes instead of 5000"):
        stage(file.model, broken, tmp_path / "out.onnx", form="inline", source=file)
    assert sorted(snapshot(tmp_path)) == ["in.onnx"]


def test_past_the_limit_of_protobuf(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "MAX_INLINE", source.stat().st_size - 1)
    file = read_model(source)
    with pytest.raises(OutputError, match="external data"):
        stage(file.model, file.payloads, tmp_path / "out.onnx", form="inline", source=file)
    write(file, tmp_path / "out.onnx")
    assert read_model(tmp_path / "out.onnx").external
    monkeypatch.setattr(writer, "MAX_INLINE", source.stat().st_size)
    write(file, tmp_path / "out.onnx")
    assert not read_model(tmp_path / "out.onnx").external


def test_a_model_from_memory_is_written(model: ModelProto, tmp_path: Path) -> None:
    write(model_file_from_proto(model), tmp_path / "out.onnx")
    assert (tmp_path / "out.onnx").read_bytes() == model.SerializeToString()


def test_the_mode_of_an_output_is_kept(source: Path, tmp_path: Path) -> None:
    mask = os.umask(0o027)
    try:
        write(read_model(source), tmp_path / "new.onnx")
        (tmp_path / "old.onnx").touch()
        (tmp_path / "old.onnx").chmod(0o604)
        write(read_model(source), tmp_path / "old.onnx")
    finally:
        os.umask(mask)
    assert stat.S_IMODE((tmp_path / "new.onnx").stat().st_mode) == 0o640
    assert stat.S_IMODE((tmp_path / "old.onnx").stat().st_mode) == 0o604


def test_a_link_leads_to_the_output(source: Path, tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    for name in ("old.onnx", "new.onnx"):
        (tmp_path / name).symlink_to(f"real/{name}")
    (tmp_path / "real" / "old.onnx").write_bytes(b"old")
    for name in ("old.onnx", "new.onnx"):
        write(read_model(source), tmp_path / name)
        assert (tmp_path / name).is_symlink()
        assert (tmp_path / "real" / name).read_bytes() == source.read_bytes()


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
    [(os, "fsync"), (os, "replace"), (os, "copy_file_range"), (payload, "_write_all"), (writer, "_write")],
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
    told = outcome(lambda: write(read_model(source), out, form))
    monkeypatch.undo()
    if isinstance(told, OutputError):
        assert "out.onnx cannot be written (No space left" in told.message
        assert told.remedy
    if out.read_bytes() == b"old":
        assert told is not None
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


@pytest.mark.parametrize("missing", [("copy_file_range",), ("copy_file_range", "sendfile")])
def test_slower_ways_to_copy(
    missing: tuple[str, ...], source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unsupported(*_: object) -> int:
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    for name in missing:
        monkeypatch.setattr(os, name, unsupported)
    write(read_model(source), tmp_path / "out.onnx")
    assert (tmp_path / "out.onnx").read_bytes() == source.read_bytes()


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


def refuse(file: ModelFile, path: Path, words: str) -> None:
    for action in (
        lambda: stage(file.model, file.payloads, path, form="keep", source=file),
        lambda: stage_copy(file, path),
    ):
        with pytest.raises(OutputError) as caught:
            action()
        assert words in f"{caught.value.message}: {caught.value.remedy}"
        assert caught.value.message.isprintable()
        assert caught.value.remedy


def test_outputs_that_are_refused(source: Path, tmp_path: Path) -> None:
    file = read_model(source)
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "loop").symlink_to("loop")
    before = sorted(snapshot(tmp_path))
    refuse(file, tmp_path / "gone" / "out.onnx", "folder does not exist")
    refuse(file, tmp_path / "in.onnx" / "out.onnx", "folder does not exist")
    refuse(file, tmp_path / "folder", "is a folder")
    refuse(file, tmp_path / "fifo", "not a regular file")
    refuse(file, Path("/dev/null"), "not a regular file")
    refuse(file, tmp_path / ("n" * 256), "shorter name")
    refuse(file, tmp_path / "a\0b", "name")
    refuse(file, tmp_path / "loop", "loop")
    assert sorted(snapshot(tmp_path)) == before
    assert stat.S_ISCHR(Path("/dev/null").stat().st_mode)


def test_a_long_name_that_just_fits(source: Path, tmp_path: Path) -> None:
    write(read_model(source), tmp_path / ("n" * 250 + ".onnx"), "external")


def test_a_data_file_of_the_source_is_no_output(model: ModelProto, tmp_path: Path) -> None:
    file = read_model(save_external(model, tmp_path / "in.onnx"))
    refuse(file, tmp_path / "weights.bin", "data file of the model")


def test_a_copy_is_byte_identical(source: Path, tmp_path: Path) -> None:
    source.write_bytes(source.read_bytes() + b"\xaa\x3f\x05hello")
    with stage_copy(read_model(source), tmp_path / "out.onnx") as result:
        assert result.nbytes == source.stat().st_size
        assert read_model(result.path).payloads
        result.publish()
    assert (tmp_path / "out.onnx").read_bytes() == source.read_bytes()
    assert sorted(snapshot(tmp_path)) == ["in.onnx", "out.onnx"]


def test_a_copy_onto_itself_changes_nothing(source: Path, tmp_path: Path) -> None:
    (tmp_path / "link.onnx").symlink_to("in.onnx")
    inode = source.stat().st_ino
    for path in (source, tmp_path / "link.onnx"):
        with stage_copy(read_model(source), path) as result:
            result.publish()
    assert source.stat().st_ino == inode


def test_a_copy_in_the_same_folder_shares_the_data(model: ModelProto, tmp_path: Path) -> None:
    path = save_external(model, tmp_path / "in.onnx")
    with stage_copy(read_model(path), tmp_path / "out.onnx") as result:
        result.publish()
    assert sorted(snapshot(tmp_path)) == ["in.onnx", "out.onnx", "weights.bin"]
    assert read_model(tmp_path / "out.onnx").payloads == read_model(path).payloads


def test_a_copy_elsewhere_takes_the_data_along(model: ModelProto, tmp_path: Path) -> None:
    path = save_external(model, tmp_path / "in.onnx", "sub/weights.bin")
    there = tmp_path / "there"
    there.mkdir()
    for _ in range(2):
        with stage_copy(read_model(path), there / "out.onnx") as result:
            assert read_model(result.path).payloads
            result.publish()
        assert sorted(snapshot(there)) == ["out.onnx", "sub", "sub/weights.bin"]
        assert (there / "sub/weights.bin").read_bytes() == (tmp_path / "sub/weights.bin").read_bytes()


def test_a_copy_never_replaces_another_data_file(model: ModelProto, tmp_path: Path) -> None:
    path = save_external(model, tmp_path / "in.onnx")
    there = tmp_path / "there"
    there.mkdir()
    (there / "weights.bin").write_bytes(b"another model's")
    before = snapshot(there)
    with pytest.raises(OutputError, match="another folder"):
        stage_copy(read_model(path), there / "out.onnx")
    with pytest.raises(OutputError, match=r"another name|another folder"):
        stage_copy(read_model(path), there / "weights.bin")
    assert snapshot(there) == before


def test_a_failed_copy_takes_back_its_data(model: ModelProto, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save_external(model, tmp_path / "in.onnx", "sub/weights.bin")
    there = tmp_path / "there"
    there.mkdir()
    real = os.replace

    def failing(old: Path, new: Path) -> None:
        if Path(new).name == "out.onnx":
            raise OSError(errno.EIO, "Input/output error")
        real(old, new)

    monkeypatch.setattr(os, "replace", failing)
    with pytest.raises(OutputError), stage_copy(read_model(path), there / "out.onnx") as result:
        result.publish()
    assert snapshot(there) == {}


def killed_while_staging(source: Path, out: Path, ready: object, locked: bool) -> None:
    file = read_model(source)
    result = stage(file.model, file.payloads, out, form="keep", source=file)
    if not locked:
        (result.path.parent / "lock").unlink()
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
    real, calls = workspace._locked, 0

    def too_late(path: Path, flags: int) -> int:
        nonlocal calls
        calls += 1
        if calls == 1:
            path.parent.rmdir()
        return real(path, flags)

    monkeypatch.setattr(workspace, "_locked", too_late)
    made = workspace.Workspace(tmp_path)
    assert made.path.is_dir()
    made.remove()
    assert snapshot(tmp_path) == {}


def test_the_digest_covers_size_and_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a"
    seen = set()
    monkeypatch.setattr(staged, "HASH_BLOCK", staged._READ)
    for content in (b"", b"\0", b"\0\0", bytes(staged._READ), bytes(staged._READ + 1), b"\1" + bytes(staged._READ)):
        path.write_bytes(content)
        seen.add(staged.content_digest(path))
        assert staged.content_digest(path) in seen
    assert len(seen) == 6
