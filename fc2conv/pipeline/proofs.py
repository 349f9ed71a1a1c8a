"""The stage that verifies: what was written against what it was made from, and what is said where that fails."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from typing import Literal

from msgspec.structs import replace as changed

from fc2conv.errors import InconclusiveError, MismatchError, UsageError
from fc2conv.fcn.stage import Recipe, converted_file, proved, refuse, remade
from fc2conv.io.choices import of_inputs
from fc2conv.io.escape import counted
from fc2conv.io.forms import declared_shapes
from fc2conv.io.reader import ModelFile
from fc2conv.ir.graph import OWN_INITIALIZERS
from fc2conv.options import Options, VerifyOptions, non_default
from fc2conv.pipeline.work import Work, worked
from fc2conv.report.sliding import SlidingReport
from fc2conv.report.types import Report, Verification
from fc2conv.report.verification import Check, OutputDifference, Verdict, worst
from fc2conv.rewrite.scopes import Rewritten

Outcome = Literal["converted", "unchanged", "differs", "inconclusive"]
Proof = tuple[Verification | None, SlidingReport | None]
Tell = Callable[[Outcome, Proof], Report]

_JUDGES = ("rtol", "atol", "per_output", "val_range", "load_inputs", "ort_opt", "providers")
"""Options of a caller with which the numbers of a right conversion may differ."""

_OPEN = "nothing was written; let the numbers decide (--numeric-only), or write it without proof (--no-verify)"
_NOT_RUN = (
    "nothing was written; give it inputs on which it runs (--overwrite-input-shape, --load-inputs), its operators "
    "(--custom-op-library) or the shapes of what they give (--overwrite-input-shape VALUE:SIZES), or write it without "
    "proof (--no-verify)"
)
_UNCOMPARED = "nothing was written; no cell can be compared on larger images, write it without proof (--no-verify)"


def verified(written: ModelFile, work: Work, options: Options, tell: Tell) -> Proof:
    """Prove what was written; prove a sliding model after the converted one that it was made of."""
    given = of_inputs({**options.input_shapes, **options.verification.input_shapes}, declared_shapes(work.file.model))
    options = replace(options, verification=replace(options.verification, input_shapes=given))
    found, sliding = proved_by(work, written, options)
    check_proved(found, options.verification, lambda outcome: tell(outcome, (found, sliding)))
    _check_sizes(found, work, options)
    return found, sliding


def check_proved(found: Verification, options: VerifyOptions, report: Callable[[Outcome], Report]) -> None:
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


def _check_sizes(found: Verification, work: Work, options: Options) -> None:
    """Raise UsageError where the model runs with its own sizes, and not with those that `--static` writes."""
    open_ = [check for check in found.checks if check.name == "numeric" and check.verdict is Verdict.INCONCLUSIVE]
    if options.static is None or not open_:
        return
    from fc2conv.verification.pair import verify_pair

    if verify_pair(work.read, work.read, False, _numbers(options)).verdict.accepted:
        what = f"--static={options.static} writes sizes with which the model does not run: {open_[0].detail}"
        raise UsageError(what, "nothing was written; give another number, or other sizes (--overwrite-input-shape)")


def proved_by(work: Work, written: ModelFile, options: Options) -> tuple[Verification, SlidingReport | None]:
    if work.slid is None:
        assert work.rewritten is not None
        return _compared(work.file, work.rewritten, written, options), None
    ordinary = None
    if work.rewritten is not None:
        between = replace(converted_file(work.file, work.rewritten), stamps={})  # it is no file
        ordinary = _compared(work.file, work.rewritten, between, options)
    return proved(_base(work.file, work.rewritten), written, work.slid, options, ordinary)


def verify_sliding(
    original: ModelFile, there: ModelFile, recipe: Recipe, options: VerifyOptions, crops: bool
) -> Verification:
    """Prove a sliding model by making it once more, which says what is claimed: the two must compute the same.

    The claims are proved of the given model or, where it has no values of the claimed names, of the one made anew.
    """
    from fc2conv.verification.pair import verify_pair

    assert recipe.options.sliding is not None
    given = of_inputs(recipe.options.input_shapes, declared_shapes(original.model))
    options = replace(options, input_shapes={**given, **options.input_shapes})
    sliding = replace(recipe.options.sliding, verify_crops=crops)
    made = replace(recipe.options, verification=options, sliding=sliding, for_many=True)
    work = worked(original, made)
    if work.sliding is not None and work.sliding.obstacles:
        refuse(work.sliding, original)
    if work.slid is None:  # it slides as it is
        return verify_pair(original, there, False, options)
    fresh = converted_file(work.file, work.slid)
    itself = work.slid.claims.named() <= {name for node in there.model.graph.node for name in node.output}
    found, _ = proved_by(work, there if itself else fresh, made)
    last = remade(fresh, work.slid, there, recipe, options)
    found = beside(found, last)
    return found if itself or last.verdict.accepted else changed(found, verdict=last.verdict)


def beside(found: Verification, last: Check) -> Verification:
    """Add a check that says nothing of what the two models compute: the verdict is worse where it differs."""
    verdict = last.verdict if last.verdict is Verdict.DIFFERS else found.verdict
    return changed(found, checks=[*found.checks, last], verdict=verdict)


def _compared(file: ModelFile, rewritten: Rewritten, written: ModelFile, options: Options) -> Verification:
    from fc2conv.verification.pair import verify_pair

    models = _base(file, rewritten), written, rewritten.original
    if options.freeze_initializers and written.model.ir_version >= OWN_INITIALIZERS:
        models = _frozen(models[0]), _frozen(models[1]), _frozen(models[2])
    first, second, inlined = models
    found = verify_pair(first, second, True, options.verification, inlined)
    return found if rewritten.unchanged is None else _measured(found, rewritten, rewritten.unchanged, written, options)


def _base(file: ModelFile, rewritten: Rewritten | None) -> ModelFile:
    """Return the model to compare with: the one with requantized weights, where there are any."""
    return file if rewritten is None or not rewritten.requantized else rewritten.original


def _frozen(file: ModelFile) -> ModelFile:
    """Return the model with no initializer among its inputs, so that no caller replaces one."""
    model = deepcopy(file.model)
    stored = {tensor.name for tensor in model.graph.initializer}
    kept = [value for value in file.model.graph.input if value.name not in stored]
    del model.graph.input[:]
    model.graph.input.extend(kept)
    return replace(file, model=model)


def _numbers(options: Options) -> VerifyOptions:
    """Return the options to run two models beside the proof: numbers alone, and nothing is saved."""
    return replace(options.verification, only="numeric", save_failing_inputs=None)


def _measured(
    found: Verification, rewritten: Rewritten, unchanged: ModelFile, written: ModelFile, options: Options
) -> Verification:
    """Add how far requantizing moved the weights, and the outputs from those of the model without it."""
    from fc2conv.verification.pair import verify_pair

    moved = max(rewritten.requantized.values())
    layers = counted(len(rewritten.requantized), "layer")
    weights = f"weights of {layers} were quantized per output, and moved by up to {moved:.2g}"
    apart = verify_pair(unchanged, written, False, _numbers(options))
    far = [f"{each.output} by {_share(each)}" for each in apart.outputs if each.max_abs_difference is not None]
    detail = f"{weights} of the largest; the outputs moved, relative to their largest value: {', '.join(far)}"
    check = Check(name="requantized", verdict=Verdict.AGREES, detail=detail)
    outputs = [changed(each, verdict=worst([each.verdict, Verdict.AGREES])) for each in found.outputs]
    verdict = worst([found.verdict, Verdict.AGREES])
    return changed(found, checks=[*found.checks, check], outputs=outputs, verdict=verdict)


def _share(output: OutputDifference) -> str:
    return f"{(output.max_abs_difference or 0.0) / (output.max_abs_reference or 1.0):.2g}"
