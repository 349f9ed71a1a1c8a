"""Writes the table of docs/verification.md: plants every fault of the mutation harness, and says what refused it."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "verification.md"
BEGIN, END = "<!-- made by docs/mutations.py: begin -->\n", "<!-- end -->\n"
COLUMNS = ("checker", "signature", "structure", "exact", "other functions", "numeric")


def main() -> None:
    """Write the table from the checkout that this script stands in, whatever is installed."""
    sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "verification")]
    page = PAGE.read_text(encoding="utf-8")
    before, rest = page.split(BEGIN)
    PAGE.write_text(before + BEGIN + "\n".join(_table()) + "\n" + END + rest.split(END)[1], encoding="utf-8")


def _table() -> Iterator[str]:
    from mutations import FAULTS, findings, networks

    total: Counter[str] = Counter()
    rows = []
    for fault in FAULTS:
        found = Counter(_counted(findings(fault)))
        total += found
        rows.append(_row(fault, found))
    names = {network.name for network in networks()}
    yield f"{len(FAULTS)} faults in {len(networks())} models ({len(names)} networks, with up to six kinds of weights):"
    yield f"{total['planted']} models with a fault, of which {total['refused']} were refused."
    yield ""
    yield f"| fault | planted | refused | {' | '.join(COLUMNS)} |"
    yield "| --- |" + " ---: |" * (len(COLUMNS) + 2)
    yield from rows
    yield _row("**all**", total)


def _counted(found: object) -> Iterator[str]:
    for finding in found:  # type: ignore[attr-defined]
        yield "planted"
        if finding.refused:
            yield "refused"
        yield from (rung for rung, verdict in finding.rungs.items() if verdict == "differs")
        if finding.rungs["exact"] == "inconclusive":
            yield "other functions"


def _row(name: str, found: Counter[str]) -> str:
    numbers = (found[key] for key in ("planted", "refused", *COLUMNS))
    return f"| {name} | {' | '.join(str(n) if n else '' for n in numbers)} |"


if __name__ == "__main__":
    main()
