"""`kill -9` of the driver at random points, then the same command again: is the result that of an undisturbed run?

python benchmarks/batch_kills.py [FOLDER] [-n 20] [--seed 0] [--fc2conv COMMAND]

Without FOLDER: the fixtures, several times over, with a bad file among them.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

FIXTURES = Path(__file__).parents[1] / "fixtures"
COPIES = 6


def make(folder: Path) -> None:
    for copy in range(COPIES):
        shutil.copytree(FIXTURES, folder / str(copy), ignore=lambda _, names: {n for n in names if ".onnx" not in n})
    (folder / "empty.onnx").touch()


def outputs(out: Path) -> dict[str, str]:
    return {
        path.relative_to(out).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in out.rglob("*")
        if path.is_file() and not any(part.startswith(".fc2conv") for part in path.relative_to(out).parts)
    }


def report(out: Path) -> Any:
    def timeless(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: timeless(each) for key, each in value.items() if key != "run"}
        return [timeless(each) for each in value] if isinstance(value, list) else value

    return timeless(json.loads((out / ".fc2conv" / "report.json").read_text(encoding="ascii")))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("-n", "--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--fc2conv", default=str(Path(sys.executable).with_name("fc2conv")), help="the command")
    given = parser.parse_args()
    chance = random.Random(given.seed)
    with tempfile.TemporaryDirectory() as place:
        source = given.folder.resolve() if given.folder else Path(place, "zoo")
        if not given.folder:
            make(source)
        command = [given.fc2conv, "batch", str(source), "out", "-q", "--jobs", "2"]
        calm, disturbed = Path(place, "calm"), Path(place, "disturbed")
        calm.mkdir()
        disturbed.mkdir()
        begin = time.perf_counter()
        subprocess.run(command, cwd=calm, stderr=subprocess.DEVNULL, check=False)
        whole = time.perf_counter() - begin
        done: list[int] = []
        for _ in range(given.kills):
            with subprocess.Popen(command, cwd=disturbed, stderr=subprocess.DEVNULL) as driver:
                try:
                    driver.wait(chance.uniform(0.1, 0.3 * whole))
                except subprocess.TimeoutExpired:
                    driver.send_signal(signal.SIGKILL)
            done.append(len(outputs(disturbed / "out")) if (disturbed / "out").exists() else 0)
            if driver.returncode >= 0:  # all was done before the kill: from the beginning again
                shutil.rmtree(disturbed / "out")
        subprocess.run(command, cwd=disturbed, stderr=subprocess.DEVNULL, check=False)
        same = outputs(disturbed / "out") == outputs(calm / "out"), report(disturbed / "out") == report(calm / "out")
        left = [*disturbed.rglob(".fc2conv-*"), *disturbed.rglob("scratch")]
        print(f"{given.kills} kills, files there after each: {', '.join(map(str, done))}")
        print(f"outputs identical: {same[0]}, reports identical: {same[1]}, left behind: {len(left)}")
    sys.exit(not all(same) or bool(left))


if __name__ == "__main__":
    main()
