"""Operators on each element: sums, products and quotients are exact, everything else is a function of the arguments."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce

import numpy as np
from onnx import helper

from fc2conv.verification.exact import casts
from fc2conv.verification.exact.evaluate import At, Rule
from fc2conv.verification.exact.field import Field, Residues, tag
from fc2conv.verification.exact.functions import (
    ACTIVATIONS,
    clip,
    exp,
    gelu,
    hard_sigmoid,
    leaky,
    relu,
    salt,
    sigmoid,
    sqrt,
)
from fc2conv.verification.exact.terms import Term

MOST_POWER = 8


def arithmetic(how: str) -> Rule:
    """Make the rule of a sum, difference, product or quotient of operands that broadcast."""

    def rule(at: At) -> Residues:
        field = at.field
        operands = [at.res(i) for i in range(len(at.term.inputs))]
        if any(at.operand(i).atoms for i in range(len(operands))):
            commutes = how in ("add", "mul")
            return (field.unordered if commutes else field.ordered)(tag("not finite", how), operands)
        if how == "div":
            if at.term.integer:
                return field.ordered(tag("integer division"), operands)
            return field.mul(operands[0], field.inverse(operands[1]))
        return reduce(getattr(field, how), operands)

    return rule


def mean(at: At) -> Residues:
    """The mean of operands that broadcast."""
    operands = [at.res(i) for i in range(len(at.term.inputs))]
    return at.field.mul(reduce(at.field.add, operands), at.field.inverse(at.field.of(np.asarray(len(operands)))))


def negative(at: At) -> Residues:
    """-x."""
    return at.field.neg(at.res(0))


def reciprocal(at: At) -> Residues:
    """1 / x."""
    return at.field.inverse(at.res(0))


def power(at: At) -> Residues:
    """x ** y: exact for a constant integer up to 8; a half is a root."""
    field, x = at.field, at.res(0)
    exponent = at.operand(1).value
    if exponent is not None and exponent.size == 1 and not at.term.integer:
        y = float(exponent.reshape(-1)[0])
        rank = max(x.ndim - 1, exponent.ndim)
        x = x.reshape(len(x), *[1] * (rank + 1 - x.ndim), *x.shape[1:])
        if y == int(y) and 1 <= abs(y) <= MOST_POWER:
            out = reduce(field.mul, [x] * int(abs(y)))
            return out if y > 0 else field.inverse(out)
        if abs(y) == 0.5:
            return sqrt(field, x) if y > 0 else field.inverse(sqrt(field, x))
    return field.ordered(tag("Pow", at.term.integer), [x, at.res(1)])


def unary(how: Callable[[Field, Residues], Residues]) -> Rule:
    """Make the rule of a function of one operand, for floats; of integers it is a hash."""

    def rule(at: At) -> Residues:
        return hashed(at) if at.term.integer else how(at.field, at.res(0))

    return rule


def is_rectified(term: Term) -> bool:
    """Whether a value is that of a Relu, also in another shape."""
    while term.op is not None and term.op.name in ("Reshape", "Transpose") and term.inputs[0] is not None:
        term = term.inputs[0]
    return term.op is not None and term.op.name == "Relu"


def rectified(at: At) -> Residues:
    """Relu, which leaves what is rectified as it is, also where that was given another shape."""
    if is_rectified(at.operand(0)):
        return at.res(0)
    return hashed(at) if at.term.integer else relu(at.field, at.res(0))


def leaky_relu(at: At) -> Residues:
    """LeakyRelu: R(x) - alpha R(-x)."""
    return leaky(at.field, at.res(0), at.field.number(at.attr("alpha", 0.01)))


def prelu(at: At) -> Residues:
    """PRelu: R(x) - slope R(-x), where the slope broadcasts to x."""
    return hashed(at) if at.term.integer else leaky(at.field, at.res(0), at.res(1))


def absolute(at: At) -> Residues:
    """|x| = R(x) + R(-x)."""
    if at.term.integer:
        return hashed(at)
    x = at.res(0)
    return at.field.add(relu(at.field, x), relu(at.field, at.field.neg(x)))


def clipped(at: At) -> Residues:
    """Clip, with bounds that are attributes in old definitions and operands in newer ones."""
    if at.term.integer:
        return hashed(at)
    field = at.field
    if at.op.version < 11:
        low, high = (at.attr(name, None) for name in ("min", "max"))
        bounds = (None if each is None else field.number(each) for each in (low, high))
        return clip(field, at.res(0), *bounds)
    if any(at.has(i) and at.operand(i).atoms for i in (1, 2)):
        return hashed(at)
    return clip(field, at.res(0), *(at.res(i) if at.has(i) else None for i in (1, 2)))


def hard_sigmoids(at: At) -> Residues:
    """HardSigmoid: a line, clipped to [0, 1]."""
    return hard_sigmoid(at.field, at.res(0), at.attr("alpha", 0.2), at.attr("beta", 0.5))


def hard_swish(at: At) -> Residues:
    """HardSwish: x times its HardSigmoid of slope 1/6."""
    x = at.res(0)
    return at.field.mul(x, hard_sigmoid(at.field, x, 1 / 6, 0.5))


def swish(at: At) -> Residues:
    """Swish and QuickGelu: x * sigmoid(alpha x)."""
    x = at.res(0)
    default = 1.0 if at.op.name == "Swish" else 1.702
    return at.field.mul(x, sigmoid(at.field, at.field.scaled(x, at.attr("alpha", default))))


def gelus(at: At) -> Residues:
    """Gelu and its fused forms, which add a bias first."""
    x = at.field.add(at.res(0), at.res(1)) if at.has(1) else at.res(0)
    how = "tanh" if at.op.name.endswith("FastGelu") else at.attr("approximate", b"none").decode()
    return gelu(at.field, x, how, helper.tensor_dtype_to_np_dtype(at.term.kind))


def extremum(at: At) -> Residues:
    """Max and Min: of two floats b + R(a - b), else a hash in which the order does not matter."""
    field = at.field
    operands = [at.res(i) for i in range(len(at.term.inputs))]
    if len(operands) == 1:
        return operands[0]
    if len(operands) > 2 or at.term.integer or any(at.operand(i).atoms for i in (0, 1)):
        return field.unordered(tag(at.op.name), operands)
    one, other = operands
    if at.op.name == "Max":
        return field.add(other, relu(field, field.sub(one, other)))
    return field.sub(other, relu(field, field.sub(other, one)))


def compared(at: At) -> Residues:
    """Greater and Less, which are one relation."""
    operands = [at.res(0), at.res(1)]
    name = at.op.name
    if name.startswith("Less"):
        operands, name = operands[::-1], name.replace("Less", "Greater")
    return at.field.ordered(tag(name), operands)


def negation(at: At) -> Residues:
    """Not: 1 - x on truth values."""
    return at.field.sub(at.field.of(np.asarray(1)), at.res(0))


def commutative(at: At) -> Residues:
    """A function of its operands in any order."""
    return at.field.unordered(tag(at.op.name), [at.res(i) for i in range(len(at.term.inputs))])


def hashed(at: At) -> Residues:
    """An uninterpreted function of each element and of the operands that broadcast to it."""
    operands = [at.res(i) for i in range(len(at.term.inputs)) if at.has(i)]
    named = salt(at.op.name, at.op.attributes)
    if len(operands) == 1:
        return at.field.mix(operands[0], named)
    return at.field.ordered(tag(named, [term is None for term in at.term.inputs]), operands)


HASHED = """Acos Acosh Asin Asinh Atan Atanh BitShift BitwiseNot Ceil Celu Cos Cosh Elu Erf Floor IsInf IsNaN Log
Mish Mod Round Selu Shrink Sign Sin Sinh Softplus Softsign Tan ThresholdedRelu"""

RULES: dict[str, Rule] = {
    **dict.fromkeys(HASHED.split(), hashed),
    **dict.fromkeys("And Or Xor Equal BitwiseAnd BitwiseOr BitwiseXor".split(), commutative),
    **dict.fromkeys("Greater Less GreaterOrEqual LessOrEqual".split(), compared),
    **dict.fromkeys(("Max", "Min"), extremum),
    **dict.fromkeys(("Add", "Sum"), arithmetic("add")),
    **dict.fromkeys(("Gelu", "com.microsoft::Gelu", "com.microsoft::BiasGelu", "com.microsoft::FastGelu"), gelus),
    **dict.fromkeys(("Swish", "com.microsoft::QuickGelu"), swish),
    **{name: unary(how) for name, how in ACTIVATIONS.items()},
    "Relu": rectified,
    "Exp": unary(exp),
    "Sqrt": unary(sqrt),
    "Sub": arithmetic("sub"),
    "Mul": arithmetic("mul"),
    "Div": arithmetic("div"),
    "Mean": mean,
    "Neg": negative,
    "Reciprocal": reciprocal,
    "Pow": power,
    "LeakyRelu": leaky_relu,
    "PRelu": prelu,
    "Abs": absolute,
    "Clip": clipped,
    "HardSigmoid": hard_sigmoids,
    "HardSwish": hard_swish,
    **casts.RULES,
    "Not": negation,
}
"""One rule for each operator."""
