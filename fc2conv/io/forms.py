"""Other forms of a skeleton and its tensors: whole in memory, ready for onnxruntime, ready for the checker, dense."""

from __future__ import annotations

import os
from collections.abc import Mapping
from copy import deepcopy
from math import prod
from pathlib import Path

import numpy as np
import onnx

from fc2conv import system
from fc2conv.errors import InputError, OutputError
from fc2conv.io.payload import Payload, Span
from fc2conv.io.reader import ModelFile
from fc2conv.io.sizes import declared_size, with_open_sizes
from fc2conv.io.tensors import MAX_INLINE, clear, payload_key, set_external, set_raw, tensors

NO_FILE = "#"
"""A location that begins with this is not looked for by onnx.checker (checker.cc, resolve_external_data_location)."""

_UNREACHABLE = "onnxruntime opens so large a model only by a name in UTF-8, and with a /proc"

_MOST_DENSE = 1 << 28
"""Elements of a sparse tensor that is written out."""


def materialize(model: onnx.ModelProto, payloads: Mapping[str, Payload]) -> onnx.ModelProto:
    """Return a copy of a skeleton with every payload in it as raw_data.

    Raise OutputError for more bytes than protobuf takes in one message, KeyError for a token without a payload, and
    OSError if a file cannot be read.
    """
    whole = deepcopy(model)
    tokens = [(tensor, key) for tensor, _ in tensors(whole) if (key := payload_key(tensor)) is not None]
    nbytes = model.ByteSize() + sum(payloads[key].nbytes for _, key in tokens)  # a token takes no less than its field
    if nbytes > MAX_INLINE:
        what = f"the model in memory would have {nbytes} bytes, and protobuf takes no more than {MAX_INLINE}"
        raise OutputError(what, "give the path of an output file")
    for tensor, key in tokens:
        set_raw(tensor, b"".join(payloads[key].blocks()))
    return whole


def runnable(file: ModelFile) -> tuple[onnx.ModelProto, Path | None]:
    """Return a copy of a skeleton that onnxruntime can run, and the folder of its external data.

    A size that is declared as 0 or less is open in it.

    onnxruntime maps the weights itself: set `session.model_external_initializers_file_folder_path` to the folder. A
    payload that is no range of a file that it finds there becomes raw_data, and so does a sparse one. Raise InputError
    where that is more than protobuf takes in one message, and OSError if a file cannot be read.
    """
    model = with_open_sizes(file.model)
    mapped, inline_nbytes = False, 0
    for tensor, sparse in tensors(model):
        key = payload_key(tensor)
        if key is None:
            continue
        payload = file.payloads[key]
        location = _location(payload, file.folder)
        if location is None or sparse or not payload.nbytes:
            inline_nbytes += payload.nbytes
            if inline_nbytes > MAX_INLINE:
                raise InputError(f"{file.path or 'the model'}: {_UNREACHABLE}", "copy it to a folder with such a name")
            set_raw(tensor, b"".join(payload.blocks()))
        else:
            assert isinstance(payload, Span)
            set_external(tensor, location=location, offset=payload.offset, length=payload.length)
            mapped = True
    return model, file.folder if mapped else None


def declared_shapes(model: onnx.ModelProto) -> dict[str, list[int | str] | None]:
    """Return the shapes of the inputs that a caller must give: numbers, symbols or `?`; None for no shape."""
    weights = {tensor.name for tensor in model.graph.initializer}
    return {value.name: _declared(value.type.tensor_type) for value in model.graph.input if value.name not in weights}


def _declared(kind: onnx.TypeProto.Tensor) -> list[int | str] | None:
    if not kind.HasField("shape"):
        return None
    return [declared_size(dim) or dim.dim_param or "?" for dim in kind.shape.dim]


def _location(payload: Payload, folder: Path | None) -> str | None:
    """Return the path of a span's file relative to the folder, or None if it is not in it or is not found there.

    onnxruntime takes UTF-8, and asks /proc on Linux what it opened.
    """
    if folder is None or not isinstance(payload, Span) or not payload.path.is_relative_to(folder):
        return None
    try:
        os.fspath(payload.path).encode()
    except UnicodeEncodeError:
        return None
    by_name = not system.NAMES_BY_PROC or os.path.isdir("/proc/self/fd")
    return os.fspath(payload.path.relative_to(folder)) if by_name else None


def checkable(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a copy of a skeleton for onnx.checker and onnx.shape_inference that makes them look for no file.

    Names, shapes and types are those of the skeleton, with sizes of 0 or less open. Its large tensors have no values,
    and its sparse tensors have no elements, for the checker would read their indices.
    """
    copy = with_open_sizes(model)
    for tensor, sparse in tensors(copy):
        key = payload_key(tensor)
        if sparse:
            clear(tensor)
            tensor.dims[:] = [0]
            tensor.raw_data = b""
        elif key is not None:
            tensor.external_data[0].value = NO_FILE + key
    return copy


def dense(file: ModelFile, sparse: onnx.SparseTensorProto) -> np.ndarray | None:
    """Return the elements of a sparse tensor of a skeleton; None where it is large, or its indices fit no shape."""
    shape, values, indices = tuple(sparse.dims), file.array(sparse.values), file.array(sparse.indices)
    if prod(shape) > _MOST_DENSE or min(shape, default=0) <= 0 or indices.dtype != np.int64 or values.ndim != 1:
        return None
    if indices.shape == (len(values), len(shape)):
        inside = ((indices >= 0) & (indices < shape)).all()
        flat = np.ravel_multi_index(tuple(indices.T), shape) if inside else None
    else:
        flat = indices if indices.shape == values.shape and ((indices >= 0) & (indices < prod(shape))).all() else None
    if flat is None:
        return None
    out = np.zeros(prod(shape), values.dtype)
    out[flat] = values
    return out.reshape(shape)
