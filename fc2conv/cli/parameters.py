"""The parameters of the commands: types of arguments, shared options, and the library's options made from them."""

from __future__ import annotations

import dataclasses
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, TypeVar, get_args

import click
from click.core import ParameterSource

from fc2conv.cli import config, groups
from fc2conv.cli.console import DEBUG, GITHUB, WORDS
from fc2conv.cli.option import (
    Number,
    Whole,
    all_of,
    by_name,
    choice_of,
    files,
    flag,
    group,
    named_numbers,
    option,
    path,
    whole,
)
from fc2conv.options import Form, Limits, Only, Options, Scope, VerifyOptions
from fc2conv.reasons import Code

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

_Options = TypeVar("_Options", Options, VerifyOptions, Limits)

_FORMS: dict[str | None, Form] = {"external_data": "external", "inline": "inline", None: "keep"}
_ONLY: dict[str | None, Only] = {"exact_only": "exact", "numeric_only": "numeric"}
"""What flags choose, by their names."""


def model(value: str) -> str:
    """Return the path of a model. Refuse `-`, as a model is mapped and not streamed, and a command's bare name."""
    if not value:
        raise click.BadParameter("the path is empty")
    if value == "-":
        raise click.BadParameter("a model is mapped from its file and can't be piped; name a file")
    root = click.get_current_context().find_root().command
    if isinstance(root, click.Group) and value in root.commands:
        raise click.BadParameter(f"'{value}' is a command; a model of that name is ./{value}")
    return value


def reason_code(value: str) -> Code:
    """Parse a reason code in upper or lower case."""
    for code in Code:
        if code.value == value.upper():
            return code
    near = [f"the nearest is {code.value}; " for code in Code if code.value == f"FC{value}"]
    raise click.BadParameter(f"'{value}' is not a code; {''.join(near)}`fc2conv explain` lists them")


