"""The pages of the documentation, taken apart: blocks, commands, prose, links."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("benchmarks/*.md")])
SESSION = ("python", "console", "sh")

LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
NOT_RUN = re.compile(r"pip install |python -m pytest|#")


@dataclass(frozen=True)
class Block:
    """A fenced block: its page, the number of its first line (from 0), its language, its lines."""

    page: Path
    line: int
    language: str
    lines: tuple[str, ...]


@dataclass(frozen=True)
class Command:
    """A line of a console block, what it prints (empty: not compared), and its exit code, from `echo $?` behind it."""

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
    """The commands of a console block, each with all lines up to the next."""
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


each_page = pytest.mark.parametrize("page", PAGES, ids=pytest_id)
