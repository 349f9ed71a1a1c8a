"""The options of the comparison of two models."""

from __future__ import annotations

from typing import get_args

from fc2conv.cli.option import choice_of, flag, group, option, path, whole
from fc2conv.cli.values import by_name, interval, output_tolerance, providers, tolerance
from fc2conv.options import OrtOpt

options = group(
    "Verification",
    "proof",
    flag("--exact-only", help="Prove only: run nothing and compare no numbers."),
    flag("--numeric-only", help="Compare numbers only: prove nothing."),
    whole("--seed", default=0, show_default=True, help="Seed the random inputs and the primes of exact arithmetic."),
    whole("--check-n", default=1, show_default=True, help="Run N random inputs for each batch size."),
    option("--rtol", metavar="X", type=tolerance, help="Set the relative tolerance, in place of the default."),
    option("--atol", metavar="X", type=tolerance, help="Set the absolute tolerance, in place of the default."),
    option(
        "--per-output",
        metavar="NAME:X",
        type=output_tolerance,
        multiple=True,
        callback=by_name("one output has two tolerances"),
        help="Set the relative tolerance of one output. Repeatable.",
    ),
    option(
        "--val-range",
        metavar="LOW,HIGH",
        type=interval("0,255"),
        help="Set the range of the random inputs, such as 0,255.",
    ),
    path(
        "--load-inputs",
        multiple=True,
        help="Load inputs from FILE.npz, or from NAME:FILE.npy, in place of random ones. Repeatable.",
    ),
    path(
        "--save-failing-inputs",
        affects="files",
        metavar="DIR",
        help="Write the inputs on which the models differ to DIR.",
    ),
    choice_of("--ort-opt", get_args(OrtOpt), help="Choose onnxruntime's graph optimizations for the comparison."),
    option(
        "--providers",
        affects="code",
        metavar="NAMES",
        type=providers,
        callback=lambda _, __, given: given or (),
        help="Choose onnxruntime's execution providers, separated by commas; the CPU by default.",
    ),
    path(
        "--custom-op-library",
        "custom_op_libraries",
        affects="code",
        metavar="PATH",
        multiple=True,
        help="Load the operators of this library into onnxruntime; its code runs. Repeatable.",
    ),
)
certificate = group(
    "Verification",
    "proof",
    path(
        "--certificate",
        help="Repeat the proof that FILE (from --report) records, and compare files, seed, primes and residues.",
    ),
)