def codes(_: click.Context, __: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return the completions of a reason code for the shell."""
    from click.shell_completion import CompletionItem

    return [CompletionItem(code.value, help=code.meaning) for code in Code if code.value.startswith(incomplete.upper())]


def _set_debug(ctx: click.Context, _: click.Parameter, debug: bool) -> None:
    """Remember whether errors are shown with their traceback."""
    ctx.meta[DEBUG] = debug


def _set_format(ctx: click.Context, _: click.Parameter, form: str) -> str:
    ctx.meta[GITHUB] = form == "github"
    return form


input_shapes = group(
    "Input",
    "conversion",
    option(
        "--overwrite-input-shape",
        "input_shapes",
        metavar="NAME:SIZES",
        type=named_numbers("(0|[1-9][0-9]{0,17})", "NAME:SIZE,SIZE,... such as input:1,3,224,224"),
        multiple=True,
        callback=by_name("an input has two shapes"),
        help="Set the shape of an input, or of a value whose shape is unknown: input:1,3,224,224. 0 is any size. "
        "Repeatable.",
    ),
)
_frozen = group(
    "Input", "conversion", flag("--freeze-initializers", help="Treat weights that are also graph inputs as constants.")
)
_layers = group(
    "What to convert",
    "conversion",
    choice_of(
        "--scope",
        get_args(Scope),
        help="Convert layers that read a feature map, or all that have a constant weight.",
    ),
    option(
        "--include",
        metavar="PATTERN",
        multiple=True,
        help="Convert only nodes whose name matches a shell pattern such as '/head/*'. Repeatable.",
    ),
    option(
        "--exclude", metavar="PATTERN", multiple=True, help="Keep nodes whose name matches a shell pattern. Repeatable."
    ),
    whole("--max-added-transposes", help="Let a head behind a node that needs the original layout add N layout nodes."),
    flag(
        "--expand-block-quantized", help="Convert block-quantized weights that fit no kernel (FC211) in floating point."
    ),
    flag("--force", affects="proof", help="Convert also layers whose convolution onnxruntime cannot run (FC401)."),
)
choice = all_of(input_shapes, _frozen, _layers, groups.target)
limiting = group(
    "Limits",
    "limits",
    option(
        "--timeout",
        metavar="SECONDS",
        type=Number(min=0, min_open=True),
        help="Stop the work on a model after this time; 900 s by default, and more for a large model.",
    ),
    option(
        "--memory-limit",
        metavar="MIB",
        type=Whole("memory_limit", unit=1 << 20),
        callback=lambda _, __, given: None if given is None else given << 20,
        help="Stop the work on a model beyond this memory; the default depends on the model and the machine.",
    ),
)
report_files = group(
    "Output",
    "files",
    path(
        "--report",
        "report_files",
        multiple=True,
        help="Write a report. The suffix of FILE is its form: .json, .md, .html, .xml, .csv, .nodes.json. Repeatable.",
    ),
)
summary = group("Output", "printing", flag("--summary", help="Print the operators before and after, not the layers."))
writing = all_of(
    group("Verification", "proof", flag("--no-verify", help="Write OUT without proof.")),
    group(
        "Output",
        "conversion",
        flag("--external-data", help="Write the weights to a file beside OUT; by default they are stored as in IN."),
        flag("--inline", help="Write the weights inside OUT."),
    ),
)
conversion = all_of(choice, groups.sliding, groups.comparison, writing)
configuring = all_of(
    click.option(
        "--no-config",
        is_flag=True,
        is_eager=True,
        expose_value=False,
        callback=config.without,
        help="Read no file of options.",
    ),
    click.option(
        "--config",
        metavar="FILE",
        shell_complete=files,
        is_eager=True,
        expose_value=False,
        callback=config.load,
        help="Read options from FILE, not from the nearest fc2conv.toml or pyproject.toml.",
    ),
    click.option(
        "--debug", is_flag=True, is_eager=True, expose_value=False, callback=_set_debug, help="Print tracebacks."
    ),
)
quiet = flag("-q", "--quiet", help="Print no text report, only errors.")
printing = group(
    "Output",
    "printing",
    choice_of(
        "--output-format",
        ["text", "json", "github"],
        callback=_set_format,
        help="Print text, one line of JSON for each model (or batch), or text with GitHub annotations.",
    ),
    flag("--wide", help="Print whole names on a terminal, as in a pipe."),
    quiet,
    flag("-v", "--verbose", help="Print details of the verification, times and memory, and every failure of a batch."),
)
printing = all_of(printing, configuring)


def options(given: dict[str, Any]) -> Options:
    """Make the library's options from a command's parameters; a command need not have all of them."""
    reports = given.get("report_files", ())
    rest = {
        "form": _FORMS[_one_of(given, "external_data", "inline")],
        "verify": _proof(given) != "no_verify",
        "hashes": bool(reports),
        "illustrate": given.get("diff", False) or any(PurePath(path).suffix.lower() == ".html" for path in reports),
        "verification": verify_options(given),
        "limits": _pick(Limits, given),
        "sliding": groups.sliding_options({**given, "no_verify": _proof(given) == "no_verify"}),
    }
    return _pick(Options, {**given, **rest})


def _one_of(given: dict[str, Any], *names: str) -> str | None:
    """Return the flag that is given; the command line's flags override a file's. Raise UsageError for two."""
    chosen = [name for name in names if given.get(name)]
    ctx = click.get_current_context()
    chosen = [name for name in chosen if ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE] or chosen
    if len(chosen) > 1:
        flags = [f"--{name.replace('_', '-')}" for name in chosen]
        raise click.UsageError(f"{flags[0]} and {flags[1]} exclude each other")
    return next(iter(chosen), None)


def verify_options(given: dict[str, Any]) -> VerifyOptions:
    """Make the library's options of a comparison from a command's parameters."""
    words = click.get_current_context().meta[WORDS] if given.get("save_failing_inputs") else ()
    reports = given.get("report_files", ())
    rest = {"only": _ONLY.get(_proof(given)), "reports": reports, "command": words, "limits": _pick(Limits, given)}
    return _pick(VerifyOptions, {**given, **rest})


def _proof(given: dict[str, Any]) -> str | None:
    """Return the flag that says how the result is proved; None for the whole proof."""
    return _one_of(given, "exact_only", "numeric_only", "no_verify")


def _pick(kind: type[_Options], given: dict[str, Any]) -> _Options:
    """Make the options of one kind from the parameters that have the names of its fields."""
    return kind(**{field.name: given[field.name] for field in dataclasses.fields(kind) if field.name in given})
