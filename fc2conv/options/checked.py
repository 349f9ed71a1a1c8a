"""Options that are checked where they are made, by the types and the least values of their fields."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields
from functools import cache, partial
from operator import index
from typing import Any, Literal, get_args, get_origin

LEAST: Mapping[str, int] = {
    **dict.fromkeys("timeout seed rtol atol per_output max_added_transposes".split(), 0),
    **dict.fromkeys("check_n memory_limit max_kernel max_kernel_area max_channels channel_multiple".split(), 1),
    **dict.fromkeys("static output_stride top".split(), 1),
}
"""The least value of each number, by the name of its field; a number that is not here may have any value."""

MOST = (1 << 63) - 1
"""The largest whole number, as ONNX and the system have it."""

MOST_MULTIPLE = 4096
"""The largest multiple to which channels are padded: more is no hardware's, and each kernel would fill a disk."""

_Check = Callable[[str, Any], Any]


def most_of(name: str) -> int:
    """Return the largest value of a whole number, by the name of its field."""
    return MOST_MULTIPLE if name == "channel_multiple" else MOST


class Checked:
    """Options that are checked where they are made, and say what would be right.

    Lists become tuples, and paths become strings. A wrong type is a TypeError, a wrong value a ValueError.
    """

    def __post_init__(self) -> None:
        kind: Any = type(self)
        for name, check in _checks(kind):
            value = getattr(self, name)
            found = check(name, value)
            if found is not value:
                object.__setattr__(self, name, found)


@cache
def _checks(kind: Any) -> tuple[tuple[str, _Check], ...]:
    """List the check of each field, by the text of its type; a type that is not known here has no check."""
    names = vars(sys.modules[kind.__module__])
    found = []
    for each in fields(kind):
        text, optional = str(each.type).removesuffix(" | None"), str(each.type).endswith(" | None")
        known, value = names.get(text), names.get(text.removeprefix("Mapping[str, ").removesuffix("]"))
        if get_origin(known) is Literal:
            check: _Check | None = partial(_word, get_args(known))
        elif get_origin(value) is Literal:
            check = partial(_mapping, partial(_word, get_args(value)), "a dict of names and words")
        elif isinstance(known, type):
            check = partial(_instance, known)
        else:
            check = _BY_TYPE.get(text)
        if check is not None:
            found.append((each.name, partial(_unless_none, check) if optional else check))
    return tuple(found)


def _unless_none(check: _Check, name: str, value: Any) -> Any:
    return value if value is None else check(name, value)


def _wrong(name: str, value: object, wanted: str) -> str:
    return f"{name} is {value!r}; give {wanted}"


def _word(words: tuple[str, ...], name: str, value: Any) -> Any:
    if value not in words:
        raise ValueError(f"{name} is {value!r}; the nearest right value is {near(value, words)!r}")
    return value


def _instance(kind: type, name: str, value: Any) -> Any:
    if not isinstance(value, kind):
        raise TypeError(_wrong(name, value, f"a {kind.__name__}"))
    return value


def _flag(name: str, value: Any) -> Any:
    if not isinstance(value, bool):
        raise TypeError(_wrong(name, value, "True or False"))
    return value


def _whole(name: str, value: Any) -> Any:
    least, most = LEAST.get(name), most_of(name)
    wanted = "a whole number" if least is None else f"a whole number of at least {least}"
    if not hasattr(value, "__index__"):
        raise TypeError(_wrong(name, value, wanted))
    if (least is not None and value < least) or value > most:
        raise ValueError(_wrong(name, value, f"{wanted} and at most {most}" if value > most else wanted))
    return value if type(value) is int else index(value)


def _number(name: str, value: Any) -> Any:
    least = LEAST.get(name.partition("[")[0])  # of one item
    wanted = "a number" if least is None else f"a number of at least {least}"
    if isinstance(value, str) or not (hasattr(value, "__float__") or hasattr(value, "__index__")):
        raise TypeError(_wrong(name, value, wanted))
    try:
        number = float(value)
    except OverflowError:
        number = math.nan
    if not (-math.inf if least is None else least) <= number or (math.isinf(number) and name != "timeout"):
        raise ValueError(_wrong(name, value, wanted))  # NaN is among these
    return value if type(value) in (int, float) else number


def _text(name: str, value: Any) -> Any:
    if not isinstance(value, str | os.PathLike):
        raise TypeError(_wrong(name, value, "a string"))
    return str(os.fsdecode(value))


def _class(name: str, value: Any) -> Any:
    if isinstance(value, bool):
        raise TypeError(_wrong(name, value, "numbers or names of classes"))
    return _text(name, value) if isinstance(value, str) else _whole(name, value)


def _classes(name: str, value: Any) -> Any:
    several = isinstance(value, Iterable) and not isinstance(value, str)
    return _tuple(_class, "a tuple of classes", None, name, value) if several else _class(name, value)


def _tuple(of: _Check, what: str, length: int | None, name: str, value: Any) -> Any:
    if isinstance(value, str):
        raise TypeError(f"{name} is the string {value!r}; give {what}")
    try:
        found = tuple(value)
    except TypeError:
        raise TypeError(_wrong(name, value, what)) from None
    if length is not None and len(found) != length:
        raise ValueError(_wrong(name, value, what))
    return tuple(of(name, each) for each in found)


def is_interval(low: float, high: float) -> bool:
    """Decide whether two numbers are the ends of a range whose width is a number as well."""
    return low < high and math.isfinite(high - low)


def _interval(name: str, value: Any) -> Any:
    found = _tuple(_number, "two numbers", 2, name, value)
    if not is_interval(*found):
        raise ValueError(_wrong(name, value, "two numbers, the smaller one first"))
    return found


def _mapping(of: _Check, what: str, name: str, value: Any) -> Any:
    if not isinstance(value, Mapping):
        raise TypeError(_wrong(name, value, what))
    return {_text(name, key): of(f"{name}[{key!r}]", each) for key, each in value.items()}


def _size(name: str, value: Any) -> Any:
    size = _whole(name, value)
    if size < 0:
        raise ValueError(_wrong(name, value, "sizes of at least 0"))
    return size


_SIZES = "a dict of names and sizes, such as {'input': (1, 3, 224, 224)}"
_BY_TYPE: Mapping[str, _Check] = {
    "bool": _flag,
    "int": _whole,
    "float": _number,
    "str": _text,
    "tuple[str, ...]": partial(_tuple, _text, "a tuple of strings", None),
    "tuple[float, ...]": partial(_tuple, _number, "a tuple of numbers", None),
    "tuple[float, float]": _interval,
    "int | str | tuple[int | str, ...]": _classes,
    "tuple[int, int]": partial(_tuple, _whole, "two whole numbers", 2),
    "Mapping[str, tuple[int, ...]]": partial(_mapping, partial(_tuple, _size, "a tuple of sizes", None), _SIZES),
    "Mapping[str, float]": partial(_mapping, _number, "a dict of names and numbers"),
}
"""The check of a field, by the text of its type."""


def close(wanted: str, names: Iterable[str], cutoff: float = 0.6) -> str:
    """Return the name that is most similar to the wanted one; "" where no name is similar."""
    from difflib import get_close_matches

    return next(iter(get_close_matches(wanted, names, n=1, cutoff=cutoff)), "")


def near(value: object, words: tuple[str, ...]) -> str:
    """Return the word that is most similar to a value; the first where no word is similar."""
    return close(str(value), words, 0.0) or words[0]
