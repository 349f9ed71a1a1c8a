"""Element types of values, by the nodes that change them, and the types that layout nodes take.

h = Gemm (...)  y = Cast <to = INT64> (h)      INT64: no Flatten takes it below opset 9
"""

from __future__ import annotations

from functools import lru_cache

from onnx import NodeProto, TensorProto, defs

from fc2conv.ir.graph import Graph, attribute, changed, int_attribute, op
from fc2conv.ir.schema import schema_of

TYPES = {f"tensor({name.lower()})": number for name, number in TensorProto.DataType.items()}
"""Element types by the names that definitions have for them."""
_STATED = {"Cast": "to", "DequantizeLinear": "output_dtype", "QuantizeLinear": "output_dtype"}
"""The attribute that states the type of the result."""
_LIKE = {"DequantizeLinear": 1, "GatherBlockQuantized": 2, "MatMulIntegerToFloat": 2, "QuantizeLinear": 2}
"""The operand that has the type of the result, where that is not the first one and no definition says so."""
_VARIADIC = defs.OpSchema.FormalParameterOption.Variadic
_OLD_FLATTEN = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE)
_FIXED = tuple(
    kind
    for name, kind in TensorProto.DataType.items()
    if name.startswith(("FLOAT8", "FLOAT4", "FLOAT6", "INT4", "UINT4", "INT2", "UINT2"))
)


def element_type(graph: Graph, name: str) -> int:
    """Return the element type of a value, or 0 if unknown. An operator without a rule has its first operand's."""
    seen: list[str] = []
    found: int | str = graph.element_types.get(name, name)
    while isinstance(found, str):
        seen.append(found)
        known = graph.element_types.get(found)
        found = _step(graph, found) if known is None else known
    graph.element_types.update(dict.fromkeys(seen, found))
    return found


def _step(graph: Graph, name: str) -> int | str:
    """Return the element type of a value, or the name of the operand that has the same type."""
    i = graph.producer.get(name)
    if i is None:
        return _given(graph, name)
    node, kind = graph.nodes[i], graph.kinds[i].removeprefix("com.microsoft::")
    if kind == "Constant":
        value = attribute(node, "value")
        return int(value.t.data_type) if value is not None else 0
    given = int_attribute(node, _STATED[kind], 0) if kind in _STATED else 0
    if given:
        return given
    operands = graph.operands[i]
    if kind in ("Loop", "Scan"):
        return _state(graph, node, kind, graph.results[i].index(name))
    if kind not in _LIKE:
        there = tuple(map(bool, operands))
        defined = _by_definition(kind, graph.opset, there, graph.results[i].index(name))
        if defined is not None:
            only, same = defined
            stored = next((operands[at] for at in same if operands[at] in graph.initializers), None)
            return only or stored or (operands[same[0]] if same else 0)
    like = (*operands, "", "")[_LIKE.get(kind, 0)]
    return TensorProto.UINT8 if kind == "QuantizeLinear" and not like else like


def _state(graph: Graph, node: NodeProto, kind: str, place: int) -> int | str:
    """Return the operand that the state at a place of the results starts from, whose type it keeps; 0 for no state."""
    at = place + 2 * (kind == "Loop")
    states = len(node.input) - int_attribute(node, "num_scan_inputs", 0)
    return node.input[at] if at < states and (kind == "Loop" or graph.opset > 8) else 0


@lru_cache(maxsize=1024)
def _by_definition(kind: str, opset: int, there: tuple[bool, ...], place: int) -> tuple[int, tuple[int, ...]] | None:
    """Return the one type that a result may have by definition (or 0), and the operands that have the same type.

    Return None for an operator without a definition. `there` says which operands are given. Of a variadic list, whose
    operands may have several types, only the first counts.
    """
    schema = schema_of(kind, opset, "")
    if schema is None:
        return None
    result = schema.outputs[min(place, len(schema.outputs) - 1)]
    read = [each.type_str for each in schema.inputs]
    formals = zip(there, (*read, *read[-1:] * (len(there) - len(read))), strict=False)
    like = [i for i, (given, formal) in enumerate(formals) if given and formal == result.type_str]
    like = [i for i in like if i == like[0] or schema.inputs[min(i, len(read) - 1)].option != _VARIADIC]
    only = TYPES.get(str(next(iter(result.types))), 0) if len(result.types) == 1 else 0
    return only, tuple(like)


def _given(graph: Graph, name: str) -> int:
    """Return the element type of a value that no node of the scope makes."""
    if name in graph.initializers:
        return int(graph.initializers[name].data_type)
    declared = next((int(each.type.tensor_type.elem_type) for each in graph.proto.input if each.name == name), 0)
    return element_type(graph.outer, name) if not declared and graph.outer is not None else declared


def flattens(graph: Graph, name: str) -> bool:
    """Return whether Flatten takes the type of a value: below opset 9 it takes floating point alone."""
    return graph.opset >= 9 or element_type(graph, name) in (0, *_OLD_FLATTEN)


def moves(graph: Graph, name: str) -> bool:
    """Return whether layout nodes take the type of a value: runtimes have no layout nodes for four bits or float8."""
    return element_type(graph, name) not in _FIXED


def as_cast(graph: Graph, node: NodeProto) -> NodeProto:
    """Return a CastLike as a Cast where the type of its second operand is certain; return any other node as it is."""
    kind: int | str = node.input[1] if op(node) == "CastLike" else 0
    while isinstance(kind, str) and kind:
        maker = graph.made_by(kind)
        kind = 0 if maker is not None and op(maker) != maker.op_type else _step(graph, kind)
    if not kind:
        return node
    cast = changed(node, to=kind)
    cast.op_type, cast.input[:] = "Cast", node.input[:1]
    return cast
