"""Writing: round trips, forms, payloads of every kind, and the mode and the links of an output."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import ModelProto, numpy_helper
from onnxfile_models import EVERYWHERE, save, save_external, snapshot, weight, write

from fc2conv.errors import OutputError
from fc2conv.io import staged, writer
from fc2conv.io.forms import materialize
from fc2conv.io.payload import Buffer
from fc2conv.io.reader import model_file_from_proto, read_model
from fc2conv.io.tensors import set_payload
from fc2conv.io.writer import stage
from fc2conv.options import Form


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


def test_names_cover_size_and_content(tmp_path: Path) -> None:
    path = tmp_path / "a"
    seen = set()
    for content in (b"", b"\0", b"\0\0", bytes(5000), bytes(4999) + b"\1", b"\1" + bytes(4999)):
        path.write_bytes(content)
        names = tuple(staged.content_names(path))
        assert list(map(len, names)) == [8, 16, 64]
        assert names == tuple(staged.content_names(path))
        seen.update(names)
    assert len(seen) == 3 * 6


def test_files_that_differ_between_the_samples_have_other_names(tmp_path: Path) -> None:
    content = bytearray(np.random.default_rng(0).bytes(1 << 23))
    (tmp_path / "a").write_bytes(content)
    content[5000] ^= 1
    (tmp_path / "b").write_bytes(content)
    first, second = (list(staged.content_names(tmp_path / each)) for each in "ab")
    assert first[0] == second[0]
    assert not {*first[1:]}.intersection(second[1:])
    assert not staged.same_content(tmp_path / "a", tmp_path / "b")
    assert staged.same_content(tmp_path / "a", tmp_path / "a")
