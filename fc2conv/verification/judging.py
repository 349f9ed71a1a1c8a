"""What the runs of two models say: the verdict of every value, and of the whole check."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from fc2conv.io.escape import counted
from fc2conv.io.reader import ModelFile
from fc2conv.options import VerifyOptions
from fc2conv.report.verification import Check, OutputDifference, Verdict
from fc2conv.verification import feeds
from fc2conv.verification.compare import Pairing
from fc2conv.verification.feeds import Setting
from fc2conv.verification.given import again, save
from fc2conv.verification.probes import made
from fc2conv.verification.sensitivity import measured

NAME = "numeric"
_MOST = 4
"""Values beyond their bounds that are named where all of them are right."""


@dataclass(frozen=True)
class Run:
    """One run of the original: what went in and what came out, the outputs and then the values at probes."""

    setting: Setting
    feeds: feeds.Feeds
    outputs: list[Any]


@dataclass(frozen=True)
class Comparison:
    """The check, the outputs, and the inputs on which the two models part."""

    check: Check
    outputs: Sequence[OutputDifference] = ()
    parting: feeds.Feeds | None = None


@dataclass(frozen=True)
class Untried:
    """Two models of which one did not run, or for which there are no inputs.

    `refused`: onnxruntime does not run one of the two. `setting` is the one under which the original ran (None: it
    never did), and `one_batch`: the batch is open in the declaration, and the original takes no other than that of
    `setting`.
    """

    check: Check
    setting: Setting | None = None
    refused: bool = False
    one_batch: bool = False

    def judged(self, proved: Collection[str] = ()) -> Comparison:  # noqa: ARG002 (nothing was compared)
        """Return the verdict; one that does not run is no rounding, whatever is `proved`."""
        return Comparison(self.check)


def undecided(detail: str, *, refused: bool = False) -> Untried:
    """Return a comparison that could not be made."""
    return Untried(Check(name=NAME, verdict=Verdict.INCONCLUSIVE, detail=detail), refused=refused)


@dataclass
class Trial:
    """The runs of the original, what the other model gave on the same inputs, and the values that are compared.

    `fed` says what was fed, and `how` the models were run, where that is not as they are.
    """

    original: ModelFile
    options: VerifyOptions
    runs: Sequence[Run]
    results: Sequence[Sequence[Any]]
    pairings: Sequence[Pairing]
    fed: str
    optimized: bool
    one_batch: bool = False
    how: str = ""
    refused: bool = False

    def __post_init__(self) -> None:
        for i, (run, found) in enumerate(zip(self.runs, self.results, strict=True)):
            for pairing, one, other in zip(self.pairings, run.outputs, found, strict=True):
                if one is not None or not pairing.watched:
                    pairing.add(one, other, i)
        parting = [p for p in self.pairings if self._parts(p) and not p.fault]
        given = [self.runs[index].feeds for index in sorted({p.run for p in parting})]
        moves = measured(self.original, self.options, self.optimized, given, parting) if parting else {}
        for pairing in parting:
            pairing.moves = moves.get(pairing.name)

    @property
    def setting(self) -> Setting:
        """The first setting under which the original ran."""
        return self.runs[0].setting

    def _parts(self, value: Pairing) -> bool:
        return value.result(self.options)[0].verdict is Verdict.DIFFERS

    def judged(self, proved: Collection[str] = ()) -> Comparison:
        """Return the verdict where some outputs are `proved` to be the same; the first value that parts is shown."""
        runs, model = self.runs, self.original.model
        whole = {v.name for v in model.graph.output} <= {*proved}
        judged = [(p, *p.result(self.options, p.name in proved or (whole and p.watched))) for p in self.pairings]
        shown = [d for p, d, _ in judged if not p.probe or d.verdict is Verdict.DIFFERS]
        parted = [(p, why) for p, difference, why in judged if difference.verdict is Verdict.DIFFERS]
        if parted:
            place = {name: i for i, name in enumerate(made(model.graph))}
            first, detail = min(parted, key=lambda each: place.get(each[0].name, 0))
            check = Check(name=NAME, verdict=Verdict.DIFFERS, detail=self.how + detail)
            return Comparison(check, shown, runs[first.run].feeds)
        notes = [why for p, difference, why in judged if why and not p.watched]
        if len(notes) > _MOST:
            notes[_MOST:] = [f"and {counted(len(notes) - _MOST, 'more value')} likewise"]
        agreeing = sum(difference.verdict is Verdict.AGREES for _, difference, _ in judged)
        which = f"{agreeing} of {len(judged)} values" if agreeing < len(judged) else "all values"
        detail = "; ".join([f"{which} {self._circumstances()}", *notes])
        if not agreeing:
            detail = notes[0] if notes else "there is no output"
        verdict = Verdict.AGREES if agreeing and not self._rounded(judged) else Verdict.INCONCLUSIVE
        return Comparison(Check(name=NAME, verdict=verdict, detail=self.how + detail), shown)

    def _rounded(self, judged: Sequence[tuple[Pairing, OutputDifference, str]]) -> bool:
        """Whether some output is beyond its bound, which then is rounding."""
        return any(self._parts(pairing) for pairing, _, _ in judged if not pairing.watched)

    def _circumstances(self) -> str:
        batches = sorted({run.setting.batch for run in self.runs})
        others = [
            v for v in self.original.model.graph.output if v.type.WhichOneof("value") not in (None, "tensor_type")
        ]
        kinds = "".join(f"; {v.name} is {feeds.type_name(v.type)}" for v in others)
        return f"agree in {counted(len(self.runs), 'run')}, batch {batches}, inputs {self.fed}{kinds}"


@dataclass(frozen=True)
class Runs:
    """The two models, run at each level of onnxruntime's graph optimizations that is asked for."""

    levels: Sequence[Trial | Untried]

    @property
    def setting(self) -> Setting | None:
        """The setting under which the original ran; None where it never did."""
        return self.levels[0].setting

    @property
    def one_batch(self) -> bool:
        """Whether the original takes no other batch, though it declares it open."""
        return self.levels[0].one_batch

    def judged(self, proved: Collection[str] = ()) -> Comparison:
        """Return the verdict of all levels: the first that differs, or what all of them say."""
        found = [each.judged(proved) for each in self.levels]
        apart = next((each for each in found if each.check.verdict is Verdict.DIFFERS), None)
        if apart is not None or len(found) == 1:
            return apart or found[0]
        agrees = all(each.check.verdict is Verdict.AGREES for each in found)
        verdict = Verdict.AGREES if agrees else Verdict.INCONCLUSIVE
        detail = "; ".join(each.check.detail for each in found)
        return Comparison(Check(name=NAME, verdict=verdict, detail=detail), found[0].outputs)


def saved(found: Comparison, options: VerifyOptions) -> tuple[Check, str]:
    """The check, and the command that shows a difference again, where its inputs are to be saved."""
    check = found.check
    if check.verdict is not Verdict.DIFFERS or found.parting is None or (path := options.failing_inputs) is None:
        return check, ""
    save(found.parting, path, options.load_inputs)
    detail = f"{check.detail}; its inputs are in {path}"
    return Check(name=check.name, verdict=check.verdict, detail=detail), again(options.command, path)
