"""Views against numpy: broadcasting, and the one rule, with a convolution written out."""

from __future__ import annotations

import numpy as np
from chains import base, quick, shape_of
from hypothesis import given
from hypothesis import strategies as st

from fc2conv.layout.axes import Axis, Layout, Size, axes_of, size_of
from fc2conv.layout.view import Provenance, View, align, broadcast_layouts, fresh, solved, with_sizes


def view(dims: Layout, spatial_form: Layout | None = None) -> View:
    return View(dims, spatial_form, Provenance.MAP, "x")


# ------------------------------------------------------------------ views


def test_a_view_is_written_in_normal_form() -> None:
    axis = Axis("a", Size(6))
    parts = axis.split(Size(2))
    assert parts is not None
    assert view((parts, (Axis("b", Size(1)),)), ((axis,),)).dims == ((axis,), ())


def test_a_view_that_is_its_spatial_form_is_free() -> None:
    n, c, h, w = base("n", 4, 3, 2)
    assert view((n, c, h, w), (n, c, h, w)).free
    assert not view((n, c), (n, c, (), ())).free
    assert not view((n, c)).free


def test_fresh_axes_belong_to_one_value() -> None:
    one, two = (fresh(name, [Size(2), Size(1)]) for name in ("x", "y"))
    assert [len(dim) for dim in one.dims] == [1, 0]
    assert not set(axes_of(one.dims)) & set(axes_of(two.dims))
    assert (one.spatial_form, one.provenance, one.origin) == (None, Provenance.NONE, "x")


# ------------------------------------------------------------------ broadcasting


@st.composite
def broadcastable(draw: st.DrawFn) -> tuple[list[int], list[int]]:
    """Two shapes that numpy broadcasts, of any two ranks."""
    whole = draw(st.lists(st.sampled_from((1, 2, 3, 4)), min_size=1, max_size=4))
    return tuple([draw(st.sampled_from((1, s))) for s in whole[draw(st.integers(0, len(whole))) :]] for _ in "ab")  # type: ignore[return-value]


@quick
@given(broadcastable())
def test_broadcast_result_is_laid_out_as_numpy_lays_it_out(shapes: tuple[list[int], list[int]]) -> None:
    left, right = (fresh(name, [Size(s) for s in shape]) for name, shape in zip("xy", shapes, strict=True))
    aligned = align(left, right)
    assert aligned is not None
    dims = broadcast_layouts([left.dims, aligned.dims], right=True)
    assert dims is not None
    assert shape_of(dims) == np.broadcast_shapes(*map(tuple, shapes))
    for i, dim in enumerate(reversed(aligned.dims)):
        assert not dim or dim == dims[-1 - i]


def test_a_dimension_of_known_size_tells_its_symbols() -> None:
    known, one, two = base(3)[0], base("w")[0], base("h", "w")
    assert solved(known + one, Size(15)) == {"w": 5}
    assert solved(known + one, Size(16)) == {}
    assert solved(two[0] + two[1], Size(1)) == {"h": 1, "w": 1}
    assert solved(two[0] + two[1], Size(6)) == {}
    view = with_sizes(fresh("x", (Size(2, ("w",)), Size(1, ("h",)))), {"w": 5})
    assert [size_of(dim) for dim in view.dims] == [Size(10), Size(1, ("h",))]


def test_dimensions_of_other_sizes_do_not_pair() -> None:
    left, right = fresh("x", [Size(2), Size(3)]), fresh("y", [Size(2), Size(4)])
    assert align(left, right) is None


def test_a_flattened_map_pairs_with_another_in_its_cuts() -> None:
    n, c, h = base("n", 4, 3)
    other = fresh("y", [Size(1, ("n",)), Size(12)])
    # The other's 12 features become (c h), whatever they were; its spatial form is renamed with it.
    aligned = align(view((n, (*c, *h)), (n, c, h)), View(other.dims, other.dims, Provenance.MAP, "y"))
    assert aligned is not None
    assert (aligned.dims, aligned.spatial_form) == ((n, (*c, *h)), (n, (*c, *h)))


def test_the_spatial_form_is_renamed_with_the_dimensions() -> None:
    n, c, h, w = base("n", 4, 3, 2)
    other = fresh("y", [Size(1, ("n",)), Size(4), Size(3), Size(2)]).dims
    aligned = align(view((n, c, h, w)), view(other, (other[0], other[2], other[3], other[1])))
    assert aligned is not None
    assert (aligned.dims, aligned.spatial_form) == ((n, c, h, w), (n, h, w, c))


def test_an_axis_without_partner_stays_apart() -> None:
    n, c, h = base("n", 4, 3)
    left, right = view((n, c, h, ())), view((n, c, (), h))  # an outer product of an axis with itself
    aligned = align(left, right)
    assert aligned is not None
    assert aligned.dims[3] not in left.dims
    assert size_of(aligned.dims[3]) == Size(3)


def test_spatial_forms_broadcast_at_equal_rank_only() -> None:
    n, c, h, w = base("n", 4, 3, 2)
    assert broadcast_layouts([(n, c, (), ()), (n, c, h, w)], right=False) == (n, c, h, w)
    assert broadcast_layouts([(c, h, w), (n, c, h, w)], right=False) is None
    assert broadcast_layouts([(c, h, w), (n, c, h, w)], right=True) == (n, c, h, w)
    assert broadcast_layouts([(n, c), (n, h)], right=True) is None
