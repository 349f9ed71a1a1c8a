"""A report as a file: the suffix of its name chooses the form."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from pathlib import PurePath

from fc2conv.report.types import Document

_MODULES = {
    ".csv": "csv",
    ".html": "html",
    ".nodes.json": "explorer",
    ".json": "json",
    ".md": "markdown",
    ".xml": "junit",
}
"""The module of this package that has the form's `render(document) -> bytes`; of two suffixes the first counts."""

_NEEDS = {".html": ("jinja2", "graphlay")}
"""What a form needs that not every installation has."""

_JOINED = frozenset({"json", "markdown"})
"""The forms in which several documents may follow one another."""

_OF_PLANS = frozenset({"csv", "explorer"})
"""The forms of plans and conversions alone."""


def joins(path: str) -> bool:
    """Whether several documents may be in one file of the form that the suffix of `path` names."""
    return _form(path) in _JOINED


def compares(path: str) -> bool:
    """Whether a comparison of two models has the form that the suffix of `path` names."""
    return _form(path) not in _OF_PLANS


def trouble(path: str) -> tuple[str, str] | None:
    """Say why no report can be written in the form that the suffix of `path` names, and what helps; None if it can."""
    suffix = _suffix(path)
    if suffix not in _MODULES:
        what = f"{path} has the suffix {suffix!r}" if suffix else f"{path} has no suffix"
        return f"{what}, which names no form of report", f"use one of {', '.join(sorted(_MODULES))}"
    missing = next((name for name in _NEEDS.get(suffix, ()) if find_spec(name) is None), None)
    return None if missing is None else (f"{path} needs {missing}", "pip install 'fc2conv[report]'")


def rendered(document: Document, path: str) -> bytes:
    """Render `document` in the form that the suffix of `path` names."""
    module = import_module(f"fc2conv.report.{_form(path)}")
    render: Callable[[Document], bytes] = module.render
    return render(document)


def _form(path: str) -> str:
    return _MODULES[_suffix(path)]


def _suffix(path: str) -> str:
    """Give the suffix of `path` that names a form, or the last one."""
    name = PurePath(path).name.lower()
    return next((suffix for suffix in _MODULES if name.endswith(suffix) and name != suffix), PurePath(name).suffix)
