"""`fc2conv trace MODEL [NODE...]`: how the planner saw each node."""

from __future__ import annotations

from typing import Any

import click

import fc2conv
from fc2conv.cli import parameters
from fc2conv.cli.console import command, say
from fc2conv.cli.option import files
from fc2conv.errors import ExitCode


@command(
    "fc2conv trace model.onnx",
    "fc2conv trace model.onnx '/block0/*'",
    "fc2conv trace model.onnx fc1 --scope all",
    codes=(3, 8),
)
@click.argument("model", metavar="MODEL", type=parameters.model, shell_complete=files)
@click.argument("nodes", metavar="[NODE]...", nargs=-1)
@parameters.choice
@parameters.limiting
@parameters.configuring
def trace(model: str, nodes: tuple[str, ...], **given: Any) -> ExitCode:
    """Print what the planner knows of each node.

    That is its layout, its provenance, the rule that applies and the decision. NODE is a name or a shell pattern; a
    node without a name has that of its first output.
    """
    options = parameters.options(given)
    found = fc2conv.trace(model, nodes, options)
    from fc2conv.report.trace import to_text

    say(to_text(found))
    return ExitCode.DONE
