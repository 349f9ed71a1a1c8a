"""Models in the making: parts of two models, and the nodes that are written between them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import field, replace
from functools import cached_property
from math import prod
from typing import Any

import numpy as np
from onnx import GraphProto, NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

from fc2conv.dataclass import dataclass
from fc2conv.io.custom_ops import ONNX_DOMAINS
from fc2conv.io.reader import ModelFile
from fc2conv.io.tensors import TOKEN, payload_key, set_payload, tensors
from fc2conv.verification.feeds import inputs
from fc2conv.verification.nodes import captured, in_order, needed, rename
from fc2conv.verification.spec import CamClaim, Claims, Layout

Shape = tuple[int, ...]
Bounds = tuple[int, int, int]
"""From, to, and by which step."""
SPACE = 2
_SIZES = ("Shape", "Size")
_POOLS = {"mean": "GlobalAveragePool", "max": "GlobalMaxPool"}
_SLICE = 10
"""The opset from which bounds are operands."""


@dataclass
class Draft:
    """A model made of nodes of `base`, which keep their names, and of copies of nodes of `source`.

    Its inputs are those of `base`, at the sizes of `images`; the batch stays as declared.
    """

    base: ModelFile
    source: ModelFile
    images: Mapping[str, Shape]
    nodes: list[NodeProto] = field(default_factory=list)
    outputs: list[str] = field(default_factory=list)
    weights: dict[str, TensorProto] = field(default_factory=dict)
    there: set[str] = field(default_factory=set)
    made: int = 0

    # ------------------------------------------------------------------ parts of models

    def keep(self, names: Sequence[str]) -> None:
        """Add the nodes and weights of some values of the base; call this before anything is copied."""
        for name in names:
            nodes, weights = _part(self.base, name, self.there)
            self.nodes += nodes
            self.there.update(each for node in nodes for each in node.output)
            self.weights.update(weights)

    def others(self, name: str, given: Sequence[str]) -> tuple[list[str], list[str]]:
        """Return the other inputs whose sizes a value of the source is computed from, and those that it reads."""
        asked, read = set[str](), {name}
        for node in reversed(_part(self.source, name, given)[0]):
            to = asked if node.op_type in _SIZES or read.isdisjoint(node.output) else read
            to.update(filter(None, (*node.input, *captured(node))))
        rest = [value.name for value in inputs(self.source.model) if value.name not in given]
        return [each for each in rest if each in asked], [each for each in rest if each in read]

    def copied(self, name: str, given: Mapping[str, str], prefix: str) -> str:
        """Copy the nodes that compute a value of the source from values that are given; return the copy's name."""
        nodes, weights = _part(self.source, name, given)
        names = {**given, **{each: self._weight(each, tensor) for each, tensor in weights.items()}}
        copies = [deepcopy(node) for node in nodes]
        for node in copies:
            rename(node, names, prefix)
            if not self.there.issuperset(filter(None, node.output)):  # another value may be computed with it
                self.nodes.append(node)
                self.there.update(node.output)
        return names.get(name, f"{prefix}{name}")

    def _weight(self, name: str, tensor: TensorProto) -> str:
        """Add a weight of the source, by another name where the base has something else by that name."""
        while name in self.there or self.weights.get(name, tensor) != tensor:
            name = f"{self._mark}/{name}"
        self.weights[name] = tensor
        return name

    # ------------------------------------------------------------------ nodes between

    def fresh(self) -> str:
        """Return a new prefix, with which no name of the two models begins."""
        self.made += 1
        return f"{self._mark}{self.made}/"

    @cached_property
    def _mark(self) -> str:
        graphs = [file.model.graph for file in (self.base, self.source)]
        names = {name for graph in graphs for node in graph.node for name in node.output}
        names |= {tensor.name for graph in graphs for tensor in graph.initializer}
        mark = "cell"
        while any(name.startswith(mark) for name in names):
            mark += "_"
        return mark

    def add(self, op_type: str, operands: Sequence[str], **attributes: Any) -> str:
        """Add a node of ONNX's own; return the name of its result."""
        name = f"{self.fresh()}{op_type}"
        self.nodes.append(helper.make_node(op_type, operands, [name], name, **attributes))
        return name

    def constant(self, values: Any) -> str:
        """Add a constant."""
        return self.add("Constant", [], value=numpy_helper.from_array(np.asarray(values)))

    def give(self, output: str, value: str) -> None:
        """Make a value an output, by another name."""
        self.nodes.append(helper.make_node("Identity", [value], [output], output))
        self.outputs.append(output)

    def sliced(self, value: str, bounds: Mapping[int, Bounds]) -> str:
        """Cut a value along each dimension that is listed; return the name of the result."""
        if not bounds:
            return value
        starts, ends, steps = (list(each) for each in zip(*bounds.values(), strict=True))
        if self._opset < _SLICE:
            value = self.add("Slice", [value], starts=starts, ends=ends, axes=list(bounds))
            for dim, (start, end, step) in bounds.items():
                if step > 1:  # which a Slice does not have there
                    at = self.constant(list(range(0, end - start, step)))
                    value = self.add("Gather", [value, at], axis=dim)
            return value
        return self.add("Slice", [value, *map(self.constant, (starts, ends, list(bounds), steps))])

    def as_map(self, value: str, layout: Layout, sizes: Shape, parts: Shape = ()) -> str:
        """Bring a value of the original to the order [N, C, *S] of its map; the size of the batch is left open (-1).

        Axes of one cell need not be in the layout, as the channels of a sound [N, L] are not. The channels may be in
        several `parts`.
        """
        axes, channels = [axis for dim in layout for axis in dim], iter(parts or sizes[1:])
        split = self._reshaped(value, [-1 if i == 0 else next(channels) if i == 1 else sizes[i] for i in axes])
        moved = self.transposed(split, [int(i) for i in np.argsort(axes, kind="stable")])
        if sorted(axes) == list(range(len(sizes))):
            return moved
        return self._reshaped(moved, [(-1 if axis == 0 else n) if axis in axes else 1 for axis, n in enumerate(sizes)])

    def as_value(self, cells: str, layout: Layout, sizes: Shape) -> str:
        """Bring a map [N, C, *S] to the form that it has in the original."""
        if layout == tuple((axis,) for axis in range(len(sizes))):
            return cells
        axes = [axis for dim in layout for axis in dim]
        moved = self.transposed(cells, [*axes, *(axis for axis in range(len(sizes)) if axis not in axes)])
        return self._reshaped(moved, [-1 if 0 in dim else prod(sizes[axis] for axis in dim) for dim in layout])

    def joined(self, grid: Mapping[tuple[int, ...], str], axes: Sequence[int]) -> str:
        """Join cells to a map, along one axis after the other."""
        for axis in reversed(axes):
            rows: dict[tuple[int, ...], list[str]] = {}
            for place, value in grid.items():
                rows.setdefault(place[:-1], []).append(value)
            grid = {key: self.add("Concat", row, axis=axis) for key, row in rows.items()}
        return grid[()]

    @cached_property
    def _opset(self) -> int:
        return max((o.version for o in self.base.model.opset_import if o.domain in ONNX_DOMAINS), default=1)

    def _reshaped(self, value: str, target: Sequence[int]) -> str:
        return self.add("Reshape", [value, self.constant(target)])

    def transposed(self, value: str, perm: Sequence[int]) -> str:
        """Permute the axes of a value."""
        return value if list(perm) == sorted(perm) else self.add("Transpose", [value], perm=list(perm))

    # ------------------------------------------------------------------ the model

    def finished(self) -> ModelFile:
        """Return the model as a file in memory, with only what its outputs need; its weights stay where they are."""
        wanted = needed(GraphProto(node=self.nodes), self.outputs)
        model = deepcopy(self.base.model)
        model.ir_version = max(4, model.ir_version)  # before that weights are inputs
        for name in ("functions", "opset_import"):
            there = getattr(model, name)
            known = {_key(each) for each in there}
            there.extend(each for each in getattr(self.source.model, name) if _key(each) not in known)
        given = [deepcopy(value) for value in inputs(self.base.model)]
        for value in given:
            dims = value.type.tensor_type.shape.dim
            for dim, size in list(zip(dims, self.images.get(value.name, ()), strict=False))[1:]:
                dim.dim_value = size
        for name in ("node", "input", "output", "value_info", "initializer", "sparse_initializer"):
            model.graph.ClearField(name)
        model.graph.node.extend(node for node in self.nodes if wanted.intersection(node.output))
        model.graph.input.extend(given)
        model.graph.output.extend(ValueInfoProto(name=name) for name in self.outputs)
        for name, tensor in self.weights.items():
            if name in wanted:
                model.graph.initializer.append(tensor)
                model.graph.initializer[-1].name = name
        return replace(self.base, model=model, payloads={**self.source.payloads, **self.base.payloads})


