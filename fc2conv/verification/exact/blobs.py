"""Names for the bytes of stored tensors: one name where both models hold the same, without a hash of large weights."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from onnx import GraphProto, TensorProto

from fc2conv.io.payload import Payload
from fc2conv.io.reader import ModelFile
from fc2conv.io.tensors import payload_key
from fc2conv.verification.nodes import graphs


class Blobs:
    """The tensors of two models.

    A tensor whose name both have is compared byte by byte, and any other is hashed: under another name the other model
    may hold it as well.
    """

    def __init__(self, original: ModelFile, converted: ModelFile) -> None:
        self._files = original, converted
        self._named = tuple(dict(_tensors(file)) for file in self._files)
        self._known: dict[tuple[int, str], bytes] = {}

    def name(self, side: int, tensor: TensorProto) -> bytes:
        """Return the name of a tensor's bytes; `side` is 1 or 2."""
        here, there = self._named[side - 1], self._named[2 - side]
        if here.get(tensor.name) is not tensor or tensor.name not in there:
            return self._hash(side, tensor)
        if (side, tensor.name) not in self._known:
            same = self._same(here[tensor.name], there[tensor.name], side)
            for each in (1, 2):
                self._known[each, tensor.name] = f"{'both' if same else each} {tensor.name}".encode()
        return self._known[side, tensor.name]

    def _same(self, one: TensorProto, other: TensorProto, side: int) -> bool:
        if one.data_type != other.data_type:
            return False
        files = self._files if side == 1 else self._files[::-1]
        keys = payload_key(one), payload_key(other)
        if keys[0] is None or keys[1] is None:
            arrays = [np.asarray(f.array(t)) for f, t in zip(files, (one, other), strict=True)]
            return arrays[0].tobytes() == arrays[1].tobytes()
        return same_bytes(files[0].payloads[keys[0]], files[1].payloads[keys[1]])

    def _hash(self, side: int, tensor: TensorProto) -> bytes:
        file, key = self._files[side - 1], payload_key(tensor)
        found = hashlib.blake2b(digest_size=16)
        if key is None:
            found.update(np.ascontiguousarray(file.array(tensor)).tobytes())
        else:
            for block in file.payloads[key].blocks():
                found.update(block)
        return found.digest()


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
