"""Stores: models and their data are fetched together, outputs are put when they are whole, and a run is resumed."""

from __future__ import annotations

import functools
import http.server
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import fsspec
import onnxruntime
import pytest
from batches import WIDE_KEPT, batch, files_of, outcomes_of, report_of, rows_of, save, save_external, wait_for

from fc2conv.batch.discover import discover
from fc2conv.batch.remote import store
from fc2conv.errors import ExitCode, InputError, UsageError


@pytest.fixture
def zoo(tmp_path: Path) -> Path:
    """Two models, one with external data, and one without the data that it needs."""
    source = tmp_path / "zoo"
    save(source / "a b.onnx", 1)
    save_external(source / "sub" / "b.onnx", "b.bin", 2)
    save_external(source / "sub" / "c.onnx", "c.bin", 3)
    (source / "sub" / "c.bin").unlink()
    return source


OUTCOMES = {"a b.onnx": "converted", "sub/b.onnx": "converted", "sub/c.onnx": "invalid"}


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Serves a folder, but for what is closed, and says nothing."""

    def do_GET(self) -> None:
        if "closed" in self.path:
            self.send_error(403)
        else:
            super().do_GET()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server(zoo: Path) -> Iterator[str]:
    """The zoo behind HTTP on the loopback interface."""
    handler = functools.partial(Quiet, directory=os.fspath(zoo))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as listening:
        thread = threading.Thread(target=listening.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{listening.server_address[1]}"
        listening.shutdown()
        thread.join()


@pytest.mark.usefixtures("inline")
def test_models_behind_http(zoo: Path, server: str, tmp_path: Path) -> None:
    near, far = tmp_path / "near", tmp_path / "far"
    assert batch(zoo, near, "--jobs", "2", "-q") == ExitCode.BATCH_FAILURES
    save(zoo / "closed.onnx", 4)
    assert batch(server, far, "--jobs", "2", "-q") == ExitCode.BATCH_FAILURES
    rows = rows_of(far)
    assert {name: row.outcome for name, row in rows.items()} == {**OUTCOMES, "closed.onnx": "invalid"}
    assert "closed.onnx cannot be fetched (" in rows["closed.onnx"].message
    assert files_of(far) == files_of(near)
    assert f"{server}/sub/c.onnx has no data file {server}/sub/c.bin" in rows["sub/c.onnx"].message
    assert not list((far / ".fc2conv").glob("scratch/*"))
    assert batch(f"{server}/sub/b.onnx", tmp_path / "one", "--jobs", "1", "-q") == ExitCode.DONE
    assert outcomes_of(tmp_path / "one") == {"b.onnx": "converted"}


def test_a_manifest_of_urls(server: str, tmp_path: Path) -> None:
    (tmp_path / "zoo.csv").write_text(f"model,output\n{server}/sub/b.onnx,x/y.onnx\n")
    out = tmp_path / "out"
    assert batch(tmp_path / "zoo.csv", out, "--jobs", "1", "-q") == ExitCode.DONE
    assert outcomes_of(out) == {"x/y.onnx": "converted"}
    onnxruntime.InferenceSession(str(out / "x" / "y.onnx"), providers=["CPUExecutionProvider"])


def test_from_store_to_store(zoo: Path, tmp_path: Path) -> None:
    memory = fsspec.filesystem("memory")
    memory.put(os.fspath(zoo), "/zoo", recursive=True)
    run, out = tmp_path / "run", tmp_path / "out"
    assert batch("memory://zoo", "memory://out", "--run", str(run), "-q") == ExitCode.BATCH_FAILURES
    assert outcomes_of(run) == OUTCOMES, [row.message + row.stderr for row in rows_of(run).values()]
    memory.get("/out", os.fspath(out), recursive=True)
    assert batch(zoo, tmp_path / "near", "--jobs", "1", "-q") == ExitCode.BATCH_FAILURES
    assert files_of(out) == files_of(tmp_path / "near")

    before = memory.modified("/out/a b.onnx")
    memory.rm("/out/sub/b.onnx")
    assert batch("memory://zoo", "memory://out", "--run", str(run), "-q") == ExitCode.BATCH_FAILURES
    assert memory.exists("/out/sub/b.onnx")
    assert not [name for name in memory.find("/out") if ".fc2conv" in name]
    assert memory.modified("/out/a b.onnx") == before
    assert report_of(run).destination == "memory://out"


@pytest.mark.usefixtures("inline")
def test_data_in_a_store_is_not_replaced_by_other_data(tmp_path: Path) -> None:
    """All models are kept and name their data alike; only two of them mean the same data."""
    for name, seed in (("a", 1), ("b", 2), ("c", 1)):
        save_external(tmp_path / name / "m.onnx", "w.bin", seed, WIDE_KEPT)
    manifest, store, run = tmp_path / "zoo.csv", tmp_path / "store", tmp_path / "run"
    manifest.write_text("model,output\na/m.onnx,a.onnx\nb/m.onnx,b.onnx\nc/m.onnx,c.onnx\n")
    store.mkdir()
    (store / "w.bin").write_bytes((tmp_path / "a" / "w.bin").read_bytes())
    there = (store / "w.bin").stat().st_ino
    for _ in range(2):
        assert batch(manifest, store.as_uri(), "--run", str(run), "-q") == ExitCode.BATCH_FAILURES
        assert outcomes_of(run) == {"a.onnx": "kept", "b.onnx": "error", "c.onnx": "kept"}
        assert f"{store.as_uri()}/w.bin exists, and is not the data file" in rows_of(run)["b.onnx"].message
        assert not (store / "b.onnx").exists()
        assert (store / "w.bin").read_bytes() == (tmp_path / "a" / "w.bin").read_bytes()
        assert (store / "w.bin").stat().st_ino == there


@pytest.mark.usefixtures("inline")
def test_a_store_that_is_the_source(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    zoo, run = tmp_path / "zoo", ("--run", str(tmp_path / "run"), "-q")
    save(zoo / "a.onnx", 1)
    save(zoo / "b.onnx", 2)
    (tmp_path / "link").symlink_to(zoo)
    (tmp_path / "models.csv").write_text("model,output\nzoo/a.onnx,zoo/b.onnx\nzoo/b.onnx,c.onnx\n")
    before, url = files_of(zoo), zoo.as_uri()
    for source, destination in ((zoo, url), (url, zoo), (url, url), (f"{url}/", f"{url[:-3]}link"), (url, url[:-4])):
        assert batch(source, destination, *run) == ExitCode.USAGE
        assert "name a DST apart from SRC" in capsys.readouterr().err
    assert batch(tmp_path / "models.csv", tmp_path.as_uri(), *run) == ExitCode.USAGE
    assert "the output 'zoo/b.onnx' is the model of" in capsys.readouterr().err
    for source in (f"{url}/a.onnx", zoo / "a.onnx"):
        assert batch(source, url, *run) == ExitCode.BATCH_FAILURES
        assert "is the model itself" in rows_of(tmp_path / "run")["a.onnx"].message
    assert files_of(zoo) == before


@pytest.mark.parametrize("pattern", ["", "/**/*.onnx"])
def test_a_store_below_the_source_is_left_out(tmp_path: Path, pattern: str) -> None:
    save(tmp_path / "zoo" / "a.onnx")
    save(tmp_path / "zoo" / "out" / "a.onnx")
    url = (tmp_path / "zoo").as_uri()
    for source in (f"{tmp_path}/zoo{pattern}", f"{url}{pattern}"):
        assert [each.name for each in discover(source, f"{url}/out")] == ["a.onnx"]


def test_a_remote_destination_needs_a_folder_for_its_journal(zoo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert batch(zoo, "memory://out", "-q") == ExitCode.USAGE
    assert "name a folder with --run" in capsys.readouterr().err


def test_a_store_that_nothing_writes_to_is_refused_before_the_work(
    zoo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert batch(zoo, "nosuch://out", "--run", str(tmp_path / "run"), "-q") == ExitCode.USAGE
    assert "nosuch://out: " in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_stores_that_are_not_there() -> None:
    with pytest.raises(UsageError, match="nosuch"):
        store("nosuch://x")
    with pytest.raises(InputError, match="holds no model"):
        discover("http://127.0.0.1:9/", "out")


def test_a_bucket(zoo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On moto's S3 server, a process of its own."""
    reason = "moto and s3fs are no part of the test extra: they take about 100 MB"
    pytest.importorskip("moto.server", reason=reason, exc_type=ImportError)
    pytest.importorskip("s3fs", reason=reason)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    log = tmp_path / "log"
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", "0"]
    with log.open("wb") as stream, subprocess.Popen(command, stdout=stream, stderr=stream) as process:
        try:
            found = wait_for(lambda: next((t for t in log.read_text().split() if t.startswith("http://127")), None))
            monkeypatch.setenv("AWS_ENDPOINT_URL", found)
            bucket = fsspec.filesystem("s3")
            bucket.mkdir("models")
            bucket.put(f"{zoo}/", "models/zoo/", recursive=True)
            run = tmp_path / "run"
            given = ("--run", str(run), "--jobs", "2", "-q")
            assert batch("s3://models/zoo", "s3://models/out", *given) == ExitCode.BATCH_FAILURES
            assert outcomes_of(run) == OUTCOMES
            bucket.get("models/out/", os.fspath(tmp_path / "out"), recursive=True)
            assert batch(zoo, tmp_path / "near", "--jobs", "1", "-q") == ExitCode.BATCH_FAILURES
            assert files_of(tmp_path / "out") == files_of(tmp_path / "near")
            assert batch("s3://models/zoo", "s3://models/out", *given) == ExitCode.BATCH_FAILURES
        finally:
            process.terminate()
