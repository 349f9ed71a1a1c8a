"""The whole model, original against converted, on seeded inputs in onnxruntime."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import helper

from fc2conv.onnxfile import ModelFile
from fc2conv.options import VerifyOptions
from fc2conv.proof import feeds
from fc2conv.proof.clones import clone
from fc2conv.proof.compare import Pairing, says_nothing
from fc2conv.proof.feeds import Setting
from fc2conv.proof.given import again, loaded, save
from fc2conv.proof.inputs import Fill, fills
from fc2conv.proof.nodes import Kind
from fc2conv.proof.probes import Probe, made, probes, sources, suspects
from fc2conv.proof.runtime import RefusedError, Session, check_providers, halved, quantized, room_for_feeds
from fc2conv.proof.sites import SitePair
from fc2conv.report.types import Check, OutputDifference, Verdict

_OTHER_BATCH = 3
_OTHER_SIZES = ((32, 1), (1, 3), (64, 8))
"""What is added to unknown dimensions (spatial, other) for one more setting; the first that the original takes."""
_LARGE = 1 << 24  # elements of an input that is tried as a guess
_KEPT = 1 << 22  # elements of a value that is looked at besides the outputs


@dataclass(frozen=True)
class Run:
    """One run of the original: what went in and what came out, the outputs and then the values at probes."""

    setting: Setting
    feeds: feeds.Feeds
    outputs: list[Any]


@dataclass(frozen=True)
class Comparison:
    """The rung, the outputs, the setting under which the original ran (None: it never did), and what fed its layers.

    `refused`: onnxruntime does not run one of the two. `reproduce` is the command that shows a difference again.
    `one_batch`: the batch is open in the declaration, and the original takes no other than that of `setting`.
    """

    check: Check
    outputs: list[OutputDifference]
    setting: Setting | None
    captured: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    refused: bool = False
    reproduce: str = ""
    one_batch: bool = False


class Reference:
    """The original and its runs."""

    def __init__(
        self, original: ModelFile, options: VerifyOptions, watched: Sequence[str], fed: Sequence[str], optimized: bool
    ) -> None:
        self.original, self.options = original, options
        self.loaded = loaded(original.model, options.load_inputs)
        self.shapes = {**options.input_shapes, **{name: array.shape for name, array in self.loaded.items()}}
        try:
            self.session = Session(original, [*dict.fromkeys((*watched, *fed))], optimized, options.providers)
        except RefusedError:
            watched = fed = ()
            self.session = Session(original, (), optimized, options.providers)
        self.names = [*(v.name for v in original.model.graph.output), *watched]
        self.watched = list(watched)
        self.captured: dict[str, NDArray[Any]] = {}
        self.fill = Fill()
        self.fed = list(fed)
        self.one_batch = False
        self.runs = self._all()
        del self.session

    def _all(self) -> list[Run]:
        """On the first setting that it takes, on another batch and other sizes where those are open."""
        setting, first = self._first()
        runs = [first]
        if self.loaded:
            return runs
        options, model = self.options, self.original.model
        count = options.check_n
        open_batch = feeds.dynamic_batch(model, options.input_shapes)
        again = count if open_batch or count > 1 else 2
        runs += [self._run(setting, self.fill, i) for i in range(1, again)]
        if open_batch:
            try:
                runs += [self._run(replace(setting, batch=_OTHER_BATCH), self.fill, again + i) for i in range(count)]
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
        for setting in feeds.settings():
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

    def _run(self, setting: Setting, fill: Fill, index: int) -> Run:
        shapes = feeds.shapes(self.original.model, setting, self.shapes)
        with room_for_feeds():
            made = feeds.feeds(self.original.model, shapes, self.options.seed, index, setting.ones, fill) | self.loaded
        fed = [] if self.captured else self.fed
        found = self.session.run(made, [*self.names, *fed])
        self.captured |= dict(zip(fed, found[len(self.names) :], strict=True))
        outputs = len(self.names) - len(self.watched)
        kept = [
            value if i < outputs or np.size(value) <= _KEPT else None
            for i, value in enumerate(found[: len(self.names)])
        ]
        return Run(setting, made, kept)


def compare_models(
    original: ModelFile,
    converted: ModelFile,
    options: VerifyOptions,
    pairs: Sequence[SitePair] = (),
    told: bool = True,
) -> Comparison:
    """Compares the models at each level of onnxruntime's graph optimizations that is asked for; see `_compare`."""
    check_providers(options.providers)
    levels = {"disable": (False,), "all": (True,), "both": (False, True)}[options.ort_opt]
    found = [_with_clones(original, converted, options, pairs, told, optimized) for optimized in levels]
    worst = next((each for each in found if each.check.verdict == "fail"), None)
    if worst is not None or len(found) == 1:
        return worst or found[0]
    detail = "; ".join(each.check.detail for each in found)
    verdict: Verdict = "pass" if all(each.check.verdict == "pass" for each in found) else "inconclusive"
    return replace(found[0], check=Check(name="numeric", verdict=verdict, detail=detail))


