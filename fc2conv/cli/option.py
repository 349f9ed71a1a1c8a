"""An option that says what it affects, so that a configuration file which nobody named cannot decide everything."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, TypeVar

import click

_Command = TypeVar("_Command", bound=Callable[..., Any])

Effect = Literal["conversion", "gate", "printing", "picture", "proof", "code", "files", "limits", "run"]

_RESERVED: dict[Effect, str] = {
    "proof": "changes what is proved",
    "code": "loads code",
    "files": "names a file to write",
    "limits": "changes the limits",
    "run": "changes what is run",
}
"""The effects that only the command line and a file that it names may have, in the words of the refusal."""


_HEADINGS: dict[Effect, str] = {
    "gate": "Gate",
    "picture": "Picture",
    "run": "Batch",
    "code": "Batch",
    "files": "Output",
    "printing": "Output",
}
"""The group of the help for an option that is in none by itself."""


class Option(click.Option):
    """An option of a command; `affects` is what it changes.

    `found` says why a configuration file that was found may not give it a value ("" where it may). `joined` is its
    value where it is given alone; another one is joined to it by `=`, so that no argument is taken for it. `heading`
    is the group that lists it in the help.
    """

    def __init__(
        self,
        *args: Any,
        affects: Effect,
        found: Callable[[Any], str] | None = None,
        joined: str | None = None,
        **more: Any,
    ) -> None:
        super().__init__(*args, **more)
        self.affects = affects
        self.found = found
        self.joined = joined
        self.heading = _HEADINGS.get(affects, "General")

    @property
    def reserved(self) -> str:
        """Why a configuration file that was found may not set it; "" where it may."""
        return _RESERVED.get(self.affects, "")

    def refused(self, value: Any) -> str:
        """Why such a file may not give it a value; "" where it may."""
        return self.reserved or ("" if self.found is None else self.found(value))


def option(*names: str, affects: Effect, **more: Any) -> Callable[[_Command], _Command]:
    """Adds an option to a command, as `click.option` does."""
    return click.option(*names, cls=Option, affects=affects, **more)


def flag(*names: str, affects: Effect, help: str) -> Callable[[_Command], _Command]:
    """Adds an option that takes no value."""
    return option(*names, affects=affects, is_flag=True, help=help)


def choice_of(name: str, values: Sequence[str], *, affects: Effect, help: str) -> Callable[[_Command], _Command]:
    """Adds an option that takes one of some values; the first one is the default."""
    return option(name, affects=affects, type=click.Choice(values), default=values[0], show_default=True, help=help)


def all_of(*several: Callable[[_Command], _Command], heading: str = "") -> Callable[[_Command], _Command]:
    """Adds several options as one decorator; the help lists them in this order, below `heading` where there is one."""

    def decorate(command: _Command) -> _Command:
        before = len(getattr(command, "__click_params__", ()))
        for each in reversed(several):
            command = each(command)
        for param in command.__click_params__[before:] if heading else ():  # type: ignore[attr-defined]
            param.heading = heading
        return command

    return decorate
