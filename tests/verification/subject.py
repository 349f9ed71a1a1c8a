"""What faults are planted into: a right conversion, and where its layers are."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, numpy_helper

Array = NDArray[Any]
KERNEL = {"Conv": 1, "QLinearConv": 3, "ConvInteger": 1}
BIAS = {"Conv": 2, "QLinearConv": 8}


@dataclass
class Subject:
    """A right conversion, to be edited: the model, its converted layers in order, and each layer's alpha and beta.

    `sums` are the convolutions of each layer that became a sum of several.
    """

    model: ModelProto
    convs: list[str]
    factors: dict[str, tuple[float, float]]
    sums: list[list[str]]

    def nodes(self) -> Iterable[NodeProto]:
        """The convolutions that were layers."""
        return [node for name in self.convs if (node := self.producer(name)) is not None]

    def producer(self, name: str) -> NodeProto | None:
        return next((n for n in self.model.graph.node if name in n.output), None)

    def tensor(self, name: str) -> TensorProto | None:
        return next((t for t in self.model.graph.initializer if t.name == name), None)

    def replace(self, node: NodeProto, index: int, change: Callable[[Array], Array]) -> bool:
        """Gives an operand another constant, under a name of its own, if that differs in any bit."""
        tensor = self.tensor(node.input[index]) if len(node.input) > index else None
        if tensor is None:
            return False
        old = numpy_helper.to_array(tensor)
        new = np.ascontiguousarray(change(old.copy())).astype(old.dtype)
        if new.shape == old.shape and np.array_equal(new + 0 if new.dtype.kind == "f" else new, old, equal_nan=True):
            return False
        name = f"planted_{index}"
        self.model.graph.initializer.append(numpy_helper.from_array(new, name))
        node.input[index] = name
        return True
