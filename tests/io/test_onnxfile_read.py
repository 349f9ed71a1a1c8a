"""Reading: skeletons, payloads and arrays, in memory that does not grow with them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import ml_dtypes
import numpy as np
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
    refuse,
    save,
    save_external,
    weight,
)

from fc2conv.errors import InputError
from fc2conv.io.forms import materialize
from fc2conv.io.payload import Span
from fc2conv.io.reader import model_file_from_proto, read_model
from fc2conv.io.tensors import payload_key, set_payload
from fc2conv.io.wire import encoded


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


def test_numbers_in_base_128() -> None:
    assert encoded(0) == b"\0"
    assert encoded(300) == b"\xac\x02"


MEASURE = """
import resource, sys
import fc2conv.io.reader
import fc2conv.io.writer
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
file = fc2conv.io.reader.read_model(sys.argv[1])
arrays = [file.array(each) for each in file.model.graph.initializer]
with fc2conv.io.writer.stage(file.model, file.payloads, sys.argv[2], form=sys.argv[3], source=file) as staged:
    staged.publish()
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


@pytest.mark.parametrize("form", ["inline", "external"])
def test_memory_does_not_grow_with_the_weights(form: str, tmp_path: Path) -> None:
    tensors = [TensorProto(name=f"W{i}", dims=[1 << 20], data_type=1, raw_data=bytes(4 << 20)) for i in range(8)]
    path = save(model_of([product()], tensors), tmp_path / "m.onnx")
    command = [sys.executable, "-c", MEASURE, str(path), str(tmp_path / "out.onnx"), form]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2])
    assert int(done.stdout) < 16
