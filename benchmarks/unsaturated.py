"""Compares two quantized models without the runtime's saturation: every int8 weight is written as uint8.

    python benchmarks/unsaturated.py ORIGINAL CONVERTED [--runs 3]

On processors without VNNI instructions onnxruntime adds products of uint8 by int8 in 16 bits, and saturates. A weight w
with the zero point z is the same number as w + 128 with the zero point z + 128, and products of uint8 by uint8 do not
saturate. So if two models agree in this form, what they differ by otherwise is the runtime's. Prints the largest
difference of each output, as a part of its range, in each run.
"""

from __future__ import annotations

import argparse

import numpy as np
import onnx
import onnxruntime
from onnx import ModelProto, TensorProto, numpy_helper

WEIGHTS = {
    **dict.fromkeys(("QLinearConv", "QLinearMatMul", "QGemm"), (3, 5)),
    **dict.fromkeys(("MatMulInteger", "ConvInteger"), (1, 3)),
}
"""The places of a weight and of its zero point."""


def shifted(model: ModelProto) -> ModelProto:
    """Write the int8 weights and their zero points as uint8; an omitted zero point is not supported."""
    names = set()
    for node in model.graph.node:
        for place in WEIGHTS.get(node.op_type, ()):
            if place >= len(node.input):
                raise SystemExit(f"{node.name or node.op_type} has no zero point")
            names.add(node.input[place])
    for tensor in model.graph.initializer:
        if tensor.name in names and tensor.data_type == TensorProto.INT8:
            values = numpy_helper.to_array(tensor).astype(np.int16) + 128
            tensor.CopyFrom(numpy_helper.from_array(values.astype(np.uint8), tensor.name))
    return model


def main() -> None:
    """Compare, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("original")
    parser.add_argument("converted")
    parser.add_argument("--runs", type=int, default=3)
    given = parser.parse_args()
    models = [shifted(onnx.load(path)).SerializeToString() for path in (given.original, given.converted)]
    one, other = (onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"]) for model in models)
    for seed in range(given.runs):
        random = np.random.default_rng(seed)
        shapes = {each.name: [size if isinstance(size, int) else 2 for size in each.shape] for each in one.get_inputs()}
        feeds = {name: random.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}
        for output, a, b in zip(one.get_outputs(), one.run(None, feeds), other.run(None, feeds), strict=True):
            print(f"run {seed}, {output.name}: {np.abs(a - b).max() / np.abs(a).max():.1e} of the range")


if __name__ == "__main__":
    main()
