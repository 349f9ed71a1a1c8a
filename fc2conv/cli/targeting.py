"""The options of the target: which one, and what its profile says put in other words by the caller."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from fc2conv.cli.option import all_of, choice_of, flag, option
from fc2conv.cli.values import Whole, files

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem


def names(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """What the shell completes a target with: the names of those that are shipped, and files."""
    from click.shell_completion import CompletionItem

    from fc2conv.targets.lookup import shipped

    named = [CompletionItem(name) for name in shipped() if name.startswith(incomplete)]
    return [*named, *files(ctx, param, incomplete)]


def _found(ctx: click.Context, _: click.Parameter, value: str | None) -> str | None:
    """A target that there is; raises UsageError for any other, before a model is read."""
    if value is not None and not ctx.resilient_parsing:
        from fc2conv.targets.lookup import find

        find(value)
    return value


def _unknown(value: Any) -> str:
    """Why a configuration file that was found may not name this target; "" where it may."""
    from fc2conv.targets.lookup import shipped

    return "" if value in shipped() else "names a target that fc2conv does not ship"


def _limit(name: str, help_: str) -> Any:
    return option(name, affects="conversion", metavar="N", type=Whole(name[2:].replace("-", "_")), help=help_)


options = all_of(
    option(
        "--target",
        affects="conversion",
        found=_unknown,
        callback=_found,
        metavar="NAME|FILE.toml",
        shell_complete=names,
        help="Write the forms that this target accepts and runs best; `fc2conv targets` lists them.",
    ),
    choice_of(
        "--conv-rank",
        ["auto", "1d", "2d"],
        affects="conversion",
        help="Choose the rank of convolutions; auto is that of the network's own, else 2-D.",
    ),
    choice_of(
        "--layer-form",
        ["auto", "keep", "map", "point"],
        affects="conversion",
        help="Write a kernel over the map, a 1x1 on its cells as channels, or no convolution; auto asks the target.",
    ),
    choice_of(
        "--norms",
        ["auto", "keep", "map"],
        affects="conversion",
        help="Write norms of the channels as they are, or as reductions over axis 1 where that saves layout nodes; "
        "auto asks the target.",
    ),
    flag(
        "--qdq",
        affects="conversion",
        help="Write quantized layers as Conv between DequantizeLinear and QuantizeLinear.",
    ),
    flag(
        "--requantize",
        affects="conversion",
        help="Quantize weights per output that were quantized along their inputs (FC209); the numbers change, and the "
        "report says by how much.",
    ),
    _limit("--max-kernel", "Split kernels whose side is larger than N into a sum."),
    _limit("--max-kernel-area", "Split kernels whose area is larger than N into a sum."),
    _limit("--max-channels", "Split layers of more than N channels: inputs into a sum, outputs into a Concat."),
    _limit("--channel-multiple", "Pad input and output channels to a multiple of N, and cut the padding off again."),
    option(
        "--static",
        affects="conversion",
        joined="1",
        metavar="[=N]",
        type=Whole("static"),
        help="Write the batch N (1 for --static alone) and the sizes of --overwrite-input-shape into OUT.",
    ),
    choice_of(
        "--outputs",
        ["keep", "4d"],
        affects="conversion",
        help="Keep the shapes of outputs, or leave results as maps [N, M, 1, 1] without a layout node.",
    ),
    heading="Form and target",
)
