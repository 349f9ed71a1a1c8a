"""Weights as kernels: the bytes are those of numpy's transpose, whatever the slabs; none are read that need not be."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from itertools import permutations
from math import prod
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from onnx import TensorProto

from fc2conv.io.payload import Buffer, Span
from fc2conv.ir.stored import Matrix, Stored, base_layout
from fc2conv.layers import weights
from fc2conv.layers.weights import Form, Rearranged, kernel, relaid
from fc2conv.layout.axes import Axis, Layout, Size
from fc2conv.layout.relayout import Move

Array = npt.NDArray[np.generic]
Source = Callable[[Array, Path], Span | Buffer]
MATRICES = (Matrix((-2,), (-1,)), Matrix((-1,), (-2,)))
"""A weight [K, M], and one [M, K]."""


def in_memory(array: Array, _: Path) -> Buffer:
    return Buffer(array.tobytes())


def in_a_file(array: Array, folder: Path) -> Span:
    """At an odd offset, between other bytes, as a protobuf file holds it."""
    path = folder / "weights.bin"
    path.write_bytes(b"odd" + array.tobytes() + b"behind")
    return Span(path, 3, array.nbytes)


def random_array(shape: tuple[int, ...], dtype: str = "float32", seed: int = 0) -> Array:
    return np.random.default_rng([seed, *shape]).standard_normal(shape).astype(dtype)


def gathered(payload: Rearranged) -> bytes:
    blocks = [bytes(block) for block in payload.blocks()]
    assert sum(map(len, blocks)) == payload.nbytes
    return b"".join(blocks)


# ------------------------------------------------------------------ slabs


@pytest.mark.parametrize("source", [in_memory, in_a_file])
@pytest.mark.parametrize("slab", [1, 7, 64, 200, 1 << 20])
def test_slabs_make_the_transpose(source: Source, slab: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights, "SLAB", slab)
    for shape in ((6,), (5, 7), (3, 4, 5), (2, 3, 1, 4), (7, 1, 2, 3)):
        for perm in permutations(range(len(shape))):
            array = random_array(shape)
            payload = Rearranged(source(array, tmp_path), array.dtype, shape, perm)
            assert gathered(payload) == array.transpose(perm).tobytes()


@pytest.mark.parametrize("dtype", ["float16", "float64", "int8", "int64"])
def test_every_size_of_element(dtype: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights, "SLAB", 50)
    array = random_array((9, 4, 5), dtype) if dtype.startswith("f") else np.arange(180, dtype=dtype).reshape(9, 4, 5)
    payload = Rearranged(in_a_file(array, tmp_path), array.dtype, array.shape, (2, 0, 1))
    assert gathered(payload) == array.transpose(2, 0, 1).tobytes()


def test_slabs_are_no_larger_than_they_may_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights, "SLAB", 4096)
    array = random_array((64, 100))
    blocks = list(Rearranged(in_a_file(array, tmp_path), array.dtype, array.shape, (1, 0)).blocks())
    assert max(len(block) for block in blocks) <= 4096
    assert len(blocks) > 5


@pytest.mark.parametrize("perm", [(1, 0, 2), (0, 2, 1), (2, 1, 0)])
def test_memory_stays_within_a_few_slabs(
    perm: tuple[int, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(weights, "SLAB", 1 << 16)
    array = random_array((64, 128, 128))  # 4 MiB
    payload = Rearranged(in_a_file(array, tmp_path), array.dtype, array.shape, perm, 0.5)
    tracemalloc.start()
    for block in payload.blocks():
        assert len(block) <= 1 << 16
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 8 * (1 << 16)  # a slab, its scaled copies in float64, and change


def test_a_file_that_became_shorter_is_an_error(tmp_path: Path) -> None:
    array = random_array((4, 5))
    span = in_a_file(array, tmp_path)
    span.path.write_bytes(b"odd")
    with pytest.raises((OSError, ValueError)):
        list(Rearranged(span, array.dtype, array.shape, (1, 0)).blocks())


# ------------------------------------------------------------------ scales


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("alpha", [0.1, -1.5, 1e-3, 0.0, float(np.float32(0.3))])
def test_scales_are_rounded_once(dtype: str, alpha: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights, "SLAB", 64)
    array = random_array((40, 30), dtype)
    payload = Rearranged(in_memory(array, Path()), array.dtype, array.shape, (1, 0), alpha)
    expected = (array.T.astype(np.float64) * alpha).astype(dtype)
    assert gathered(payload) == np.ascontiguousarray(expected).tobytes()


def test_a_product_in_the_type_of_the_weight_would_differ() -> None:
    array = random_array((40, 30), "float16")
    assert ((array.astype(np.float64) * 0.1).astype(np.float16) != array * np.float16(0.1)).any()


# ------------------------------------------------------------------ kernels


def stored(shape: tuple[int, ...], layout: Layout | None = None) -> Stored:
    values = np.zeros(0)
    return Stored(values, shape, base_layout(shape) if layout is None else layout, TensorProto.FLOAT)


def axes(*sizes: int) -> list[Axis]:
    return [Axis("chwd"[i], Size(size)) for i, size in enumerate(sizes)]


def applied(form: Form, array: Array) -> Array:
    """The new form of a stored array, through its payload."""
    data = b"".join(bytes(block) for block in form.payload(Buffer(array.tobytes())).blocks())
    return np.frombuffer(data, array.dtype).reshape(form.shape)


@pytest.mark.parametrize("weight_k", [0, 1])
@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_kernels_of_every_order(weight_k: int, order: tuple[int, ...]) -> None:
    map_axes = axes(4, 3, 2)
    contracted = tuple(map_axes[i] for i in order)
    shape = (24, 5) if weight_k == 0 else (5, 24)
    array = random_array(shape)
    form = kernel(stored(shape), MATRICES[weight_k], contracted, tuple((axis,) for axis in map_axes), 1.0)
    assert form is not None
    by_output = array.T if weight_k == 0 else array
    sizes = [(4, 3, 2)[i] for i in order]
    expected = by_output.reshape(5, *sizes).transpose(0, *(1 + order.index(i) for i in range(3)))
    assert form.shape == (5, 4, 3, 2)
    np.testing.assert_array_equal(applied(form, array), expected)


def test_channels_first_with_transposed_weight_moves_no_byte() -> None:
    c, h, w = axes(512, 7, 7)
    form = kernel(stored((4096, 25088)), MATRICES[1], (c, h, w), ((c,), (h,), (w,)), 1.0)
    assert form is not None
    assert (form.edit_of_dims, form.shape) == (True, (4096, 512, 7, 7))
    source = Buffer(b"")
    assert form.payload(source) is source


@pytest.mark.parametrize(
    ("weight_k", "order", "alpha"), [(0, (0, 1, 2), 1.0), (1, (1, 2, 0), 1.0), (1, (0, 1, 2), 0.5)]
)
def test_everything_else_moves(weight_k: int, order: tuple[int, ...], alpha: float) -> None:
    map_axes = axes(4, 3, 2)
    shape = (24, 5) if weight_k == 0 else (5, 24)
    form = kernel(
        stored(shape), MATRICES[weight_k], tuple(map_axes[i] for i in order), tuple((a,) for a in map_axes), alpha
    )
    assert form is not None
    assert not form.edit_of_dims
    assert isinstance(form.payload(Buffer(b"")), Rearranged)


def test_one_by_one_kernels() -> None:
    (c,) = axes(24)
    form = kernel(stored((5, 24)), MATRICES[1], (c,), ((c,), (), ()), 1.0)
    assert form is not None
    assert (form.edit_of_dims, form.shape) == (True, (5, 24, 1, 1))


def test_a_vector_is_the_kernel_of_one_output() -> None:
    c, h = axes(6, 4)
    array = random_array((24,))
    form = kernel(stored((24,)), Matrix((-1,), ()), (h, c), ((c,), (h,)), 1.0)
    assert form is not None
    np.testing.assert_array_equal(applied(form, array), array.reshape(4, 6).T[None])


def test_a_weight_seen_through_transposes_is_moved_from_where_it_is_stored() -> None:
    """Transpose(w[24, 5]) is [5, 24]; stored it is the other way round."""
    array = random_array((24, 5))
    rows, columns = base_layout((24, 5))
    c, h, w = axes(4, 3, 2)
    form = kernel(stored((24, 5), (columns, rows)), MATRICES[1], (c, h, w), ((c,), (h,), (w,)), 1.0)
    assert form is not None
    np.testing.assert_array_equal(applied(form, array), array.T.reshape(5, 4, 3, 2))


def test_rows_and_outputs_of_several_dimensions() -> None:
    """A weight [D, W, H, E]: the outputs are (e d), and h and w are summed over, h first."""
    array = random_array((4, 3, 2, 5))
    h, w = axes(2, 3)
    form = kernel(stored((4, 3, 2, 5)), Matrix((-2, -3), (-1, -4)), (h, w), ((), (h,), (w,)), 1.0)
    assert form is not None
    np.testing.assert_array_equal(applied(form, array), array.transpose(3, 0, 2, 1).reshape(20, 1, 2, 3))


def test_columns_that_do_not_split_so_make_no_kernel() -> None:
    c, h = axes(6, 4)
    assert kernel(stored((5, 4, 6), (base_layout((5, 4, 6))[0], ())), MATRICES[1], (c, h), ((c,), (h,)), 1.0) is None


# ------------------------------------------------------------------ other constants


def test_a_constant_moves_with_the_axes() -> None:
    c, h, w = axes(4, 3, 2)
    array = random_array((3, 2, 4))
    form = relaid(stored((3, 2, 4)), ((h,), (w,), (c,)), ((), (c,), (h,), (w,)))
    assert form is not None
    np.testing.assert_array_equal(applied(form, array), array.transpose(2, 0, 1)[None])


def test_a_flat_constant_becomes_a_map() -> None:
    c, h, w = axes(4, 3, 2)
    array = random_array((24,))
    form = relaid(stored((24,)), ((h, w, c),), ((), (c,), (h,), (w,)))
    assert form is not None
    np.testing.assert_array_equal(applied(form, array), array.reshape(3, 2, 4).transpose(2, 0, 1)[None])


def test_a_constant_of_other_axes_has_no_form() -> None:
    c, h, w = axes(4, 3, 2)
    assert relaid(stored((4, 3)), ((c,), (h,)), ((c,), (w,))) is None
    assert relaid(stored((4, 3)), ((c,), (h,)), ((c,),)) is None


def test_the_empty_move_is_an_edit_of_dims() -> None:
    form = Form(stored(()), Move((), (), (Size(1), Size(1))))
    assert (form.edit_of_dims, form.shape, prod(form.shape)) == (True, (1, 1), 1)


def test_scaled_scalars_have_a_payload() -> None:
    form = Form(stored(()), Move((), (), (Size(1), Size(1))), 0.5)
    np.testing.assert_array_equal(applied(form, np.array(3, np.float32)), [[1.5]])
