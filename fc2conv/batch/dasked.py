"""The engine of a Dask cluster: an existing one, or a worker in this process.

A task runs in a pool of one process that its Dask worker keeps, so that limits and crashes become rows as they do
without Dask, and a Dask worker outlives its models. If a worker is lost nevertheless (its machine was taken away), Dask
gives the task to another worker, a few times; then it becomes a row. Every worker reads SRC and writes DST by itself,
so that both must be in a file system that all of them share, or in a store.
"""

from __future__ import annotations

import atexit
import logging
import queue
import secrets
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace as changed
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from fc2conv.batch.local import LocalEngine
from fc2conv.batch.remote import is_url
from fc2conv.batch.tasks import Answer, Task
from fc2conv.errors import ExitCode, OutputError, UsageError
from fc2conv.options import Options, input_file
from fc2conv.report.json import line, of_line
from fc2conv.report.types import BatchRow
from fc2conv.targets.lookup import is_path

_AHEAD = 2
"""Models per thread of the cluster that Dask has at a time: one runs, the next waits."""

_HERE = threading.local()
_pools: list[LocalEngine] = []
"""The pools of this process's Dask workers."""


def remotely(text: bytes) -> bytes:
    """Run one serialized task in the process of this thread's own pool, and return its answer. Dask workers call it."""
    if not hasattr(_HERE, "engine"):
        _HERE.engine = LocalEngine(1)
        _pools.append(_HERE.engine)
        atexit.register(_HERE.engine.close)
    engine: LocalEngine = _HERE.engine
    engine.submit(of_line(text, Task))
    while True:
        for answer in engine.finished(60.0):
            return line(answer)


class DaskEngine:
    """A cluster at an address, or without one a worker of `jobs` threads in this process.

    TLS is as Dask's own configuration says (`DASK_DISTRIBUTED__COMM__TLS__...`). Raises UsageError where Dask is not
    installed, and OutputError where the scheduler cannot be reached.
    """

    def __init__(self, address: str | None = None, jobs: int = 1) -> None:
        try:
            import distributed
        except ImportError as error:
            raise UsageError("--engine dask needs Dask", "pip install 'fc2conv[dask]'") from error
        if address is not None and not address.isprintable():
            raise UsageError(f"{address} is no address of a scheduler", "give one as tcp://HOST:PORT")
        dask: Any = distributed  # few of its functions are typed
        self._cluster: Any = None
        if address is None:
            self._cluster = dask.LocalCluster(
                n_workers=1,
                threads_per_worker=jobs,
                processes=False,  # a thread only waits for its pool's process; Dask's would look in the working folder
                dashboard_address=":0",
                silence_logs=logging.CRITICAL,
            )
        try:
            self._client: Any = dask.Client(address or self._cluster, set_as_default=False)
        except (OSError, ValueError, TypeError) as error:
            raise OutputError(f"the scheduler {address} cannot be reached ({error})", "check address, TLS") from error
        self._done: queue.SimpleQueue[tuple[Task, Any]] = queue.SimpleQueue()
        self._flying: dict[str, Any] = {}
        self._name = secrets.token_hex(8)

    @property
    def capacity(self) -> int:
        """Grows and shrinks with the cluster."""
        try:
            threads: dict[str, int] = self._client.nthreads()
        except OSError as error:
            raise OutputError(f"the scheduler is lost ({error})", "the same command goes on from here") from error
        return max(1, _AHEAD * sum(threads.values()))

    def submit(self, task: Task) -> None:
        key = f"fc2conv-{self._name}-{task.item.name}"  # two runs may share a cluster
        future = self._client.submit(remotely, line(_anywhere(task)), key=key, pure=False, retries=0)
        self._flying[task.item.name] = future
        self._wait_for(task, future)

    def _wait_for(self, task: Task, future: Any) -> None:
        future.add_done_callback(lambda done: self._done.put((task, done)))

    def finished(self, patience: float) -> Sequence[Answer]:
        found = []
        with suppress(queue.Empty):
            task, future = self._done.get(timeout=patience)
            while True:
                if future.done():
                    found.append(self._answer(task, future))
                else:  # the worker that held the answer is lost, and another one makes it again
                    self._wait_for(task, future)
                task, future = self._done.get_nowait()
        return found

    def close(self) -> None:
        with suppress(Exception):  # the cluster may be gone, which changes nothing in what was done
            self._client.cancel(list(self._flying.values()))
        for pool in _pools if self._cluster is not None else ():
            pool.kill()  # a thread of the cluster waits for what it works on
        self._client.close()
        if self._cluster is not None:
            self._cluster.close()

    def _answer(self, task: Task, future: Any) -> Answer:
        from distributed import KilledWorker

        self._flying.pop(task.item.name, None)
        if future.status == "finished":
            return of_line(future.result(), Answer)
        try:
            error = future.exception(timeout=10)
        except Exception as lost:  # noqa: BLE001 (a cancelled future raises here what another one returns)
            error = lost
        if isinstance(error, KilledWorker):
            message = f"{error.allowed_failures + 1} workers were lost over it"
            row = BatchRow(name=task.item.name, outcome="crashed", exit_code=ExitCode.LIMIT, message=message)
        else:
            cause = future.status if error is None else f"{type(error).__name__}: {error}"
            message = f"the cluster lost it ({cause})"
            row = BatchRow(name=task.item.name, outcome="error", exit_code=ExitCode.FAULT, message=message)
        return Answer(name=row.name, row=row)


def _anywhere(task: Task) -> Task:
    """Return the task with paths that do not depend on the folder in which the driver was started."""
    item = task.item if task.item.kind == "url" else replace(task.item, location=_whole(task.item.location))
    where = task.destination if is_url(task.destination) else _whole(task.destination)
    return replace(task, item=item, destination=where, options=_absolute(task.options))


def _absolute(options: Options) -> Options:
    proof, target = options.verification, options.target
    folder = proof.save_failing_inputs
    proof = changed(
        proof,
        save_failing_inputs=None if folder is None else _whole(folder),
        load_inputs=tuple(f"{name}:{_whole(file)}".lstrip(":") for name, file in map(input_file, proof.load_inputs)),
        custom_op_libraries=tuple(_whole(each) for each in proof.custom_op_libraries),
    )
    return changed(options, target=_whole(target) if target and is_path(target) else target, verification=proof)


def _whole(path: str) -> str:
    return str(Path(path).absolute())
