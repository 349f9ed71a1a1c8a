"""Weights against kernels, in slabs and over maps."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fc2conv.proof import kernels
from fc2conv.proof.ids import Array, constants, ordered, salt, unordered
from fc2conv.proof.kernels import Unlike


@pytest.fixture
def arrays(monkeypatch: pytest.MonkeyPatch) -> tuple[Array, Array, Array]:
    """A weight [M, K], an order, and the kernel that is right; in many slabs."""
    monkeypatch.setattr(kernels, "SLAB_BYTES", 4096)
    rng = np.random.default_rng(0)
    weight = rng.standard_normal((70, 130)).astype(np.float32)
    order = rng.permutation(130)
    return weight, order, weight[:, order]


def mapped(array: Array, path: Path) -> Array:
    array.tofile(path)
    return np.asarray(np.memmap(path, array.dtype, "r", 0, array.shape))


def compare(weight: Array, kernel: Array, order: Array, scale: Array | None = None) -> Unlike | None:
    """One kernel, and no element of the input that is read twice."""
    return kernels.compare(weight, [kernel], order, scale, np.arange(len(order)))


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("on_disk", [False, True])
def test_a_right_kernel_and_one_bit(
    arrays: tuple[Array, Array, Array], tmp_path: Path, transposed: bool, on_disk: bool
) -> None:
    weight, order, kernel = arrays
    if on_disk:
        stored = mapped(np.ascontiguousarray(weight.T) if transposed else weight, tmp_path / "w")
        weight = stored.T if transposed else stored
    elif transposed:
        weight = np.ascontiguousarray(weight.T).T
    assert compare(weight, kernel, order) is None
    wrong = kernel.copy()
    wrong[66, 7] = np.nextafter(wrong[66, 7], np.float32(9))
    unlike = compare(weight, wrong, order)
    assert unlike is not None
    assert (unlike.output, unlike.column, unlike.found, unlike.wanted) == (66, 7, wrong[66, 7], kernel[66, 7])


def test_a_scale_is_rounded_once(arrays: tuple[Array, Array, Array]) -> None:
    weight, order, kernel = arrays
    scale = np.linspace(0.1, 3, 70)
    scaled = (kernel.astype(np.float64) * scale[:, None]).astype(np.float32)
    assert compare(weight, scaled, order, scale) is None
    assert compare(weight, kernel * scale.astype(np.float32)[:, None], order, scale) is not None


@pytest.mark.parametrize("transposed", [False, True])
def test_kernels_side_by_side(arrays: tuple[Array, Array, Array], transposed: bool) -> None:
    weight, order, whole = arrays
    weight = np.ascontiguousarray(weight.T).T if transposed else weight
    parts = [np.ascontiguousarray(part) for part in np.split(whole, [30, 31], axis=1)]
    ties = np.arange(130)
    assert kernels.compare(weight, parts, order, None, ties) is None
    parts[2][69, 4] = 7
    unlike = kernels.compare(weight, parts, order, None, ties)
    assert unlike is not None
    assert (unlike.output, unlike.column, unlike.found, unlike.wanted) == (69, 35, 7, whole[69, 35])
    assert kernels.compare(weight, parts[::-1], order, None, ties) is not None


def test_weights_of_one_element_may_change_places_and_no_other_ones(arrays: tuple[Array, Array, Array]) -> None:
    weight, order, kernel = arrays
    ties = np.arange(130) % 50  # columns 0, 50 and 100 meet one element, 30 and 80 another
    parts = np.split(kernel[:, [100, *range(1, 50), 0, *range(51, 80), 30, *range(81, 100), 50, *range(101, 130)]],
                     [60], axis=1)  # fmt: skip
    parts[0][:, 30] = kernel[:, 80]
    assert kernels.compare(weight, parts, order, None, ties) is None
    parts[0][3, 30] = np.nextafter(parts[0][3, 30], np.float32(9))
    unlike = kernels.compare(weight, parts, order, None, ties)
    assert unlike is not None
    assert (unlike.output, unlike.column % 50) == (3, 30)
    parts = [kernel[:, [1, 0, *range(2, 130)]]]
    assert kernels.compare(weight, parts, order, None, ties) is not None


def test_signs_of_zero_do_not_matter_and_bits_of_nan_do() -> None:
    order = np.arange(2)
    assert compare(np.float32([[0.0, 1]]), np.float32([[-0.0, 1]]), order) is None
    nan = np.float32([[np.nan, 1]])
    assert compare(nan, nan.copy(), order) is None
    assert compare(nan, np.float32([[0, 1]]), order) is not None


def test_the_smallest_numbers_are_compared_as_well() -> None:
    least = np.nextafter(np.float32(0), np.float32(1))
    weight = np.float32([[least, 1]])
    assert compare(weight, weight.copy(), np.arange(2)) is None
    assert compare(weight, np.float32([[0, 1]]), np.arange(2)) is not None


def test_ids_of_constants_are_by_value() -> None:
    wide = np.array([0.0, -0.0, 1.5, np.inf])
    assert np.array_equal(constants(wide), constants(wide.astype(np.float16)))
    assert constants(wide)[0] == constants(wide)[1]
    assert len(set(constants(wide).tolist())) == 3
    assert constants(np.array([1]))[0] != constants(np.array([1.0]))[0]


def test_operands_of_ops_that_commute_and_of_those_that_do_not() -> None:
    a, b = constants(np.arange(6.0).reshape(2, 3)), constants(np.array([7.0]))
    op = salt("op")
    assert np.array_equal(unordered(op, [a, b]), unordered(op, [b, a]))
    assert not np.any(ordered(op, [a, b]) == ordered(op, [b, a]))
    assert not np.any(unordered(op, [a, b]) == unordered(salt("other"), [a, b]))
    assert unordered(op, [a[0, 0], b[0]]).shape == ()
