"""`fc2conv explain CODE`: what a reason code means."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from fc2conv.cli import parameters
from fc2conv.cli.console import Command, say
from fc2conv.errors import ExitCode
from fc2conv.reasons import Code

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem


def _codes(_: click.Context, __: click.Parameter, incomplete: str) -> list[CompletionItem]:
    from click.shell_completion import CompletionItem

    return [CompletionItem(code.value, help=code.meaning) for code in Code if code.value.startswith(incomplete.upper())]


@click.command(cls=Command)
@click.argument("code", metavar="[CODE]", type=parameters.reason_code, required=False, shell_complete=_codes)
def explain(code: Code | None) -> ExitCode:
    """Explain a reason code, or all of them."""
    from fc2conv.report.explain import as_text

    say(as_text([code] if code else Code))
    return ExitCode.DONE
