"""The protobuf wire format of ONNX: finds every TensorProto in a buffer and replaces some, copying all else by slice.

The one schema below says where tensors are (field numbers: onnx.proto of ONNX 1.21). The reader uses `transform` to
take payloads out of tensors and the writer to put them back; both see bytes, so unknown fields and order survive.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import field
from typing import NamedTuple, TypeAlias

from fc2conv.dataclass import dataclass
from fc2conv.io.payload import Payload

MAX_DEPTH = 100
"""How deep messages may be nested; protobuf's own parser refuses more as well."""

Buffer: TypeAlias = bytes | memoryview
Chunk: TypeAlias = memoryview | Payload
"""A piece of output: bytes, or something that yields them; both know their size as `nbytes`."""

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
_FIXED = {FIXED64: 8, FIXED32: 4}


class WireError(ValueError):
    """Bytes that are no protobuf message, or one that holds what fc2conv refuses; `truncated` if they end too early."""

    def __init__(self, text: str, *, truncated: bool = False) -> None:
        super().__init__(text)
        self.truncated = truncated


class Field(NamedTuple):
    """One field of a message: number, wire type, and the offsets of its tag, of its value, and of its end."""

    number: int
    wire: int
    at: int
    begin: int
    end: int


class Chunks(NamedTuple):
    """Output in order, and its size in bytes."""

    parts: list[Chunk]
    nbytes: int


Changes: TypeAlias = Mapping[tuple[int, int], list[Chunk]]
"""Ranges of offsets, in order and disjoint, and what replaces each."""

OnTensor: TypeAlias = Callable[[int, int], Chunks | None]
"""Takes where a TensorProto begins and ends in the buffer; returns what replaces it, or None to keep it."""

Wanted: TypeAlias = Callable[[int, int], bool]
"""Whether a tensor to replace may lie between two offsets; what is not wanted is copied without a look inside."""


@dataclass(frozen=True)
class _Message:
    """A message type: its fields that may hold tensors, and which of these may occur only once."""

    name: str
    children: dict[int, _Message] = field(default_factory=dict)
    single: frozenset[int] = frozenset()


_TENSOR = _Message("TensorProto")
_SPARSE = _Message("SparseTensorProto", {1: _TENSOR, 2: _TENSOR}, frozenset({1, 2}))
_ATTRIBUTE = _Message("AttributeProto", single=frozenset({5, 6, 22}))
_NODE = _Message("NodeProto", {5: _ATTRIBUTE})
_GRAPH = _Message("GraphProto", {1: _NODE, 5: _TENSOR, 15: _SPARSE})
_ATTRIBUTE.children.update({5: _TENSOR, 6: _GRAPH, 10: _TENSOR, 11: _GRAPH, 22: _SPARSE, 23: _SPARSE})
_FUNCTION = _Message("FunctionProto", {7: _NODE, 11: _ATTRIBUTE})
_TRAINING = _Message("TrainingInfoProto", {1: _GRAPH, 2: _GRAPH}, frozenset({1, 2}))
_MODEL = _Message("ModelProto", {7: _GRAPH, 20: _TRAINING, 25: _FUNCTION}, frozenset({7}))


def transform(buffer: Buffer, on_tensor: OnTensor, wanted: Wanted) -> Chunks:
    """Return the serialized ModelProto in `buffer` with tensors replaced by `on_tensor` and lengths recomputed.

    Raise WireError where the bytes are not a message, and where a field occurs twice that may occur once.
    """
    whole = Chunks([memoryview(buffer)], len(buffer))
    return _Walker(buffer, on_tensor, wanted).message(0, len(buffer), _MODEL, 0) or whole


def fields(buffer: Buffer, begin: int, stop: int) -> Iterator[Field]:
    """Yield the fields of the message between two offsets; raise WireError where it is malformed."""
    at = begin
    while at < stop:
        tag, value = varint(buffer, at, stop)
        number, wire = tag >> 3, tag & 7
        if wire == BYTES:
            length, value = varint(buffer, value, stop)
            end = value + length
        elif wire == VARINT:
            end = varint(buffer, value, stop)[1]
        else:
            end = value + _FIXED.get(wire, 0)
        if (end == value and wire != BYTES) or not 0 < number < 1 << 29:
            raise WireError(f"byte {at} is not the start of a field")
        if end > stop:
            raise WireError(f"the field at byte {at} ends at byte {end}, beyond byte {stop}", truncated=True)
        yield Field(number, wire, at, value, end)
        at = end


def varint(buffer: Buffer, at: int, stop: int) -> tuple[int, int]:
    """Return the base-128 number at `at` and the offset after it; raise WireError if it does not end by `stop`."""
    value = shift = 0
    while at < stop:
        byte = buffer[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
        if shift > 63:
            raise WireError(f"the number that ends at byte {at} is longer than 64 bits")
    raise WireError(f"a number is cut off at byte {at}", truncated=True)


def encoded(value: int) -> bytes:
    """Return a number >= 0 in base 128, as protobuf writes it."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def prefix(number: int, length: int) -> bytes:
    """Return the tag and the length that precede a length-delimited field."""
    return encoded(number << 3 | BYTES) + encoded(length)


def splice(view: memoryview, begin: int, end: int, changes: Changes) -> Chunks:
    """Return the bytes from `begin` to `end` with ranges replaced."""
    parts: list[Chunk] = []
    for (start, stop), instead in changes.items():
        if begin < start:
            parts.append(view[begin:start])
        parts += instead
        begin = stop
    if begin < end:
        parts.append(view[begin:end])
    return Chunks(parts, sum(part.nbytes for part in parts))


class _Walker:
    """One pass over a buffer. As a function that calls itself it would be a cycle, which keeps the file mapped."""

    def __init__(self, buffer: Buffer, on_tensor: OnTensor, wanted: Wanted) -> None:
        self._buffer = buffer
        self._view = memoryview(buffer)
        self._on_tensor = on_tensor
        self._wanted = wanted

    def message(self, begin: int, end: int, kind: _Message, depth: int) -> Chunks | None:
        """Return what replaces the message between two offsets, or None where nothing in it changes."""
        if kind is _TENSOR:
            return self._on_tensor(begin, end)
        if depth > MAX_DEPTH:
            raise WireError(f"more than {MAX_DEPTH} messages are nested")
        changes: dict[tuple[int, int], list[Chunk]] = {}
        seen = set[int]()
        for number, wire, at, value, stop in fields(self._buffer, begin, end):
            child = kind.children.get(number)
            if child is None or wire != BYTES:
                continue
            if number in kind.single:
                if number in seen:
                    raise WireError(f"a {kind.name} holds its {child.name} (field {number}) twice, at byte {at}")
                seen.add(number)
            new = self.message(value, stop, child, depth + 1) if self._wanted(value, stop) else None
            if new is not None:
                changes[at, stop] = [memoryview(prefix(number, new.nbytes)), *new.parts]
        return splice(self._view, begin, end, changes) if changes else None
