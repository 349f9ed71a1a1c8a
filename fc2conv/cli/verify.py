"""`fc2conv verify A B`: a comparison of two models."""

from __future__ import annotations

from typing import Any

import click

import fc2conv
from fc2conv.cli import comparison, parameters
from fc2conv.cli import progress_line as stages
from fc2conv.cli.console import Command, annotate, check_compares, check_files, show, write_reports
from fc2conv.cli.values import files
from fc2conv.errors import ExitCode
from fc2conv.options import told
from fc2conv.version import versions


@click.command(
    cls=Command,
    epilog="""\b
Examples: with a tolerance; against the report of the conversion
  fc2conv verify model.onnx out.onnx --rtol 1e-3
  fc2conv model.onnx out.onnx --report out.json
  fc2conv verify model.onnx out.onnx --certificate out.json
""",
)
@click.argument("a", metavar="A", type=parameters.model, shell_complete=files)
@click.argument("b", metavar="B", type=parameters.model, shell_complete=files)
@parameters.input_shapes
@comparison.options
@comparison.certificate
@parameters.report_files
@parameters.limiting
@parameters.printing
def verify(a: str, b: str, **given: Any) -> ExitCode:
    """Prove that the models A and B are the same function, or say where they part.

    Both also run on the same seeded random inputs; no model is written. Exits with 0 where the verdict is `proved` or
    `agrees`, with 4 for `differs` and with 5 for `inconclusive`.
    """
    options = parameters.verify_options(given)
    check_files(options, [a, b])
    check_compares(given["report_files"])
    with stages.shown(b, given) as stage:
        verification = fc2conv.verify(a, b, options, progress=stage)
    from fc2conv.report.types import Comparison

    comparison = Comparison(a=a, b=b, verification=verification, options=told(options), versions=versions())
    write_reports([comparison], given["report_files"])
    show(comparison, given)
    annotate([comparison], given)
    return verification.verdict.exit_code
