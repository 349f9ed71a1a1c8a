"""Kills and full disks leave the old output or the new one; `benchmarks/kills.py` and `full_disks.py` try many more."""

from __future__ import annotations

import random
import sys
from pathlib import Path

import pytest

from .trials import FORMS, filled, in_child, killed, limited, scene

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="children are forked, killed and limited as on Linux")

KINDS = [(form, in_place) for form in FORMS for in_place in (False, True)]
FEATURES = 64


@pytest.mark.parametrize(("form", "in_place"), KINDS)
def test_killed_at_random_moments(form: str, in_place: bool, tmp_path: Path) -> None:
    made = scene(tmp_path / "scene", form, in_place=in_place, features=FEATURES)
    made.reset()
    whole = in_child(made.arguments).seconds
    draw = random.Random(f"{form}{in_place}")
    for _ in range(3):
        moment, damage = killed(made, draw.uniform(0, whole))
        assert (moment, damage) == (moment, "")


@pytest.mark.parametrize(("form", "in_place"), KINDS)
def test_a_file_that_may_not_grow(form: str, in_place: bool, tmp_path: Path) -> None:
    made = scene(tmp_path / "scene", form, in_place=in_place, features=FEATURES)
    largest = max(len(content) for name, content in made.new.items() if made.old.get(name) != content)
    for size in (0, 100, 4096, largest // 3, largest - 1):
        ended, wrong = filled(made, lambda size=size: in_child(made.arguments, prepare=limited(size)))
        assert (ended.code, wrong) == (6, "")
        assert "file size is limited" in ended.printed
    ended, wrong = filled(made, lambda: in_child(made.arguments, prepare=limited(largest)))
    assert (ended.code, wrong) == (0, "")
