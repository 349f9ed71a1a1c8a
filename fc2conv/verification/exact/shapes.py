"""Types and concrete shapes of a node's results, from those of its operands."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress

import numpy as np
import onnx
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, TypeProto, helper, numpy_helper
from onnx.shape_inference import InferenceError, infer_node_outputs

from fc2conv.io.custom_ops import stated_shapes
from fc2conv.io.sizes import declared_size, explicit, rounded_down
from fc2conv.verification.exact import sequences
from fc2conv.verification.exact.terms import ABSENT, RESHAPES, SMALL, Shape, Term
from fc2conv.verification.nodes import BLOCKED, FAKE_QUANTIZERS, SCALED, integer
from fc2conv.verification.runtime import node_kinds

Kind = tuple[int, Shape | None]
"""An element type (0: not known) and a shape (None: not known)."""

Operands = Sequence[Term]
UNKNOWN = -1
"""A size that values decide."""

_UNARY = frozenset("Relu Sigmoid Tanh Erf Exp Log Sqrt Neg Abs Softmax LogSoftmax LeakyRelu Clip".split())
_BINARY = frozenset("Add Sub Mul Div".split())
"""Operators whose results are known without asking onnx, as are those of DequantizeLinear and QuantizeLinear."""
_ALPHABET = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
_ROUNDS = frozenset((*FAKE_QUANTIZERS, *SCALED, *BLOCKED))
_AS_ONNX = _ROUNDS | {"com.microsoft::QuantizeLinear", "com.microsoft::DequantizeLinear"}
"""Operators whose results have type and shape as ONNX's have; onnxruntime runs no node of 4 bits alone."""


def infer(
    node: NodeProto,
    domain: str,
    opsets: Mapping[str, int],
    ir_version: int,
    operands: Operands,
    bodies: Sequence[Term],
    known: dict[tuple[object, ...], list[Kind]],
    key: bytes,
) -> list[Kind]:
    """Return type and shape of each result of a node; `bodies` are the results of its subgraphs.

    `known` are earlier answers, by the `key` of the operator and the operands.
    """
    if domain == "" and node.op_type == "If":
        pairs = zip(bodies[: len(node.output)], bodies[len(node.output) :], strict=True)
        return [(one.kind, one.shape if one.shape == other.shape else None) for one, other in pairs]
    newer = domain == "" and opsets.get("", 0) >= SCANS_ONE
    if newer and node.op_type == "Scan" and (made := _scanned(node, operands, bodies)) is not None:
        return made
    said = [v.value is not None and (v.integer or v.size <= _SIZES) for v in operands]  # what may say a shape
    named = (key, *((v.kind, v.shape, v.key if tells else b"") for v, tells in zip(operands, said, strict=True)))
    if named not in known or bodies:
        known[named] = _found(node, domain, opsets, ir_version, operands)
    found = list(known[named])
    if domain == "" and node.op_type == "Loop":
        for i, (before, after) in enumerate(zip(operands[2:], bodies[1:], strict=False)):
            if i < len(found) and before.shape is not None and before.shape == after.shape:
                found[i] = (after.kind, before.shape)  # what goes into the body and comes out of it the same
    return found


_SIZES = 8
"""The most elements of a float operand that sizes may be multiplied by."""


def stated(models: Iterable[ModelProto], inputs: Mapping[str, Shape]) -> dict[str, Kind]:
    """Return type and shape of the results of custom operators, as the first model that has them states them.

    A size with a name is the size that the inputs have for it; a first one without a name is that of the first input.
    """
    found: dict[str, Kind] = {}
    for model in models:
        given = [(value.type.tensor_type.shape.dim, inputs.get(value.name, ())) for value in model.graph.input]
        sizes = {dim.dim_param: size for dims, shape in given for dim, size in zip(dims, shape, strict=False)}
        first = next((shape[0] for _, shape in given if shape), None)
        for name, value in stated_shapes(model).items():
            kind = value.type.tensor_type
            known = [
                declared_size(dim) or (sizes.get(dim.dim_param) if dim.dim_param else None if i else first)
                for i, dim in enumerate(kind.shape.dim)
            ]
            shape = tuple(size for size in known if size is not None)
            if len(shape) == len(known):
                found.setdefault(name, (kind.elem_type, shape))
    return found


