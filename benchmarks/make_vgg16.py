"""Writes a VGG-16 of seeded random weights (528 MB), as a stream: no weight is held in memory whole.

    python benchmarks/make_vgg16.py OUT.onnx [--external] [--transposed]

The file is what protobuf itself would write (field order aside); the same options give the same bytes.
"""

from __future__ import annotations

import argparse
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper

SEED = 16
CHUNK = 1 << 20
CONVOLUTIONS = (64, 64, 0, 128, 128, 0, 256, 256, 256, 0, 512, 512, 512, 0, 512, 512, 512, 0)  # 0 is a MaxPool
FC = (("fc6", 512 * 7 * 7, 4096), ("fc7", 4096, 4096), ("fc8", 4096, 1000))
GRAPH_FIELD, INITIALIZER_FIELD, RAW_DATA_FIELD = 7, 5, 9


@dataclass(frozen=True)
class Weight:
    """A tensor to be: its name, its shape, and the number of terms that each output sums (for its scale)."""

    name: str
    shape: tuple[int, ...]
    fan_in: int

    @property
    def bytes(self) -> int:
        return 4 * int(np.prod(self.shape))

    def chunks(self) -> Iterator[bytes]:
        """The elements, He-normal, a bounded number at a time."""
        random = np.random.default_rng([SEED, zlib.crc32(self.name.encode())])
        scale = np.float32((2 / self.fan_in) ** 0.5)
        left = self.bytes // 4
        while left:
            count = min(left, CHUNK)
            yield (random.standard_normal(count, dtype=np.float32) * scale).tobytes()
            left -= count


def network(transposed: bool) -> tuple[list[NodeProto], list[Weight]]:
    """VGG-16's nodes and weights; `transposed` stores the layers' weights as [K, M] with transB = 0."""
    nodes: list[NodeProto] = []
    weights: list[Weight] = []
    value, channels = "image", 3

    def add(op: str, name: str, inputs: list[str], **attributes: object) -> str:
        nodes.append(helper.make_node(op, inputs, [f"{name}_out"], name=name, **attributes))
        return f"{name}_out"

    for index, filters in enumerate(CONVOLUTIONS):
        if not filters:
            value = add("MaxPool", f"pool{index}", [value], kernel_shape=[2, 2], strides=[2, 2])
            continue
        name, fan_in = f"conv{index}", channels * 9
        weights += [Weight(f"{name}.weight", (filters, channels, 3, 3), fan_in), Weight(f"{name}.bias", (filters,), 99)]
        value = add("Conv", name, [value, f"{name}.weight", f"{name}.bias"], kernel_shape=[3, 3], pads=[1, 1, 1, 1])
        value, channels = add("Relu", f"relu{index}", [value]), filters
    value = add("Flatten", "flatten", [value], axis=1)
    for name, inputs, outputs in FC:
        shape = (inputs, outputs) if transposed else (outputs, inputs)
        weights += [Weight(f"{name}.weight", shape, inputs), Weight(f"{name}.bias", (outputs,), 99)]
        value = add("Gemm", name, [value, f"{name}.weight", f"{name}.bias"], transB=int(not transposed))
        if name != "fc8":
            value = add("Relu", f"relu_{name}", [value])
    nodes[-1].output[0] = "logits"
    return nodes, weights


def varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def header(field: int, length: int) -> bytes:
    """The key and the length of a length-delimited field."""
    return varint(field << 3 | 2) + varint(length)


def tensor_header(weight: Weight) -> bytes:
    """All of an initializer's TensorProto that stands before its payload, with the key of the field that holds it."""
    tensor = TensorProto(name=weight.name, data_type=TensorProto.FLOAT, dims=weight.shape).SerializeToString()
    tensor += header(RAW_DATA_FIELD, weight.bytes)
    return header(INITIALIZER_FIELD, len(tensor) + weight.bytes) + tensor


def skeleton(nodes: list[NodeProto]) -> tuple[ModelProto, GraphProto]:
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", 3, 224, 224])
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", 1000])
    graph = helper.make_graph(nodes, "vgg16", [image], [logits])
    model = ModelProto(ir_version=8, producer_name="fc2conv-benchmarks")
    model.opset_import.add(domain="", version=13)
    return model, graph


def write_inline(out: BinaryIO, model: ModelProto, graph: GraphProto, weights: list[Weight]) -> None:
    head = graph.SerializeToString()
    headers = [tensor_header(weight) for weight in weights]
    size = len(head) + sum(len(h) + w.bytes for h, w in zip(headers, weights, strict=True))
    out.write(model.SerializeToString() + header(GRAPH_FIELD, size) + head)
    for tensor, weight in zip(headers, weights, strict=True):
        out.write(tensor)
        out.writelines(weight.chunks())


def write_external(path: Path, model: ModelProto, graph: GraphProto, weights: list[Weight]) -> None:
    offset = 0
    with Path(f"{path}.data").open("wb") as data:
        for weight in weights:
            tensor = graph.initializer.add(name=weight.name, data_type=TensorProto.FLOAT, dims=weight.shape)
            tensor.data_location = TensorProto.EXTERNAL
            place = {"location": f"{path.name}.data", "offset": str(offset), "length": str(weight.bytes)}
            for key, value in place.items():
                tensor.external_data.add(key=key, value=value)
            data.writelines(weight.chunks())
            offset += weight.bytes
    model.graph.CopyFrom(graph)
    path.write_bytes(model.SerializeToString())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--external", action="store_true", help="weights in OUT.data beside the model")
    parser.add_argument("--transposed", action="store_true", help="the layers' weights as [K, M] with transB = 0")
    arguments = parser.parse_args()
    nodes, weights = network(arguments.transposed)
    model, graph = skeleton(nodes)
    if arguments.external:
        write_external(arguments.out, model, graph, weights)
    else:
        with arguments.out.open("wb") as out:
            write_inline(out, model, graph, weights)


if __name__ == "__main__":
    main()
