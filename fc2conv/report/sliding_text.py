"""What the text report says of a network that was made fully convolutional."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from fc2conv.report.sliding import AxisGeometry, CropGap, SlidingInput, SlidingOutput, SlidingReport
from fc2conv.report.terminal import BLANK, Line, Look, Part, Table, columns, fitted, grid, sizes, styled

ALREADY = "Fully convolutional: already. Its images may have any size, and no fully connected layer is left."
_ORDINALS = {2: "nd", 3: "rd"}
_POOLED = {
    "slide": "slides with a window of {kernel}",
    "keep": "keeps its one answer for the whole image",
    "within": "is inside the backbone and reads the whole image",
}


def sliding_parts(report: SlidingReport, look: Look) -> list[Part]:
    """Draw the parts below the layers: the sizes of the images, the positions of the maps, the obstacles."""
    if report.obstacles:
        return [styled("Fully convolutional: no, because of"), *_obstacles(report)]
    if report.already:
        return [styled(ALREADY)]
    runs = ", ".join(f"{i.input} of {sizes_that_run(i)} (trained on {sizes(i.sizes)})" for i in report.inputs)
    parts: list[Part] = [styled(f"Fully convolutional: {runs}"), _outputs(report.outputs, look)]
    for pool in report.pools:
        said = _POOLED[pool.action].format(kernel=sizes(pool.kernel_shape))
        parts.append(styled(f"  {pool.node} ({pool.op_type}) {said}"))
    parts += [styled(f"  {said}") for said in cells_between(report)]
    if report.crops:
        why = "crops are padded where the larger image has pixels" if report.padded else "nothing is padded"
        parts += [BLANK, styled(f"Each cell against the original on that crop ({why}):"), _crops(report.crops)]
        if look.verbose:
            parts += [styled(line) for gap in report.crops for line in _map(gap)]
    return parts


def cells_between(report: SlidingReport) -> list[str]:
    """Say how --output-stride makes the cells between those of the network as it is, one line for each output."""
    lines = []
    for output in report.outputs:
        every = [axis.every for axis in output.axes]
        if max(every, default=1) > 1:
            which = sizes(every) if len(set(every)) > 1 else f"{every[0]}{_ORDINALS.get(every[0], 'th')}"
            others = "the others are the original on no crop: something pads, or reads the whole image"
            said = others if report.padded else "and all are the original on their crops: nothing pads"
            lines.append(f"{output.output}: every {which} cell is one of the network as it is; {said}")
    return lines


def sizes_that_run(given: SlidingInput, by: str = "x") -> str:
    """Write `17x17 and more`, or with `, multiples of 8` or `, of the form 8n + 1`, by axis where they differ."""
    forms = [_form(*each) for each in zip(given.step, given.remainders, strict=True)]
    said = forms[:1] if len(set(forms)) == 1 else [form or "any" for form in forms]
    return ", ".join([f"{by.join(map(str, given.minimum))} and more", f" {by.strip()} ".join(said)]).removesuffix(", ")


def _form(step: int, remainders: Sequence[int]) -> str:
    if step == 1:
        return ""
    if list(remainders) == [0]:
        return f"multiples of {step}"
    return "of the form " + " or ".join(f"{step}n + {rest}" if rest else f"{step}n" for rest in remainders)


def _outputs(outputs: Sequence[SlidingOutput], look: Look) -> Table:
    heads = ("  output", "is", "shape", *(name for name, _ in ALONG))
    rows = []
    for each in outputs:
        shape = ", ".join(str(size).removeprefix(f"{each.output}_") for size in each.shape)
        rows.append((f"  {each.output}", described(each), f"[{shape}]", *(along(each.axes, key) for _, key in ALONG)))
    shown = [list(map(Line, row)) for row in fitted(rows, look, folds=2, heads=heads)]
    return Table(columns(heads, whole=["is"]), shown)


def described(output: SlidingOutput, name: Callable[[str], str] = str) -> str:
    """Write what a map shows, as `map` or `mean of logits, upsampled`; `name` formats the name in it."""
    kind = output.kind if output.of == output.output else f"{output.kind} of {name(output.of)}"
    return f"{kind}, upsampled" if output.upsampled else kind


ALONG: tuple[tuple[str, Callable[[AxisGeometry], float | None]], ...] = (
    ("stride", lambda axis: axis.stride),
    ("period", lambda axis: axis.period),
    ("offset", lambda axis: axis.offset),
    ("field", lambda axis: axis.field),
)
"""The properties of a map that are reported for each axis."""


def along(axes: Sequence[AxisGeometry], key: Callable[[AxisGeometry], float | None]) -> str:
    """Write a number for each axis, or only one where all are equal."""
    values = ["-" if (value := key(axis)) is None else f"{value:g}" for axis in axes]
    return values[0] if len(set(values)) == 1 else ", ".join(values)


def _obstacles(report: SlidingReport) -> list[Table]:
    rows: list[tuple[Line, Line]] = []
    codes: set[str] = set()
    for each in report.obstacles:
        detail = f": {each.detail}" if each.detail else ""
        rows.append((styled(f"  {each.code}"), styled(f"at {each.node}{detail}")))
        if each.code not in codes:
            codes.add(each.code)
            rows += [(BLANK, styled(each.meaning)), (BLANK, styled(each.remedy))]
    return grid(rows)


def _crops(crops: Sequence[CropGap]) -> Table:
    rows = []
    for gap in crops:
        numbers = (f"{number:.3g}" for number in (gap.max, gap.mean, gap.reference))
        rows.append([styled(f"  {gap.output}"), Line(sizes(gap.size)), *map(Line, numbers)])
    return Table(columns(["  output", "image"], ["largest gap", "mean gap", "largest value"]), rows)


def _map(gap: CropGap) -> list[str]:
    """Write the largest gap of each cell."""
    return [f"  {gap.output}:", *("    " + "  ".join(f"{value:8.3g}" for value in row) for row in gap.rows)]
