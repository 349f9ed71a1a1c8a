"""Which conversions of a zoo are proved in exact arithmetic, at what price, and which node stops the others.

python benchmarks/proved.py MODELS OUT [--scope spatial|all] [--only WORD] [--seconds 300]

Writes one JSON line a model to OUT/SCOPE.jsonl, smallest first, and goes on where it was stopped: remove the file, or
the lines of some models, to run them again. Of each model: the outcome of the conversion, and where a layer was
converted, whether it is `proved`, what the check says, its CPU seconds, and the peak memory of a process that read the
two models and proved them.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import resource
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import fc2conv
from fc2conv.io.reader import read_model
from fc2conv.options import VerifyOptions
from fc2conv.verification import pair
from fc2conv.verification.exact.check import check_exact
from fc2conv.verification.exact.result import Exact


class _DoneError(Exception):
    """The proof is there: what numbers say is not asked."""


def convert(source: str, target: str, scope: str) -> dict[str, Any]:
    """Convert one model without a proof."""
    report = fc2conv.convert(source, target, fc2conv.Options(scope=scope, verify=False)).report  # type: ignore[arg-type]
    layers = sum(layer.decision == "convert" for layer in report.sites)
    return {"outcome": report.outcome, "layers": layers}


def prove(source: str, target: str, _: str) -> dict[str, Any]:
    """Prove one conversion, and say what it took; a second attempt follows a run of the models, as in `verify`."""
    row: dict[str, Any] = {"proved": False, "cpu": 0.0}
    files = read_model(source), read_model(target)

    def timed(*given: Any) -> Exact:
        begin = time.process_time()
        found = check_exact(*given)
        row["cpu"] = round(row["cpu"] + time.process_time() - begin, 2)
        row["MiB"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
        row["proved"], row["detail"] = found.proved, f"{found.check.verdict}: {found.check.detail}"
        if found.proved or found.parted:
            raise _DoneError
        return found

    pair.check_exact = timed  # type: ignore[attr-defined]
    with contextlib.suppress(_DoneError):
        pair.verify_pair(*files, False, VerifyOptions())
    return row


STEPS = {"convert": convert, "prove": prove}


def step(name: str, arguments: Sequence[str], seconds: float) -> dict[str, Any]:
    """Run a step in a process of its own, whose memory is then its own as well."""
    words = [sys.executable, __file__, "--step", name, *arguments]
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=seconds, check=False)
    except subprocess.TimeoutExpired:
        return {"detail": f"{name}: more than {seconds:.0f} s"}
    if done.returncode:
        return {"detail": f"{name}: {(done.stderr.strip().splitlines() or ['killed'])[-1]}"}
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def rows(models: Path, out: Path, scope: str, only: str, seconds: float) -> Iterator[dict[str, Any]]:
    """Yield the rows of all models, those that are already there first."""
    journal, folder = out / f"{scope}.jsonl", out / scope
    folder.mkdir(parents=True, exist_ok=True)
    known = [json.loads(line) for line in journal.read_text().splitlines()] if journal.exists() else []
    yield from known
    names = {row["model"] for row in known}
    with journal.open("a") as stream:
        for path in sorted(models.glob("*.onnx"), key=lambda p: p.stat().st_size):
            if path.name in names or only not in path.name:
                continue
            target = folder / path.name
            row = {"model": path.name, **step("convert", [str(path), str(target), scope], seconds)}
            if row.get("layers"):
                row |= step("prove", [str(path), str(target), scope], seconds)
            target.unlink(missing_ok=True)
            print(json.dumps(row), file=stream, flush=True)
            yield row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--scope", choices=("spatial", "all"), default="spatial")
    parser.add_argument("--only", default="", help="a word in the names of the models to run")
    parser.add_argument("--seconds", type=float, default=300.0)
    given = parser.parse_args()
    found = list(rows(given.models, given.out, given.scope, given.only, given.seconds))
    converted = [row for row in found if row.get("layers")]
    proved = [row for row in converted if row.get("proved")]
    print("| model | CPU s | peak MiB | what stops the proof |\n| --- | --- | --- | --- |")
    for row in converted:
        if not row.get("proved"):
            print(f"| {row['model']} | {row.get('cpu', '')} | {row.get('MiB', '')} | {row.get('detail', '')} |")
    seen = f"{len(proved)} of {len(converted)} conversions proved"
    print(f"\n{seen}, {sum(row['cpu'] for row in proved):.0f} s of CPU; {len(found)} models")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--step"]:
        print(json.dumps(STEPS[sys.argv[2]](*sys.argv[3:])))
    else:
        main()
