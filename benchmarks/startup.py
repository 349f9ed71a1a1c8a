"""How long the smallest useful run takes, as a whole process: the LeNet fixture, and commands that do no work.

python benchmarks/startup.py [-n 5] [--fc2conv COMMAND]
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import measure

LENET = str(Path(__file__).parents[1] / "fixtures" / "lenet.onnx")
IMPORTS = "import onnx, onnxruntime"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-n", "--rounds", type=int, default=5)
    parser.add_argument("--fc2conv", default=str(Path(sys.executable).with_name("fc2conv")), help="the command")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        out = str(Path(folder) / "out.onnx")
        table = {
            "python -c pass": [sys.executable, "-c", "proved"],
            "import onnx, onnxruntime": [sys.executable, "-c", IMPORTS],
            "fc2conv --version": [arguments.fc2conv, "--version"],
            "fc2conv --help": [arguments.fc2conv, "--help"],
            "fc2conv check lenet.onnx": [arguments.fc2conv, "check", LENET],
            "fc2conv lenet.onnx OUT --no-verify": [arguments.fc2conv, LENET, out, "--no-verify"],
            "fc2conv lenet.onnx OUT": [arguments.fc2conv, LENET, out],
        }
        rows = []
        for name, command in table.items():
            measure.run(command)
            s = measure.summarise([measure.run(command) for _ in range(arguments.rounds)])
            rows.append([name, f"{s.seconds:.2f}", f"{s.fastest:.2f}-{s.slowest:.2f}", f"{s.peak_mib:.0f}", s.note])
    print(measure.markdown(["process", "seconds", "range", "peak MiB", "note"], rows))


if __name__ == "__main__":
    main()
