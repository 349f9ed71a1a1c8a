"""Nodes checked against the definitions of their operators, before anything relies on them.

The definitions are those that the onnx package has (`onnx.defs`), in the version that the model imports. Of
com.microsoft's operators the least number of operands and the types of some attributes are known here, for those that
are layers or occur near them (onnxruntime's ContribOperators). An operator of another domain has no definition, and is
not looked at.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from string import ascii_letters

from onnx import AttributeProto, FunctionProto, ModelProto, NodeProto, defs

from fc2conv.errors import InputError
from fc2conv.io.custom_ops import ONNX_DOMAINS
from fc2conv.io.escape import shown
from fc2conv.io.tensors import quoted
from fc2conv.ir.graph import Graph, label, onnx_opset, op, opset_versions, subgraphs
from fc2conv.ir.layer_operators import LAYER_OPERATORS
from fc2conv.reasons import Code, Reason

_REMEDY = "export the model again"
_FLAGS = frozenset(
    """allowzero keepdims noop_with_empty_axes transA transB transBatchA transBatchB reverse exclusive
    ceil_mode count_include_pad select_last_index""".split()
)
"""Attributes that say yes (1) or no (0); what another number means differs from runtime to runtime."""

_LEAST = {
    "BiasGelu": 2, "DequantizeLinear": 2, "FastGelu": 1, "FusedConv": 2, "Gelu": 1, "NhwcConv": 2, "NhwcFusedConv": 2,
    "QLinearAdd": 7, "QLinearAveragePool": 4, "QLinearConcat": 3, "QLinearConv": 8, "QLinearGlobalAveragePool": 5,
    "QLinearLeakyRelu": 4, "QLinearMul": 7, "QLinearSigmoid": 4, "QLinearSoftmax": 5, "QLinearWhere": 9,
    "QuantizeLinear": 2, "QuickGelu": 1, "SkipLayerNormalization": 3, "SkipSimplifiedLayerNormalization": 3,
    **{name.partition("::")[2]: row.least for name, row in LAYER_OPERATORS.items() if "::" in name},
}  # fmt: skip
"""com.microsoft's operators with the number of operands that each needs."""

_TYPES: dict[str, AttributeProto.AttributeType] = {
    **dict.fromkeys("alpha beta activation_alpha activation_beta activation_gamma".split(), AttributeProto.FLOAT),
    **dict.fromkeys("transA transB transBatchA transBatchB K N bits block_size axis".split(), AttributeProto.INT),
    "activation": AttributeProto.STRING,
}
"""The attributes of those operators that are read here, with their types."""


def check_valid(model: ModelProto) -> None:
    """Raise InputError for the first node that does not fit its definition, in a model that passed validate.py.

    Check the numbers of operands and results, required operands, the types of attributes, attributes that are required
    or unknown, and flags that are neither 0 nor 1; in subgraphs and functions as well.
    """
    functions = {(each.domain, each.name, each.overload): each for each in model.functions}
    _check(model.graph.node, opset_versions(model), functions)
    for function in model.functions:
        _check(function.node, {entry.domain: int(entry.version) for entry in function.opset_import}, functions)


_Functions = Mapping[tuple[str, str, str], FunctionProto]


def _check(nodes: Iterable[NodeProto], opsets: Mapping[str, int], functions: _Functions) -> None:
    for node in nodes:
        called = functions.get((node.domain, node.op_type, node.overload))
        problem = _problem(node, opsets) if called is None else _call(node, called)
        if problem:
            what = f"node {quoted(label(node))} ({shown(op(node))}) {problem}"
            raise InputError(what, _later(node, opsets) or _REMEDY)
        for _, inner in subgraphs(node):
            _check(inner.node, opsets, functions)


def _later(node: NodeProto, opsets: Mapping[str, int]) -> str:
    """Return what helps where a node has the attributes of a later operator set, as quantizers write them; else ""."""
    version, names = onnx_opset(opsets), {attribute.name for attribute in node.attribute}
    found = definition(node, opsets) if node.domain in ONNX_DOMAINS else None
    if found is None or names <= found.attributes.keys():
        return ""
    for later in range(version + 1, defs.onnx_opset_version() + 1):
        schema = schema_of(node.op_type, later, "")
        if schema is not None and names <= schema.attributes.keys():
            return (
                f"opset {later} has it, and the model imports {version}: "
                f"onnx.version_converter.convert_version(model, {later}) raises it"
            )
    return ""


def _call(node: NodeProto, called: FunctionProto) -> str:
    if len(node.input) > len(called.input):
        return f"has {len(node.input)} operands, and the function that it calls {len(called.input)}"
    if len(node.output) > len(called.output):
        return f"has {len(node.output)} results, and the function that it calls {len(called.output)}"
    return ""