def _with_clones(
    original: ModelFile,
    converted: ModelFile,
    options: VerifyOptions,
    pairs: Sequence[SitePair],
    told: bool,
    optimized: bool,
) -> Comparison:
    """The comparison, or, where onnxruntime cannot run a model in float64 or bfloat16, that of float32 clones."""
    found = _compare(original, converted, options, pairs, told, optimized)
    if found.refused and (one := clone(original)) is not None and (other := clone(converted)) is not None:
        again = _compare(one, other, replace(options, load_inputs=()), pairs, told, optimized)
        if not again.refused:
            detail = f"as float32, as onnxruntime lacks an operator: {again.check.detail}"
            return replace(again, check=Check(name="numeric", verdict=again.check.verdict, detail=detail))
    return found


def _compare(
    original: ModelFile,
    converted: ModelFile,
    options: VerifyOptions,
    pairs: Sequence[SitePair],
    told: bool,
    optimized: bool,
) -> Comparison:
    """Passes iff at least one output was compared and all those agree, in shape, in NaN and infinity, and in numbers.

    Every output must stay within `atol + rtol * max|reference|`. So must the values at probes: before a Softmax or its
    kin, which hide differences, at the ends of what was converted, and at the layers of `pairs`, if those were `told`
    and not guessed. An original that does not run, or of which nothing can be compared, makes the rung inconclusive;
    a converted model that does not run fails it. Values that are looked at keep nodes from being fused, so that there
    are none where the models are `optimized`.
    """
    reason = feeds.unsupported(original.model) or ("" if original.model.graph.output else "the model has no outputs")
    if reason:
        return _undecided(reason)
    watched = [] if optimized else probes(original.model, converted.model, pairs, told)
    fed = {} if optimized else sources(original.model, pairs)
    inputs = {v.name for v in feeds.inputs(original.model)}
    try:
        outside = [name for name in dict.fromkeys(fed.values()) if name not in inputs]
        reference = Reference(original, options, [probe.old for probe in watched], outside, optimized)
    except RefusedError as error:
        return replace(_undecided(f"onnxruntime does not run the original: {error}"), refused=True)
    runs, watched = reference.runs, watched if reference.watched else []
    seen = {**runs[0].feeds, **reference.captured}
    captured = {layer: seen[name] for layer, name in fed.items() if isinstance(seen.get(name), np.ndarray)}
    new = [*(v.name for v in original.model.graph.output), *(probe.new for probe in watched)]
    try:
        session = Session(converted, [probe.new for probe in watched], optimized, options.providers)
        results = [session.run(run.feeds, new) for run in runs]
    except RefusedError as error:
        if not any(np.size(value) for run in runs for value in run.outputs):
            return _undecided("every output of the original is empty, and a convolution of nothing is refused")
        detail = f"onnxruntime runs the original, and not the converted model: {error}"
        check = Check(name="numeric", verdict="fail", detail=detail)
        return Comparison(check, [], runs[0].setting, captured, refused=True, one_batch=reference.one_batch)
    pairings = _pairings(original, watched, pairs)
    for i, (run, found) in enumerate(zip(runs, results, strict=True)):
        for pairing, one, other in zip(pairings, run.outputs, found, strict=True):
            if one is not None or not pairing.watched:
                pairing.add(one, other, i)
    judged = _judged(pairings, reference, options)
    return replace(judged, captured=captured, one_batch=reference.one_batch)


