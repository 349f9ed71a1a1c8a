"""The whole model, original against converted, on seeded inputs in onnxruntime."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import numpy as np
from onnx import helper

from fc2conv.onnxfile import ModelFile
from fc2conv.options import VerifyOptions
from fc2conv.proof import feeds
from fc2conv.proof.compare import Pairing
from fc2conv.proof.feeds import Setting
from fc2conv.proof.nodes import Kind
from fc2conv.proof.runtime import RefusedError, Session, quantized
from fc2conv.report.types import Check, OutputDifference

_OTHER_BATCH = 3
_LARGE = 1 << 24  # elements of an input that is tried as a guess
_FLATTENING = ("Softmax", "LogSoftmax", "Hardmax")


@dataclass(frozen=True)
class Run:
    """One run of the original: what went in and what came out."""

    setting: Setting
    feeds: feeds.Feeds
    outputs: list[Any]


@dataclass(frozen=True)
class Comparison:
    """The rung, the outputs, and the setting under which the original ran (None: it never did)."""

    check: Check
    outputs: list[OutputDifference]
    setting: Setting | None


def compare_models(original: ModelFile, converted: ModelFile, options: VerifyOptions) -> Comparison:
    """Passes iff at least one output was compared and all those agree, in shape, in NaN and infinity, and in numbers.

    Every output must stay within `atol + rtol * max|reference|`. Values before a Softmax or its kin are compared as
    well, where both models have them, as a Softmax hides differences. An original that does not run, or of
    which nothing can be compared, makes the rung inconclusive; a converted model that does not run fails it.
    """
    reason = feeds.unsupported(original.model)
    if reason:
        return _undecided(reason)
    extra = _before_softmax(original, converted)
    try:
        runs = _reference(Session(original, extra), original, options)
    except RefusedError as error:
        return _undecided(f"onnxruntime does not run the original: {error}")
    names = [v.name for v in original.model.graph.output] + extra
    try:
        session = Session(converted, extra)
        results = [session.run(run.feeds) for run in runs]
    except RefusedError as error:
        detail = f"onnxruntime runs the original, and not the converted model: {error}"
        return Comparison(Check(name="numeric", verdict="fail", detail=detail), [], runs[0].setting)
    pairings = [Pairing(name) for name in names]
    for run, found in zip(runs, results, strict=True):
        for pairing, one, other in zip(pairings, run.outputs, found, strict=True):
            pairing.add(one, other)
    return _judged(pairings, runs, options, quantized(original.model))


def _undecided(detail: str) -> Comparison:
    return Comparison(Check(name="numeric", verdict="inconclusive", detail=detail), [], None)


def _judged(pairings: Sequence[Pairing], runs: Sequence[Run], options: VerifyOptions, steps: bool) -> Comparison:
    results = [pairing.result(options, steps) for pairing in pairings]
    outputs = [difference for difference, _ in results]
    verdicts = [difference.verdict for difference in outputs]
    why = {verdict: next((w for d, w in results if d.verdict == verdict), "") for verdict in verdicts}
    batches = sorted({run.setting.batch for run in runs})
    said = f"{verdicts.count('pass')} of {len(verdicts)} values agree in {len(runs)} runs, batch {batches}"
    if "fail" in verdicts:
        check = Check(name="numeric", verdict="fail", detail=why["fail"])
    elif "pass" not in verdicts:
        check = Check(name="numeric", verdict="inconclusive", detail=why.get("inconclusive", "there is no output"))
    else:
        more = f"; {why['inconclusive']}" if "inconclusive" in verdicts else ""
        check = Check(name="numeric", verdict="pass", detail=said + more)
    return Comparison(check, outputs, runs[0].setting)


def _before_softmax(original: ModelFile, converted: ModelFile) -> list[str]:
    made = {name for node in converted.model.graph.node for name in node.output}
    outputs = {v.name for v in original.model.graph.output}
    old = {name for node in original.model.graph.node for name in node.output}
    found = [n.input[0] for n in original.model.graph.node if n.op_type in _FLATTENING and n.input]
    return [name for name in dict.fromkeys(found) if name in made and name in old and name not in outputs]


def _reference(session: Session, original: ModelFile, options: VerifyOptions) -> list[Run]:
    """Runs the original on the first setting that it takes, and on another batch where its batch is open."""
    setting, first = _first_run(session, original, options)
    runs = [first]
    runs += [_run(session, original, options, setting, i) for i in range(1, options.check_n)]
    if feeds.dynamic_batch(original.model, options.input_shapes):
        other = replace(setting, batch=_OTHER_BATCH)
        with suppress(RefusedError):  # a batch may be open in the declaration and fixed in the graph
            runs += [_run(session, original, options, other, options.check_n + i) for i in range(options.check_n)]
    return runs


def _first_run(session: Session, original: ModelFile, options: VerifyOptions) -> tuple[Setting, Run]:
    failure: RefusedError | None = None
    seen: set[tuple[object, ...]] = set()
    for setting in feeds.settings():
        shapes = feeds.shapes(original.model, setting, options.input_shapes)
        key = (tuple(sorted(shapes.items())), setting.ones)
        if key in seen or (seen and max(map(prod, shapes.values()), default=0) > _LARGE):
            continue
        seen.add(key)
        try:
            return setting, _run(session, original, options, setting, 0)
        except RefusedError as error:
            failure = failure or error
    raise failure or RefusedError("no input shapes to try")


def _run(session: Session, original: ModelFile, options: VerifyOptions, setting: Setting, index: int) -> Run:
    shapes = feeds.shapes(original.model, setting, options.input_shapes)
    made = feeds.feeds(original.model, shapes, options.seed, index, setting.ones)
    return Run(setting, made, session.run(made))


def observe(original: ModelFile, names: Sequence[str], shapes: feeds.Shapes) -> dict[str, Kind]:
    """Types and shapes of some values, as a run shows them; empty where the original does not run."""
    try:
        session = Session(original, names)
        found = session.run(feeds.feeds(original.model, shapes, seed=0, index=0, ones=False))
    except RefusedError:
        return {}
    seen = zip(session.names, found, strict=True)
    return {name: (int(helper.np_dtype_to_tensor_dtype(v.dtype)), v.shape) for name, v in seen if _is_tensor(v)}


def _is_tensor(value: object) -> bool:
    return isinstance(value, np.ndarray) and value.dtype.kind not in "SUO"
