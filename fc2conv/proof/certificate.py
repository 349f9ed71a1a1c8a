"""The certificate: the converted model holds the layers' weights at the places that the original's graph says.

Both models are walked once, in the order of their nodes. Every tensor gets a Value (see `values`), and every element
an id (see `ids`). At a converted layer the two sides are held against each other (see `layers`): each window of the
convolution must hold the elements of a row of the layer, in one order for all of them, and the kernel must hold the
weight in that order, bit for bit. From there on the two results have ids in common, so that layers further on,
boundaries, and graph outputs are compared in the same way: a value that bears one name in both models must hold the
same elements. It shares no code with the algebra or the rewriter, and does not know what they decided.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from onnx import TensorProto

from fc2conv.onnxfile import ModelFile
from fc2conv.proof import affine, convs, ids, proof, quantized, rules
from fc2conv.proof.affine import Affine
from fc2conv.proof.evaluation import Evaluation
from fc2conv.proof.ids import Ids
from fc2conv.proof.layers import Layer
from fc2conv.proof.nodes import Call, Kind, graphs
from fc2conv.proof.proof import ContradictionError, Site
from fc2conv.proof.sites import SitePair, at_convolutions, summands
from fc2conv.proof.trace import Place, Scope, Special, Trace
from fc2conv.proof.values import UnmodelledError, Value, fitting
from fc2conv.report.types import Check

Known = Mapping[str, Mapping[str, Value]]
"""Values by scope and name."""


@dataclass
class Certificate:
    """One proof.

    `strict` says that equal names mean equal values in both models, and not for graph outputs only. After `check`,
    `unshaped` names values of the original whose shape was not known, and which `observed` may tell another time.
    """

    original: ModelFile
    converted: ModelFile
    pairs: Sequence[SitePair]
    shapes: Mapping[str, tuple[int, ...]]
    identical: Callable[[Place, TensorProto], bool]
    strict: bool = True
    observed: Mapping[str, Kind] = field(default_factory=dict)
    evaluation: Evaluation = field(default_factory=Evaluation)
    unshaped: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    _located: list[SitePair] = field(default_factory=list)
    _sites: dict[tuple[str, int], Site] = field(default_factory=dict)

    def check(self) -> Check:
        """Walks both models and tells what was proved."""
        self._located = at_convolutions(self.converted.model, self.pairs)
        old = self._trace_original()
        new = self._trace_converted(old)
        made = {path: {o for n in graph.node for o in n.output} for path, graph in graphs(self.converted.model)}
        for pair in self._located:
            if not self.wrong and pair.conv_output not in made.get(pair.scope, ()):
                self.wrong.append(f"{pair.node}: the converted model has no value {pair.conv_output}")
        outputs = [o.name for o in self.original.model.graph.output]
        return self._told(sum(_equal(old[""].get(name), new[""].get(name)) for name in outputs), len(outputs))

    @property
    def sites(self) -> list[Site]:
        """The layers, once checked."""
        return list(self._sites.values())

    def _told(self, held: int, outputs: int) -> Check:
        seen = {
            index: [s.proved for (_, i), s in self._sites.items() if i == index] for index in range(len(self.pairs))
        }
        proved = sum(bool(sites) and all(sites) for sites in seen.values())
        if self.wrong:
            return Check(name="certificate", verdict="fail", detail=_first(self.wrong))
        if self.unknown or held < outputs or proved < len(seen):
            count = f"{proved} of {len(seen)} layers and {held} of {outputs} outputs are proved"
            return Check(name="certificate", verdict="inconclusive", detail=f"{count}; {_first(self.unknown)}")
        return Check(
            name="certificate",
            verdict="pass",
            detail=f"{proved} layers hold their weights bit for bit, and {held} outputs the same elements",
        )

    def _site(self, index: int, scope: Scope) -> Site:
        """One pair in one scope: a function's layer is one for each call."""
        key = scope.path, index
        if key not in self._sites:
            self._sites[key] = Site(self._located[index], ids.salt("layer", *key))
        return self._sites[key]

    def _trace_original(self) -> Known:
        special: dict[Place, Special] = {}
        for index, pair in enumerate(self._located):
            special[pair.scope, pair.fc_output] = _bound(self._layer, index)
            if pair.output != pair.fc_output:
                special[pair.scope, pair.output] = _bound(self._fused, index)
        trace = Trace(self.original, special, lambda _, value: value, {}, lambda *_: True, self.observed)
        trace.run(self.shapes)
        self.unshaped = trace.unshaped
        return _values(trace)

    def _trace_converted(self, old: Known) -> Known:
        special = {(p.scope, p.conv_output): _bound(self._conv, i) for i, p in enumerate(self._located)}
        shared = {value.key: value for values in old.values() for value in values.values()}
        settle = _Settle(self, old, shared, frozenset(o.name for o in self.original.model.graph.output))
        trace = Trace(self.converted, special, settle, shared, self.identical)
        trace.run(self.shapes)
        return _values(trace)

    def _layer(self, index: int, scope: Scope, call: Call, value: Value) -> Value:
        """The original's layer. Where constants after it are fused, its own result is another function than theirs."""
        site = self._site(index, scope)
        try:
            with fitting(call.label):
                kind = quantized.LAYERS.get(call.op)
                if kind is None:
                    raise UnmodelledError(f"{call.label} (a {call.op})")
                layer = kind(call, site.key)
                own = affine.own(layer)
        except UnmodelledError as error:
            site.trouble = str(error)
            return value
        site.layer, site.affine = layer, own
        alone = site.layer if site.pair.output == site.pair.fc_output else replace(site.layer, key=_alone(site, own))
        return _result(value, alone, own)

    def _fused(self, index: int, scope: Scope, call: Call, value: Value) -> Value:
        """The original's layer up to the last constant that is fused with it."""
        site = self._site(index, scope)
        if site.layer is None:
            return value
        try:
            with fitting(call.label):
                site.affine = affine.fused(scope, site.layer, site.pair.fc_output, call.node)
        except UnmodelledError as error:
            site.trouble = str(error)
            return value
        return _result(value, site.layer, site.affine)

    def _conv(self, index: int, scope: Scope, call: Call, value: Value) -> Value:
        """The converted model's side: proved, refuted, or in doubt."""
        site = self._site(index, scope)
        nodes = summands(scope.producer, site.pair.conv_output)
        calls = tuple(scope.call(node) for node in nodes) if call.node.op_type == "Add" else (call,)
        try:
            with fitting(call.label):
                order = proof.order(site, calls, self.evaluation, self.strict)
            site.calls, site.order = calls, order
        except ContradictionError as error:
            self.wrong.append(f"{site.pair.node}: {error}")
            return replace(value, doubt=value.doubt or call.label)
        except UnmodelledError as error:
            self.unknown.append(f"{site.pair.node} cannot be followed because of {error}")
            return replace(value, doubt=value.doubt or call.label)
        return self._convolved(site, value)

    @staticmethod
    def _convolved(site: Site, value: Value) -> Value:
        """The value of a convolution, or of a sum of some, that was proved to be a layer."""
        layer, calls, order = site.layer, site.calls, site.order
        assert layer is not None
        assert order is not None
        rank = len(convs.kernel(calls[0]).shape or ())
        scaled = convs.parameters(calls[0])
        biases = [bias for call in calls if (bias := convs.bias(call)) is not None]
        maps = [call.data(0) for call in calls]
        operands = scaled.parts if scaled is not None else tuple(biases)

        def rule(made: Sequence[Ids]) -> Ids:
            seen, rest = convs.seen(calls, made[: len(maps)]), made[len(maps) :]
            products = layer.products(seen.rows, order)
            if scaled is not None:
                return seen.place(scaled.result(products, rest))
            out = seen.place(products)
            for bias in rest:
                out = rules.arithmetic("Add", out, bias.reshape([1, -1] + [1] * (rank - 2)))
            return out

        doubt = next((each.doubt for each in operands if each.doubt), "")
        signature = _signed(value, layer)
        return replace(value, signature=signature, parts=(*maps, *operands), rule=rule, read=None, doubt=doubt)


