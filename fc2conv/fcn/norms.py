"""Norms over all cells of an image: they run on any size, and every cell reads the whole map.

q = Reshape (x, [N, G, -1])  i = InstanceNormalization (q)   ->   the same, with the shape of any map
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from onnx import NodeProto

from fc2conv.fcn.facts import Pool
from fc2conv.fcn.forms import BATCH, CHANNELS, SPACE
from fc2conv.fcn.slider import Slider, Stuck, handles, kept_apart
from fc2conv.fcn.spreading import reads_all
from fc2conv.ir.graph import op
from fc2conv.reasons import Code


@handles("InstanceNormalization", "GroupNormalization")
def _per_image(slider: Slider, node: NodeProto) -> None:
    form = slider.form(node, apart=op(node) == "InstanceNormalization")
    if form.parts is not None:
        axes = [axis for dim in form.layout for axis in dim]
        whole = np.array_equal(form.order.reshape(-1), np.arange(form.sizes[CHANNELS])) and axes == sorted(axes)
        if not whole or len(form.layout) <= SPACE or form.layout[:SPACE] != ((BATCH,), (CHANNELS,)):
            raise kept_apart(form)
        _in_groups(slider, node, form.name, form.order.shape[0])
    elif form.is_map or (len(form.layout) > SPACE and form.filled(1) == (CHANNELS,) and form.layout[0] == (BATCH,)):
        slider.emit(node)
    elif op(node) == "InstanceNormalization" and form.layout[0] == (BATCH,) and not form.filled(1):
        _in_groups(slider, node, form.name, 1)
    else:
        raise Stuck(Code.SIZES_MIXED, node, "its channels are not the map's")
    slider.forms[node.output[0]] = replace(form, name=node.output[0])
    reads_all(slider, node.output[0], form)
    slider.pools.append(Pool(node, form.name, node.output[0], "within"))


def _in_groups(slider: Slider, node: NodeProto, name: str, groups: int) -> None:
    """The norm of so many groups of channels, between two reshapes that suit a map of any size."""
    made = node.output[0]
    shape = slider.add("Shape", [name], f"{made}_shape")
    flat = slider.add("Reshape", [name], f"{made}_groups", shape=(0, groups, -1))
    new = slider.emit(node, [flat, *node.input[1:]])
    new.output[0] = slider.tensors.unique(f"{made}_normed")
    slider.add("Reshape", [new.output[0], shape], f"{made}_map", made=made)
