"""Strides, fields and least sizes as plain arithmetic, held against counting."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from fc2conv.fcn.geometry import Step, Window, cells, least, windows


def conv(made: str, read: str, kernel: int, stride: int = 1, pad: int = 0, dilation: int = 1) -> Step:
    return Step(made, (read,), (kernel - 1) * dilation + 1, stride, pad, pad)


CHAINS = {
    "two convolutions": [conv("a", "x", 3), conv("b", "a", 3)],
    "strides": [conv("a", "x", 7, 2, 3), conv("b", "a", 3, 2, 1), conv("c", "b", 5, 1)],
    "dilated": [conv("a", "x", 3, 1, 0, 4), conv("b", "a", 2, 3)],
    "residual": [conv("a", "x", 3, 2, 1), conv("b", "x", 1, 2), Step("c", ("a", "b")), conv("d", "c", 4)],
    "ceil": [Step("a", ("x",), 3, 2, rounds_up=True), conv("b", "a", 6)],
    "cut off": [Step("a", ("x",), before=-3, after=-2), conv("b", "a", 2, 2)],
}


@pytest.mark.parametrize("name", CHAINS)
def test_the_least_image_is_the_least_that_counts(name: str) -> None:
    steps = CHAINS[name]
    last = steps[-1].made
    counted = next(n for n in range(1, 500) if min(cells(steps, {"x": n}).values()) >= 1)
    assert least(steps, {last: 1})["x"] == counted


@pytest.mark.parametrize("name", [name for name in CHAINS if name != "ceil"])
def test_a_window_is_what_a_cell_reads(name: str) -> None:
    """One pixel is changed at a time: the cells that see it are those whose windows hold it."""
    steps, size = CHAINS[name], 60
    last = steps[-1].made
    window = windows(steps, "x")[last]
    assert window.field is not None
    seen = reads(steps, size)[last]
    for i, pixels in enumerate(seen):
        first = window.first + window.stride * i
        assert min(pixels) == max(0, first)
        assert max(pixels) == min(size, first + window.field) - 1


def reads(steps: list[Step], size: int) -> dict[str, list[set[int]]]:
    """The pixels behind every cell of every value, by following each cell on its own."""
    found = {"x": [{i} for i in range(size)]}
    counts = cells(steps, {"x": size})
    for step in steps:
        out = []
        for i in range(counts[step.made]):
            held: set[int] = set()
            for name in step.read:
                for j in range(step.extent):
                    at = i * step.stride - step.before + j
                    if 0 <= at < len(found[name]):
                        held |= found[name][at]
            out.append(held)
        found[step.made] = out
    return found


def test_what_reads_everything_has_no_field() -> None:
    steps = [conv("a", "x", 3), Step("b", ("a",), everywhere=True), Step("c", ("a", "b"))]
    found = windows(steps, "x")
    assert found["c"] == Window(Fraction(1), Fraction(0), None)
    assert least(steps, {"c": 1})["x"] == 3


def test_upsampling_makes_strides_smaller() -> None:
    steps = [conv("a", "x", 2, 2), Step("b", ("a",), factor=Fraction(2)), conv("c", "b", 3)]
    found = windows(steps, "x")["c"]
    assert found.stride == 1
    assert cells(steps, {"x": 10})["c"] == 8
    assert least(steps, {"c": 1})["x"] == 4


def test_average_windows_of_ceil_mode_agree_with_onnxruntime() -> None:
    from execute import run
    from textmodel import parse

    for kernel, stride, pad in ((3, 2, 0), (2, 2, 0), (3, 2, 1), (2, 3, 1)):
        model = parse(
            f"""g (float[1,1,L] x) => (float[1,1,M] y) {{ y = MaxPool
            <kernel_shape = [{kernel}], strides = [{stride}], pads = [{pad}, {pad}], ceil_mode = 1> (x) }}"""
        )
        step = Step("y", ("x",), kernel, stride, pad, pad, rounds_up=True)
        for size in range(kernel, 14):
            (found,) = run(model, {"x": np.zeros((1, 1, size), np.float32)})
            assert step.cells(size) == found.shape[2], (kernel, stride, pad, size)
