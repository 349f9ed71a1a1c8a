"""Reads model files without their weights: the wire is walked over a map of the file, and payloads are stepped over."""

from __future__ import annotations

import mmap
import os
import stat
from collections.abc import Callable, Mapping
from dataclasses import field
from functools import partial
from pathlib import Path

import numpy as np
import onnx
from google.protobuf.message import DecodeError, EncodeError  # type: ignore[import-untyped]
from onnx import TensorProto, numpy_helper

from fc2conv import system
from fc2conv.dataclass import dataclass
from fc2conv.errors import InputError
from fc2conv.io import wire
from fc2conv.io.custom_ops import settle_imports
from fc2conv.io.escape import shown
from fc2conv.io.external import ExternalFolder
from fc2conv.io.mistaken import missing, refuse_other_formats
from fc2conv.io.payload import Buffer, Payload, Span, stamp
from fc2conv.io.tensors import (
    EXPLICIT,
    LARGE,
    MAX_INLINE,
    TOKEN,
    check_tensor,
    payload_key,
    set_payload,
    tensors,
)

FORGET_EVERY = 4
"""Payloads between two releases of the map's pages: the kernel maps up to 2 MiB around each byte that is read."""

_FETCH = "fetch or export the file again"
_TYPED_FIELDS = {4, 5, 6, 7, 10, 11}
_RAW, _NAME, _EXTERNAL, _LOCATION = 9, 8, 13, 14


@dataclass(frozen=True)
class ModelFile:
    """A model whose large weights are not in memory.

    `model` is the skeleton, `payloads` has the payload of each token, `external` is whether any weight was in external
    data, `nbytes` is the size in bytes of the model file plus its data files, and `folder` is where the model's
    external data is looked for. `stamps` identifies the state in which each file was read.
    """

    path: Path | None
    model: onnx.ModelProto
    payloads: Mapping[str, Payload]
    external: bool
    nbytes: int
    folder: Path | None = None
    stamps: Mapping[Path, tuple[int, ...]] = field(default_factory=dict, repr=False)

    def array(self, tensor: TensorProto) -> np.ndarray:
        """Return the read-only values of a tensor of the skeleton; a span of a file is mapped and not read.

        Raise InputError if the values cannot be read, and KeyError for a token of another skeleton.
        """
        key = payload_key(tensor)
        try:
            values = _inline(tensor) if key is None else _mapped(tensor, self.payloads[key])
        except (ValueError, TypeError, OSError) as error:
            what = f"the values of '{shown(tensor.name)}' cannot be read ({error})"
            raise InputError(f"{shown(self.path or 'the model')}: {what}", _FETCH) from None
        values.flags.writeable = False
        return values

    def check_unchanged(self) -> None:
        """Raise InputError if a file of the model is not the one that was read."""
        for path, seen in self.stamps.items():
            try:
                now = stamp(path.stat())
            except OSError:
                now = ()
            if now != seen:
                raise InputError(f"{shown(path)} was changed while fc2conv worked on it", "run fc2conv again")


def _inline(tensor: TensorProto) -> np.ndarray:
    if tensor.data_type == TensorProto.STRING:  # which need not be text
        words = [each.decode("utf-8", "surrogateescape") for each in tensor.string_data]
        return np.array(words, object).reshape(tuple(tensor.dims))
    return np.array(numpy_helper.to_array(tensor))


def _mapped(tensor: TensorProto, payload: Payload) -> np.ndarray:
    dtype = np.dtype(onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type))
    shape = tuple(tensor.dims)
    if dtype.itemsize * int(np.prod(shape, dtype=object)) == payload.nbytes:
        if not payload.nbytes:
            return np.empty(shape, dtype)
        if isinstance(payload, Span):
            return np.frombuffer(payload.mapped(), np.uint8).view(dtype.newbyteorder("<")).reshape(shape)
        return np.frombuffer(b"".join(payload.blocks()), dtype.newbyteorder("<")).reshape(shape)
    packed = TensorProto(dims=shape, data_type=tensor.data_type, raw_data=b"".join(payload.blocks()))
    return np.array(numpy_helper.to_array(packed))


