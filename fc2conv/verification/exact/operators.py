"""The operators of terms, and what is known of their results' elements without computing them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from math import inf, isnan, prod

import numpy as np
import onnx
from onnx import AttributeProto, FunctionProto, ModelProto, NodeProto, TensorProto, helper

from fc2conv.io.custom_ops import ONNX_DOMAINS
from fc2conv.io.reader import ModelFile
from fc2conv.verification.exact.terms import ABSENT, SMALL, Array, Op, Term, digest, limits
from fc2conv.verification.nodes import attribute_bytes, canonical, label
from fc2conv.verification.reference import UnmodelledError, evaluate

Bounds = tuple[float, float] | None
"""The least and the largest number: integers, as floats round large ones, or infinities."""

MOVES = frozenset(
    """Reshape Transpose Slice Split Gather GatherElements GatherND Expand Tile Concat Pad DepthToSpace SpaceToDepth
Where If ScatterND ScatterElements Trilu Compress ReverseSequence Dropout""".split()
)
"""Operators that move elements."""
_CHOOSE = frozenset("Max Min MaxPool ReduceMax ReduceMin Relu Clip".split())
_OF_NOTHING = frozenset({"ReduceMax", "ReduceMin"})
"""Those that choose the least or the largest number of the type where there are no elements, as on an empty axis."""
_ZEROS = frozenset({"Pad", "Trilu", "Relu"})
"""Those of both that write zeros beside the elements of their operand."""
_GRAPHS = (AttributeProto.GRAPH, AttributeProto.GRAPHS)
_TENSORS = (AttributeProto.TENSOR, AttributeProto.TENSORS)
_READ = 1 << 18
"""Elements of a stored operand that are read for their bounds."""
_BROADCASTING = 7
"""The opset from which operands are broadcast as they are today."""

_SAYS_SO = 14
"""The opset from which a BatchNormalization says that it trains; before, one with more results than one does."""

_EXTENDED = frozenset(
    {("Reshape", 14), ("Split", 18), ("Resize", 18), ("Pad", 18), ("LSTM", 14), ("GRU", 14), ("RNN", 14)}
)
"""Opsets in which an operator got attributes or operands that change nothing when they are left out."""

RESHAPE = Op("Reshape", 1, {}, NodeProto(op_type="Reshape"), "", b"reshape")
"""The operator of every node that only gives its operand another shape."""


def opsets(imports: Iterable[onnx.OperatorSetIdProto]) -> dict[str, int]:
    """Return the versions by domain; "ai.onnx" is another way to write ""."""
    return {("" if o.domain == "ai.onnx" else o.domain): o.version for o in imports}


def operator(node: NodeProto, domain: str, opset: int, file: ModelFile, part_of: str = "") -> Op:
    """Return the operator of a node, or of a part of a fused one; its digest leaves out attributes of default value."""
    defaults, version = _schema(node.op_type, domain, opset)
    attributes = [a for a in node.attribute if a.type not in _GRAPHS]
    found = []
    for attribute in attributes:
        data = attribute_bytes(attribute, file)
        if defaults.get(attribute.name) != data:
            found.append((attribute.name, data))
    plain = {a.name: helper.get_attribute_value(a) for a in attributes if a.type not in _TENSORS}
    name = node.op_type if domain == "" else f"{domain}::{node.op_type}"
    if name == "BatchNormalization" and 7 <= version < _SAYS_SO and any(node.output[1:]):
        plain["training_mode"] = 1
        found.append(("training_mode", b""))
    key = digest(
        name,
        _meaning(node.op_type, domain, opset),
        sorted(found),
        [bool(n) for n in node.input],
        len(node.output),
        node.overload,
    )
    return Op(name, version, plain, node, part_of or label(node), key)


def call(op: Op, functions: Sequence[FunctionProto], file: ModelFile) -> Op:
    """Return the operator of a call that may be one of functions: each other body makes another operator, in any rule.

    All attributes count, as the functions may have other defaults.
    """
    given = sorted((a.name, attribute_bytes(a, file)) for a in op.node.attribute)
    bodies = canonical(ModelProto(functions=functions), file)
    return replace(op, name=f"function {op.name}", digest=digest(op.digest, given, bodies))


@lru_cache(maxsize=1024)
def _schema(name: str, domain: str, opset: int) -> tuple[dict[str, bytes], int]:
    """Return the defaults of an operator's attributes, and the version of its definition."""
    try:
        schema = onnx.defs.get_schema(name, opset, domain)
    except onnx.defs.SchemaError:
        return {}, opset
    given = {}
    for each in schema.attributes.values():
        if each.default_value.name:
            copy = AttributeProto()
            copy.CopyFrom(each.default_value)
            given[each.name] = copy.SerializeToString(deterministic=True)
    return given, int(schema.since_version)


@lru_cache(maxsize=1024)
def _meaning(name: str, domain: str, version: int) -> int:
    """Return the first opset with the parameters and defaults of this one: later ones only take more types."""
    while version > _BROADCASTING and (
        (name, version) in _EXTENDED or _parameters(name, domain, version - 1) == _parameters(name, domain, version)
    ):
        version -= 1
    return version


def _parameters(name: str, domain: str, version: int) -> object:
    """Return the attributes, inputs and outputs of an operator; where there is no definition, the version alone."""
    try:
        schema = onnx.defs.get_schema(name, version, domain)
    except onnx.defs.SchemaError:
        return version
    given = {key: (each.required, each.default_value.SerializeToString()) for key, each in schema.attributes.items()}
    return given, [each.name for each in schema.inputs], [each.name for each in schema.outputs]


