"""TensorProtos of a skeleton: where they are, how large ones name their payload, and what sizes they must have."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import onnx
from onnx import TensorProto

from fc2conv.errors import InputError
from fc2conv.io.escape import counted, shown

LARGE = 1024
"""Bytes from which raw_data is left on disk."""

MAX_INLINE = (1 << 31) - 1
"""Bytes of the largest message that protobuf reads and writes; a larger model keeps its weights in external data."""

TOKEN = "fc2conv:"
"""The start of the location of a tensor whose payload is known by key; the reader lets no file say this."""

EXPLICIT = ":default"
"""The end of the key of a tensor that states data_location = DEFAULT, as onnx.load leaves them."""

MAX_ELEMENTS = 1 << 48

_BITS = {1: 32, 2: 8, 3: 8, 4: 16, 5: 16, 6: 32, 7: 64, 9: 8, 10: 16, 11: 64, 12: 32, 13: 64, 14: 64, 15: 128, 16: 16,
         17: 8, 18: 8, 19: 8, 20: 8, 21: 4, 22: 4, 23: 4, 24: 8, 25: 2, 26: 2, 27: 6, 28: 6}  # fmt: skip
"""Bits per element by TensorProto.DataType (ONNX 1.23); a tensor is packed, and its last byte filled up."""

_SHOWN = 200
"""Characters of a name that a message shows."""

_TYPED = ("float_data", "int32_data", "string_data", "int64_data", "double_data", "uint64_data")
_FIELD = {1: "float_data", 7: "int64_data", 8: "string_data", 11: "double_data", 12: "uint64_data", 13: "uint64_data",
          14: "float_data", 15: "double_data"}  # fmt: skip


def quoted(text: object) -> str:
    """Return a name from a file as a message quotes it; cut one that is too long for a line."""
    words = shown(text)
    return f"'{words}'" if len(words) <= _SHOWN else f"'{words[:_SHOWN]}...'"


def label(tensor: TensorProto) -> str:
    """Return how a message names a tensor."""
    return f"tensor {quoted(tensor.name)}" if tensor.name else "an unnamed tensor"


def payload_key(tensor: TensorProto) -> str | None:
    """Return the key of the payload of a tensor of a skeleton, or None if the tensor holds its data itself."""
    if tensor.data_location != TensorProto.EXTERNAL or len(tensor.external_data) != 1:
        return None
    entry = tensor.external_data[0]
    return entry.value if entry.key == "location" and entry.value.startswith(TOKEN) else None


def set_payload(tensor: TensorProto, key: str) -> None:
    """Clear a tensor's data, and name its payload by a key that begins with TOKEN; raise ValueError for another key."""
    if not key.startswith(TOKEN):
        raise ValueError(f"a payload's key begins with {TOKEN!r}, and {key!r} does not")
    set_external(tensor, location=key)


def set_external(tensor: TensorProto, **entries: object) -> None:
    """Make a tensor external, with these entries in this order; clear its own data."""
    clear(tensor)
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in entries.items():
        tensor.external_data.add(key=key, value=str(value))


def clear(tensor: TensorProto) -> None:
    """Remove a tensor's data, in whatever form; name, shape and type stay."""
    for name in ("raw_data", *_TYPED, "external_data", "data_location"):
        tensor.ClearField(name)


def set_raw(tensor: TensorProto, data: bytes) -> None:
    """Restore the payload of a tensor of a skeleton, as raw_data."""
    explicit = (payload_key(tensor) or "").endswith(EXPLICIT)
    clear(tensor)
    if explicit:
        tensor.data_location = TensorProto.DEFAULT
    tensor.raw_data = data


def tensors(model: onnx.ModelProto) -> Iterator[tuple[TensorProto, bool]]:
    """Yield every TensorProto of a model, and whether it is part of a sparse tensor."""
    yield from _of_graph(model.graph)
    for training in model.training_info:
        yield from _of_graph(training.initialization)
        yield from _of_graph(training.algorithm)
    for function in model.functions:
        yield from _of_attributes(function.attribute_proto)
        yield from _of_nodes(function.node)


