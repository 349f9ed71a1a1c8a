"""What a sliding graph is: the geometry of each output, and claims to prove."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import msgspec

from fc2conv.fcn.activations import LAID_OUT
from fc2conv.fcn.forms import BATCH, SPACE, Form, Image, identity
from fc2conv.fcn.geometry import Window, on_the_way, windows
from fc2conv.fcn.lattice import middle, sizes_of
from fc2conv.fcn.outputs import End
from fc2conv.fcn.slider import Slider
from fc2conv.fcn.training import Shape
from fc2conv.ir.graph import op, reads
from fc2conv.options import SlidingOptions
from fc2conv.report.sliding import AxisGeometry, SlidingInput, SlidingOutput, SlidingPool, SlidingReport
from fc2conv.verification.spec import Cells, Claims, Feature, Layout, MapClaim, Placement

Held = tuple[str, Layout | None]
"""A value of the original, and for each of its dimensions those of the map that holds it; None for a value as it is."""

_CHOICES = ("ArgMax", "ArgMin", "TopK")


class Describer:
    """Windows and sizes of all ends, each computed once along every axis."""

    def __init__(self, slider: Slider, ends: Sequence[End], original: Mapping[str, Held]) -> None:
        self.slider, self.images, self.ends, self.original = slider, slider.images, ends, original
        self.windows: dict[int, dict[str, dict[str, Window]]] = {
            axis: {name: windows(slider.steps.get(axis, ()), name) for name in slider.fed(axis)}
            for axis in sorted({axis for image in slider.images.values() for axis in image.free})
        }
        wanted = {end.form.name for end in ends}  # all are computed, whichever is asked for
        self.runs = {
            name: {axis: sizes_of(slider, name, axis, wanted) for axis in sorted(image.free)}
            for name, image in slider.images.items()
        }
        self.forms = {value: form for value, form in slider.forms.items() if form.parts is None}
        self.sizes = {form.name: form.sizes for form in self.forms.values()}
        self.named = {form.name for value, form in self.forms.items() if value in original}
        self.entries = {slider.forms[image].name for image in self.images}
        self.made = {axis: {step.made: step for step in steps} for axis, steps in slider.steps.items()}

    def describe(self) -> tuple[SlidingReport, Claims]:
        """Return all that the pass has found out, for the report and for the proof."""
        maps = [end for end in self.ends if end.kind == "map"]
        claims = [self._claim(replace(self.slider.forms[end.of], name=end.form.name), end.of) for end in maps]
        chosen = {end.of: scores for end in maps if (scores := self._chosen_from(end.of)) is not None}
        claims += [self._claim(self.slider.forms[name], name) for name in set(chosen.values()) - {e.of for e in maps}]
        report = SlidingReport(
            inputs=[self._input(name, image) for name, image in self.images.items() if image.free],
            outputs=[self._output(end) for end in self.ends],
            pools=pool_reports(self.slider),
            padded=any(claim.padded for claim in claims),
        )
        return report, Claims(
            inputs={name: image.shape for name, image in self.images.items()},
            axes={name: image.dims for name, image in self.images.items()},
            maps=tuple(claims),
            pooled=tuple((end.output, end.form.name, end.kind) for end in self.ends if end.kind in ("mean", "max")),
            cams=tuple(end.cam for end in self.ends if end.cam is not None),
            upsampled=tuple((end.output, end.form.name, end.upsampled) for end in maps if end.upsampled),
            sizes=self.runs,
            chosen=chosen,
            counted=frozenset(self.slider.counted),
            held={
                held: (form.name, layout)
                for value, form in self.forms.items()
                if value in self.original
                for held, layout in [self._held(value, form)]
                if (held, layout) != (form.name, identity(form.rank))
            },
        )

    def _input(self, name: str, image: Image) -> SlidingInput:
        runs = [self.runs[name][axis] for axis in image.dims]
        return SlidingInput(
            input=name,
            dims=list(image.dims.values()),
            sizes=list(image.sizes.values()),
            minimum=[each.minimum for each in runs],
            step=[each.step for each in runs],
            remainders=[list(each.remainders) for each in runs],
        )

    def _output(self, end: End) -> SlidingOutput:
        spatial = range(SPACE, end.form.rank) if end.kind in ("map", "cam") else ()
        axes = [self.axis(end.form, axis, end.shifts.get(axis, 0)) for axis in spatial]
        return SlidingOutput(
            output=end.output,
            of=end.of,
            kind=end.kind,
            shape=["N" if axis == BATCH else size for axis, size in enumerate(end.shape)],
            axes=[axis for axis in axes if axis is not None],
            upsampled=bool(end.upsampled),
        )

    def axis(self, form: Form, axis: int, shift: int = 0) -> AxisGeometry | None:
        """Describe a map along one axis, for the first input that it reads; return None where it reads no input.

        The cells of the training size lie around the image's middle; `shift` are cut off in front (negative: added).
        """
        for name, window in self._reading(form.name, axis):
            runs, size = self.runs[name][axis], self.images[name].sizes[axis]
            slides = axis in form.free and not window.stretched
            return AxisGeometry(
                input=name,
                dim=self.images[name].dims[axis],
                size=size,
                minimum=runs.minimum,
                step=runs.step,
                remainders=list(runs.remainders),
                stride=float(window.stride) if slides else None,
                period=window.period if slides else None,
                offset=float(window.offset) if slides and window.field is not None else None,
                field=None if window.field is None or not slides else float(window.field),
                center=float(middle(form, axis, size, window.stride, shift)) if slides else None,
            )
        return None

    def _reading(self, name: str, axis: int) -> list[tuple[str, Window]]:
        """Return the inputs that grow along an axis and that a map reads, each with the map's windows on it."""
        return [(image, found[name]) for image, found in self.windows.get(axis, {}).items() if name in found]

    def _chosen_from(self, name: str) -> str | None:
        """Return the map of scores from which an output chooses the best class; None where it does otherwise."""
        graph = self.slider.graph
        node = graph.made_by(name)
        while node is not None and op(node) in (*LAID_OUT, *_CHOICES):
            name = node.input[0]
            if op(node) in _CHOICES:
                return name if name in self.forms and self.original.get(name) == (name, None) else None
            node = graph.made_by(name)
        return None

    def _claim(self, form: Form, original: str) -> MapClaim:
        windowed = tuple(axis for axis in sorted(form.free) if form.sizes[axis] == 1)
        axes = sorted(self.windows) if form.free else []  # with those that are pooled to one cell for the whole image
        placed = {axis: [each for _, each in self._reading(form.name, axis) if not each.stretched] for axis in axes}
        known = {axis: found[0] for axis, found in placed.items() if found}
        cut = self._cut(form.name, windowed)
        features = [self._feature(name, form.name, windowed, original) for name in cut]
        followed = [feature for feature in features if feature is not None]
        return MapClaim(
            name=form.name,
            original=original,
            layout=form.layout,
            sizes=form.sizes,
            windowed=windowed,
            periods={axis: window.period for axis, window in known.items()},
            every={axis: window.every for axis, window in known.items()},
            features=tuple(followed) if windowed and len(followed) == len(cut) else (),
            padded=self._padded(form.name, axes),
            dense=bool(self.slider.apart),
            parts=form.order.shape if form.parts is not None else (),
        )

    def _cut(self, name: str, axes: Sequence[int]) -> list[str]:
        """Return the maps from which the original is followed.

        They are the images, or the one map after the last padding. Where several of these meet in the backbone, they
        are the last maps of several cells.
        """
        found = self._back(name, axes, lambda _: False)
        if len(found) == 1 or set(found) <= self.entries:
            return found
        return self._back(name, axes, lambda sizes: any(sizes[axis] != 1 for axis in axes))

    def _back(self, name: str, axes: Sequence[int], ends: Callable[[Shape], bool]) -> list[str]:
        """Return the maps at which a walk back from a map ends: at padding, at images, or where `ends` says so."""
        todo, seen, found = [name], set(), []
        while todo:
            each = todo.pop()
            if each in seen:
                continue
            seen.add(each)
            own, read = self.sizes.get(each), self._read(each, axes)
            if read is None or (own is not None and each in self.named and ends(own)):
                found.append(each)
            else:
                todo += read
        return found

    def _read(self, name: str, axes: Sequence[int]) -> list[str] | None:
        """Return the maps that a map is made of; None for an image, or if it or a step between reads padding or all."""
        if name in self.entries:
            return None
        steps = [self.made.get(axis, {}).get(name) for axis in axes]
        if name not in self.sizes and not any(steps):
            return []  # it comes from no image
        grows = any(self._reading(name, axis) for axis in axes)
        if grows and any(step is None or step.cuts for step in steps):
            return None
        found: list[str] = []
        for each in dict.fromkeys(read for step in steps if step is not None for read in step.read):
            behind = [each] if each in self.sizes else self._read(each, axes)
            if behind is None:
                return None
            found += behind
        return found

    def _feature(self, name: str, output: str, axes: Sequence[int], of: str) -> Feature | None:
        """Return a map as a feature: its first value through which alone `of` reads an image, or else its first."""
        steps: dict[int, int] = {}
        for axis in axes:
            pair = next((found for found in self.windows[axis].values() if {name, output} <= found.keys()), None)
            if pair is None and not self._reading(name, axis):
                continue  # of an image of one size: it is read as it is
            if pair is None:
                return None
            step = pair[output].stride / pair[name].stride
            if step.denominator != 1 or step < 1:
                return None
            if not pair[name].single:  # one cell is read as it is
                steps[axis] = int(step)
        holes = {axis: int(self.slider.apart.get(axis, {}).get(name, 1)) for axis in axes}
        there = {v: form for v, form in self.forms.items() if form.name == name and v in self.original}
        values = []
        for v, form in there.items():
            sizes = tuple((size - 1) // holes.get(axis, 1) + 1 for axis, size in enumerate(form.sizes))
            held, layout = self._held(v, form)
            values.append((v, Feature(name, held, layout, sizes, steps, holes)))
        found = next((each for v, each in values if not self._reads_image(of, v)), None)
        return found or next((each for _, each in values), None)

    def _held(self, value: str, form: Form) -> tuple[str, Layout]:
        """Return the original's value that a value of the converted model is, and its layout over the map."""
        held, dims = self.original[value]
        return held, form.layout if dims is None else tuple(tuple(a for i in d for a in form.layout[i]) for d in dims)

    def _reads_image(self, output: str, value: str) -> bool:
        """Return whether an output reads an image, and not its shape alone, other than through a value."""
        graph = self.slider.graph
        todo, seen = [output], {value}
        while todo:
            name = todo.pop()
            node = graph.made_by(name)
            if name in seen:
                continue
            seen.add(name)
            if name in self.images:
                return True
            if node is not None and not (op(node) in ("Shape", "Size") and node.input[0] in self.images):
                todo += reads([node])
        return False

    def _padded(self, name: str, axes: Sequence[int]) -> bool:
        """Return whether any step from an image that grows to a map reads padding, or the whole image."""
        every = ((axis, step) for axis in axes for step in on_the_way(self.slider.steps.get(axis, ()), [name]))
        return any(step.pads and self._reading(step.made, axis) for axis, step in every)


def pool_reports(slider: Slider) -> list[SlidingPool]:
    """Report the pooling over whole maps, with what became of it."""
    return [
        SlidingPool(node=name, op_type=pool.node.op_type, action=pool.action, kernel_shape=[*pool.kernel])
        for pool in slider.pools
        for name in [pool.node.name or pool.made]
    ]


def placed_beside(
    plain: SlidingReport,
    made: SlidingReport,
    ends: Sequence[End],
    options: SlidingOptions,
    axes: Mapping[str, Mapping[int, int]],
) -> tuple[SlidingReport, tuple[Placement, ...]]:
    """Relate the maps of a model to those of the plain one; `axes` are the dimensions that grow, by axis.

    Return the report with the number of cells from one of the plain network's to the next, and the claims.
    """
    at = {(name, dim): axis for name, dims in axes.items() for axis, dim in dims.items()}
    known = {output.output: output for output in plain.outputs}
    outputs, placements = list[SlidingOutput](), list[Placement]()
    for end, now in zip(ends, made.outputs, strict=True):
        before = known.get(end.output)
        if before is None or end.kind not in ("map", "cam"):
            outputs.append(now)
            continue
        pairs = {at[other.input, other.dim]: (one, other) for one, other in zip(before.axes, now.axes, strict=True)}
        cells = {axis: _cells(*pair, end, axis, options) for axis, pair in pairs.items() if pair[1].stride}
        every = {axis: each.stride // each.made for axis, each in cells.items()}
        described = [msgspec.structs.replace(each, every=every.get(axis, 1)) for axis, (_, each) in pairs.items()]
        outputs.append(msgspec.structs.replace(now, axes=described))
        placements.append(Placement(end.form.name, end.output, end.output, cells, bool(end.upsampled)))
    return msgspec.structs.replace(made, outputs=outputs), tuple(placements)


def _cells(plain: AxisGeometry, made: AxisGeometry, end: End, axis: int, options: SlidingOptions) -> Cells:
    assert plain.stride is not None
    assert made.stride is not None
    assert made.center is not None
    assert plain.center is not None
    shift = round((made.center - plain.center) / made.stride)
    covers = options.padding == "same" and end.kind == "map" and end.form.sizes[axis] == 1
    return Cells(made.input, made.dim, round(plain.stride), round(made.stride), shift, made.center, covers)