_CARRYING = {"Loop": 2, "Scan": 0}
"""Operators that carry values: the place of the first among inputs of the body; half of it is that among results."""
SCANS_ONE = 9
"""From this opset a Scan has no batch."""


def carried(node: NodeProto) -> range:
    """Return the places of what a Loop or a Scan carries among the inputs of its body; no places for other nodes.

    The places among its operands are the same, except for a Scan that has a batch.
    """
    if node.op_type not in _CARRYING:
        return range(0)
    inputs = next(len(a.g.input) for a in node.attribute if a.name == "body")
    return range(_CARRYING[node.op_type], inputs - integer(node, "num_scan_inputs", 0))


def of_body(node: NodeProto, body: GraphProto, operands: Operands) -> list[Kind]:
    """Return what is known of a body's inputs: states are like the operands, others are items of operands."""
    axes = next((list(a.ints) for a in node.attribute if a.name == "scan_input_axes"), [0] * len(operands))
    states, found = len(carried(node)), []
    for i, info in enumerate(body.input):
        declared = info.type.tensor_type
        there = node.op_type in _CARRYING and len(operands) == len(body.input) and operands[i] is not ABSENT
        kind, shape = (operands[i].kind, operands[i].shape) if there else (0, None)
        if node.op_type == "SequenceMap" and i < len(operands):
            item = operands[i]
            kind, shape = (item.kind, item.shape) if item.shape is not None else sequences.kind_of_items(item)
        if declared.HasField("shape") and all(d.HasField("dim_value") and d.dim_value > 0 for d in declared.shape.dim):
            shape = tuple(d.dim_value for d in declared.shape.dim)
        elif shape and node.op_type == "Scan" and i >= states:
            axis = axes[i - states] % len(shape)
            shape = (*shape[:axis], *shape[axis + 1 :])
        found.append((declared.elem_type or kind, shape))
    return found


def _scanned(node: NodeProto, operands: Operands, bodies: Sequence[Term]) -> list[Kind] | None:
    """Return a Scan's results: its states, and those of all steps along a new axis; None if it contradicts itself."""
    states, given = len(carried(node)), {a.name: list(a.ints) for a in node.attribute}
    axes = given.get("scan_output_axes") or [0] * len(bodies[states:])
    if not len(node.output) == len(bodies) == states + len(axes) or len(operands) <= states:
        return None
    pairs = zip(operands[:states], bodies, strict=False)
    found = [(after.kind, after.shape if after.shape == before.shape else None) for before, after in pairs]
    rows, axis = operands[states].shape, next(iter(given.get("scan_input_axes", [])), 0)
    for term, at in zip(bodies[states:], axes, strict=True):
        shape = term.shape if rows else None
        if rows and shape is not None:
            at %= len(shape) + 1
            shape = (*shape[:at], rows[axis % len(rows)], *shape[at:])
        found.append((term.kind, shape))
    return found


