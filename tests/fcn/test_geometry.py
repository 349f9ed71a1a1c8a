"""Strides, periods, fields and sizes that run as plain arithmetic, against counting and against onnxruntime."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from execute import run
from textmodel import parse

from fc2conv.fcn.geometry import Step, cells, sizes, windows
from fc2conv.verification.spec import Sizes


def conv(made: str, read: str, kernel: int, stride: int = 1, pad: int = 0, dilation: int = 1) -> Step:
    return Step(made, (read,), (kernel - 1) * dilation + 1, stride, pad, pad)


def twice(made: str, read: str) -> Step:
    """Twice as many cells, linear: between two cells each."""
    return Step(made, (read,), factor=Fraction(2), taps=((-1, 0), (0, 1)))


CHAINS = {
    "two convolutions": [conv("a", "x", 3), conv("b", "a", 3)],
    "strides": [conv("a", "x", 7, 2, 3), conv("b", "a", 3, 2, 1), conv("c", "b", 5, 1)],
    "dilated": [conv("a", "x", 3, 1, 0, 4), conv("b", "a", 2, 3)],
    "residual": [conv("a", "x", 3, 2, 1), conv("b", "x", 1, 2), Step("c", ("a", "b")), conv("d", "c", 4)],
    "ceil": [Step("a", ("x",), 3, 2, rounds_up=True), conv("b", "a", 6)],
    "cut off": [Step("a", ("x",), before=-3, after=-2), conv("b", "a", 2, 2)],
    "up": [conv("a", "x", 3, 2, 1), twice("b", "a"), Step("c", ("x", "b")), conv("d", "c", 5, 1)],
    "up and down": [conv("a", "x", 3, 2, 1), twice("b", "a"), conv("c", "b", 3, 4)],
    "two thirds": [Step("a", ("x",), factor=Fraction(2, 3), taps=((0, 1), (1, 2))), conv("b", "a", 4, 5)],
}


def counted(steps: list[Step], size: int) -> int:
    """How many cells the last value has; 0 where it cannot be computed."""
    return int(cells(steps, {"x": np.array([size])})[steps[-1].made][0])


@pytest.mark.parametrize("name", CHAINS)
def test_the_sizes_that_run_are_those_that_count(name: str) -> None:
    steps = CHAINS[name]
    training = next(n for n in range(40, 80) if counted(steps, n))
    found = sizes(steps, {"x": training}, "x", [steps[-1].made])
    assert [n for n in range(1, 200) if found.runs(n)] == [n for n in range(1, 200) if counted(steps, n)]


@pytest.mark.parametrize("name", [name for name in CHAINS if name != "ceil"])
def test_a_window_is_what_a_cell_reads(name: str) -> None:
    """The cells that see a pixel are those whose windows hold it, and they repeat after a period."""
    steps, size = CHAINS[name], 60
    last = steps[-1].made
    window = windows(steps, "x")[last]
    assert window.field is not None
    assert window.period == window.stride * window.every
    for i, pixels in enumerate(reads(steps, size)[last]):
        periods, place = divmod(i, window.every)
        first, end = (each[place] + periods * window.period for each in (window.first, window.last))
        assert min(pixels) == max(0, first)
        assert max(pixels) == min(size - 1, end)
        assert window.offset + window.stride * i <= first
        assert end < window.offset + window.stride * i + window.field


def reads(steps: list[Step], size: int) -> dict[str, list[set[int]]]:
    """The pixels behind every cell of every value, by following each cell on its own."""
    found = {"x": [{i} for i in range(size)]}
    for n, step in enumerate(steps):
        up, down = step.factor.numerator, step.factor.denominator
        out: list[set[int]] = []
        for i in range(counted(steps[: n + 1], size)):
            first, last = (-step.before, step.extent - 1 - step.before) if not step.taps else step.taps[i % up]
            base = i // up * down * step.stride
            places = range(base + first, base + last + 1)
            out.append(
                set().union(*(found[each][at] for each in step.read for at in places if inside(found[each], at)))
            )
        found[step.made] = out
    return found


def inside(values: list[set[int]], at: int) -> bool:
    return 0 <= at < len(values)


def test_what_reads_everything_has_no_field() -> None:
    steps = [conv("a", "x", 3), Step("b", ("a",), everywhere=True), Step("c", ("a", "b"))]
    found = windows(steps, "x")["c"]
    assert (found.stride, found.period, found.field) == (1, 1, None)
    assert sizes(steps, {"x": 20}, "x", ["c"]) == Sizes(3)


def test_a_backbone_that_upsamples_moves_by_its_period() -> None:
    steps = [conv("a", "x", 2, 2), twice("b", "a"), Step("c", ("b", "x")), conv("d", "c", 3)]
    found = windows(steps, "x")["d"]
    assert (found.stride, found.period, found.every) == (1, 2, 2)
    assert sizes(steps, {"x": 10}, "x", ["d"]) == Sizes(4, 2, (0,))


def test_sizes_of_two_branches_that_agree_now_and_then() -> None:
    steps = [conv("a", "x", 3, 3, 1), conv("b", "x", 1, 3), Step("c", ("a", "b"))]
    assert sizes(steps, {"x": 12}, "x", ["c"]) == Sizes(1, 1, (0,))
    steps = [conv("a", "x", 3, 3), conv("b", "x", 1, 3), Step("c", ("a", "b"))]
    assert sizes(steps, {"x": 12}, "x", ["c"]) == Sizes(3, 3, (0,))


def test_average_windows_of_ceil_mode_agree_with_onnxruntime() -> None:
    for kernel, stride, pad in ((3, 2, 0), (2, 2, 0), (3, 2, 1), (2, 3, 1)):
        model = parse(
            f"""g (float[1,1,L] x) => (float[1,1,M] y) {{ y = MaxPool
            <kernel_shape = [{kernel}], strides = [{stride}], pads = [{pad}, {pad}], ceil_mode = 1> (x) }}"""
        )
        step = Step("y", ("x",), kernel, stride, pad, pad, rounds_up=True)
        for size in range(kernel, 14):
            (found,) = run(model, {"x": np.zeros((1, 1, size), np.float32)})
            assert step.cells(np.array([size]))[0] == found.shape[2], (kernel, stride, pad, size)
