"""A random graph in the making: its choices, its nodes, and values whose shapes are known from the start."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
import numpy.typing as npt
from onnx import FunctionProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper
from onnx.defs import onnx_opset_version
from onnxruntime import InferenceSession
from onnxruntime.capi.onnxruntime_pybind11_state import Fail

T = TypeVar("T")
MAX_ELEMENTS = 4096
KNOWN = (7, 8, 9, 10, 11, 11, 12, 13, 13, 15, 17, 18, 19, 21, 22, 23, 25, 28)
"""The opsets that this generator writes; the common ones are drawn more often."""


@dataclass(frozen=True)
class Value:
    """A tensor of the graph and its shape, in which the batch is a number too."""

    name: str
    shape: tuple[int, ...]

    @property
    def rank(self) -> int:
        return len(self.shape)


@dataclass(frozen=True)
class RandomModel:
    """A model, and the batch that it was built for; where `dynamic`, others may run as well, or may not."""

    model: ModelProto
    batch: int
    dynamic: bool

    @property
    def opset(self) -> int:
        return self.model.opset_import[0].version

    @property
    def quantized(self) -> bool:
        """Whether activations are rounded to integers, so that a rounding error may become a whole step."""
        return any(node.op_type in ("QuantizeLinear", "DynamicQuantizeLinear") for node in self.model.graph.node)


@dataclass
class Builder:
    """A graph in the making."""

    random: np.random.Generator
    opset: int
    batch: int
    nodes: list[NodeProto] = field(default_factory=list)
    tensors: list[TensorProto] = field(default_factory=list)
    values: list[Value] = field(default_factory=list)
    inputs: list[Value] = field(default_factory=list)
    functions: list[FunctionProto] = field(default_factory=list)

    # -- draws ---------------------------------------------------------------------------------------------------
    def below(self, bound: int) -> int:
        return int(self.random.integers(bound))

    def chance(self, probability: float) -> bool:
        return bool(self.random.random() < probability)

    def pick(self, options: Sequence[T]) -> T:
        return options[self.below(len(options))]

    def signed(self, axis: int, rank: int) -> int:
        """An axis in one of its two spellings; before opset 11 there is one."""
        return axis - rank if self.chance(0.4) and self.opset >= 11 else axis

    # -- parts ---------------------------------------------------------------------------------------------------
    def weight(self, shape: Sequence[int], scale: float = 1.0, *, positive: bool = False) -> str:
        values = self.random.standard_normal(tuple(shape)) * scale
        return self.constant(np.asarray(np.abs(values) + 0.5 if positive else values).astype(np.float32))

    def integers(self, values: Sequence[int]) -> str:
        return self.constant(np.array(values, np.int64))

    def constant(self, array: npt.NDArray[np.generic]) -> str:
        """An initializer, or now and then a Constant node."""
        name = f"k{len(self.tensors) + len(self.nodes)}"
        tensor = numpy_helper.from_array(array, name)
        if self.chance(0.1) and (self.opset >= 9 or array.dtype == np.float32):
            self.nodes.append(helper.make_node("Constant", [], [name], value=tensor))
        else:
            self.tensors.append(tensor)
        return name

    def add(self, op: str, inputs: Sequence[str], shape: Sequence[int], **attributes: object) -> Value:
        """A node with one output of the given shape."""
        name = f"n{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, inputs, [f"{name}_out"], name=name, **attributes))
        value = Value(f"{name}_out", tuple(int(size) for size in shape))
        self.values.append(value)
        return value

    def node(self, op: str, inputs: Sequence[str], outputs: int = 1, **attributes: object) -> list[str]:
        """A node whose results no other step reads (integers, or a part of a larger form)."""
        names = [f"n{len(self.nodes)}_{index}" for index in range(outputs)]
        self.nodes.append(helper.make_node(op, inputs, names, name=f"n{len(self.nodes)}", **attributes))
        return names

    def axes_form(self, axes: Sequence[int], *, since: int) -> tuple[list[str], dict[str, object]]:
        """Axes as an attribute before an opset, and as an input from it on."""
        return ([self.integers(axes)], {}) if self.opset >= since else ([], {"axes": list(axes)})


def _runs(opset: int) -> bool:
    """Whether the installed onnx and onnxruntime know an opset."""
    if opset > onnx_opset_version():
        return False
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", [value], [])
    graph.output.append(helper.make_tensor_value_info("y", TensorProto.FLOAT, [1]))
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    try:
        InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    except Fail:
        return False
    return True


NEWEST = next(opset for opset in reversed(KNOWN) if _runs(opset))
OPSETS = tuple(min(opset, NEWEST) for opset in KNOWN)
QUANTIZED = range(10, 28)
"""The opsets in which onnxruntime has all of the quantized operators."""

Step = Callable[[Builder, Value], Value | None]
