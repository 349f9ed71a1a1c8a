"""Hostile models, through the command line and the library: what must happen happens, and nothing else.

The cases are those of fixtures/hostile.py. Each has its exit code and one line on stderr, ends, leaves its folder as it
was, and writes nothing of a file of another folder; the process that asks for all this stays small.
"""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import onnx
import pytest
from hostile import CANARY, Case, cases, small
from hostile_sizes import edited, endless
from test_contained import children, interrupted_when

import fc2conv
from fc2conv import pipeline as flow
from fc2conv.__main__ import main
from fc2conv.errors import ExitCode, Fc2convError
from fc2conv.options import Limits, Options
from fc2conv.pipeline import work

CASES = list(cases())
MET_LATER = (ExitCode.DONE, ExitCode.LIMIT, ExitCode.INCONCLUSIVE)
"""What only the comparison comes to."""
GUARD = 60.0
"""Seconds in which each case ends, with room for a machine that does much else."""

GROWTH = 128 << 20
"""Bytes by which the asking process may grow over all cases, which ask for up to 2^93."""


@pytest.fixture(scope="module", autouse=True)
def bounded() -> Iterator[None]:
    """Holds the memory of this process, in which no hostile model is read."""
    before = peak()
    yield
    assert peak() - before < GROWTH


def peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def listing(folder: Path) -> dict[str, tuple[int, int]]:
    """What is in a folder: names, modes and sizes, without a look into any file."""
    return {
        str(path.relative_to(folder)): (status.st_mode, status.st_size)
        for path in sorted(folder.rglob("*"))
        for status in [path.lstat()]
        if not path.is_dir()
    }


def by_name(case: Case) -> str:
    return case.name.replace(" ", "-")


def test_there_are_enough_cases_and_each_is_one() -> None:
    assert len(CASES) >= 120
    assert len({case.name for case in CASES}) == len(CASES)


@pytest.fixture(autouse=True)
def leaves_no_process() -> Iterator[None]:
    before = children()
    yield
    assert children() <= before


