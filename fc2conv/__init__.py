"""Rewrite the fully connected layers of an ONNX model as convolutions, and prove the result.

>>> import fc2conv
>>> report = fc2conv.plan("model.onnx")                # decide, write nothing
>>> print(report)                                      # as `fc2conv check` prints it
>>> conversion = fc2conv.convert("model.onnx", "out.onnx", scope="all", target="dla")
>>> conversion.report.records()                        # for pandas.DataFrame
>>> fc2conv.verify("model.onnx", "out.onnx").verdict
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from fc2conv import errors
from fc2conv.options import HeatmapOptions, Limits, Options, SlidingOptions, VerifyOptions
from fc2conv.version import __version__

if TYPE_CHECKING:
    from fc2conv.api import Conversion, convert, heatmap, heatmaps, plan, run_sliding, trace, verify
    from fc2conv.report.sliding import Seen, SeenClass, Unseen
    from fc2conv.report.types import Report, Verification

__all__ = [
    "Conversion",
    "HeatmapOptions",
    "Limits",
    "Options",
    "Report",
    "Seen",
    "SeenClass",
    "SlidingOptions",
    "Unseen",
    "Verification",
    "VerifyOptions",
    "__version__",
    "convert",
    "errors",
    "heatmap",
    "heatmaps",
    "plan",
    "run_sliding",
    "trace",
    "verify",
]

_HOMES = {
    **dict.fromkeys("Conversion convert heatmap heatmaps run_sliding plan trace verify".split(), "fc2conv.api"),
    **dict.fromkeys(["Seen", "SeenClass", "Unseen"], "fc2conv.report.sliding"),
    **dict.fromkeys(["Report", "Verification"], "fc2conv.report.types"),
}


def __dir__() -> list[str]:
    return sorted(__all__)


def __getattr__(name: str) -> object:
    # onnx and onnxruntime take 0.15 s to import, which `fc2conv --help` need not pay.
    if name in _HOMES:
        found = getattr(import_module(_HOMES[name]), name)
        globals()[name] = found
        return found
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
