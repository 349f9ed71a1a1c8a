"""A report as a file: the suffix of its name chooses the form."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from pathlib import PurePath
from typing import Literal

from fc2conv.errors import UsageError
from fc2conv.report.types import Document

_FORMS = {
    ".csv": ("csv", "one"),
    ".html": ("html", "one comparison"),
    ".nodes.json": ("explorer", "one"),
    ".json": ("json", "one several comparison"),
    ".md": ("markdown", "one several comparison"),
    ".xml": ("junit", "one comparison"),
}
"""By suffix (the first that matches counts): the module with `render(document) -> bytes`, and what a file may hold."""

_NEEDS = {".html": ("jinja2", "graphlay")}
"""The libraries that a form needs and that not every installation has."""


def check(path: str, holds: Literal["one", "several", "comparison"] = "one") -> None:
    """Raise UsageError where what a file `holds` cannot be written in the form that the suffix of `path` names."""
    suffix = _suffix(path)
    if suffix not in _FORMS:
        what = f"{path} has the suffix {suffix!r}" if suffix else f"{path} has no suffix"
        raise UsageError(f"{what}, which names no form of report", f"use one of {', '.join(sorted(_FORMS))}")
    if missing := [name for name in _NEEDS.get(suffix, ()) if find_spec(name) is None]:
        raise UsageError(f"{path} needs {missing[0]}", "pip install 'fc2conv[report]'")
    unfit = holds not in _FORMS[suffix][1].split()
    if unfit and holds == "several":
        raise UsageError(f"{path} holds the report of one model", "name a .json or .md file, or check one model")
    if unfit:
        raise UsageError(f"{path} cannot hold a comparison, which has no CSV", "name a file of another form")


def rendered(document: Document, path: str) -> bytes:
    """Render `document` in the form that the suffix of `path` names."""
    module = import_module(f"fc2conv.report.{_FORMS[_suffix(path)][0]}")
    render: Callable[[Document], bytes] = module.render
    return render(document)


def _suffix(path: str) -> str:
    """Return the suffix of `path` that names a form, or the last suffix."""
    name = PurePath(path).name.lower()
    return next((suffix for suffix in _FORMS if name.endswith(suffix) and name != suffix), PurePath(name).suffix)
