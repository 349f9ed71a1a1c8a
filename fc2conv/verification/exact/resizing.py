"""Resize and Upsample to the nearest element: a gather along each axis. Interpolation is opaque."""

from __future__ import annotations

from fractions import Fraction
from math import ceil, floor

import numpy as np

from fc2conv.verification.exact.evaluate import At, OpaqueError, Rule
from fc2conv.verification.exact.field import Residues
from fc2conv.verification.exact.terms import Array

_SOME_AXES = ("axes", "keep_aspect_ratio_policy")
_SCALES_ARE_OPERANDS, _HAS_SIZES = 9, 11
_HALF = Fraction(1, 2)


def resized(at: At) -> Residues:
    """Gather the nearest elements along each axis; by whole numbers alone, as others are rounded first."""
    older = at.op.name == "Upsample" or at.op.version < _HAS_SIZES
    how = at.attr("coordinate_transformation_mode", b"asymmetric" if older else b"half_pixel")
    rounding = at.attr("nearest_mode", b"floor" if older else b"round_prefer_floor")
    if at.attr("mode", b"nearest") != b"nearest" or any(name in at.op.attributes for name in _SOME_AXES):
        raise OpaqueError
    x = at.res(0)
    for axis, (old, new, scale) in enumerate(zip(at.dims(0), at.shape, _scales(at), strict=True), start=1):
        if old != new or scale != 1:
            x = np.take(x, _places(old, new, float(scale), how, rounding), axis=axis)
    return x


def _places(old: int, new: int, scale: float, how: bytes, rounding: bytes) -> list[int]:
    """The element that each new one is."""
    if how not in (b"half_pixel", b"asymmetric") or not scale.is_integer() or scale < 1:
        raise OpaqueError
    shift = _HALF if how == b"half_pixel" else Fraction(0)
    at = [(i + shift) / int(scale) - shift for i in range(new)]
    round_to = {
        b"round_prefer_floor": lambda each: ceil(each - _HALF),
        b"round_prefer_ceil": lambda each: floor(each + _HALF),
        b"floor": floor,
        b"ceil": ceil,
    }[rounding]
    return [min(max(round_to(each), 0), old - 1) for each in at]


def _scales(at: At) -> Array:
    """The scale of each axis: those that are given, or those of the sizes."""
    if at.op.version < _SCALES_ARE_OPERANDS:
        return np.asarray(at.attr("scales", []), np.float32)
    place = 2 if at.op.name == "Resize" and at.op.version >= _HAS_SIZES else 1
    if at.has(place) and at.numbers(place).size:
        return at.numbers(place).astype(np.float32)
    return np.asarray(at.shape, np.float32) / np.asarray(at.dims(0), np.float32)


RULES: dict[str, Rule] = {"Resize": resized, "Upsample": resized}
"""One rule for each operator."""
