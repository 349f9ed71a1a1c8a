"""A report as a file: the suffix of its name chooses the form."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import PurePath

from fc2conv.report.types import Document

_MODULES = {".json": "json", ".xml": "junit", ".csv": "csv"}
"""The module of this package that has the form's `render(document) -> bytes`; a new form is one line."""


def rendered(document: Document, path: str) -> bytes:
    """`document` in the form that the suffix of `path` names; JSON for any other suffix."""
    module = import_module(f"fc2conv.report.{_MODULES.get(PurePath(path).suffix.lower(), 'json')}")
    render: Callable[[Document], bytes] = module.render
    return render(document)
