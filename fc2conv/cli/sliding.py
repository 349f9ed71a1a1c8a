"""The options of the fully convolutional mode, and the library's options made from them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, get_args

import click

from fc2conv.cli.option import flag, group, option, whole
from fc2conv.cli.values import by_name, named_numbers
from fc2conv.options import GlobalPool, Padding, Reduction, ScoreMap, SlidingOptions

FLAG = "fully_convolutional"


def score_map(value: str) -> tuple[str, str]:
    """Parse `name:logits`, split at the last colon, or `logits` for all outputs, as (name, form)."""
    name, _, form = value.rpartition(":")
    if form not in get_args(ScoreMap):
        raise click.BadParameter(f"'{value}' is not logits or probabilities, nor NAME:logits or NAME:probabilities")
    return name, form


_by_name = by_name("a name is given twice")

options = group(
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
"""All options of the mode, in the order of the help."""

NAMES = tuple(each.name for each in fields(SlidingOptions))
"""The parameters of the options that need the flag."""


def chosen(given: Mapping[str, Any]) -> SlidingOptions | None:
    """Make the library's options of the mode; None without the mode. Raise UsageError for an option that needs it."""
    used = {name: given[name] for name in NAMES if given.get(name)}
    if used.get("verify_crops") and given.get("no_verify"):
        raise click.UsageError("--verify-crops and --no-verify exclude each other")
    if given.get(FLAG):
        return SlidingOptions(**used)
    if used:
        option = "--" + next(iter(used)).replace("_", "-")
        raise click.UsageError(f"{option} needs --fully-convolutional")
    return None