def _problem(node: NodeProto, opsets: Mapping[str, int]) -> str:
    given = {a.name: a for a in node.attribute}
    if node.domain in (*ONNX_DOMAINS, "com.microsoft"):
        unread = next((a.name for a in node.attribute if a.type == AttributeProto.STRING and not _is_text(a.s)), None)
        if unread is not None:
            return f"has the attribute {quoted(unread)}, which is no UTF-8"
        flags = (given[name] for name in _FLAGS & given.keys() if not given[name].ref_attr_name)
        wrong = next((each for each in flags if each.i not in (0, 1)), None)
        if wrong is not None:
            return f"has {wrong.name} {wrong.i}, which is neither 0 nor 1"
    if node.domain == "com.microsoft":
        return _against_microsoft(node, given)
    schema = definition(node, opsets)
    if schema is not None:
        unknown = sorted(given.keys() - schema.attributes.keys())
        if unknown:
            return f"has an attribute {quoted(unknown[0])}, which its operator has not"
        return _against(schema, node, given) or _constant(node) or _equation(node, given)
    # The model's version has no such operator; onnxruntime knows some before ONNX did, in the form that came to be.
    schema = schema_of(node.op_type, _MOST, "" if node.domain in ONNX_DOMAINS else node.domain)
    return "" if schema is None else _against(schema, node, given)


def _is_text(value: bytes) -> bool:
    try:
        value.decode()
    except UnicodeDecodeError:
        return False
    return True


def _against_microsoft(node: NodeProto, given: Mapping[str, AttributeProto]) -> str:
    least = _LEAST.get(node.op_type, 0)
    if len(node.input) < least:
        return f"has {len(node.input)} operands, and needs {least}"
    for name, kind in _TYPES.items() if least else ():
        if name in given and given[name].type != kind:
            return f"has the attribute {name} in another type than its operator"
    return ""


_MOST = (1 << 31) - 1


@lru_cache(maxsize=1024)
def schema_of(op_type: str, version: int, domain: str) -> defs.OpSchema | None:
    """Return the definition of an operator in a version of its domain's operator set; None where it has no entry."""
    try:
        return defs.get_schema(op_type, version, domain)
    except defs.SchemaError:
        return None


def definition(node: NodeProto, opsets: Mapping[str, int]) -> defs.OpSchema | None:
    """Return the definition of a node's operator in the imported version; None where that version has none."""
    domain = "" if node.domain in ONNX_DOMAINS else node.domain
    return schema_of(node.op_type, opsets.get(domain, 1) if domain else onnx_opset(opsets), domain)


def lacking(graph: Graph, node: NodeProto, *op_types: str, least: int = 1) -> Reason | None:
    """Return the reason to keep a layer where the model's operator set has not all of these operators.

    `least` is the first version whose operators runtimes know.
    """
    for op_type in op_types:
        versions = range(least, defs.onnx_opset_version() + 1)
        first = next((version for version in versions if schema_of(op_type, version, "") is not None), None)
        if first is None:
            return Reason(Code.KIND_NOT_SUPPORTED, label(node), f"{op_type} is no operator of its own")
        if graph.opset < first:
            return Reason(Code.OPSET_TOO_OLD, label(node), f"{op_type} needs version {first}, here it is {graph.opset}")
    return None


def _against(schema: defs.OpSchema, node: NodeProto, given: Mapping[str, AttributeProto]) -> str:
    for what, have, least, most in (
        ("operands", len(node.input), schema.min_input, schema.max_input),
        ("results", len(node.output), schema.min_output, schema.max_output),
    ):
        if not least <= have <= most:
            return f"has {have} {what}, and its operator {_between(least, most)}"
    for i, formal in enumerate(schema.inputs[: len(node.input)]):
        if formal.option == defs.OpSchema.FormalParameterOption.Single and not node.input[i]:
            return f"lacks its operand {formal.name}"
    for name, formal_attribute in schema.attributes.items():
        found = given.get(name)
        if found is None:
            if formal_attribute.required:
                return f"lacks the attribute {name}"
        elif int(found.type) != int(formal_attribute.type.value):  # type: ignore[attr-defined]  # absent in the stubs
            return f"has the attribute {name} in another type than its operator"
    return ""


def _constant(node: NodeProto) -> str:
    if op(node) != "Constant" or len(node.attribute) == 1:
        return ""
    return f"has {len(node.attribute)} values, and a constant is one"


_WORDS = frozenset(f"{ascii_letters}.,-> ")
"""What an equation may be written with; onnx's inference never returns from another one."""


def _equation(node: NodeProto, given: Mapping[str, AttributeProto]) -> str:
    if op(node) != "Einsum" or given["equation"].ref_attr_name:
        return ""
    strange = next((each for each in given["equation"].s.decode() if each not in _WORDS), "")
    return f"has an equation with {quoted(strange)}, which is no letter" if strange else ""


def _between(least: int, most: int) -> str:
    if least == most:
        return f"has {least}"
    return f"has {least} or more" if most >= 1 << 30 else f"has {least} to {most}"
