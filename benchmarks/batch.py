"""A folder of models: a batch of two at a time, of one, and a shell loop, side by side in one run.

python benchmarks/batch.py FOLDER [-n 3] [--only ROW ...] [--fc2conv COMMAND]
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import measure


def loop(command: str, source: Path, out: Path) -> None:
    """What people write without a batch: one process after the other, as a whole each."""
    for path in sorted(source.rglob("*.onnx")):
        target = out / path.relative_to(source)
        target.parent.mkdir(parents=True, exist_ok=True)
        subprocess.run([command, str(path), str(target), "-q"], stderr=subprocess.DEVNULL, check=False)


def batch(command: str, source: Path, out: Path, jobs: int, *more: str) -> None:
    given = [command, "batch", str(source), str(out), "-q", "--jobs", str(jobs), *more]
    done = subprocess.run(given, stderr=subprocess.DEVNULL, check=False)
    assert done.returncode in (0, 7), done.returncode


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("-n", "--rounds", type=int, default=3)
    parser.add_argument("--only", nargs="*", default=[""], help="only the rows whose name contains one of these")
    parser.add_argument("--fc2conv", default=str(Path(sys.executable).with_name("fc2conv")), help="the command")
    given = parser.parse_args()
    models = len(list(given.folder.rglob("*.onnx")))
    table = {
        "a loop over `fc2conv IN OUT`": lambda out: loop(given.fc2conv, given.folder, out),
        "batch --jobs 1": lambda out: batch(given.fc2conv, given.folder, out, 1),
        "batch --jobs 2": lambda out: batch(given.fc2conv, given.folder, out, 2),
        "batch --jobs 2, a process a model": lambda out: batch(
            given.fc2conv, given.folder, out, 2, "--models-per-process", "1"
        ),
    }
    table = {name: work for name, work in table.items() if any(part in name for part in given.only)}
    seconds: dict[str, list[float]] = {name: [] for name in table}
    for _ in range(given.rounds):
        for name, work in table.items():
            with tempfile.TemporaryDirectory() as folder:
                begin = time.perf_counter()
                work(Path(folder))
                seconds[name].append(time.perf_counter() - begin)
    median = {name: sorted(each)[len(each) // 2] for name, each in seconds.items()}
    one = median["batch --jobs 1"]
    rows = [
        [name, f"{median[name]:.1f}", f"{min(each):.1f}-{max(each):.1f}", f"{models / median[name]:.2f}",
         f"{one / median[name]:.2f}"]
        for name, each in seconds.items()
    ]  # fmt: skip
    print(measure.markdown([f"{models} models", "seconds", "range", "models/s", "against --jobs 1"], rows))


if __name__ == "__main__":
    main()
