"""One node alone in onnxruntime, which computes it as it does in a model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from typing import Any

import numpy as np
import onnxruntime as ort  # type: ignore[import-untyped]
from onnx import GraphProto, ModelProto, NodeProto, ValueInfoProto, helper, numpy_helper
from onnxruntime.capi import onnxruntime_pybind11_state as state  # type: ignore[import-untyped]

REFUSALS = (state.Fail, state.InvalidArgument, state.InvalidGraph, state.InvalidProtobuf, state.NotImplemented,
            state.RuntimeException, state.NoSuchFile, state.EPFail,
            ValueError, TypeError, RuntimeError)  # fmt: skip
"""What onnxruntime raises for a model or inputs that it does not take."""
_IR_VERSION = 10
_STORED = 1 << 20
"""The most elements of an operand that is stored in the model, as some kernels ask for constants."""


def run_alone(
    node: NodeProto,
    opsets: Mapping[str, int],
    operands: Sequence[np.ndarray | None],
    opened: Callable[[ModelProto], Any] | None = None,
) -> list[Any]:
    """Compute the results of one node, None for those without a name; raise one of `REFUSALS` where that fails.

    `opened` makes a session of a model. Without it, one thread computes the results, and nothing is fused.
    """
    copy = deepcopy(node)
    copy.input[:] = ["" if each is None else f"x{i}" for i, each in enumerate(operands)]
    graph, feeds = GraphProto(name="alone", node=[copy]), dict[str, np.ndarray]()
    for name, operand in zip(copy.input, operands, strict=True):
        if operand is None:
            continue
        array = np.asarray(operand, order="C")
        if array.size > _STORED:
            kind = helper.np_dtype_to_tensor_dtype(array.dtype)
            graph.input.append(helper.make_tensor_value_info(name, kind, array.shape))
            feeds[name] = array
        else:
            graph.initializer.append(numpy_helper.from_array(array, name))
    graph.output.extend(ValueInfoProto(name=name) for name in node.output if name)
    imports = [helper.make_opsetid(domain, version) for domain, version in opsets.items()]
    model = helper.make_model(graph, opset_imports=imports, ir_version=_IR_VERSION)
    made = iter((opened or _opened)(model).run(None, feeds))
    return [next(made) if name else None for name in node.output]


def _opened(model: ModelProto) -> Any:
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    options.log_severity_level = 4  # what is fatal
    return ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