def read_model(path: str | os.PathLike[str]) -> ModelFile:
    """Read the model in a file, and leave its weights where they are.

    Raise InputError for anything but a whole, regular, readable ONNX file, and for a tensor whose data is refused.
    """
    path = Path(path)
    model, payloads, nonce, status = _skeleton(path)
    folder = ExternalFolder(path)
    settled, external = settle(model, payloads, nonce, folder)
    data = {each: stamp(each.stat()) for each in folder.sizes}
    nbytes = status.st_size + sum(folder.sizes.values())
    return ModelFile(path, model, settled, external, nbytes, path.parent, {path: stamp(status), **data})


def external_locations(path: Path) -> list[str]:
    """Return the locations, unchecked, of the data files of a model file; raise InputError as `read_model` does."""
    model, _, nonce, _ = _skeleton(path)
    named = (each for tensor, _ in tensors(model) for each in tensor.external_data if each.key == "location")
    return list(dict.fromkeys(each.value for each in named if nonce not in each.value))


def _skeleton(path: Path) -> tuple[onnx.ModelProto, dict[str, Payload], str, os.stat_result]:
    """Return the fresh skeleton of a model file, its payloads, the nonce in their tokens, and the file's status."""
    descriptor, status = _opened(path)
    try:
        serialized, payloads, nonce = _collapsed(path, descriptor, status.st_size)
    finally:
        os.close(descriptor)
    return parsed(serialized, shown(path)), payloads, nonce, status


def _opened(path: Path) -> tuple[int, os.stat_result]:
    """Open a regular, non-empty file and return its descriptor and its status; raise InputError."""
    name = shown(path)
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            raise InputError(f"{name} is a folder", "give the model file in it; `fc2conv batch` takes folders")
        if not stat.S_ISREG(mode):
            raise InputError(f"{name} is not a regular file", "copy the model to a regular file first")
        descriptor = os.open(path, os.O_RDONLY | system.BINARY | system.NO_WAIT)
    except FileNotFoundError:
        raise missing(path, name) from None
    except PermissionError:
        raise InputError(f"{name} may not be read", "check the permissions of the file and its folders") from None
    except (OSError, ValueError) as error:
        raise InputError(f"{name} cannot be read ({getattr(error, 'strerror', error)})", "check the path") from None
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode) or not status.st_size:
        os.close(descriptor)
        raise InputError(f"{name} is empty", _FETCH)
    return descriptor, status


def _collapsed(path: Path, descriptor: int, size: int) -> tuple[bytes, dict[str, Payload], str]:
    """Return the serialized skeleton of an open file of `size` bytes, its payloads, and the nonce in their tokens."""
    try:
        buffer = mmap.mmap(descriptor, size, access=mmap.ACCESS_READ)
    except (OSError, ValueError) as error:
        raise InputError(f"{shown(path)} cannot be read ({error})", _FETCH) from None
    refuse_other_formats(buffer[:512], shown(path))
    # The parts are slices of the map, and it is closed when the last of them is gone.
    payload, forget = lambda begin, end: Span(path, begin, end - begin), partial(system.forget, buffer)
    return collapse(memoryview(buffer), payload, shown(path), forget)


def collapse(
    view: memoryview, payload: Callable[[int, int], Payload], name: str, forget: Callable[[], None]
) -> tuple[bytes, dict[str, Payload], str]:
    """Return the serialized model in `view` with a token for each large raw_data, the payloads, and the nonce.

    `payload(begin, end)` makes the payload of these bytes, and `forget()` is called now and then to release pages. The
    nonce in the tokens tells them from locations that the file itself contains. Raise InputError if the bytes are not a
    model.
    """
    nonce = os.urandom(16).hex()
    payloads: dict[str, Payload] = {}

    def on_tensor(begin: int, end: int) -> wire.Chunks | None:
        found = list(wire.fields(view, begin, end))
        raw = [each for each in found if each.number == _RAW and each.wire == wire.BYTES]
        if not raw or max(each.end - each.begin for each in raw) < LARGE:
            return None
        explicit = _refuse_second_payload(view, found, len(raw))
        key = f"{TOKEN}{nonce}:{len(payloads)}{EXPLICIT if explicit else ''}"
        payloads[key] = payload(raw[0].begin, raw[0].end)
        if len(payloads) % FORGET_EVERY == 0:
            forget()
        token = TensorProto()
        set_payload(token, key)
        changes: wire.Changes = {(raw[0].at, raw[0].end): [], (end, end): [memoryview(token.SerializeToString())]}
        return wire.splice(view, begin, end, changes)

    try:
        parts = wire.transform(view, on_tensor, lambda begin, end: end - begin >= LARGE).parts
    except wire.WireError as error:
        if error.truncated:
            raise InputError(f"{name} is truncated, or is not an ONNX model ({error})", _FETCH) from None
        raise InputError(f"{name} is not a valid ONNX model ({error})", _FETCH) from None
    serialized = bytearray()
    for count, part in enumerate(parts):
        serialized += part if isinstance(part, memoryview) else b""
        if count % (4 * FORGET_EVERY) == 0:
            forget()
    return bytes(serialized), payloads, nonce


