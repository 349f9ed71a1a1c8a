"""What a run loads: the modules of what it does, and none of what it does not."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import fc2conv

LENET = Path(__file__).parents[1] / "fixtures" / "lenet.onnx"

RUN = """
import sys
import fc2conv.sandbox
fc2conv.sandbox.contained = lambda limits, work, *rest, progress=None: work(*rest)
from fc2conv.__main__ import main
assert main(sys.argv[1:]) == 0
print("\\n".join(sys.modules))
"""
"""One run within its process, and all modules that it loaded."""

STANDARD = ("concurrent.futures", "hashlib", "html", "logging", "secrets")
"""Modules of the standard library that a quiet run without proof does not need, and other libraries may."""

NEVER = (
    "fc2conv.fcn.model",
    "fc2conv.batch",
    "fc2conv.cli.batch",
    "fc2conv.cli.check",
    "fc2conv.diagrams",
    "fc2conv.planning.trace",
    "fc2conv.rewrite.qdq",
    "fc2conv.rewrite.requantize",
    *STANDARD,
    "jinja2",
    "PIL",
    "psutil",
    "yaml",
)
TARGET = ("fc2conv.planning.fitting", "fc2conv.targets.audit", "fc2conv.targets.fits")
PROOF = ("onnxruntime", "onnx.reference", "fc2conv.verification.pair")


@pytest.mark.parametrize(
    ("more", "absent"),
    [
        (("--no-verify",), (*NEVER, *PROOF, *TARGET, "rich")),
        (("--quiet",), (*(name for name in NEVER if name not in STANDARD), *TARGET, "rich")),
        (("--target", "dla", "--no-verify"), (*(name for name in NEVER if name not in STANDARD), *PROOF)),
    ],
)
def test_a_run_loads_what_it_uses(more: tuple[str, ...], absent: tuple[str, ...], tmp_path: Path) -> None:
    command = [sys.executable, "-c", RUN, str(LENET), str(tmp_path / "out.onnx"), *more]
    home = {**os.environ, "PYTHONPATH": str(LENET.parents[1])}
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path, env=home)
    loaded = set(done.stdout.split())
    assert "fc2conv.rewrite.rewriter" in loaded
    assert not loaded.intersection(absent)


MEANWHILE = """
import sys
from fc2conv.cli.console import answered
with answered(["m.onnx"], {"output_format": sys.argv[1], "quiet": sys.argv[2] == "quiet"}) as stage:
    assert "fc2conv.report.types" not in sys.modules
    stage("loading the libraries")
    print("fc2conv.report.text" in sys.modules, "fc2conv.report.json" in sys.modules)
"""


@pytest.mark.parametrize(
    ("form", "quiet", "loaded"),
    [("text", "no", "True False"), ("text", "quiet", "False False"), ("json", "quiet", "False True")],
)
def test_what_writes_the_report_is_loaded_while_the_work_is_done(form: str, quiet: str, loaded: str) -> None:
    home = {**os.environ, "PYTHONPATH": str(LENET.parents[1])}
    command = [sys.executable, "-c", MEANWHILE, form, quiet]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=home)
    assert done.stdout.strip() == loaded


@pytest.mark.contained
def test_a_child_says_first_that_it_loads_libraries(tmp_path: Path) -> None:
    stages: list[str] = []
    fc2conv.convert(str(LENET), tmp_path / "out.onnx", progress=stages.append)
    assert stages[0] == "loading the libraries"
