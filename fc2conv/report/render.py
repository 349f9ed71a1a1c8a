"""A report as a file: the suffix of its name chooses the form."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import PurePath

from fc2conv.report.types import Document

_MODULES = {".csv": "csv", ".html": "html", ".json": "json", ".md": "markdown", ".xml": "junit"}
"""The module of this package that has the form's `render(document) -> bytes`; a new form is one line."""


_JOINED = frozenset({"json", "markdown"})
"""The forms in which several documents may stand below one another."""


def joins(path: str) -> bool:
    """Whether several documents may stand in one file of the form that the suffix of `path` names."""
    return _form(path) in _JOINED


def compares(path: str) -> bool:
    """Whether a comparison of two models has the form that the suffix of `path` names."""
    return _form(path) != "csv"


def rendered(document: Document, path: str) -> bytes:
    """`document` in the form that the suffix of `path` names; JSON for any other suffix."""
    module = import_module(f"fc2conv.report.{_form(path)}")
    render: Callable[[Document], bytes] = module.render
    return render(document)


def _form(path: str) -> str:
    return _MODULES.get(PurePath(path).suffix.lower(), "json")
