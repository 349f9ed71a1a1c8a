"""Trials of many mutants in processes with limits; one that dies or hangs is a case of its own, and the next goes on.

    python -m fuzz.workers START STOP STEP FOLDER WAY [BASES]

is one such process, and tells the phases and the results of its cases on stdout.
"""

from __future__ import annotations

import json
import os
import resource
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TextIO

from inprocess import here

from fc2conv import Options, SlidingOptions, api

from .changes.data import DATA_FILE
from .mutants import Base, mutant
from .trial import CONTRACT, LINE, Trial, attempt

TESTS = Path(__file__).parents[1]
CASE_SECONDS, PROCESS_SECONDS = 20.0, 120.0
"""How long one case may take in a worker, and how long the command line on one that was not done in that time."""

MEMORY, FILE_SIZE = 3 << 30, 1 << 28
"""Limits of a worker in bytes: of what it allocates, and of a file."""


@dataclass(frozen=True)
class Result:
    """One case; `died` says in which phase its worker died or hung, and of what ("" if it did not)."""

    seed: int
    trial: Trial
    died: str = ""


WAYS = {"plain": ["--no-verify"], "verified": [], "sliding": ["--fully-convolutional"]}
"""How mutants are converted, with what that is on the command line."""


def options_of(seed: int, way: str) -> Options:
    """The options of a case: its scope, and in which way."""
    sliding = SlidingOptions(reduce="mean" if seed & 2 else "none", cam=seed % 8 == 4) if way == "sliding" else None
    return Options(scope="all" if seed & 1 else "spatial", verify=way != "plain", sliding=sliding)


# ------------------------------------------------------------------ the worker


def _work(start: int, stop: int, step: int, folder: Path, way: str, models: Sequence[Base]) -> None:
    api.contained = here  # this process is the one that a case may end
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_FSIZE, (FILE_SIZE, FILE_SIZE))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    out = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what native libraries print is nobody's business
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    for seed in range(start, stop, step):
        phase = partial(_tell, out, seed)
        phase("done", json.dumps(asdict(attempt(mutant(seed, models), options_of(seed, way), folder, phase))))


def _tell(out: TextIO, seed: int, phase: str, *result: str) -> None:
    print(seed, phase, *result, file=out)


# ------------------------------------------------------------------ who watches it


def results(start: int, stop: int, step: int = 1, folder: Path | None = None, way: str = "plain") -> Iterator[Result]:
    """Yields the result of each case; a worker that dies is replaced by one that goes on with the next case."""
    while start < stop:
        with tempfile.TemporaryDirectory(prefix="fc2conv-fuzz-", dir=_memory()) as place:
            command = [sys.executable, "-m", "fuzz.workers", *map(str, (start, stop, step)), place, way]
            worker = subprocess.Popen(
                [*command, *([str(folder)] if folder else [])], stdout=subprocess.PIPE, env=_environment()
            )
            seed, phase = start, "start"
            try:
                for seed, phase, rest in _lines(worker):
                    if phase == "done":
                        yield Result(seed, Trial(**json.loads(rest)))
            finally:
                worker.kill()
                worker.wait()
        if phase == "start":
            raise RuntimeError(f"the worker ended with {worker.returncode} before its first case")
        if phase != "done":
            yield _dead(seed, phase, worker.returncode, folder, way)
        start = seed + step


def _lines(worker: subprocess.Popen[bytes]) -> Iterator[tuple[int, str, str]]:
    """What a worker tells, until it ends or is silent for too long."""
    assert worker.stdout is not None
    descriptor, kept, end = worker.stdout.fileno(), b"", time.monotonic() + PROCESS_SECONDS
    while (left := end - time.monotonic()) > 0:
        if not select.select([descriptor], [], [], left)[0]:
            return
        piece = os.read(descriptor, 1 << 16)
        if not piece:
            worker.wait()
            return
        *lines, kept = (kept + piece).split(b"\n")
        for line in lines:
            seed, phase, *rest = line.decode().split(" ", 2)
            yield int(seed), phase, *(rest or [""])  # type: ignore[misc]
        if lines:
            end = time.monotonic() + CASE_SECONDS


def _dead(seed: int, phase: str, code: int | None, folder: Path | None, way: str) -> Result:
    """Judges a case whose worker died: by the whole command line where that was at work, not at all in the original."""
    how = f"{phase}: " + ("hung" if code == -signal.SIGKILL or code is None else _name(code))
    if phase == "original":
        return Result(seed, Trial(0), how)
    if phase == "converted":
        return Result(seed, Trial(0, "onnxruntime", f"{how}, and the original does not"), how)
    from .bases import bases

    case = mutant(seed, bases(folder))
    with tempfile.TemporaryDirectory(prefix="fc2conv-fuzz-", dir=_memory()) as place:
        (Path(place) / "in.onnx").write_bytes(case.serialized)
        if case.data:
            (Path(place) / DATA_FILE).write_bytes(case.data)
        return Result(seed, _whole_process(Path(place), options_of(seed, way).scope, way), how)


def _whole_process(folder: Path, scope: str, way: str) -> Trial:
    command = [sys.executable, "-m", "fc2conv", "in.onnx", "out.onnx", *WAYS[way], "-q", "--scope", scope]
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            env=_environment(),
            capture_output=True,
            text=True,
            timeout=PROCESS_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Trial(-1, "", f"the process was not done in {PROCESS_SECONDS:g} s")
    if done.returncode not in CONTRACT or (done.returncode and not LINE.fullmatch(done.stderr)):
        return Trial(done.returncode, "", f"the process ended with {done.returncode}: {done.stderr[-300:]!r}")
    return Trial(done.returncode)


def _name(code: int) -> str:
    return signal.Signals(-code).name if code < 0 else f"ended with {code}"


def _environment() -> dict[str, str]:
    places = [str(TESTS), str(TESTS.parent), str(TESTS.parent / "fixtures")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(places), "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


def _memory() -> str | None:
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


if __name__ == "__main__":
    from .bases import bases as _bases

    _first, _stop, _step, _place, _way, *_models = sys.argv[1:]
    _work(int(_first), int(_stop), int(_step), Path(_place), _way, _bases(Path(_models[0]) if _models else None))
