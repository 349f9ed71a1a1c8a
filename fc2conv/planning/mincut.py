"""Minimum cut of a directed graph: what is in series is eliminated exactly, and the rest is cut by Dinic's algorithm.

A cut labels every vertex: 0 on the source's side, 1 on the sink's. A vertex v with at most two neighbours x and y is
eliminated: its best label is a function of theirs, and f(x, y) = min_v (what v's label and its edges cost) takes its
place,

    f(x, y) = f00 + [x] (f10 - f00) + [y] (f11 - f10) + [not x][y] (f01 + f10 - f00 - f11),

which are prices of labels again and an edge from x to y; its capacity is not negative, as f is submodular. Neural
networks are nearly in series and parallel, so that little or nothing is left, and the whole takes linear time. Sources:
E. A. Dinic, 1970; V. Kolmogorov and R. Zabih, What energy functions can be minimized via graph cuts?, 2004.
"""

from __future__ import annotations

from collections import deque
from functools import lru_cache

from fc2conv.dataclass import dataclass

INFINITE = 1 << 160
_Prices = tuple[tuple[int, ...], ...]
_Edges = tuple[tuple[tuple[int, int], ...], ...]
SOURCE, SINK = 0, 1


@dataclass(frozen=True)
class _Eliminated:
    """A vertex, the prices of its labels, and for each neighbour (it, the edge to it, the edge from it)."""

    vertex: int
    prices: tuple[int, int]
    edges: tuple[tuple[int, int, int], ...]

    def best(self, labels: dict[int, int]) -> int:
        """Return the label of the least price under the neighbours' labels; of equals the source's."""
        source, sink = self.prices
        for other, there, back in self.edges:
            if labels[other]:
                source += there
            else:
                sink += back
        return int(sink < source)


class Network:
    """A flow network; vertices are numbers, 0 the source and 1 the sink."""

    def __init__(self, prices: _Prices = ((0, 0), (0, 0)), edges: _Edges = ((), ())) -> None:
        self._prices = [[*each] for each in prices]
        self._edges = [dict(each) for each in edges]
        self._constant = 0

    def beside(self) -> Network:
        """Return a network with the same edges between vertices, to which edges from source and to sink are added."""
        out = Network()
        out._prices, out._edges, out._constant = [[*each] for each in self._prices], self._edges, self._constant
        return out

    def vertex(self) -> int:
        """Add a vertex and return its number."""
        self._prices.append([0, 0])
        self._edges.append({})
        return len(self._edges) - 1

    def edge(self, tail: int, head: int, capacity: int) -> None:
        """Add an edge: `capacity` is paid if the tail stays with the source and the head goes to the sink."""
        if capacity <= 0 or tail in (head, SINK) or head == SOURCE:
            return
        if tail == SOURCE and head == SINK:
            self._constant += capacity
        elif tail == SOURCE:
            self._prices[head][1] += capacity
        elif head == SINK:
            self._prices[tail][0] += capacity
        else:
            self._join(tail, head, capacity)

    def _join(self, tail: int, head: int, capacity: int) -> None:
        self._edges[tail][head] = self._edges[tail].get(head, 0) + capacity
        self._edges[head].setdefault(tail, 0)

    def cut(self) -> tuple[int, frozenset[int]]:
        """Return the least total capacity that parts source from sink, and the vertices on the sink's side.

        Of all minimum cuts it is the one with the largest source side.
        """
        prices = tuple([(*each,) for each in self._prices])
        total, sinks = _least(prices, tuple([(*each.items(),) for each in self._edges]))
        return self._constant + total, sinks

    def used_up(self) -> tuple[int, frozenset[int]]:
        """Return the same as `cut`, but use up the network."""
        gone = self._eliminate()
        left = [v for v in range(2, len(self._edges)) if self._edges[v]]
        total, labels = _cut(left, self._prices, self._edges)
        for each in reversed(gone):
            labels[each.vertex] = each.best(labels)
        return self._constant + total, frozenset({SINK, *(vertex for vertex, label in labels.items() if label)})

    def _eliminate(self) -> list[_Eliminated]:
        gone: list[_Eliminated] = []
        queue = deque(v for v in range(2, len(self._edges)) if len(self._edges[v]) <= 2)
        done = set(queue)
        while queue:
            vertex = queue.popleft()
            others = list(self._edges[vertex])
            if len(others) > 2:  # it has new neighbours since
                done.discard(vertex)
                continue
            edges = tuple((other, self._edges[vertex][other], self._edges[other].pop(vertex)) for other in others)
            self._edges[vertex] = {}
            gone.append(_Eliminated(vertex, (self._prices[vertex][0], self._prices[vertex][1]), edges))
            self._replace(gone[-1], others)
            for other in others:
                if len(self._edges[other]) <= 2 and other not in done:
                    done.add(other)
                    queue.append(other)
        return gone

    def _replace(self, gone: _Eliminated, others: list[int]) -> None:
        """Turn what an eliminated vertex cost into prices of its neighbours' labels, and an edge between them."""
        source, sink = gone.prices
        if not others:
            self._constant += min(source, sink)
        elif len(others) == 1:
            ((other, there, back),) = gone.edges
            prices = self._prices[other]
            prices[0] += min(source, sink + back)
            prices[1] += min(source + there, sink)
        else:
            (first, there, back), (second, beyond, behind) = gone.edges
            f00, f01 = min(source, sink + back + behind), min(source + beyond, sink + back)
            f10, f11 = min(source + there, sink + behind), min(source + there + beyond, sink)
            self._constant += f00
            self._prices[first][1] += f10 - f00
            self._prices[second][1] += f11 - f10
            if f01 + f10 > f00 + f11:
                self._join(first, second, f01 + f10 - f00 - f11)