def as_cast(node: NodeProto, known: Mapping[str, Term]) -> NodeProto:
    """Return a CastLike to a known type as a Cast, and any other node as it is."""
    like = node.op_type == "CastLike" and node.domain in ONNX_DOMAINS and len(node.input) > 1
    if not like or node.input[1] not in known or known[node.input[1]].kind <= 0:
        return node
    cast = helper.make_node("Cast", node.input[:1], node.output, node.name, to=known[node.input[1]].kind)
    cast.attribute.extend(node.attribute)
    return cast


def described(term: Term) -> Term:
    """Note what is known of a new term's elements: whether some are not finite, and bounds of integers."""
    there = term.there
    term.computed = bool(there) and all(each.foldable for each in there)
    if term.op.name in MOVES:
        term.atoms = any(each.atoms for each in there)
    if term.value is not None and term.value.dtype.kind == "f":
        term.atoms = not bool(np.isfinite(term.value).all())
    if term.integer:
        term.bounds = _bounds(term, there)
    return term


def evaluated(node: NodeProto, versions: Mapping[str, int], operands: Sequence[Term]) -> list[Array] | None:
    """Compute the results of a node whose operands are small known numbers; return None for any other node."""
    there = [each for each in operands if each is not ABSENT]
    known = there and all(each.value is not None and each.size <= SMALL for each in there)
    if not known or node.domain not in ONNX_DOMAINS:
        return None
    try:
        found = evaluate(node, versions[""], [each.value for each in operands])
    except UnmodelledError:
        return None
    return found if all(isinstance(each, np.ndarray) and each.size <= SMALL for each in found) else None


def folded(term: Term, operands: Sequence[Array | None]) -> Array | None:
    """Compute a node's result on these numbers, as runtimes fold constants; return None where no evaluator can."""
    if term.op.digest == RESHAPE.digest:
        return None if operands[0] is None or term.shape is None else operands[0].reshape(term.shape)
    if len(term.op.node.input) != len(operands):
        return None  # it has subgraphs
    try:
        return evaluate(term.op.node, term.op.version, operands)[term.index]
    except UnmodelledError:
        return None


def _bounds(term: Term, there: Sequence[Term]) -> Bounds:
    """Return bounds of integers that are known not to have wrapped around; None where that is not known."""
    own, name = limits(term.kind), term.op.name
    if (name in MOVES and "reduction" not in term.op.attributes) or name in _CHOOSE:
        zeros: list[Bounds] = [(0, 0)] if name in _ZEROS else []
        same = [each.bounds for each in there if each.kind in (0, term.kind)]
        found = _hull(zeros + same) if same else own  # a mask
        return own if found and name in _OF_NOTHING else found
    if name in ("Add", "Sub", "Mul") and len(there) == 2:
        return _within(own, _interval(name, *(each.bounds or (-inf, inf) for each in there)))
    if name in ("ConvInteger", "MatMulInteger"):
        shape = there[1].shape or (inf,)
        width = prod(shape[1:]) if name == "ConvInteger" else shape[-2] if len(shape) > 1 else shape[0]
        x, w, x_zero, w_zero = map(term.operand, range(4))
        largest = width * _farthest(x, x_zero) * _farthest(w, w_zero)
        return _within(own, (-largest, largest))
    if name == "Cast" and there[0].integer:
        return _within(own, there[0].bounds)
    computes = any(each.kind == term.kind for each in there) and name != "QuantizeLinear"
    return None if computes and term.kind != TensorProto.BOOL else own


def _farthest(term: Term, zero: Term) -> float:
    """Return the largest possible distance of an operand's elements from its zero point."""
    (low, high), (least, most) = _range(term), _range(zero)
    return max(high - least, most - low)


def _range(term: Term) -> tuple[float, float]:
    """Return bounds of an operand of bytes; an absent zero point is 0."""
    if term is ABSENT:
        return 0, 0
    if term.constant and term.load is not None and 0 < term.size <= _READ:
        numbers = term.numbers()
        return int(numbers.min()), int(numbers.max())
    return term.bounds or limits(term.kind) or (-inf, inf)


def _hull(every: Sequence[Bounds]) -> Bounds:
    known = [each for each in every if each is not None]
    if not known or len(known) < len(every):
        return None
    return min(low for low, _ in known), max(high for _, high in known)


def _within(own: Bounds, found: Bounds) -> Bounds:
    return found if own and found and own[0] <= found[0] and found[1] <= own[1] else None


def _interval(name: str, one: tuple[float, float], other: tuple[float, float]) -> Bounds:
    (a, b), (c, d) = one, other
    ends = {"Add": [a + c, b + d], "Sub": [a - d, b - c], "Mul": [a * c, a * d, b * c, b * d]}[name]
    return None if any(map(isnan, ends)) else (min(ends), max(ends))


def trains(op: Op, operands: Sequence[Term]) -> bool:
    """Decide whether a node is random because it is in training mode, and drops elements."""
    _, ratio, mode = operands[:3] if op.name == "Dropout" and len(operands) > 2 else [ABSENT] * 3
    drops = ratio.value is None or bool(ratio.value.reshape(-1)[0])
    return drops and mode is not ABSENT and (mode.value is None or bool(mode.value.reshape(-1)[0]))
