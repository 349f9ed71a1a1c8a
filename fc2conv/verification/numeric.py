"""The whole model, original against converted, on seeded inputs in onnxruntime."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import chain
from math import prod

import numpy as np

from fc2conv.io.reader import ModelFile
from fc2conv.options import VerifyOptions
from fc2conv.report.verification import Check, Verdict
from fc2conv.verification import feeds
from fc2conv.verification.arithmetic import Arithmetic
from fc2conv.verification.clones import clone
from fc2conv.verification.compare import Pairing, says_nothing
from fc2conv.verification.cuts import other_batch
from fc2conv.verification.feeds import Setting
from fc2conv.verification.fitting import fitted
from fc2conv.verification.given import loaded
from fc2conv.verification.inputs import Fill, fills
from fc2conv.verification.judging import NAME, Run, Runs, Trial, Untried, undecided
from fc2conv.verification.probes import Probe, made, probes, suspects
from fc2conv.verification.runtime import RefusedError, Session, check_providers, room_for_feeds
from fc2conv.verification.sites import SitePair

_OTHER_BATCH = 3
_BATCHES = range(2, 17)
"""Batches that are tried where 1 does not run: a graph may fix it by what it joins or broadcasts."""
_OTHER_SIZES = ((32, 1), (1, 3), (64, 8))
"""What is added to unknown dimensions (spatial, other) for one more setting; the first that the original takes."""
_LARGE = 1 << 24  # elements of an input that is tried as a guess
_KEPT = 1 << 22  # elements of a value that is looked at besides the outputs


class Reference:
    """The original and its runs."""

    def __init__(
        self,
        original: ModelFile,
        options: VerifyOptions,
        watched: Sequence[str],
        optimized: bool,
        other_batch: int = _OTHER_BATCH,
        brief: bool = False,
    ) -> None:
        self.brief = brief
        self.original, self.options, self.other_batch = original, options, other_batch
        self.loaded = loaded(original.model, options.load_inputs)
        self.shapes = {**options.input_shapes, **{name: array.shape for name, array in self.loaded.items()}}
        try:
            self.session = Session(original, list(watched), optimized, options.providers)
        except RefusedError:
            watched = ()
            self.session = Session(original, (), optimized, options.providers)
        self.names = [*(v.name for v in original.model.graph.output), *watched]
        self.watched = list(watched)
        self.fill = Fill()
        self.one_batch = False
        self.runs = self._all()
        del self.session

    def _all(self) -> list[Run]:
        """Run on the first setting that it takes, and unless `brief` on another batch and other sizes too."""
        setting, first = self._first()
        runs = [first]
        if self.loaded or self.brief:
            return runs
        options, model = self.options, self.original.model
        count = options.check_n
        open_batch = feeds.dynamic_batch(model, options.input_shapes)
        again = count if open_batch or count > 1 else 2
        runs += [self._run(setting, self.fill, i) for i in range(1, again)]
        if open_batch:
            try:
                runs += [
                    self._run(replace(setting, batch=self.other_batch), self.fill, again + i) for i in range(count)
                ]
            except RefusedError:  # a batch may be open in the declaration and fixed in the graph
                self.one_batch = True
        for spatial, other in _OTHER_SIZES if feeds.dynamic_sizes(model, options.input_shapes) else ():
            with suppress(RefusedError):
                wider = replace(setting, spatial=setting.spatial + spatial, other=setting.other + other)
                runs.append(self._run(wider, self.fill, 2 * again))
                break
        return runs

    def _first(self) -> tuple[Setting, Run]:
        """The setting, and the first way to fill the inputs of which all outputs say something."""
        tries = fills(self.original, self.options.val_range)
        self.fill = next(tries)
        setting, best = self._first_setting()
        outputs = len(self.original.model.graph.output)
        weak = sum(says_nothing(value) for value in best.outputs[:outputs])
        for fill in tries if weak else ():
            with suppress(RefusedError):
                run = self._run(setting, fill, 0)
                found = sum(says_nothing(value) for value in run.outputs[:outputs])
                if found < weak:
                    self.fill, best, weak = fill, run, found
            if not weak:
                break
        return setting, best

    def _first_setting(self) -> tuple[Setting, Run]:
        failure: RefusedError | None = None
        seen: set[tuple[object, ...]] = set()
        for setting in self._settings():
            shapes = feeds.shapes(self.original.model, setting, self.shapes)
            key = (tuple(sorted(shapes.items())), setting.ones)
            if key in seen or (seen and max(map(prod, shapes.values()), default=0) > _LARGE):
                continue
            seen.add(key)
            try:
                return setting, self._run(setting, self.fill, 0)
            except RefusedError as error:
                failure = failure or error
        raise failure or RefusedError("no input shapes to try")

    def _settings(self) -> Iterator[Setting]:
        """The likeliest, then what the model's own sizes say, then all others, and other batches."""
        first, *others = feeds.settings()
        yield first
        if (fits := fitted(self.original, first, self.shapes)) is not None:
            yield fits
        yield from others
        batch = [
            group for group in feeds.open_places(self.original.model, self.shapes) if any(not at for _, at in group)
        ]
        for size in _BATCHES if batch else ():
            yield replace(first, fixed=dict.fromkeys(chain.from_iterable(batch), size))

    def _run(self, setting: Setting, fill: Fill, index: int) -> Run:
        shapes = feeds.shapes(self.original.model, setting, self.shapes)
        with room_for_feeds():
            made = feeds.feeds(self.original.model, shapes, self.options.seed, index, setting.ones, fill) | self.loaded
        found = self.session.run(made, self.names)
        outputs = len(self.names) - len(self.watched)
        kept = [
            value if i < outputs or np.size(value) <= _KEPT else None
            for i, value in enumerate(found[: len(self.names)])
        ]
        return Run(setting, made, kept)