def drafts(
    base: ModelFile, there: ModelFile, images: Mapping[str, Shape], more: Sequence[str] = ()
) -> tuple[Draft, Draft]:
    """Return a draft for the expected model, with nodes of `base`, and one that has the whole of `there`."""
    found = Draft(there, there, images)
    found.keep([*(value.name for value in there.model.graph.output), *more])
    return Draft(there, _keyed_apart(base, there), images), found


def beside(wanted: Draft, found: Draft, claims: Claims) -> None:
    """Add the answers for the whole image, and the means of class activation maps, which are scores."""
    wanted.keep([source for _, source, _ in claims.pooled] + [cam.output for cam in claims.cams])
    for output, source, kind in claims.pooled:
        pooled = wanted.add(_POOLS[kind], [source])
        wanted.give(f"{output} (whole image)", wanted.add("Flatten", [pooled], axis=1))
        found.give(f"{output} (whole image)", output)
    for cam in claims.cams:
        scores = _pooled(wanted, cam)
        if cam.then == "Sigmoid":
            scores = wanted.add(cam.then, [scores])
        elif cam.then and not cam.kernel:
            scores = wanted.add(cam.then, [scores], axis=1)
        elif cam.then:  # with the channels last, as before opset 13 it flattens what is behind its axis
            rank = SPACE + len(cam.kernel)
            turned = wanted.transposed(scores, [0, *range(SPACE, rank), 1])
            scores = wanted.add(cam.then, [turned], axis=rank - 1)
            scores = wanted.transposed(scores, [0, rank - 1, *range(1, rank - 1)])
        wanted.give(f"{cam.output} (mean)", scores)
        found.give(f"{cam.output} (mean)", cam.scores)


