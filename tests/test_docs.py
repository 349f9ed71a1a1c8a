"""The pages are true: their code runs, their commands print what they say, their links lead somewhere."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fc2conv import errors

ROOT = Path(__file__).parent.parent
PACKAGE = Path(errors.__file__).parent
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("benchmarks/*.md")])

# An interpreter that runs the blocks of one page, one for each line of its input, in one namespace; a fault says on
# which line of the page it is. What the blocks print goes to stderr, and stdout says that a block is done.
INTERPRETER = """
import contextlib, json, sys
names = {"__name__": "page"}
for told in sys.stdin:
    page, line, source = json.loads(told)
    with contextlib.redirect_stdout(sys.stderr):
        exec(compile("\\n" * line + source, page, "exec"), names)
    print("done", flush=True)
"""

LIMIT = 300
MACHINE = re.compile(r"(?<![\w.~-])/(?:home|root|work|opt|mnt|srv|var|Users|private)/|\b[A-Z]:\\")
REGISTRY = re.compile(r"--index-url|--extra-index-url|\bindex-url\b|artifactory|\bnexus\b|/simple\b|\.internal\b", re.I)
NOT_RUN = re.compile(r"pip install |python -m pytest|#")
LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")


@dataclass(frozen=True)
class Block:
    """A fenced block: its page, the number of its first line (from 0), its language, its lines."""

    page: Path
    line: int
    language: str
    lines: tuple[str, ...]


@dataclass(frozen=True)
class Command:
    """A line of a console block, what it prints (empty: not told), and the exit code that `echo $?` behind it tells."""

    line: str
    output: str = ""
    exit_code: int = 0


def blocks(page: Path) -> Iterator[Block]:
    start, language = -1, ""
    lines = page.read_text(encoding="utf-8").splitlines()
    for i, line in enumerate(lines):
        if not line.startswith("```"):
            continue
        if start < 0:
            start, language = i + 1, line.removeprefix("```").strip()
        else:
            yield Block(page, start, language, tuple(lines[start:i]))
            start = -1
    assert start < 0, f"{page.name} has a block without an end"


def commands(block: Block) -> list[Command]:
    """The commands of a console block, each with all that stands up to the next."""
    found: list[Command] = []
    for line in block.lines:
        if line == "$ echo $?":
            found.append(Command(line))
        elif line.startswith("$ "):
            found.append(Command(line.removeprefix("$ ")))
        elif found and found[-1].line == "$ echo $?":
            found[-2:] = [Command(found[-2].line, found[-2].output, int(line))]
        else:
            assert found, f"{block.page.name}:{block.line} begins with no command"
            found[-1] = Command(found[-1].line, found[-1].output + line + "\n", found[-1].exit_code)
    return found


def prose(page: Path) -> str:
    """A page without its fenced blocks."""
    lines = page.read_text(encoding="utf-8").splitlines()
    for block in blocks(page):
        lines[block.line : block.line + len(block.lines)] = [""] * len(block.lines)
    return "\n".join(lines)


def anchors(page: Path) -> set[str]:
    """The headings of a page as GitHub makes anchors of them."""
    headings = re.findall(r"^#+ (.*)$", prose(page), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def runnable(block: Block) -> list[str]:
    """The lines of a shell block, those that go on joined, without what a test must not do: install, run the tests."""
    lines = re.sub(r"\\\n\s*", "", "\n".join(block.lines)).splitlines()
    parts = [[part.strip() for part in line.split("&&") if not NOT_RUN.match(part.strip())] for line in lines]
    return [" && ".join(each) for each in parts if each and each != [""]]


def pytest_id(value: object) -> str:
    return value.relative_to(ROOT).as_posix() if isinstance(value, Path) else str(value)


SESSION = ("python", "console", "sh")
WITH_BLOCKS = [page for page in PAGES if any(block.language in SESSION for block in blocks(page))]
each_page = pytest.mark.parametrize("page", PAGES, ids=pytest_id)


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
            allowed = (0, 1) if "fc2conv check" in line else (0,)  # `check` tells by 1 that there is work
            assert done.returncode in allowed, f"{self.page.name}: {line}: {done.stderr}"

    def end(self) -> None:
        if self.interpreter is not None:
            assert self.interpreter.stdin is not None
            self.interpreter.stdin.close()
            self.interpreter.wait(LIMIT)

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
@pytest.mark.parametrize("page", WITH_BLOCKS, ids=pytest_id)
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


@each_page
def test_every_block_has_a_language_that_is_known(page: Path) -> None:
    """`text` is what nobody runs here: pictures, what other programs print, commands of other tools."""
    assert {block.language for block in blocks(page)} <= {*SESSION, "text", "toml", "yaml", "json", "csv"}


@each_page
def test_options_in_a_file_are_taken(page: Path, folder: Path) -> None:
    import tomllib

    for block in blocks(page):
        if block.language != "toml":
            continue
        text = "\n".join(block.lines)
        shared = "tool" in tomllib.loads(text)
        (folder / ("pyproject.toml" if shared else "fc2conv.toml")).write_text(text)
        told = Session(page, folder)._bash("fc2conv check model.onnx")
        assert told.returncode in (0, 1), told.stderr


def test_the_readme_is_tested_at_all() -> None:
    readme = list(blocks(ROOT / "README.md"))
    assert {"python", "console", "sh"} <= {block.language for block in readme}
    assert sum("python -m pytest" in line for block in readme for line in block.lines) == 1
    assert any("fc2conv fixtures/lenet.onnx" in line for block in readme for line in runnable(block))


@each_page
def test_links_lead_somewhere(page: Path) -> None:
    for link in LINK.findall(prose(page)):
        if re.match(r"[a-z]+:", link):
            assert link.startswith("https://"), f"{page.name}: {link}"
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.is_relative_to(ROOT), f"{page.name}: {link} leads out of the project"
        assert target.exists(), f"{page.name}: {link}"
        if anchor:
            assert anchor in anchors(target), f"{page.name}: {link}"


@each_page
def test_no_page_names_this_machine(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert MACHINE.search(text) is None
    assert REGISTRY.search(text) is None


def test_every_page_is_reached_from_the_readme() -> None:
    seen, todo = set(), [ROOT / "README.md"]
    while todo:
        page = todo.pop()
        if page in seen:
            continue
        seen.add(page)
        links = (link.partition("#")[0] for link in LINK.findall(prose(page)))
        todo += [
            target for link in links if link.endswith(".md") and (target := (page.parent / link).resolve()).exists()
        ]
    assert set(ROOT.glob("docs/*.md")) <= seen


def test_what_is_made_from_the_code_is_up_to_date() -> None:
    """Run `python docs/generate.py` after a change of a command, of the reasons or of the report's types."""
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    generate = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(generate)
    for path, text in generate.files().items():
        assert path.read_text(encoding="utf-8") == text, f"{path.name} is not what the code says"


