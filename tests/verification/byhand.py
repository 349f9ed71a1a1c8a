"""A layer over a map of 3x2x2 and its convolution made by hand, and the claim that the pair is proved."""

from __future__ import annotations

from typing import Any

from cases import model, random, verdicts, verify
from numpy.typing import NDArray
from onnx import ModelProto

from fc2conv.report.types import Verification

W = random((6, 12), 0)
B = random((6,), 1)
TAIL = "[fc] y_conv = Conv(x, K, b) y = Reshape(y_conv, to) }"
HEAD = "g (float[N,3,2,2] x) => (float[N,6] y) <int64[2] to = {-1, 6}> {"
KERNEL = {"K": W.reshape(6, 3, 2, 2), "b": B}


def proved(original: ModelProto, converted: ModelProto) -> Verification:
    result = verify(original, converted, True)
    assert verdicts(result)["exact"] == "proved", result.checks
    assert result.verdict == "proved"
    return result


def gemm(text: str, **weights: NDArray[Any]) -> ModelProto:
    return model(f"g (float[N,3,2,2] x) => (float[N,6] y) {{ flat = Flatten(x) {text} }}", weights)
