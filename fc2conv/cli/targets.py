"""`fc2conv targets [NAME]`: the targets, and what one of them takes."""

from __future__ import annotations

import click

from fc2conv.cli import groups, parameters
from fc2conv.cli.console import command, say
from fc2conv.cli.option import choice_of, group
from fc2conv.errors import ExitCode


@command("fc2conv targets", "fc2conv targets dla", "fc2conv targets mine.toml")
@click.argument("name", metavar="[NAME|FILE.toml]", required=False, shell_complete=groups.target_names)
@group("Output", "printing", choice_of("--output-format", ["text", "json"], help="Print text, or the profile as JSON."))
@parameters.configuring
def targets(name: str | None, output_format: str) -> ExitCode:
    """List the targets, or show one of them.

    Each limit and preference has its source and date.
    """
    from fc2conv.targets.describe import as_json, described, listed
    from fc2conv.targets.lookup import find

    if output_format == "json":
        say(as_json(name))
    else:
        say(listed() if name is None else described(find(name)))
    return ExitCode.DONE
