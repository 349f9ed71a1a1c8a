"""One model, from staging to its row: what a process of its own does, on whichever machine it runs."""

from __future__ import annotations

import hashlib
import json
import time
import traceback
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import msgspec

from fc2conv.api import convert
from fc2conv.batch.remote import place
from fc2conv.batch.staging import staged
from fc2conv.batch.stores import Destination, destination, digest, sha256, still_there
from fc2conv.batch.tasks import STOPPED, TAIL, Answer, Task
from fc2conv.errors import ExitCode, Fc2convError, InputError, LimitError, OutputError, UsageError
from fc2conv.io.files import same_file
from fc2conv.io.reader import read_model
from fc2conv.options import Options, input_file
from fc2conv.report.csv import outcome
from fc2conv.report.types import BatchRow, Outcome, Run
from fc2conv.sandbox.shortage import shortage
from fc2conv.targets.lookup import source
from fc2conv.version import versions

_OUTCOMES: dict[ExitCode, Outcome] = {
    ExitCode.INPUT: "invalid",
    ExitCode.MISMATCH: "differs",
    ExitCode.INCONCLUSIVE: "inconclusive",
}


def perform(task: Task) -> Answer:
    """Convert one model; return any error that stops this as a row.

    An unchanged model is copied. Where the journal's entry is still valid (same key, same outputs), do nothing.
    """
    begin, key, name, known = time.perf_counter(), "", task.item.name, task.known
    where = destination(task.destination)
    try:
        with staged(task.item) as model:
            key = content_key(model, task.options)
            if known is not None and key == known.key and still_there(where, known.outputs):
                return Answer(name=name, row=None)
            row = _converted(task, where, model)
    except Exception as error:  # noqa: BLE001 (reported in the row, with the traceback: one model never stops the others)
        row = _stopped(name, error)
    run = Run(seconds={"total": round(time.perf_counter() - begin, 4)})
    return Answer(name=name, row=msgspec.structs.replace(row, key=key, run=run))


def _converted(task: Task, where: Destination, model: Path) -> BatchRow:
    item = task.item
    if item.kind != "zip" and same_file(place(where.place(item.name)), place(item.location)):
        raise UsageError(f"{where.place(item.name)} is the model itself", "name a DST apart from SRC")
    with where.writing(item.name) as output:
        report = convert(model, output, task.options).report
        outputs = _outputs(where, item.name, output)
    assert report.output is not None
    report = msgspec.structs.replace(
        report,
        input=msgspec.structs.replace(report.input, path=item.shown),
        output=msgspec.structs.replace(report.output, path=where.place(item.name)),
    )
    return BatchRow(name=item.name, outcome=outcome(report), outputs=outputs, report=report)


def content_key(model: Path, options: Options) -> str:
    """Compute the key of a conversion: a SHA-256 of the model's files, the options, their files, and the versions.

    The limits of time and memory are no part of it. For a model that cannot be read, the error is a part of it.
    """
    try:
        file = read_model(model)
    except InputError as error:
        files = {"": error.message.replace(str(model.parent), ""), model.name: digest(model)}
    else:
        files = {each.relative_to(model.parent).as_posix(): sha256(each) for each in file.stamps}
        file.check_unchanged()
    given = asdict(options)
    proof = given["verification"]
    given.pop("limits")
    given["target"] = None if options.target is None else source(options.target)
    for name in ("limits", "command", "reports", "save_failing_inputs"):
        proof.pop(name)
    loaded = [(name, digest(Path(path))) for name, path in map(input_file, proof.pop("load_inputs"))]
    read = [*loaded, *(("", digest(Path(path))) for path in proof.pop("custom_op_libraries"))]
    plain = {"files": files, "read": read, "options": given, "versions": versions()}
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode("ascii")).hexdigest()


def _outputs(where: Destination, name: str, output: Path) -> dict[str, str]:
    """Return the SHA-256 of the model that was written and of its data files, by their paths below DST."""
    folder = Path(name).parent
    try:
        return {
            (folder / path.relative_to(output.parent)).as_posix(): sha256(path) for path in read_model(output).stamps
        }
    except OSError as error:
        raise OutputError(f"{where.place(name)} cannot be read back ({error.strerror})", "check the disk") from error


def _stopped(name: str, stop: Exception) -> BatchRow:
    error = shortage(stop) or stop
    if not isinstance(error, Fc2convError):
        trace = traceback.format_exc()[-TAIL:]
        message = f"{type(error).__name__}: {error}: this is a fault of fc2conv, please report it"
        return BatchRow(name=name, outcome="error", exit_code=ExitCode.FAULT, message=message, stderr=trace)
    outcome, signal = _OUTCOMES.get(error.exit_code, "error"), ""
    if isinstance(error, LimitError):
        outcome, signal = STOPPED[error.limit], error.signal
    return BatchRow(name=name, outcome=outcome, exit_code=error.exit_code, message=str(error), signal=signal)


class InlineEngine:
    """The engine of a process that works itself, one model at a time: for stores that no other sees, as memory://."""

    capacity = 1

    def __init__(self) -> None:
        self._tasks: list[Task] = []

    def submit(self, task: Task) -> None:
        self._tasks.append(task)

    def finished(self, patience: float) -> Sequence[Answer]:  # noqa: ARG002 (of the protocol)
        return [perform(self._tasks.pop())] if self._tasks else []

    def close(self) -> None:
        self._tasks.clear()
