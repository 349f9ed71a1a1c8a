"""Ctrl-C at many moments of a conversion: how long the process takes to end, with which code, and what it leaves.

python benchmarks/interrupt.py MODEL [-n 20]

SIGINT is sent after equal parts of the time that a whole run takes. The folder of the output must then be empty. (A
code of -2 is Python's own, interrupted before fc2conv has begun.)
"""

from __future__ import annotations

import argparse
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import measure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("-n", "--moments", type=int, default=20)
    parser.add_argument("--fc2conv", default=str(Path(sys.executable).with_name("fc2conv")), help="the command")
    arguments = parser.parse_args()
    codes: Counter[int] = Counter()
    seconds, left = [], 0
    with tempfile.TemporaryDirectory(dir=Path(arguments.model).resolve().parent) as folder:
        command = [arguments.fc2conv, arguments.model, str(Path(folder) / "out.onnx"), "-q"]
        whole = measure.run(command).seconds
        (Path(folder) / "out.onnx").unlink()
        for i in range(arguments.moments):
            taken, code = interrupted(command, whole * (i + 0.5) / arguments.moments)
            codes[code] += 1
            if code == 130:
                seconds.append(taken)
                left += len(list(Path(folder).iterdir()))
            (Path(folder) / "out.onnx").unlink(missing_ok=True)
    listed = ", ".join(f"{count} x {code}" for code, count in sorted(codes.items()))
    row = [Path(arguments.model).name, f"{whole:.2f}", listed, f"{max(seconds, default=0.0):.2f}", str(left)]
    print(measure.markdown(["model", "whole run, s", "exit codes", "longest end, s", "files left"], [row]))


def interrupted(command: list[str], after: float) -> tuple[float, int]:
    """The seconds from SIGINT to the end of the process, and its exit code."""
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        select.select([], [], [], after)
        start = time.perf_counter()
        process.send_signal(signal.SIGINT)
        code = process.wait()
        return time.perf_counter() - start, code


if __name__ == "__main__":
    main()
