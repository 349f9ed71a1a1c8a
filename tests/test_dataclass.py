"""The dataclasses of the house behave as those of the standard library: each test runs on both."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import pickle
from dataclasses import FrozenInstanceError, field, replace
from types import SimpleNamespace
from typing import Any

import pytest

from fc2conv.dataclass import dataclass


@dataclass(frozen=True)
class Sent:
    value: int
    rest: tuple[int, ...] = ()


@pytest.fixture(params=[dataclasses.dataclass, dataclass], ids=["standard", "ours"])
def kinds(request: pytest.FixtureRequest) -> Any:
    decorate = request.param

    @decorate(frozen=True)
    class Point:
        x: int
        y: float = 0.5
        tags: list[str] = field(default_factory=list)
        seen: dict[str, int] = field(default_factory=dict, init=False, repr=False, compare=False)
        colour: str = field(default="red", compare=False)

    @decorate(frozen=True)
    class Named(Point):
        name: str = ""

        def __post_init__(self) -> None:
            object.__setattr__(self, "name", self.name.upper())

    @decorate
    class Tally:
        count: int = 0
        total: int = field(default=7, init=False)

    @decorate(frozen=True, eq=False)
    class Token:
        value: int

    @decorate(frozen=True)
    class Own:
        value: int

        def __hash__(self) -> int:
            return 5

        def __repr__(self) -> str:
            return "own"

    return SimpleNamespace(Point=Point, Named=Named, Tally=Tally, Token=Token, Own=Own)


def test_fields_are_set_from_arguments_and_defaults(kinds: Any) -> None:
    one, other = kinds.Point(1), kinds.Point(2, tags=["a"], colour="blue")
    assert (one.x, one.y, one.tags, one.seen, one.colour) == (1, 0.5, [], {}, "red")
    assert (other.x, other.y, other.tags, other.seen, other.colour) == (2, 0.5, ["a"], {}, "blue")
    assert one.tags is not kinds.Point(1).tags
    assert kinds.Named(1, name="n").name == "N"
    assert (kinds.Tally(3).count, kinds.Tally(3).total) == (3, 7)


def test_the_first_instances_are_like_all_others(kinds: Any) -> None:
    every = [kinds.Named(1, tags=["a"], name="n") for _ in range(20)]
    assert every[0] == every[-1]
    assert {(repr(each), tuple(each.__dict__)) for each in every} == {(repr(every[0]), tuple(every[0].__dict__))}


@pytest.mark.parametrize(
    ("given", "named"), [((), {}), ((1,), {"seen": {}}), ((1, 2, [], "red", 5), {}), ((1,), {"x": 1})]
)
def test_wrong_arguments_are_refused(kinds: Any, given: tuple[Any, ...], named: dict[str, Any]) -> None:
    with pytest.raises(TypeError, match="__init__"):
        kinds.Point(*given, **named)


def test_values_are_compared_field_by_field(kinds: Any) -> None:
    assert kinds.Point(1) == kinds.Point(1, colour="blue")
    assert kinds.Point(1) != kinds.Point(1, tags=["a"])
    assert kinds.Named(1) != kinds.Point(1)
    assert kinds.Point(1).__eq__(1) is NotImplemented
    assert kinds.Token(1) != kinds.Token(1)
    assert len({kinds.Token(1), kinds.Token(1)}) == 2
    assert kinds.Tally(1) == kinds.Tally(1)


def test_what_is_frozen_is_hashed(kinds: Any) -> None:
    assert hash(kinds.Own(1)) == 5
    with pytest.raises(TypeError, match="unhashable"):
        hash(kinds.Tally())
    with pytest.raises(TypeError, match="unhashable"):
        hash(kinds.Point(1))
    assert hash(Sent(1)) == hash(Sent(1, ()))


def test_what_is_frozen_stays(kinds: Any) -> None:
    point = kinds.Point(1)
    with pytest.raises(FrozenInstanceError, match="'x'"):
        point.x = 2
    with pytest.raises(FrozenInstanceError, match="'x'"):
        del point.x
    assert point == kinds.Point(1)
    tally = kinds.Tally()
    tally.count += 1
    assert tally.count == 1


def test_values_show_themselves(kinds: Any) -> None:
    assert repr(kinds.Point(1)).endswith(".Point(x=1, y=0.5, tags=[], colour='red')")
    assert repr(kinds.Own(1)) == "own"
    assert list(inspect.signature(kinds.Point).parameters) == ["x", "y", "tags", "colour"]


def test_the_tools_of_the_standard_library_apply(kinds: Any) -> None:
    point = kinds.Point(1, 2.0)
    assert replace(point, y=3.0) == kinds.Point(1, 3.0)
    assert [each.name for each in dataclasses.fields(kinds.Named)] == ["x", "y", "tags", "seen", "colour", "name"]
    assert dataclasses.asdict(kinds.Token(3)) == {"value": 3}
    assert copy.deepcopy(point) == point
    match point:
        case kinds.Point(x, y):
            assert (x, y) == (1, 2.0)


def test_values_are_sent_between_processes() -> None:
    assert pickle.loads(pickle.dumps(Sent(1, (2, 3)))) == Sent(1, (2, 3))
