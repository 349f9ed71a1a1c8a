"""The driver: what is to be done goes to the engine, what comes back goes to the journal."""

from __future__ import annotations

import math
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import field, replace
from pathlib import Path
from typing import Protocol

from fc2conv.batch.journal import Entry, Header, Journal, Shard, known_of
from fc2conv.batch.remote import is_url, store
from fc2conv.batch.results import check
from fc2conv.batch.stores import RUN_FOLDER
from fc2conv.batch.tasks import SCRATCH, Answer, Engine, Item, Task
from fc2conv.dataclass import dataclass
from fc2conv.errors import ExitCode, UsageError
from fc2conv.io import choices
from fc2conv.io.files import resolved
from fc2conv.io.workspace import sweep
from fc2conv.options import Options
from fc2conv.report.types import WRITTEN, BatchReport, BatchRow, Outcome
from fc2conv.system import deferred_stops
from fc2conv.version import versions

_PATIENCE = 0.5
_REFUSALS: tuple[Outcome, ...] = ("kept", "invalid", "differs", "inconclusive")
_SETTLED: tuple[Outcome, ...] = (*WRITTEN, *_REFUSALS)


@dataclass(frozen=True)
class Batch:
    """What a run is asked to do.

    `own` are the options of single models by name, instead of `options`. `run` is the folder of the journal; `None` is
    one below DST. `resume` skips what is done, `retry` repeats what was kept or refused. After `max_failures` models
    that failed now, and not in an earlier run, the run stops.
    """

    source: str
    destination: str
    items: Sequence[Item]
    options: Options = field(default_factory=Options)
    own: Mapping[str, Options] = field(default_factory=dict)
    run: Path | None = None
    shard: Shard | None = None
    resume: bool = True
    retry: bool = False
    max_failures: int | None = None

    @property
    def folder(self) -> Path:
        """The run folder; raises UsageError where DST is remote and no folder was named."""
        if self.run is None and is_url(self.destination):
            raise UsageError(f"{self.destination} is remote, and a journal is a local file", "name a folder with --run")
        return self.run or Path(self.destination) / RUN_FOLDER


class Watcher(Protocol):
    """An observer of a run."""

    def started(self, name: str) -> None:
        """Note that a model was handed to the engine."""

    def finished(self, name: str, outcome: Outcome, message: str, *, same: bool) -> None:
        """Note that a model is done; `same`: an earlier run did it."""

    def tick(self) -> None:
        """Note that time has passed."""


def run(batch: Batch, engine: Engine, watcher: Watcher) -> ExitCode:
    """Convert every model of a batch, and return BATCH_FAILURES where one failed.

    A model costs a row, whatever it does. Raise UsageError where no installed package writes to the destination, and
    OutputError where the journal cannot be written or another run works on it. Close the engine in any case; the
    journal's entries stay.
    """
    try:
        if is_url(batch.destination):
            store(batch.destination)
        journal = Journal(batch.folder, batch.shard)
    except BaseException:
        engine.close()
        raise
    with journal:
        try:
            check(batch.folder)
            _sweep(batch)
            return _Driver(batch, engine, watcher, journal).drive()
        finally:
            engine.close()
            with deferred_stops():
                _sweep(batch)


