"""Sizes that libraries compute wrongly: of dimensions declared open by 0 or -1, by defaults, and of ceil_mode."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from copy import deepcopy
from typing import Any

import numpy as np
from onnx import AttributeProto, FunctionProto, GraphProto, ModelProto, NodeProto, TensorShapeProto, TypeProto, helper


def declared_size(dim: TensorShapeProto.Dimension) -> int | None:
    """Return the number that a dimension is declared to be, or None for an open one."""
    return int(dim.dim_value) if dim.HasField("dim_value") and dim.dim_value > 0 else None


def with_open_sizes(model: ModelProto) -> ModelProto:
    """Return a copy of a model in which every size below 1 in a declaration is open; sizes of tensors stay."""
    copy = deepcopy(model)
    for body in (copy.graph, *copy.functions):
        for kind in _types(body):
            open_type(kind)
    return copy


def explicit(node: NodeProto) -> NodeProto:
    """Return a node with its default written out where onnx's inference has another default: a one-sided STFT."""
    if node.op_type != "STFT" or any(each.name == "onesided" for each in node.attribute):
        return node
    copy = NodeProto()
    copy.CopyFrom(node)
    copy.attribute.add(name="onesided", type=AttributeProto.INT, i=1)
    return copy


POOLS = ("MaxPool", "AveragePool", "LpPool")
"""Operators with ceil_mode."""


def given_attributes(node: NodeProto) -> dict[str, Any]:
    """Return a node's attributes by name, without empty lists."""
    found = {each.name: helper.get_attribute_value(each) for each in node.attribute}
    return {name: value for name, value in found.items() if value != []}


def rounded_down(node: NodeProto, sizes: Sequence[int | None]) -> NodeProto:
    """Return a pool with ceil_mode as one without it whose pads give as many windows, where onnx counts one too many.

    That window begins in the padding after the map, whose sizes are `sizes`. Newer definitions and the runtimes leave
    it out.
    """
    given = given_attributes(node) if node.op_type in POOLS else {}
    kernel, rank = given.get("kernel_shape", ()), len(given.get("kernel_shape", ()))
    padded = given.pop("auto_pad", b"NOTSET")
    if not given.get("ceil_mode", 0) or len(sizes) != rank + 2 or padded not in (b"NOTSET", b"VALID"):
        return node
    strides, dilations = (given.get(name) or [1] * rank for name in ("strides", "dilations"))
    pads = list(given.get("pads") or [0] * rank * 2)
    if not len(strides) == len(dilations) == rank == len(pads) / 2 or 0 in strides:
        return node  # which inference refuses
    beyond = False
    for i, size in enumerate(sizes[2:]):
        room = (size or 0) + pads[i] + pads[rank + i] - (kernel[i] - 1) * dilations[i] - 1
        if size and room >= 0:
            last = -(-room // strides[i]) * strides[i]
            over = last >= size + pads[i]
            pads[rank + i] += max(last - over * strides[i] - room, 0)
            beyond |= over
    if not beyond:
        return node
    return helper.make_node(
        node.op_type, node.input, node.output, node.name, domain=node.domain, **given | {"ceil_mode": 0, "pads": pads}
    )


def scaled_up(node: NodeProto, sizes: Sequence[int | None], scales: np.ndarray) -> np.ndarray:
    """Return scales of a Resize from which onnx infers the sizes that runtimes compute from `scales` in float32.

    For example, 10 cells become 13 at a scale of 1.3, which is a little less than 1.3 in double precision. Scales that
    are no list, or whose axes do not exist, stay as they are.
    """
    axes = next((each.ints for each in node.attribute if each.name == "axes"), range(len(sizes)))
    if scales.ndim != 1 or not all(-len(sizes) <= axis < len(sizes) for axis in axes):
        return scales
    out = scales.astype(np.float32)
    for i, axis in enumerate(axes[: out.size]):
        size = sizes[axis]
        wanted = np.floor(np.float32(size or 0) * out[i])
        while size and np.floor(size * np.float64(out[i])) < wanted:
            out[i] = np.nextafter(out[i], np.float32(np.inf))
    return out


def open_type(kind: TypeProto) -> None:
    """Change the type of a value so that every size below 1 is open."""
    which = kind.WhichOneof("value")
    if which in ("tensor_type", "sparse_tensor_type"):
        for dim in getattr(kind, which).shape.dim:
            if dim.HasField("dim_value") and dim.dim_value <= 0:
                dim.ClearField("dim_value")
    elif which in ("sequence_type", "optional_type"):
        open_type(getattr(kind, which).elem_type)
    elif which == "map_type":
        open_type(kind.map_type.value_type)


def _types(body: GraphProto | FunctionProto) -> Iterator[TypeProto]:
    """Yield every type that a graph or a function declares, and those of the graphs in its nodes."""
    ends = (*body.input, *body.output) if isinstance(body, GraphProto) else ()
    yield from (value.type for value in (*ends, *body.value_info))
    for attribute in (each for node in body.node if node.attribute for each in node.attribute):
        yield from ([attribute.tp] if attribute.HasField("tp") else attribute.type_protos)
        for graph in [attribute.g] if attribute.HasField("g") else attribute.graphs:
            yield from _types(graph)
