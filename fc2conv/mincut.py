"""Minimum cut of a small directed graph, by Dinic's algorithm (E. A. Dinic, 1970)."""

from __future__ import annotations

from collections import deque

INFINITE = 1 << 100
SOURCE, SINK = 0, 1


class Network:
    """A flow network; vertices are numbers, 0 the source and 1 the sink."""

    def __init__(self) -> None:
        self._heads: list[list[int]] = [[], []]
        self._to: list[int] = []
        self._room: list[int] = []

    def vertex(self) -> int:
        """A new vertex."""
        self._heads.append([])
        return len(self._heads) - 1

    def edge(self, tail: int, head: int, capacity: int) -> None:
        """Adds an edge: `capacity` is paid if the tail stays with the source and the head goes to the sink."""
        if capacity > 0:
            for end, other, room in ((tail, head, capacity), (head, tail, 0)):
                self._heads[end].append(len(self._to))
                self._to.append(other)
                self._room.append(room)

    def cut(self) -> tuple[int, set[int]]:
        """The least total capacity that parts source from sink, and the vertices that must go to the sink's side.

        Of all minimum cuts it is the one with the largest source side.
        """
        total = 0
        while (levels := self._levels())[SINK] >= 0:
            total += self._blocking_flow(levels)
            if total >= INFINITE:
                break
        return total, self._reaching_sink()

    def _levels(self) -> list[int]:
        levels = [-1] * len(self._heads)
        levels[SOURCE] = 0
        queue = deque([SOURCE])
        while queue:
            at = queue.popleft()
            for edge in self._heads[at]:
                to = self._to[edge]
                if self._room[edge] and levels[to] < 0:
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

    def _reaching_sink(self) -> set[int]:
        seen = {SINK}
        queue = deque([SINK])
        while queue:
            at = queue.popleft()
            for edge in self._heads[at]:
                before = self._to[edge]
                if self._room[edge ^ 1] and before not in seen:
                    seen.add(before)
                    queue.append(before)
        return seen
