"""The layout algebra against numpy: what a layout says of an array is what the array holds."""

from __future__ import annotations

import numpy as np
import pytest
from chains import Chain, base, chains, cut_and_joined, elements, moved, origins, quick
from hypothesis import given
from hypothesis import strategies as st

from fc2conv.layout.axes import (
    ONE,
    Axis,
    Layout,
    Size,
    axes_of,
    merged,
    normal,
    product,
    refine,
    regroup,
    size_of,
)
from fc2conv.layout.relayout import rearrange

N, H, W = Size(1, ("n",)), Size(1, ("h",)), Size(1, ("w",))


# ------------------------------------------------------------------ sizes and axes


def test_sizes_multiply_and_divide() -> None:
    assert Size(2, ("n",)) * Size(3, ("h",)) == Size(6, ("h", "n"))
    assert Size(6, ("h", "n")).over(Size(3, ("n",))) == Size(2, ("h",))
    assert product([N, N, Size(4)]) == Size(4, ("n", "n"))
    assert product([]) == ONE


@pytest.mark.parametrize("divisor", [Size(4), Size(0), H, Size(1, ("n", "n"))])
def test_what_is_whole_only_for_some_sizes_is_no_quotient(divisor: Size) -> None:
    assert Size(6, ("n",)).over(divisor) is None


@pytest.mark.parametrize(
    ("size", "text"), [(Size(1), "1"), (Size(6), "6"), (N, "n"), (Size(3, ("h", "n")), "3*h*n"), (Size(0), "0")]
)
def test_sizes_are_printed_as_people_write_them(size: Size, text: str) -> None:
    assert str(size) == text


def test_split_parts_stand_together_as_the_whole_again() -> None:
    axis = Axis("a", Size(12))
    parts = axis.split(Size(4))
    assert parts == (Axis("a", Size(3), Size(4)), Axis("a", Size(4)))
    assert merged(parts) == (axis,)
    assert merged(parts[::-1]) == parts[::-1]
    assert axis.split(Size(5)) is None
    assert Axis("n", N).split(Size(2)) is None


def test_axes_of_size_one_are_not_written() -> None:
    assert base(1, 3, 1) == ((), (Axis("b", Size(3)),), ())
    assert size_of(()) == ONE


# ------------------------------------------------------------------ regrouping


@quick
@given(chains())
def test_every_layout_of_a_chain_describes_its_array(chain: Chain) -> None:
    for layout, array in zip(chain.layouts, chain.arrays, strict=True):
        np.testing.assert_array_equal(elements(layout, chain.origin), array)


@quick
@given(chains(), st.lists(st.integers(1, 12), min_size=1, max_size=4))
def test_a_reshape_has_the_right_layout_or_none(chain: Chain, target: list[int]) -> None:
    array = chain.array
    found = regroup(chain.last, [Size(size) for size in target])
    if int(np.prod(target)) != array.size:
        assert found is None
    elif found is not None:
        np.testing.assert_array_equal(elements(found, chain.origin), array.reshape(target))


@quick
@given(chains(), st.data())
def test_one_size_may_be_left_open(chain: Chain, data: st.DataObject) -> None:
    target: list[Size | None] = list(data.draw(cut_and_joined(chain.last)))
    at = data.draw(st.integers(0, len(target) - 1))
    wanted = regroup(chain.last, target)
    target[at] = None
    assert regroup(chain.last, target) == wanted


@quick
@given(origins(), st.data(), st.sampled_from((1, 2, 5)))
def test_a_symbolic_batch_is_an_axis_as_any_other(tail: Layout, data: st.DataObject, batch: int) -> None:
    origin: Layout = ((Axis("n", N),), *tail)
    chain = data.draw(chains(st.just(origin), {"n": batch}))
    for layout, array in zip(chain.layouts, chain.arrays, strict=True):
        np.testing.assert_array_equal(elements(layout, origin, {"n": batch}), array)


def test_unknown_batch_before_a_flattened_map() -> None:
    n, c, h = base("n", 4, 3)
    assert regroup((n, c, h), [None, Size(12)]) == (n, (*c, *h))
    assert regroup((n, c, h), [N, None]) == (n, (*c, *h))
    # The caller's -1 has become a symbol of its own: it is whatever is left.
    assert regroup((n, c, h), [Size(1, ("?batch",)), Size(12)]) == (n, (*c, *h))
    assert regroup((n, c, h), [Size(12), Size(1, ("?batch",))]) is None
    assert regroup((n, c, h), [None, None, Size(3)]) is None


