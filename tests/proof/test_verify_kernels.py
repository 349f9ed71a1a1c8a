"""Weights against kernels, in slabs and over maps."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fc2conv.proof import kernels
from fc2conv.proof.ids import Array, constants, ordered, salt, unordered


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
    assert kernels.compare(weight, kernel, order, None) is None
    wrong = kernel.copy()
    wrong[66, 7] = np.nextafter(wrong[66, 7], np.float32(9))
    unlike = kernels.compare(weight, wrong, order, None)
    assert unlike is not None
    assert (unlike.output, unlike.column, unlike.found, unlike.wanted) == (66, 7, wrong[66, 7], kernel[66, 7])


def test_a_scale_is_rounded_once(arrays: tuple[Array, Array, Array]) -> None:
    weight, order, kernel = arrays
    scale = np.linspace(0.1, 3, 70)
    scaled = (kernel.astype(np.float64) * scale[:, None]).astype(np.float32)
    assert kernels.compare(weight, scaled, order, scale) is None
    assert kernels.compare(weight, kernel * scale.astype(np.float32)[:, None], order, scale) is not None


def test_signs_of_zero_do_not_matter_and_bits_of_nan_do() -> None:
    order = np.arange(2)
    assert kernels.compare(np.float32([[0.0, 1]]), np.float32([[-0.0, 1]]), order, None) is None
    nan = np.float32([[np.nan, 1]])
    assert kernels.compare(nan, nan.copy(), order, None) is None
    assert kernels.compare(nan, np.float32([[0, 1]]), order, None) is not None


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
