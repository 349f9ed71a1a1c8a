"""Two models compared, check by check."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import msgspec

from fc2conv.choices import check_shapes
from fc2conv.io.forms import declared_shapes
from fc2conv.io.reader import ModelFile
from fc2conv.options import VerifyOptions
from fc2conv.report.verification import Certificate, Check, OutputDifference, Verdict, Verification, worst
from fc2conv.verification import feeds
from fc2conv.verification.exact.check import Exact, check_exact
from fc2conv.verification.exact.positions import MOST_ITEMS
from fc2conv.verification.fitting import fitted
from fc2conv.verification.judging import Comparison, Runs, saved
from fc2conv.verification.notes import noted
from fc2conv.verification.numeric import run_models
from fc2conv.verification.recorded import identity
from fc2conv.verification.runtime import use_libraries
from fc2conv.verification.sites import SitePair
from fc2conv.verification.structure import (
    Tensors,
    check_graphs,
    check_signature,
    check_structure,
    check_unseen,
    check_valid,
    comparable,
)

_ITEMS = (2, 3, 5, 9, 17, 33, MOST_ITEMS + 1)
"""Batches for exact arithmetic, the least of which is computed; see `check_exact`."""


def verify_pair(
    original: ModelFile, converted: ModelFile, pairs: Sequence[SitePair] | None, options: VerifyOptions
) -> Verification:
    """Compares two models. The checks, in the report's order: `checker`, `signature`, `structure`, `exact`, `numeric`.

    The verdict on an output is

    - differs, if exact arithmetic or the numbers say so;
    - else proved, if exact arithmetic says so: no difference of numbers that is rounding is one then;
    - else inconclusive, if exact arithmetic follows both models and they part, however close the numbers are;
    - else agrees, if the numbers do;
    - else inconclusive.

    The verdict of the whole is the worst. With `pairs` the converted model is one of ours, which leaves all else as it
    was, and the numbers look at its layers; with None the two are anybody's. A broken signature or structure differs;
    of two models of others the numbers are shown all the same, where one feed suits both. What they only say in another
    way is noted. Raises UsageError for `input_shapes` that fit no input.
    """
    check_shapes(options.input_shapes, declared_shapes(original.model))
    use_libraries(options.custom_op_libraries)
    tensors, told = Tensors(original, converted), pairs is not None
    checks = [
        check_valid(original, converted),
        check_signature(original, converted, exact=told),
        check_structure(original, converted, tensors) if told else check_graphs(original, converted),
    ]
    notes = [] if told else noted(original.model, converted.model, checks[1].verdict.accepted)
    if any(check.verdict is Verdict.DIFFERS for check in checks[1:]):
        certificate = None
        shown = not told and comparable(original, converted) and options.only != "exact"
        numeric = run_models(original, converted, options).judged() if shown else Comparison(_SKIPPED)
        exact = Exact(Check(name="exact", verdict=Verdict.SKIPPED, detail="see above"))
    else:
        exact, numeric, certificate = _compared(original, converted, pairs or (), options)
        if not told and not exact.proved and options.only != "numeric":
            checks[2] = check_unseen(original, converted, tensors, checks[2])
    last, again = saved(numeric, options)
    checks += [exact.check, last]
    closed = checks[2].verdict is Verdict.INCONCLUSIVE or (exact.unseen and not told)
    outputs = outputs_of(original, exact, replace(numeric, check=last), closed)
    verdict = worst([*(each.verdict for each in outputs), *_differing(checks)])
    verdict = Verdict.INCONCLUSIVE if verdict is Verdict.SKIPPED else verdict
    return Verification(
        verdict=verdict,
        checks=checks,
        outputs=outputs,
        parting=exact.parting,
        certificate=certificate,
        notes=notes,
        reproduce=again,
    )


_SKIPPED = Check(name="numeric", verdict=Verdict.SKIPPED, detail="see above")


def _compared(
    original: ModelFile, converted: ModelFile, pairs: Sequence[SitePair], options: VerifyOptions
) -> tuple[Exact, Comparison, Certificate | None]:
    """Prove, and run the models: once where all is proved, and no more runs are asked for.

    Where exact arithmetic cannot follow the models at the sizes that are likeliest, it is tried at those that ran.
    """
    if options.only == "numeric":
        exact = Exact(Check(name="exact", verdict=Verdict.SKIPPED, detail="only numbers are asked for"))
        return exact, run_models(original, converted, options, pairs).judged(), None
    files = identity(original), identity(converted)
    key = repr(files).encode()
    sizes = sizes_of(original, None, options.input_shapes)
    exact = check_exact(original, converted, sizes, options.seed, key)
    if options.only == "exact":
        numeric = Comparison(Check(name="numeric", verdict=Verdict.SKIPPED, detail="only a proof is asked for"))
        return exact, numeric, _certificate(files, exact, options)
    brief = exact.proved and options.check_n == 1
    runs = run_models(original, converted, options, pairs, brief)
    others = sizes_of(original, runs, options.input_shapes)
    if not exact.proved and not exact.parted and others != sizes:
        exact = check_exact(original, converted, others, options.seed, key)
    return exact, runs.judged(exact.same), _certificate(files, exact, options)


def _certificate(files: tuple[list[str], list[str]], exact: Exact, options: VerifyOptions) -> Certificate:
    shapes = {name: list(shape) for name, shape in options.input_shapes.items()}
    return Certificate(
        a=files[0],
        b=files[1],
        seed=options.seed,
        primes=list(exact.primes),
        residues=dict(exact.residues),
        input_shapes=shapes,
    )


def outputs_of(original: ModelFile, exact: Exact, numeric: Comparison, closed: bool) -> list[OutputDifference]:
    """All outputs, and inner values that differ; `closed`: what is not proved may part where no run shows it."""
    known = {each.output: each for each in numeric.outputs}
    names = [v.name for v in original.model.graph.output]
    found = []
    for name in [*dict.fromkeys(names), *(name for name in known if name not in names)]:
        blank = OutputDifference(output=name, verdict=numeric.check.verdict, numeric=numeric.check.verdict)
        output = known.get(name, blank)
        said = exact.outputs.get(name, Verdict.SKIPPED)
        verdict = _of_output(said, output.numeric, closed or name in exact.followed)
        found.append(msgspec.structs.replace(output, verdict=verdict, exact=said))
    return found


def _of_output(exact: Verdict, numeric: Verdict, closed: bool) -> Verdict:
    if Verdict.DIFFERS in (exact, numeric):
        return Verdict.DIFFERS
    if exact is Verdict.PROVED:
        return exact
    return Verdict.AGREES if numeric is Verdict.AGREES and not closed else Verdict.INCONCLUSIVE


def _differing(checks: Sequence[Check]) -> list[Verdict]:
    return [check.verdict for check in checks if check.verdict is Verdict.DIFFERS]


def sizes_of(original: ModelFile, ran: Runs | None, given: Mapping[str, tuple[int, ...]]) -> dict[int, feeds.Shapes]:
    """The shapes for exact arithmetic, for several batches where the batch is open."""
    if feeds.unsupported(original.model, given):
        return {1: {}}
    first = next(iter(feeds.settings()))
    setting = (ran.setting if ran is not None else None) or fitted(original, first, given) or first
    one = ran is not None and ran.one_batch
    batches = _ITEMS if feeds.dynamic_batch(original.model, given) and not one else (setting.batch,)
    every = {n: feeds.shapes(original.model, replace(setting, batch=n), given) for n in batches}
    return every if len({str(shapes) for shapes in every.values()}) > 1 else {setting.batch: every[batches[0]]}
