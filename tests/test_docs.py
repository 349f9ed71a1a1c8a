"""The pages are true: their code runs, their commands print what they say, their settings are taken."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from documents import PAGES, ROOT, SESSION, Block, blocks, commands, pytest_id, runnable
from PIL import Image

from fc2conv import errors

PACKAGE = Path(errors.__file__).parent
LIMIT = 300
QUANTIZER = "Please consider to run pre-processing before quantization"
"""What onnxruntime's quantizer says of every model; nothing else speaks on stderr."""


def with_blocks(*languages: str) -> list[Path]:
    """The pages that have blocks of these languages."""
    return [page for page in PAGES if any(block.language in languages for block in blocks(page))]


# An interpreter that runs the blocks of one page, one for each line of its input, in one namespace; a fault says on
# which line of the page it is. What the blocks print goes nowhere, and stdout says that a block is done.
INTERPRETER = """
import contextlib, io, json, sys
names = {"__name__": "page"}
for sent in sys.stdin:
    page, line, source = json.loads(sent)
    with contextlib.redirect_stdout(io.StringIO()):
        exec(compile("\\n" * line + source, page, "exec"), names)
    print("done", flush=True)
"""


@pytest.fixture
def folder(tmp_path: Path, command: Path) -> Path:
    """A folder with the fixtures, as a reader of the README has them, and the models and the picture of the pages."""
    for name in ("fixtures", "models", "zoo"):
        (tmp_path / name).mkdir()
    for model in (ROOT / "fixtures").glob("*.onnx"):
        shutil.copy(model, tmp_path / "fixtures")
    for name in ("model.onnx", "models/a.onnx", "models/b.onnx", "zoo/a.onnx"):
        shutil.copy(ROOT / "fixtures" / "lenet.onnx", tmp_path / name)
    pixels = np.random.default_rng(0).integers(0, 256, (90, 120, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "cat.jpg")
    (tmp_path / "photos").mkdir()
    Image.fromarray(pixels).save(tmp_path / "photos" / "cat.png")
    (tmp_path / "names.txt").write_text("\n".join(f"name {i}" for i in range(10)))
    (tmp_path / ".bin").mkdir()
    (tmp_path / ".bin" / "fc2conv").symlink_to(command)
    return tmp_path


class Session:
    """A reader who does all that a page says, from its first line to its last, in one folder."""

    def __init__(self, page: Path, folder: Path) -> None:
        self.page = page
        self.folder = folder
        path = os.pathsep.join([str(folder / ".bin"), os.environ["PATH"]])
        self.env = {**os.environ, "PYTHONPATH": str(PACKAGE.parent), "NO_COLOR": "1", "PATH": path}
        self.errors = folder / ".stderr"
        self.interpreter: subprocess.Popen[str] | None = None

    def python(self, block: Block) -> None:
        if self.interpreter is None:
            command = [sys.executable, "-c", INTERPRETER]
            streams = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": self.errors.open("w")}
            self.interpreter = subprocess.Popen(command, cwd=self.folder, env=self.env, text=True, **streams)
        assert self.interpreter.stdin is not None
        assert self.interpreter.stdout is not None
        self.interpreter.stdin.write(json.dumps([self.page.name, block.line, "\n".join(block.lines) + "\n"]) + "\n")
        self.interpreter.stdin.flush()
        assert self.interpreter.stdout.readline() == "done\n", self.errors.read_text()

    def console(self, block: Block) -> None:
        for command in commands(block):
            done = self._bash(command.line)
            assert done.returncode == command.exit_code, f"{self.page.name}: {command.line}: {done.stderr}"
            if command.output:
                assert done.stdout == command.output, f"{self.page.name}: {command.line}"

    def sh(self, block: Block) -> None:
        for line in runnable(block):
            done = self._bash(line)
            allowed = (0, 1) if "fc2conv check" in line else (0,)  # `check` returns 1 where there is work
            assert done.returncode in allowed, f"{self.page.name}: {line}: {done.stderr}"

    def end(self) -> None:
        if self.interpreter is not None:
            assert self.interpreter.stdin is not None
            self.interpreter.stdin.close()
            self.interpreter.wait(LIMIT)
            said = self.errors.read_text().splitlines()
            assert [line for line in said if QUANTIZER not in line] == []

    def _bash(self, line: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["bash", "-c", line],
            cwd=self.folder,
            env=self.env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=LIMIT,
            check=False,
        )


@pytest.mark.skipif(shutil.which("bash") is None, reason="the pages speak to a shell, and there is no bash here")
@pytest.mark.parametrize("page", with_blocks(*SESSION), ids=pytest_id)
def test_a_page_does_what_it_says(page: Path, folder: Path) -> None:
    if page.name == "integrations.md":
        pytest.importorskip("onnx_ir", reason="onnx_ir is not installed: pip install onnx-ir")
    session = Session(page, folder)
    try:
        for block in blocks(page):
            if block.language in SESSION:
                getattr(session, block.language)(block)
    finally:
        session.end()


@pytest.mark.parametrize("page", with_blocks("toml"), ids=pytest_id)
def test_options_in_a_file_are_taken(page: Path, folder: Path) -> None:
    import tomllib

    for block in blocks(page):
        if block.language != "toml":
            continue
        text = "\n".join(block.lines)
        shared = "tool" in tomllib.loads(text)
        (folder / ("pyproject.toml" if shared else "fc2conv.toml")).write_text(text)
        done = Session(page, folder)._bash("fc2conv check model.onnx")
        assert done.returncode in (0, 1), done.stderr


def test_the_readme_is_tested_at_all() -> None:
    readme = list(blocks(ROOT / "README.md"))
    assert {"python", "console", "sh"} <= {block.language for block in readme}
    assert sum("python -m pytest" in line for block in readme for line in block.lines) == 1
    assert any("fc2conv fixtures/lenet.onnx" in line for block in readme for line in runnable(block))


@pytest.mark.parametrize("page", with_blocks("yaml"), ids=pytest_id)
def test_yaml_is_what_the_action_and_the_hook_take(page: Path) -> None:
    import yaml

    action = yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))
    hooks = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text(encoding="utf-8"))
    for block in blocks(page):
        if block.language != "yaml":
            continue
        text = "\n".join(block.lines)
        found = yaml.safe_load(text)
        if not isinstance(found, dict):
            continue  # a manifest of models
        steps = [step for job in found.get("jobs", {}).values() for step in job["steps"]]
        for step in (step for step in steps if "fc2conv" in step.get("uses", "")):
            required = {name for name, each in action["inputs"].items() if each.get("required")}
            assert required <= set(step["with"]) <= set(action["inputs"])
        assert set(re.findall(r"steps\.fc2conv\.outputs\.(\w+)", text)) <= set(action["outputs"])
        for repo in found.get("repos", ()):
            assert {hook["id"] for hook in repo["hooks"]} <= {hook["id"] for hook in hooks}
