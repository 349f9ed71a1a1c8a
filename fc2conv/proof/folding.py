"""Constants of a model: tensors, and the values of nodes that are made of nothing else."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto, helper

from fc2conv.onnxfile import ModelFile
from fc2conv.proof.ids import salt
from fc2conv.proof.nodes import SMALL, Call, Kind, evaluate, subgraphs
from fc2conv.proof.values import UnmodelledError, Value, fitting

RANDOM = ("Random", "Bernoulli", "Multinomial", "Dropout")
"""How the names of ops begin whose results are no function of their inputs."""


def tensor(file: ModelFile, proto: TensorProto, name: str, owner: object) -> Value:
    """The value of a tensor; a large one is not read, and told from others by its name and its owner."""
    shape = tuple(proto.dims)
    if np.prod(shape, dtype=np.int64) <= SMALL:
        return number(file.array(proto), proto.data_type, name)
    key = salt("tensor", owner, name, proto.data_type, shape)
    return Value(key, name, shape, proto.data_type, read=lambda: file.array(proto))


def number(array: NDArray[Any], kind: int, name: str) -> Value:
    """A small constant, told from others by what it holds."""
    key = salt("number", kind, array.shape, np.ascontiguousarray(array).tobytes())
    return Value(key, name, tuple(array.shape), kind, read=lambda: array)


def special(call: Call) -> list[Value] | None:
    """The value of Shape, Size and ConstantOfShape where it is known; None where not, and for other nodes."""
    op_type = call.node.op_type if call.domain == "" else ""
    source = call.inputs[0] if call.inputs else None
    if source is None:
        return None
    if op_type == "ConstantOfShape" and source.is_constant:
        try:
            with fitting(call.label):
                return [_filled(call, source)]
        except UnmodelledError:
            return None
    if op_type in ("Shape", "Size") and source.shape is not None:
        dims = np.array(source.shape, dtype=np.int64)
        told = dims[slice(*_span(call, len(dims)))] if op_type == "Shape" else np.array(np.prod(dims))
        return [number(told.astype(np.int64), TensorProto.INT64, call.label)]
    return None


def folded(call: Call, kinds: list[Kind]) -> list[Value] | None:
    """The values of a node of small constants; None for other nodes, and for one that cannot be evaluated.

    Nor can one whose operands do not fit: there the evaluator broadcasts what inference knows the shape of.
    """
    inputs = [v for v in call.inputs if v is not None]
    if not inputs or not all(v.is_constant and _count(v) <= SMALL for v in inputs):
        return None
    if call.node.op_type.startswith(RANDOM) or any(True for _ in subgraphs(call.node)):
        return None
    try:
        made = evaluate(call.node, call.opset, arrays(call))
    except UnmodelledError:
        return None
    told = [array.shape if shape is None else shape for array, (_, shape) in zip(made, kinds, strict=True)]
    if any(array.size > SMALL or array.shape != shape for array, shape in zip(made, told, strict=True)):
        return None
    return [number(a, kind or _kind(a), call.label) for a, (kind, _) in zip(made, kinds, strict=True)]


def constant_node(call: Call, owner: object) -> Value:
    """The value of a Constant."""
    attribute = call.node.attribute[0]
    if attribute.name == "value":
        return tensor(call.file, attribute.t, call.node.output[0], owner)
    if attribute.name == "sparse_value":
        return Value(salt("sparse", attribute.sparse_tensor.SerializeToString(deterministic=True)), call.label)
    array = evaluate(call.node, call.opset, [])[0]
    return number(array, _kind(array), call.label)


def arrays(call: Call) -> list[NDArray[Any] | None]:
    """The elements of a node's inputs, all of which are constants."""
    return [None if v is None else v.array() for v in call.inputs]


def _filled(call: Call, source: Value) -> Value:
    shape = tuple(int(n) for n in source.array())
    given = next((a.t for a in call.node.attribute if a.name == "value"), None)
    fill = np.zeros((), dtype=np.float32) if given is None else call.file.array(given).reshape(())
    kind = TensorProto.FLOAT if given is None else given.data_type
    key = salt("filled", kind, shape, fill.tobytes())
    return Value(key, call.label, shape, kind, read=lambda: np.broadcast_to(fill, shape))


def _kind(array: NDArray[Any]) -> int:
    return int(helper.np_dtype_to_tensor_dtype(array.dtype))


def _count(value: Value) -> int:
    return int(np.prod(value.shape or (), dtype=np.int64))


def _span(call: Call, rank: int) -> tuple[int, int]:
    """Where Shape's `start` and `end` cut, clamped as the specification says."""
    ends = (int(call.attributes.get("start", 0)), int(call.attributes.get("end", rank)))
    first, last = (min(max(e + rank if e < 0 else e, 0), rank) for e in ends)
    return first, last
