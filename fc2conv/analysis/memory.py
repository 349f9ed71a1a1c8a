"""What is inferred of a node is kept for later passes, and inferred again only where something that it reads changed.

A pass says the same of a node as the pass before where all that its handler asked for is the same: views, sizes and
spatial forms of other values. The handler's own questions say what that is.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any, Generic, NamedTuple, TypeVar

from fc2conv.analysis.facts import NodeFacts
from fc2conv.layout.view import View, identical

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

KEPT = 4
"""How many answers are kept of a node: those of the first pass come again when the next round begins."""


Place = tuple["Traced[Any, Any]", Any]
"""A dictionary and a key of it."""


class Notes:
    """What a handler reads and writes, by its place; None is read where there is no value."""

    __slots__ = ("read", "written")

    def __init__(self) -> None:
        self.read: dict[Place, Any] = {}
        self.written: dict[Place, Any] = {}


class Traced(Generic[K, V]):
    """A dictionary without None among its values that notes what a handler reads in it and writes into it."""

    __slots__ = ("notes", "now")

    def __init__(self) -> None:
        self.now: dict[K, V] = {}
        self.notes = Notes()

    def get(self, key: K) -> V | None:
        """Return the value of a key, None where it has none."""
        value, place = self.now.get(key), (self, key)
        if place not in self.notes.written:
            self.notes.read[place] = value
        return value

    def __getitem__(self, key: K) -> V:
        value = self.get(key)
        if value is None:
            raise KeyError(key)
        return value

    def __contains__(self, key: K) -> bool:
        return self.get(key) is not None

    def __setitem__(self, key: K, value: V) -> None:
        self.now[key] = self.notes.written[self, key] = value

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


class Answer(NamedTuple):
    """What was inferred of a node, and all that was read and written on the way."""

    read: dict[Place, Any]
    written: dict[Place, Any]
    facts: NodeFacts


class Memory:
    """The answers of the passes of one inference, whose dictionaries share their notes."""

    def __init__(self, traced: Iterable[Traced[Any, Any]]) -> None:
        self._notes = Notes()
        self._answers: dict[int, tuple[Answer, ...]] = {}
        for each in traced:
            each.notes = self._notes

    def forget(self) -> None:
        """Begin new notes, as answers hold those that were made."""
        self._notes.read, self._notes.written = {}, {}

    def recall(self, index: int) -> NodeFacts | None:
        """Repeat what was inferred of a node where it would be inferred again; None where something has changed."""
        for read, written, facts in self._answers.get(index, ()):
            for (traced, key), value in read.items():
                if traced.now.get(key) is not value:
                    break
            else:
                for (traced, key), value in written.items():
                    traced.now[key] = value
                return facts
        return None

    def keep(self, index: int, facts: NodeFacts) -> None:
        """Keep what has just been inferred of a node."""
        answer, before = Answer(self._notes.read, self._notes.written, facts), self._answers.get(index, ())
        self.forget()
        if before:
            _as_before(answer.written, before)
        self._answers[index] = (answer, *before[: KEPT - 1])


def _as_before(written: dict[Place, Any], answers: Sequence[Answer]) -> None:
    """Replace written views by identical ones that were written before, so that their readers see no change."""
    for (traced, key), value in written.items():
        if isinstance(value, View):
            old = (answer.written.get((traced, key)) for answer in answers)
            same = next((each for each in old if isinstance(each, View) and identical(each, value)), value)
            traced.now[key] = written[traced, key] = same
