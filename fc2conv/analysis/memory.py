"""What is inferred of a node is kept for later passes, and inferred again only where something that it reads changed.

A pass says the same of a node as the pass before where all that its handler asked for is the same: views, sizes and
spatial forms of other values. The handler's own questions say what that is.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import Any, Generic, NamedTuple, TypeVar

from fc2conv.analysis.facts import NodeFacts
from fc2conv.layout.view import View, identical

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

KEPT = 4
"""How many answers are kept of a node: those of the first pass come again when the next round begins."""


class Traced(Generic[K, V]):
    """A dictionary without None among its values that notes what a handler reads in it and writes into it."""

    __slots__ = ("now", "read", "written")

    def __init__(self) -> None:
        self.now: dict[K, V] = {}
        self.read: dict[K, V | None]
        self.written: dict[K, V]
        self.forget()

    def get(self, key: K) -> V | None:
        """Return the value of a key, None where it has none."""
        value = self.now.get(key)
        if key not in self.read and key not in self.written:
            self.read[key] = value
        return value

    def __getitem__(self, key: K) -> V:
        value = self.get(key)
        if value is None:
            raise KeyError(key)
        return value

    def __contains__(self, key: K) -> bool:
        return self.get(key) is not None

    def __setitem__(self, key: K, value: V) -> None:
        self.now[key] = self.written[key] = value

    def setdefault(self, key: K, value: V) -> None:
        """Write a value where the key has none."""
        if key not in self:
            self[key] = value

    def update(self, values: Mapping[K, V]) -> None:
        """Write several values."""
        for key, value in values.items():
            self[key] = value

    def fill(self, values: Mapping[K, V]) -> None:
        """Begin a pass with these values, which no handler has written."""
        self.now.clear()
        self.now.update(values)
        self.forget()

    def forget(self) -> None:
        """Begin new notes, as others hold those that were made."""
        self.read, self.written = {}, {}


Written = tuple[tuple[dict[Any, Any], dict[Any, Any]], ...]
"""Of each dictionary, the keys that were written, and their values."""


class Answer(NamedTuple):
    """What was inferred of a node, and all that was read and written on the way.

    `read` has the look-up of a dictionary, a key, and the value; None where it had none.
    """

    read: tuple[tuple[Callable[[Any], Any], Any, Any], ...]
    written: Written
    facts: NodeFacts


class Memory:
    """The answers of the passes of one inference."""

    def __init__(self, traced: Iterable[Traced[Any, Any]]) -> None:
        self._traced = tuple(traced)
        self._answers: dict[int, tuple[Answer, ...]] = {}

    def recall(self, index: int) -> NodeFacts | None:
        """Repeat what was inferred of a node where it would be inferred again; None where something has changed."""
        for answer in self._answers.get(index, ()):
            for now, key, value in answer.read:
                if now(key) is not value:
                    break
            else:
                for values, written in answer.written:
                    values.update(written)
                return answer.facts
        return None

    def keep(self, index: int, facts: NodeFacts) -> None:
        """Keep what has just been inferred of a node."""
        asked = [each for each in self._traced if each.read or each.written]
        read = tuple([(each.now.get, key, value) for each in asked for key, value in each.read.items()])
        written = tuple([(each.now, each.written) for each in asked if each.written])
        for traced in asked:
            traced.forget()
        before = self._answers.get(index, ())
        if before:
            _as_before(written, before)
        self._answers[index] = (Answer(read, written, facts), *before[: KEPT - 1])


def _as_before(written: Written, answers: Sequence[Answer]) -> None:
    """Put views that were written before in the place of identical ones, so that their readers see no change."""
    for now, values in written:
        for key, value in values.items():
            if isinstance(value, View):
                old = (before[key] for answer in answers for _, before in answer.written if key in before)
                same = next((each for each in old if isinstance(each, View) and identical(each, value)), value)
                now[key] = values[key] = same
