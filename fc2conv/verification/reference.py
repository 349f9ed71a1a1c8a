"""Evaluation of a node on numbers, as runtimes compute it: by onnx's reference evaluator, or by onnxruntime."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import deepcopy
from functools import cache
from typing import Any

import numpy as np
from onnx import NodeProto, ValueInfoProto, helper
from onnx.reference import ReferenceEvaluator

from fc2conv.io.alone import REFUSALS, run_alone
from fc2conv.io.custom_ops import ONNX_DOMAINS
from fc2conv.sandbox import note
from fc2conv.verification.nodes import Array, integer, label

Feeds = Sequence[Array | None]

_NEWER = {"QuantizeLinear": 19, "DequantizeLinear": 19}
"""Ops that the reference evaluator has from some opset on only; what they meant before is a part of that."""

_FAULTS = (RuntimeError, ValueError, TypeError, IndexError, KeyError, AttributeError, ArithmeticError, AssertionError)
"""What onnx's reference evaluator raises for a node that it cannot run; it documents no exceptions."""


class UnmodelledError(Exception):
    """A node cannot be evaluated; the message names it."""


def _has(node: NodeProto, name: str, value: bytes) -> bool:
    return any(a.name == name and a.s == value for a in node.attribute)


def _first(feeds: Feeds) -> Array:
    return np.asarray(feeds[0])


def _flattens(node: NodeProto, opset: int, feeds: Feeds) -> bool:
    """Return whether a group is all that is behind an axis, and more than the last dimension."""
    rank = _first(feeds).ndim
    return opset < _ONE_AXIS and integer(node, "axis", 1) % max(rank, 1) != rank - 1


def _begins_before(_node: NodeProto, _opset: int, feeds: Feeds) -> bool:
    """Return whether a Slice goes backwards from a place before the first."""
    starts, steps = feeds[1], feeds[4] if len(feeds) > 4 else None
    return steps is not None and bool((steps < 0).any() and (starts < -min(_first(feeds).shape)).any())


def _overflows(node: NodeProto, _opset: int, feeds: Feeds) -> bool:
    """Return whether integers are beyond their type, or those of float64, on the way, or a mean is that of nothing."""
    x = _first(feeds)
    if x.dtype.kind not in "iu" or not x.size:
        return node.op_type == "ReduceMean" and not x.size
    sizes = np.abs(x.astype(np.float64))
    if node.op_type == "Pow":
        most = np.max(sizes ** np.asarray(feeds[1]))
    elif node.op_type == "ReduceProd":
        most = np.maximum(sizes, 1).prod()
    else:
        most = (sizes**2 if node.op_type in ("ReduceSumSquare", "ReduceL2") else sizes).sum()
    return bool(most > min(np.iinfo(x.dtype).max, 1 << 53))


_ONE_AXIS, _SAYS_TRAINING, _MASKS_ALL = 13, 14, 12
"""Opsets: from which Softmax has one axis, BatchNormalization says that it trains, masks of Dropout are true."""
_REDUCTIONS = "ReduceSum ReduceMean ReduceProd ReduceL1 ReduceL2 ReduceSumSquare ReduceLogSum ReduceLogSumExp"
_OTHERWISE: dict[str, Callable[[NodeProto, int, Feeds], object]] = {
    **dict.fromkeys(("Softmax", "LogSoftmax", "Hardmax"), _flattens),
    **dict.fromkeys(("Pow", *_REDUCTIONS.split()), _overflows),
    "Slice": _begins_before,
    "NonZero": lambda _node, _opset, feeds: _first(feeds).ndim == 0,
    "MaxPool": lambda node, _opset, _feeds: _has(node, "auto_pad", b"SAME_LOWER"),
    "LpNormalization": lambda node, _opset, _feeds: integer(node, "p", 2) == 1,
    "Resize": lambda _node, _opset, _feeds: True,
    "LRN": lambda _node, _opset, _feeds: True,
    "BatchNormalization": lambda _node, opset, _feeds: opset < _SAYS_TRAINING,
    "Dropout": lambda node, opset, _feeds: opset < _MASKS_ALL and any(node.output[1:]),
    "DynamicQuantizeLinear": lambda _node, _opset, feeds: not _first(feeds).any(),
}
"""Where the reference evaluator computes something else than runtimes do (onnx 1.23, onnxruntime 1.32)."""
_UNSURE: dict[str, Callable[[NodeProto, int], object]] = {
    **dict.fromkeys(("TopK", "Unique"), lambda node, _opset: not integer(node, "sorted", 1)),
    "BatchNormalization": lambda node, opset: opset < _SAYS_TRAINING and any(node.output[1:]),
}
"""Where each runtime computes something else."""


def evaluate(node: NodeProto, opset: int, feeds: Feeds) -> list[Array]:
    """Run one node with onnx's reference evaluator, or with onnxruntime; raise UnmodelledError where these cannot."""
    if node.domain not in ONNX_DOMAINS:
        raise UnmodelledError(f"{label(node)} (domain {node.domain})")
    if node.op_type in _UNSURE and _UNSURE[node.op_type](node, opset):
        raise UnmodelledError(f"{label(node)} (each runtime computes something else)")
    try:
        with np.errstate(all="ignore"):  # what is not finite here is not in the model either
            if node.op_type in _OTHERWISE and _OTHERWISE[node.op_type](node, opset, feeds):
                return _by_onnxruntime(node, opset, feeds)
            made = _by_reference(node, opset, feeds)
    except (*_FAULTS, MemoryError) as error:
        raise UnmodelledError(f"{label(node)} ({error})") from error
    if any(isinstance(each, list) for each in made):
        raise UnmodelledError(f"{label(node)} (a sequence)")
    results = iter(made)
    return [np.asarray(next(results)) if name else np.zeros(0) for name in node.output]


def _by_reference(node: NodeProto, opset: int, feeds: Feeds) -> list[Any]:
    copy = deepcopy(node)
    copy.input[:] = ["" if feed is None else f"in{i}" for i, feed in enumerate(feeds)]
    inputs = [ValueInfoProto(name=name) for name in copy.input if name]
    outputs = [ValueInfoProto(name=name) for name in node.output if name]
    imports = [helper.make_opsetid(node.domain, max(opset, _NEWER.get(node.op_type, 0)))]
    model = helper.make_model(helper.make_graph([copy], "node", inputs, outputs), opset_imports=imports)
    note("onnx.reference", label(node))
    given = {name: feed for name, feed in zip(copy.input, feeds, strict=True) if feed is not None}
    return list(ReferenceEvaluator(model).run(None, given))


def _by_onnxruntime(node: NodeProto, opset: int, feeds: Feeds) -> list[Array]:
    try:
        return [np.zeros(0) if each is None else each for each in run_alone(node, {node.domain: opset}, feeds)]
    except REFUSALS as error:
        raise UnmodelledError(f"{label(node)} ({error})") from error


@cache
def prepare() -> None:
    """Make onnx.reference and numpy load what they load at first use, so that children of this process have it."""
    evaluate(helper.make_node("Identity", ["x"], ["y"]), 13, [np.unique(np.zeros(1))])
