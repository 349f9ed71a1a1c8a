"""The one rule: which convolution a contraction of one dimension is."""

from __future__ import annotations

from math import prod

import numpy as np
import pytest
from chains import Array, Chain, base, chains, moved, numbers, quick, shape_of
from hypothesis import given, settings
from hypothesis import strategies as st

from fc2conv.layout.axes import Axis, Dim, Kind, Layout, Size, normal, refine, regroup, size_of
from fc2conv.layout.contraction import Contraction, Obstacle, contract, grouped_frame, own_frame
from fc2conv.layout.relayout import rearrange


def convolved(x: Array, kernel: Array) -> Array:
    """A convolution of stride 1 without pads: x is [N, C, *S], the kernel [M, C, *K]."""
    axes = tuple(range(2, x.ndim))
    windows = np.lib.stride_tricks.sliding_window_view(x, kernel.shape[2:], axes)
    spatial, taps = "abc"[: len(axes)], "uvw"[: len(axes)]
    return np.einsum(f"nk{spatial}{taps},mk{taps}->nm{spatial}", windows, kernel)


def relaid(array: Array, source: Layout, target: Layout) -> Array:
    move = rearrange(source, target)
    assert move is not None
    return moved(move, array)


def check(dims: Layout, k: int, found: Contraction) -> None:
    """The contraction over dimension k of a random tensor equals the convolution over the frame."""
    random = np.random.default_rng(sum(shape_of(dims)) + k)
    x = random.standard_normal(shape_of(dims))
    weight = random.standard_normal((3, x.shape[k]))
    y = np.moveaxis(np.tensordot(x, weight, (k, 1)), -1, k)

    m: Dim = (Axis("m", Size(3)),)
    kernel = relaid(weight, (m, found.contracted), (m, *found.kernel))
    result = convolved(relaid(x, dims, found.frame), kernel)
    wanted = (found.batch, m, *found.rest)
    assert result.shape == shape_of(wanted)
    got = relaid(result, wanted, (*dims[:k], m, *dims[k + 1 :]))
    np.testing.assert_allclose(got, y, rtol=1e-9, atol=1e-9)


@st.composite
def maps(draw: st.DrawFn) -> Layout:
    """A feature map [N, C, D1..Dr] of known sizes."""
    sizes = draw(st.lists(st.sampled_from((1, 2, 3, 4, 6)), min_size=3, max_size=5))
    return base(*sizes)


@settings(quick, max_examples=150)
@given(chains(maps()), st.booleans(), st.data())
def test_a_contraction_is_the_convolution(chain: Chain, with_spatial_form: bool, data: st.DataObject) -> None:
    dims, origin = chain.last, chain.origin
    spatial_form = origin if with_spatial_form else None
    k = data.draw(st.integers(0, len(dims) - 1))
    found = contract(dims, spatial_form, k)
    batch = origin[0] if spatial_form is not None or k else ()
    fine = refine(dims, (batch,))
    assert fine is not None
    if set(fine[0][k]) & set(fine[1][0]):
        assert found is Obstacle.BATCH
    else:
        assert isinstance(found, Contraction)
        assert len(found.frame) in (4, len(origin))
        check(dims, k, found)


@quick
@given(chains(maps()), st.data())
def test_every_dimension_has_a_frame_of_its_own(chain: Chain, data: st.DataObject) -> None:
    dims = chain.last
    k = data.draw(st.integers(0, len(dims) - 1))
    check(dims, k, own_frame(dims, k))


@quick
@given(chains(maps()), st.data())
def test_one_matrix_for_each_index_is_a_convolution_in_groups(chain: Chain, data: st.DataObject) -> None:
    dims = chain.last
    k, *groups = data.draw(st.permutations(range(len(dims))))[: data.draw(st.integers(1, len(dims)))]
    groups.sort()
    found = grouped_frame(dims, k, groups)
    if any(axis.kind is Kind.BATCH for axis in dims[k]):
        assert found is Obstacle.BATCH
        return
    assert isinstance(found, Contraction)

    random = np.random.default_rng(k)
    x = random.standard_normal(shape_of(dims))
    others = [i for i in range(len(dims)) if i != k and i not in groups]
    order = (*others, *groups, k)
    count, inner = prod(x.shape[i] for i in groups), x.shape[k]
    weight = random.standard_normal((count, 3, inner))
    rows = np.einsum("ogk,gmk->ogm", x.transpose(order).reshape(-1, count, inner), weight)
    y = rows.reshape(*(x.shape[i] for i in order[:-1]), 3).transpose(np.argsort(order))

    m: Dim = (Axis("m", Size(3)),)
    frame = relaid(x, dims, found.frame)
    channels = frame.reshape(frame.shape[0], count, inner, -1)
    result = np.einsum("ngks,gmk->ngms", channels, weight).reshape(shape_of(found.spatial_form(m)))
    np.testing.assert_allclose(
        relaid(result, found.spatial_form(m), (*dims[:k], m, *dims[k + 1 :])), y, rtol=1e-9, atol=1e-9
    )


def kernel_of(found: Contraction | Obstacle) -> tuple[int, ...]:
    assert isinstance(found, Contraction)
    return numbers([size_of(dim) for dim in found.kernel])


def test_the_rule_at_work() -> None:
    n, c, h, w = spatial_form = base("n", 512, 7, 7)
    assert kernel_of(contract((n, (*c, *h, *w)), spatial_form, 1)) == (512, 7, 7)  # fc6
    assert kernel_of(contract((n, (*h, *w, *c)), spatial_form, 1)) == (512, 7, 7)  # as TensorFlow writes it
    assert kernel_of(contract((n, (*h, *w), c), spatial_form, 2)) == (512, 1, 1)  # tokens
    assert kernel_of(contract((n, w, (*c, *h)), spatial_form, 2)) == (512, 7, 1)  # a text recogniser
    assert kernel_of(contract((n, c, h, w), spatial_form, 1)) == (512, 1, 1)