def stay(node: NodeProto, kinds: Sequence[Kind], results: Sequence[Term]) -> list[Kind]:
    """Return the kinds of a body's inputs, without the shapes of states that it changes."""
    places, kept = carried(node), list(kinds)
    for i, term in zip(places, results[places.start // 2 :], strict=False):
        kind, shape = kept[i]
        kept[i] = kind, shape if shape == term.shape else None
    return kept


def _found(node: NodeProto, domain: str, opsets: Mapping[str, int], ir_version: int, operands: Operands) -> list[Kind]:
    if any(v.kind == 0 for v in operands):
        return [(0, None)] * len(node.output)
    if (domain == "" or f"{domain}::{node.op_type}" in _AS_ONNX) and (plain := _plain(node, operands)) is not None:
        return [plain]
    partly = _inferred(node, domain, opsets, ir_version, operands)
    found = [(kind, None if shape is None or UNKNOWN in shape else shape) for kind, shape in partly]
    if all(shape is not None for _, shape in found) or any(v.shape is None for v in operands):
        return found
    kinds = [None if v is ABSENT else (v.kind, v.shape or (), v.value) for v in operands]
    asked = node_kinds(node, opsets, kinds)
    return [one if one[1] is not None else other for one, other in zip(found, asked, strict=True)]


def _plain(node: NodeProto, operands: Operands) -> Kind | None:
    there = [(v.kind, v.shape) for v in operands if v is not ABSENT and v.shape is not None]
    if not there or any(v.shape is None for v in operands) or len(node.output) > 1:
        return None
    (kind, shape), *others = there
    if node.op_type in _UNARY or f"{node.domain}::{node.op_type}" in _ROUNDS:
        return kind, shape
    if node.op_type == "DequantizeLinear" and not any(a.name == "output_dtype" for a in node.attribute):
        return others[0][0], shape
    if node.op_type == "QuantizeLinear" and len(others) == 2:
        return others[1][0], shape
    if node.op_type in _BINARY and len(others) == 1:
        with suppress(ValueError):
            return kind, np.broadcast_shapes(shape, others[0][1])
    if node.op_type == "Einsum":
        made = _named(node, [each for _, each in there])
        return None if made is None else (kind, made)
    return None


def _named(node: NodeProto, shapes: Sequence[Shape]) -> Shape | None:
    """Return the shape of an Einsum. Runtimes repeat a dimension of size 1; ONNX takes the first size of a letter."""
    equation = next((a.s.decode() for a in node.attribute if a.name == "equation"), "")
    named, sizes = letters_of(equation, [len(shape) for shape in shapes]), dict[str, int]()
    if named is None:
        return None
    for term, shape in zip(named[0], shapes, strict=True):
        for letter, size in zip(term, shape, strict=False):
            if len(term) != len(shape) or (size != 1 and sizes.get(letter, 1) not in (1, size)):
                return None
            sizes[letter] = max(sizes.get(letter, 1), size) if size else 0
    return tuple(sizes[letter] for letter in named[1]) if sizes.keys() >= {*named[1]} else None


def letters_of(equation: str, ranks: Sequence[int]) -> tuple[list[str], str] | None:
    """Return the terms and the result of an equation without an ellipsis; None where it contradicts the ranks."""
    operands, arrow, result = equation.replace(" ", "").partition("->")
    terms = operands.split(",")
    spare = [letter for letter in _ALPHABET if letter not in equation]
    over = [n - len(each.replace("...", "")) if "..." in each else 0 for n, each in zip(ranks, terms, strict=False)]
    with_dots = {n for n, each in zip(over, terms, strict=False) if "..." in each}
    if len(terms) != len(ranks) or len(with_dots) > 1 or not 0 <= max(over) <= len(spare):
        return None
    dots = "".join(spare[: max(over)])
    terms = [each.replace("...", dots) for each in terms]
    if not arrow:
        every = "".join(terms)
        result = dots + "".join(sorted(c for c in set(every) if every.count(c) == 1 and c not in dots))
    return terms, result.replace("...", dots)


def counted(
    node: NodeProto, domain: str, opsets: Mapping[str, int], ir_version: int, operands: Operands, bodies: Sequence[Term]
) -> list[Kind]:
    """Return type and shape of a node's results, where a size that values decide is `UNKNOWN`."""
    count = len(node.output)
    if node.op_type in RESHAPES or any(each.shape is None for each in operands):
        return [(0, None)] * count
    if domain == "" and node.op_type == "If":
        return [_common(*pair) for pair in zip(bodies[:count], bodies[count:], strict=True)]
    found = _inferred(node, domain, opsets, ir_version, operands)
    first = list(operands[0].shape or ())
    if node.op_type == "TopK" and first:
        first[integer(node, "axis", -1)] = UNKNOWN
        return [(kind, tuple(first)) for kind, _ in found]
    return found


def sized(kinds: Sequence[Kind], partly: Sequence[Kind], left: list[int], one_shape: bool) -> list[Kind]:
    """Return type and shape of each result, with the next of the sizes that are `left` wherever values decide one.

    With `one_shape` all results have the shape of the first.
    """
    found: list[Kind] = []
    for (kind, known), (inferred, shape) in zip(kinds, partly, strict=True):
        if found and one_shape:
            known = found[0][1]
        elif known is None and shape is not None and shape.count(UNKNOWN) <= len(left):
            known = tuple(left.pop(0) if n == UNKNOWN else n for n in shape)
        found.append((kind or inferred, known))
    return found


def common(kinds: Sequence[Kind], results: Sequence[Term]) -> list[Kind]:
    """Return the types and shapes of a call that is an operator or a function; unknown ones where these differ."""
    made: list[Kind] = []
    for (kind, shape), term in zip(kinds, results, strict=False):
        same = kind in (0, term.kind) and shape in (None, term.shape)
        made.append((term.kind, term.shape) if same else (0, None))
    return made + [(0, None)] * (len(kinds) - len(made))


def _common(one: Term, other: Term) -> Kind:
    """Return type and shape of one of two values, with sizes in which they differ as `UNKNOWN`."""
    if one.shape is None or other.shape is None or len(one.shape) != len(other.shape):
        return one.kind, None
    return one.kind, tuple(a if a == b else UNKNOWN for a, b in zip(one.shape, other.shape, strict=True))


def _inferred(
    node: NodeProto, domain: str, opsets: Mapping[str, int], ir_version: int, operands: Operands
) -> list[Kind]:
    """Return what onnx infers of a node's results, where a size that it does not know is `UNKNOWN`."""
    unknown: list[Kind] = [(0, None)] * len(node.output)
    of_scalar = node.op_type == "NonZero" and operands[0].shape == ()  # runtimes take it as one of one dimension
    if domain not in opsets or not onnx.defs.has(node.op_type, domain) or of_scalar:
        return unknown
    try:
        schema = onnx.defs.get_schema(node.op_type, opsets[domain], domain)
        types, data = _given(node, operands)
        imports = [helper.make_opsetid(d, v) for d, v in opsets.items()]
        there = rounded_down(explicit(node), operands[0].shape or () if operands else ())
        found = infer_node_outputs(schema, there, types, data, opset_imports=imports, ir_version=ir_version)
    except (InferenceError, onnx.defs.SchemaError, onnx.checker.ValidationError, ValueError):
        return unknown
    kinds = (found.get(name) for name in node.output)
    return [(0, None) if kind is None else (kind.tensor_type.elem_type, _sizes_of(kind)) for kind in kinds]


def _given(node: NodeProto, operands: Operands) -> tuple[dict[str, TypeProto], dict[str, TensorProto]]:
    there = [(name, term) for name, term in zip(node.input, operands, strict=True) if term is not ABSENT]
    known = [(name, v.value) for name, v in there if v.value is not None and v.kind == TensorProto.INT64]
    data = {
        name: numpy_helper.from_array(np.array(value, order="C"), name) for name, value in known if value.size <= SMALL
    }
    return {name: helper.make_tensor_type_proto(v.kind, v.shape) for name, v in there}, data


def _sizes_of(kind: TypeProto) -> Shape | None:
    tensor = kind.tensor_type
    if not kind.HasField("tensor_type") or not tensor.HasField("shape"):
        return None
    dims = tensor.shape.dim
    return tuple(d.dim_value if d.HasField("dim_value") and d.dim_value >= 0 else UNKNOWN for d in dims)
