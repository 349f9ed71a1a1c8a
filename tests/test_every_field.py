"""What is not a layer stays as it was, field by field: the bytes of both files are read here, without protobuf."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from every_field import UNKNOWN, every_field
from google.protobuf.descriptor import Descriptor
from onnx import ModelProto, TensorProto

import fc2conv
from fc2conv.options import Form

RAW, EXTERNAL, LOCATION = 9, 13, 14
REPLACED = {"flatten", "fc"}
ADDED = {"fc", "y_flatten", "f_flatten"}


@dataclass(frozen=True)
class Field:
    """A field as it is in a file: its path of field numbers, and its bytes, which are those of a leaf."""

    path: tuple[int, ...]
    value: bytes


def split(message: bytes) -> Iterator[tuple[int, int, bytes]]:
    """The number, the wire type and the value of each field of a message, in their order."""
    at = 0
    while at < len(message):
        tag, at = number(message, at)
        start = at
        if tag & 7 == 0:
            _, at = number(message, at)
        elif tag & 7 == 2:
            length, start = number(message, at)
            at = start + length
        else:
            at += {1: 8, 5: 4}[tag & 7]
        assert at <= len(message)
        yield tag >> 3, tag & 7, message[start:at]


def number(message: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        value |= (message[at] & 127) << shift
        shift, at = shift + 7, at + 1
        if message[at - 1] < 128:
            return value, at


def leaves(message: bytes, kind: Descriptor, path: tuple[int, ...] = (), folder: Path | None = None) -> Iterator[Field]:
    """Every field below a message that is no message itself, and every unknown one; an empty message is one too.

    With a folder, tensors whose values are in a data file there are taken to have them inside.
    """
    yield Field(path, b"")
    if folder is not None and kind.name == "TensorProto":
        message = with_values(message, folder)
    for field, _, value in split(message):
        known = kind.fields_by_number.get(field)
        if known is not None and known.message_type is not None:
            yield from leaves(value, known.message_type, (*path, field), folder)
        else:
            yield Field((*path, field), value)


def parts(message: bytes, field: int) -> list[bytes]:
    return [value for found, _, value in split(message) if found == field]


def rest(message: bytes, *without: int) -> list[tuple[int, int, bytes]]:
    return [each for each in split(message) if each[0] not in without]


def name_of(message: bytes, field: int) -> str:
    return b"".join(parts(message, field)).decode()


@pytest.fixture
def model() -> ModelProto:
    return every_field()


def test_every_message_and_every_field_of_onnx_is_in_it(model: ModelProto) -> None:
    seen: set[str] = set()
    for field in leaves(model.SerializeToString(), ModelProto.DESCRIPTOR):
        kind = ModelProto.DESCRIPTOR
        for step in field.path:
            known = kind.fields_by_number.get(step)
            if known is not None:
                seen.add(known.full_name)
                kind = known.message_type or kind
    wanted = {f.full_name for kind in kinds(ModelProto.DESCRIPTOR) for f in kind.fields}
    # Values are in raw_data; a segment is refused, opaque types are no tensor's.
    absent = {name for name in wanted - seen if not name.endswith("_data") and ".Segment" not in name}
    assert absent <= ABSENT, sorted(absent - ABSENT)
    assert model.SerializeToString().count(UNKNOWN) > 150


ABSENT = {
    "onnx.TensorProto.segment", "onnx.TensorProto.data_location", "onnx.TypeProto.opaque_type",
    "onnx.TypeProto.Opaque.domain", "onnx.TypeProto.Opaque.name", "onnx.TypeProto.SparseTensor.shape",
    "onnx.SimpleShardedDimProto.dim_param",
}  # fmt: skip


def kinds(kind: Descriptor, seen: dict[str, Descriptor] | None = None) -> list[Descriptor]:
    seen = {} if seen is None else seen
    if kind.full_name not in seen:
        seen[kind.full_name] = kind
        for field in kind.fields:
            if field.message_type is not None:
                kinds(field.message_type, seen)
    return list(seen.values())


def converted(folder: Path, form: Form) -> tuple[bytes, bytes]:
    given, out = folder / "in.onnx", folder / "out.onnx"
    given.write_bytes(every_field().SerializeToString())
    report = fc2conv.convert(given, out, fc2conv.Options(form=form)).report
    assert [layer.node for layer in report.converted] == ["fc"]
    assert report.verification is not None
    assert report.verification.verdict == "proved"
    return given.read_bytes(), out.read_bytes()


def test_inline_differs_only_at_the_layer(tmp_path: Path) -> None:
    before, after = converted(tmp_path, "inline")
    assert rest(before, 7) == rest(after, 7)
    (old,), (new,) = parts(before, 7), parts(after, 7)
    assert rest(old, 1, 5) == rest(new, 1, 5)
    assert [node for node in parts(old, 1) if name_of(node, 3) not in REPLACED] == [
        node for node in parts(new, 1) if name_of(node, 3) not in ADDED
    ]
    outside = [
        [each for each in parts(graph, 5) if name_of(each, 8) not in ("fc.weight", "f_shape")] for graph in (old, new)
    ]
    assert outside[0] == outside[1]
    weights = [next(each for each in parts(graph, 5) if name_of(each, 8) == "fc.weight") for graph in (old, new)]
    assert parts(weights[0], RAW) == parts(weights[1], RAW)


def with_values(message: bytes, folder: Path) -> bytes:
    """A tensor that is external as it would be inline, with the bytes that it names in the place of their name."""
    if not parts(message, EXTERNAL):
        return message
    entry = {name_of(each, 1): name_of(each, 2) for each in parts(message, EXTERNAL)}
    assert entry.keys() == {"location", "offset", "length"}
    assert parts(message, LOCATION) == [b"\1"]
    offset, length = int(entry["offset"]), int(entry["length"])
    values = (folder / entry["location"]).read_bytes()[offset : offset + length]
    assert len(values) == length
    tensor = TensorProto.FromString(message)
    tensor.ClearField("external_data")
    tensor.ClearField("data_location")
    tensor.raw_data = values
    return tensor.SerializeToString()


def test_external_differs_from_inline_only_in_where_values_are(tmp_path: Path) -> None:
    _, inline = converted(tmp_path, "inline")
    _, external = converted(tmp_path, "external")
    found, wanted = (Counter(leaves(each, ModelProto.DESCRIPTOR, folder=tmp_path)) for each in (external, inline))
    assert found == wanted
    assert external.count(b"location") >= 5
    assert len(external) < len(inline) / 2


@pytest.mark.parametrize("form", ["keep", "inline", "external"])
def test_without_a_layer_nothing_differs(form: Form, tmp_path: Path) -> None:
    model = every_field()
    given, out = tmp_path / "in.onnx", tmp_path / "out.onnx"
    given.write_bytes(model.SerializeToString())
    fc2conv.convert(given, out, fc2conv.Options(form=form, exclude=("*",)))
    assert (out.read_bytes() == given.read_bytes()) == (form != "external")
    found, wanted = (
        Counter(leaves(each.read_bytes(), ModelProto.DESCRIPTOR, folder=tmp_path)) for each in (out, given)
    )
    assert found == wanted
