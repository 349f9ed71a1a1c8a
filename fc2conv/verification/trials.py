"""Both models in onnxruntime on seeded inputs: which inputs, how often, and the values that are compared."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import field, replace
from itertools import chain
from math import prod
from typing import Any

import numpy as np

from fc2conv.dataclass import dataclass
from fc2conv.io.reader import ModelFile
from fc2conv.options import VerifyOptions
from fc2conv.report.verification import Check, Verdict
from fc2conv.sandbox.shortage import said_by
from fc2conv.verification import feeds
from fc2conv.verification.compare import Value, arithmetic, says_nothing
from fc2conv.verification.exact.walk import Walk
from fc2conv.verification.feeds import Fill, Setting, fills
from fc2conv.verification.fitting import fitted
from fc2conv.verification.given import loaded
from fc2conv.verification.nodes import label
from fc2conv.verification.runtime import DiedError, LackingError, RefusedError, Session, check_providers, room_for_feeds
from fc2conv.verification.sensitivity import measure

NAME = "numeric"
OTHER_BATCH = 3
_BATCHES = range(2, 17)
"""Batches that are tried where 1 does not run: a graph may fix it by what it joins or broadcasts."""
_OTHER_SIZES = ((32, 1), (1, 3), (64, 8))
"""What is added to unknown dimensions (spatial, other) for one more setting; the first that the original takes."""
_LARGE = 1 << 24  # elements of an input that is tried as a guess
_KEPT = 1 << 22  # elements of a value that is looked at besides the outputs
_HIDING = ("Softmax", "LogSoftmax", "Hardmax", "Sigmoid", "ArgMax", "ArgMin", "TopK", "Clip", "Tanh")
_MOST_PROBES = 32
_LENIENT = frozenset({"Einsum", "PRelu"})
"""Operators that onnxruntime runs where sizes do not fit, if one of them is 1."""


@dataclass(frozen=True)
class Run:
    """One run of the original: its inputs, and its values: the outputs, then those at probes."""

    setting: Setting
    feeds: feeds.Feeds
    values: list[Any]


@dataclass
class Trial:
    """Two models that are run at one level of onnxruntime's graph optimizations.

    `brief`: once, on the outputs alone. `probes`: values besides the outputs are compared, by their names. If names
    need not mean the same in both models (not `named`), a difference of a probe refuses nothing by itself. `items` is
    the second batch, where the batch is open. `one_batch`: the original takes no other batch, though it declares it
    open. `died` says of what onnxruntime died, and on which inputs; `why` is the check where nothing was compared.
    """

    original: ModelFile
    converted: ModelFile
    options: VerifyOptions
    optimized: bool = False
    brief: bool = False
    probes: bool = True
    named: bool = True
    items: int = OTHER_BATCH
    fill: Fill = field(default_factory=Fill)
    runs: list[Run] = field(default_factory=list)
    values: list[Value] = field(default_factory=list)
    one_batch: bool = False
    died: list[str] = field(default_factory=list)
    why: Check | None = None

    # ------------------------------------------------------------------ runs

    def run(self) -> Trial:
        """Run both; an original that does not run says nothing, and a converted model that does not run differs."""
        graph = self.original.model.graph
        outputs = [v.name for v in graph.output]
        reason = feeds.unsupported(self.original.model, self.options.input_shapes)
        if reason or not outputs:
            return self._stopped(reason or "the model has no outputs")
        self.loaded = loaded(self.original.model, self.options.load_inputs)
        self.shapes = {**self.options.input_shapes, **{name: array.shape for name, array in self.loaded.items()}}
        # Values that are looked at keep nodes from being fused.
        looked = self.probes and not (self.optimized or self.brief)
        watched = _probes(self.original, self.converted, self.named) if looked else []
        try:
            try:
                session = self._session(self.original, watched)
            except RefusedError:
                watched, session = [], self._session(self.original, [])
            names = [*outputs, *watched]
            self.runs = self._runs(session, names)
        except RefusedError as error:
            said = "; ".join(dict.fromkeys([str(error), *self.died]))
            return self._stopped(f"onnxruntime does not run the original: {said}")
        del session
        made = {name: label(node) for node in graph.node for name in node.output}
        walk = Walk(self.original, {name: array.shape for name, array in self.runs[0].feeds.items()})
        walk.run()
        kinds = arithmetic(walk)
        probes = set(names) - {*outputs}
        self.values = [
            Value(name, name in probes, made.get(name, ""), kinds.get(name, ""), name in probes and not self.named)
            for name in names
        ]
        try:
            session = self._session(self.converted, watched)
            for index, run in enumerate(self.runs):
                for value, one, other in zip(self.values, run.values, session.run(run.feeds, names), strict=True):
                    if one is not None or not value.probe:
                        value.add(one, other, index)
        except LackingError as error:
            return self._stopped(f"onnxruntime lacks what the converted model needs: {error}")
        except RefusedError as error:
            if not any(np.size(value) for run in self.runs for value in run.values):
                return self._stopped("every output of the original is empty, and a convolution of nothing is refused")
            if (want := said_by(str(error))) is not None:
                raise want from error
            return self._stopped(
                f"onnxruntime runs the original, and not the converted model: {error}", Verdict.DIFFERS
            )
        parting = [value for value in self.values if value.parts(self.options)]
        if parting:
            given = [self.runs[index].feeds for index in sorted({value.run for value in parting})]
            measure(self.original, self.options, given, parting)
        return self

    def _stopped(self, detail: str, verdict: Verdict = Verdict.INCONCLUSIVE) -> Trial:
        self.why = Check(name=NAME, verdict=verdict, detail=detail)
        return self

    def _session(self, file: ModelFile, watched: Sequence[str]) -> Session:
        return Session(file, watched, self.optimized, self.options.providers)

    def _runs(self, session: Session, names: Sequence[str]) -> list[Run]:
        """Run on the first setting that the original takes, and unless `brief` on another batch and other sizes too."""
        model, given, count = self.original.model, self.options.input_shapes, self.options.check_n

        def run(setting: Setting, fill: Fill, index: int) -> Run:
            shapes = feeds.shapes(model, setting, self.shapes)
            with room_for_feeds():
                fill = replace(fill, ones=setting.ones)
                made = feeds.feeds(model, shapes, fill, self.options.seed, index) | self.loaded
            try:
                found = session.attempt(made, names)
            except DiedError as error:
                self.died.append(str(error))
                raise
            outputs = len(model.graph.output)
            kept = [value if i < outputs or np.size(value) <= _KEPT else None for i, value in enumerate(found)]
            return Run(setting, made, kept)

        def weak(run: Run) -> int:
            return sum(says_nothing(value) for value in run.values[: len(model.graph.output)])

        self.fill, *others = fills(self.original, self.options.val_range)
        first = self._first(run)
        for fill in others if weak(first) else ():
            with suppress(RefusedError):
                found = run(first.setting, fill, 0)
                if weak(found) < weak(first):
                    self.fill, first = fill, found
            if not weak(first):
                break
        if self.loaded or self.brief:
            return [first]
        setting, open_batch = first.setting, feeds.dynamic_batch(model, given)
        once_more = count if open_batch or count > 1 else 2
        runs = [first, *(run(setting, self.fill, i) for i in range(1, once_more))]
        if open_batch:
            for items in (self.items, 2):  # where it is joined to a size, a batch of two may be the last that runs
                with suppress(RefusedError):
                    other = replace(setting, batch=items)
                    runs += [run(other, self.fill, once_more + i) for i in range(count)]
                    break
            else:  # a batch may be open in the declaration and fixed in the graph
                self.one_batch = True
        for wider in self._wider(setting) if feeds.other_places(model, given) else ():
            with suppress(RefusedError):
                runs.append(run(wider, self.fill, 2 * once_more))
                break
        return runs

    def _wider(self, setting: Setting) -> Iterator[Setting]:
        """Yield settings with other sizes of unknown dimensions: first sizes that all differ, if that runs."""
        for spatial, more in _OTHER_SIZES:
            wider = replace(setting, spatial=setting.spatial + spatial, other=setting.other + more)
            yield feeds.distinct(self.original.model, wider, self.shapes, spatial)
            yield wider

    def _first(self, run: Callable[[Setting, Fill, int], Run]) -> Run:
        """Run on the first setting that the original takes."""
        failure: RefusedError | None = None
        seen: list[tuple[object, bool]] = []
        for setting in self._settings():
            shapes = feeds.shapes(self.original.model, setting, self.shapes)
            key = shapes, setting.ones
            if key not in seen and not (seen and max(map(prod, shapes.values()), default=0) > _LARGE):
                try:
                    return run(setting, self.fill, 0)
                except RefusedError as error:
                    failure = error if failure is None or isinstance(failure, DiedError) else failure
                seen.append(key)
        if isinstance(failure, DiedError):
            raise failure.limit  # it dies of all
        raise failure or RefusedError("no input shapes to try")

    def _settings(self) -> Iterator[Setting]:
        """Yield the likeliest setting, then the one of the model's own sizes, then all others, and other batches."""
        first, *others = feeds.settings()
        lenient = any(node.op_type in _LENIENT for node in self.original.model.graph.node)
        if not lenient:
            yield first
        if (fits := fitted(self.original, first, self.shapes)) is not None:
            yield fits
        if lenient:
            yield first
        yield from others
        groups = feeds.open_places(self.original.model, self.shapes)
        batch = [group for group in groups if any(axis == 0 for _, axis in group)]
        for size in _BATCHES if batch else ():
            yield replace(first, fixed=dict.fromkeys(chain.from_iterable(batch), size))

    @property
    def setting(self) -> Setting | None:
        """The first setting under which the original ran; None where it never did."""
        return self.runs[0].setting if self.runs else None

    @property
    def fed(self) -> str:
        """What the inputs hold, in words."""
        return "as given" if self.loaded else self.fill.said


