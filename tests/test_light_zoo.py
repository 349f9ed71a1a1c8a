"""The nine light model-zoo graphs of the onnx wheel: real architectures, whose weights are equal ConstantOfShapes.

Equal weights hide every fault of layout, so that the graphs run with random ones in their place.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from execute import difference, feeds, run
from onnx import ModelProto, numpy_helper

import fc2conv

LIGHT = Path(onnx.__file__).parent / "backend/test/data/light"
KERNELS: dict[str, list[list[int]]] = {
    "bvlc_alexnet": [[6, 6], [1, 1], [1, 1]],
    "densenet121": [],
    "inception_v1": [[1, 1]],
    "inception_v2": [[1, 1]],
    "resnet50": [[1, 1]],
    "shufflenet": [[1, 1]],
    "squeezenet": [],
    "vgg19": [[7, 7], [1, 1], [1, 1]],
    "zfnet512": [[6, 6], [1, 1], [1, 1]],
}
RUN = [name for name, kernels in KERNELS.items() if len(kernels) == 1]
"""Those that are run as well: the three with three layers take longest, and their head is as that of mini_vgg."""

UNVERIFIED = fc2conv.Options(verify=False)
BLOCK = np.random.default_rng(9).standard_normal(1_000_003, dtype=np.float32)


def path_of(name: str) -> Path:
    return LIGHT / f"light_{name}.onnx"


def random_weight(shape: tuple[int, ...], index: int) -> npt.NDArray[np.float32]:
    """He-normal kernels, which keep activations finite; vectors are positive, for they may be variances."""
    values = np.resize(np.roll(BLOCK, 7919 * index), shape)
    if len(shape) < 2:
        return np.abs(values) * np.float32(0.1) + np.float32(0.5)
    return values * np.float32((2 / np.prod(shape[1:])) ** 0.5)


def with_random_weights(name: str) -> ModelProto:
    """The graph with an initializer in place of each ConstantOfShape, and the value before Softmax as an output."""
    model = onnx.load(path_of(name))
    graph = model.graph
    tensors = {tensor.name: tensor for tensor in graph.initializer}
    for index, node in enumerate([node for node in graph.node if node.op_type == "ConstantOfShape"]):
        shape = tuple(int(size) for size in numpy_helper.to_array(tensors[node.input[0]]))
        graph.initializer.append(numpy_helper.from_array(random_weight(shape, index), node.output[0]))
        graph.input.append(onnx.helper.make_tensor_value_info(node.output[0], onnx.TensorProto.FLOAT, shape))
        graph.node.remove(node)
    last = graph.node[-1]
    if last.op_type == "Softmax":
        logits = onnx.ValueInfoProto()
        logits.CopyFrom(graph.output[0])
        logits.name = last.input[0]
        graph.output.append(logits)
    return model


def gemms(model: ModelProto) -> int:
    return sum(node.op_type == "Gemm" for node in model.graph.node)


def test_there_are_nine_graphs_and_13_gemms() -> None:
    assert {path.name for path in LIGHT.glob("*.onnx")} == {path_of(name).name for name in KERNELS}
    assert sum(gemms(onnx.load(path_of(name))) for name in KERNELS) == 13
    assert sum(len(kernels) for kernels in KERNELS.values()) == 13


@pytest.mark.parametrize("name", RUN)
def test_outputs_are_equal_with_random_weights(name: str, tmp_path: Path) -> None:
    model = with_random_weights(name)
    before, after = tmp_path / "before.onnx", tmp_path / "after.onnx"
    inputs = feeds(model, {})
    onnx.save(model, before)
    del model
    try:
        report = fc2conv.convert(before, after, UNVERIFIED).report
        expected = run(str(before), inputs)
        assert all(np.isfinite(value).all() for value in expected)
        assert difference(expected, run(str(after), inputs)) <= 1e-5
        assert [layer.kernel_shape for layer in report.converted] == KERNELS[name]
        assert gemms(onnx.load(after)) == 0
    finally:
        before.unlink()
        after.unlink(missing_ok=True)


@pytest.mark.parametrize("name", [name for name, kernels in KERNELS.items() if kernels])
def test_weights_stay_constant_of_shape(name: str, tmp_path: Path) -> None:
    out = tmp_path / "out.onnx"
    report = fc2conv.convert(path_of(name), out, UNVERIFIED).report
    assert [layer.kernel_shape for layer in report.converted] == KERNELS[name]
    size = path_of(name).stat().st_size
    assert abs(out.stat().st_size - size) <= 0.02 * size
    assert max(int(np.prod(tensor.dims)) for tensor in onnx.load(out).graph.initializer) < 10_000


@pytest.mark.parametrize("name", [name for name, kernels in KERNELS.items() if not kernels])
def test_nothing_to_do_is_a_copy(name: str, tmp_path: Path) -> None:
    out = tmp_path / "out.onnx"
    assert fc2conv.convert(path_of(name), out, UNVERIFIED).report.outcome == "unchanged"
    assert out.read_bytes() == path_of(name).read_bytes()
