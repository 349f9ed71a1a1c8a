"""A folder of networks made fully convolutional, and all that the report claims of them held against onnxruntime.

    sliding.py MODELS [--score SCORE.py] [--only SUBSTRING ...] [--sample N] [--no-verify]

The judge (`sliding_claims.py`) reads the original, the converted model, and the report: it runs both in onnxruntime and
imports nothing of fc2conv, which is run as a command. `sliding_made.py OUT` makes networks to judge, and
`fixtures/` and a zoo are others. Beside `m.onnx` may lie `m.onnx.large`, the same network on a larger image: then the
map in front of its layers is compared on that as well. A row of the table has the largest differences, as
max|a - b| / max|a|, and what was found wrong; `loose` are true claims that say more than they must.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import measure
import zoo

HEADER = ("model", "training", "crops", "windows", "worst", "fields", "sizes", "least", "gap", "")


def judged(path: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    """One model: what was compared, or why not."""
    from sliding_claims import Judge

    original = zoo.load(path, zoo.module(arguments.score))
    given = zoo.shapes(path)
    with tempfile.TemporaryDirectory() as folder:
        source, made, report = (Path(folder) / name for name in ("original.onnx", "sliding.onnx", "report.json"))
        zoo.save(original, source)
        shapes = [f"{name}:{','.join(map(str, shape))}" for name, shape in given.items()]
        command = [sys.executable, "-m", "fc2conv", str(source), str(made), "--fully-convolutional", "--quiet"]
        command += ["--report", str(report), *(["--no-verify"] if arguments.no_verify else [])]
        command += ["--overwrite-input-shape", *shapes] if shapes else []
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=Path(__file__).parents[1])
        if done.returncode:
            return {"refused": done.stderr.replace(str(source), "").strip(" \n:"), "exit": done.returncode}
        stated = json.loads(report.read_text())["sliding"]
        if stated["already"]:
            return {"refused": "it takes images of any size as it is", "exit": 0}
        large = path.with_name(f"{path.name}.large")
        judge = Judge(original, zoo.load(made, None), stated, given, zoo.load(large, None) if large.exists() else None)
        return judge.judge()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    zoo.add_arguments(parser)
    parser.add_argument("--no-verify", action="store_true", help="without the tool's own proof")
    arguments = parser.parse_args()
    if arguments.at is not None:
        print(json.dumps(judged(arguments.at, arguments)))
        return
    rows, refused, wrong, loose = [], 0, 0, 0
    for path in zoo.models(arguments):
        extra = ["--no-verify"] if arguments.no_verify else []
        command = zoo.child(__file__, arguments, path, extra)
        name = str(path.relative_to(arguments.folder).with_suffix(""))
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=arguments.timeout, check=False)
            found = json.loads(done.stdout.splitlines()[-1]) if done.returncode == 0 else {"crash": done.stderr[-400:]}
        except subprocess.TimeoutExpired:
            found = {"crash": "timeout"}
        print(name, json.dumps(found), file=sys.stderr, flush=True)
        rows.append(row(name, found))
        refused += "refused" in found
        wrong += bool(found.get("wrong")) or "crash" in found
        loose += bool(found.get("loose"))
    print(measure.markdown(HEADER, rows))
    print(f"\n{len(rows)} networks, {refused} refused, {wrong} with a wrong claim, {loose} with a loose one")


def row(name: str, found: Mapping[str, Any]) -> list[str]:
    """The row of a model."""
    if "wrong" not in found:
        why = f"refused: {found['refused']}" if "refused" in found else f"crash: {found['crash']}"
        return [name, *[""] * (len(HEADER) - 2), " ".join(why.split()).replace("|", "/")]
    differences = [found[key] for key in ("training", "worst", "gap")]
    training, worst, gap = ("-" if number is None else f"{number:.1e}" for number in differences)
    said = [*(f"WRONG: {each}" for each in found["wrong"]), *(f"loose: {each}" for each in found["loose"])]
    counts = [str(found[key]) for key in ("crops", "windows")], [str(found[key]) for key in ("fields", "sizes")]
    return [name, training, *counts[0], worst, *counts[1], found["least"], gap, "; ".join(said) or "ok"]


if __name__ == "__main__":
    main()
