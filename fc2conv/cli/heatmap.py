"""`fc2conv heatmap MODEL IMAGE OUT.png`: where a sliding network sees a class on a picture of any size."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

import fc2conv
from fc2conv.cli import parameters
from fc2conv.cli.console import command, named_files, say
from fc2conv.cli.option import Number, choice_of, files, flag, group, interval, option, whole
from fc2conv.errors import ExitCode, InputError
from fc2conv.io.apart import check_apart
from fc2conv.io.escape import counted
from fc2conv.options import HeatmapOptions, Limits

if TYPE_CHECKING:
    from fc2conv.report.sliding import Seen


def numbers(value: str) -> tuple[float, ...]:
    """Parse `0.485,0.456,0.406`: one number for all channels or one for each."""
    try:
        found = tuple(float(number) for number in value.split(","))
    except ValueError:
        found = (math.nan,)
    if not all(map(math.isfinite, found)):
        raise click.BadParameter(f"'{value}' is not X or X,X,X such as 0.485,0.456,0.406")
    return found


def factor(value: str) -> float:
    """Parse `0.5`: one number for all channels."""
    found = numbers(value)
    if len(found) > 1:
        raise click.BadParameter(f"'{value}' is not one number")
    return found[0]


def deviations(value: str) -> tuple[float, ...]:
    """Parse numbers as `numbers` does, all above 0."""
    found = numbers(value)
    if not all(number > 0 for number in found):
        raise click.BadParameter(f"'{value}' has a number that is not above 0")
    return found


def size(value: str) -> tuple[int, int]:
    """Parse `480x640`: height and width in pixels."""
    found = re.fullmatch(r"([1-9][0-9]{0,4})x([1-9][0-9]{0,4})", value)
    if found is None:
        raise click.BadParameter(f"'{value}' is not HEIGHTxWIDTH such as 480x640")
    return int(found[1]), int(found[2])


@command(
    "fc2conv heatmap fcn.onnx cat.jpg out.png",
    "fc2conv heatmap fcn.onnx cat.jpg out.png --class 281 --legend",
    "fc2conv heatmap fcn.onnx photos sheets --top 5 --labels names.txt",
    codes=(3, 6, 8),
)
@click.argument("model", metavar="MODEL", type=parameters.model, shell_complete=files)
@click.argument("image", metavar="IMAGE", shell_complete=files)
@click.argument("output", metavar="OUT.png", shell_complete=files)
@group(
    "Picture",
    "picture",
    option(
        "--class",
        "label",
        metavar="N|NAME",
        multiple=True,
        help="Draw this class: a number from 0, or a name from --labels. Repeatable; the best one by default.",
    ),
    whole("--top", metavar="K", help="Draw the K best classes."),
    option("--labels", "names", metavar="FILE", help="Read the names of the classes: one in each line, or JSON."),
    option(
        "--output",
        "output_name",
        metavar="NAME",
        help="Draw this map, where the network has several; the first by default.",
    ),
    option(
        "--scale", metavar="X", type=factor, default=str(1 / 255), help="Multiply each pixel by X; by default 1/255."
    ),
    option("--mean", metavar="X,X,X", type=numbers, default="0", help="Subtract X from each channel then."),
    option("--std", metavar="X,X,X", type=deviations, default="1", help="Divide each channel by X last."),
    choice_of("--channels", ["rgb", "bgr"], help="Choose the order of the channels."),
    option("--size", metavar="HxW", type=size, help="Resize the picture first."),
    option(
        "--range",
        "value_range",
        metavar="LOW,HIGH",
        type=interval("0,1"),
        help="Set the scores drawn darkest and brightest; the lowest and highest by default.",
    ),
    option(
        "--opacity",
        metavar="X",
        type=Number(0, 1),
        default=0.6,
        show_default=True,
        help="Set how much of the picture the scores cover.",
    ),
    flag("--box", help="Frame the crop of the best cell."),
    flag("--legend", help="Write the class and the scale below, as on a sheet."),
    flag("--npy", "save_map", help="Write the whole map beside OUT, as .npy."),
)
@parameters.limiting
@group("Output", "printing", parameters.quiet)
@parameters.configuring
def heatmap(
    model: str,
    image: str,
    output: str,
    quiet: bool,
    output_name: str | None,
    label: Sequence[str],
    top: int | None,
    **given: Any,
) -> ExitCode:
    """Draw where a sliding network sees a class.

    MODEL was made by --fully-convolutional. OUT.png (or .jpg) is the picture in grey with the scores over it; several
    classes make a sheet. IMAGE may be a folder, and then OUT.png is one too. An image that does not fit into the memory
    is run in tiles. Needs Pillow: pip install 'fc2conv[image]'.
    """
    if label and top is not None:
        raise click.UsageError("--class and --top exclude each other")
    bgr = given.pop("channels") == "bgr"
    written = [] if os.path.isdir(image) else [("the picture", output)]
    check_apart(written, named_files())
    limits = Limits(given.pop("timeout"), given.pop("memory_limit"))
    options = HeatmapOptions(
        output=output_name, bgr=bgr, limits=limits, label=tuple(label) or None, top=top or 1, **given
    )
    if written:
        _tell(fc2conv.heatmap(model, image, output, options), quiet)
        return ExitCode.DONE
    found = fc2conv.heatmaps(model, image, output, options)
    failed = [each for each in found if isinstance(each, fc2conv.Unseen)]
    for each in found:
        if not isinstance(each, fc2conv.Unseen):
            _tell(each, quiet)
    if failed:
        first = f"{len(failed)} of {counted(len(found), 'picture')} not drawn; the first: {failed[0].message}"
        raise InputError(first, failed[0].remedy)
    return ExitCode.DONE


def _tell(seen: Seen, quiet: bool) -> None:
    if quiet:
        return
    rows, columns = seen.cells
    if any(seen.cut):
        cut = " and ".join(map(counted, seen.cut, ("row", "column")))
        said = f"without the last {cut}, with which the network does not run"
        say(f"{seen.picture}: {said}\n")
    for each in seen.classes:
        left, top, right, bottom = each.box
        name = f" ({each.name})" if each.name else ""
        where = f"cell (row {each.cell[0]}, column {each.cell[1]}) of {rows}x{columns} (rows x columns)"
        pixels = f"pixels x {left}-{right}, y {top}-{bottom}"
        say(f"{seen.picture}: class {each.label}{name} is highest with {each.score:.4g} at {where}, {pixels}\n")
