"""Fresh interpreters: started in a folder of traps they run the same fc2conv, and nothing of that folder."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Literal

import pytest
from batches import save

from fc2conv.options import Limits
from fc2conv.sandbox import START, contained, interpreter

ROOT = Path(__file__).parent.parent
TRAPS = ("struct", "pickle", "signal", "socket", "onnx", "numpy", "multiprocessing", "fc2conv", "site", "runpy")

WITH_THREADS = """
import threading
import fc2conv
done = threading.Event()
threading.Thread(target=done.wait, daemon=True).start()
print(fc2conv.convert("../zoo/a.onnx", "../out/a.onnx").report.outcome)
done.set()
"""
BATCH = """
from fc2conv.__main__ import main
main(["batch", "../zoo", "../out", "--jobs", "1", "--engine", "{engine}", "--quiet"])
print("converted")
"""


@pytest.fixture
def traps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder in which modules leave a mark when they are run; models are in `../zoo`."""
    folder = tmp_path / "traps"
    mark = f"import os\nos.close(os.open({str(tmp_path)!r} + '/RAN-' + __name__, os.O_CREAT))\n"
    for name in TRAPS:
        (folder / name).mkdir(parents=True)
        (folder / name / "__init__.py").write_text(mark, encoding="utf-8")
        (folder / f"{name}.py").write_text(mark, encoding="utf-8")
    save(tmp_path / "zoo" / "a.onnx")
    monkeypatch.chdir(folder)
    return folder


def ran(folder: Path) -> list[str]:
    return [each.name for each in folder.parent.glob("RAN-*")]


@pytest.mark.parametrize(
    ("flag", "text"),
    [
        ("-I", WITH_THREADS),
        ("-B", WITH_THREADS),
        ("-B", BATCH.format(engine="local")),
        ("-I", BATCH.format(engine="dask")),
    ],
    ids=["isolated", "with threads", "batch", "dask"],
)
def test_nothing_of_the_working_folder_is_run(traps: Path, flag: str, text: str) -> None:
    script = traps.parent / "elsewhere" / "caller.py"
    script.parent.mkdir()
    script.write_text(f"import sys\nsys.path.insert(0, {str(ROOT)!r})\n{text}", encoding="utf-8")
    (traps.parent / "out").mkdir()
    done = subprocess.run([sys.executable, flag, str(script)], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("converted\n", "")
    assert (traps.parent / "out" / "a.onnx").exists()
    assert ran(traps) == []


def test_a_checkout_as_the_working_folder(traps: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.rmtree(traps / "fc2conv")
    (traps / "fc2conv").symlink_to(ROOT / "fc2conv", target_is_directory=True)
    (traps.parent / "probe.py").write_text("def main():\n    import fc2conv, struct, onnx; print(fc2conv.__file__)\n")
    monkeypatch.setattr(sys, "path", ["", str(traps), *sys.path, str(traps.parent)])
    monkeypatch.setattr(interpreter, "_HOME", str(traps))
    done = subprocess.run(interpreter.command("probe"), capture_output=True, text=True, check=True)
    assert done.stdout == f"{traps / 'fc2conv' / '__init__.py'}\n"
    assert ran(traps) == []


def test_what_is_handed_on(traps: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (traps.parent / "link").symlink_to(traps, target_is_directory=True)
    odd = ["", "src", str(traps), str(traps.parent / "link"), "/else\N{SNOWMAN}where", "/last\udcff"]
    monkeypatch.setattr(sys, "path", odd)
    boot = interpreter.command("module")[-1]
    assert f"sys.path[:0] = {[*odd[-2:], str(ROOT)]!a}\n" in boot
    assert boot.isascii()


def variable(name: str) -> tuple[str, bytes]:
    return os.environ.get(name, ""), b""


@pytest.mark.parametrize("way", ["fork", "fresh"])
@pytest.mark.parametrize("name", ["ORT_DISABLE_TELEMETRY", "OPENBLAS_NUM_THREADS"])
@pytest.mark.parametrize(("given", "seen"), [(None, "1"), ("0", "0")])
def test_a_child_reports_nothing_and_starts_no_threads_unless_the_caller_says_so(
    way: Literal["fork", "fresh"], name: str, given: str | None, seen: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(sys, "path", [str(Path(__file__).parent), *sys.path])
    if given is not None:
        monkeypatch.setenv(name, given)
    START.set(way)
    assert contained(Limits(), variable, name)[0] == seen
    assert os.environ.get(name) == given
