"""Every input that is refused, with what is said about it."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from onnx import ModelProto, TensorProto
from onnxfile_models import EVERYWHERE, RNG, SIZE, external_tensor, initializer, model_of, product, refuse, save

import fc2conv
from fc2conv.errors import InputError
from fc2conv.io.reader import model_file_from_proto, read_model
from fc2conv.io.wire import prefix


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 5\n", "git lfs pull"),
        (b"\n<!DOCTYPE html><html></html>", "HTML"),
        (b"PK\x03\x04" + bytes(60), "ZIP"),
        (b"\x1f\x8b" + bytes(60), "gzip"),
        (b"\x00" * 64, "not a valid ONNX model"),
        (b"hello, this is no model at all", "ONNX model"),
        (b"\x08\x08", "no graph"),
        (b"\xff" * 40, "not a valid ONNX model"),
        (b"\x3a\xff\xff\xff\xff\x0f" + bytes(9), "truncated"),
        (b"\x3a\x02\x0a\x00" * 2, "twice"),
    ],
)
def test_no_model(content: bytes, words: str, tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(content)
    refuse(tmp_path / "m.onnx", words)


def test_no_regular_file(tmp_path: Path) -> None:
    refuse(tmp_path / "gone.onnx", "does not exist")
    refuse(tmp_path, "is a folder")
    os.mkfifo(tmp_path / "fifo.onnx")
    refuse(tmp_path / "fifo.onnx", "not a regular file")
    refuse(Path("/dev/null"), "not a regular file")
    refuse(tmp_path / ("n" * 300), "cannot be read")
    refuse(tmp_path / "new\nline", "does not exist")
    (tmp_path / "file").touch()
    refuse(tmp_path / "file" / "m.onnx", "cannot be read")


def test_a_node_whose_domain_is_no_text(tmp_path: Path) -> None:
    path, model = tmp_path / "m.onnx", initializer()
    model.graph.node[0].domain = "word"
    path.write_bytes(model.SerializeToString().replace(b"word", b"wo\xf2d"))
    with pytest.raises(InputError, match="not UTF-8"):
        fc2conv.convert(path, tmp_path / "out.onnx")


@pytest.mark.parametrize("make", EVERYWHERE, ids=lambda make: make.__name__)
def test_truncated_anywhere(make: Callable[[], ModelProto], tmp_path: Path) -> None:
    data = make().SerializeToString()
    path = tmp_path / "m.onnx"
    for cut in range(1, len(data) - 40, 97):
        path.write_bytes(data[:cut])
        with pytest.raises(InputError):
            read_model(path)


def test_random_damage_is_refused_or_read(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    whole = bytearray(initializer().SerializeToString())
    head = [*range(150), *range(len(whole) - 150, len(whole))]
    for _ in range(400):
        data = bytearray(whole)
        for at in RNG.choice(head, 2):
            data[at] = RNG.integers(256)
        path.write_bytes(data)
        with suppress(InputError):
            read_model(path)


def test_a_domain_that_is_no_text(tmp_path: Path) -> None:
    """Imported twice, so that one of both is to be chosen."""
    path = tmp_path / "m.onnx"
    path.write_bytes(initializer().SerializeToString() + 2 * b"\x42\x05\x0a\x01\xf2\x10\x01")
    with pytest.raises(InputError, match="imports has a name that is not UTF-8"):
        fc2conv.convert(path, tmp_path / "out.onnx")


def test_nesting_is_bounded(tmp_path: Path) -> None:
    inner = prefix(5, 4096 + 3) + prefix(9, 4096) + bytes(4096)
    for _ in range(200):
        for number in (6, 5, 1):
            inner = prefix(number, len(inner)) + inner
    (tmp_path / "m.onnx").write_bytes(prefix(7, len(inner)) + inner)
    refuse(tmp_path / "m.onnx", "messages are nested")


def tensor_bytes(**fields: object) -> bytes:
    return TensorProto(**fields).SerializeToString()


RAW = bytes(4 * SIZE * SIZE)
BASE = {"name": "W", "dims": [SIZE, SIZE], "data_type": TensorProto.FLOAT}


@pytest.mark.parametrize(
    ("serialized", "words"),
    [
        (tensor_bytes(**BASE, raw_data=RAW) + tensor_bytes(raw_data=RAW), "twice"),
        (tensor_bytes(**BASE, raw_data=RAW, float_data=[1.0]), "twice"),
        (tensor_bytes(**BASE, raw_data=b"1", float_data=[1.0]), "twice"),
        (tensor_bytes(**BASE, raw_data=RAW) + external_tensor(location="a").SerializeToString(), "twice"),
        (tensor_bytes(**BASE, raw_data=RAW[4:]), "4092 bytes"),
        (tensor_bytes(**BASE, raw_data=b"1234"), "4 bytes"),
        (tensor_bytes(**BASE), "0 bytes"),
        (tensor_bytes(name="W", dims=[-1, 4], data_type=1, raw_data=RAW), "negative"),
        (tensor_bytes(name="W", dims=[2**50, 2**50], data_type=1, raw_data=RAW), "elements"),
        (tensor_bytes(name="W", dims=[0, 2**62], data_type=1), "elements"),
        (tensor_bytes(name="W", dims=[1024], data_type=99, raw_data=RAW), "unknown data type 99"),
        (tensor_bytes(name="W", dims=[1024], data_type=8, raw_data=RAW), "cannot hold raw"),
        (tensor_bytes(name="W\x1b[2J", dims=[1], data_type=1, raw_data=b"12"), "W\\x1b[2J"),
        (tensor_bytes(name="W", dims=[1], data_type=1, int64_data=[1]), "int64_data"),
    ],
)
def test_tensors_whose_data_does_not_fit(serialized: bytes, words: str, tmp_path: Path) -> None:
    graph = prefix(5, len(serialized)) + serialized
    (tmp_path / "m.onnx").write_bytes(b"\x08\x08" + prefix(7, len(graph)) + graph)
    refuse(tmp_path / "m.onnx", words)


def place_link(folder: Path) -> None:
    (folder / "link.bin").symlink_to("good.bin")


def place_linked_folder(folder: Path) -> None:
    (folder / "real").mkdir()
    (folder / "real" / "w.bin").write_bytes(RAW)
    (folder / "sub").symlink_to("real")


def place_hard_link(folder: Path) -> None:
    (folder / "one.bin").write_bytes(RAW)
    (folder / "hard.bin").hardlink_to(folder / "one.bin")


def nothing(_: Path) -> None:
    """The folder is fine as it is."""


@pytest.mark.parametrize(
    ("entries", "arrange", "words"),
    [
        ({"location": "/etc/passwd"}, nothing, "absolute"),
        ({"location": "C:\\w.bin"}, nothing, "absolute"),
        ({"location": "../good.bin"}, nothing, "folder"),
        ({"location": "sub/../../good.bin"}, nothing, "folder"),
        ({"location": "gone.bin"}, nothing, "missing"),
        ({"location": "new\nline"}, nothing, "new\\nline"),
        ({"location": "n" * 300}, nothing, "cannot be read"),
        ({"location": ""}, nothing, "names no file"),
        ({"location": "a\0b"}, nothing, "names no file"),
        ({}, nothing, "names no file"),
        ({"location": "."}, nothing, "a folder"),
        ({"location": "m.onnx"}, nothing, "the model file itself"),
        ({"location": "link.bin"}, place_link, "symbolic link"),
        ({"location": "sub/w.bin"}, place_linked_folder, "symbolic link"),
        ({"location": "hard.bin"}, place_hard_link, "hard links"),
        ({"location": "fifo"}, lambda folder: os.mkfifo(folder / "fifo"), "not a regular file"),
        ({"location": "good.bin", "offset": 1}, nothing, "which has 4096"),
        ({"location": "good.bin", "offset": 2**50}, nothing, "which has 4096"),
        ({"location": "good.bin", "length": 2**50}, nothing, "which has 4096"),
        ({"location": "good.bin", "length": 4000}, nothing, "4000 bytes"),
        ({"location": "good.bin", "offset": -1}, nothing, "offset '-1'"),
        ({"location": "good.bin", "length": "0x10"}, nothing, "length '0x10'"),
        ({"location": "good.bin", "length": "9" * 40}, nothing, "length"),
    ],
)
def test_external_data_that_is_refused(
    entries: dict[str, object], arrange: Callable[[Path], None], words: str, tmp_path: Path
) -> None:
    folder = tmp_path / "models"
    folder.mkdir()
    for place in (tmp_path, folder):
        (place / "good.bin").write_bytes(RAW)
    arrange(folder)
    model = model_of([product()], [external_tensor(**entries)])
    refuse(save(model, folder / "m.onnx"), "'W'", words)
    with pytest.raises(InputError, match="its folder is not known: give the path of the model file"):
        model_file_from_proto(model)


def test_a_data_file_that_is_a_git_lfs_pointer(tmp_path: Path) -> None:
    (tmp_path / "good.bin").write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 5\n")
    refuse(save(model_of([product()], [external_tensor(location="good.bin")]), tmp_path / "m.onnx"), "git lfs pull")


def test_external_entries_said_twice(tmp_path: Path) -> None:
    tensor = external_tensor(location="good.bin")
    tensor.external_data.add(key="location", value="/etc/passwd")
    (tmp_path / "good.bin").write_bytes(RAW)
    refuse(save(model_of([product()], [tensor]), tmp_path / "m.onnx"), "twice")


def test_a_file_that_may_not_be_read(tmp_path: Path) -> None:
    path = save(initializer(), tmp_path / "m.onnx")
    path.chmod(0)
    if os.access(path, os.R_OK):
        pytest.skip("root reads everything")
    refuse(path, "may not be read")
