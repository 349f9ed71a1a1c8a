"""Whole processes measured from outside: wall seconds and peak resident memory; and Markdown tables.

Nothing heavy is imported here: a child's peak can't be less than what its parent held at the fork.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Sample:
    """One run of a process."""

    seconds: float
    peak_mib: float
    exit_code: int
    last_line: str


@dataclass(frozen=True)
class Summary:
    """Several runs of the same process: the median (and the spread) of seconds, the median of peaks."""

    seconds: float
    fastest: float
    slowest: float
    peak_mib: float
    exit_code: int
    last_line: str

    @property
    def note(self) -> str:
        return f"exit {self.exit_code}: {self.last_line[:80]}" if self.exit_code else ""


def run(command: Sequence[str]) -> Sample:
    """Runs a command to its end; peak memory is that of the process and of the children it waited for."""
    log = Path(f"/tmp/fc2conv-bench-{os.getpid()}.log")
    with log.open("w", encoding="utf-8") as out:
        start = time.perf_counter()
        child = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
        _, status, usage = os.wait4(child.pid, 0)
        seconds = time.perf_counter() - start
    child.returncode = os.waitstatus_to_exitcode(status)
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    log.unlink()
    return Sample(seconds, usage.ru_maxrss / 1024, child.returncode, lines[-1] if lines else "")


def summarise(samples: Sequence[Sample]) -> Summary:
    seconds = [sample.seconds for sample in samples]
    worst = max(samples, key=lambda sample: sample.exit_code != 0)
    peak = statistics.median(sample.peak_mib for sample in samples)
    return Summary(statistics.median(seconds), min(seconds), max(seconds), peak, worst.exit_code, worst.last_line)


def remove(paths: Iterable[Path]) -> None:
    for path in paths:
        path.unlink(missing_ok=True)


def markdown(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)
