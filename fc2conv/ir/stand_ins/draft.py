"""What a stand-in is made with, and the rules that serve many operators."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import field
from typing import Any

import numpy as np
from onnx import NodeProto, TensorProto, defs, helper, numpy_helper

from fc2conv.dataclass import dataclass
from fc2conv.io.sizes import given_attributes
from fc2conv.ir.graph import int_attribute, ints_attribute

Results = Sequence[str]
"""A value of the shape of each result of a node, "" where nothing is known of it."""


@dataclass
class Draft:
    """The nodes that replace one, while a rule makes them.

    `shapes` holds the dimensions of the constants that the node sees, `ranks` the ranks of the inputs of its graph.
    """

    node: NodeProto
    shapes: Mapping[str, Sequence[int]]
    ranks: Mapping[str, int] = field(default_factory=dict)
    nodes: list[NodeProto] = field(default_factory=list)

    def operand(self, index: int) -> str:
        """Return the name of an operand, or "" where it is absent."""
        return str(self.node.input[index]) if index < len(self.node.input) else ""

    def shape(self, index: int) -> Sequence[int] | None:
        """Return the dimensions of an operand that is a constant; None for any other."""
        return self.shapes.get(self.operand(index))

    def add(self, op_type: str, *operands: str, results: int = 1, **attributes: Any) -> str:
        """Add a node of ONNX's own domain and return the name of its first result."""
        prefix = f"{next(filter(None, self.node.output), '')}~{len(self.nodes)}"
        names = [prefix, *(f"{prefix}.{i}" for i in range(1, results))]
        self.nodes.append(helper.make_node(op_type, list(operands), names, name=prefix, domain=None, **attributes))
        return prefix

    def tensor(self, *dims: int) -> str:
        """Add a constant of these dimensions without values, and return its name."""
        return self.add("Constant", value=TensorProto(data_type=TensorProto.FLOAT, dims=dims))

    def ints(self, *values: int) -> str:
        """Add a constant vector of integers, and return its name."""
        return self.add("Constant", value=numpy_helper.from_array(np.array(values, dtype=np.int64)))

    def kept(self, op_type: str) -> dict[str, Any]:
        """Return the node's attributes that an operator of ONNX has as well."""
        known = defs.get_schema(op_type).attributes
        return {name: value for name, value in given_attributes(self.node).items() if name in known}


Rule = Callable[[Draft], Results]


def same(*results: int) -> Rule:
    """Return a rule that gives the first operand's shape to the results with these numbers."""
    return lambda draft: [draft.operand(0) if i in results else "" for i in range(max(results) + 1)]


def like(op_type: str, *operands: int) -> Rule:
    """Return a rule that gives the results of another operator on these operands, with the attributes that it has."""

    def rule(draft: Draft) -> Results:
        names = [draft.operand(i) for i in operands]
        while names and not names[-1]:
            names.pop()
        count = len(draft.node.output)
        first = draft.add(op_type, *names, results=count, **draft.kept(op_type))
        return [first, *(f"{first}.{i}" for i in range(1, count))]

    return rule


def features(size: Callable[[NodeProto], int]) -> Rule:
    """Return a rule that gives as many features as `size` says for each row of a matrix."""

    def rule(draft: Draft) -> Results:
        one = draft.add("ArgMax", draft.operand(0), axis=1, keepdims=1)
        return [draft.add("Gemm", one, draft.tensor(1, size(draft.node)))]

    return rule


def channels_last(rule: Rule, weight: int | None = None, *, always: bool = False) -> Rule:
    """Apply a rule to maps [N, *S, C] where the attribute `channels_last` says so, or `always`.

    The rank is that of the weight or the kernel, else 4: a Transpose of another rank is refused by inference.
    """

    def inner(draft: Draft) -> Results:
        if not always and not int_attribute(draft.node, "channels_last", 0):
            return rule(draft)
        shape = draft.shape(weight) if weight is not None else None
        rank = len(shape) if shape is not None else 2 + len(ints_attribute(draft.node, "kernel_shape") or (1, 1))
        moved = deepcopy(draft.node)
        moved.input[0] = draft.add("Transpose", draft.operand(0), perm=[0, rank - 1, *range(1, rank - 1)])
        made = Draft(moved, draft.shapes, draft.ranks, draft.nodes)
        return [made.add("Transpose", name, perm=[0, *range(2, rank), 1]) for name in rule(made)[:1]]

    return inner
