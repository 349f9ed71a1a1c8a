"""Einsum with one constant operand: a product with a matrix, whose rows and outputs may be several letters each.

    nchw,chwm->nm      sums over the product of c, h and w
    nld,dhk->nlhk      has the product of h and k as outputs, each of which is a dimension of the result
    ...k,mk->...m      any leading dimensions
    ngk,gkm->ngm       has a matrix for each index of g; it is one matrix where g has one

Source: ONNX operator specification, Einsum (12).
"""

from __future__ import annotations

from onnx import NodeProto

from fc2conv.ir.constants import Constants
from fc2conv.ir.graph import Graph, label, text_attribute
from fc2conv.ir.stored import Matrix
from fc2conv.layers.layer import FCLayer
from fc2conv.reasons import Code, Reason

ELLIPSIS = "."
"""The character for the three dots of a term, so that a term has one character for each of its parts."""


def equation(node: NodeProto) -> tuple[list[str], str]:
    """Return an Einsum's terms and its result, with one character for each dimension and one for an ellipsis."""
    text = text_attribute(node, "equation", "").replace(" ", "").replace("...", ELLIPSIS)
    terms, arrow, result = text.partition("->")
    if not arrow:
        letters = sorted(set(terms) - {","})  # an ellipsis comes before all letters, as it does in the result
        result = "".join(letter for letter in letters if terms.count(letter) == 1 or letter == ELLIPSIS)
    return terms.split(","), result


def sums(node: NodeProto) -> bool:
    """Return whether an Einsum of two terms sums over a letter of both; else it multiplies elements and is no layer."""
    terms, result = equation(node)
    return len(terms) != len(node.input) or bool(set.intersection(*map(set, terms)) - {*result})


def einsum(graph: Graph, constants: Constants, index: int, left: bool) -> FCLayer | Reason:
    """Read Y[r, g, m] = sum_k X[r, g, k] W[g, k, m]: k and g are in both operands, m in the weight alone, r in X.

    Each of them may be several letters, at any place in the terms and in the result. A weight's dimension of size 1
    does not count: it is repeated for a letter that the input has as well.
    """
    node = graph.nodes[index]
    terms, result = equation(node)
    if len(terms) != len(node.input):
        return Reason(Code.KIND_NOT_SUPPORTED, label(node), f"Einsum of {len(terms)} terms, {len(node.input)} operands")
    w, x = (0, 1) if left else (1, 0)
    shape = constants.shape(node.input[w]) or ()
    data, weight = terms[x], terms[w]
    single = [a for a, size in zip(weight, shape, strict=False) if size == 1 and (a in data) == (a in result)]
    matrices = "".join(letter for letter in weight if letter not in single)
    obstacle = _obstacle(data, matrices, result)
    if obstacle:
        written = f"{','.join(terms)}->{result}".replace(ELLIPSIS, "...")
        return Reason(Code.KIND_NOT_SUPPORTED, label(node), f"Einsum {written}: {obstacle}")
    if len(weight) != len(shape):
        return Reason(Code.WEIGHT_SHAPE, label(node), f"weight of shape {list(shape)} as {weight}")
    rows = [letter for letter in data if letter in matrices and letter not in result]
    outputs = [letter for letter in result if letter in weight and letter not in data]
    groups = [letter for letter in data if letter in matrices and letter in result]
    stay = [letter for letter in result if letter in data and letter != ELLIPSIS]
    in_order = stay == [letter for letter in data if letter in stay]
    return FCLayer(
        node=node,
        x=node.input[x],
        weight=node.input[w],
        shape=shape,
        matrix=Matrix(_places(rows, weight), _places(outputs, weight), _places([*single, *groups], weight)),
        k=_places(rows, data),
        m=_places(outputs, result),
        output=node.output[0],
        groups=_places(groups, data),
        kept=() if in_order else _places(stay, data),
    )


def fits(layer: FCLayer, rank: int) -> bool:
    """Return whether an input of this rank has a dimension for each letter of its term."""
    terms, _ = equation(layer.node)
    data = terms[list(layer.node.input).index(layer.x)]
    return rank >= len(data) - 1 if ELLIPSIS in data else rank == len(data)


def of_other_operands(constants: Constants, node: NodeProto) -> Reason | None:
    """Refuse an Einsum of three or more operands, no product of two; return None where no operand is a weight."""
    if len(node.input) < 2 or not 0 < sum(constants.is_constant(name) for name in node.input) < len(node.input):
        return None
    return Reason(Code.KIND_NOT_SUPPORTED, label(node), f"Einsum of {len(node.input)} operands")


def _places(letters: list[str], term: str) -> tuple[int, ...]:
    """Return the places of letters in a term, counted from its end."""
    return tuple(term.index(letter) - len(term) for letter in letters)


def _obstacle(data: str, weight: str, result: str) -> str:
    """Return which part of the equation is no product with a matrix; an empty string if all of it is."""
    for term in (data, weight, result):
        twice = [letter for letter in term if term.count(letter) > 1]
        if twice:
            return f"{twice[0]} occurs twice in one operand or in the result"
    if ELLIPSIS in weight:
        return "the constant has an ellipsis"
    if any(ELLIPSIS in term[1:] for term in (data, result)) or (ELLIPSIS in data) != (ELLIPSIS in result):
        return "the ellipsis does not come first in the input and in the result"
    alone = sorted((set(data) ^ set(weight)) - set(result))
    verb = "is" if len(alone) == 1 else "are"
    return f"{', '.join(alone)} {verb} summed over in one operand alone" if alone else ""