@pytest.mark.parametrize("case", CASES, ids=by_name)
def test_the_command_line(case: Case, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    model, out = case.write(tmp_path), tmp_path / "out"
    out.mkdir()
    before, start = listing(model.parent), time.monotonic()
    code = main([str(model), str(out / "out.onnx"), *case.options])
    assert time.monotonic() - start < GUARD
    printed = capfd.readouterr()
    check_message(case, code, printed.err)
    assert CANARY.decode() not in printed.out + printed.err
    assert listing(model.parent) == before
    written = list(out.iterdir())
    assert bool(written) == (code == ExitCode.DONE)
    for path in written:
        assert path.name.startswith("out")
        assert CANARY not in path.read_bytes()


def check_message(case: Case, code: int, stderr: str) -> None:
    assert code == case.code, stderr
    assert case.message in stderr
    lines = stderr.splitlines()
    assert len(lines) == (1 if code else 0)
    assert all(line.startswith("fc2conv: error: ") and line.isprintable() for line in lines)


def planned() -> Iterator[Case]:
    """Those that only the comparison meets, and of what `plan` refuses as `convert` does one from each maker."""
    makers: set[str] = set()
    for case in CASES:
        if case.code in MET_LATER or case.make.__qualname__ not in makers:
            makers.add(case.make.__qualname__)
            yield case


@pytest.mark.parametrize("case", [*planned()], ids=by_name)
def test_the_library(case: Case, tmp_path: Path) -> None:
    """`plan` reads, checks and infers as all else does."""
    model = case.write(tmp_path)
    check_plan(case, model)


def check_plan(case: Case, model: str | Path) -> None:
    options = Options(limits=Limits(timeout=GUARD))
    if case.code in MET_LATER:
        fc2conv.plan(model, options)
    else:
        with pytest.raises(Fc2convError) as found:
            fc2conv.plan(model, options)
        assert (found.value.exit_code, case.message in str(found.value)) == (case.code, True), case.name


@pytest.mark.parametrize("relative", ["model.onnx", "../{}/model.onnx"])
def test_external_data_by_other_paths(relative: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is refused for an absolute path is refused for a bare and for a relative one."""
    for case in (case for case in CASES if case.make.__qualname__.startswith("external.")):
        folder = case.write(tmp_path).parent
        monkeypatch.chdir(folder)
        check_plan(case, relative.format(folder.name))


def test_a_model_in_memory_has_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    case = next(case for case in CASES if case.name == "sound external data")
    path = case.write(tmp_path)
    monkeypatch.chdir(path.parent)
    with pytest.raises(Fc2convError, match="its folder is not known") as found:
        fc2conv.convert(onnx.load(path, load_external_data=False))
    assert found.value.exit_code == ExitCode.INPUT


REAL = (
    "a Git LFS pointer",
    "5000 graphs in one another",
    "16 doublings",
    "a name that acts on a terminal",
    "a device as data",
    "a layer whose weight is a ConstantOfShape of 2^40",
)


@pytest.mark.parametrize("case", [case for case in CASES if case.name in REAL], ids=by_name)
def test_as_a_process(case: Case, tmp_path: Path) -> None:
    model = case.write(tmp_path)
    done = subprocess.run(fc2conv_command(model, tmp_path / "out.onnx"), capture_output=True, text=True, check=False)
    check_message(case, done.returncode, done.stderr)


def fc2conv_command(model: Path, out: Path, *more: str) -> list[str]:
    return [sys.executable, "-m", "fc2conv", str(model), str(out), *more]


# ------------------------------------------------------------------ Ctrl-C, at every stage


def hanging(monkeypatch: pytest.MonkeyPatch, stage: str, mark: Path, *, deaf: bool) -> None:
    """Makes the child hang where a stage begins; `deaf` as in a native library, which never comes back to Python."""
    known = work.note

    def note(message: str, node: str = "") -> None:
        known(message, node)
        if message == stage:
            if deaf:
                signal.signal(signal.SIGTERM, signal.SIG_IGN)
            mark.touch()
            time.sleep(600)

    for module in (flow, work):
        monkeypatch.setattr(module, "note", note)


@pytest.mark.parametrize("deaf", [False, True], ids=["python", "native"])
@pytest.mark.parametrize("stage", ["reading", "converting", "writing", "verifying", "publishing"])
def test_ctrl_c(
    stage: str, deaf: bool, lenet: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    mark, out = lenet.with_name("mark"), lenet.parent / "out"
    out.mkdir()
    (out / "out.onnx").write_bytes(b"old")
    fc2conv.plan(lenet)  # the libraries are loaded, so that only the work itself is interrupted
    hanging(monkeypatch, stage, mark, deaf=deaf)
    codes: list[int] = []
    interrupted_when(mark, lambda: codes.append(main([str(lenet), str(out / "out.onnx"), "--external-data"])))
    assert codes == [ExitCode.INTERRUPTED]
    assert capfd.readouterr().err == "fc2conv: interrupted\n"
    assert [(path.name, path.read_bytes()) for path in out.iterdir()] == [("out.onnx", b"old")]


def test_ctrl_c_while_onnxruntime_runs(tmp_path: Path) -> None:
    model, out = tmp_path / "model.onnx", tmp_path / "out"
    out.mkdir()
    model.write_bytes(made(endless).SerializeToString())
    with subprocess.Popen(fc2conv_command(model, out / "out.onnx"), stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        wait_for(lambda: busy(process.pid))
        process.send_signal(signal.SIGINT)
        assert process.stderr.read() == "fc2conv: interrupted\n"
    assert process.returncode == ExitCode.INTERRUPTED
    assert not list(out.iterdir())


def busy(pid: int) -> bool:
    """Whether the child of a process has begun to compute in several threads, as a session of onnxruntime does."""
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text("ascii").split():
        ticks = Path(f"/proc/{child}/stat").read_text("ascii").rpartition(")")[2].split()
        maps = Path(f"/proc/{child}/maps").read_text("ascii", "replace")
        return "onnxruntime" in maps and int(ticks[11]) + int(ticks[12]) > os.sysconf("SC_CLK_TCK")
    return False


def wait_for(there: Callable[[], bool]) -> None:
    end = time.monotonic() + GUARD
    while not there():
        assert time.monotonic() < end
        select_nothing(0.02)


def select_nothing(seconds: float) -> None:
    """Lets some time go by between two looks."""
    import select

    select.select([], [], [], seconds)


def made(edit: Callable[[Any], object]) -> onnx.ModelProto:
    model = edited(edit)(Path())
    assert isinstance(model, onnx.ModelProto)
    return model


def test_the_small_model_itself_is_sound() -> None:
    assert [layer.kernel_shape for layer in fc2conv.plan(small()).converted] == [[3, 4]]
