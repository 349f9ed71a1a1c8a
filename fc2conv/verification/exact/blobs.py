"""Names for the bytes of stored tensors: one name where both models hold the same."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto

from fc2conv.io.reader import ModelFile
from fc2conv.io.tensors import payload_key

_FIRST = 1 << 12


class Blobs:
    """The tensors of two models: one is compared with those of both that start as it does, whatever they are called."""

    def __init__(self, original: ModelFile, converted: ModelFile) -> None:
        self._files = original, converted
        self._known: dict[tuple[int, str], bytes] = {}
        self._starting: dict[tuple[int, int, bytes], list[tuple[ModelFile, TensorProto, bytes]]] = {}

    def name(self, side: int, tensor: TensorProto) -> bytes:
        """Return the name of a tensor's bytes; `side` is 1 or 2."""
        key = payload_key(tensor)
        if key is None:
            return self._compared(side, tensor)
        if (side, key) not in self._known:
            self._known[side, key] = self._compared(side, tensor)
        return self._known[side, key]

    def _compared(self, side: int, tensor: TensorProto) -> bytes:
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
    one, two = file.payloads[keys[0]], other.payloads[keys[1]]
    blocks = zip(one.blocks(), two.blocks(), strict=False)  # of one size but for the last
    return one.nbytes == two.nbytes and all(np.array_equal(_bytes(a), _bytes(b)) for a, b in blocks)


def _bytes(block: bytes | memoryview) -> NDArray[np.uint8]:
    return np.frombuffer(block, np.uint8)
