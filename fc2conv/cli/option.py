"""An option that says what it affects, so that a configuration file which nobody named cannot decide everything."""

from __future__ import annotations

from collections.abc import Callable
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


class Option(click.Option):
    """An option of a command; `affects` is what it changes.

    `found` says why a configuration file that was found may not give it a value ("" where it may). `joined` is its
    value where it stands alone; another one is joined to it by `=`, so that no argument is taken for it.
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


def all_of(*several: Callable[[_Command], _Command]) -> Callable[[_Command], _Command]:
    """Adds several options as one decorator; in the help they have this order."""

    def decorate(command: _Command) -> _Command:
        for each in reversed(several):
            command = each(command)
        return command

    return decorate
