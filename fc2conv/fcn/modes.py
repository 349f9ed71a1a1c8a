"""Where the cells of --output-stride, --padding and --upsample lie beside those that the network has by itself."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from fc2conv.fcn.forms import SPACE
from fc2conv.fcn.outputs import End
from fc2conv.options import SlidingOptions
from fc2conv.report.sliding import AxisGeometry, SlidingReport
from fc2conv.verification.spec import Cells, Placement


def placed_beside(
    plain: SlidingReport, made: SlidingReport, ends: Sequence[End], options: SlidingOptions
) -> tuple[Placement, ...]:
    """How the maps of a model are made of those of the plain one."""
    known = {output.output: output for output in plain.outputs}
    there = {output.output: output for output in made.outputs}
    found = []
    for end in ends:
        before, now = known.get(end.output), there[end.output]
        if before is None or end.kind not in ("map", "cam"):
            continue
        pairs = enumerate(zip(before.axes, now.axes, strict=True), start=SPACE)
        cells = {axis: _cells(one, other, end, axis, options) for axis, (one, other) in pairs if other.stride}
        found.append(Placement(end.form.name, end.output, end.output, cells, bool(end.upsampled)))
    return tuple(found)


def _cells(plain: AxisGeometry, made: AxisGeometry, end: End, axis: int, options: SlidingOptions) -> Cells:
    assert plain.stride is not None
    assert made.stride is not None
    assert made.center is not None
    assert plain.center is not None
    shift = round((made.center - plain.center) / made.stride)
    covers = options.padding == "same" and end.kind == "map" and end.form.sizes[axis] == 1
    return Cells(made.input, made.dim, round(plain.stride), round(made.stride), shift, made.center, covers)


def replaced(report: SlidingReport, placements: Sequence[Placement]) -> SlidingReport:
    """The report with how many cells lie from one of the plain network's to the next."""
    known = {placement.output: placement.axes for placement in placements}
    outputs = []
    for output in report.outputs:
        cells = known.get(output.output, {})
        axes = [
            msgspec.structs.replace(each, every=cells[axis].stride // cells[axis].made) if axis in cells else each
            for axis, each in enumerate(output.axes, start=SPACE)
        ]
        outputs.append(msgspec.structs.replace(output, axes=axes))
    return msgspec.structs.replace(report, outputs=outputs)
