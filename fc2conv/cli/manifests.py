"""The options of a manifest's entries: written as on the command line, and read by the same rules."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import click
from click.core import ParameterSource

from fc2conv.cli import parameters, sliding
from fc2conv.cli.option import Option
from fc2conv.errors import UsageError
from fc2conv.options import Options


@click.command(add_help_option=False)
@parameters.conversion
@parameters.limiting
def _entry(**given: Any) -> None:
    """Take the options that an entry may have."""


def entry_options(given: Mapping[str, Any], own: Mapping[str, Any], where: str) -> Options:
    """Return the options of one entry: those `given` on the command line, replaced by the entry's `own`.

    A key is an option without its dashes. An entry that turns the fully convolutional mode off turns all of its options
    off. Raise UsageError that names the place, for an unknown key and for a value that the option would refuse.
    """
    names = {option.lstrip("-"): param for param in _entry.params for option in param.opts}
    off: dict[str, Any] = {}
    words: list[str] = []
    for key, value in own.items():
        param = names.get(key)
        if not isinstance(param, click.Option):
            raise UsageError(f"{where}: {key!r} is not an option", f"an entry may have {', '.join(sorted(names))}")
        if param.is_flag:
            if _flag(key, value, where):
                words.append(f"--{key}")
            else:
                off |= {str(param.name): False, **(dict.fromkeys(sliding.NAMES) if param.name == sliding.FLAG else {})}
        else:
            words += [f"--{key}={each}" for each in _values(param, value)]
    try:
        with _entry.make_context("manifest", words, click.get_current_context(silent=True)) as context:
            source, written = context.get_parameter_source, ParameterSource.COMMANDLINE
            read = {name: value for name, value in context.params.items() if source(name) is written}
            return parameters.options({**given, **read, **off})
    except click.ClickException as error:
        raise UsageError(f"{where}: {error.format_message()}", "correct the manifest") from error


def _values(param: click.Option, value: Any) -> Iterator[str]:
    """Yield the values of an option: those of a list for a repeatable option; in CSV a `;` separates them."""
    if value is True and isinstance(param, Option) and param.joined is not None:
        yield param.joined
    elif isinstance(value, list):
        yield from map(str, value)
    elif param.multiple and isinstance(value, str):
        yield from value.split(";")
    else:
        yield str(value)


def _flag(key: str, value: Any, where: str) -> bool:
    known = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
    if str(value).lower() not in known:
        raise UsageError(f"{where}: {key} is true or false, and not {value!r}", "correct the manifest")
    return known[str(value).lower()]
