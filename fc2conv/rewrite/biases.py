"""What an Add adds to each channel that a convolution gives, as the bias of that convolution.

y = Add (Reshape (MatMul (x, w)), b)   ->   y = Conv (x, w, b), as the Reshape has no node on spatial forms
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence

from onnx import NodeProto

from fc2conv.ir.graph import op, reads
from fc2conv.rewrite.pool import State
from fc2conv.rewrite.tensors import Tensors


def with_biases(
    nodes: Sequence[NodeProto], kernels: Mapping[str, Sequence[int]], leaving: Collection[str], tensors: Tensors
) -> list[NodeProto]:
    """Turn constants that are added to the results of convolutions without a bias into their biases.

    `kernels` are the shapes of the kernels of these convolutions, by their results. A result that is `leaving` the
    scope, or has another reader, stays as it is.
    """
    added_to = {name for node in nodes if kernels and op(node) == "Add" for name in node.input[:] if name in kernels}
    if not added_to:
        return [*nodes]
    readers = Counter(name for name in reads(nodes) if name in added_to)
    alone = {name for name in added_to if readers[name] == 1 and name not in leaving}
    makers = {name: node for node in nodes if (name := node.output[0]) in alone}
    out: list[NodeProto] = []
    for node in nodes:
        added = next((name for name in node.input if name in makers), "") if op(node) == "Add" else ""
        bias = _bias(node, added, kernels[added], tensors) if added else None
        if bias is None:
            out.append(node)
        else:
            makers[added].input.append(bias)
            makers[added].output[0] = node.output[0]
    return out


def _bias(node: NodeProto, added: str, kernel: Sequence[int], tensors: Tensors) -> str | None:
    """Return what is added to each channel, as a vector; None where it is no constant of one number for each."""
    (other,) = (name for name in node.input if name != added)
    tensor, new = tensors.tensor(other), tensors.state(other) is State.NEW
    if tensor is None or not (new or tensors.constants.is_constant(other)):
        return None
    channels = (1, kernel[0], *(1 for _ in kernel[2:]))
    spread = (*(1 for _ in channels[len(tensor.dims) :]), *tensor.dims)
    return tensors.reshaped(tensor, kernel[:1]) if spread == channels else None
