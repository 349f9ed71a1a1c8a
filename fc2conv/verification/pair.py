"""Two models held against each other, rung by rung."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from fc2conv.choices import check_shapes
from fc2conv.io.forms import declared_shapes
from fc2conv.io.reader import ModelFile
from fc2conv.options import VerifyOptions
from fc2conv.report.types import Check, Verdict, Verification
from fc2conv.verification import feeds
from fc2conv.verification.exact.check import Exact, check_exact
from fc2conv.verification.exact.positions import MOST_ITEMS
from fc2conv.verification.fitting import fitted
from fc2conv.verification.judging import Comparison, saved
from fc2conv.verification.notes import noted
from fc2conv.verification.numeric import compare_models
from fc2conv.verification.runtime import use_libraries
from fc2conv.verification.sites import SitePair, recognise
from fc2conv.verification.structure import (
    Tensors,
    changed_weight,
    check_graphs,
    check_signature,
    check_structure,
    check_valid,
    comparable,
)

_LATER = ("exact", "numeric")
_ITEMS = (2, 3, 5, 9, 17, 33, MOST_ITEMS + 1)
"""Batches for exact arithmetic, the least of which is computed; see `check_exact`."""


def verify_pair(
    original: ModelFile, converted: ModelFile, pairs: Sequence[SitePair] | None, options: VerifyOptions
) -> Verification:
    """Compares two models and tells what was proved.

    The rungs, in the report's order: `checker`, `signature`, `structure`, `exact`, `numeric`. The verdict is

    - fail, if any rung fails;
    - else inconclusive, if exact arithmetic finds that the two part, however close the numbers are;
    - else pass, if `exact` or `numeric` passes;
    - else inconclusive.

    With `pairs` None the layers are recognised by the names of their nodes, for what the numbers look at. A broken
    signature or structure fails the whole; of two models of others the numbers are shown all the same, where one feed
    suits both. What they only say in another way is noted. Raises UsageError for `input_shapes` that fit no input.
    """
    check_shapes(options.input_shapes, declared_shapes(original.model))
    use_libraries(options.custom_op_libraries)
    tensors, told = Tensors(original, converted), pairs is not None
    checks = [
        check_valid(original, converted),
        check_signature(original, converted, exact=told),
        check_structure(original, converted, tensors) if told else check_graphs(original, converted),
    ]
    notes = [] if told else noted(original.model, converted.model, checks[1].verdict == "pass")
    found = pairs if pairs is not None else recognise(original, converted)
    if any(check.verdict == "fail" for check in checks[1:]):
        shown = not told and comparable(original, converted)
        numeric = compare_models(original, converted, options, found, told) if shown else None
        return _broken(checks, numeric, notes, options)
    exact, numeric = _compared(original, converted, found, options, told)
    if not told and not exact.proved and checks[2].verdict == "pass":
        changed = changed_weight(original.model, converted.model, tensors, dead=False)
        checks[2] = Check(name="structure", verdict="inconclusive", detail=changed) if changed else checks[2]
    if numeric.if_proved is not None and exact.proved:
        numeric = numeric.if_proved
    last, again = saved(numeric, options)
    checks += [exact.check, last]
    verdict = _overall(
        checks, contradicted=exact.parted or (exact.unseen and not told) or checks[2].verdict == "inconclusive"
    )
    return Verification(verdict=verdict, checks=checks, outputs=numeric.outputs, notes=notes, reproduce=again)


def _compared(
    original: ModelFile, converted: ModelFile, pairs: Sequence[SitePair], options: VerifyOptions, told: bool
) -> tuple[Exact, Comparison]:
    """Prove, and run the models: once where all is proved, and no more runs are asked for.

    Where exact arithmetic cannot follow the models at the sizes that are likeliest, it is tried at those that ran.
    """
    sizes = _sizes(original, None, options.input_shapes)
    exact = check_exact(original, converted, sizes, options.seed)
    brief = exact.proved and options.check_n == 1
    numeric = compare_models(original, converted, options, pairs, told, brief)
    others = _sizes(original, numeric, options.input_shapes)
    if not exact.proved and not exact.parted and others != sizes:
        exact = check_exact(original, converted, others, options.seed)
    return exact, numeric


def _broken(
    checks: Sequence[Check], numeric: Comparison | None, notes: list[str], options: VerifyOptions
) -> Verification:
    """The end of a comparison with another signature or structure, and the numbers where there are some."""
    skipped = [Check(name=name, verdict="skipped", detail="see above") for name in _LATER]
    if numeric is None:
        return Verification(verdict="fail", checks=[*checks, *skipped], notes=notes)
    last, again = saved(numeric, options)
    every = [*checks, *skipped[:-1], last]
    return Verification(verdict="fail", checks=every, outputs=numeric.outputs, notes=notes, reproduce=again)


def _overall(checks: Sequence[Check], contradicted: bool) -> Verdict:
    if any(check.verdict == "fail" for check in checks):
        return "fail"
    if contradicted:
        return "inconclusive"
    proved = any(check.verdict == "pass" for check in checks if check.name in _LATER)
    return "pass" if proved else "inconclusive"


def _sizes(
    original: ModelFile, ran: Comparison | None, given: Mapping[str, tuple[int, ...]]
) -> dict[int, feeds.Shapes]:
    """The shapes for exact arithmetic, for several batches where the batch is open."""
    if feeds.unsupported(original.model, given):
        return {1: {}}
    first = next(iter(feeds.settings()))
    setting = (ran.setting if ran is not None else None) or fitted(original, first, given) or first
    one = ran is not None and ran.one_batch
    batches = _ITEMS if feeds.dynamic_batch(original.model, given) and not one else (setting.batch,)
    every = {n: feeds.shapes(original.model, replace(setting, batch=n), given) for n in batches}
    return every if len({str(shapes) for shapes in every.values()}) > 1 else {setting.batch: every[batches[0]]}