@each_page
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


def test_every_page_is_on_the_map() -> None:
    page = ROOT / "docs" / "README.md"
    links = {(page.parent / link.partition("#")[0]).resolve() for link in LINK.findall(prose(page))}
    assert {*ROOT.glob("docs/*.md"), *ROOT.glob("*.md"), *ROOT.glob("benchmarks/*.md")} - {page} <= links


DESCRIBING = [page for page in PAGES if page.name != "SECURITY.md"]  # that one names files which an attacker leaves


@pytest.mark.parametrize("page", DESCRIBING, ids=pytest_id)
def test_a_file_that_a_page_names_is_there(page: Path) -> None:
    folders = ("fc2conv", "tests", "fixtures", "benchmarks", "docs")
    there = [f"/{path.relative_to(ROOT)}" for folder in folders for path in (ROOT / folder).rglob("*.py")]
    named = re.findall(r"`([\w/-]+\.py)\b", prose(page))
    assert [name for name in named if not any(path.endswith(f"/{name}") for path in there)] == []


FOR_READERS = ("batch.md", "ci.md", "integrations.md", "passes.md", "sliding.md", "targets.md")


@pytest.mark.parametrize("name", FOR_READERS)
def test_a_page_for_one_kind_of_reader_is_two_screens_long(name: str) -> None:
    assert len((ROOT / "docs" / name).read_text(encoding="utf-8").splitlines()) <= 120
