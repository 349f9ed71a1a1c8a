"""What a model must be before anything relies on it: bounded checks of a skeleton, each with a message of its own.

onnx.checker is no gate: it passes models that crash the runtime, and does not say what to do. These checks are linear
in the size of the skeleton. They read names and references, and no values; what a tensor holds is checked by the
reader, and what an operator's definition requires of a node by schema.py. What they do not know (types
that are no tensors, domains of others, unknown fields) they leave alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import onnx
from onnx import AttributeProto, FunctionProto, GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto, defs

from fc2conv.dataclass import dataclass
from fc2conv.errors import InputError
from fc2conv.io.custom_ops import ONNX_DOMAINS
from fc2conv.io.escape import shown
from fc2conv.io.tensors import quoted
from fc2conv.ir.graph import label, subgraphs

MAX_DEPTH = 64
"""How many functions may call one another in a row."""

MAX_EXPANDED, MAX_EXPANSION = 10_000, 100
"""How many nodes a model may have once its functions are inlined: a number, and a multiple of those of the file."""

_EXPORT = "export the model again"
_MAX_VERSION = (1 << 31) - 1

_FIELDS = {
    AttributeProto.FLOAT: "f", AttributeProto.INT: "i", AttributeProto.STRING: "s", AttributeProto.TENSOR: "t",
    AttributeProto.GRAPH: "g", AttributeProto.SPARSE_TENSOR: "sparse_tensor", AttributeProto.TYPE_PROTO: "tp",
    AttributeProto.FLOATS: "floats", AttributeProto.INTS: "ints", AttributeProto.STRINGS: "strings",
    AttributeProto.TENSORS: "tensors", AttributeProto.GRAPHS: "graphs",
    AttributeProto.SPARSE_TENSORS: "sparse_tensors", AttributeProto.TYPE_PROTOS: "type_protos",
}  # fmt: skip
"""The field that holds the value of an attribute, by its type."""

_VALUES = frozenset(_FIELDS.values())


@dataclass
class _Scope:
    """Where a check is: the operator sets that hold, the values that can be seen, and how to say the place."""

    opsets: dict[str, int]
    visible: set[str]
    where: str = ""
    function: bool = False


_Functions = dict[tuple[str, str, str], FunctionProto]


def check_model(model: ModelProto) -> None:
    """Raise InputError for a model that is newer than the installed onnx, or that breaks the specification.

    Check versions and imports, names, references, attributes, and calls of functions; the error names the node.
    """
    _check_versions(model)
    opsets = _imports(model.opset_import, "the model")
    functions = _by_id(model.functions)
    _check_graph(model.graph, _Scope(opsets, set()))
    for function in model.functions:
        _check_function(function)
    _check_expansion(model, functions)


def _check_versions(model: ModelProto) -> None:
    version = model.ir_version
    if not 0 < version <= onnx.IR_VERSION:
        what = f"the model has {f'the IR version {version}' if model.HasField('ir_version') else 'no IR version'}"
        remedy = "install a newer onnx" if version > onnx.IR_VERSION else _EXPORT
        raise InputError(f"{what}, and onnx {onnx.__version__} knows 1 to {onnx.IR_VERSION}", remedy)


def _imports(entries: Iterable[onnx.OperatorSetIdProto], what: str) -> dict[str, int]:
    """Return the versions of the imported operator sets by domain."""
    opsets: dict[str, int] = {}
    newest = defs.onnx_opset_version()
    for entry in entries:
        domain = _name(entry.domain, f"a domain that {what} imports")
        domain = "" if domain in ONNX_DOMAINS else domain
        if not 0 < entry.version <= (_MAX_VERSION if domain else newest):
            imports = f"{what} imports opset {entry.version}" + (f" of the domain {quoted(domain)}" if domain else "")
            remedy = "install a newer onnx" if entry.version > 0 else _EXPORT
            known = f"onnx {onnx.__version__} knows 1 to {newest if not domain else 'any'}"
            raise InputError(f"{imports}, and {known}", remedy)
        if opsets.setdefault(domain, entry.version) != entry.version:
            raise InputError(f"{what} imports the domain {quoted(domain)} in two versions", _EXPORT)
    return opsets


# ------------------------------------------------------------------ graphs


def _check_graph(graph: GraphProto, scope: _Scope) -> None:
    own: dict[str, str] = {}
    for what, names in (
        ("inputs", [value.name for value in graph.input]),
        ("initializers", [t.name for t in graph.initializer] + [s.values.name for s in graph.sparse_initializer]),
    ):
        seen: set[str] = set()
        for name in names:
            _name(name, f"one of the {what}{scope.where}", empty=False)
            if name in seen:
                raise InputError(f"two {what} are called {quoted(name)}{scope.where}", _EXPORT)
            seen.add(name)
        own.update(dict.fromkeys(seen, f"one of the {what}"))
    for value in (*graph.input, *graph.output):
        _check_type(value, scope)
    _check_nodes(graph.node, own, scope)
    visible = scope.visible | own.keys()
    for value in graph.output:
        if _name(value.name, f"an output{scope.where}", empty=False) not in visible:
            raise InputError(f"no node makes the output {quoted(value.name)}{scope.where}", _EXPORT)


def _check_type(value: ValueInfoProto, scope: _Scope) -> None:
    kind = value.type.tensor_type.elem_type
    if kind not in TensorProto.DataType.values():
        what = f"{quoted(value.name)}{scope.where} has the element type {kind}"
        raise InputError(f"{what}, which onnx {onnx.__version__} does not know", "install a newer onnx")
    for dim in value.type.tensor_type.shape.dim:
        _name(dim.dim_param, f"a size of {quoted(value.name)}{scope.where}")


def _check_nodes(nodes: Sequence[NodeProto], own: dict[str, str], scope: _Scope) -> None:
    """Check the nodes of one scope, and add the values that they make to `own`, the values so far."""
    for node in nodes:
        where = f"node {quoted(label(node))}{scope.where}"
        for name in [node.name, node.domain, *node.input]:
            _name(name, where)
        if not _name(node.op_type, where):
            raise InputError(f"{where} has no operator", _EXPORT)
        domain = "" if node.domain in ONNX_DOMAINS else node.domain
        if domain not in scope.opsets:
            owner = f"the domain {quoted(domain)}" if domain else "ONNX itself"
            what = f"{where} is a {shown(node.op_type)}, and the model imports no operator set of {owner}"
            raise InputError(what, _EXPORT)
        for name in node.output:
            if _name(name, where) and name in own:
                raise InputError(f"{where} makes {quoted(name)}, which is made twice: it is {own[name]} too", _EXPORT)
            own[name] = f"a result of {quoted(label(node))}"
    own.pop("", None)
    visible = scope.visible | own.keys()
    for node in nodes:
        missing = next((name for name in node.input if name and name not in visible), None)
        if missing is not None:
            what = f"node {quoted(label(node))}{scope.where} reads {quoted(missing)}"
            raise InputError(f"{what}, which nothing makes", _EXPORT)
        _check_attributes(node, scope)
        for name, inner in subgraphs(node):
            where = f" in {name} of {quoted(label(node))}{scope.where}"
            _check_graph(inner, _Scope(scope.opsets, visible, where, scope.function))


def _check_attributes(node: NodeProto, scope: _Scope) -> None:
    seen: set[str] = set()
    for attribute in node.attribute:
        where = f"node {quoted(label(node))}{scope.where}"
        name = _name(attribute.name, f"an attribute of {where}")
        if name in seen:
            raise InputError(f"{where} has the attribute {quoted(name)} twice", _EXPORT)
        seen.add(name)
        value_fields = {each.name for each, _ in attribute.ListFields()} & _VALUES
        kind = _FIELDS.get(attribute.type)
        if attribute.ref_attr_name:
            if not scope.function or value_fields:
                raise InputError(f"{where} takes the attribute {quoted(name)} of a function, and is in none", _EXPORT)
        elif (kind is None and attribute.type) or (value_fields - {kind} and (attribute.type or len(value_fields) > 1)):
            problem = f"is of type {attribute.type} and holds {', '.join(sorted(value_fields)) or 'nothing'}"
            raise InputError(f"{where} has the attribute {quoted(name)}, which {problem}", _EXPORT)


# ------------------------------------------------------------------ functions


def _by_id(functions: Iterable[FunctionProto]) -> _Functions:
    found: _Functions = {}
    for function in functions:
        name = _name(function.name, "a function", empty=False)
        key = _name(function.domain, "a function"), name, function.overload
        if key in found:
            raise InputError(f"two functions are called {quoted(name)}", _EXPORT)
        found[key] = function
    return found


def _check_function(function: FunctionProto) -> None:
    where = f" in function {quoted(function.name)}"
    opsets = _imports(function.opset_import, f"function {quoted(function.name)}")
    own = dict.fromkeys(function.input, "an input")
    _check_nodes(function.node, own, _Scope(opsets, set(), where, function=True))
    missing = next((name for name in function.output if name not in own), None)
    if missing is not None:
        raise InputError(f"no node makes the output {quoted(missing)}{where}", _EXPORT)


def _check_expansion(model: ModelProto, functions: _Functions) -> None:
    """Refuse functions that call themselves, or become too many nodes when they are inlined, as runtimes do."""
    known: dict[tuple[str, str, str], int] = {}

    def expanded(nodes: Iterable[NodeProto], path: tuple[tuple[str, str, str], ...]) -> int:
        count = 0
        for node in nodes:
            key = (node.domain, node.op_type, node.overload)
            count += called(key, path) if key in functions else 1
            count += sum(expanded(inner.node, path) for _, inner in subgraphs(node))
        return count

    def called(key: tuple[str, str, str], path: tuple[tuple[str, str, str], ...]) -> int:
        if key in path:
            raise InputError(f"function {quoted(key[1])} calls itself", _EXPORT)
        if key not in known:
            if len(path) >= MAX_DEPTH:
                raise InputError(f"function {quoted(key[1])} is called {len(path)} functions deep", _EXPORT)
            known[key] = expanded(functions[key].node, (*path, key))
        return known[key]

    nodes = sum(len(function.node) for function in model.functions) + len(model.graph.node)
    most = MAX_EXPANDED + MAX_EXPANSION * nodes
    if functions and expanded(model.graph.node, ()) > most:
        what = f"the model has {nodes} nodes, and more than {most} nodes once its functions are inlined"
        raise InputError(what, "it is broken or hostile: inline its functions by another tool")
    for key in functions:
        called(key, ())


def _name(text: object, what: str, *, empty: bool = True) -> str:
    """Return a name that is text; raise InputError for bytes, which protobuf gives where a name is no UTF-8."""
    if not isinstance(text, str):
        raise InputError(f"{what} has a name that is not UTF-8: {quoted(text)}", _EXPORT)
    if not text and not empty:
        raise InputError(f"{what} is without a name", _EXPORT)
    return text
