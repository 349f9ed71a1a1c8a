"""The verdict of runs of two models, on every value and on the whole."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Sequence
from itertools import chain

from fc2conv.dataclass import dataclass
from fc2conv.io.escape import counted
from fc2conv.options import VerifyOptions
from fc2conv.report.verification import Check, OutputDifference, Verdict, worst
from fc2conv.verification import feeds
from fc2conv.verification.given import save
from fc2conv.verification.trials import NAME, Trial

_MOST = 4
"""Values beyond their bounds that are named where all of them are right."""


@dataclass(frozen=True)
class Comparison:
    """The check, the outputs, and the inputs on which two models part; `hidden` if only inner values part."""

    check: Check
    outputs: Sequence[OutputDifference] = ()
    parting: feeds.Feeds | None = None
    hidden: bool = False


def judged(trials: Sequence[Trial], proved: Collection[str] = ()) -> Comparison:
    """Return the verdict of all levels, where some outputs are `proved`: the first that differs, or all together."""
    found = [_judged(each, proved) for each in trials]
    apart = next((each for each in found if each.check.verdict is Verdict.DIFFERS), None)
    if apart is not None or len(found) == 1:
        return apart or found[0]
    verdict = worst(each.check.verdict for each in found)
    detail = "; ".join(each.check.detail for each in found)
    hidden = any(each.hidden for each in found)
    return Comparison(Check(name=NAME, verdict=verdict, detail=detail), found[0].outputs, hidden=hidden)


def _judged(trial: Trial, proved: Collection[str]) -> Comparison:
    """Return the verdict of one level; the first value that parts is shown.

    The verdict is agrees iff at least one value was compared and all outputs agree: in shape, NaN, infinity, numbers.
    """
    if trial.why is not None:
        return Comparison(trial.why)
    whole = {v.name for v in trial.original.model.graph.output} <= {*proved}
    judged = [(v, *v.result(trial.options, v.name in proved or (whole and v.probe))) for v in trial.values]
    parted = [(v, why) for v, d, why in judged if d.verdict is Verdict.DIFFERS and not (v.fault and v.loose)]
    hidden = all(value.loose for value, _ in parted)
    shown = [d for v, d, _ in judged if not v.probe or (d.verdict is Verdict.DIFFERS and not hidden)]
    if parted:
        made = chain.from_iterable(node.output for node in trial.original.model.graph.node)
        place = {name: i for i, name in enumerate(made)}
        first, detail = min(parted, key=lambda each: place.get(each[0].name, 0))
        if hidden:
            said = f"the outputs agree, and {detail}, unless the name means another value in each model"
            return Comparison(Check(name=NAME, verdict=Verdict.INCONCLUSIVE, detail=said), shown, hidden=True)
        check = Check(name=NAME, verdict=Verdict.DIFFERS, detail=detail)
        return Comparison(check, shown, trial.runs[first.run].feeds)
    notes = [why for v, _, why in judged if why and not v.probe]
    if len(notes) > _MOST:
        notes[_MOST:] = [f"and {len(notes) - _MOST} more values likewise"]
    agreeing = sum(d.verdict is Verdict.AGREES for _, d, _ in judged)
    detail = "; ".join([f"{agreeing} of {len(judged)} values {_circumstances(trial)}", *notes])
    if not agreeing:
        detail = notes[0] if notes else "there is no output"
    rounded = any(value.parts(trial.options) for value in trial.values if not value.probe)
    verdict = Verdict.AGREES if agreeing and not rounded else Verdict.INCONCLUSIVE
    return Comparison(Check(name=NAME, verdict=verdict, detail=detail), shown)


def _circumstances(trial: Trial) -> str:
    batches = sorted({run.setting.batch for run in trial.runs})
    outputs = [(v.name, v.type) for v in trial.original.model.graph.output]
    others = [(name, kind) for name, kind in outputs if kind.WhichOneof("value") not in (None, "tensor_type")]
    kinds = "".join(f"; {name} is {feeds.type_name(kind)}" for name, kind in others)
    died = "".join(f"; the original {each}" for each in dict.fromkeys(trial.died))
    return f"agree in {counted(len(trial.runs), 'run')}, batch {batches}, inputs {trial.fed}{kinds}{died}"


def saved(found: Comparison, options: VerifyOptions) -> tuple[Check, str]:
    """Save the inputs of a difference if asked; return the check, and the command that shows it again.

    Where the command is not known, that is its option alone.
    """
    check = found.check
    if check.verdict is not Verdict.DIFFERS or found.parting is None or (path := options.failing_inputs) is None:
        return check, ""
    save(found.parting, path, options.load_inputs)
    detail = f"{check.detail}; its inputs are in {path}"
    command = shlex.join([*options.command, "--load-inputs", path])
    return Check(name=check.name, verdict=check.verdict, detail=detail), command
