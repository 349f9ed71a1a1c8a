"""Channels that a Reshape takes apart and another puts together again: the map with its channels in another order.

    r = Reshape (x, [N, 2, C/2, H, W])     the channels are held in two dimensions
    t = Transpose (r, [0, 2, 1, 3, 4])     y = Gather (x, [0, C/2, 1, ...]) on the channels
    y = Reshape (t, [N, C, H, W])

On the way only the dimensions are followed, and no node is made.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from onnx import NodeProto

from fc2conv.fcn.forms import BATCH, CHANNELS, Form, Layout
from fc2conv.layout import axes
from fc2conv.layout.axes import Axis, Size

_CHANNELS = str(CHANNELS)


@dataclass(frozen=True)
class Split:
    """A value that holds the channels of a map in several dimensions, or every so many of them from `first` on.

    `node` took them apart, and `detail` says what is wrong with that where they are not put together again.
    """

    form: Form
    layout: axes.Layout
    node: NodeProto
    detail: str
    first: int = 0


def split(node: NodeProto, form: Form, target: Sequence[int], detail: str) -> Split | None:
    """A map in dimensions of the target's sizes; None where they cut more than the channels."""
    sizes = form.sizes
    if any(sizes[axis] == 1 for axis in form.free):
        return None  # an axis that grows must be seen to stay where it is
    layout = tuple(tuple(Axis(str(axis), Size(sizes[axis])) for axis in dim) for dim in form.layout)
    return regrouped(Split(form, layout, node, detail), target)


def regrouped(value: Split, target: Sequence[int]) -> Split | None:
    """The value in other dimensions; None where they cut more than the channels."""
    layout = axes.regroup(axes.normal(value.layout), [Size(size) for size in target])
    if layout is None:
        return None
    rest = [axis for axis in axes.axes_of(layout) if axis.root != _CHANNELS]
    whole = all(axis.size == Size(value.form.sizes[int(axis.root)]) for axis in rest)
    return replace(value, layout=layout) if whole else None


def picked(value: Split, dim: int, index: int) -> Split | None:
    """The value at one index of a dimension that holds a part of the channels, and nothing else."""
    held = value.layout[dim]
    if len(held) != 1 or held[0].root != _CHANNELS:
        return None
    index %= held[0].size.coefficient
    rest = (*value.layout[:dim], *value.layout[dim + 1 :])
    return replace(value, layout=rest, first=value.first + index * held[0].stride.coefficient)


def joined(value: Split) -> tuple[np.ndarray, Layout] | None:
    """The channels in their order and the layout of the map that has them so; None while they are apart."""
    at = [i for i, dim in enumerate(value.layout) if any(axis.root == _CHANNELS for axis in dim)]
    if len(at) != 1:
        return None
    dim = value.layout[at[0]]
    places = [i for i, axis in enumerate(dim) if axis.root == _CHANNELS]
    if places[-1] - places[0] >= len(places):
        return None
    order = np.full((1,), value.first)
    for axis in dim[places[0] : places[-1] + 1]:
        order = np.add.outer(order, np.arange(axis.size.coefficient) * axis.stride.coefficient).reshape(-1)
    kept = [[int(axis.root) for axis in dim if axis.root != _CHANNELS] for dim in value.layout]
    kept[at[0]].insert(places[0], CHANNELS)
    return order, _completed(kept, value.form.rank)


def _completed(layout: list[list[int]], rank: int) -> Layout:
    """The layout with the axes of one cell, which no size tells apart: in empty dimensions first."""
    held = {axis for dim in layout for axis in dim}
    for axis in range(rank):
        if axis not in held:
            empty = next((dim for dim in layout if not dim), layout[0] if axis == BATCH else layout[-1])
            empty.append(axis)
    return tuple(map(tuple, layout))