def _of_graph(graph: onnx.GraphProto) -> Iterator[tuple[TensorProto, bool]]:
    for tensor in graph.initializer:
        yield tensor, False
    yield from _of_sparse(graph.sparse_initializer)
    yield from _of_nodes(graph.node)


def _of_nodes(nodes: Iterable[onnx.NodeProto]) -> Iterator[tuple[TensorProto, bool]]:
    for node in nodes:
        if node.attribute:
            yield from _of_attributes(node.attribute)


def _of_attributes(attributes: Iterable[onnx.AttributeProto]) -> Iterator[tuple[TensorProto, bool]]:
    for attribute in attributes:
        if attribute.HasField("t"):
            yield attribute.t, False
        if attribute.HasField("g"):
            yield from _of_graph(attribute.g)
        if attribute.HasField("sparse_tensor"):
            yield from _of_sparse([attribute.sparse_tensor])
        for tensor in attribute.tensors:
            yield tensor, False
        for graph in attribute.graphs:
            yield from _of_graph(graph)
        yield from _of_sparse(attribute.sparse_tensors)


def _of_sparse(sparse: Iterable[onnx.SparseTensorProto]) -> Iterator[tuple[TensorProto, bool]]:
    for each in sparse:
        yield each.values, True
        yield each.indices, True


def raw_nbytes(tensor: TensorProto) -> int | None:
    """Return the bytes that raw_data of this shape and type takes, or None for strings and for an undefined type.

    Raise ValueError for a type that fc2conv does not know, a negative dimension, and an absurd size.
    """
    count = elements(tensor)
    if tensor.data_type in (TensorProto.UNDEFINED, TensorProto.STRING):
        return None
    bits = _BITS.get(tensor.data_type)
    if bits is None:
        raise ValueError(f"has the unknown data type {tensor.data_type}")
    return (count * bits + 7) // 8


def elements(tensor: TensorProto) -> int:
    """Return the number of elements; raise ValueError for a negative dimension and for an absurd size."""
    count, product = 1, 1
    for size in tensor.dims:
        if size < 0:
            raise ValueError(f"has the negative dimension {size}")
        count *= size
        product *= size or 1
        if product > MAX_ELEMENTS:
            raise ValueError("has a shape of more than 2**48 elements")
    return count


def check_tensor(tensor: TensorProto, nbytes: int | None, where: str | Path) -> None:
    """Refuse a tensor whose data does not fit its shape and type.

    `nbytes` is the size of its payload in bytes, None if it holds its data itself. Raise InputError.
    """
    typed = [name for name in _TYPED if getattr(tensor, name)]
    sources = [*typed, *(["raw_data"] if tensor.raw_data else []), *(["external data"] if nbytes is not None else [])]
    try:
        if len(sources) > 1:
            raise ValueError(f"holds its values twice, as {sources[0]} and as {sources[1]}")
        if tensor.HasField("segment"):
            raise ValueError("is one segment of a tensor, which no tool reads")
        needed = raw_nbytes(tensor)
        if tensor.data_type == TensorProto.UNDEFINED and not sources:
            return
        if typed:
            _check_typed(tensor, typed[0])
        elif needed is None:
            if sources or elements(tensor):
                raise ValueError(f"of data type {tensor.data_type} cannot hold raw bytes")
        elif (have := len(tensor.raw_data) if nbytes is None else nbytes) != needed:
            raise ValueError(f"has {have} bytes of data, and its shape {list(tensor.dims)} and type need {needed}")
    except ValueError as error:
        raise InputError(f"{shown(where)}: {label(tensor)} {error}", "export the model again") from None


def _check_typed(tensor: TensorProto, name: str) -> None:
    """Raise ValueError if a field other than raw_data is not the field of the type, or has the wrong length."""
    expected = _FIELD.get(tensor.data_type, "int32_data")
    bits = _BITS.get(tensor.data_type, 8)
    per_entry = 8 // bits if bits in (2, 4) else 1
    needed = -(-elements(tensor) // per_entry) * (2 if tensor.data_type in (14, 15) else 1)
    if name != expected:
        raise ValueError(f"of data type {tensor.data_type} holds its values in {name}, not in {expected}")
    if (have := len(getattr(tensor, name))) != needed:
        raise ValueError(f"has {counted(have, 'value')}, and its shape {list(tensor.dims)} needs {needed}")