def run_models(
    original: ModelFile,
    converted: ModelFile,
    options: VerifyOptions,
    pairs: Sequence[SitePair] = (),
    brief: bool = False,
) -> Runs:
    """Run the models at each level of onnxruntime's graph optimizations that is asked for; see `_compare`.

    With `brief` each model is run once: what is proved needs no second run.
    """
    check_providers(options.providers)
    levels = {"disable": (False,), "all": (True,), "both": (False, True)}[options.ort_opt]
    return Runs([_with_clones(original, converted, options, pairs, optimized, brief) for optimized in levels])


def _with_clones(
    original: ModelFile,
    converted: ModelFile,
    options: VerifyOptions,
    pairs: Sequence[SitePair],
    optimized: bool,
    brief: bool,
) -> Trial | Untried:
    """The comparison, or, where onnxruntime cannot run a model in float64 or bfloat16, that of float32 clones."""
    found = _compare(original, converted, options, pairs, optimized, brief)
    if found.refused and (one := clone(original)) is not None and (other := clone(converted)) is not None:
        again = _compare(one, other, replace(options, load_inputs=()), pairs, optimized, brief)
        if isinstance(again, Trial):
            again.how = "as float32, as onnxruntime lacks an operator: "
        if not again.refused:
            return again
    return found


def _compare(
    original: ModelFile,
    converted: ModelFile,
    options: VerifyOptions,
    pairs: Sequence[SitePair],
    optimized: bool,
    brief: bool,
) -> Trial | Untried:
    """Agrees iff at least one output was compared and all those agree, in shape, in NaN and infinity, and in numbers.

    Every output must stay within `atol + rtol * max|reference|`. So must the values at probes: before a Softmax or its
    kin, which hide differences, at the ends of what was converted, and at the layers of `pairs`. An original that does
    not run, or of which nothing can be compared, makes the check inconclusive; a converted model that does not run
    differs. Values that are looked at keep nodes from being fused, so that there are none where the models are
    `optimized`, or the comparison is `brief`.
    """
    reason = feeds.unsupported(original.model, options.input_shapes)
    reason = reason or ("" if original.model.graph.output else "the model has no outputs")
    if reason:
        return undecided(reason)
    watched = [] if optimized or brief else probes(original.model, converted.model, pairs)
    try:
        batch = other_batch(original, converted, _OTHER_BATCH)
        reference = Reference(original, options, [probe.old for probe in watched], optimized, batch, brief)
    except RefusedError as error:
        return undecided(f"onnxruntime does not run the original: {error}", refused=True)
    runs, watched = reference.runs, watched if reference.watched else []
    new = [*(v.name for v in original.model.graph.output), *(probe.new for probe in watched)]
    try:
        session = Session(converted, [probe.new for probe in watched], optimized, options.providers)
        results = [session.run(run.feeds, new) for run in runs]
    except RefusedError as error:
        if not any(np.size(value) for run in runs for value in run.outputs):
            return undecided("every output of the original is empty, and a convolution of nothing is refused")
        detail = f"onnxruntime runs the original, and not the converted model: {error}"
        check = Check(name=NAME, verdict=Verdict.DIFFERS, detail=detail)
        return Untried(check, runs[0].setting, refused=True, one_batch=reference.one_batch)
    fed_with = "as given" if reference.loaded else reference.fill.said
    values = _pairings(original, watched, pairs)
    return Trial(original, options, runs, results, values, fed_with, optimized, reference.one_batch)


def _pairings(original: ModelFile, watched: Sequence[Probe], pairs: Sequence[SitePair]) -> list[Pairing]:
    graph, arithmetic = original.model.graph, Arithmetic(original.model)
    nodes, layers = made(graph), suspects(graph, pairs)
    outputs = [Pairing(v.name, node=nodes.get(v.name, ""), layer=layers.get(v.name, "")) for v in graph.output]
    probes = [Pairing(p.old, True, p.moved, not p.shown, p.node, p.layer or layers.get(p.old, "")) for p in watched]
    return [replace(pairing, arithmetic=arithmetic.of(pairing.name)) for pairing in (*outputs, *probes)]
