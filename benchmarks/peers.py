"""fc2conv beside a plain copy and other tools, on one model, in one run: wall seconds and peak memory.

    python benchmarks/peers.py MODEL.onnx --peers-python PEERS/bin/python [-n 3] [--only SUBSTRING]

Each tool is one whole process, with the model in the page cache and nothing left to write back from the run before.
The rounds interleave the tools, so that a slow spell of the machine meets all of them.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
from pathlib import Path

import measure

LOAD_SAVE = "import sys, onnx; onnx.save(onnx.load(sys.argv[1]), sys.argv[2])"
FUSE = ["--enable-optimization", "fuse_matmul_into_conv"]


def commands(model: str, out: str, fc2conv: str, peers_python: Path | None) -> dict[str, list[str]]:
    """The command line of each tool, by the name that the table shows."""
    table = {"cp": ["cp", model, out]}
    if shutil.which(fc2conv):
        table["fc2conv --no-verify"] = [fc2conv, model, out, "--no-verify"]
        table["fc2conv"] = [fc2conv, model, out]
    if peers_python:
        tools = peers_python.parent
        onnxsim = str(tools / "onnxsim")
        table["onnx.load + onnx.save"] = [str(peers_python), "-c", LOAD_SAVE, model, out]
        table["onnxslim"] = [str(tools / "onnxslim"), model, out]
        table["onnxsim"] = [onnxsim, model, out]
        table["onnxsim, one check"] = [onnxsim, model, out, "1"]
        table["onnxsim, fuse_matmul_into_conv"] = [onnxsim, model, out, *FUSE]
    return table


def warm(model: Path) -> None:
    """Reads the model and its external data once, in pieces."""
    for path in model.parent.glob(f"{model.name}*"):
        with path.open("rb") as file:
            while file.read(1 << 24):
                pass


def measured(table: dict[str, list[str]], rounds: int, folder: Path) -> dict[str, measure.Summary]:
    samples: dict[str, list[measure.Sample]] = {name: [] for name in table}
    for _ in range(rounds):
        for name, command in table.items():
            measure.remove(path for path in folder.iterdir() if path.is_file())
            os.sync()
            samples[name].append(measure.run(command))
            print(f"{name}: {samples[name][-1].seconds:.2f} s", file=sys.stderr)
    return {name: measure.summarise(runs) for name, runs in samples.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--peers-python", type=Path, help="interpreter of a venv with onnx, onnxsim and onnxslim")
    parser.add_argument("--fc2conv", default=str(Path(sys.executable).with_name("fc2conv")), help="the command")
    parser.add_argument("-n", "--rounds", type=int, default=3)
    parser.add_argument("--only", default="", help="only tools whose name contains this")
    parser.add_argument("--folder", type=Path, help="where outputs go (default: beside the model)")
    arguments = parser.parse_args()
    warm(arguments.model)
    with tempfile.TemporaryDirectory(dir=arguments.folder or arguments.model.parent) as folder:
        out = Path(folder) / "out.onnx"
        table = commands(str(arguments.model), str(out), arguments.fc2conv, arguments.peers_python)
        table = {name: command for name, command in table.items() if arguments.only in name}
        summaries = measured(table, arguments.rounds, Path(folder))
    rows = [
        [name, f"{s.seconds:.2f}", f"{s.fastest:.2f}-{s.slowest:.2f}", f"{s.peak_mib:.0f}", s.note]
        for name, s in summaries.items()
    ]
    print(measure.markdown(["tool", "seconds", "range", "peak MiB", "note"], rows))


if __name__ == "__main__":
    main()
