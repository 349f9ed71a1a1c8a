"""CONTRIBUTING.md: the files that it names are there, and its recipes are tried on a copy of the package."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import onnx
import pytest

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
MODEL = """<ir_version: 8, opset_import: ["": 17, "other": 1]>
g (float[N,3,1,1] x) => (float[N,2] y) <float[2,3] w = {1.5, -2.0, 0.25, 3.0, -0.5, 1.0}>
{ c = Relu (x)  f = Flatten (c)  o = other.Glow (f)  [fc] y = Gemm <transB = 1> (o, w) }"""


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    shutil.copytree(ROOT / "fc2conv", tmp_path / "fc2conv", ignore=shutil.ignore_patterns("__pycache__"))
    onnx.save(onnx.parser.parse_model(MODEL), tmp_path / "m.onnx")
    return tmp_path


def edit(copy: Path, name: str, old: str, new: str) -> None:
    path = copy / "fc2conv" / name
    source = path.read_text(encoding="utf-8")
    assert source.count(old) == 1
    path.write_text(source.replace(old, new), encoding="utf-8")


def ran(copy: Path, *words: str) -> str:
    command = [sys.executable, "-m", "fc2conv", *words]
    return subprocess.run(command, cwd=copy, capture_output=True, text=True, check=False).stdout


def test_the_files_that_it_names_are_there() -> None:
    named = set(re.findall(r"`((?:fc2conv|tests|docs)/[\w./]*)`", PAGE))
    assert len(named) > 15
    assert not [name for name in named if not (ROOT / name).exists()]


def test_a_word_adds_an_operator(copy: Path) -> None:
    assert "FC105" in ran(copy, "check", "m.onnx") or "FC102" in ran(copy, "check", "m.onnx")
    edit(copy, "analysis/elementwise.py", '"Relu LeakyRelu', '"other::Glow Relu LeakyRelu')
    shape = "RULES: Mapping[str, Rule] = {\n"
    edit(copy, "ir/stand_ins/__init__.py", shape, f"{shape}    'other::Glow': same(0),\n")
    assert "1 of 1 fully connected layer can be converted" in ran(copy, "check", "m.onnx")


def test_a_member_adds_a_reason_code(copy: Path) -> None:
    member = "    NO_FEATURE_MAP = (\n"
    edit(copy, "reasons.py", member, f"    NEW = ('FC199', 'It is new.', 'Read on.')\n{member}")
    assert "It is new." in ran(copy, "explain", "FC199")
