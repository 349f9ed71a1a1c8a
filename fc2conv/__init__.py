"""fc2conv: rewrites the fully connected layers of an ONNX model as convolutions, and proves the result."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from fc2conv.options import HeatmapOptions, Options, SlidingOptions, VerifyOptions
from fc2conv.version import __version__

if TYPE_CHECKING:
    from fc2conv.flow import Conversion, convert, plan, verify
    from fc2conv.picture import Seen, heatmap
    from fc2conv.report.types import Report, Verification

__all__ = [
    "Conversion",
    "HeatmapOptions",
    "Options",
    "Report",
    "Seen",
    "SlidingOptions",
    "Verification",
    "VerifyOptions",
    "__version__",
    "convert",
    "heatmap",
    "plan",
    "verify",
]

_HOMES = {
    "Conversion": "fc2conv.flow",
    "convert": "fc2conv.flow",
    "plan": "fc2conv.flow",
    "verify": "fc2conv.flow",
    "heatmap": "fc2conv.picture",
    "Seen": "fc2conv.picture",
    "Report": "fc2conv.report.types",
    "Verification": "fc2conv.report.types",
}


def __getattr__(name: str) -> object:
    # onnx and onnxruntime take 0.15 s to import, which `fc2conv --help` need not pay.
    if name in _HOMES:
        found = getattr(import_module(_HOMES[name]), name)
        globals()[name] = found
        return found
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
