"""`fc2conv batch SRC DST`: many models, each in a process of its own."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fc2conv import system
from fc2conv.cli import parameters
from fc2conv.cli.console import annotate, command, configuration, log, show, target_file
from fc2conv.cli.manifests import entry_options
from fc2conv.cli.option import choice_of, count, flag, group, option, path
from fc2conv.cli.progress import Progress
from fc2conv.cli.values import files
from fc2conv.errors import ExitCode, UsageError
from fc2conv.io.apart import check_apart, inputs, reads
from fc2conv.io.files import check_folder

if TYPE_CHECKING:
    from fc2conv.batch.journal import Shard
    from fc2conv.batch.run import Batch
    from fc2conv.batch.tasks import Engine


def _shard(_: click.Context, __: click.Parameter, value: str | None) -> tuple[int, int] | None:
    if value is None:
        return None
    found = re.fullmatch(r"([1-9][0-9]{0,8})/([1-9][0-9]{0,8})", value, re.ASCII)
    if not found or int(found[1]) > int(found[2]):
        raise click.BadParameter(f"'{value}' is not I/N such as 1/4, counted from 1")
    return int(found[1]), int(found[2])


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
    read = [("the source", source), *configuration(), *target_file(), *reads(proof), *inputs(proof)]
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
    show(found, given)
    annotate([found], given)
    for error in unmatched(made, found):
        parameters.complain(error)
        code = max(code, error.exit_code)
    return code


def _batch(source: str, destination: str, given: dict[str, Any]) -> Batch:
    from fc2conv.batch.discover import discover, of_shard
    from fc2conv.batch.journal import Shard
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
    shard: Shard | None = Shard(*given["shard"]) if given["shard"] else None
    return Batch(
        source=source,
        destination=destination,
        items=of_shard(items, shard),
        options=options,
        own=own,
        run=Path(given["run_folder"]) if given["run_folder"] else None,
        shard=shard,
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
