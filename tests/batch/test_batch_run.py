"""The driver on an engine that is stubbed, and the pool's economy: what is in flight, what is kept in memory."""

from __future__ import annotations

import queue
import tempfile
import tracemalloc
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from batches import batch, outcomes_of, save

from fc2conv.batch import local
from fc2conv.batch.journal import last_run
from fc2conv.batch.run import Batch, run
from fc2conv.batch.staging import made
from fc2conv.batch.tasks import SCRATCH, Answer, Item, Task
from fc2conv.errors import ExitCode
from fc2conv.options import Options, VerifyOptions
from fc2conv.report.types import BatchRow, Outcome, Report


class Stub:
    """Answers in the order of the tasks, the last first where it can, and counts."""

    capacity = 4

    def __init__(self, report: Report, outcomes: dict[str, Outcome] | None = None) -> None:
        self.report = report
        self.outcomes = outcomes or {}
        self.tasks: list[Task] = []
        self.seen: list[Task] = []
        self.most = 0
        self.closed = 0

    def submit(self, task: Task) -> None:
        self.tasks.append(task)
        self.seen.append(task)
        self.most = max(self.most, len(self.tasks))

    def finished(self, patience: float) -> Sequence[Answer]:
        assert patience > 0
        name = self.tasks.pop().item.name
        outcome = self.outcomes.get(name, "converted")
        row = BatchRow(name=name, outcome=outcome, report=None if name in self.outcomes else self.report)
        return [Answer(name=name, row=row)]

    def close(self) -> None:
        self.closed += 1


class Looker:
    """Sees what people would."""

    def __init__(self) -> None:
        self.memory: list[int] = []
        self.outcomes: dict[str, Outcome] = {}

    def started(self, name: str) -> None:
        assert name not in self.outcomes

    def finished(self, name: str, outcome: Outcome, message: str, *, same: bool) -> None:
        assert not same
        assert not message
        self.outcomes[name] = outcome

    def tick(self) -> None:
        self.memory.append(tracemalloc.get_traced_memory()[0])


def items(count: int) -> list[Item]:
    return [Item(name=f"{number:05}.onnx", kind="file", location="x") for number in range(count)]


def test_no_more_in_flight_than_there_is_room(tmp_path: Path, converted: Report) -> None:
    engine, looker = Stub(converted, {"00007.onnx": "crashed"}), Looker()
    made = Batch(source="zoo", destination=str(tmp_path), items=items(20))
    assert run(made, engine, looker) == ExitCode.BATCH_FAILURES
    assert (engine.most, engine.closed) == (4, 1)
    assert [task.item for task in engine.seen] == list(made.items)
    assert {name for name, outcome in looker.outcomes.items() if outcome != "converted"} == {"00007.onnx"}
    assert [row.name for row in last_run(made.folder)[1]] == [item.name for item in made.items]


def test_the_largest_files_come_first(tmp_path: Path, converted: Report) -> None:
    sizes = {"a.onnx": 1, "b.onnx": 300, "c.onnx": 20}
    there = [Item(name=name, kind="file", location=str(tmp_path / name)) for name in sizes]
    for name, size in sizes.items():
        (tmp_path / name).write_bytes(bytes(size))
    elsewhere = [Item(name=name, kind="url", location="x") for name in ("d.onnx", "e.onnx")]
    engine = Stub(converted)
    run(Batch("zoo", str(tmp_path / "out"), [*elsewhere, *there], run=tmp_path / "run"), engine, Looker())
    names = [task.item.name for task in engine.seen]
    assert names == ["b.onnx", "c.onnx", "a.onnx", "d.onnx", "e.onnx"]


def test_the_driver_does_not_grow_with_what_is_done(tmp_path: Path, converted: Report) -> None:
    """benchmarks/many.py does this with 5,000 models and the real pool."""
    engine, looker = Stub(converted), Looker()
    made = Batch(source="zoo", destination=str(tmp_path), items=items(600))
    engine.seen = Forgetful()
    looker.outcomes = Nothing()
    tracemalloc.start()
    try:
        assert run(made, engine, looker) == ExitCode.DONE
    finally:
        tracemalloc.stop()
    early, late = looker.memory[100], looker.memory[-1]
    assert late - early < 64 << 10, f"{(late - early) / 500:.0f} bytes a model"


class Forgetful(list[Task]):
    def append(self, _: Task) -> None:
        pass


class Nothing(dict[str, Outcome]):
    def __setitem__(self, *_: object) -> None:
        pass


def test_an_engine_that_fails_is_closed(tmp_path: Path, converted: Report) -> None:
    engine = Stub(converted)

    def lost(_: float) -> Sequence[Answer]:
        raise KeyboardInterrupt

    engine.capacity, engine.finished = 1, lost  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        run(Batch(source="zoo", destination=str(tmp_path), items=items(3)), engine, Looker())
    assert engine.closed == 1


def test_failing_inputs_of_two_models_do_not_meet(tmp_path: Path, converted: Report) -> None:
    engine = Stub(converted)
    options = Options(verification=VerifyOptions(save_failing_inputs="here"))
    run(Batch(source="zoo", destination=str(tmp_path), items=items(2), options=options), engine, Looker())
    folders = [task.options.verification.save_failing_inputs for task in engine.seen]
    assert folders == ["here/00000.onnx", "here/00001.onnx"]


def test_a_process_serves_several_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[local._Process] = []
    start = local._Process.start

    def counted(*arguments: Any) -> local._Process:
        started.append(start(*arguments))
        return started[-1]

    monkeypatch.setattr(local._Process, "start", counted)
    for seed in range(3):
        save(tmp_path / "zoo" / f"{seed}.onnx", seed)
    assert batch(tmp_path / "zoo", tmp_path / "a", "--jobs", "1", "-q") == ExitCode.DONE
    assert len(started) == 1
    assert batch(tmp_path / "zoo", tmp_path / "b", "--jobs", "1", "-q", "--models-per-process", "2") == ExitCode.DONE
    assert len(started) == 3
    assert set(outcomes_of(tmp_path / "b").values()) == {"converted"}
    assert all(each.popen.returncode is not None for each in started)


def test_processes_compute_with_one_thread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from fc2conv.verification import runtime

    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert runtime._options(None).intra_op_num_threads == 3
    monkeypatch.setenv("OMP_NUM_THREADS", "4,2")
    assert runtime._options(None).intra_op_num_threads == 0
    process = local._Process.start(tmp_path, queue.SimpleQueue())
    try:
        environment = [b""]
        while environment == [b""]:  # between fork and exec it has none
            environment = Path(f"/proc/{process.popen.pid}/environ").read_bytes().split(b"\0")
        assert b"OMP_NUM_THREADS=1" in environment
        assert f"TMPDIR={process.scratch.path}".encode() in environment
    finally:
        process.end()
    assert not process.scratch.path.exists()


def test_what_killed_processes_left_is_swept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also in the folder for temporary files, where pools without a run folder have theirs."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    live, other = made(SCRATCH), made("fc2conv-staged-")
    killed, theirs = tmp_path / f"{SCRATCH}{'0' * 16}", tmp_path / f"{SCRATCH}notes"
    for folder in (killed, theirs):
        (folder / "model").mkdir(parents=True)
        (folder / ".fc2conv-lock").touch()
    (killed / "model" / "weights").write_bytes(b"half")
    new = made(SCRATCH)
    assert set(tmp_path.iterdir()) == {live.path, other.path, new.path, theirs}
    for each in (live, other, new):
        each.remove()
    assert list(tmp_path.iterdir()) == [theirs]
