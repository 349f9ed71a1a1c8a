"""What the commands take: the types of arguments, the shared options, and the library's options made from them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import PurePath
from typing import Any, TypeVar

import click
from click.core import ParameterSource
from click.shell_completion import CompletionItem

from fc2conv.cli import config, console, sliding
from fc2conv.cli.console import WORDS
from fc2conv.cli.values import Shape, input_shape, output_tolerance, tolerance, val_range
from fc2conv.errors import Fc2convError
from fc2conv.options import Limits, Options, VerifyOptions
from fc2conv.reasons import Code

DEBUG = "fc2conv.debug"
GITHUB = "fc2conv.github"

_Options = TypeVar("_Options", Options, VerifyOptions, Limits)
_Command = TypeVar("_Command", bound=Callable[..., Any])


def model(value: str) -> str:
    """The path of a model. It is mapped, not streamed, so `-` is refused, and so is a command's bare name."""
    if value == "-":
        raise click.BadParameter("a model is mapped from its file and can't be piped; name a file")
    root = click.get_current_context().find_root().command
    if isinstance(root, click.Group) and value in root.commands:
        raise click.BadParameter(f"'{value}' is a command and stands first; a model of that name is ./{value}")
    return value


def files(_: click.Context, __: click.Parameter | None, incomplete: str) -> list[CompletionItem]:
    """What the shell completes an argument with: its own list of files."""
    return [CompletionItem(incomplete, type="file")]


def reason_code(value: str) -> Code:
    """A reason code in either case."""
    for code in Code:
        if code.value == value.upper():
            return code
    raise click.BadParameter(f"'{value}' is not a code; `fc2conv explain` lists them")


def _by_name(_: click.Context, param: click.Parameter, shapes: tuple[Shape, ...]) -> dict[str, tuple[int, ...]]:
    if len(dict(shapes)) < len(shapes):
        raise click.BadParameter("an input has two shapes", param=param)
    return dict(shapes)


def _set_debug(ctx: click.Context, _: click.Parameter, debug: bool) -> None:
    """Remember whether errors are shown with their traceback."""
    ctx.meta[DEBUG] = debug


def _set_format(ctx: click.Context, _: click.Parameter, form: str) -> str:
    ctx.meta[GITHUB] = form == "github"
    return form


def _all(*options: Callable[[_Command], _Command]) -> Callable[[_Command], _Command]:
    """Several options as one decorator; they stand in the help in this order."""

    def decorate(command: _Command) -> _Command:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