def _refuse_second_payload(view: memoryview, found: list[wire.Field], raws: int) -> bool:
    """Raise WireError if a tensor with raw_data has other data as well; return whether it states its location."""
    name = next((bytes(view[each.begin : each.end]) for each in found if each.number == _NAME), b"")
    located = [wire.varint(view, each.begin, each.end)[0] for each in found if each.number == _LOCATION]
    typed = any(each.number in _TYPED_FIELDS and each.end > each.begin for each in found)
    if raws > 1 or typed or any(located) or any(each.number == _EXTERNAL for each in found):
        raise wire.WireError(f"tensor '{shown(name)}' holds its values twice")
    return bool(located)


def parsed(serialized: bytes, name: str) -> onnx.ModelProto:
    """Parse `serialized` as a ModelProto; raise InputError if it is no model, or has no graph."""
    try:
        model: onnx.ModelProto = onnx.ModelProto.FromString(serialized)
    except DecodeError:
        raise InputError(f"{name} is not a valid ONNX model (protobuf cannot read it)", _FETCH) from None
    if not model.HasField("graph"):
        raise InputError(f"{name} is not an ONNX model: there is no graph in it", "give an ONNX model")
    settle_imports(model)
    return model


def settle(
    model: onnx.ModelProto, payloads: Mapping[str, Payload], nonce: str, folder: ExternalFolder | None = None
) -> tuple[dict[str, Payload], bool]:
    """Check every tensor of a fresh skeleton and number its tokens; return the payloads by their final keys.

    The second result is whether the model has external data. Raise InputError for a tensor that is refused.
    """
    settled: dict[str, Payload] = {}
    external = False
    where = folder.model if folder is not None else "the model"
    for tensor, _ in tensors(model):
        if tensor.data_location != TensorProto.EXTERNAL and not tensor.external_data:
            check_tensor(tensor, None, where)
            continue
        old = payload_key(tensor) or ""
        payload = payloads.get(old) if nonce in old else None
        if payload is None:
            external = True
            if folder is None:
                what = f"the model keeps '{shown(tensor.name)}' in external data, and its folder is not known"
                raise InputError(what, "give the path of the model file")
            payload = folder.span(tensor)
        check_tensor(tensor, payload.nbytes, where)
        key = f"{TOKEN}{len(settled)}{EXPLICIT if old.endswith(EXPLICIT) and nonce in old else ''}"
        set_payload(tensor, key)
        settled[key] = payload
    return settled, external


def model_file_from_proto(model: onnx.ModelProto | bytes) -> ModelFile:
    """Return a model in memory, a ModelProto or a file's bytes, as a skeleton with buffers; change no part of `model`.

    Raise InputError as `read_model` does.
    """
    if isinstance(model, bytes):
        refuse_other_formats(model[:512], "the model")
    try:
        view = memoryview(model if isinstance(model, bytes) else model.SerializeToString())
    except EncodeError:
        raise too_large() from None
    serialized, payloads, nonce = collapse(view, lambda begin, end: Buffer(view[begin:end]), "the model", lambda: None)
    skeleton = parsed(serialized, "the model")
    settled, external = settle(skeleton, payloads, nonce)
    nbytes = len(serialized) + sum(payload.nbytes for payload in payloads.values())
    return ModelFile(None, skeleton, settled, external, nbytes, None)


def too_large() -> InputError:
    """Return the error for a model in memory that protobuf cannot write."""
    what = f"the model in memory is larger than the {MAX_INLINE} bytes that protobuf takes"
    return InputError(what, "save it with external data, and give the path of the file")