@dataclass
class _Settle:
    """Holds each value of the converted model against the original's of the same name."""

    certificate: Certificate
    known: Known
    shared: Mapping[np.uint64, Value]
    outputs: frozenset[str]

    def __call__(self, place: Place, value: Value) -> Value:
        path, name = place
        if self.shared.get(value.key) is value:
            value.common = True
        known = self.known.get(path, {}).get(name)
        if known is None or known is value:
            return value if value.common else self._new(value)
        told = self.certificate.strict or (path == "" and name in self.outputs)
        if known.is_constant and value.is_constant and name not in self.outputs:
            return value  # one that only changed nodes read may have other dimensions; its ids are by value
        evaluation, what = self.certificate.evaluation, ""
        try:
            if evaluation.same(known, value):
                known.common = True
                return known
            doubt = value.doubt or known.doubt or _foreign(known, value)
            if not doubt:
                what = f"{name}, made by {value.node}, is not what it was: {evaluation.difference(known, value)}"
        except UnmodelledError as error:
            doubt = value.doubt or str(error)
        if what and told:
            self.certificate.wrong.append(what)
            return known if known.shape == value.shape else replace(value, doubt=known.node)  # one fault is told once
        if told:
            self.certificate.unknown.append(f"{name} cannot be followed because of {doubt}")
        return replace(value, doubt=doubt)

    @staticmethod
    def _new(value: Value) -> Value:
        """A value that only the converted model has; an opaque one might mean anything."""
        if value.rule is None and value.read is None and value.inputs and not value.doubt:
            return replace(value, doubt=value.node)
        return value


