"""Operators on each element: sums, products and quotients are exact, everything else is a function of the arguments.

Relu is a hash R with R(x) - R(-x) = x, so that Clip, LeakyRelu, Abs and a maximum of two are sums of R. 1 / sqrt is the
reciprocal of the hash of sqrt.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache, reduce

import numpy as np
import onnx

from fc2conv.verification.exact.clamps import clamp, factors
from fc2conv.verification.exact.evaluate import At, OpaqueError, Rule
from fc2conv.verification.exact.field import Field, Residues, tag
from fc2conv.verification.exact.laws import not_negative
from fc2conv.verification.exact.terms import ABSENT, Term
from fc2conv.verification.nodes import FAKE_QUANTIZERS

MOST_POWER = 8
_ODD = frozenset("Asin Asinh Atan Atanh Erf Sign Sin Sinh Tan".split())
"""Functions with f(-x) = -f(x)."""


def salt(name: str, numbers: Mapping[str, object]) -> int:
    """Hash the name of a function of elements: its operator, and its attributes with the default ones."""
    return tag("function", name, sorted(attributes(name, numbers).items()))


def attributes(name: str, given: Mapping[str, object]) -> dict[str, object]:
    """Return the attributes of an operator, with the default of each that is not given."""
    return _defaults(name) | dict(given)


@lru_cache(maxsize=256)
def _defaults(name: str) -> dict[str, object]:
    schema = onnx.defs.get_schema(name) if onnx.defs.has(name) else None
    attributes = schema.attributes.values() if schema is not None else ()
    return {a.name: onnx.helper.get_attribute_value(a.default_value) for a in attributes if a.default_value.name}


def applied(field: Field, name: str, x: Residues) -> Residues:
    """Apply the function of an operator without attributes, for example Exp, Log or Sqrt."""
    return field.mix(x, salt(name, {}))


def mirrored(field: Field, name: str, x: Residues, how: Callable[[Residues], Residues]) -> Residues:
    """Apply a function whose f(-x) follows from f(x): as its negative, or its reciprocal."""
    negative = field.neg(x)
    out = applied(field, name, np.minimum(x, negative))
    np.copyto(out, how(out), where=x > negative)
    return out


def exp(at: At, x: Residues) -> Residues:
    """Compute E(x); with laws E(x) E(-x) = 1."""
    return mirrored(at.field, "Exp", x, at.field.inverse) if at.evaluator.laws else applied(at.field, "Exp", x)


def clip(field: Field, x: Residues, low: Residues | None, high: Residues | None) -> Residues:
    """Clip to [low, high]: low + R(x - low) - R(x - high)."""
    if low is not None:
        out = field.add(low, field.relu(field.sub(x, low)))
        return out if high is None else field.sub(out, field.relu(field.sub(x, high)))
    return x if high is None else field.sub(high, field.relu(field.sub(high, x)))


def hashed(at: At) -> Residues:
    """Apply an uninterpreted function of each element and of the operands that broadcast to it."""
    operands = [at.res(i) for i in range(len(at.term.inputs)) if at.has(i)]
    named = salt(at.op.name, at.op.attributes)
    if at.op.name in _ODD and at.evaluator.laws and not at.term.integer:  # a negative of integers may wrap around
        return mirrored(at.field, at.op.name, operands[0], at.field.neg)
    if len(operands) == 1:
        return at.field.mix(operands[0], named)
    return at.field.ordered(tag(named, [term is ABSENT for term in at.term.inputs]), operands)


def scaled(at: At, how: Callable[..., Residues], *operands: Residues | None) -> Residues:
    """Apply f with f(kx) = k f(x) for k > 0; with laws compute k f(x + b / k) where the node reads kx + b."""
    if not at.evaluator.laws:
        return how(at.field, *operands)
    field, factor = at.field, at.field.number(1.0)
    for number, divides in factors(at.operand(0)):
        residue = at.evaluator.of(number).reshape(field.lanes)
        factor = field.mul(factor, field.inverse(residue) if divides else residue)
    divided = field.inverse(factor)
    return field.mul(how(field, *(x if x is None else field.mul(x, divided) for x in operands)), factor)


def of_floats(rule: Rule) -> Rule:
    """Make a rule that applies to floats; for integers the operator is a hash."""
    return lambda at: hashed(at) if at.term.integer else rule(at)


def every(at: At) -> list[Residues]:
    return [at.res(i) for i in range(len(at.term.inputs))]


def arithmetic(how: str) -> Rule:
    """Make the rule of a sum, difference, product or quotient of operands that broadcast."""

    def rule(at: At) -> Residues:
        field, operands = at.field, every(at)
        if any(at.operand(i).atoms for i in range(len(operands))):
            commutes = how in ("add", "mul")
            return (field.unordered if commutes else field.ordered)(tag("not finite", how), operands)
        if how != "div":
            return reduce(getattr(field, how), operands)
        if at.term.integer:
            return field.ordered(tag("integer division"), operands)
        return field.mul(operands[0], field.inverse(operands[1]))

    return rule


def mean(at: At) -> Residues:
    """Compute the mean of operands that broadcast."""
    operands = every(at)
    return at.field.mul(reduce(at.field.add, operands), at.field.inverse(at.field.of(np.asarray(len(operands)))))


def power(at: At) -> Residues:
    """Compute x ** y: exactly for a constant integer up to 8; a half is a root."""
    field, x = at.field, at.res(0)
    exponent = at.operand(1).value
    if exponent is not None and exponent.size == 1 and not at.term.integer:
        y = float(exponent.reshape(-1)[0])
        x = x.reshape(len(x), *[1] * (exponent.ndim + 1 - x.ndim), *x.shape[1:])
        if y.is_integer() and 1 <= abs(y) <= MOST_POWER:
            out = reduce(field.mul, [x] * int(abs(y)))
            return out if y > 0 else field.inverse(out)
        if abs(y) == 0.5:
            root = applied(field, "Sqrt", x)
            return root if y > 0 else field.inverse(root)
    return field.ordered(tag("Pow", at.term.integer), [x, at.evaluator.read(at.operand(1))])


def by_parts(field: Field, term: Term, x: Residues, how: Callable[[Term, Residues], Residues]) -> Residues:
    """Apply a function of elements to each part of a Concat as it would be applied to that alone."""
    shapes = [each.shape for each in term.inputs]
    if term.op.name != "Concat" or None in shapes:
        return how(term, x)
    axis = term.op.attributes.get("axis", 1) % (x.ndim - 1)
    ends = np.cumsum([(shape or ())[axis] for shape in shapes])
    cut = zip(term.inputs, np.split(x, ends[:-1], axis=axis + 1), strict=True)
    return field.joined([by_parts(field, each, part, how) for each, part in cut], axis)


def rectified(at: At) -> Residues:
    """Apply Relu: what is not negative stays as it is."""
    source = at.operand(0)
    if at.term.integer and not not_negative(source):
        return hashed(at)

    def each(field: Field, x: Residues) -> Residues:
        return by_parts(field, source, x, lambda term, part: part if not_negative(term) else field.relu(part))

    return scaled(at, each, at.res(0))


def leaky(at: At) -> Residues:
    """Compute LeakyRelu or PRelu: R(x) - slope R(-x)."""
    field, x = at.field, at.res(0)
    if at.op.version < 7 and at.has(1) and at.operand(1).size > 1:
        raise OpaqueError  # the oldest definitions have one for each channel
    slope = at.res(1) if at.has(1) else field.number(at.attr("alpha", 0.01))
    return field.sub(field.relu(x), field.mul(slope, field.relu(field.neg(x))))


def absolute(field: Field, x: Residues) -> Residues:
    """Compute |x| = R(x) + R(-x)."""
    return field.add(field.relu(x), field.relu(field.neg(x)))


def clipped(at: At) -> Residues:
    """Apply Clip, with bounds that are attributes in old definitions and operands in newer ones."""
    if any(at.has(i) and at.operand(i).atoms for i in (1, 2)):
        return hashed(at)
    field, x = at.field, at.res(0)
    if at.op.version < 11:
        bounds = (at.attr(name, None) for name in ("min", "max"))
        low, high = (None if each is None else field.number(each) for each in bounds)
    else:
        low, high = (at.res(i) if at.has(i) else None for i in (1, 2))
    if low is None or high is None or clamp(at.term) is not None:
        return scaled(at, clip, x, low, high)
    return clip(field, clip(field, x, low, None), None, high)  # the upper bound decides where it is the lower one


def extremum(at: At) -> Residues:
    """Compute Max or Min: of two floats as b + R(a - b), else as a hash that does not depend on their order."""
    field, operands = at.field, every(at)
    if len(operands) == 1:
        return operands[0]
    if len(operands) > 2 or at.term.integer or any(at.operand(i).atoms for i in (0, 1)):
        return field.unordered(tag(at.op.name), operands)
    one, other = operands
    return clip(field, one, other, None) if at.op.name == "Max" else clip(field, one, None, other)


def sigmoid(at: At) -> Residues:
    """Compute Sigmoid, with laws 1 / (1 + E(-x)), or Tanh, which is 2 Sigmoid(2x) - 1."""
    if not at.evaluator.laws:
        return hashed(at)
    field, x, one = at.field, at.res(0), at.field.number(1.0)
    if at.op.name == "Sigmoid":
        return field.inverse(field.add(one, exp(at, field.neg(x))))
    half = field.inverse(field.add(one, exp(at, field.neg(field.add(x, x)))))
    return field.sub(field.add(half, half), one)


def compared(at: At) -> Residues:
    """Hash the operands of Greater or Less, which are one relation."""
    operands, name = every(at), at.op.name
    if name.startswith("Less"):
        operands, name = operands[::-1], name.replace("Less", "Greater")
    return at.field.ordered(tag(name), operands)


def logical(at: At) -> Residues:
    """Compute And, Or or Xor of truth values as sums and products: xy, x + y - xy and x + y - 2xy."""
    field, (x, y) = at.field, every(at)
    product = field.mul(x, y)
    if at.op.name == "And":
        return product
    return field.sub(field.add(x, y), product if at.op.name == "Or" else field.add(product, product))


HASHED = """Acos Acosh Asin Asinh Atan Atanh BitShift BitwiseNot Ceil Celu Cos Cosh Elu Erf Floor IsInf IsNaN Log
Mod Round Selu Shrink Sign Sin Sinh Sqrt Tan ThresholdedRelu"""

RULES: dict[str, Rule] = {
    **dict.fromkeys((*HASHED.split(), *FAKE_QUANTIZERS), hashed),
    **dict.fromkeys(
        "Equal BitwiseAnd BitwiseOr BitwiseXor".split(), lambda at: at.field.unordered(tag(at.op.name), every(at))
    ),
    **dict.fromkeys(("And", "Or", "Xor"), logical),
    **dict.fromkeys("Greater Less GreaterOrEqual LessOrEqual".split(), compared),
    **dict.fromkeys(("Max", "Min"), extremum),
    **dict.fromkeys(("Add", "Sum"), arithmetic("add")),
    **dict.fromkeys(("LeakyRelu", "PRelu"), of_floats(leaky)),
    "Relu": rectified,
    **dict.fromkeys(("Sigmoid", "Tanh"), sigmoid),
    "Exp": lambda at: exp(at, at.res(0)),
    "Sub": arithmetic("sub"),
    "Mul": arithmetic("mul"),
    "Div": arithmetic("div"),
    "Mean": mean,
    "Neg": lambda at: at.field.neg(at.res(0)),
    "Not": lambda at: at.field.sub(at.field.of(np.asarray(1)), at.res(0)),
    "Reciprocal": lambda at: at.field.inverse(at.res(0)),
    "Pow": power,
    "Abs": of_floats(lambda at: at.res(0) if not_negative(at.operand(0)) else absolute(at.field, at.res(0))),
    "Clip": of_floats(clipped),
}
