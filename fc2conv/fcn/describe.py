"""What a sliding graph is told to be: the geometry of each output for the report and the file, and claims to prove."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from fc2conv.fcn.forms import BATCH, SPACE, Form, Layout
from fc2conv.fcn.geometry import Window, least, windows
from fc2conv.fcn.outputs import End
from fc2conv.fcn.slider import Slider
from fc2conv.fcn.training import Shape
from fc2conv.report.sliding import AxisGeometry, SlidingInput, SlidingOutput
from fc2conv.verification.spec import CamClaim, Claims, Feature, MapClaim


@dataclass(frozen=True)
class Telling:
    """What the pass has found out, for the report, for `metadata_props` and for the proof."""

    inputs: list[SlidingInput]
    outputs: list[SlidingOutput]
    metadata: dict[str, str]
    padded: bool
    claims: Claims


class Teller:
    """Windows and least sizes of all ends, each computed once along every axis."""

    def __init__(
        self,
        slider: Slider,
        ends: Sequence[End],
        layouts: Mapping[str, Layout],
        free: Mapping[str, frozenset[int]],
        original: frozenset[str],
    ) -> None:
        self.slider, self.ends, self.layouts, self.free = slider, ends, layouts, free
        self.original = original
        self.windows: dict[tuple[str, int], dict[str, Window]] = {
            (name, axis): windows(slider.steps.get(axis, ()), name) for name in layouts for axis in free[name]
        }
        self.sizes = {form.name: form.sizes for form in slider.forms.values()}
        self.made = {axis: {step.made: step for step in steps} for axis, steps in slider.steps.items()}

    def tell(self) -> Telling:
        """All of it."""
        maps = [end for end in self.ends if end.kind == "map"]
        told = [self._output(end) for end in self.ends]
        claims = tuple(self._claim(end) for end in maps)
        return Telling(
            inputs=[self._input(name) for name in self.layouts if self.free[name]],
            outputs=told,
            metadata={each.output: metadata(each) for each in told},
            padded=any(claim.padded for claim in claims),
            claims=Claims(
                inputs={name: self._training(name) for name in self.layouts},
                axes={
                    name: {axes[0]: dim for dim, axes in enumerate(layout) if axes[0] in self.free[name]}
                    for name, layout in self.layouts.items()
                },
                maps=claims,
                pooled=tuple((end.output, end.form.name, end.kind) for end in self.ends if end.kind in ("mean", "max")),
                cams=tuple(
                    CamClaim(end.output, end.scores, end.kernel)
                    for end in self.ends
                    if end.kind == "cam" and end.kernel
                ),
                upsampled=tuple((end.output, end.form.name, end.upsampled) for end in maps if end.upsampled),
            ),
        )

    def _training(self, name: str) -> tuple[int, ...]:
        return self.slider.shapes[name]

    # ------------------------------------------------------------------ geometry

    def _input(self, name: str) -> SlidingInput:
        dims = {axes[0]: dim for dim, axes in enumerate(self.layouts[name]) if axes[0] in self.free[name]}
        minimum = []
        for axis in dims:
            wanted = {end.form.name: 1 for end in self.ends}
            minimum.append(least(self.slider.steps.get(axis, ()), wanted).get(name, 1))
        shape = self._training(name)
        return SlidingInput(
            input=name, dims=list(dims.values()), sizes=[shape[dim] for dim in dims.values()], minimum=minimum
        )

    def _output(self, end: End) -> SlidingOutput:
        grown = end.kind in ("map", "cam")
        axes = [self._axis(end.form, axis) for axis in range(SPACE, end.form.rank)] if grown else []
        return SlidingOutput(
            output=end.output,
            of=end.of,
            kind=end.kind,
            shape=["N" if axis == BATCH else size for axis, size in enumerate(end.shape)],
            axes=[axis for axis in axes if axis is not None],
            upsampled=bool(end.upsampled),
        )

    def _axis(self, form: Form, axis: int) -> AxisGeometry | None:
        """Along one axis, for the first input that the map reads."""
        for (name, each), found in self.windows.items():
            if each != axis or form.name not in found:
                continue
            window, dim = found[form.name], self.layouts[name].index((axis,))
            slides = axis in form.free
            return AxisGeometry(
                input=name,
                dim=dim,
                size=self._training(name)[dim],
                minimum=least(self.slider.steps.get(axis, ()), {form.name: 1}).get(name, 1),
                stride=float(window.stride) if slides else None,
                offset=float(window.first) if slides and window.field is not None else None,
                field=None if window.field is None or not slides else float(window.field),
            )
        return None

    # ------------------------------------------------------------------ claims

    def _claim(self, end: End) -> MapClaim:
        form = replace(self.slider.forms[end.of], name=end.form.name)
        windowed = tuple(axis for axis in sorted(form.free) if form.sizes[axis] == 1)
        strides: dict[int, int] = {}
        for axis in sorted(form.free):
            geometry = self._axis(form, axis)
            if geometry is not None and geometry.stride is not None:
                strides[axis] = max(1, round(geometry.stride))
        cut = self._cut(form.name, windowed)
        features = [self._feature(name, form.name, windowed) for name in cut]
        known = [feature for feature in features if feature is not None]
        return MapClaim(
            name=form.name,
            original=end.of,
            layout=form.layout,
            sizes=form.sizes,
            windowed=windowed,
            strides=strides,
            features=tuple(known) if windowed and len(known) == len(cut) else (),
            padded=self._padded(form.name, sorted(form.free)),
        )

    def _cut(self, name: str, axes: Sequence[int]) -> list[str]:
        """The maps from which the original is followed.

        They are the images, or the one map behind the last padding; where several such maps meet in the backbone, the
        last maps of several cells.
        """
        found = self._back(name, axes, lambda _: False)
        entries = {self.slider.forms[image].name for image in self.layouts}
        if len(found) == 1 or set(found) <= entries:
            return found
        return self._back(name, axes, lambda sizes: any(sizes[axis] != 1 for axis in axes))

    def _back(self, name: str, axes: Sequence[int], ends: Callable[[Shape], bool]) -> list[str]:
        """The maps that a walk back from a map comes to: at padding, at the images, or where the sizes end it."""
        todo, seen, found = [name], set(), []
        while todo:
            each = todo.pop()
            if each in seen:
                continue
            seen.add(each)
            steps = [self.made.get(axis, {}).get(each) for axis in axes]
            read = [name for step in steps if step is not None for name in step.read]
            whole = any(step is None or step.pads for step in steps) or not all(name in self.sizes for name in read)
            if whole or ends(self.sizes[each]):
                found.append(each)
            else:
                todo += read
        return found

    def _feature(self, name: str, output: str, axes: Sequence[int]) -> Feature | None:
        steps: dict[int, int] = {}
        for axis in axes:
            pair = next(
                (f for (_, each), f in self.windows.items() if each == axis and name in f and output in f), None
            )
            if pair is None:
                return None
            step = pair[output].stride / pair[name].stride
            if step.denominator != 1 or step < 1:
                return None
            steps[axis] = int(step)
        for value, form in self.slider.forms.items():
            if form.name == name and value in self.original:
                return Feature(name, value, form.layout, form.sizes, steps)
        return None

    def _padded(self, name: str, axes: Sequence[int]) -> bool:
        """Whether anything on the way from an image to a map reads padding, or the whole image."""
        for axis in axes:
            todo, seen = [name], set()
            while todo:
                step = self.made.get(axis, {}).get(todo.pop())
                if step is None or step.made in seen:
                    continue
                seen.add(step.made)
                if step.pads:
                    return True
                todo += step.read
        return False


def metadata(output: SlidingOutput) -> str:
    """What `metadata_props` says of an output: its kind and its axes, as one line of JSON with sorted keys."""
    axes = [
        {
            "dim": axis.dim,
            "field": axis.field,
            "input": axis.input,
            "minimum": axis.minimum,
            "offset": axis.offset,
            "size": axis.size,
            "stride": axis.stride,
        }
        for axis in output.axes
    ]
    told = {"axes": axes, "kind": output.kind, "of": output.of, "upsampled": output.upsampled}
    return json.dumps(told, sort_keys=True, separators=(",", ":"))
