"""The options of the target: its name, and what the caller sets instead of its profile."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, get_args

import click

from fc2conv.cli.option import choice_of, flag, group, option, whole
from fc2conv.cli.values import files
from fc2conv.options import ConvRank, LayerForm, Norms, OutputForm

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem


def names(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
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


options = group(
    "Form and target",
    "conversion",
    option(
        "--target",
        found=_unknown,
        callback=_found,
        metavar="NAME|FILE.toml",
        shell_complete=names,
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
