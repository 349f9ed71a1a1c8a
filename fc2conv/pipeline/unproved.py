"""What is said where a conversion is not proved, and what helps then."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from fc2conv.errors import InconclusiveError, MismatchError
from fc2conv.options import VerifyOptions, non_default
from fc2conv.report.types import Report
from fc2conv.report.verification import Check, Verdict, Verification

_JUDGES = ("rtol", "atol", "per_output", "val_range", "load_inputs", "ort_opt", "providers")
"""Options of a caller with which the numbers of a right conversion may differ."""

_OPEN = "nothing was written; let the numbers decide (--numeric-only), or write it without proof (--no-verify)"
_NOT_RUN = (
    "nothing was written; give it inputs on which it runs (--overwrite-input-shape, --load-inputs), its operators "
    "(--custom-op-library) or the shapes of what they give (--overwrite-input-shape VALUE:SIZES), or write it without "
    "proof (--no-verify)"
)
_UNCOMPARED = "nothing was written; no cell can be compared on larger images, write it without proof (--no-verify)"

_Reporter = Callable[[Literal["differs", "inconclusive"]], Report]


def check_proved(found: Verification, options: VerifyOptions, report: _Reporter) -> None:
    """Raise MismatchError or InconclusiveError, with the report, unless the two models count as the same."""
    proved = any(check.name == "exact" and check.verdict is Verdict.PROVED for check in found.checks)
    open_ = [check for check in found.checks if check.verdict == found.verdict]
    worst = next((check for check in open_ if not (proved and check.name == "numeric")), next(iter(open_), None))
    detail = f"{worst.name}: {worst.detail}" if worst is not None else ""
    if found.verdict is Verdict.DIFFERS:
        again = f"; reproduce with: {found.reproduce}" if found.reproduce else ""
        message = f"verification failed, {detail}{again}"
        raise MismatchError(message, _remedy(worst, options), report=report("differs"))
    if not found.verdict.accepted:
        message = f"verification is inconclusive, {detail}"
        followed = found.parting is not None and found.parting.cause != "opaque"
        remedy = _UNCOMPARED if "nothing compared" in detail else _OPEN if followed else _NOT_RUN
        raise InconclusiveError(message, remedy, report=report("inconclusive"))


def _remedy(worst: Check | None, options: VerifyOptions) -> str:
    """Return the remedy: a difference is a fault of fc2conv, unless the numbers were judged as the caller chose."""
    chosen = [name for name in _JUDGES if name in non_default(options)]
    if not chosen or worst is None or worst.name != "numeric":
        return "nothing was written; please report this model"
    names = ", ".join(f"--{name.replace('_', '-')}" for name in chosen)
    return f"nothing was written; try it without {names}, and report the model if that fails as well"