@lru_cache(maxsize=256)
def _least(prices: _Prices, edges: _Edges) -> tuple[int, frozenset[int]]:
    """Return the cut of a network, cached, as the next block of a model has the same network."""
    return Network(prices, edges).used_up()


def _cut(vertices: list[int], prices: list[list[int]], edges: list[dict[int, int]]) -> tuple[int, dict[int, int]]:
    """Return the least price of labels of these vertices, and the labels with the largest source side."""
    flow = _Flow(len(vertices) + 2)
    place = {vertex: i + 2 for i, vertex in enumerate(vertices)}
    total = 0
    for vertex, at in place.items():
        source, sink = prices[vertex]
        total += min(source, sink)
        flow.edge(SOURCE, at, sink - min(source, sink))
        flow.edge(at, SINK, source - min(source, sink))
        for other, capacity in edges[vertex].items():
            flow.edge(at, place[other], capacity)
    paid, sinks = flow.cut()
    return total + paid, {vertex: int(at in sinks) for vertex, at in place.items()}


class _Flow:
    """Dinic's algorithm, on arrays."""

    def __init__(self, vertices: int) -> None:
        self._heads: list[list[int]] = [[] for _ in range(vertices)]
        self._to: list[int] = []
        self._room: list[int] = []

    def edge(self, tail: int, head: int, capacity: int) -> None:
        if capacity > 0:
            for end, other, room in ((tail, head, capacity), (head, tail, 0)):
                self._heads[end].append(len(self._to))
                self._to.append(other)
                self._room.append(room)

    def cut(self) -> tuple[int, set[int]]:
        total = 0
        while (levels := self._levels(SOURCE))[SINK] >= 0:
            total += self._blocking_flow(levels)
        return total, {vertex for vertex, level in enumerate(self._levels(SINK, backwards=1)) if level >= 0}

    def _levels(self, start: int, backwards: int = 0) -> list[int]:
        """Return how many edges with room lead from a vertex to each (or back from each to it); -1 without a path."""
        levels = [-1] * len(self._heads)
        levels[start] = 0
        queue = deque([start])
        while queue:
            at = queue.popleft()
            for edge in self._heads[at]:
                to = self._to[edge]
                if self._room[edge ^ backwards] and levels[to] < 0:
                    levels[to] = levels[at] + 1
                    queue.append(to)
        return levels

    def _blocking_flow(self, levels: list[int]) -> int:
        following = [0] * len(self._heads)
        total, at = 0, SOURCE
        path: list[int] = []
        while True:
            if at == SINK:
                pushed = min(self._room[edge] for edge in path)
                total += pushed
                for edge in path:
                    self._room[edge] -= pushed
                    self._room[edge ^ 1] += pushed
                full = next(i for i, edge in enumerate(path) if not self._room[edge])
                at = self._to[path[full] ^ 1]
                del path[full:]
                continue
            edges = self._heads[at]
            while following[at] < len(edges):
                edge = edges[following[at]]
                if self._room[edge] and levels[self._to[edge]] == levels[at] + 1:
                    break
                following[at] += 1
            if following[at] < len(edges):
                path.append(edges[following[at]])
                at = self._to[path[-1]]
            elif path:
                edge = path.pop()
                at = self._to[edge ^ 1]
                following[at] += 1
            else:
                return total
