"""Options from a file: `fc2conv.toml`, or `[tool.fc2conv]` of `pyproject.toml`.

Both hold options by their names on the command line, for every command that has them, and a table for each command
whose options differ. The command line overrides a command's table, and this overrides the rest. A file that was found
and not named is data of its author: what an option affects (`option.py`) says whether it may be set there.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from fc2conv.cli.option import Option
from fc2conv.errors import UsageError
from fc2conv.io.files import opened
from fc2conv.io.parsing import of_toml
from fc2conv.options.checked import close

CONFIG = "fc2conv.config"
_NO_CONFIG = "fc2conv.no_config"
_OWN, _SHARED = "fc2conv.toml", "pyproject.toml"

Table = dict[str, Any]


def without(ctx: click.Context, _: click.Parameter, given: bool) -> None:
    """Run as the callback of `--no-config`; of two options that are given, click calls the first one first."""
    if given and CONFIG in ctx.meta:
        raise click.UsageError("--config and --no-config exclude each other")
    ctx.meta[_NO_CONFIG] = given


def load(ctx: click.Context, _: click.Parameter, given: str | None) -> None:
    """Run as the callback of `--config`: make what the file says the command's defaults."""
    if ctx.resilient_parsing:
        return
    if ctx.meta.get(_NO_CONFIG):
        if given is not None:
            raise click.UsageError("--config and --no-config exclude each other")
        return
    path, table = (Path(given), _table(Path(given))) if given is not None else _nearest()
    if path is None or table is None:
        if given is not None:
            raise UsageError(f"{given} has no table [tool.fc2conv]", "add it, or name another file")
        return
    root = ctx.find_root().command
    assert isinstance(root, click.Group)
    everywhere, own = _sorted(table, root.commands, str(path), named=given is not None)
    ctx.meta[CONFIG] = str(path)
    shared = {key: value for key, value in everywhere.items() if not _of_others(key, value, ctx.command, root.commands)}
    ctx.default_map = _defaults({**shared, **own.get(ctx.command.name or "", {})}, ctx.command)


def _of_others(key: str, value: Any, command: click.Command, commands: Mapping[str, click.Command]) -> bool:
    """Return whether a value is no word of this command's choice, but one of another command's."""
    taking = {each.name for each in commands.values() if (option := _options(each).get(key)) and _takes(option, value)}
    return bool(taking) and command.name not in taking


def _takes(option: Option, value: Any) -> bool:
    return not isinstance(option.type, click.Choice) or value in option.type.choices


def _nearest() -> tuple[Path | None, Table | None]:
    """Return the nearest file with options, from the working directory up to the root of its repository, if any."""
    try:
        here = Path.cwd()
        folders = [here, *here.parents]
        last = next((i for i, folder in enumerate(folders) if (folder / ".git").exists()), 0)
        there = [folder / name for folder in folders[: last + 1] for name in (_OWN, _SHARED)]
        found = [path for path in there if path.is_file()]
    except OSError:  # a working directory that is gone, or a parent that may not be looked into
        return None, None
    for path in found:
        if (table := _table(path)) is not None:
            return path, table
    return None, None


def _table(path: Path) -> Table | None:
    """Return the table of options in a file; None for a pyproject.toml that has no table of fc2conv's."""
    try:
        with opened(path) as stream:
            data = stream.read()
    except OSError as error:
        what = f"{path} could not be read ({error.strerror})"
        raise UsageError(what, "name another file, or use --no-config") from error
    if path.name == _SHARED and b"fc2conv" not in data:
        return None
    try:
        found = of_toml(data.decode("utf-8").removeprefix("\ufeff"))
    except ValueError as error:  # of the encoding or of the syntax
        raise UsageError(f"{path} cannot be read as TOML ({error})", "correct it, or use --no-config") from error
    if path.name != _SHARED:
        if "tool" in found:
            raise UsageError(f"{path}: [tool.fc2conv] is for {_SHARED}", "write the options without a table")
        return found
    tool = found.get("tool")
    table = tool.get("fc2conv") if isinstance(tool, dict) else None
    if table is not None and not isinstance(table, dict):
        raise UsageError(f"{path}: tool.fc2conv is not a table", "write [tool.fc2conv]")
    return table


def _sorted(
    table: Table, commands: Mapping[str, click.Command], path: str, *, named: bool
) -> tuple[Table, dict[str, Table]]:
    """Return the options of every command, and those of each; raise UsageError for what a file may not set."""
    known = {name: _options(command) for name, command in commands.items()}
    anywhere = {key: option for options in known.values() for key, option in options.items()}
    everywhere: Table = {}
    own: dict[str, Table] = {}
    for key, value in table.items():
        if isinstance(value, dict) and known.get(key):
            own[key] = {name: _fits(name, each, known[key], f"{path}: [{key}]") for name, each in value.items()}
            used = {name: (known[key][name], each) for name, each in own[key].items()}
        else:
            everywhere[key] = _fits(key, value, anywhere, path, [name for name, options in known.items() if options])
            used = {key: (anywhere[key], everywhere[key])}
        if not named:
            _refuse_reserved(used, path)
    return everywhere, own


def _refuse_reserved(used: Mapping[str, tuple[Option, Any]], path: str) -> None:
    for name, (option, value) in used.items():
        if why := option.refused(value):
            what = f"{path}: {name} {why}, which a file that was found by searching may not do"
            raise UsageError(what, f"give --{name} on the command line, or trust the whole file with --config {path}")


def _options(command: click.Command) -> dict[str, Option]:
    """Return a command's options by name, without those that are about the options themselves."""
    options = [each for each in command.params if isinstance(each, Option)]
    return {max(option.opts, key=len).removeprefix("--"): option for option in options}


def _fits(key: str, value: Any, options: dict[str, Option], where: str, tables: list[str] | None = None) -> Any:
    """Return a value as click takes it; numbers as the text that the command line would have."""
    option = options.get(key)
    if option is None:
        if key in (tables or ()):
            raise UsageError(f"{where}: {key} is a command, and no table of its options", f"write [{key}]")
        near = close(key, [*options, *(tables or [])])
        raise UsageError(f"{where}: there is no option '{key}'", f"did you mean '{near}'?" if near else "remove it")
    if option.is_flag:
        if not isinstance(value, bool):
            raise UsageError(f"{where}: {key} is not true or false", f"write {key} = true")
        return value
    value = option.joined if value is True and option.joined is not None else value
    values = value if isinstance(value, list) and option.multiple else [value]
    if not all(isinstance(each, str | int | float) and not isinstance(each, bool) for each in values):
        form = "a list of strings" if option.multiple else "a string or a number"
        raise UsageError(f"{where}: {key} is not {form}", "write it as on the command line, in quotes")
    texts = [str(each) for each in values]
    if any("\0" in each for each in texts):
        raise UsageError(f"{where}: {key} holds a NUL", "write it as on the command line")
    return texts if option.multiple else texts[0]


def _defaults(table: Table, command: click.Command) -> Table:
    """Return the values by the names of the command's parameters."""
    return {option.name: table[key] for key, option in _options(command).items() if key in table and option.name}
