"""Names for the bytes of stored tensors: one name where both models hold the same."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from onnx import GraphProto, TensorProto

from fc2conv.io.payload import Payload
from fc2conv.io.reader import ModelFile
from fc2conv.io.tensors import payload_key
from fc2conv.verification.nodes import graphs

_FIRST = 1 << 12


class Blobs:
    """The tensors of two models.

    A tensor whose name both have is compared byte by byte, and any other with those that start as it does: under
    another name either model may hold it as well.
    """

    def __init__(self, original: ModelFile, converted: ModelFile) -> None:
        self._files = original, converted
        self._named = tuple(dict(_tensors(file)) for file in self._files)
        self._known: dict[tuple[int, str], bytes] = {}
        self._starting: dict[tuple[int, int, bytes], list[tuple[ModelFile, TensorProto, bytes]]] = {}

    def name(self, side: int, tensor: TensorProto) -> bytes:
        """Return the name of a tensor's bytes; `side` is 1 or 2."""
        here, there = self._named[side - 1], self._named[2 - side]
        if here.get(tensor.name) is not tensor or tensor.name not in there:
            return self._hash(side, tensor)
        if (side, tensor.name) not in self._known:
            files = self._files if side == 1 else self._files[::-1]
            one, other = here[tensor.name], there[tensor.name]
            same = one.data_type == other.data_type and _same(files[0], one, files[1], other)
            for each in (1, 2):
                self._known[each, tensor.name] = f"{'both' if same else each} {tensor.name}".encode()
        return self._known[side, tensor.name]

    def _hash(self, side: int, tensor: TensorProto) -> bytes:
        """Compare with those tensors of both models that start with the same bytes."""
        file = self._files[side - 1]
        candidates = self._starting.setdefault((tensor.data_type, *_start(file, tensor)), [])
        for other, there, name in candidates:
            if _same(file, tensor, other, there):
                return name
        candidates.append((file, tensor, f"{side} {len(self._starting)} {len(candidates)}".encode()))
        return candidates[-1][2]


def _start(file: ModelFile, tensor: TensorProto) -> tuple[int, bytes]:
    """The number of bytes, and the first of them."""
    key = payload_key(tensor)
    if key is None:
        array = np.asarray(file.array(tensor))
        return array.nbytes, array.reshape(-1)[:_FIRST].tobytes()
    payload = file.payloads[key]
    return payload.nbytes, bytes(next(iter(payload.blocks()), b"")[:_FIRST])


def _same(file: ModelFile, tensor: TensorProto, other: ModelFile, there: TensorProto) -> bool:
    keys = payload_key(tensor), payload_key(there)
    if keys[0] is None or keys[1] is None:
        return np.asarray(file.array(tensor)).tobytes() == np.asarray(other.array(there)).tobytes()
    return same_bytes(file.payloads[keys[0]], other.payloads[keys[1]])


def _tensors(file: ModelFile) -> Iterator[tuple[str, TensorProto]]:
    """The initializers of all graphs, of each name the last."""
    for graph in graphs(file.model):
        if isinstance(graph, GraphProto):
            yield from ((tensor.name, tensor) for tensor in graph.initializer)


def same_bytes(one: Payload, other: Payload) -> bool:
    """Compare in pieces; the two may come in blocks of other sizes."""
    if one.nbytes != other.nbytes:
        return False
    left, right = (_pieces(payload) for payload in (one, other))
    a, b = next(left, _NOTHING), next(right, _NOTHING)
    while len(a) and len(b):
        size = min(len(a), len(b))
        if not np.array_equal(a[:size], b[:size]):
            return False
        a = a[size:] if len(a) > size else next(left, _NOTHING)
        b = b[size:] if len(b) > size else next(right, _NOTHING)
    return not len(a) and not len(b)


_NOTHING = np.empty(0, np.uint8)


def _pieces(payload: Payload) -> Iterator[NDArray[np.uint8]]:
    return (np.frombuffer(block, np.uint8) for block in payload.blocks() if len(block))
