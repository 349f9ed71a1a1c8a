"""Writes what is made from the code: docs/reasons.md and fc2conv/report/schema.json. Run it after changing either."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def main() -> None:
    """Write both files from the checkout that this script stands in, whatever is installed."""
    sys.path.insert(0, str(ROOT))
    from fc2conv.report.explain import as_markdown
    from fc2conv.report.json import schema_file

    (ROOT / "docs" / "reasons.md").write_text(as_markdown(), encoding="utf-8")
    (ROOT / "fc2conv" / "report" / "schema.json").write_text(schema_file(), encoding="utf-8")


if __name__ == "__main__":
    main()
