"""Right conversions under inputs of three sizes: which verdict each gets, by family, and why where it is no pass.

    scaled.py MODELS [--score SCORE.py] [--scope all] [--only SUBSTRING ...] [--sample 4]

Each model is converted once, without verification, and then compared with its original by `fc2conv verify`: on what it
chooses to feed by itself, on uniform numbers in [-255, 255], and in [-0.001, 0.001]. All tolerances are the defaults,
so that a `fail` is a fault or a false alarm. `limit` is a comparison that reached a limit or died.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import measure
import zoo

RANGES = {"plain": [], "255": ["--val-range=-255,255"], "0.001": ["--val-range=-0.001,0.001"]}
VERDICTS = ("proved", "inconclusive", "differs", "limit")


def compare_one(path: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    """The verdict and the line that says why, for each range; nothing where no layer is converted."""
    model = zoo.load(path, zoo.module(arguments.score))
    with tempfile.TemporaryDirectory(dir=arguments.temporary) as folder:
        given, out = Path(folder) / "in.onnx", Path(folder) / "out.onnx"
        zoo.save(model, given)
        del model
        scope = ["--scope", arguments.scope, "--no-verify", "--output-format", "json"]
        done = _fc2conv([str(given), str(out), *scope], arguments.timeout)
        report = json.loads(done.stdout) if not done.returncode else {}
        if report.get("outcome") != "converted":
            return {"refused": _last(done.stderr)} if done.returncode else {}
        shapes = [f"--overwrite-input-shape={k}:{','.join(map(str, v))}" for k, v in zoo.shapes(path).items()]
        return {name: _verdict([str(given), str(out), *shapes, *more], arguments) for name, more in RANGES.items()}


def _verdict(files: list[str], arguments: argparse.Namespace) -> list[str]:
    done = _fc2conv(["verify", *files, "--output-format", "json"], arguments.timeout)
    if not done.stdout:
        return ["limit" if done.returncode == 8 else f"exit {done.returncode}", _last(done.stderr)]
    found = json.loads(done.stdout)["verification"]
    worst = next((check for check in found["checks"] if check["verdict"] == found["verdict"]), found["checks"][-1])
    # What a pass leaves open is of interest as well.
    parts = [f"{each['name']}: {each['verdict']}" for each in found["checks"] if each["verdict"] == "inconclusive"]
    return [
        found["verdict"],
        f"{worst['name']}: {worst['detail']}" if found["verdict"] != "proved" else "; ".join(parts),
    ]


def _fc2conv(words: list[str], timeout: int) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "fc2conv", *words]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=timeout)
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(command, 8, "", f"no answer in {timeout} s")


def _last(text: str) -> str:
    return (text.strip().splitlines() or [""])[-1][:300]


def compare_all(arguments: argparse.Namespace) -> dict[Path, dict[str, Any]]:
    """What was found for each model of which something is converted; models that cannot be are named on stderr."""
    found = {}
    for path in zoo.models(arguments):
        extra = ["--scope", arguments.scope, "--timeout", str(arguments.timeout)]
        extra += ["--temporary", str(arguments.temporary)] if arguments.temporary else []
        command = zoo.child(__file__, arguments, path, extra)
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        name = path.relative_to(arguments.folder).as_posix()
        if done.returncode:
            print(f"{name}: {_last(done.stderr)}", file=sys.stderr, flush=True)
            continue
        verdicts = json.loads(done.stdout.splitlines()[-1])
        print(f"{name}: {verdicts or 'nothing to convert'}", file=sys.stderr, flush=True)
        if set(RANGES) <= set(verdicts):
            found[path] = verdicts
    return found


def table(found: Mapping[Path, dict[str, Any]], folder: Path) -> str:
    """A row for each family: which verdicts its comparisons had, of which each model has one for each range."""
    families: dict[str, Counter[str]] = defaultdict(Counter)
    for path, verdicts in found.items():
        for family in (zoo.family(folder, path), "all"):
            families[family].update(["models", *(verdicts[name][0] for name in RANGES)])
    rows = []
    for family in sorted(families, key=lambda name: (name == "all", name)):
        counts = families[family]
        sums = [counts[verdict] for verdict in ("models", *VERDICTS[:3])]
        rows.append([family, *sums, len(RANGES) * sums[0] - sum(sums[1:])])
    return measure.markdown(["family", "models", "passed", "inconclusive", "failed", "limit"], rows)


def rest(found: Mapping[Path, dict[str, Any]], folder: Path) -> str:
    """A line for each comparison that is no pass."""
    lines = [
        f"- {path.relative_to(folder).as_posix()}, {name}: {verdicts[name][0]}: {verdicts[name][1]}"
        for path, verdicts in found.items()
        for name in RANGES
        if verdicts[name][0] != "proved"
    ]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    zoo.add_arguments(parser)
    parser.add_argument("--scope", choices=["spatial", "all"], default="spatial")
    parser.add_argument("--temporary", type=Path, help="a folder for the models while they are looked at")
    arguments = parser.parse_args()
    if arguments.at:
        print(json.dumps(compare_one(arguments.at, arguments)))
        return
    found = compare_all(arguments)
    print(table(found, arguments.folder))
    print(f"\n{rest(found, arguments.folder)}")


if __name__ == "__main__":
    main()
