"""Options that say what they affect, so that a configuration file that nobody named cannot decide everything."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, TypeVar

import click

from fc2conv.cli.values import Whole, files

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
