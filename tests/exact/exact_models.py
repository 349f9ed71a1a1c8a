"""What the tests of exact arithmetic share: models in text, and the prover on them."""

from __future__ import annotations

from collections.abc import Mapping

import execute
import numpy as np
import numpy.typing as npt
from onnx import ModelProto, numpy_helper
from textmodel import parse

from fc2conv.io.reader import model_file_from_proto
from fc2conv.verification import feeds
from fc2conv.verification.exact.check import check_exact
from fc2conv.verification.exact.result import Exact

Array = npt.NDArray[np.generic]
DOMAINS = {"com.microsoft": 1}
ITEMS = (2, 3, 5, 6, 7, 9, 17, 33, 65)


def text(graph: str, opset: int = 17) -> ModelProto:
    """A model in text, with seeded weights; onnxruntime's own operators are known in it."""
    return parse(graph, opset=opset, domains=DOMAINS)


def compared(one: ModelProto, other: ModelProto, seed: int = 0) -> Exact:
    """What exact arithmetic says of two models."""
    setting = next(iter(feeds.settings()))
    batches = ITEMS if feeds.dynamic_batch(one, {}) else (1,)
    sizes = {n: feeds.shapes(one, feeds.Setting(n, setting.spatial, setting.other), {}) for n in batches}
    return check_exact(model_file_from_proto(one), model_file_from_proto(other), sizes, seed)


def agree(one: ModelProto, other: ModelProto, items: int) -> bool:
    """Whether two models give the same numbers for so many items."""
    inputs = execute.feeds(one, {"N": items})
    pairs = zip(execute.run(one, inputs), execute.run(other, inputs), strict=True)
    return all(a.shape == b.shape and np.allclose(a, b, atol=1e-5) for a, b in pairs)


def with_values(model: ModelProto, inputs: Mapping[str, Array]) -> ModelProto:
    """The model with constants in the place of its inputs."""
    copy = ModelProto()
    copy.CopyFrom(model)
    del copy.graph.input[:]
    copy.graph.initializer.extend(numpy_helper.from_array(array, name) for name, array in inputs.items())
    return copy


def edited(model: ModelProto, name: str, change: object) -> ModelProto:
    """The model with an initializer changed by a function of its array."""
    copy = ModelProto()
    copy.CopyFrom(model)
    tensor = next(t for t in copy.graph.initializer if t.name == name)
    tensor.CopyFrom(numpy_helper.from_array(change(numpy_helper.to_array(tensor).copy()), name))  # type: ignore[operator]
    return copy


def reweighted(model: ModelProto, source: ModelProto) -> ModelProto:
    """The model with the weights of another, in its own shapes."""
    weights = {t.name: numpy_helper.to_array(t) for t in source.graph.initializer}
    for tensor in model.graph.initializer:
        if tensor.name in weights and weights[tensor.name].size == np.prod(tensor.dims):
            tensor.CopyFrom(numpy_helper.from_array(weights[tensor.name].reshape(tuple(tensor.dims)), tensor.name))
    return model
