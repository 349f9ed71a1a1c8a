"""What a Slice takes, wherever the operator set keeps it."""

from __future__ import annotations

from onnx import NodeProto

from fc2conv.fcn.slider import Slider, Stuck
from fc2conv.ir.graph import ints_attribute
from fc2conv.reasons import Code


def sliced(slider: Slider, node: NodeProto, rank: int) -> tuple[list[int], list[int], list[int], list[int]]:
    """Starts, ends, axes and steps, wherever the opset keeps them."""
    lists: list[list[int] | None] = []
    for i, key in enumerate(("starts", "ends", "axes", "steps"), start=1):
        found = ints_attribute(node, key)
        if found is None and len(node.input) > i and node.input[i]:
            given = slider.ints(node.input[i])
            if given is None:
                raise Stuck(Code.NOT_SLIDING, node, f"its {key} are computed")
            found = list(given)
        lists.append(found)
    starts, ends = lists[0] or [], lists[1] or []
    axes = lists[2] if lists[2] is not None else list(range(len(starts)))
    return starts, ends, [axis % rank for axis in axes], lists[3] or [1] * len(starts)
