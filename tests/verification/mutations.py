"""The mutation harness: right conversions of small networks, with weak weights too, and every fault in each of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import faults
import grouped
import numpy as np
import onnx
import sums
from cases import CASES, SCALED, model, originals
from convolved import at_convolutions, summands
from numpy.typing import NDArray
from onnx import ModelProto, helper
from subject import Subject
from test_verify_quantized import FORMS

from fc2conv.io.forms import materialize
from fc2conv.io.reader import model_file_from_proto
from fc2conv.options import Options, VerifyOptions
from fc2conv.report.types import Verification
from fc2conv.rewrite.model import rewrite_model
from fc2conv.verification.pair import verify_pair
from fc2conv.verification.sites import SitePair

FAULTS = {**faults.FAULTS, **sums.FAULTS, **grouped.FAULTS}
FIXTURES = Path(__file__).parent.parent.parent / "fixtures"
Fill = Callable[[tuple[int, ...], int], NDArray[Any]]


def _random(shape: tuple[int, ...], seed: int) -> NDArray[Any]:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def _tiny(shape: tuple[int, ...], seed: int) -> NDArray[Any]:
    return _random(shape, seed) * np.float32(1e-30)


def _equal(shape: tuple[int, ...], seed: int) -> NDArray[Any]:
    return np.full(shape, 0.02 * (seed + 1), np.float32)


def _symmetric(shape: tuple[int, ...], seed: int) -> NDArray[Any]:
    made = _random(shape, seed).reshape(shape[0], -1)
    return ((made + made[:, ::-1]) / 2).reshape(shape)


def _saturating(shape: tuple[int, ...], seed: int) -> NDArray[Any]:
    return _random(shape, seed) * np.float32(1e4)


SQUARE = """g (float[N,3,4,4] x) => (float[N,6] y) {
    f = Relu(x)
    flat = Flatten(f)
    [fc1] a = Gemm<transB=1>(flat, W, b)
    r = Relu(a)
    [fc2] c = Gemm<transB=1>(r, V, d)
    e = Tanh(c)
    [fc3] y = Gemm(e, U, h)
}"""
SHAPES: dict[str, tuple[int, ...]] = {"W": (6, 48), "b": (6,), "V": (6, 6), "d": (6,), "U": (6, 6), "h": (6,)}

WEIGHTS: dict[str, Fill] = {
    "random": _random, "tiny": _tiny, "equal": _equal, "symmetric": _symmetric, "saturating": _saturating
}  # fmt: skip


@dataclass(frozen=True)
class Network:
    """A network with one kind of weights, its right conversion, and the pairs that the rewriter tells."""

    name: str
    weights: str
    original: ModelProto
    converted: ModelProto
    pairs: tuple[SitePair, ...]

    def subject(self) -> Subject:
        """A copy to plant a fault in."""
        copy = ModelProto()
        copy.CopyFrom(self.converted)
        producers = {name: node for node in self.converted.graph.node for name in node.output if name}
        factors = {}
        layers = []
        for pair in at_convolutions(self.converted, self.pairs):
            node = next((n for n in self.original.graph.node if pair.fc_output in n.output), None)
            given = {a.name: helper.get_attribute_value(a) for a in node.attribute} if node is not None else {}
            convs = [] if pair.scope else [conv.output[0] for conv in summands(producers.get, pair.conv_output)]
            factors.update(dict.fromkeys(convs, (float(given.get("alpha", 1.0)), float(given.get("beta", 1.0)))))
            layers.append(convs)
        return Subject(
            copy, [conv for convs in layers for conv in convs], factors, [convs for convs in layers if len(convs) > 1]
        )

    def verify(self, other: ModelProto, told: bool = True) -> Verification:
        """The original against another model."""
        files = model_file_from_proto(self.original), model_file_from_proto(other)
        return verify_pair(*files, self.pairs if told else None, VerifyOptions())


@cache
def networks() -> tuple[Network, ...]:
    """All networks, converted by fc2conv itself: small ones with all kinds of weights, fixtures and quantized ones."""
    return tuple(_networks())


def _networks() -> Iterator[Network]:
    for case in (*CASES, SCALED, *sums.CASES, *grouped.CASES):
        for weights, fill in WEIGHTS.items():
            yield _converted(case.name, weights, model(case.original, originals(case, fill)))
    square = {name: _random(shape, i) for i, (name, shape) in enumerate(SHAPES.items())}
    yield _converted("square", "random", model(SQUARE, square))
    yield _converted("square", "dead", model(SQUARE, square | {"b": np.full(6, -1e6, np.float32)}))
    for form in FORMS:
        yield _converted(form.name, "random", model(form.original, form.weights))
    for path in sorted(FIXTURES.glob("*.onnx")):
        yield _converted(path.stem, "random", onnx.load(path))


def _converted(name: str, weights: str, original: ModelProto) -> Network:
    _, made = rewrite_model(model_file_from_proto(original), Options(scope="all"))
    assert made is not None, name
    pairs = tuple(
        SitePair(each.node, each.fc_output, each.output, each.conv_output, scope)
        for scope, layers in made.converted.items()
        for each in layers
    )
    return Network(name, weights, original, materialize(made.model, made.payloads), pairs)


@dataclass(frozen=True)
class Finding:
    """What became of one fault in one network."""

    fault: str
    network: Network
    result: Verification

    @property
    def rungs(self) -> Mapping[str, str]:
        """The verdict of each check."""
        return {check.name: check.verdict for check in self.result.checks}

    @property
    def refused(self) -> bool:
        """Whether the fault is refused, and exact arithmetic does not call the two models one function."""
        return self.result.verdict in ("differs", "inconclusive") and self.rungs["exact"] != "proved"


def findings(fault: str, one_in: int = 1) -> Iterator[Finding]:
    """One fault in every network whose function it changes, or in one of so many, begun elsewhere for each fault."""
    start = 7 * list(FAULTS).index(fault) % len(networks())
    planted = 0
    for network in (*networks()[start:], *networks()[:start]):
        subject = network.subject()
        if _cancelled(fault, network) or not FAULTS[fault](subject):
            continue
        if planted % one_in == 0:
            yield Finding(fault, network, network.verify(subject.model))
        planted += 1


def _cancelled(fault: str, network: Network) -> bool:
    """Whether a Softmax cancels a fault: a bias that changes by the same number for all outputs."""
    softmax = any(node.op_type == "Softmax" for node in network.converted.graph.node)
    return softmax and network.weights == "equal" and fault in ("bias dropped", "bias doubled", "bias negated")
