"""How a report shows itself: as text where it is printed, as HTML in a notebook, as records for a data frame."""

from __future__ import annotations

import os
from typing import Any

import msgspec

Records = list[dict[str, Any]]


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
        from fc2conv.report.notebook import as_html

        return as_html(str(self), self.records())


class Saved(Shown, frozen=True, kw_only=True):
    """A report that can be written to a file as well."""

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the report in the form of the suffix of `path`, as `--report` does: `report.save("plan.html")`.

        Raise UsageError for a form that does not exist or that needs an extra, and OutputError as `convert` does.
        """
        from fc2conv.io.files import written
        from fc2conv.report.render import check, rendered

        name = os.fspath(path)
        check(name)
        data = rendered(self, name)  # type: ignore[arg-type]  # every subclass that is shown is a Document
        with written(name) as stream:
            stream.write(data)
