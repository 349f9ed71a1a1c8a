"""`fc2conv explain CODE`: what a reason code means."""

from __future__ import annotations

import click

from fc2conv.cli import parameters
from fc2conv.cli.console import command, say
from fc2conv.errors import ExitCode
from fc2conv.reasons import Code


@command()
@click.argument("code", metavar="[CODE]", type=parameters.reason_code, required=False, shell_complete=parameters.codes)
def explain(code: Code | None) -> ExitCode:
    """Explain a reason code, or all of them."""
    say("\n".join(map(entry, [code] if code else Code)))
    return ExitCode.DONE


def entry(code: Code) -> str:
    """Draw the code, its meaning and its remedy within 80 columns."""
    import textwrap

    said = [textwrap.fill(f"  {text}", 80, subsequent_indent="  ") for text in (code.meaning, f"Remedy: {code.remedy}")]
    return "\n".join([code.value, *said, ""])
