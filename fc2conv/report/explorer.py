"""A plan or a conversion as node data of Model Explorer, which colours the nodes of the model by the decisions.

The keys are names of nodes, as Model Explorer's adapter for ONNX has them.
"""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

from fc2conv.errors import UsageError
from fc2conv.io.escape import counted
from fc2conv.report.terminal import sizes
from fc2conv.report.types import Document, Report, SiteReport

_CONVERTED, _KEPT, _CAUSE = ("#2e7d32", "#ffffff"), ("#c62828", "#ffffff"), ("#f9a825", "#000000")
"""Colours of the background and of the text."""


def render(document: Document) -> bytes:
    """Write one run of node data: a value and colours for each layer and for each node because of which some are kept.

    Raise UsageError for anything but the report of one model.
    """
    if not isinstance(document, Report):
        raise UsageError("node data are for a plan or a conversion of one model", "name a file that ends in .json")
    data = {"name": f"fc2conv, scope {document.scope}", "results": _results(document)}
    return json.dumps({**data, "showExpandedSummaryOnGroupNode": True}, indent=1, sort_keys=True).encode() + b"\n"


def _results(report: Report) -> dict[str, dict[str, Any]]:
    causes = Counter((site.reason.node, site.code) for site in report.kept if site.reason is not None)
    found = {
        node: _result(f"{code}: {counted(count, 'layer')} kept", _CAUSE)
        for (node, code), count in sorted(causes.items())
    }
    return found | {
        site.node: _result(_decision(site), _CONVERTED if site.decision == "convert" else _KEPT)
        for site in report.sites
    }


def _result(value: str, colours: tuple[str, str]) -> dict[str, Any]:
    background, text = colours
    return {"value": value, "bgColor": background, "textColor": text}


def _decision(site: SiteReport) -> str:
    """Return the decision in words, for example `convert: map 5x5` or `keep: FC302`."""
    if site.decision == "convert":
        return f"convert: {site.form} {sizes(site.kernel_shape)}".rstrip()
    return f"keep: {site.code}" if site.code else "keep"
