"""Maps that meet with different numbers of cells, as dilations leave more of one than of another.

a = AveragePool <strides = [2, 2]> (x)   b = Conv <strides = [2, 2], pads = [1, 1, 1, 1]> (x)   s = Add (a, b)

With strides both have 8 cells of 16, with dilations a has 15 and b has 16. The last one of b is at no place that a has.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from fc2conv.fcn.geometry import Step
from fc2conv.fcn.slider import Slider

_Crops = dict[tuple[str, str], dict[int, int]]
"""By what reads a map and the map: how many cells are left out at its end, by axis."""


def align(slider: Slider, training: Mapping[int, Mapping[str, int]]) -> None:
    """Cuts maps at their ends where they meet; `training` has the sizes of the images by axis."""
    crops: _Crops = {}
    for axis, images in training.items():
        for (made, name), more in _differences(slider.steps.get(axis, ()), images).items():
            crops.setdefault((made, name), {})[axis] = more
    makers = {name: node for node in slider.nodes for name in node.output}
    known = {form.name: form for form in slider.forms.values()}
    for (made, name), cells in crops.items():
        node = makers.get(made)
        if node is None or name not in node.input:
            continue
        ends = [-more for more in cells.values()]
        cut = slider.add("Slice", [name], f"{name}_cut", starts=[0] * len(cells), ends=ends, axes=list(cells))
        index = next(i for i, each in enumerate(slider.nodes) if each is node)
        slider.nodes.insert(index, slider.nodes.pop())
        for i, each in enumerate(node.input):
            node.input[i] = cut if each == name else each
        slider.forms[cut] = replace(known[name], name=cut, parts=None)
        for axis, steps in slider.steps.items():
            at = next((i for i, step in enumerate(steps) if step.made == made), None)
            if at is not None:
                reads = tuple(cut if each == name else each for each in steps[at].read)
                steps[at : at + 1] = [Step(cut, (name,), after=-cells.get(axis, 0)), replace(steps[at], read=reads)]


def _differences(steps: Sequence[Step], images: Mapping[str, int]) -> dict[tuple[str, str], int]:
    """By how many cells a map has more than the least of those that it meets."""
    counts, single, found = dict(images), set[str](), dict[tuple[str, str], int]()
    for step in steps:
        reads = {name: counts[name] for name in step.read if name in counts}
        several = {name: count for name, count in reads.items() if name not in single}
        if step.everywhere or (reads and not several):
            single.add(step.made)
        if reads:
            least = min((several or reads).values())
            found.update(((step.made, name), count - least) for name, count in several.items() if count > least)
            counts[step.made] = int(step.cells(np.array([least]))[0])
    return found
