"""The standard library's `dataclass`, without its cost while modules are loaded.

The standard library compiles up to six functions for each class. A conversion loads eighty classes, makes instances of
half of them and compares none; the compilations were half of its time to start. Here classes share the functions that
compare, hash, show and protect, and `__init__` is compiled for a class of which more than a few instances are made.
"""

from __future__ import annotations

import dataclasses
from dataclasses import MISSING, FrozenInstanceError, fields
from functools import cached_property, partial
from operator import attrgetter
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from dataclasses import dataclass as dataclass
else:

    def dataclass(kind=None, /, *, frozen=False, eq=True):
        """Make a dataclass; methods that the class defines itself stay."""
        return _made(kind, frozen, eq) if kind is not None else lambda kind: _made(kind, frozen, eq)


def _made(kind: Any, frozen: bool, eq: bool) -> Any:
    kind.__doc__ = kind.__doc__ or kind.__name__  # or the standard library writes one, from a signature
    own = dict(vars(kind))
    dataclasses.dataclass(init=False, repr=False, eq=False)(kind)
    methods: dict[str, Any] = {"__init__": _Init(kind, frozen), "__repr__": _shown}
    if eq:
        methods |= _comparing(kind, frozen)
    if frozen:
        methods |= {"__setattr__": _refuse_setting, "__delattr__": _refuse_setting}
    for name, method in methods.items():
        if own.get(name) is None:
            setattr(kind, name, method)
    return kind


_FEW = 16
"""Instances of which each is filled from a table; more of them take longer than to compile `__init__`."""


class _Init:
    """The `__init__` of a class until a few instances are made; then it is compiled and takes this place."""

    def __init__(self, kind: Any, frozen: bool) -> None:
        self._kind, self._frozen, self._made = kind, frozen, 0

    def __get__(self, instance: Any, owner: Any) -> Any:
        self._made += 1
        few = isinstance(instance, self._kind) and self._made <= _FEW  # inspect asks with the class itself
        return partial(self._fill, instance) if few else self._compiled().__get__(instance, owner)

    def _compiled(self) -> Any:
        self._kind.__init__ = made = _init(self._kind, self._frozen)
        return made

    @cached_property
    def _fields(self) -> tuple[list[str], dict[str, Any], dict[str, Any]]:
        """The fields that are arguments, the defaults of all fields, and the factories of some of these."""
        every = fields(self._kind)
        made = {each.name: each.default_factory for each in every if each.default_factory is not MISSING}
        default = {each.name: each.default for each in every if each.init or each.name in made}
        return [each.name for each in every if each.init], default, made

    def _fill(self, instance: Any, *values: Any, **given: Any) -> None:
        """Set the fields of an instance; the compiled `__init__` refuses what does not fit."""
        takes, default, made = self._fields
        left = dict(zip(takes, values, strict=False)) | given
        found = default | left
        for name, make in made.items():
            if found[name] is MISSING:
                found[name] = make()
        unfit = len(left) < len(values) + len(given) or not given.keys() <= set(takes)
        if unfit or any(value is MISSING for value in found.values()):
            self._compiled()(instance, *values, **given)
        vars(instance).update(found)
        if hasattr(instance, "__post_init__"):
            instance.__post_init__()


def _init(kind: Any, frozen: bool) -> Any:
    """Compile `__init__` from the fields."""
    names: dict[str, Any] = {"_set": object.__setattr__, "_MISSING": MISSING}
    takes, does = ["self"], []
    for each in fields(kind):
        name = value = each.name
        default = "" if each.default is MISSING else f"=_default_{name}"
        names[f"_default_{name}"], names[f"_new_{name}"] = each.default, each.default_factory
        if each.default_factory is not MISSING:
            default = "=_MISSING"
            value = f"_new_{name}() if {name} is _MISSING else {name}" if each.init else f"_new_{name}()"
        elif not each.init:
            continue  # it is read from the class
        if each.init:
            takes.append(name + default)
        does.append(f"_set(self, {name!r}, {value})" if frozen else f"self.{name} = {value}")
    if hasattr(kind, "__post_init__"):
        does.append("self.__post_init__()")
    exec(f"def __init__({', '.join(takes)}):\n    " + "\n    ".join(does or ["pass"]), names)
    made = names["__init__"]
    made.__module__, made.__qualname__ = kind.__module__, f"{kind.__qualname__}.__init__"
    made.__annotations__ = {each.name: each.type for each in fields(kind) if each.init}
    return made


def _comparing(kind: Any, frozen: bool) -> dict[str, Any]:
    """Make `__eq__` and `__hash__` from the values of the fields that are compared."""
    values = attrgetter("__class__", *(each.name for each in fields(kind) if each.compare))

    def equal(self: Any, other: object) -> Any:
        return values(self) == values(other) if other.__class__ is self.__class__ else NotImplemented

    def hashed(self: Any) -> int:
        return hash(values(self))

    return {"__eq__": equal, "__hash__": hashed if frozen else None}


def _shown(self: Any) -> str:
    parts = [f"{each.name}={getattr(self, each.name)!r}" for each in fields(self) if each.repr]
    return f"{type(self).__qualname__}({', '.join(parts)})"


def _refuse_setting(self: Any, name: str, _: object = None) -> NoReturn:
    raise FrozenInstanceError(f"cannot change {name!r} of a frozen {type(self).__name__}")
