"""The minimum cut against every cut that there is."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations, pairwise

from chains import quick
from hypothesis import given
from hypothesis import strategies as st

from fc2conv.planning.mincut import INFINITE, SINK, SOURCE, Network

Edge = tuple[int, int, int]
VERTICES = 6
ends = st.integers(0, VERTICES + 1)
capacities = st.one_of(st.integers(0, 5), st.sampled_from((1 << 36, INFINITE)))
edges = st.lists(st.tuples(ends, ends, capacities), max_size=14)


def network(edges: Sequence[Edge]) -> Network:
    """A network of two ends and six vertices between."""
    out = Network()
    assert [out.vertex() for _ in range(VERTICES)] == list(range(2, VERTICES + 2))
    for tail, head, capacity in edges:
        out.edge(tail, head, capacity)
    return out


def price(edges: Sequence[Edge], sink_side: set[int]) -> int:
    return sum(capacity for tail, head, capacity in edges if tail not in sink_side and head in sink_side)


def every_cut(edges: Sequence[Edge]) -> list[tuple[int, set[int]]]:
    """All ways to part the vertices, each with its price."""
    inner = range(2, VERTICES + 2)
    sides = [{SINK, *some} for count in range(VERTICES + 1) for some in combinations(inner, count)]
    return [(price(edges, side), side) for side in sides]


@quick
@given(edges)
def test_no_cut_is_cheaper(edges: list[Edge]) -> None:
    total, sink_side = network(edges).cut()
    least = min(cost for cost, _ in every_cut(edges))
    if least >= INFINITE:
        assert total >= INFINITE
    else:
        assert total == least == price(edges, sink_side)


@quick
@given(edges)
def test_of_the_cheapest_it_has_the_largest_source_side(edges: list[Edge]) -> None:
    total, sink_side = network(edges).cut()
    if total < INFINITE:
        assert sink_side == set.intersection(*(side for cost, side in every_cut(edges) if cost == total))


def test_a_chain_is_cut_at_its_narrowest_place() -> None:
    assert network([(SOURCE, 2, 3), (2, 3, 1), (3, SINK, 2)]).cut() == (1, {SINK, 3})


def test_of_two_narrow_places_the_later_one_is_cut() -> None:
    assert network([(SOURCE, 2, 1), (2, 3, 1), (3, SINK, 1)]).cut() == (1, {SINK})


def test_what_is_added_beside_a_network_is_not_in_it() -> None:
    first = network([(2, 3, 1), (3, SINK, 2)])
    second = first.beside()
    second.edge(SOURCE, 2, 3)
    assert (first.cut()[0], second.cut()) == (0, (1, {SINK, 3}))


def test_no_edge_no_cost() -> None:
    total, sink_side = network([]).cut()
    assert (total, sink_side) == (0, {SINK})


def test_long_chains_need_no_stack() -> None:
    out = Network()
    chain = [SOURCE, *(out.vertex() for _ in range(5000)), SINK]
    for tail, head in pairwise(chain):
        out.edge(tail, head, 2)
    assert out.cut()[0] == 2