def test_rows_folded_into_the_batch() -> None:
    n, c, h = base("n", 4, 3)
    assert regroup((n, c, h), [None, Size(3)]) == ((*n, *c), h)
    parts = c[0].split(Size(2))
    assert parts is not None
    # (-1, 6) cuts the channels: the batch gets their outer half.
    assert regroup((n, c, h), [None, Size(6)]) == ((*n, parts[0]), (parts[1], *h))
    assert regroup((n, c, h), [None, Size(5)]) is None


@pytest.mark.parametrize(
    ("sizes", "target"), [((2, 3), (3, 2)), ((6, 4), (4, 6)), ((4, 9), (6, 6)), ((2, 2), (3,)), ((2, 3), (2, 3, 2))]
)
def test_cuts_that_no_axis_has(sizes: tuple[int, ...], target: tuple[int, ...]) -> None:
    assert regroup(base(*sizes), [Size(size) for size in target]) is None


# ------------------------------------------------------------------ refining and rearranging


def cuts(*sizes: int) -> Layout:
    """One axis of 36 elements, cut into dimensions of these sizes."""
    found = regroup(base(36), [Size(size) for size in sizes])
    assert found is not None
    return found


@quick
@given(chains(), st.data())
def test_refined_layouts_share_their_atoms(chain: Chain, data: st.DataObject) -> None:
    other = data.draw(chains(st.just(chain.origin)))
    both = refine(chain.last, other.last)
    if both is None:
        return
    # Atoms: what two layouts of the same elements are made of is then the same.
    left, right = (axes_of(layout) for layout in both)
    assert {axis for axis in left if axis.size != ONE} == {axis for axis in right if axis.size != ONE}
    assert (normal(both[0]), normal(both[1])) == (chain.last, other.last)


def test_cuts_that_do_not_nest() -> None:
    assert refine(cuts(6, 6), cuts(4, 9)) is None
    assert refine(base(36), cuts(6, 6), cuts(4, 9)) is None
    assert rearrange(cuts(6, 6), cuts(4, 9)) is None


def test_cuts_that_nest_are_made_in_every_layout() -> None:
    assert refine(cuts(6, 6), cuts(3, 12)) == (
        ((Axis("a", Size(3), Size(12)), Axis("a", Size(2), Size(6))), (Axis("a", Size(6)),)),
        ((Axis("a", Size(3), Size(12)),), (Axis("a", Size(2), Size(6)), Axis("a", Size(6)))),
    )


@quick
@given(chains(), st.data())
def test_a_move_gives_exactly_the_target(chain: Chain, data: st.DataObject) -> None:
    other = data.draw(chains(st.just(chain.origin)))
    move = rearrange(chain.last, other.last)
    if move is None:
        assert refine(chain.origin, chain.last, other.last) is None
    else:
        np.testing.assert_array_equal(moved(move, chain.array), other.array)


@quick
@given(chains())
def test_there_is_a_way_back_to_the_origin(chain: Chain) -> None:
    move = rearrange(chain.last, chain.origin)
    assert move is not None
    np.testing.assert_array_equal(moved(move, chain.array), chain.arrays[0])


@quick
@given(chains(), st.data())
def test_what_moves_no_element_says_so(chain: Chain, data: st.DataObject) -> None:
    target = regroup(chain.last, data.draw(cut_and_joined(chain.last)))
    assert target is not None
    move = rearrange(chain.last, target)
    assert move is not None
    assert not move.moves


def test_other_elements_cannot_be_moved_to() -> None:
    assert rearrange(base(2, 3), base(2, 4)) is None
    assert rearrange(base(2, 3), base(2)) is None


def test_a_move_joins_what_stays_together() -> None:
    n, c, h, w = base("n", 4, 3, 2)
    move = rearrange((n, (*c, *h, *w)), (n, (*h, *w, *c)))
    assert move is not None
    assert (move.shape, move.perm, move.out) == ((N, Size(4), Size(6)), (0, 2, 1), (N, Size(24)))