def _pairings(original: ModelFile, watched: Sequence[Probe], pairs: Sequence[SitePair]) -> list[Pairing]:
    graph = original.model.graph
    nodes, layers = made(graph), suspects(graph, pairs)
    outputs = [Pairing(v.name, node=nodes.get(v.name, ""), layer=layers.get(v.name, "")) for v in graph.output]
    return outputs + [
        Pairing(p.old, True, p.moved, not p.shown, p.hint, p.node, p.layer or layers.get(p.old, "")) for p in watched
    ]


def _undecided(detail: str) -> Comparison:
    return Comparison(Check(name="numeric", verdict="inconclusive", detail=detail), [], None)


def _judged(pairings: Sequence[Pairing], reference: Reference, options: VerifyOptions) -> Comparison:
    """The verdict of all pairings; the first value that parts, in the model's order, is the one that is told."""
    runs, outputs = reference.runs, len(reference.names) - len(reference.watched)
    model = reference.original.model
    steps, halves = quantized(model), halved(model)
    results = [pairing.result(options, steps, halves) for pairing in pairings]
    hinted = [(p, why) for p, (d, why) in zip(pairings, results, strict=True) if p.hint and d.verdict == "fail"]
    judged = [(p, *result) for p, result in zip(pairings, results, strict=True) if not p.hint]
    shown = [difference for pairing, difference, _ in judged if not pairing.probe or difference.verdict == "fail"]
    verdicts = [difference.verdict for _, difference, _ in judged]
    said = f"{verdicts.count('pass')} of {len(verdicts)} values agree in {len(runs)} runs"
    fed = "as given" if reference.loaded else reference.fill.said
    said += f", batch {sorted({run.setting.batch for run in runs})}, inputs {fed}"
    others = [v for v in model.graph.output if v.type.WhichOneof("value") not in (None, "tensor_type")]
    said += "".join(f"; {v.name} is {feeds.type_name(v.type)}" for v in others)
    why = next((why for _, difference, why in judged[:outputs] if difference.verdict == "inconclusive"), "")
    if "fail" in verdicts:
        parted = [(p, why) for p, difference, why in judged if difference.verdict == "fail"]
        parted += [(p, why) for p, why in hinted if not p.fault]
        place = {name: i for i, name in enumerate(made(model.graph))}
        first, detail = min(parted, key=lambda each: place.get(each[0].name, 0))
        reproduce = ""
        if (path := options.failing_inputs) is not None:
            save(runs[first.run].feeds, path, options.load_inputs)
            detail, reproduce = f"{detail}; its inputs are in {path}", again(options.command, path)
        return Comparison(
            Check(name="numeric", verdict="fail", detail=detail), shown, runs[0].setting, reproduce=reproduce
        )
    if "pass" not in verdicts:
        check = Check(name="numeric", verdict="inconclusive", detail=why or "there is no output")
    else:
        check = Check(name="numeric", verdict="pass", detail=f"{said}; {why}" if why else said)
    return Comparison(check, shown, runs[0].setting)


def observe(original: ModelFile, names: Sequence[str], shapes: feeds.Shapes) -> dict[str, Kind]:
    """Types and shapes of some values, as a run shows them; empty where the original does not run."""
    try:
        session = Session(original, names)
        with room_for_feeds():
            given = feeds.feeds(original.model, shapes, seed=0, index=0, ones=False)
        found = session.run(given, names)
    except RefusedError:
        return {}
    seen = zip(names, found, strict=True)
    return {name: (int(helper.np_dtype_to_tensor_dtype(v.dtype)), v.shape) for name, v in seen if _is_tensor(v)}


def _is_tensor(value: object) -> bool:
    return isinstance(value, np.ndarray) and value.dtype.kind not in "SUO"
