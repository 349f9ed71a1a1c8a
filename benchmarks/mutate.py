"""Damages small models at random, converts them, and compares what was written with the original.

    python benchmarks/mutate.py 200000 [--start 0] [--models DIR] [--way verified] [--jobs 2] [--save DIR]

The models are fixtures, golden cases and random graphs, or those of a folder. They are converted without verification
(`plain`, and compared here), with it (`verified`), or made fully convolutional (`sliding`, verified as well). Prints
each finding with its seed, and a summary: exit codes, how outputs were compared, workers that died (in native code,
which the command line contains; what it then did is judged). A finding is an exit code out of the contract, a message
that is not one line, something left behind, a hang, an output that differs from its original, or a verification that
fails where onnxruntime runs the original. Saves the models of findings, with the changes left out that are not needed;
exits with 1 if there are any.
"""

from __future__ import annotations

import argparse
import collections
import itertools
import sys
import tempfile
import threading
import time
from pathlib import Path
from queue import Queue

import measure

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests"), str(ROOT / "fixtures")]

from fuzz.bases import bases  # noqa: E402
from fuzz.changes.data import DATA_FILE  # noqa: E402
from fuzz.mutants import Mutant, mutant  # noqa: E402
from fuzz.trial import attempt  # noqa: E402
from fuzz.workers import WAYS, Result, options_of, results  # noqa: E402


def minimised(result: Result, models: Path | None, way: str) -> Mutant:
    """The mutant of a finding with the changes left out without which it is the same kind of finding."""
    known, without = bases(models), frozenset[int]()

    def finding(left_out: frozenset[int]) -> str:
        with tempfile.TemporaryDirectory() as folder:
            case = mutant(result.seed, known, left_out)
            return attempt(case, options_of(result.seed, way), Path(folder), lambda _: None).finding[:12]

    if not result.died:
        for change in mutant(result.seed, known).changes:
            number = int(change.partition(":")[0])
            if finding(without | {number}) == result.trial.finding[:12]:
                without |= {number}
    return mutant(result.seed, known, without)


def save(case: Mutant, result: Result, folder: Path, way: str) -> None:
    folder = folder / f"seed_{result.seed}"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "in.onnx").write_bytes(case.serialized)
    if case.data:
        (folder / DATA_FILE).write_bytes(case.data)
    text = f"{case.base.name}, {way}, scope {options_of(result.seed, way).scope}, {', '.join(case.changes)}\n{result}\n"
    (folder / "finding.txt").write_text(text)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("count", type=int)
    parser.add_argument("--start", type=int, default=0, help="the first seed")
    parser.add_argument("--models", type=Path, help="a folder of small models to damage instead")
    parser.add_argument("--way", choices=WAYS, default="plain", help="how they are converted")
    parser.add_argument("--jobs", type=int, default=2, help="workers at a time")
    parser.add_argument("--save", type=Path, help="where the models of findings go")
    given = parser.parse_args()
    started, stop = time.perf_counter(), given.start + given.count
    queue: Queue[Result | BaseException | None] = Queue()

    def watch(first: int) -> None:
        try:
            for result in results(first, stop, given.jobs, given.models, given.way):
                queue.put(result)
            queue.put(None)
        except BaseException as error:  # noqa: BLE001  given to the main thread, which raises it
            queue.put(error)

    for job in range(given.jobs):
        threading.Thread(target=watch, args=(given.start + job,), daemon=True).start()
    counts: collections.Counter[str] = collections.Counter()
    codes: collections.Counter[int] = collections.Counter()
    working = given.jobs
    for cases in itertools.count():
        result = queue.get()
        while result is None and (working := working - 1):
            result = queue.get()
        if result is None:
            break
        if isinstance(result, BaseException):
            raise result
        counts.update(cases=1, died=bool(result.died), findings=bool(result.trial.finding))
        counts[result.trial.compared] += 1
        codes[result.trial.code] += 1
        if result.died or result.trial.finding:
            print(f"seed {result.seed}: {result.died} {result.trial.finding}", file=sys.stderr, flush=True)
        if result.trial.finding and given.save:
            save(minimised(result, given.models, given.way), result, given.save, given.way)
        if cases % 10_000 == 9_999:
            print(f"{cases + 1} cases, {time.perf_counter() - started:.0f} s", file=sys.stderr, flush=True)
    exits = [f"exit {code}" for code in sorted(codes)]
    columns = [
        "cases",
        *exits,
        "compared in onnxruntime",
        "in the reference",
        "died in a worker",
        "findings",
        "seconds",
    ]
    row = [counts["cases"], *(codes[code] for code in sorted(codes)), counts["onnxruntime"], counts["reference"]]
    print(measure.markdown(columns, [[*row, counts["died"], counts["findings"], round(time.perf_counter() - started)]]))
    sys.exit(bool(counts["findings"]))


if __name__ == "__main__":
    main()
