"""Resize and Upsample: along each axis a linear map that its sizes, its scale and the attributes decide."""

from __future__ import annotations

from math import prod

import numpy as np

from fc2conv.verification.exact.evaluate import At, OpaqueError, Rule
from fc2conv.verification.exact.field import Residues
from fc2conv.verification.exact.terms import Array

_ALL_AXES = ("axes", "keep_aspect_ratio_policy")
_SCALES_ARE_OPERANDS, _HAS_SIZES = 9, 11


def resized(at: At) -> Residues:
    """Multiply each axis by a matrix of fresh variables: maps of different axes commute, and nothing else is known.

    A matrix of variables stands for the one that interpolates, so that what holds for it holds for that one.
    """
    field, x, attributes = at.field, at.res(0), dict(at.op.attributes)
    cropped = attributes.get("coordinate_transformation_mode") == b"tf_crop_and_resize"
    if at.operand(0).atoms or at.operand(0).integer or cropped or any(name in attributes for name in _ALL_AXES):
        raise OpaqueError
    scales = _scales(at)
    how = tuple(sorted((name, value) for name, value in attributes.items() if name != "scales"))
    for axis, (old, new, scale) in enumerate(zip(x.shape[1:], at.shape, scales, strict=True), start=1):
        if old == new and scale == 1:
            continue
        matrix = field.uniform((at.op.name, at.op.version, how, old, new, float(scale)), (old, new))
        lines = np.moveaxis(x, axis, -1)
        at.evaluator.spend(float(x.size) * new)
        rows = field.matmul(lines.reshape(field.lanes, prod(lines.shape[1:-1]), old), matrix)
        x = np.moveaxis(rows.reshape(*lines.shape[:-1], new), -1, axis)
    return x


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
