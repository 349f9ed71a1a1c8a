"""The options of how two models are compared."""

from __future__ import annotations

import click

from fc2conv.cli.option import all_of, option
from fc2conv.cli.values import files, output_tolerance, tolerance, val_range

options = all_of(
    option(
        "--exact-only",
        affects="proof",
        is_flag=True,
        help="Prove, and run nothing: no number is compared.",
    ),
    option(
        "--numeric-only",
        affects="proof",
        is_flag=True,
        help="Run, and prove nothing: the numbers decide.",
    ),
    option(
        "--seed",
        affects="proof",
        metavar="N",
        type=click.IntRange(min=0),
        default=0,
        show_default=True,
        help="Seed of the random inputs, and of the primes of exact arithmetic.",
    ),
    option(
        "--check-n",
        affects="proof",
        metavar="N",
        type=click.IntRange(min=1),
        default=1,
        show_default=True,
        help="Random inputs for each batch size.",
    ),
    option(
        "--rtol", affects="proof", metavar="X", type=tolerance, help="Relative tolerance, in place of the type's own."
    ),
    option(
        "--atol", affects="proof", metavar="X", type=tolerance, help="Absolute tolerance, in place of the type's own."
    ),
    option(
        "--per-output",
        affects="proof",
        metavar="NAME:X",
        type=output_tolerance,
        multiple=True,
        callback=lambda _, __, given: dict(given),
        help="Relative tolerance of one output; repeatable.",
    ),
    option(
        "--val-range",
        affects="proof",
        metavar="LOW,HIGH",
        type=val_range,
        help="Range of the random inputs, such as 0,255.",
    ),
    option(
        "--load-inputs",
        affects="proof",
        metavar="FILE",
        shell_complete=files,
        multiple=True,
        help="Inputs from FILE.npz, or NAME:FILE.npy, in place of random ones; repeatable.",
    ),
    option(
        "--save-failing-inputs",
        affects="files",
        metavar="DIR",
        shell_complete=files,
        help="Where the models differ, write the inputs that show it to DIR.",
    ),
    option(
        "--ort-opt",
        affects="proof",
        type=click.Choice(["disable", "all", "both"]),
        default="disable",
        show_default=True,
        help="onnxruntime's graph optimizations while the models are compared.",
    ),
    option(
        "--providers",
        affects="code",
        metavar="NAMES",
        default="",
        callback=lambda _, __, given: tuple(name for name in given.split(",") if name),
        help="onnxruntime's execution providers, with commas between; the CPU by default.",
    ),
    option(
        "--custom-op-library",
        "custom_op_libraries",
        affects="code",
        metavar="PATH",
        shell_complete=files,
        multiple=True,
        help="Give onnxruntime the operators of this library, whose code then runs; repeatable.",
    ),
)
certificate = option(
    "--certificate",
    affects="proof",
    metavar="FILE",
    shell_complete=files,
    help="Prove once more what FILE, written by --report, says of A and B: its files, seed, primes, residues.",
)
