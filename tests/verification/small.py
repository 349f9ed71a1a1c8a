"""A convolution, a Relu and one layer, for tests of two models that differ in one thing."""

from __future__ import annotations

from cases import model, random
from onnx import ModelProto

TEXT = """g (float[N,2,4,4] image) => (float[N,3] y) {
    [conv] c = Conv(image, K) [relu] x = Relu(c) f = Flatten(x) [fc] y = MatMul(f, W0)
}"""
WEIGHTS = {"K": random((2, 2, 1, 1), 0), "W0": random((32, 3), 1)}


def original() -> ModelProto:
    return model(TEXT, WEIGHTS)
