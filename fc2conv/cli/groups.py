"""Groups of options that several commands have: of the target, of the fully convolutional mode, of a comparison."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import TYPE_CHECKING, Any, get_args

import click

from fc2conv.cli.option import (
    by_name,
    choice_of,
    files,
    flag,
    group,
    interval,
    named_numbers,
    option,
    output_tolerance,
    path,
    providers,
    tolerance,
    whole,
)
from fc2conv.options import (
    ConvRank,
    GlobalPool,
    LayerForm,
    Norms,
    OrtOpt,
    OutputForm,
    Padding,
    Reduction,
    ScoreMap,
    SlidingOptions,
)

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem


def target_names(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return the completions of a target for the shell: the names of the shipped targets, and files."""
    from click.shell_completion import CompletionItem

    from fc2conv.targets.lookup import shipped

    named = [CompletionItem(name) for name in shipped() if name.startswith(incomplete)]
    return [*named, *files(ctx, param, incomplete)]


def _found(ctx: click.Context, _: click.Parameter, value: str | None) -> str | None:
    """Return a target that exists; raise UsageError for any other, before a model is read."""
    if value is not None and not ctx.resilient_parsing:
        from fc2conv.targets.lookup import find

        find(value)
    return value


def _unknown(value: Any) -> str:
    """Return why a configuration file that was found may not name this target; "" where it may."""
    from fc2conv.targets.lookup import shipped

    return "" if value in shipped() else "names a target that fc2conv does not ship"


target = group(
    "Form and target",
    "conversion",
    option(
        "--target",
        found=_unknown,
        callback=_found,
        metavar="NAME|FILE.toml",
        shell_complete=target_names,
        help="Write the forms that this target accepts and runs best; `fc2conv targets` lists them.",
    ),
    choice_of(
        "--conv-rank",
        get_args(ConvRank),
        help="Choose the rank of convolutions; auto is that of the network's own, else 2-D.",
    ),
    choice_of(
        "--layer-form",
        get_args(LayerForm),
        help="Write a kernel over the map, a 1x1 on its cells as channels, or no convolution; auto asks the target.",
    ),
    choice_of(
        "--norms",
        get_args(Norms),
        help="Write norms of the channels as they are, or as reductions over axis 1 where that saves layout nodes; "
        "auto asks the target.",
    ),
    flag("--qdq", help="Write quantized layers as Conv between DequantizeLinear and QuantizeLinear."),
    flag(
        "--requantize",
        help="Quantize weights per output that were quantized along their inputs (FC209); the numbers change, and the "
        "report says by how much.",
    ),
    whole("--max-kernel", help="Split kernels whose side is larger than N into a sum."),
    whole("--max-kernel-area", help="Split kernels whose area is larger than N into a sum."),
    whole("--max-channels", help="Split layers of more than N channels: inputs into a sum, outputs into a Concat."),
    whole(
        "--channel-multiple", help="Pad input and output channels to a multiple of N, and cut the padding off again."
    ),
    whole(
        "--static",
        joined="1",
        metavar="[=N]",
        help="Write the batch N (1 for --static alone) and the sizes of --overwrite-input-shape into OUT.",
    ),
    choice_of(
        "--outputs",
        get_args(OutputForm),
        help="Keep the shapes of outputs, or leave results as maps [N, M, 1, 1] without a layout node.",
    ),
)


FULLY_CONVOLUTIONAL = "fully_convolutional"


def score_map(value: str) -> tuple[str, str]:
    """Parse `name:logits`, split at the last colon, or `logits` for all outputs, as (name, form)."""
    name, _, form = value.rpartition(":")
    if form not in get_args(ScoreMap):
        raise click.BadParameter(f"'{value}' is not logits or probabilities, nor NAME:logits or NAME:probabilities")
    return name, form


_by_name = by_name("a name is given twice")

sliding = group(
    "Fully convolutional",
    "conversion",
    flag("--fully-convolutional", help="Free the whole network from the size of its images; its outputs become maps."),
    option(
        "--input-axes",
        metavar="NAME:DIMS",
        type=named_numbers("[0-9]{1,3}", "NAME:DIM,DIM,... such as image:2,3"),
        multiple=True,
        callback=_by_name,
        help="Open these dimensions of an input, such as image:2,3; by default all spatial ones. Repeatable.",
    ),
    option(
        "--global-pool",
        type=click.Choice(get_args(GlobalPool)),
        help="Let the pooling that ends the backbone slide with a window of the training size (the default), keep "
        "it, or refuse it (error).",
    ),
    option(
        "--score-map",
        metavar="[OUTPUT:]FORM",
        type=score_map,
        multiple=True,
        callback=_by_name,
        help="Give logits or probabilities. Repeatable.",
    ),
    option("--reduce", type=click.Choice(get_args(Reduction)), help="Add one answer for the image beside each map."),
    flag("--upsample", help="Bring the maps to the size of the input, bilinearly."),
    whole(
        "--output-stride",
        metavar="R",
        help="Give a cell at every R pixels, by dilations in place of strides; 1 is every pixel.",
    ),
    option(
        "--padding",
        type=click.Choice(get_args(Padding)),
        help="Give the cells of crops within the image (keep, the default), one for each stride (same), or only those "
        "that read no padding (valid).",
    ),
    flag("--cam", help="Add class activation maps, where the pooling of one is the score."),
    flag("--verify-crops", help="Measure how far each cell is from the original on that crop."),
)
SLIDING = tuple(each.name for each in fields(SlidingOptions))
"""The parameters of the options that need the flag."""


def sliding_options(given: Mapping[str, Any]) -> SlidingOptions | None:
    """Make the library's options of the mode; None without the mode. Raise UsageError for an option that needs it."""
    used = {name: given[name] for name in SLIDING if given.get(name)}
    if used.get("verify_crops") and given.get("no_verify"):
        raise click.UsageError("--verify-crops and --no-verify exclude each other")
    if given.get(FULLY_CONVOLUTIONAL):
        return SlidingOptions(**used)
    if used:
        option = "--" + next(iter(used)).replace("_", "-")
        raise click.UsageError(f"{option} needs --fully-convolutional")
    return None


comparison = group(
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
