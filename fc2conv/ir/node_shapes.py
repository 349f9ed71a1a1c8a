"""Shapes of one node's results, from what is known of its operands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from onnx import NodeProto, TensorProto, TypeProto, ValueInfoProto, defs, helper, numpy_helper, shape_inference

from fc2conv.io.sizes import explicit, rounded_down, scaled_up
from fc2conv.ir.element_types import TYPES
from fc2conv.ir.graph import label, subgraphs
from fc2conv.ir.schema import definition
from fc2conv.ir.shapes import REFUSALS
from fc2conv.ir.subgraph_shapes import MOST_ELEMENTS, Shapes, known_sizes, misread, scales_of, sizes_of
from fc2conv.layout.axes import Size
from fc2conv.sandbox import note


def at_node(
    node: NodeProto,
    opsets: Mapping[str, int],
    shapes: Mapping[str, Sequence[Size] | None],
    values: Mapping[str, np.ndarray],
) -> Shapes:
    """Return what inference says of one node's results, given the shapes of its operands and the values of some."""
    scales = scales_of(node)
    if scales in values and shapes.get(node.input[0]):
        values = {**values, scales: scaled_up(node, known_sizes(shapes[node.input[0]]), values[scales])}
    sizes: dict[str, Size] = {}
    types = {name: _type(shapes.get(name), values.get(name), sizes) for name in node.input if name}
    found: dict[str, TypeProto] = {}
    for each in _as_onnx(node, opsets, shapes, values):
        clear = all(shapes.get(name) is not None or name in values for i in misread(each) if (name := each.input[i]))
        made = _inferred(each, opsets, types | found, values) if clear else {}
        if not made:
            return {}
        found |= made
    out: Shapes = {}
    for name in node.output:
        shape = sizes_of(ValueInfoProto(name=name, type=found[name])) if name in found else None
        if shape is not None:
            out[name] = tuple(sizes.get(str(size), size) for size in shape)
    return out


def _as_onnx(
    node: NodeProto,
    opsets: Mapping[str, int],
    shapes: Mapping[str, Sequence[Size] | None],
    values: Mapping[str, np.ndarray],
) -> list[NodeProto]:
    """Return the node, or the nodes that ONNX's inference knows instead of it."""
    if definition(node, opsets) is not None:
        return [rounded_down(explicit(node), known_sizes(shapes.get(node.input[0])) if node.input else ())]
    ranks = {name: len(shape) for name, shape in shapes.items() if shape is not None}
    constants = {name: array.shape for name, array in values.items()}
    from fc2conv.ir.stand_ins import stand_in

    return stand_in(node, constants, ranks, {}) or [node]


def _inferred(
    node: NodeProto, opsets: Mapping[str, int], types: Mapping[str, TypeProto], values: Mapping[str, np.ndarray]
) -> dict[str, TypeProto]:
    schema = definition(node, opsets)
    if schema is None or any(True for _ in subgraphs(node)):
        return {}
    known = {name: types[name] for name in node.input if name in types}
    data = {name: numpy_helper.from_array(values[name]) for name in known if name in values}
    imports = [helper.make_opsetid(domain, n) for domain, n in opsets.items()]
    note("onnx.shape_inference", label(node))
    try:
        _admit(schema, node, known, values)
        return dict(shape_inference.infer_node_outputs(schema, node, known, data, opset_imports=imports))
    except REFUSALS:
        return {}  # the node contradicts itself


def _admit(
    schema: defs.OpSchema, node: NodeProto, types: Mapping[str, TypeProto], values: Mapping[str, np.ndarray]
) -> None:
    """Set each operand's element type to one that the operator takes: that of known values beside it, or the first."""
    formals = [(name, schema.inputs[min(i, len(schema.inputs) - 1)]) for i, name in enumerate(node.input)]
    known = {formal.type_str: types[name].tensor_type.elem_type for name, formal in formals if name in values}
    for name, formal in formals:
        taken = sorted(TYPES[each] for each in formal.types if each in TYPES)
        if name in types and taken:
            kind = types[name].tensor_type
            kind.elem_type = known.get(formal.type_str, kind.elem_type if kind.elem_type in taken else taken[0])


def _type(shape: Sequence[Size] | None, values: np.ndarray | None, sizes: dict[str, Size]) -> TypeProto:
    """Return the type of an operand; its unknown sizes get names, which `sizes` maps back to them."""
    if values is not None:
        return helper.make_tensor_type_proto(helper.np_dtype_to_tensor_dtype(values.dtype), values.shape)
    dims: list[int | str] = []
    for size in shape or ():
        name = f"size {len(sizes)}"
        known = next((key for key, each in sizes.items() if each == size), name)
        written = size.known and size.coefficient < MOST_ELEMENTS  # a Tile may ask for more
        if not written:
            sizes[known] = size
        dims.append(size.coefficient if written else known)
    return helper.make_tensor_type_proto(TensorProto.FLOAT, None if shape is None else dims)