def _equal(one: Value | None, other: Value | None) -> bool:
    """Whether two values were found to be one; the original's then stands for both."""
    return one is not None and other is not None and one.key == other.key


def _foreign(known: Value, value: Value) -> str:
    """The node in doubt where one of two unlike values is opaque, and not made by the other's op."""
    opaque = next((v for v in (value, known) if v.rule is None and v.read is None), None)
    return "" if opaque is None or known.signature == value.signature else opaque.node


def _bound(method: Callable[[int, Scope, Call, Value], Value], index: int) -> Special:
    return lambda scope, call, value: method(index, scope, call, value)


def _values(trace: Trace) -> Known:
    return {path: scope.values for path, scope in trace.scopes.items()}


def _signed(value: Value, layer: Layer) -> np.uint64:
    """The signature of a value that is a layer's: two layers on one input are not alike."""
    return ids.salt(int(value.signature), int(layer.key))


def _alone(site: Site, own: Affine) -> np.uint64:
    return ids.salt("alone", int(site.key), own.scale.tobytes())


def _result(value: Value, layer: Layer, what: Affine) -> Value:
    """The value of an FC layer, with ids."""
    scaled, kind = layer.parameters, value.elem_type or layer.elem_type
    live = layer.addend if layer.addend is not None and what.bias is None and layer.beta != 0 else None
    operands = () if scaled is None else scaled.parts
    parts = (layer.source, *operands, *layer.operands, *(() if live is None else (live,)))

    def rule(made: Sequence[Ids]) -> Ids:
        products = layer.products(layer.rows(made[0]))
        rest = made[1 + len(operands) :]
        if scaled is not None:
            products = scaled.result(products, made[1 : 1 + len(operands)])
        products = layer.finish(products, rest[: len(layer.operands)])
        return layer.activate(affine.with_bias(layer, what, products, None if live is None else rest[-1]))

    shape = layer.shape if value.shape is None else value.shape
    # A layer of what depends on shapes alone has known numbers, which its convolution may round in another way.
    signature = _signed(value, layer)
    return replace(value, signature=signature, shape=shape, elem_type=kind, parts=parts, rule=rule, read=None)


def _first(findings: Sequence[str]) -> str:
    more = len(findings) - 1
    return (findings[0] if findings else "") + (f" (and {more} more)" if more > 0 else "")
