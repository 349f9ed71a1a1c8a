"""Outputs that are refused, and copies: byte-identical, with their data, or not at all."""

from __future__ import annotations

import errno
import os
import stat
import tempfile
from pathlib import Path

import pytest
from onnx import ModelProto
from onnxfile_models import save_external, snapshot, write

from fc2conv.errors import OutputError
from fc2conv.io.reader import ModelFile, read_model
from fc2conv.io.writer import stage, stage_copy


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
    with tempfile.TemporaryFile() as nameless:
        refuse(file, Path(f"/proc/self/fd/{nameless.fileno()}"), "not a regular file")
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


def test_no_data_beside_the_end_of_a_link(model: ModelProto, tmp_path: Path) -> None:
    """Whoever reads the model through the link looks for its data beside the link."""
    file = read_model(save_external(model, tmp_path / "in.onnx"))
    (tmp_path / "links").mkdir()
    (tmp_path / "links" / "out.onnx").symlink_to(tmp_path / "out.onnx")
    (tmp_path / "folder").symlink_to(tmp_path)
    before = sorted(snapshot(tmp_path))
    refuse(file, tmp_path / "links" / "out.onnx", f"write to {tmp_path}/out.onnx")
    assert sorted(snapshot(tmp_path)) == before
    write(file, tmp_path / "links" / "out.onnx", "inline")
    write(file, tmp_path / "folder" / "out.onnx", "keep")
    with stage_copy(file, tmp_path / "folder" / "copy.onnx") as result:
        result.publish()
    assert result.data_names == ["weights.bin"]


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
