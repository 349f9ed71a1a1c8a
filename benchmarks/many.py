"""Thousands of tiny models, each with weights of its own: does the driver grow, does the rate fall?

python benchmarks/many.py [-n 5000] [--jobs 2] [--fc2conv COMMAND]
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import measure
import numpy as np
from onnx import TensorProto, helper, numpy_helper

RESIDENT = 4096
"""Bytes of a page in /proc/PID/statm."""


def make(folder: Path, count: int) -> None:
    random = np.random.default_rng(0)
    nodes = [
        helper.make_node("GlobalAveragePool", ["x"], ["p"]),
        helper.make_node("Flatten", ["p"], ["f"]),
        helper.make_node("Gemm", ["f", "w", "b"], ["y"], name="fc", transB=1),
    ]
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 8, 4, 4])]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 4])]
    for number in range(count):
        weights = [
            numpy_helper.from_array(random.standard_normal(shape, dtype=np.float32), name)
            for name, shape in (("w", (4, 8)), ("b", (4,)))
        ]
        graph = helper.make_graph(nodes, "tiny", inputs, outputs, weights)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        target = folder / f"{number // 1000}" / f"{number:05}.onnx"
        target.parent.mkdir(exist_ok=True)
        target.write_bytes(model.SerializeToString())


def rows_of(journal: Path, begin: int) -> tuple[int, int]:
    """How many lines there are past the byte `begin`, and where the next look begins."""
    if not journal.exists():
        return 0, 0
    with journal.open("rb") as stream:
        stream.seek(begin)
        text = stream.read()
    end = text.rfind(b"\n") + 1
    return text.count(b"\n"), begin + end


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-n", "--models", type=int, default=5000)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--fc2conv", default=str(Path(sys.executable).with_name("fc2conv")), help="the command")
    given = parser.parse_args()
    step = max(1, given.models // 5)
    with tempfile.TemporaryDirectory() as folder:
        source, out = Path(folder, "zoo"), Path(folder, "out")
        source.mkdir()
        make(source, given.models)
        command = [given.fc2conv, "batch", str(source), str(out), "-q", "--jobs", str(given.jobs)]
        rows, seen, at, begin = [], 0, 0, time.perf_counter()
        with subprocess.Popen(command) as driver:
            memory = 0
            while driver.poll() is None:
                time.sleep(0.02)
                found, at = rows_of(out / ".fc2conv" / "journal.jsonl", at)
                seen += found
                memory = _resident(driver.pid) or memory
                if seen - 1 >= step * (len(rows) + 1):  # one line is the run's beginning
                    now = time.perf_counter()
                    rows.append([f"{seen - 1}", f"{step / (now - begin):.2f}", f"{memory / 2**20:.1f}"])
                    begin = now
            code, _, usage = driver.returncode, None, os.times()
        assert code == 0, code
        print(measure.markdown(["models done", "models/s since the row above", "driver MiB"], rows))
        print(f"\nThe whole: {usage.children_user + usage.children_system:.0f} s of CPU time.")


def _resident(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1]) * RESIDENT
    except (OSError, IndexError):
        return 0


if __name__ == "__main__":
    main()