def _pooled(draft: Draft, cam: CamClaim) -> str:
    """Add the pooling of a class activation map: factors times the mean and times the maximum of each window."""
    parts = []
    for kind, factor in (("Average", cam.mean), ("Max", cam.maximum)):
        if factor:
            windows = {"kernel_shape": list(cam.kernel), "strides": list(cam.strides)} if cam.kernel else {}
            pooled = draft.add(f"{kind}Pool" if cam.kernel else f"Global{kind}Pool", [cam.output], **windows)
            parts.append(pooled if factor == 1.0 else draft.add("Mul", [pooled, draft.constant(np.float32(factor))]))
    return parts[0] if len(parts) == 1 else draft.add("Add", parts)


def _keyed_apart(file: ModelFile, other: ModelFile) -> ModelFile:
    """Return a file whose payloads have other keys than those of another file, except payloads that both have."""
    model = deepcopy(file.model)
    payloads = dict(file.payloads)
    for tensor, _ in tensors(model):
        key = payload_key(tensor)
        if key is not None and key in other.payloads and other.payloads[key] != file.payloads[key]:
            own = f"{TOKEN}apart:{key.removeprefix(TOKEN)}"
            payloads[own] = file.payloads[key]
            set_payload(tensor, own)
    return replace(file, model=model, payloads=payloads)


def _part(file: ModelFile, name: str, given: Any) -> tuple[list[NodeProto], dict[str, TensorProto]]:
    """Return the nodes that compute a value from what is given, in order, and the weights that they read, by name."""
    graph = file.model.graph
    wanted = needed(graph, [name], given)
    read = {tensor.name: tensor for tensor in graph.initializer if tensor.name in wanted}
    return in_order([node for node in graph.node if wanted.intersection(node.output)]), read


def _key(each: Any) -> tuple[str, ...]:
    return each.domain, getattr(each, "name", ""), getattr(each, "overload", "")
