"""docs/batch.md: its commands are ones that there are, and its manifests are read."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from fc2conv.batch.manifest import read_manifest
from fc2conv.cli import main as group
from fc2conv.cli.batch import entry_options

PAGE = (Path(__file__).parents[2] / "docs" / "batch.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", PAGE, re.M | re.S)
LINES = [line for kind, text in BLOCKS if kind in ("sh", "text") for line in text.splitlines()]
COMMANDS = [line for line in LINES if line.startswith("fc2conv ") and "$" not in line]


@pytest.mark.parametrize("line", COMMANDS)
def test_a_command_of_the_page_is_one(line: str) -> None:
    program, command, *words = shlex.split(line, comments=True)
    assert program == "fc2conv"
    with group.commands[command].make_context(command, words) as context:
        assert not context.args


@pytest.mark.parametrize(("kind", "text"), [block for block in BLOCKS if block[0] in ("csv", "json", "yaml")])
def test_a_manifest_of_the_page_is_read(tmp_path: Path, kind: str, text: str) -> None:
    path = tmp_path / f"zoo.{kind}"
    path.write_text(text, encoding="utf-8")
    entries = read_manifest(str(path))
    assert len(entries) >= 2
    assert [entry_options({}, entry.given, entry.where) for entry in entries]
