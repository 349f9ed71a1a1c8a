"""Functions of one real number: uninterpreted ones as hashes, and those that are sums and products of others.

Relu is a hash R with R(x) - R(-x) = x, so that Clip, LeakyRelu, Abs and a maximum of two are sums of R. exp is a hash
E, sqrt a hash S, and 1/sqrt is 1/S.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from math import pi
from math import sqrt as sqrt_of
from typing import Any

import numpy as np
import onnx

from fc2conv.verification.exact.field import Field, Residues, tag


def relu(field: Field, x: Residues) -> Residues:
    """R(x), with R(x) - R(-x) = x."""
    negative = field.neg(x)
    upper = x > negative
    hashed = field.mix(np.minimum(x, negative), tag("relu"))
    np.copyto(hashed, field.add(hashed, x), where=upper)
    return hashed


def exp(field: Field, x: Residues) -> Residues:
    """E(x)."""
    return field.mix(x, tag("exp"))


def sqrt(field: Field, x: Residues) -> Residues:
    """S(x)."""
    return field.mix(x, tag("sqrt"))


def sigmoid(field: Field, x: Residues) -> Residues:
    """The logistic function."""
    return field.mix(x, tag("sigmoid"))


def tanh(field: Field, x: Residues) -> Residues:
    """The hyperbolic tangent."""
    return field.mix(x, tag("tanh"))


def gelu(field: Field, x: Residues, how: str, dtype: np.dtype[Any]) -> Residues:
    """Gelu as exporters write it: x (1 + erf(x / root 2)) / 2, or by tanh; its constants are numbers of its type."""

    def number(value: float) -> Residues:
        return field.of(np.asarray(value).astype(dtype))

    if how == "tanh":
        cubed = field.mul(field.mul(x, x), field.mul(x, number(0.044715)))
        bent = tanh(field, field.mul(field.add(x, cubed), number(sqrt_of(2 / pi))))
    else:
        bent = field.mix(field.mul(x, field.inverse(number(sqrt_of(2.0)))), salt("Erf", {}))
    return field.mul(field.mul(x, number(0.5)), field.add(bent, number(1.0)))


def clip(field: Field, x: Residues, low: Residues | None, high: Residues | None) -> Residues:
    """Clip to [low, high]: low + R(x - low) - R(x - high)."""
    if low is not None:
        out = field.add(low, relu(field, field.sub(x, low)))
        return out if high is None else field.sub(out, relu(field, field.sub(x, high)))
    return x if high is None else field.sub(high, relu(field, field.sub(high, x)))


ACTIVATIONS: dict[str, Callable[[Field, Residues], Residues]] = {
    "Relu": relu,
    "Sigmoid": sigmoid,
    "Tanh": tanh,
}


def activation(field: Field, x: Residues, name: str, numbers: dict[str, float]) -> Residues:
    """Apply the activation that a fused operator names, with its parameters by ONNX's names."""
    if name in ACTIVATIONS:
        return ACTIVATIONS[name](field, x)
    if name == "LeakyRelu":
        return leaky(field, x, field.number(numbers.get("alpha", 0.01)))
    if name == "Clip":
        return clip(field, x, _bound(field, numbers.get("min")), _bound(field, numbers.get("max")))
    if name == "HardSigmoid":
        return hard_sigmoid(field, x, numbers.get("alpha", 0.2), numbers.get("beta", 0.5))
    return field.mix(x, salt(name, numbers))


def salt(name: str, numbers: Mapping[str, object]) -> int:
    """Name a function of elements: its operator, and its attributes with those that are the default."""
    return tag("function", name, sorted((_defaults(name) | dict(numbers)).items()))


@lru_cache(maxsize=256)
def _defaults(name: str) -> dict[str, object]:
    schema = onnx.defs.get_schema(name) if onnx.defs.has(name) else None
    held = schema.attributes.values() if schema is not None else ()
    return {a.name: onnx.helper.get_attribute_value(a.default_value) for a in held if a.default_value.name}


def _bound(field: Field, value: float | None) -> Residues | None:
    return None if value is None else field.number(value)


def leaky(field: Field, x: Residues, slope: Residues) -> Residues:
    """R(x) - slope R(-x)."""
    return field.sub(relu(field, x), field.mul(slope, relu(field, field.neg(x))))


def hard_sigmoid(field: Field, x: Residues, alpha: float, beta: float) -> Residues:
    """Clip alpha x + beta to [0, 1]."""
    line = field.add(field.scaled(x, alpha), field.number(beta))
    return clip(field, line, field.number(0.0), field.number(1.0))
