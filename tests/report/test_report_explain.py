"""Every reason code is explained, with a meaning and a remedy, wherever codes are listed."""

from __future__ import annotations

import re
from pathlib import Path

from fc2conv.cli.explain import entry
from fc2conv.reasons import Code


def test_every_code_is_in_the_page_once_and_in_order(root: Path) -> None:
    found = re.findall(r"^\| (FC\d+) \|", (root / "docs" / "reasons.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert found == sorted(code.value for code in Code)


def test_every_code_has_a_number_a_meaning_and_a_remedy() -> None:
    for code in Code:
        assert re.fullmatch(r"FC[1-6]\d\d", code.value)
        for sentence in (code.meaning, code.remedy):
            assert sentence.endswith(".")
            assert "\n" not in sentence


def test_text_fits_80_columns_and_tells_meaning_and_remedy() -> None:
    text = "\n".join(map(entry, Code))
    assert all(len(line) <= 80 for line in text.splitlines())
    flat = " ".join(text.split())
    for code in Code:
        assert f"{code.value} {code.meaning} Remedy: {code.remedy}" in flat
