"""What is a fully connected layer: Gemm or MatMul with a constant operand, as one type.

A site computes, for its contracted dimension k of x,  y[.., m, ..] = sum_k alpha * W[m, k] * x[.., k, ..] + bias[m].
Sources: ONNX operator specification, Gemm (1, 6, 7, 9, 11, 13) and MatMul (1, 9, 13).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from onnx import NodeProto

from fc2conv.constants import Constants
from fc2conv.graph import Graph, float_attribute, int_attribute, label, op
from fc2conv.reasons import Code, Reason

KINDS = {"Gemm": (0, 1), "MatMul": (0, 1)}
"""Operators that are fully connected layers, with the positions of their two factors."""

OTHER_KINDS = {
    "com.microsoft::FusedGemm": (0, 1),
    "com.microsoft::FusedMatMul": (0, 1),
    "com.microsoft::TransposeMatMul": (0, 1),
    "com.microsoft::QGemm": (0, 3),
    "com.microsoft::MatMulNBits": (0, 1),
    "com.microsoft::MatMulIntegerToFloat": (0, 1),
    "com.microsoft::DynamicQuantizeMatMul": (0, 1),
    "QLinearMatMul": (0, 3),
    "MatMulInteger": (0, 1),
}
"""Fused and quantized kin, which are named in the report and kept."""


@dataclass(frozen=True)
class Site:
    """One fully connected layer.

    `index` is the node's position, `x` its activation, `weight` its constant. `k` is the contracted dimension of x
    and `weight_k` that of the weight's matrix (its last two dimensions; 0 for a vector). The outputs' dimension of
    the result stands at `m` (None: a vector weight has none; negative positions count from the end). `absorbed` are the
    positions of nodes that became part of it. `bias` is one value per output (or one for all); `addend` anything
    else that Gemm adds. `output` is the value that the whole computes.
    """

    index: int
    node: NodeProto
    x: str
    weight: str
    k: int
    weight_k: int
    m: int | None
    output: str
    alpha: float = 1.0
    beta: float = 1.0
    bias: str | None = None
    addend: str | None = None
    absorbed: tuple[int, ...] = ()


def find_site(
    graph: Graph, constants: Constants, index: int, rank: Callable[[str], int | None]
) -> Site | Reason | None:
    """The layer that a node is; a Reason where it looks like one and is none; None for every other node."""
    node = graph.nodes[index]
    kind = op(node)
    if kind in OTHER_KINDS:
        return Reason(Code.KIND_NOT_SUPPORTED, label(node), kind)
    if kind not in KINDS:
        return None
    left, right = (constants.is_constant(node.input[i]) for i in KINDS[kind])
    if left and right:
        return Reason(Code.BOTH_CONSTANT, label(node))
    if not left and not right:
        open_ = next((node.input[i] for i in KINDS[kind] if constants.is_overridable(node.input[i])), None)
        if open_ is not None:
            return Reason(Code.WEIGHT_OVERRIDABLE, label(node), f"initializer {open_}")
        return Reason(Code.WEIGHT_NOT_CONSTANT, label(node))
    shape = constants.shape(node.input[0 if left else 1])
    if shape is None:
        return Reason(Code.WEIGHT_CHAIN, label(node))
    if any(size != 1 for size in shape[:-2]):
        return Reason(Code.WEIGHT_BATCHED, label(node), f"weight of shape {list(shape)}")
    if not shape or 0 in shape:
        return Reason(Code.WEIGHT_SHAPE, label(node), f"weight of shape {list(shape)}")
    site = _gemm(graph, constants, index, left) if kind == "Gemm" else _matmul(index, node, left, len(shape))
    return site if kind == "Gemm" else _with_add(graph, constants, site, rank(site.x))


def _gemm(graph: Graph, constants: Constants, index: int, left: bool) -> Site:
    node = graph.nodes[index]
    trans = [int_attribute(node, "transA", 0), int_attribute(node, "transB", 0)]
    w, x = (0, 1) if left else (1, 0)
    # op(A) is [N, K] and op(B) is [K, M]: A contracts its last dimension and B its first, unless transposed.
    contracted = [0 if trans[0] else 1, 1 if trans[1] else 0]
    c = node.input[2] if len(node.input) > 2 and node.input[2] else None
    beta = float_attribute(node, "beta", 1.0)
    if beta == 0.0:
        c = None
    site = Site(
        index=index,
        node=node,
        x=node.input[x],
        weight=node.input[w],
        k=contracted[x],
        weight_k=contracted[w],
        m=0 if left else -1,
        output=node.output[0],
        alpha=float_attribute(node, "alpha", 1.0),
        beta=beta,
    )
    if c is None:
        return site
    per_output = _per_output(constants, c, site.m, outputs(constants, site))
    return replace(site, bias=c) if per_output else replace(site, addend=c)


def _matmul(index: int, node: NodeProto, left: bool, rank: int) -> Site:
    vector = rank == 1
    return Site(
        index=index,
        node=node,
        x=node.input[1 if left else 0],
        weight=node.input[0 if left else 1],
        k=-2 if left else -1,
        weight_k=0 if vector else (1 if left else 0),
        m=None if vector else (-2 if left else -1),
        output=node.output[0],
    )


def outputs(constants: Constants, site: Site) -> int:
    """How many outputs M the layer has."""
    shape = constants.shape(site.weight)
    assert shape is not None
    return 1 if len(shape) == 1 else shape[-2:][1 - site.weight_k]


def _per_output(constants: Constants, name: str, m: int | None, count: int) -> bool:
    """Whether a constant that is added to the result differs only from output to output."""
    shape = constants.shape(name) if constants.is_constant(name) else None
    if shape is None:
        return False
    position = len(shape) + m if m is not None and m < 0 else (m if m is not None and len(shape) == 2 else -1)
    return all(size == 1 or (i == position and size == count) for i, size in enumerate(shape))


def _with_add(graph: Graph, constants: Constants, site: Site, rank: int | None) -> Site:
    """The layer with the Add of a per-output constant behind it, where nothing else reads the value between."""
    name = site.output
    readers = graph.uses.get(name, [])
    if len(readers) != 1 or name in graph.outputs or name in graph.captured:
        return site
    add = graph.nodes[readers[0]]
    if op(add) != "Add" or list(add.input).count(name) != 1 or graph.opset < 7:
        return site
    other = add.input[1] if add.input[0] == name else add.input[0]
    count = outputs(constants, site)
    if not _per_output(constants, other, site.m, count):
        return site
    shape = constants.shape(other)
    # An Add whose constant has the higher rank raises the rank of the result: that is not a bias.
    if shape is None or (len(shape) > 1 if rank is None else len(shape) > max(rank, 1)) or (site.m is None and shape):
        return site
    return replace(site, bias=other, output=add.output[0], absorbed=(readers[0],))
