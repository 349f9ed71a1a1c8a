"""A Dask cluster: the same rows and the same journal, whatever becomes of its workers."""

from __future__ import annotations

import logging
import os
import queue
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from batches import batch, files_of, outcomes_of, save, wait_for

from fc2conv.batch import dasked
from fc2conv.batch.journal import journals
from fc2conv.batch.tasks import Item, Task
from fc2conv.errors import ExitCode
from fc2conv.options import Options, VerifyOptions
from fc2conv.report.json import of_line

if TYPE_CHECKING:
    from distributed import LocalCluster  # which loads for a second, in every process that collects this file


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalCluster]:
    """Two worker processes of this machine."""
    from distributed import LocalCluster

    with LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=":0", silence_logs=logging.CRITICAL
    ) as found:
        yield found


def test_a_worker_that_is_killed_loses_no_model(cluster: LocalCluster, tmp_path: Path) -> None:
    source, out, near = tmp_path / "zoo", tmp_path / "out", tmp_path / "near"
    for seed in range(5):
        save(source / f"{seed:02}.onnx", seed)
    (source / "empty.onnx").touch()
    command = [sys.executable, "-m", "fc2conv", "batch", str(source), str(out), "-q"]
    with subprocess.Popen([*command, "--scheduler", cluster.scheduler_address]) as driver:
        wait_for(lambda: len(outcomes(out)) >= 2 or None)
        victim = next(iter(cluster.workers.values()))
        os.kill(victim.process.pid, signal.SIGKILL)
        assert driver.wait() == ExitCode.BATCH_FAILURES
    assert outcomes_of(out) == {**{f"{seed:02}.onnx": "converted" for seed in range(5)}, "empty.onnx": "invalid"}
    assert len(journals(out / ".fc2conv")) == 1
    assert batch(source, near, "--jobs", "1", "-q") == ExitCode.BATCH_FAILURES
    assert files_of(out) == files_of(near)


def outcomes(out: Path) -> list[bytes]:
    path = out / ".fc2conv" / "journal.jsonl"
    return path.read_bytes().splitlines()[1:] if path.exists() else []


def kills_its_worker(_: bytes) -> bytes:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError


def test_a_model_that_kills_its_workers_is_a_row(
    cluster: LocalCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(tmp_path / "zoo" / "a.onnx")
    monkeypatch.setattr(dasked, "remotely", kills_its_worker)
    monkeypatch.setattr(cluster.scheduler, "allowed_failures", 1)
    assert (
        batch(tmp_path / "zoo", tmp_path / "out", "--scheduler", cluster.scheduler_address, "-q")
        == ExitCode.BATCH_FAILURES
    )
    assert outcomes_of(tmp_path / "out") == {"a.onnx": "crashed"}


def test_a_cluster_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for seed in range(3):
        save(tmp_path / "zoo" / f"{seed}.onnx", seed)
    assert batch("zoo", "out", "--engine", "dask", "--jobs", "1", "-q") == ExitCode.DONE
    assert set(outcomes_of(tmp_path / "out").values()) == {"converted"}
    assert len(files_of(tmp_path / "out")) == 3


def test_a_scheduler_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save(tmp_path / "zoo" / "a.onnx")
    import dask

    with dask.config.set({"distributed.comm.timeouts.connect": "1s"}):
        assert batch(tmp_path / "zoo", tmp_path / "out", "--scheduler", "tcp://127.0.0.1:9") == ExitCode.OUTPUT
    assert "cannot be reached" in capsys.readouterr().err


def test_an_answer_that_is_lost_with_its_worker_is_made_again(cluster: LocalCluster, tmp_path: Path) -> None:
    from distributed import Client

    save(tmp_path / "a.onnx")
    item = Item(name="a.onnx", location=str(tmp_path / "a.onnx"), kind="file")
    engine = dasked.DaskEngine(cluster.scheduler_address)
    with Client(cluster.scheduler_address, set_as_default=False) as client:
        engine.submit(Task(item=item, destination=str(tmp_path / "out"), options=Options(verify=False)))
        holders = wait_for(lambda: next((at for key, at in client.who_has().items() if at and "a.onnx" in key), None))
        at = {worker.worker_address: worker for worker in cluster.workers.values()}
        os.kill(at[holders[0]].process.pid, signal.SIGKILL)
        wait_for(lambda: None if holders[0] in client.scheduler_info()["workers"] else True)
        answers = wait_for(lambda: [*engine.finished(1.0)] or None)
    engine.close()
    assert [(each.name, each.row.outcome) for each in answers if each.row is not None] == [("a.onnx", "converted")]


def test_files_of_options_are_found_from_any_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Workers of other machines were not started where the driver was."""
    sent: list[Task] = []

    class Client:
        def submit(self, _: object, text: bytes, **__: object) -> Future[bytes]:
            sent.append(of_line(text, Task))
            return Future()

    monkeypatch.chdir(tmp_path)
    engine = object.__new__(dasked.DaskEngine)
    vars(engine).update(_client=Client(), _name="x", _flying={}, _done=queue.SimpleQueue())
    proof = VerifyOptions(load_inputs=("a.npz", "x:b.npy"), custom_op_libraries=("c.so",), save_failing_inputs="d")
    for target in ("e.toml", "dla"):
        options = Options(target=target, verification=proof)
        engine.submit(Task(item=Item(name="m", kind="file", location="m"), destination="out", options=options))
    here = str(tmp_path)
    found = sent[0].options.verification
    assert found.load_inputs == (f"{here}/a.npz", f"x:{here}/b.npy")
    assert (found.custom_op_libraries, found.save_failing_inputs) == ((f"{here}/c.so",), f"{here}/d")
    assert [each.options.target for each in sent] == [f"{here}/e.toml", "dla"]
    assert (sent[0].item.location, sent[0].destination) == (f"{here}/m", f"{here}/out")
