"""Kernels of integers without a sign: over many cells onnxruntime multiplies them faster (see `without_sign`)."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import ModelProto, numpy_helper
from typed import MAP, K, M, assert_equal, converted, integers, kernels, model

ZEROS = {np.uint8: np.uint8(130), np.int8: np.int8(2)}
TOKENS = """graph ({kind}[N,4,3,8] x) => (int32[N,24,5] y)
    {{ t = Transpose <perm = [0, 2, 3, 1]> (x)
       r = Reshape (t, shape)
       [fc] y = MatMulInteger (r, w, xz{zeros}) }}"""


def kernel_of(result: ModelProto) -> tuple[str, int | None]:
    """The element type of the kernel of the one ConvInteger, and its zero point."""
    (node,) = (node for node in result.graph.node if node.op_type == "ConvInteger")
    made = {each.name: numpy_helper.to_array(each) for each in result.graph.initializer}
    zero_point = made[node.input[3]].item() if len(node.input) > 3 else None
    return made[node.input[1]].dtype.name, zero_point


@pytest.mark.parametrize(
    ("a", "zeros", "target", "kernel"),
    [
        (np.uint8, "", None, ("uint8", 128)),
        (np.uint8, ", wz", None, ("uint8", 132)),
        (np.uint8, ", wz", "onnxruntime", ("uint8", 132)),
        (np.int8, "", None, ("int8", None)),
        (np.uint8, "", "neutron", ("int8", None)),
    ],
    ids=["plain", "zero point", "target of bytes", "signed x", "target of int8"],
)
def test_a_kernel_over_many_cells_has_no_sign(
    a: Any, zeros: str, target: str | None, kernel: tuple[str, int | None]
) -> None:
    """onnxruntime multiplies it faster, see `without_sign`."""
    arrays = {"shape": np.array([0, -1, 4]), "w": integers((4, 5), np.int8), "xz": ZEROS[a]}
    given = arrays | ({"wz": np.int8(4)} if zeros else {})
    original = model(TOKENS.format(kind=np.dtype(a).name, zeros=zeros), given)
    options: dict[str, Any] = {"target": f"{target}-cpu", "layer_form": "map"} if target == "onnxruntime" else {}
    result, report = converted(original, **(options or {"target": target}))
    assert kernels(report) == {"fc": [1, 1]}
    assert kernel_of(result) == kernel
    assert_equal(original, result)


def test_the_kernel_of_one_cell_keeps_its_sign() -> None:
    text = f"""graph (uint8[{MAP}] x) => (int32[N,{M}] y)
    {{ f = Flatten (x)
       [fc] y = MatMulInteger (f, w, xz) }}"""
    original = model(text, {"w": integers((K, M), np.int8), "xz": np.uint8(130)})
    result, _ = converted(original)
    assert kernel_of(result) == ("int8", None)
    assert_equal(original, result)
