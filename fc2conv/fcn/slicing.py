"""Integers of a node, wherever its operator set keeps them."""

from __future__ import annotations

from onnx import NodeProto

from fc2conv.fcn.slider import Slider, Stuck
from fc2conv.ir.graph import ints_attribute
from fc2conv.reasons import Code


def listed(slider: Slider, node: NodeProto, key: str, at: int) -> list[int] | None:
    """Integers that are an attribute in older definitions and an operand in newer ones; None where there are none."""
    found = ints_attribute(node, key)
    if found is None and len(node.input) > at and node.input[at]:
        given = slider.ints(node.input[at])
        if given is None:
            raise Stuck(Code.NOT_SLIDING, node, f"its {key} are computed")
        found = list(given)
    return found


def sliced(slider: Slider, node: NodeProto, rank: int) -> tuple[list[int], list[int], list[int], list[int]]:
    """Starts, ends, axes and steps of a Slice."""
    keys = ("starts", "ends", "axes", "steps")
    starts, ends, axes, steps = (listed(slider, node, key, at) for at, key in enumerate(keys, start=1))
    starts = starts or []
    axes = axes if axes is not None else list(range(len(starts)))
    return starts, ends or [], [axis % rank for axis in axes], steps or [1] * len(starts)