class _Driver:
    """One run: the engine has `flying` models, `failed` is whether one has no output, `failures` are those of now."""

    def __init__(self, batch: Batch, engine: Engine, watcher: Watcher, journal: Journal) -> None:
        self._batch, self._engine, self._watcher, self._journal = batch, engine, watcher, journal
        self._known = known_of(batch.folder) if batch.resume else {}
        self._failures = self._flying = 0
        self._failed = False

    def drive(self) -> ExitCode:
        batch = self._batch
        header = Header(
            source=batch.source,
            destination=batch.destination,
            began_in=os.fspath(resolved(".")),
            models=len(batch.items),
            versions=versions(),
        )
        self._journal.append(Entry(run=header))
        tasks = _tasks(batch, self._known)
        most = math.inf if batch.max_failures is None else batch.max_failures
        while self._failures < most and (self._hand_out(tasks) or self._flying):
            for answer in self._engine.finished(_PATIENCE) if self._flying else ():
                self._flying -= 1
                self._note(answer)
            self._watcher.tick()
        return ExitCode.BATCH_FAILURES if self._failed else ExitCode.DONE

    def _hand_out(self, tasks: Iterator[Task]) -> bool:
        """Submit as many tasks as the engine takes; return whether there may be more."""
        while self._flying < self._engine.capacity:
            task = next(tasks, None)
            if task is None:
                return False
            self._engine.submit(task)
            self._flying += 1
            self._watcher.started(task.item.name)
        return True

    def _note(self, answer: Answer) -> None:
        if answer.row is not None:
            outcome, message = answer.row.outcome, answer.row.message
            self._journal.append(Entry(row=answer.row))
        else:
            before = self._known[answer.name]
            outcome, message = before.outcome, before.message
            self._journal.append(Entry(same=answer.name))
        failed = outcome not in WRITTEN
        self._failed |= failed
        self._failures += failed and answer.row is not None
        self._watcher.finished(answer.name, outcome, message, same=answer.row is None)


def unmatched(batch: Batch, report: BatchReport) -> list[UsageError]:
    """Return an error for each pattern that no layer of its models matches; an empty list for a part of a batch."""
    if batch.shard is not None or len(report.rows) < len(batch.items):
        return []
    layers: dict[tuple[tuple[str, ...], ...], set[str]] = {}
    sites = {row.name: row.report.sites for row in report.rows if row.report is not None}
    for item in batch.items:
        if item.name in sites:
            options = batch.own.get(item.name, batch.options)
            names = layers.setdefault((options.include, options.exclude), set())
            names.update(site.node for site in sites[item.name])
    return [
        error
        for (include, exclude), names in layers.items()
        for error in choices.unmatched(Options(include=include, exclude=exclude), names)
    ]


def _tasks(batch: Batch, known: Mapping[str, BatchRow]) -> Iterator[Task]:
    """Yield the tasks, the largest files first: a long one at the end would leave all workers but one idle."""
    again = set(_REFUSALS) if batch.retry else set()
    for item in sorted(batch.items, key=_nbytes, reverse=True):
        before = known.get(item.name)
        if before is not None and (before.outcome not in _SETTLED or before.outcome in again):
            before = None
        options = _apart(batch.own.get(item.name, batch.options), item.name)
        yield Task(item=item, destination=batch.destination, options=options, known=before)


def _nbytes(item: Item) -> int:
    """Return the size of an item that is a file here; 0 for others, which keep their order."""
    if item.kind != "file":
        return 0
    with suppress(OSError):
        return os.stat(item.location).st_size  # noqa: PTH116 (thousands)
    return 0


def _apart(options: Options, name: str) -> Options:
    """Return the options with a folder for failing inputs that is the model's own, below the given one."""
    folder = options.verification.save_failing_inputs
    if folder is None:
        return options
    return replace(options, verification=replace(options.verification, save_failing_inputs=f"{folder}/{name}"))


def _sweep(batch: Batch) -> None:
    """Remove what killed processes have left: private folders beside outputs, and their own files."""
    for left in scratch(batch).glob(f"{SCRATCH}*"):
        shutil.rmtree(left, ignore_errors=True)
    with suppress(OSError):
        scratch(batch).rmdir()
    if not is_url(batch.destination):
        for folder in {os.path.dirname(item.name) for item in batch.items}:  # noqa: PTH120 (thousands)
            sweep(Path(batch.destination, folder))


def scratch(batch: Batch) -> Path:
    """Return the folder in which the processes of a run keep temporary files."""
    return (batch.folder / batch.shard.folder if batch.shard else batch.folder) / "scratch"
