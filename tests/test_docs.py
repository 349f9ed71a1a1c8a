"""The pages are true: their code runs, their commands print what they say, their links lead somewhere."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from fc2conv import errors

ROOT = Path(__file__).parent.parent
PACKAGE = Path(errors.__file__).parent
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("benchmarks/*.md")])

# Runs the blocks of one page in order and in one namespace; a failure says on which line its block begins.
RUNNER = """
import json, sys
names = {"__name__": "page"}
for page, line, source in json.load(sys.stdin):
    exec(compile("\\n" * line + source, page, "exec"), names)
"""

MACHINE = re.compile(r"(?<![\w.~-])/(?:home|root|work|opt|mnt|srv|var|Users|private)/|\b[A-Z]:\\")
REGISTRY = re.compile(r"--index-url|--extra-index-url|\bindex-url\b|artifactory|\bnexus\b|/simple\b|\.internal\b", re.I)
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


def runnable(line: str) -> str | None:
    """The part of a shell line that calls fc2conv on a fixture or on nothing; None where there is none."""
    part = next((each.strip() for each in re.split(r"&&|;|\|", line) if each.strip().startswith("fc2conv ")), None)
    if part is None:
        return None
    words = shlex.split(part, comments=True)
    models = [word for word in words if word.endswith(".onnx")]
    return shlex.join(words) if models and models[0].startswith("fixtures/") else None


def pytest_id(value: object) -> str:
    if isinstance(value, Path):
        return value.relative_to(ROOT).as_posix()
    return value.line if isinstance(value, Command) else str(value)


ALL_BLOCKS = [block for page in PAGES for block in blocks(page)]
CONSOLE = [(b.page, command) for b in ALL_BLOCKS if b.language == "console" for command in commands(b)]
SHELL = [
    (block.page, Command(line))
    for block in ALL_BLOCKS
    if block.language in ("sh", "bash", "shell")
    for each in block.lines
    if (line := runnable(each)) is not None
]
each_page = pytest.mark.parametrize("page", PAGES, ids=pytest_id)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the fixtures, as a reader of the README has them."""
    (tmp_path / "fixtures").mkdir()
    for model in (ROOT / "fixtures").glob("*.onnx"):
        shutil.copy(model, tmp_path / "fixtures")
    return tmp_path


def run(command: list[str], folder: Path, given: str = "") -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(PACKAGE.parent), "NO_COLOR": "1"}
    return subprocess.run(
        command, cwd=folder, env=environment, input=given, capture_output=True, text=True, timeout=300, check=False
    )


@pytest.mark.parametrize("page", [p for p in PAGES if any(b.language == "python" for b in blocks(p))], ids=pytest_id)
def test_python_of_a_page_runs(page: Path, folder: Path) -> None:
    import json

    parts = [[page.name, b.line, "\n".join(b.lines) + "\n"] for b in blocks(page) if b.language == "python"]
    done = run([sys.executable, "-c", RUNNER], folder, json.dumps(parts))
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(("page", "command"), [*CONSOLE, *SHELL], ids=pytest_id)
def test_command_does_what_the_page_says(page: Path, command: Command, folder: Path) -> None:
    words = shlex.split(command.line)
    assert words[0] == "fc2conv", f"{page.name}: {command.line} is not run here"
    done = run([sys.executable, "-m", *words], folder)
    assert done.returncode == command.exit_code, done.stderr
    if command.output:
        assert done.stdout == command.output


def test_the_readme_is_tested_at_all() -> None:
    readme = ROOT / "README.md"
    assert any(page == readme for page, _ in CONSOLE)
    assert any(page == readme for page, _ in SHELL)
    assert sum("python -m pytest" in line for block in blocks(readme) for line in block.lines) == 1


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
