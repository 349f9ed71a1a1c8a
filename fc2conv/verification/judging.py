"""What the runs of two models say: the verdict of every value, of a tie as of a difference, and of the whole rung."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from fc2conv.io.reader import ModelFile
from fc2conv.options import VerifyOptions
from fc2conv.report.types import Check, OutputDifference
from fc2conv.verification import feeds
from fc2conv.verification.arithmetic import Arithmetic
from fc2conv.verification.compare import Pairing
from fc2conv.verification.feeds import Setting
from fc2conv.verification.given import again, save
from fc2conv.verification.probes import made
from fc2conv.verification.sensitivity import measured
from fc2conv.verification.ties import Ties

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
    """The rung, the outputs, and the setting under which the original ran (None: it never did).

    `refused`: onnxruntime does not run one of the two. `parting` are the inputs on which they part, and `one_batch`:
    the batch is open in the declaration, and the original takes no other than that of `setting`. `if_proved` is the
    comparison that holds where the models are proved to be the same, so that all differences are rounding.
    """

    check: Check
    outputs: list[OutputDifference]
    setting: Setting | None
    refused: bool = False
    parting: feeds.Feeds | None = None
    one_batch: bool = False
    if_proved: Comparison | None = None


def undecided(detail: str) -> Comparison:
    """A comparison that could not be made."""
    return Comparison(Check(name="numeric", verdict="inconclusive", detail=detail), [], None)


def saved(found: Comparison, options: VerifyOptions) -> tuple[Check, str]:
    """The check, and the command that shows a difference again, where its inputs are to be saved."""
    check = found.check
    if check.verdict != "fail" or found.parting is None or (path := options.failing_inputs) is None:
        return check, ""
    save(found.parting, path, options.load_inputs)
    detail = f"{check.detail}; its inputs are in {path}"
    return Check(name=check.name, verdict="fail", detail=detail), again(options.command, path)


@dataclass
class Trial:
    """The runs of the original, what the other model gave on the same inputs, and the values that are compared.

    `fed` says what was fed.
    """

    original: ModelFile
    options: VerifyOptions
    runs: Sequence[Run]
    results: Sequence[Sequence[Any]]
    pairings: Sequence[Pairing]
    fed: str
    optimized: bool

    def judged(self) -> Comparison:
        """The verdict of all values, and, where some part, the one that holds if the models are proved the same."""
        for i, (run, found) in enumerate(zip(self.runs, self.results, strict=True)):
            for pairing, one, other in zip(self.pairings, run.outputs, found, strict=True):
                if one is not None or not pairing.watched:
                    pairing.add(one, other, i)
        if not self._parting(self.pairings):
            return self._told(self.pairings, proved=False)
        ties = Ties(self.original, self.options, Arithmetic(self.original.model))
        values = self._settled(self.pairings, ties, {})
        if not self._parting(values):
            return self._told(values, proved=False)
        moves = self._moves(values, ties)
        for pairing in values:
            pairing.moves = moves.get(pairing.name)
        proved = self._told(self._settled(values, ties, moves), proved=True)
        return replace(self._told(values, proved=False), if_proved=proved if proved.check.verdict != "fail" else None)

    def _parting(self, values: Sequence[Pairing]) -> list[Pairing]:
        return [p for p in values if not p.hint and p.result(self.options)[0].verdict == "fail"]

    def _settled(self, values: Sequence[Pairing], ties: Ties, moves: Mapping[str, float]) -> list[Pairing]:
        """The values, and anew those that part and that a tie may decide on.

        Where the numbers that decide are seen to be equal in both models, they decide the same, in a tie as well.
        """
        equal = {p.name for p in self.pairings if p.count and not p.fault and not p.moved and p.difference == 0}
        parting = {p.name for p in self._parting(values) if not p.watched and {*ties.operands(p.name)} - equal}
        return [self._anew(i, p, ties, moves) if p.name in parting else p for i, p in enumerate(values)]

    def _anew(self, index: int, value: Pairing, ties: Ties, moves: Mapping[str, float]) -> Pairing:
        bound = value.result(self.options)[0].bound or 0.0
        out = Pairing(value.name, node=value.node, layer=value.layer, arithmetic=value.arithmetic, moves=value.moves)
        for i, (run, found) in enumerate(zip(self.runs, self.results, strict=True)):
            pair = run.outputs[index], found[index]
            if all(isinstance(each, np.ndarray) for each in pair):
                settled, count = ties.settled(value.name, run.feeds, pair, bound, moves)
                pair, out.ties = (pair[0], settled), out.ties + count
            out.add(*pair, i)
        return out

    def _moves(self, values: Sequence[Pairing], ties: Ties) -> dict[str, float]:
        """How far the original moves what parts, and the numbers that decide on it, on the inputs of the worst runs."""
        parting = [p for p in self._parting(values) if not p.fault or ties.operands(p.name)]
        given = [self.runs[index].feeds for index in sorted({p.run for p in parting})]
        operands = [Pairing(name) for p in parting for name in ties.operands(p.name)]
        looked = {p.name: p for p in (*operands, *parting)}
        return measured(self.original, self.options, self.optimized, given, list(looked.values())) if looked else {}

    def _told(self, values: Sequence[Pairing], proved: bool) -> Comparison:
        """The rung; the first value that parts, in the model's order, is the one that is told."""
        runs, model = self.runs, self.original.model
        judged = [(p, *p.result(self.options, proved)) for p in values]
        hinted = [(p, why) for p, difference, why in judged if p.hint and difference.verdict == "fail"]
        judged = [(p, difference, why) for p, difference, why in judged if not p.hint]
        shown = [d for p, d, _ in judged if not p.probe or d.verdict == "fail"]
        verdicts = [difference.verdict for _, difference, _ in judged]
        if "fail" in verdicts:
            parted = [(p, why) for p, difference, why in judged if difference.verdict == "fail"]
            parted += [(p, why) for p, why in hinted if not p.fault]
            place = {name: i for i, name in enumerate(made(model.graph))}
            first, detail = min(parted, key=lambda each: place.get(each[0].name, 0))
            check = Check(name="numeric", verdict="fail", detail=detail)
            return Comparison(check, shown, runs[0].setting, parting=runs[first.run].feeds)
        notes = [why for p, difference, why in judged if why and difference.verdict == "pass"]
        if len(notes) > _MOST:
            notes[_MOST:] = [f"and {len(notes) - _MOST} more values likewise"]
        notes += [why for p, d, why in judged if d.verdict == "inconclusive" and not p.watched][:1]
        if "pass" not in verdicts:
            detail = notes[0] if notes else "there is no output"
            return Comparison(Check(name="numeric", verdict="inconclusive", detail=detail), shown, runs[0].setting)
        detail = "; ".join([f"{verdicts.count('pass')} of {len(verdicts)} values {self._circumstances()}", *notes])
        return Comparison(Check(name="numeric", verdict="pass", detail=detail), shown, runs[0].setting)

    def _circumstances(self) -> str:
        batches = sorted({run.setting.batch for run in self.runs})
        others = [
            v for v in self.original.model.graph.output if v.type.WhichOneof("value") not in (None, "tensor_type")
        ]
        kinds = "".join(f"; {v.name} is {feeds.type_name(v.type)}" for v in others)
        return f"agree in {len(self.runs)} runs, batch {batches}, inputs {self.fed}{kinds}"