input_shapes = click.option(
    "--overwrite-input-shape",
    "input_shapes",
    metavar="NAME:SIZES",
    type=input_shape,
    multiple=True,
    callback=_by_name,
    help="Take an input to have this shape, such as input:1,3,224,224; repeatable.",
)
choice = _all(
    click.option(
        "--scope",
        type=click.Choice(["spatial", "all"]),
        default="spatial",
        show_default=True,
        help="Layers that read a feature map, or all that have a constant weight.",
    ),
    click.option("--include", metavar="PATTERN", multiple=True, help="Only nodes named like this; repeatable."),
    click.option("--exclude", metavar="PATTERN", multiple=True, help="No nodes named like this; repeatable."),
    input_shapes,
    click.option("--freeze-initializers", is_flag=True, help="Weights that are also graph inputs are constants."),
    click.option(
        "--max-added-transposes",
        metavar="N",
        type=click.IntRange(min=0),
        help="Layout nodes that a head behind an opaque node may add.",
    ),
    click.option(
        "--conv-rank",
        type=click.Choice(["auto", "1d", "2d"]),
        default="auto",
        show_default=True,
        help="Rank of convolutions over tokens and vectors; auto adds the fewest layout nodes.",
    ),
    click.option(
        "--expand-block-quantized",
        is_flag=True,
        help="Convert block-quantized weights that fit no kernel (FC211) in floating point.",
    ),
    click.option("--force", is_flag=True, help="Convert also what onnxruntime could then no longer run (FC401)."),
)
comparison = _all(
    click.option(
        "--seed",
        metavar="N",
        type=click.IntRange(min=0),
        default=0,
        show_default=True,
        help="Seed of the random inputs.",
    ),
    click.option(
        "--check-n",
        metavar="N",
        type=click.IntRange(min=1),
        default=1,
        show_default=True,
        help="Random inputs for each batch size.",
    ),
    click.option("--rtol", metavar="X", type=tolerance, help="Relative tolerance, in place of the type's own."),
    click.option("--atol", metavar="X", type=tolerance, help="Absolute tolerance, in place of the type's own."),
    click.option(
        "--per-output",
        metavar="NAME:X",
        type=output_tolerance,
        multiple=True,
        callback=lambda _, __, given: dict(given),
        help="Relative tolerance of one output; repeatable.",
    ),
    click.option("--val-range", metavar="LOW,HIGH", type=val_range, help="Range of the random inputs, such as 0,255."),
    click.option(
        "--load-inputs",
        metavar="FILE",
        shell_complete=files,
        multiple=True,
        help="Inputs from FILE.npz, or NAME:FILE.npy, in place of random ones; repeatable.",
    ),
    click.option(
        "--save-failing-inputs",
        metavar="DIR",
        shell_complete=files,
        help="Where the models differ, write the inputs that show it to DIR.",
    ),
    click.option(
        "--ort-opt",
        type=click.Choice(["disable", "all", "both"]),
        default="disable",
        show_default=True,
        help="onnxruntime's graph optimizations while the models are compared.",
    ),
    click.option(
        "--providers",
        metavar="NAMES",
        default="",
        callback=lambda _, __, given: tuple(name for name in given.split(",") if name),
        help="onnxruntime's execution providers, with commas between; the CPU by default.",
    ),
    click.option(
        "--custom-op-library",
        "custom_op_libraries",
        metavar="PATH",
        shell_complete=files,
        multiple=True,
        help="Give onnxruntime the operators of this library, whose code then runs; repeatable.",
    ),
)
limiting = _all(
    click.option(
        "--timeout",
        metavar="SECONDS",
        type=click.FloatRange(min=0, min_open=True),
        help="End the work on a model that takes longer; the default is 900 s, and more for a large model.",
    ),
    click.option(
        "--memory-limit",
        metavar="MIB",
        type=click.IntRange(min=1),
        callback=lambda _, __, given: None if given is None else given << 20,
        help="End the work on a model that takes more; the default goes by the model and the machine.",
    ),
)
report_files = click.option(
    "--report",
    "report_files",
    metavar="FILE",
    shell_complete=files,
    multiple=True,
    help="Write the report in the form of its suffix (.json, .md, .html, .xml, .csv); repeatable.",
)
certificate = click.option(
    "--certificate",
    metavar="FILE",
    shell_complete=files,
    help="Check that A, B and what is proved of them are as FILE says, written by --report.",
)
writing = _all(
    click.option("--no-verify", is_flag=True, help="Write without proof."),
    click.option("--external-data", is_flag=True, help="Weights in a file beside OUT; the default is as in IN."),
    click.option("--inline", is_flag=True, help="Weights inside OUT."),
)
configuring = _all(
    click.option(
        "--no-config",
        is_flag=True,
        is_eager=True,
        expose_value=False,
        callback=config.without,
        help="Read no options file.",
    ),
    click.option(
        "--config",
        metavar="FILE",
        shell_complete=files,
        is_eager=True,
        expose_value=False,
        callback=config.load,
        help="Options from FILE, not from the nearest fc2conv.toml or pyproject.toml.",
    ),
    click.option(
        "--debug", is_flag=True, is_eager=True, expose_value=False, callback=_set_debug, help="Show tracebacks."
    ),
)
printing = _all(
    click.option(
        "--output-format",
        type=click.Choice(["text", "json", "github"]),
        default="text",
        show_default=True,
        callback=_set_format,
        help="JSON is one line for each model, or for a whole batch; github is the text and annotations.",
    ),
    click.option("-q", "--quiet", is_flag=True, help="No text report: errors and the exit code only."),
    click.option(
        "-v",
        "--verbose",
        is_flag=True,
        help="Details of the verification, times, peak memory; each failure of a batch.",
    ),
    configuring,
)


def complain(error: Fc2convError) -> None:
    """Log an error that does not end the command, as the command line asked for it."""
    meta = click.get_current_context().meta
    console.complain(error, debug=meta[DEBUG], github=meta[GITHUB])


def options(given: dict[str, Any]) -> Options:
    """The library's options from a command's parameters, of which it need not have all."""
    reports = given.get("report_files", ())
    rest = {
        "form": _form(given),
        "verify": not given.get("no_verify"),
        "hashes": bool(reports),
        "illustrate": given.get("diff", False) or any(PurePath(path).suffix.lower() == ".html" for path in reports),
        "verification": verify_options(given),
        "limits": _pick(Limits, given),
        "sliding": sliding.chosen(given),
    }
    return _pick(Options, {**given, **rest})


def _form(given: dict[str, Any]) -> str:
    """Where OUT keeps its weights; of two that exclude each other the command line's is stronger than a file's."""
    chosen = [name for name in ("external_data", "inline") if given.get(name)]
    ctx = click.get_current_context()
    chosen = [name for name in chosen if ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE] or chosen
    if len(chosen) > 1:
        raise click.UsageError("--external-data and --inline exclude each other")
    return {"external_data": "external", "inline": "inline"}[chosen[0]] if chosen else "keep"


def verify_options(given: dict[str, Any]) -> VerifyOptions:
    """The library's options of a comparison from a command's parameters."""
    words = click.get_current_context().meta[WORDS] if given.get("save_failing_inputs") else ()
    return _pick(VerifyOptions, {**given, "command": words, "limits": _pick(Limits, given)})


def _pick(kind: type[_Options], given: dict[str, Any]) -> _Options:
    """The options of one kind: parameters are named as its fields."""
    return kind(**{field.name: given[field.name] for field in dataclasses.fields(kind) if field.name in given})
