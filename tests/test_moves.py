"""Layout nodes, executed by numpy: exact, few, and valid at every size that the model may meet."""

from __future__ import annotations

import numpy as np
import pytest
from chains import Array, Chain, base, chains, elements, origins, quick
from hypothesis import given
from hypothesis import strategies as st

from fc2conv.layout.axes import Axis, Layout, Size, regroup
from fc2conv.layout.relayout import LayoutStep, Reshaped, Transposed, conversion, reshape_target

BATCHES = (1, 2, 5)
N, H = Size(1, ("n",)), Size(1, ("h",))


def run(steps: tuple[LayoutStep, ...], array: Array) -> Array:
    """What the nodes do, by ONNX's rules: 0 copies the size at its place, -1 is what is left."""
    for step in steps:
        if isinstance(step, Transposed):
            array = array.transpose(step.perm)
            continue
        target = [array.shape[i] if size == 0 else size for i, size in enumerate(step.target)]
        result = array.reshape(target)
        if step.flattens:
            assert result.shape == (array.shape[0], array[0].size)
        array = result
    return array


def kinds(steps: tuple[LayoutStep, ...] | None) -> str:
    assert steps is not None
    return " ".join("T" if isinstance(step, Transposed) else "F" if step.flattens else "R" for step in steps)


@quick
@given(chains(), st.data())
def test_nodes_give_exactly_the_target(chain: Chain, data: st.DataObject) -> None:
    other = data.draw(chains(st.just(chain.origin)))
    steps = conversion(chain.last, other.last)
    if steps is not None:
        np.testing.assert_array_equal(run(steps, chain.array), other.array)


@quick
@given(chains())
def test_known_sizes_can_always_be_written(chain: Chain) -> None:
    for source, target in ((chain.last, chain.origin), (chain.origin, chain.last)):
        steps = conversion(source, target)
        assert steps is not None
        assert kinds(steps) in ("", "T", "R", "F", "R T", "F T", "T R", "T F", "R T R", "R T F", "F T R", "F T F")


@quick
@given(origins(), st.data())
def test_nodes_with_a_symbolic_batch_fit_every_batch(tail: Layout, data: st.DataObject) -> None:
    origin: Layout = ((Axis("n", N),), *tail)
    chain = data.draw(chains(st.just(origin), {"n": 1}))
    steps = conversion(origin, chain.last)
    assert steps is not None  # one unknown size is one -1 or one copy
    for batch in BATCHES:
        sizes = {"n": batch}
        result = run(steps, elements(origin, origin, sizes))
        np.testing.assert_array_equal(result, elements(chain.last, origin, sizes))


@pytest.mark.parametrize("height", [1, 3, 4])
@pytest.mark.parametrize("batch", BATCHES)
def test_two_unknown_sizes(batch: int, height: int) -> None:
    n, c, h, w = base("n", 4, "h", 3)
    sizes = {"n": batch, "h": height}
    for target in ((n, h, w, c), (n, (*c, *h, *w)), (n, (*h, *w), c), ((*n, *h), c, w), (n, c, h, w, ())):
        steps = conversion((n, c, h, w), target)
        assert steps is not None
        array = elements((n, c, h, w), (n, c, h, w), sizes)
        np.testing.assert_array_equal(run(steps, array), elements(target, (n, c, h, w), sizes))


def test_two_unknown_sizes_that_move_cannot_be_written() -> None:
    n, c, h = base("n", 4, "h")
    assert conversion(((*n, *h), c), (n, c, h)) is None
    assert conversion((n, c, h), ((*h, *n), c)) is not None


# ------------------------------------------------------------------ few nodes, in the cases that matter


def test_nothing_to_do() -> None:
    assert conversion(base("n", 4, 3), base("n", 4, 3)) == ()


def test_channels_last_is_one_transpose() -> None:
    n, c, h, w = base("n", 4, 3, 2)
    assert conversion((n, c, h, w), (n, h, w, c)) == (Transposed((0, 2, 3, 1)),)
    assert conversion((n, h, w, c), (n, c, h, w)) == (Transposed((0, 3, 1, 2)),)


def test_flattening_is_one_flatten() -> None:
    n, c, h, w = base("n", 4, 3, 2)
    assert conversion((n, c, h, w), (n, (*c, *h, *w))) == (Reshaped((0, 24), flattens=True),)
    assert conversion((n, c, (), ()), (n, c)) == (Reshaped((0, 4), flattens=True),)
    assert conversion((n, c), (n, c, (), ())) == (Reshaped((0, 4, 1, 1)),)


def test_flattening_channels_last_is_a_transpose_and_a_flatten() -> None:
    n, c, h, w = base("n", 4, 3, 2)
    steps = conversion((n, c, h, w), (n, (*h, *w, *c)))
    assert kinds(steps) == "T F"
    assert kinds(conversion((n, (*h, *w, *c)), (n, c, h, w))) == "R T"


def test_rows_of_pixels_are_a_transpose_and_a_reshape() -> None:
    n, c, h, w = base("n", 4, 3, 2)
    rows = ((*n, *h, *w), c)
    assert conversion((n, c, h, w), rows) == (Transposed((0, 2, 3, 1)), Reshaped((-1, 4)))
    assert kinds(conversion((n, c, h, w), (n, (*h, *w), c))) == "T R"


def test_tokens_become_a_map_by_a_transpose_and_a_reshape() -> None:
    n, c, h, w = base("n", 4, 3, 2)
    assert kinds(conversion((n, (*h, *w), c), (n, c, h, w))) in ("T R", "R T")


def test_dimensions_of_size_one_move_with_one_node() -> None:
    n, c, h = base("n", 4, 3)
    assert kinds(conversion((n, c, (), h), (n, h, c))) == "T R" or kinds(conversion((n, c, (), h), (n, h, c))) == "R T"
    assert kinds(conversion((n, c, (), h), (n, (), c, h))) in ("T", "R")


@pytest.mark.parametrize("perm", [(0, 2, 3, 1), (0, 1, 3, 2), (0, 3, 2, 1)])
def test_a_batch_of_one_stays_in_front(perm: tuple[int, ...]) -> None:
    one = base(1, 4, 3, 2)
    many = base("n", 4, 3, 2)
    wanted = conversion(many, tuple(many[i] for i in perm))
    assert conversion(one, tuple(one[i] for i in perm)) == wanted == (Transposed(perm),)


# ------------------------------------------------------------------ targets


@pytest.mark.parametrize(
    ("before", "after", "target"),
    [
        ((N, Size(4)), (N, Size(2), Size(2)), (0, 2, 2)),
        ((Size(2), Size(4)), (Size(2), Size(2), Size(2)), (0, 2, 2)),  # the batch is copied where it is known too
        ((N, H), (N, H, Size(1)), (0, 0, 1)),
        ((N, H, Size(2)), (N * H, Size(2)), (-1, 2)),
        ((N * Size(4),), (N, Size(4)), (-1, 4)),
        ((N * H,), (N, H), None),
        ((N, Size(4), H), (N, H, Size(4)), (0, -1, 4)),
        ((H, N), (N, H), None),
    ],
)
def test_targets(before: tuple[Size, ...], after: tuple[Size, ...], target: tuple[int, ...] | None) -> None:
    assert reshape_target(before, after) == target


def test_only_a_flatten_of_all_but_the_first_dimension_is_one() -> None:
    c, h, w = base(4, 3, 2)
    whole = regroup((c, h, w), [Size(12), Size(2)])
    assert whole is not None
    steps = conversion((c, h, w), whole)
    assert steps == (Reshaped((12, 2)),)
