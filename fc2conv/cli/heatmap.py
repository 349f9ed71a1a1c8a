"""`fc2conv heatmap MODEL IMAGE OUT.png`: where a sliding network sees a class on a picture of any size."""

from __future__ import annotations

import re
from typing import Any

import click

import fc2conv
from fc2conv.cli import parameters
from fc2conv.cli.console import Command, configuration, say
from fc2conv.cli.option import option
from fc2conv.cli.values import files
from fc2conv.errors import ExitCode
from fc2conv.io.apart import check_apart
from fc2conv.options import HeatmapOptions, Limits


def numbers(value: str) -> tuple[float, ...]:
    """`0.485,0.456,0.406`, one number for all channels or one for each."""
    try:
        return tuple(float(number) for number in value.split(","))
    except ValueError:
        raise click.BadParameter(f"'{value}' is not X or X,X,X such as 0.485,0.456,0.406") from None


def deviations(value: str) -> tuple[float, ...]:
    """As `numbers`, all above 0."""
    found = numbers(value)
    if not all(number > 0 for number in found):
        raise click.BadParameter(f"'{value}' has a number that is not above 0")
    return found


def size(value: str) -> tuple[int, int]:
    """`480x640`, height and width in pixels."""
    found = re.fullmatch(r"([1-9][0-9]{0,4})x([1-9][0-9]{0,4})", value)
    if found is None:
        raise click.BadParameter(f"'{value}' is not HEIGHTxWIDTH such as 480x640")
    return int(found[1]), int(found[2])


@click.command(
    cls=Command,
    epilog="""\b
Examples: a network that slides; where it sees class 281
  fc2conv vgg16.onnx fcn.onnx --fully-convolutional --score-map probabilities
  fc2conv heatmap fcn.onnx cat.jpg out.png --class 281 \\
    --mean 0.485,0.456,0.406 --std 0.229,0.224,0.225
""",
)
@click.argument("model", metavar="MODEL", type=parameters.model, shell_complete=files)
@click.argument("image", metavar="IMAGE", shell_complete=files)
@click.argument("output", metavar="OUT.png", shell_complete=files)
@option(
    "--class",
    "label",
    affects="picture",
    metavar="N",
    type=click.IntRange(min=0),
    help="The class, from 0; the best one by default.",
)
@option(
    "--output",
    "output_name",
    affects="picture",
    metavar="NAME",
    help="The map, where the network has several; the first one.",
)
@option(
    "--scale", affects="picture", metavar="X", type=float, default=1 / 255, help="What a pixel is multiplied by; 1/255."
)
@option(
    "--mean",
    affects="picture",
    metavar="X,X,X",
    type=numbers,
    default="0",
    help="What is subtracted then, per channel.",
)
@option(
    "--std",
    affects="picture",
    metavar="X,X,X",
    type=deviations,
    default="1",
    help="What the rest is divided by, per channel.",
)
@option(
    "--channels",
    affects="picture",
    type=click.Choice(["rgb", "bgr"]),
    default="rgb",
    show_default=True,
    help="Order of the channels.",
)
@option("--size", affects="picture", metavar="HxW", type=size, help="Resize the picture first; as it is by default.")
@parameters.limiting
@option("-q", "--quiet", affects="printing", is_flag=True, help="No text: errors and the exit code only.")
@parameters.configuring
def heatmap(model: str, image: str, output: str, quiet: bool, output_name: str | None, **given: Any) -> ExitCode:
    """Draw where MODEL sees a class on IMAGE.

    MODEL is a network that --fully-convolutional has made: it tells where each cell of its map lies. OUT.png is the
    picture in grey with the scores over it. Needs Pillow: pip install 'fc2conv[image]'.
    """
    bgr = given.pop("channels") == "bgr"
    check_apart([("the picture", output)], configuration())
    limits = Limits(given.pop("timeout"), given.pop("memory_limit"))
    seen = fc2conv.heatmap(model, image, output, HeatmapOptions(output=output_name, bgr=bgr, limits=limits, **given))
    if not quiet:
        rows, columns = seen.cells
        left, top, right, bottom = seen.box
        where = f"cell {seen.cell[0]}, {seen.cell[1]} of {rows}x{columns}, pixels {left}-{right} x {top}-{bottom}"
        say(f"{output}: class {seen.label} is highest with {seen.score:.4g} at {where}\n")
    return ExitCode.DONE
