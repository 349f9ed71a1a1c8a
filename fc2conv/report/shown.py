"""How a report shows itself: as text where it is printed, as HTML in a notebook, as records for a data frame."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import msgspec

from fc2conv.io.escape import one_line

Records = list[dict[str, Any]]

_STYLE = "max-height:30em;overflow:auto"


class Shown(msgspec.Struct, frozen=True, kw_only=True):
    """A report that prints as text, shows as HTML in a notebook, and gives a list of records."""

    def records(self) -> Records:
        """List what the report is about, one flat dict each: `pandas.DataFrame(report.records())`."""
        raise NotImplementedError

    def __str__(self) -> str:
        from fc2conv.report.terminal import Look
        from fc2conv.report.text import to_text

        return to_text(self, Look()).rstrip("\n")

    def _repr_html_(self) -> str:
        first, *rest = str(self).splitlines()
        last = f"<p>{escape(rest[-1])}</p>" if rest and rest[-1].startswith("Convolutions only") else ""
        return f"<div><p><b>{escape(first)}</b></p>{_table(self.records())}{last}</div>"


class Saved(Shown, frozen=True, kw_only=True):
    """A report that can be written to a file as well."""

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the report in the form of the suffix of `path`, as `--report` does: `report.save("plan.html")`.

        Raises UsageError for a form that there is not or that needs an extra, and OutputError as `convert` does.
        """
        from fc2conv.errors import UsageError
        from fc2conv.io.files import written
        from fc2conv.report.render import rendered, trouble

        name = os.fspath(path)
        if found := trouble(name):
            raise UsageError(*found)
        data = rendered(self, name)  # type: ignore[arg-type]  # every subclass that is shown is a Document
        with written(name) as stream:
            stream.write(data)


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
