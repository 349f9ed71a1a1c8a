"""The same input gives the same bytes, whatever the hash seed, the number of threads and the folder."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path


def test_one_digest_for_each_model(root: Path, tmp_path: Path) -> None:
    for name in ("crnn", "keras_nhwc", "two_heads"):
        shutil.copy(root / "fixtures" / f"{name}.onnx", tmp_path)
    script = root / "benchmarks" / "determinism.py"
    command = [sys.executable, script, "--seeds", "2", "--models", tmp_path]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert [row.split(" | ")[1:] for row in done.stdout.splitlines()[2:]] == [["3", "2", "1 |"]] * 4
