"""Stored values as terms: tensors, Constant nodes, and fills of one number; and names for the bytes of tensors."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from math import prod

import numpy as np
from numpy.typing import NDArray
from onnx import GraphProto, ModelProto, NodeProto, SparseTensorProto, TensorProto, helper

from fc2conv.io.forms import dense
from fc2conv.io.payload import Buffer, Payload
from fc2conv.io.reader import ModelFile
from fc2conv.io.tensors import payload_key
from fc2conv.verification.exact.terms import ABSENT, MOST, SMALL, Array, Shape, Term, digest, limits, number
from fc2conv.verification.nodes import canonical, content, integer, label

Blob = Callable[[TensorProto], bytes]
"""A function that names the bytes of a large tensor."""


def large(key: bytes, name: str, shape: Shape, kind: int, load: Callable[[], Array], blob: bytes = b"") -> Term:
    """Return a constant that is read from where it is stored."""
    return Term(key, name, shape, kind, load=load, blob=blob, bounds=limits(kind))


def moved(term: Term, name: str, how: object, move: Callable[[Array], Array], blob: bytes = b"") -> Term:
    """Return a constant that has the elements of another one at other places."""
    if term.value is not None:
        return number(move(term.value), name, term.kind)
    shape = move(np.broadcast_to(np.int8(), term.shape or ())).shape
    return large(digest(how, term.key), name, shape, term.kind, lambda: move(term.numbers()), blob)


def tensor(file: ModelFile, proto: TensorProto, name: str, blob: Blob) -> Term:
    """Return a tensor of the model as a term."""
    shape = tuple(proto.dims)
    if prod(shape) <= SMALL:
        return number(np.array(file.array(proto)), name, proto.data_type)  # no view of the whole file
    named = blob(proto)
    key = digest("tensor", named, proto.data_type, shape)
    return large(key, name, shape, proto.data_type, lambda: file.array(proto), named)


def sparse(file: ModelFile, proto: SparseTensorProto, name: str) -> Term:
    """Return all elements of a sparse tensor, with those that are 0, as a term."""
    kind, array = proto.values.data_type, dense(file, proto)
    if array is None:
        alone = ModelProto(graph=GraphProto(sparse_initializer=[proto]))
        key = digest("sparse", canonical(alone, file))
        return Term(key, name, None, 0, leaf=key)
    if array.size <= SMALL:
        return number(array, name, kind)
    key = digest("sparse", hashlib.blake2b(content(array)).digest(), kind, array.shape)
    return large(key, name, array.shape, kind, lambda: array)


def constant(file: ModelFile, node: NodeProto, blob: Blob) -> Term:
    """Return the value of a Constant node as a term."""
    attribute = node.attribute[0]
    if attribute.name == "value":
        return tensor(file, attribute.t, node.output[0], blob)
    if attribute.name == "sparse_value":
        return sparse(file, attribute.sparse_tensor, label(node))
    value = helper.get_attribute_value(attribute)
    if attribute.name in ("value_string", "value_strings"):
        words = [value] if attribute.name == "value_string" else value
        array = np.array([word.decode("utf-8", "surrogateescape") for word in words], object)
        return number(array.reshape(() if attribute.name == "value_string" else -1), label(node))
    dtype = np.float32 if "float" in attribute.name else np.int64
    return number(np.array(value, dtype), label(node))


def filled(file: ModelFile, node: NodeProto, shape: Shape) -> Term:
    """Return the result of a ConstantOfShape node as a term."""
    proto = next((a.t for a in node.attribute if a.name == "value"), None)
    fill = np.zeros((), np.float32) if proto is None else np.asarray(file.array(proto)).reshape(())
    kind = int(helper.np_dtype_to_tensor_dtype(fill.dtype))
    key = digest("filled", kind, shape, fill.tobytes())
    if min(shape, default=1) < 0 or prod(shape) > MOST:
        return Term(key, label(node), None, kind, leaf=key)
    if prod(shape) <= SMALL:
        return number(np.full(shape, fill, fill.dtype), label(node))
    return large(key, label(node), shape, kind, lambda: np.broadcast_to(fill, shape))


def plain(file: ModelFile, node: NodeProto, operands: Sequence[Term], blob: Blob) -> Term | None:
    """Return the result of a node that is its operand, or a constant without evaluation; None for other nodes."""
    first = next(iter(operands), ABSENT)
    kind = node.op_type
    if kind == "Constant":
        return constant(file, node, blob)
    if first is ABSENT:
        return None
    if kind == "Identity" or (kind == "Cast" and integer(node, "to", 0) == first.kind):
        return first
    if kind in ("Shape", "Size") and first.shape is not None:
        dims = np.array(first.shape, np.int64)
        cut = slice(integer(node, "start", 0), integer(node, "end", len(dims)))
        return number(np.asarray(dims[cut] if kind == "Shape" else dims.prod(), np.int64), label(node))
    if kind == "ConstantOfShape" and first.value is not None:
        return filled(file, node, tuple(int(n) for n in first.value))
    if kind == "Expand" and first.shape is not None and operands[-1].value is not None:
        pairs = zip(operands[-1].value[::-1], first.shape[::-1], strict=False)
        own = operands[-1].size <= len(first.shape) and all(size in (1, known) for size, known in pairs)
        return first if own else None
    if kind == "Transpose" and first.shape is not None:
        whole = list(range(len(first.shape)))
        perm = next((list(a.ints) for a in node.attribute if a.name == "perm"), whole[::-1])
        if perm == whole:
            return first
        if first.constant and sorted(perm) == whole:
            return moved(first, label(node), ("turned", perm), lambda n: n.transpose(perm))
    return None


# ------------------------------------------------------------------ bytes

_FIRST = 1 << 12


class Blobs:
    """The tensors of two models: each is compared with those of both that start with the same bytes, by any name."""

    def __init__(self, original: ModelFile, converted: ModelFile) -> None:
        self._files = original, converted
        self._known: dict[tuple[int, str], bytes] = {}
        self._named = 0
        self._starting: dict[tuple[int, int, bytes], list[tuple[Payload, bytes]]] = {}

    def name(self, side: int, tensor: TensorProto) -> bytes:
        """Return the name of a tensor's bytes; `side` is 1 or 2."""
        file, key = self._files[side - 1], payload_key(tensor)
        if key is None:
            return self._compared(side, tensor.data_type, Buffer(np.asarray(file.array(tensor)).tobytes()))
        if (side, key) not in self._known:
            self._known[side, key] = self._compared(side, tensor.data_type, file.payloads[key])
        return self._known[side, key]

    def _compared(self, side: int, kind: int, payload: Payload) -> bytes:
        first = bytes(next(iter(payload.blocks()), b"")[:_FIRST])
        candidates = self._starting.setdefault((kind, payload.nbytes, first), [])
        for other, name in candidates:
            blocks = zip(payload.blocks(), other.blocks(), strict=False)  # of one size but for the last
            if all(np.array_equal(_bytes(one), _bytes(two)) for one, two in blocks):
                return name
        self._named += 1
        candidates.append((payload, f"{side} {self._named}".encode()))
        return candidates[-1][1]


def _bytes(block: bytes | memoryview) -> NDArray[np.uint8]:
    return np.frombuffer(block, np.uint8)
