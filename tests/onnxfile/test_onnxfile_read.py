"""Reading: skeletons, payloads and arrays; and every input that is refused, with what is said about it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import ml_dtypes
import numpy as np
import onnx
import pytest
from google.protobuf.message import EncodeError
from onnx import ModelProto, TensorProto, helper, numpy_helper
from onnxfile_models import (
    EVERYWHERE,
    RNG,
    SIZE,
    explicit_location,
    external_tensor,
    initializer,
    model_of,
    product,
    save,
    save_external,
    weight,
)

from fc2conv.errors import InputError
from fc2conv.onnxfile import Span, materialize, model_file_from_proto, payload_key, read_model, set_payload
from fc2conv.onnxfile.wire import encoded, prefix


@pytest.mark.parametrize("make", EVERYWHERE, ids=lambda make: make.__name__)
def test_no_large_weight_is_in_a_skeleton(make: Callable[[], ModelProto], tmp_path: Path) -> None:
    model = make()
    file = read_model(save(model, tmp_path / "m.onnx"))
    assert file.payloads
    assert len(file.model.SerializeToString()) < len(model.SerializeToString()) - 1024
    assert all(isinstance(payload, Span) for payload in file.payloads.values())
    assert materialize(file.model, file.payloads).SerializeToString() == model.SerializeToString()
    assert not file.external
    assert file.nbytes == (tmp_path / "m.onnx").stat().st_size


@pytest.mark.parametrize("make", EVERYWHERE, ids=lambda make: make.__name__)
def test_a_model_in_memory_gives_the_same_and_is_left_alone(make: Callable[[], ModelProto]) -> None:
    model = make()
    before = model.SerializeToString()
    file = model_file_from_proto(model)
    assert file.payloads
    assert materialize(file.model, file.payloads).SerializeToString() == before
    assert model.SerializeToString() == before


def test_external_data_is_read_where_it_is(tmp_path: Path) -> None:
    model = initializer()
    path = save_external(model, tmp_path / "m.onnx")
    file = read_model(path)
    assert file.external
    assert file.nbytes == path.stat().st_size + (tmp_path / "weights.bin").stat().st_size
    np.testing.assert_array_equal(
        file.array(file.model.graph.initializer[0]), numpy_helper.to_array(model.graph.initializer[0])
    )
    again = model_file_from_proto(onnx.load(path, load_external_data=False), tmp_path)
    assert again.payloads == file.payloads


def test_every_spelling_of_a_path_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_external(initializer(), tmp_path / "m.onnx")
    monkeypatch.chdir(tmp_path)
    for path in ("m.onnx", "./m.onnx", f"../{tmp_path.name}/m.onnx", tmp_path / "m.onnx"):
        file = read_model(path)
        assert file.array(file.model.graph.initializer[0]).shape == (SIZE, SIZE)


def test_a_model_behind_a_link_is_read(tmp_path: Path) -> None:
    save(initializer(), tmp_path / "m.onnx")
    (tmp_path / "link.onnx").symlink_to("m.onnx")
    assert read_model(tmp_path / "link.onnx").payloads


@pytest.mark.parametrize(
    "dtype",
    ["float16", "float64", "int64", "uint8", "bool", "bfloat16", "float8_e4m3fn", "float8_e5m2", "int4", "uint4"],
)
@pytest.mark.parametrize("count", [16, 4096])
def test_arrays_of_every_type(dtype: str, count: int, tmp_path: Path) -> None:
    values = RNG.integers(0, 2, (2, count)).astype(getattr(ml_dtypes, dtype, None) or dtype)
    path = save(model_of([product()], [numpy_helper.from_array(values, "W")]), tmp_path / "m.onnx")
    file = read_model(path)
    got = file.array(file.model.graph.initializer[0])
    np.testing.assert_array_equal(got, values)
    assert got.dtype == values.dtype
    assert not got.flags.writeable


def test_typed_fields_stay_and_are_checked(tmp_path: Path) -> None:
    model = model_of([product()], [helper.make_tensor("W", TensorProto.FLOAT, [4, 500], np.arange(2000.0))])
    file = read_model(save(model, tmp_path / "m.onnx"))
    assert not file.payloads
    assert file.array(file.model.graph.initializer[0])[3, 499] == 1999
    del model.graph.initializer[0].float_data[-1]
    refuse(save(model, tmp_path / "m.onnx"), "1999 values")


def test_a_location_that_looks_like_a_token_is_a_file_name(tmp_path: Path) -> None:
    (tmp_path / "fc2conv:0").write_bytes(bytes(4096))
    path = save(model_of([product()], [weight("V"), external_tensor(location="fc2conv:0")]), tmp_path / "m.onnx")
    file = read_model(path)
    spans = [file.payloads[payload_key(each) or ""] for each in file.model.graph.initializer]
    assert [span.path.name for span in spans if isinstance(span, Span)] == ["m.onnx", "fc2conv:0"]
    (tmp_path / "fc2conv:0").unlink()
    refuse(path, "is missing")


def test_a_payload_key_has_a_form() -> None:
    tensor = weight()
    with pytest.raises(ValueError, match="fc2conv:"):
        set_payload(tensor, "elsewhere")
    set_payload(tensor, "fc2conv:new")
    assert payload_key(tensor) == "fc2conv:new"
    assert not tensor.raw_data
    assert payload_key(weight()) is None


def test_a_model_in_memory_that_protobuf_cannot_write(monkeypatch: pytest.MonkeyPatch) -> None:
    def too_large(_: object) -> bytes:
        raise EncodeError("Failed to serialize proto")

    monkeypatch.setattr(ModelProto, "SerializeToString", too_large)
    with pytest.raises(InputError, match=r"2147483647 bytes.*external data"):
        model_file_from_proto(ModelProto())


def test_an_explicit_location_survives() -> None:
    model = explicit_location()
    file = model_file_from_proto(model)
    assert materialize(file.model, file.payloads).graph.initializer[0].HasField("data_location")


def refuse(path: Path, *words: str) -> None:
    """The file is refused in one printable line that names it and says these words, and with a remedy."""
    with pytest.raises(InputError) as caught:
        read_model(path)
    message, remedy = caught.value.message, caught.value.remedy
    assert message.isprintable()
    assert remedy
    assert path.name.split("\n")[0] in message
    for word in words:
        assert word in f"{message}: {remedy}"


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


def test_nesting_is_bounded(tmp_path: Path) -> None:
    inner = prefix(5, 4096 + 3) + prefix(9, 4096) + bytes(4096)
    for _ in range(200):
        for number in (6, 5, 1):
            inner = prefix(number, len(inner)) + inner
    (tmp_path / "m.onnx").write_bytes(prefix(7, len(inner)) + inner)
    refuse(tmp_path / "m.onnx", "inside one another")


def test_numbers_in_base_128() -> None:
    assert encoded(0) == b"\0"
    assert encoded(300) == b"\xac\x02"


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
    with pytest.raises(InputError, match="base_dir"):
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


MEASURE = """
import resource, sys
import fc2conv.onnxfile
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
file = fc2conv.onnxfile.read_model(sys.argv[1])
arrays = [file.array(each) for each in file.model.graph.initializer]
with fc2conv.onnxfile.stage(file.model, file.payloads, sys.argv[2], form=sys.argv[3], source=file) as staged:
    staged.publish()
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


@pytest.mark.parametrize("form", ["inline", "external"])
def test_memory_does_not_grow_with_the_weights(form: str, tmp_path: Path) -> None:
    tensors = [TensorProto(name=f"W{i}", dims=[1 << 20], data_type=1, raw_data=bytes(4 << 20)) for i in range(25)]
    path = save(model_of([product()], tensors), tmp_path / "m.onnx")
    command = [sys.executable, "-c", MEASURE, str(path), str(tmp_path / "out.onnx"), form]
    told = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2])
    assert int(told.stdout) < 40
