"""Options and the types of their values; each says what it affects, so that a configuration cannot decide all."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import click

from fc2conv.options.checked import LEAST, is_interval, most_of

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

_Command = TypeVar("_Command", bound=Callable[..., Any])

Effect = Literal["conversion", "gate", "printing", "picture", "proof", "code", "files", "limits", "run"]

_RESERVED: dict[Effect, str] = {
    "proof": "changes what is proved",
    "code": "loads code",
    "files": "names a file to write",
    "limits": "changes the limits",
    "run": "changes what is run",
}
"""The effects that only the command line and a file named there may have, in the words of the refusal."""


class Option(click.Option):
    """An option of a command; `affects` is what it changes, and `heading` the group of the help: both its group's.

    `found` says why a configuration file that was found may not give it a value ("" where it may). `joined` is its
    value where it is given alone; another one is joined to it by `=`, so that no argument is taken for it.
    """

    heading: str

    def __init__(
        self,
        *args: Any,
        affects: Effect | None = None,
        found: Callable[[Any], str] | None = None,
        joined: str | None = None,
        **more: Any,
    ) -> None:
        super().__init__(*args, **more)
        self.affects = affects
        self.found = found
        self.joined = joined

    @property
    def reserved(self) -> str:
        """Why a configuration file that was found may not set it; "" where it may."""
        assert self.affects is not None, f"{self.name} is in no group"
        return _RESERVED.get(self.affects, "")

    def refused(self, value: Any) -> str:
        """Return why a configuration file that was found may not set this value; "" where it may."""
        return self.reserved or ("" if self.found is None else self.found(value))


def option(*names: str, help: str, **more: Any) -> Callable[[_Command], _Command]:
    """Add an option to a command, as `click.option` does; give `affects` where it differs from the group's."""
    return click.option(*names, cls=Option, help=help, **more)


def flag(*names: str, help: str, **more: Any) -> Callable[[_Command], _Command]:
    return option(*names, is_flag=True, help=help, **more)


def choice_of(name: str, values: Sequence[str], *, help: str, **more: Any) -> Callable[[_Command], _Command]:
    """Add an option that takes one of some values; the first value is the default."""
    return option(name, type=click.Choice(values), default=values[0], show_default=True, help=help, **more)


def whole(name: str, *, help: str, metavar: str = "N", **more: Any) -> Callable[[_Command], _Command]:
    """Add an option that takes a whole number, as the library does for its field of this name."""
    kind = Whole(name.removeprefix("--").replace("-", "_"))
    return option(name, metavar=metavar, type=kind, help=help, **more)


def count(name: str, *, help: str, **more: Any) -> Callable[[_Command], _Command]:
    """Add an option that takes a whole number of at least 1."""
    return option(name, metavar="N", type=click.IntRange(min=1), help=help, **more)


def path(*names: str, help: str, metavar: str = "FILE", **more: Any) -> Callable[[_Command], _Command]:
    """Add an option that takes the path of a file or of a folder, which the shell completes."""
    return option(*names, metavar=metavar, shell_complete=files, help=help, **more)


def all_of(*several: Callable[[_Command], _Command]) -> Callable[[_Command], _Command]:
    """Add several options as one decorator; the help lists them in this order."""

    def decorate(command: _Command) -> _Command:
        for each in reversed(several):
            command = each(command)
        return command

    return decorate


def group(heading: str, affects: Effect, *several: Callable[[_Command], _Command]) -> Callable[[_Command], _Command]:
    """Add a group of options: the help lists them below `heading`; `affects` is what each affects by default."""

    def decorate(command: _Command) -> _Command:
        before = len(getattr(command, "__click_params__", ()))
        command = all_of(*several)(command)
        for param in command.__click_params__[before:]:  # type: ignore[attr-defined]
            param.heading = heading
            param.affects = param.affects or affects
        return command

    return decorate


class Whole(click.IntRange):
    """A whole number, as the library takes it for the option of this name; it is multiplied by `unit` there."""

    def __init__(self, name: str, unit: int = 1) -> None:
        super().__init__(min=LEAST[name])
        self.most = most_of(name) // unit

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        number: int = super().convert(value, param, ctx)
        if number > self.most:
            self.fail(f"{number} is more than {self.most}", param, ctx)
        return number


class Number(click.FloatRange):
    """A finite number in a range."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"'{value}' is not a finite number", param, ctx)
        return number


def named_numbers(number: str, form: str) -> Callable[[str], tuple[str, tuple[int, ...]]]:
    """Make the type of `NAME:N,N,...`, split at the last colon: `number` is a number's pattern, `form` the hint."""

    def convert(value: str) -> tuple[str, tuple[int, ...]]:
        name, _, numbers = value.rpartition(":")
        if not name or not re.fullmatch(f"{number}(,{number})*", numbers):
            raise click.BadParameter(f"'{value}' is not {form}")
        return name, tuple(map(int, numbers.split(",")))

    return convert


def providers(value: str) -> tuple[str, ...]:
    """Parse `A,B` as names."""
    found = tuple(name for name in value.split(",") if name)
    if not found:
        raise click.BadParameter(f"'{value}' names no provider")
    return found


def tolerance(value: str) -> float:
    """Parse a finite number >= 0."""
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    if not 0 <= number < math.inf:
        raise click.BadParameter(f"'{value}' is not a finite number >= 0")
    return number


def interval(example: str) -> Callable[[str], tuple[float, float]]:
    """Make the type of `LOW,HIGH`, two finite numbers in this order."""

    def convert(value: str) -> tuple[float, float]:
        try:
            low, high = map(float, value.split(","))
        except ValueError:
            low = high = math.nan
        if not is_interval(low, high):
            raise click.BadParameter(f"'{value}' is not LOW,HIGH such as {example}")
        return low, high

    return convert


def output_tolerance(value: str) -> tuple[str, float]:
    """Parse `name:tolerance`, split at the last colon."""
    name, _, number = value.rpartition(":")
    if not name:
        raise click.BadParameter(f"'{value}' is not NAME:X such as logits:1e-3")
    return name, tolerance(number)


def by_name(twice: str) -> Callable[[click.Context, click.Parameter, Collection[tuple[str, Any]]], dict[str, Any]]:
    """Make a callback that collects pairs in a dict; `twice` is the error for a name that has two values."""

    def collected(_: click.Context, param: click.Parameter, given: Collection[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(given)
        if len(found) < len(given):
            raise click.BadParameter(twice, param=param)
        return found

    return collected


def files(_: click.Context, __: click.Parameter | None, incomplete: str) -> list[CompletionItem]:
    """Return the completions of an argument for the shell: its own list of files."""
    from click.shell_completion import CompletionItem

    return [CompletionItem(incomplete, type="file")]
