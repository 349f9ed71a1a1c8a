"""The report as one HTML file that needs nothing else: no network, no other file, and no script of anybody else.

Every text of a model passes `one_line`, is escaped by the templates, and may be clipped where it is long.
A Content-Security-Policy lets the page run its own style and script, known by their
hashes, and nothing else, whatever a name might hold.
"""

from __future__ import annotations

import hashlib
from base64 import b64encode
from functools import cache
from typing import TYPE_CHECKING

from fc2conv.io.escape import one_line
from fc2conv.report.html import views
from fc2conv.report.html.layout import placed
from fc2conv.report.html.views import banner, bars, batch_rows, draws, figure_rows, measures
from fc2conv.report.sliding_text import sizes_that_run
from fc2conv.report.target_text import closing, counted_kernels, operator_rows, verdict
from fc2conv.report.text import other_scope, parting_line
from fc2conv.report.types import BatchReport, Comparison, Document, Report

if TYPE_CHECKING:
    from jinja2 import Environment

_FUNCTIONS = (banner, bars, batch_rows, closing, draws, figure_rows, measures, other_scope, parting_line, placed)
_PAGES: dict[type, str] = {Report: "report.html", Comparison: "comparison.html", BatchReport: "batch.html"}


def render(document: Document) -> bytes:
    """Write `document` as a page in UTF-8. The same document gives the same bytes."""
    return _environment().get_template(_PAGES[type(document)]).render(document=document).encode("utf-8")


@cache
def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup

    loader = PackageLoader("fc2conv.report.html")
    made = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    for name in ("short", "start", "amount", "size", "number", "sizes", "times"):
        made.filters[name] = getattr(views, name)
    made.filters["one_line"] = one_line
    made.filters["sizes_that_run"] = sizes_that_run
    made.globals |= {each.__name__: each for each in _FUNCTIONS}
    made.globals.update(counted_kernels=counted_kernels, operator_rows=operator_rows, target_verdict=verdict)
    for name in ("style.css", "script.js"):
        source, _, _ = loader.get_source(made, name)
        kind = name.partition(".")[0]
        made.globals[kind] = Markup(source)
        made.globals[f"{kind}_hash"] = b64encode(hashlib.sha256(source.encode()).digest()).decode("ascii")
    return made
