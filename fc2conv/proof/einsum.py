"""The original's side of an Einsum with one constant operand, by its equation alone.

With the letters k that both operands have and the result has not, g that all three have, m that the weight alone of the
operands has, and r that the other one alone has,

    out[r, g, m] = sum_k x[g, r, k] W[g, m, k],

each of k, g, m and r being one index over all combinations of its letters. Source: ONNX operator specification, Einsum.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np

from fc2conv.proof.ids import Array
from fc2conv.proof.layers import Layer
from fc2conv.proof.nodes import Call
from fc2conv.proof.values import UnmodelledError, blame


def einsum(call: Call, key: np.uint64) -> Layer:
    """A sum of products of an operand and a weight over the letters that they share and the result has not."""
    if len(call.inputs) != 2:
        raise UnmodelledError(f"{call.label} (an Einsum of {len(call.inputs)} operands)")
    a, b = call.data(0), call.data(1)
    if a.is_weight == b.is_weight:
        raise UnmodelledError(f"{call.label} ({'both' if a.is_weight else 'neither'} of its operands is a constant)")
    source, weight = (b, a) if a.is_weight else (a, b)
    if source.shape is None or weight.shape is None:
        raise UnmodelledError(f"{blame(source)} (the shape of its result is not known)")
    first, second, out = _terms(call, len(source.shape))
    x, w = (second, first) if a.is_weight else (first, second)
    g = [letter for letter in out if letter in w and letter in x]
    k = [letter for letter in x if letter in w and letter not in out]
    m = [letter for letter in out if letter in w and letter not in x]
    r = [letter for letter in out if letter in x and letter not in w]
    plain = (sorted(x), sorted(w), sorted(out)) == (sorted(g + r + k), sorted(g + m + k), sorted(r + g + m))
    if not plain or (len(x), len(w)) != (len(source.shape), len(weight.shape)):
        raise UnmodelledError(f"{call.label} (an Einsum that is no product with matrices)")
    size, wide = dict(zip(x, source.shape, strict=True)), dict(zip(w, weight.shape, strict=True))
    if any(size[letter] != wide[letter] for letter in g + k):
        raise UnmodelledError(f"{call.label} (an Einsum that broadcasts)")
    groups, outputs = prod(wide[letter] for letter in g), prod(wide[letter] for letter in m)

    def oriented() -> Array:
        turned: Array = weight.array().transpose(_perm(w, g + m + k))
        return turned.reshape(groups, outputs, -1)

    return Layer(
        label=call.label,
        key=key,
        source=source,
        weight=weight,
        oriented=oriented,
        rows=lambda ids: ids.transpose(_perm(x, g + r + k)).reshape(groups, -1, prod(wide[letter] for letter in k)),
        place=lambda ids: ids.reshape([(size | wide)[letter] for letter in r + g + m]).transpose(_perm(r + g + m, out)),
        outputs=groups * outputs,
        shape=tuple((size | wide)[letter] for letter in out),
        axes=tuple(out.index(letter) for letter in g + m),
        elem_type=source.elem_type,
        groups=groups,
    )


def _terms(call: Call, rank: int) -> tuple[list[str], list[str], list[str]]:
    """The letters of both operands and of the result; those of an ellipsis are digits, as many as `rank` leaves."""
    text = call.attributes["equation"].decode().replace(" ", "")
    operands, arrow, result = text.partition("->")
    if not arrow:
        result = "..." * ("..." in operands)
        result += "".join(sorted(each for each in set(operands) - set(",.") if operands.count(each) == 1))
    terms = operands.split(",")
    if len(terms) != 2:
        raise UnmodelledError(f"{call.label} (an Einsum of {len(terms)} terms)")
    longest = max((len(term.replace("...", "")) for term in terms if "..." in term), default=rank)
    spare = "".join(chr(ord("0") + i) for i in range(rank - longest))
    first, second, out = (list(term.replace("...", spare)) for term in (*terms, result))
    return first, second, out


def _perm(source: Sequence[str], target: Sequence[str]) -> list[int]:
    """The perm that takes dimensions named `source` to those named `target`."""
    return [list(source).index(letter) for letter in target]
