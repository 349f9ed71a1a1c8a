"""`fc2conv trace MODEL [NODE...]`: how the planner saw each node."""

from __future__ import annotations

from typing import Any

import click

import fc2conv
from fc2conv.cli import parameters
from fc2conv.cli.console import Command, say
from fc2conv.cli.values import files
from fc2conv.errors import ExitCode


@click.command(
    cls=Command,
    epilog="""\b
Examples: every node; the nodes of one block; what holds one layer back
  fc2conv trace model.onnx
  fc2conv trace model.onnx '/block0/*'
  fc2conv trace model.onnx fc1 --scope all
""",
)
@click.argument("model", metavar="MODEL", type=parameters.model, shell_complete=files)
@click.argument("nodes", metavar="[NODE]...", nargs=-1)
@parameters.choice
@parameters.limiting
def trace(model: str, nodes: tuple[str, ...], **given: Any) -> ExitCode:
    """Show each node as the planner saw it: layout, provenance, rule and decision.

    NODE is the name of a node or a shell pattern; a node without a name is called by its first output. Writes no model.
    """
    options = parameters.options(given)
    found = fc2conv.trace(model, nodes, options)
    from fc2conv.report.trace import to_text

    say(to_text(found))
    return ExitCode.DONE
