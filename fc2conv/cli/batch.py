"""`fc2conv batch SRC DST`: many models, each in a process of its own, and the options of a manifest's entries."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from fc2conv import system
from fc2conv.cli import groups, parameters
from fc2conv.cli.console import command, complain, deliver, log, named_files
from fc2conv.cli.option import Option, choice_of, count, files, flag, group, option, path
from fc2conv.cli.progress import Progress
from fc2conv.errors import ExitCode, UsageError
from fc2conv.io.apart import check_apart, inputs, reads
from fc2conv.io.files import check_folder
from fc2conv.options import Options

if TYPE_CHECKING:
    from fc2conv.batch.journal import Shard
    from fc2conv.batch.run import Batch
    from fc2conv.batch.tasks import Engine


def _shard(_: click.Context, __: click.Parameter, value: str | None) -> Shard | None:
    from fc2conv.batch.journal import Shard

    if value is None:
        return None
    found = re.fullmatch(r"([1-9][0-9]{0,8})/([1-9][0-9]{0,8})", value, re.ASCII)
    if not found or int(found[1]) > int(found[2]):
        raise click.BadParameter(f"'{value}' is not I/N such as 1/4, counted from 1")
    return Shard(int(found[1]), int(found[2]))


@command(
    "fc2conv batch zoo out --jobs 4",
    "fc2conv batch 'zoo/**/*.onnx' out --scope all --max-failures 10",
    "fc2conv batch models.csv out --shard 1/8",
    codes=(3, 6, 7, 8),
)
@click.argument("source", metavar="SRC", shell_complete=files)
@click.argument("destination", metavar="DST", shell_complete=files)
@group(
    "Batch",
    "run",
    count("--jobs", help="Work on N models at a time; one per core by default."),
    choice_of("--engine", ["local", "dask"], affects="code", help="Use processes of this machine, or a Dask cluster."),
    option("--scheduler", affects="code", metavar="ADDRESS", help="Use the Dask cluster at tcp://... or tls://..."),
    count("--models-per-process", default=100, show_default=True, help="Replace a process of the pool after N models."),
    option("--shard", metavar="I/N", callback=_shard, help="Convert part I of N, chosen by model names."),
    option("--resume/--no-resume", default=True, show_default=True, help="Skip models that are done already."),
    flag("--retry", help="Repeat also kept, invalid, different and inconclusive models."),
    count("--max-failures", help="Stop after N models that fail in this run."),
)
@group(
    "Output",
    "files",
    path(
        "--run",
        "run_folder",
        metavar="FOLDER",
        help="Keep the journal and the reports in FOLDER; by default DST/.fc2conv.",
    ),
)
@parameters.conversion
@parameters.limiting
@parameters.printing
def batch(source: str, destination: str, **given: Any) -> ExitCode:
    """Convert many models, unattended.

    SRC is a folder, a glob, a manifest (.csv, .json, .yaml), a ZIP archive or a URL. The outputs have the names of the
    models, below DST. A model that fails costs a row of the report, never the run: each is converted by a process of
    its own. The same command again continues where the last one stopped.
    """
    from fc2conv.batch import results
    from fc2conv.batch.run import run, unmatched

    made = _batch(source, destination, given)
    proof = made.options.verification
    read = [("the source", source), *named_files(), *reads(proof), *inputs(proof)]
    check_apart(results.made_in(made.folder), read)
    engine = _engine(made, given)
    try:
        with Progress(len(made.items), quiet=given["quiet"]) as progress:
            code = run(made, engine, progress)
    except KeyboardInterrupt:
        results.write_all(made.folder)
        log(f"fc2conv: stopped; the same command continues, and `fc2conv report {made.folder}` shows what is done")
        raise
    found = results.write_all(made.folder)
    deliver(found, given)
    for error in unmatched(made, found):
        complain(error, click.get_current_context().meta)
        code = max(code, error.exit_code)
    return code


def _batch(source: str, destination: str, given: dict[str, Any]) -> Batch:
    from fc2conv.batch.discover import discover, of_shard
    from fc2conv.batch.manifest import is_manifest, read_manifest, refuse_replacing
    from fc2conv.batch.run import Batch

    options, own = replace(parameters.options(given), for_many=True), {}
    if (folder := options.verification.save_failing_inputs) is not None:
        check_folder(folder)
    if is_manifest(source):
        entries = read_manifest(source)
        refuse_replacing(source, entries, destination)
        items = [entry.item for entry in entries]
        own = {
            entry.item.name: replace(entry_options(given, entry.given, entry.where), for_many=True)
            for entry in entries
            if entry.given
        }
    else:
        items = discover(source, destination)
    return Batch(
        source=source,
        destination=destination,
        items=of_shard(items, given["shard"]),
        options=options,
        own=own,
        run=Path(given["run_folder"]) if given["run_folder"] else None,
        shard=given["shard"],
        resume=given["resume"],
        retry=given["retry"],
        max_failures=given["max_failures"],
    )


def _engine(made: Batch, given: dict[str, Any]) -> Engine:
    from fc2conv.batch.remote import in_memory
    from fc2conv.batch.run import scratch

    jobs = min(given["jobs"] or system.cores(), max(1, len(made.items)))
    if given["engine"] == "dask" or given["scheduler"]:
        from fc2conv.batch.dasked import DaskEngine

        return DaskEngine(given["scheduler"], jobs)
    if in_memory(made.source) or in_memory(made.destination):
        from fc2conv.batch.perform import InlineEngine

        return InlineEngine()
    from fc2conv.batch.local import LEAST_SHARE, LocalEngine, share

    if given["jobs"] and not given["memory_limit"] and (least := share(jobs)) < LEAST_SHARE:
        what = f"--jobs {given['jobs']} leaves {least >> 20} MiB of memory to each model"
        raise UsageError(what, f"give at most --jobs {max(1, share(1) // LEAST_SHARE)}, or --memory-limit")

    return LocalEngine(jobs, scratch(made), given["models_per_process"])


@click.command(add_help_option=False)
@parameters.conversion
@parameters.limiting
def _entry(**given: Any) -> None:
    """Take the options that an entry may have."""


def entry_options(given: Mapping[str, Any], own: Mapping[str, Any], where: str) -> Options:
    """Return the options of one entry: those `given` on the command line, replaced by the entry's `own`.

    A key is an option without its dashes. An entry that turns the fully convolutional mode off turns all of its options
    off. Raise UsageError that names the place, for an unknown key and for a value that the option would refuse.
    """
    names = {option.lstrip("-"): param for param in _entry.params for option in param.opts}
    off: dict[str, Any] = {}
    words: list[str] = []
    for key, value in own.items():
        param = names.get(key)
        if not isinstance(param, click.Option):
            raise UsageError(f"{where}: {key!r} is not an option", f"an entry may have {', '.join(sorted(names))}")
        if param.is_flag:
            if _flag(key, value, where):
                words.append(f"--{key}")
            else:
                off[str(param.name)] = False
                if param.name == groups.FULLY_CONVOLUTIONAL:
                    off |= dict.fromkeys(groups.SLIDING)
        else:
            words += [f"--{key}={each}" for each in _values(param, value)]
    try:
        with _entry.make_context("manifest", words, click.get_current_context(silent=True)) as context:
            source, written = context.get_parameter_source, ParameterSource.COMMANDLINE
            read = {name: value for name, value in context.params.items() if source(name) is written}
            return parameters.options({**given, **read, **off})
    except click.ClickException as error:
        raise UsageError(f"{where}: {error.format_message()}", "correct the manifest") from error


def _values(param: click.Option, value: Any) -> Iterator[str]:
    """Yield the values of an option: those of a list for a repeatable option; in CSV a `;` separates them."""
    if value is True and isinstance(param, Option) and param.joined is not None:
        yield param.joined
    elif isinstance(value, list):
        yield from map(str, value)
    elif param.multiple and isinstance(value, str):
        yield from value.split(";")
    else:
        yield str(value)


def _flag(key: str, value: Any, where: str) -> bool:
    known = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
    if str(value).lower() not in known:
        raise UsageError(f"{where}: {key} is true or false, and not {value!r}", "correct the manifest")
    return known[str(value).lower()]
