"""A report in a notebook, as HTML: its first line, its records as a table, and its last line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from fc2conv.io.escape import one_line

_STYLE = "max-height:30em;overflow:auto"


def as_html(text: str, records: Sequence[Mapping[str, Any]]) -> str:
    """Draw a report that is printed as `text`."""
    first, *rest = text.splitlines()
    last = f"<p>{escape(rest[-1])}</p>" if rest and rest[-1].startswith("Convolutions only") else ""
    return f"<div><p><b>{escape(first)}</b></p>{_table(records)}{last}</div>"


def _table(records: Sequence[Mapping[str, Any]]) -> str:
    """Draw records as an HTML table, without the columns that are empty throughout."""
    names = [name for name in (records[0] if records else ()) if any(each[name] not in (None, "") for each in records)]
    head = "".join(f"<th>{escape(name)}</th>" for name in names)
    rows = ["".join(f"<td>{_cell(each[name])}</td>" for name in names) for each in records]
    body = "".join(f"<tr>{row}</tr>" for row in rows)
    return f'<div style="{_STYLE}"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _cell(value: object) -> str:
    match value:
        case None:
            return ""
        case list():
            return "x".join(map(str, value))
        case float():
            return f"{value:.3g}"
    return escape(one_line(str(value)))
