"""An If that only asks whether a dimension has one element, as exporters write a squeeze where they know no shape.

y = If (Shape (x) [1] == 1) then Squeeze (x, 1) else x   ->   the branch that is taken at the training size
"""

from __future__ import annotations

import numpy as np
from onnx import NodeProto, helper, numpy_helper

from fc2conv.fcn.slider import HANDLERS, Slider, Stuck, handles
from fc2conv.ir.graph import attribute, op
from fc2conv.reasons import Code

_LAYOUT = ("Identity", "Squeeze", "Unsqueeze")


@handles("If")
def _if(slider: Slider, node: NodeProto) -> None:
    condition = slider.values(node.input[0])
    if condition is None or condition.size != 1:
        raise Stuck(Code.NOT_SLIDING, node, "its condition is computed")
    branch = attribute(node, "then_branch" if condition.all() else "else_branch")
    nodes = list(branch.g.node) if branch is not None else []
    constants = {
        each.output[0]: numpy_helper.to_array(value.t) for each in nodes if (value := attribute(each, "value"))
    }
    (inner, *more) = [each for each in nodes if each.output[0] not in constants] or [None]
    axes = [constants.get(name, slider.values(name)) for name in inner.input[1:]] if inner is not None else []
    if inner is None or more or op(inner) not in _LAYOUT or any(each is None for each in axes):
        raise Stuck(Code.NOT_SLIDING, node, "its branch does more than to name dimensions")
    new = NodeProto(op_type=inner.op_type, name=node.name, input=inner.input[:1], output=node.output[:1])
    new.attribute.extend(inner.attribute)
    for each in axes:
        new.attribute.append(helper.make_attribute("axes", np.asarray(each).reshape(-1).tolist()))
    HANDLERS[op(new)](slider, new)