def _probes(original: ModelFile, converted: ModelFile, named: bool) -> list[str]:
    """Return values at which two models are compared besides their outputs, in the original's order, some of many.

    These are inputs of a Softmax or of its family, which hide differences, and values that both make in two ways.
    Where names need not mean the same, only results of the same operator are taken.
    """
    makers = [{name: n for n in f.model.graph.node for name in n.output if name} for f in (original, converted)]
    outputs = {v.name for v in original.model.graph.output}
    live = {v.name for v in feeds.inputs(original.model)}
    found = set[str]()
    for node in original.model.graph.node:
        if live.intersection(node.input):
            live.update(node.output)
        if node.op_type in _HIDING:
            found.update(node.input[:1])
        for name in node.output:
            other = makers[1].get(name)
            if other is not None and (node.op_type, *node.input) != (other.op_type, *other.input):
                found.add(name)
    both = [name for name in makers[0] if name in makers[1]]
    kinds = [{name: (node.domain, node.op_type) for name, node in each.items()} for each in makers]
    there = {name for name in both if named or kinds[0][name] == kinds[1][name]}
    probes = [name for name in makers[0] if name in found & live & there - outputs]
    return probes[:: max(1, -(-len(probes) // _MOST_PROBES))]


def run_models(original: ModelFile, converted: ModelFile, options: VerifyOptions, **how: Any) -> list[Trial]:
    """Run two models at each level of optimizations that is asked for; `how` are fields of a Trial."""
    check_providers(options.providers)
    levels = {"disable": (False,), "all": (True,), "both": (False, True)}[options.ort_opt]
    return [Trial(original, converted, options, optimized, **how).run() for optimized in levels]
