"""Files of JSON lines, to which an interrupted run is added."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

EXPORTED = "exported.jsonl"


def lines(path: Path) -> Iterator[dict[str, Any]]:
    """The lines of a file that may not be there yet, and whose last line may be cut off."""
    for text in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
        try:
            yield json.loads(text)
        except ValueError:
            continue


def append(path: Path, line: dict[str, Any]) -> None:
    with path.open("a", encoding="utf-8") as log:
        log.write(json.dumps(line) + "\n")
