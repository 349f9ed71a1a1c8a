"""The questions of a newcomer: twenty, each with at most two commands; tests/test_docs.py runs them all."""

from __future__ import annotations

import re
from pathlib import Path


def test_twenty_questions_have_at_most_two_commands_each(root: Path) -> None:
    page = (root / "docs" / "newcomer.md").read_text(encoding="utf-8")
    _, *sections = re.split(r"^## ", page, flags=re.M)
    assert [section.partition(".")[0] for section in sections] == [str(i) for i in range(1, 21)]
    for section in sections:
        title, *_ = section.splitlines()
        assert "?" in title
        (block,) = re.findall(r"^```(\w+)\n(.*?)^```", section, flags=re.M | re.S)
        language, lines = block[0], block[1].splitlines()
        if language != "python":
            asked = [line for line in lines if line.startswith("$ fc2conv") or language == "sh"]
            assert 1 <= len(asked) <= 2, title
