"""Whether anything became slower: CPU time as ratios of one run, against those that were committed last.

    python benchmarks/check.py [-n 7] [--write]

Each figure is CPU time (user and system, with children) over that of a reference beside it, which is run in turns with
it. The least of the rounds counts, which other work on the machine moves least; a round before them makes bytecode.
What is more than a tenth above the committed figure is named, and the exit code is 1. `--write` puts the figures into
`figures.json`.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
FIGURES = HERE / "figures.json"
LENET = str(HERE.parent / "fixtures" / "lenet.onnx")
MOST = 1.1

REFERENCE = "import onnx, numpy"
PLAN = """
import sys
sys.path.insert(0, {benchmarks!r})
import scaling
import fc2conv
from fc2conv.rewrite.model import rewrite_model
from fc2conv.io.reader import model_file_from_proto
file = model_file_from_proto(scaling.graph_of({nodes}))
for _ in range({times}):
    rewrite_model(file, scaling.OPTIONS)
"""


def cpu(command: list[str], folder: str) -> float:
    """The CPU seconds of a command and of the children it waited for; bytecode is kept in a folder."""
    given = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    env = {**given, "PYTHONPATH": str(HERE.parent), "PYTHONPYCACHEPREFIX": f"{folder}/bytecode"}
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, cwd=folder, env=env)
    assert child.stderr is not None
    said = child.stderr.read()
    child.stderr.close()
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise SystemExit(f"{command}: exit {child.returncode}\n{said.decode(errors='replace')}")
    return usage.ru_utime + usage.ru_stime


def commands(out: str) -> dict[str, list[str]]:
    """What is measured, by the name of its figure; the first is the reference of the others."""
    python, module = [sys.executable, "-c"], [sys.executable, "-m", "fc2conv"]
    return {
        REFERENCE: [*python, REFERENCE],
        "import onnx, onnxruntime": [*python, "import onnx, onnxruntime"],
        "fc2conv --help": [*module, "--help"],
        "fc2conv lenet.onnx OUT --no-verify": [*module, LENET, out, "--no-verify"],
        "fc2conv lenet.onnx OUT --no-verify --quiet": [*module, LENET, out, "--no-verify", "--quiet"],
        "fc2conv lenet.onnx OUT --quiet": [*module, LENET, out, "--quiet"],
        "a chain of 1,000 nodes, not planned": [*python, PLAN.format(benchmarks=str(HERE), nodes=1000, times=0)],
        "a chain of 1,000 nodes, planned 5 times": [*python, PLAN.format(benchmarks=str(HERE), nodes=1000, times=5)],
    }


def measured(rounds: int) -> dict[str, float]:
    """The ratios of all figures."""
    with tempfile.TemporaryDirectory() as folder:
        table = commands(str(Path(folder) / "out.onnx"))
        least = dict.fromkeys(table, float("inf"))
        for command in table.values():
            cpu(command, folder)
        for _ in range(rounds):
            for name, command in table.items():
                least[name] = min(least[name], cpu(command, folder))
    reference = least.pop(REFERENCE)
    return {name: round(seconds / reference, 3) for name, seconds in least.items()}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-n", "--rounds", type=int, default=7)
    parser.add_argument("--write", action="store_true", help="commit what is seen as the figures to compare with")
    given = parser.parse_args()
    found = measured(given.rounds)
    before = json.loads(FIGURES.read_text()) if FIGURES.exists() else {}
    for name, ratio in found.items():
        print(f"{ratio:7.3f}  {before.get(name, ''):>7}  {name}")
    if given.write:
        FIGURES.write_text(json.dumps(found, indent=2) + "\n")
        return 0
    slower = [name for name, ratio in found.items() if ratio > MOST * before.get(name, float("inf"))]
    for name in slower:
        print(f"slower: {name}, {found[name]:.3f} against {before[name]:.3f}", file=sys.stderr)
    return 1 if slower else 0


if __name__ == "__main__":
    sys.exit(main())
