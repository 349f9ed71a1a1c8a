"""`fc2conv verify A B`: a comparison of two models."""

from __future__ import annotations

from typing import Any

import click

import fc2conv
from fc2conv.cli import groups, parameters
from fc2conv.cli.console import answered, check_files, command, deliver
from fc2conv.cli.option import files
from fc2conv.errors import ExitCode
from fc2conv.options import non_default
from fc2conv.version import versions


@command(
    "fc2conv verify model.onnx simplified.onnx",
    "fc2conv verify model.onnx out.onnx --rtol 1e-3",
    "fc2conv verify model.onnx out.onnx --certificate out.json",
    codes=(3, 4, 5, 6, 8),
)
@click.argument("a", metavar="A", type=parameters.model, shell_complete=files)
@click.argument("b", metavar="B", type=parameters.model, shell_complete=files)
@parameters.input_shapes
@groups.comparison
@groups.certificate
@parameters.report_files
@parameters.limiting
@parameters.printing
def verify(a: str, b: str, **given: Any) -> ExitCode:
    """Prove that two models are the same function.

    Both are also run on the same seeded random inputs. Exits with 0 for the verdicts `proved` and `agrees`, with 4 for
    `differs` and with 5 for `inconclusive`. No model is written.
    """
    options = parameters.verify_options(given)
    check_files(options, [a, b], holds="comparison")
    with answered([a, b], given) as stage:
        verification = fc2conv.verify(a, b, options, progress=stage)
    from fc2conv.report.types import Comparison

    comparison = Comparison(a=a, b=b, verification=verification, options=non_default(options), versions=versions())
    deliver(comparison, given)
    return verification.verdict.exit_code