def test_what_was_summed_over_is_one_in_the_result() -> None:
    n, c, h, w = spatial_form = base("n", 8, 3, "w")
    found = contract((n, w, (*c, *h)), spatial_form, 2)
    assert isinstance(found, Contraction)
    assert (found.frame, found.batch, found.rest) == (spatial_form, n, ((), w))
    assert found.contracted == (*c, *h)


def test_part_of_the_channels_is_a_frame_of_its_own() -> None:
    n, c, h, w = spatial_form = base("n", 8, 3, 2)
    found = contract((n, c, h, w), spatial_form, 3)  # the width alone
    assert isinstance(found, Contraction)
    assert found.frame == (n, w, c, h)
    grouped = regroup(spatial_form, [Size(1, ("n",)), Size(2), Size(4), Size(6)])
    assert grouped is not None
    inner = contract(grouped, spatial_form, 2)
    assert isinstance(inner, Contraction)
    assert inner.frame[:2] == (n, grouped[2])


def test_a_kernel_covers_cells_of_a_map_alone() -> None:
    n, c, h, w = base("n", 8, 3, 2)
    heads = (h[0]._replace(kind=Kind.OTHER),)
    assert kernel_of(contract((n, (*c, *h), w), (n, c, h, w), 1)) == (8, 3, 1)
    assert kernel_of(contract((n, (*c, *heads), w), (n, c, heads, w), 1)) == (24, 1, 1)


def test_more_than_two_kept_dimensions_are_merged_to_the_most_alike() -> None:
    n, c, *cells = base("n", 2, 3, 4, 5, 6)
    heads = [(dim[0]._replace(kind=Kind.OTHER),) for dim in cells]
    found = own_frame((n, c, *heads), 1)
    assert numbers([size_of(dim) for dim in found.frame[2:]]) == (12, 30)
    assert len(own_frame((n, c, *heads), 1, 3).frame) == 5


@pytest.mark.parametrize(
    ("count", "rank", "sizes"),
    [(196, 2, (14, 14)), (50, 2, (5, 10)), (197, 2, (1, 197)), (1, 2, (1, 1)), (196, 1, (196,))],
)
def test_tokens_are_as_square_as_they_can_be(count: int, rank: int, sizes: tuple[int, ...]) -> None:
    n, c = base("n", 8)
    tokens = normal([(Axis("t", Size(count)),)])[0]
    frame = own_frame((n, tokens, c), 2, rank).frame
    assert numbers([size_of(dim) for dim in frame[2:]]) == sizes


def test_tokens_of_a_map_have_its_height_and_width() -> None:
    n, c = base("n", 8)
    h, w = (Axis(f"map.{i}", Size(size), kind=Kind.SPACE) for i, size in ((2, 2), (3, 8)))
    outer, inner = w.split(Size(4)) or (w, w)
    windows = (*n, outer)
    assert own_frame((n, (h, w), c), 2).frame == (n, c, (h,), (w,))
    assert own_frame((windows, (h, inner), c), 2).frame == (n, c, (h,), (outer, inner))


def test_an_open_count_of_tokens_is_a_row() -> None:
    n, tokens, c = base("n", "l", 8)
    assert own_frame((n, tokens, c), 2).frame == (n, c, (), tokens)


def test_nothing_kept_leaves_an_image_of_one_pixel() -> None:
    n, c = base("n", 8)
    assert own_frame((n, c), 1).frame == (n, c, (), ())
    assert own_frame((c,), 0).frame == ((), c, (), ())


@pytest.mark.parametrize("with_spatial_form", [True, False])
def test_unknown_sizes_cannot_be_summed_over(with_spatial_form: bool) -> None:
    n, c, h, w = base("n", 8, "h", 2)
    spatial_form = (n, c, h, w) if with_spatial_form else None
    assert contract((n, (*c, *h, *w)), spatial_form, 1) is Obstacle.UNKNOWN
    assert isinstance(contract((n, h, (*c, *w)), spatial_form, 2), Contraction)


def test_the_batch_cannot_be_summed_over() -> None:
    n, c, h = base(6, 8, 2)
    assert contract((c, n), (n, c), 1) is Obstacle.BATCH
    assert contract((h, (*n, *c)), (n, c, h), 1) is Obstacle.BATCH
    parts = n[0].split(Size(2))
    assert parts is not None
    # Reshape(-1, 18) on K = 36 and its like: a part of the batch got among the features.
    assert contract((parts[:1], (parts[1], *c), h), (n, c, h), 1) is Obstacle.BATCH
    # Without a spatial form the first dimension is the batch, and may be what is summed over.
    assert isinstance(contract((c, n), None, 0), Contraction)


def test_a_batch_that_was_cut_otherwise_is_still_the_batch() -> None:
    n, c, h = base(36, 4, 2)
    cut = regroup((n,), [Size(4), Size(9)])
    other = regroup((n,), [Size(6), Size(6)])
    assert cut is not None
    assert other is not None
    spatial_form = normal(((*cut[0], *cut[1]), c, h))
    assert contract((other[0], (*other[1], *c), h), spatial_form, 1) is Obstacle.BATCH


def test_kernel_holds_as_many_elements_as_are_summed_over() -> None:
    n, c, h, w = base("n", 6, 4, 2)
    for dims, k in (((n, (*w, *c), h), 1), ((n, (*h, *c, *w)), 1), (((*n, *h), (*c, *w)), 1)):
        found = contract(dims, (n, c, h, w), k)
        assert prod(kernel_of(found)) == size_of(dims[k]).coefficient
