"""Weights whose scales are those of blocks: a 1x1 kernel holds them, or they are expanded on request."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest
from onnx import ModelProto, TensorProto, numpy_helper
from proving_kinds import proved
from typed import (
    MAP,
    WEIGHTS,
    H,
    K,
    M,
    W,
    assert_equal,
    attributes,
    converted,
    floats,
    integers,
    kernels,
    model,
    only,
    op_types,
    scales,
    tensor,
)

import fc2conv
from fc2conv import Options


def blocked(pooled: bool, axis: int, dtype: Any, trans_b: int) -> ModelProto:
    """A weight [M, K] (or [K, M]) in blocks of 4 of the features, over a map with or without spatial extent."""
    shape = f"N,{K},1,1" if pooled else MAP
    text = f"""graph (float[{shape}] x) => (float[N,{M}] y)
    {{ f = Flatten (x)
       d = DequantizeLinear <axis = {axis}, block_size = 4> (w, s, z)
       [fc] y = Gemm <transB = {trans_b}> (f, d) }}"""
    form = [M, K] if trans_b else [K, M]
    blocks = [size // 4 if i == axis else size for i, size in enumerate(form)]
    arrays = {"w": integers(tuple(form), dtype), "s": np.abs(floats(tuple(blocks))) * np.float32(0.01) + 0.01}
    return model(text, arrays | {"z": (integers(tuple(blocks), np.uint8) % 4).astype(dtype)}, 21)


@pytest.mark.parametrize("pooled", [True, False], ids=["1x1", "spatial"])
@pytest.mark.parametrize("kind", ["int4", "uint4", "int8"])
@pytest.mark.parametrize("trans_b", [0, 1])
def test_weights_in_blocks_of_features(pooled: bool, kind: str, trans_b: int) -> None:
    """They fit the 1x1 kernel of a frame in which all features are channels."""
    original = blocked(pooled, trans_b, WEIGHTS[kind], trans_b)
    result, report = converted(original)
    assert kernels(report) == {"fc": [1, 1]}
    dequantize = only(result, "DequantizeLinear")
    assert attributes(dequantize) == {"axis": 1, "block_size": 4}
    assert tensor(result, dequantize.input[0]).data_type == tensor(original, "w").data_type
    assert_equal(original, result, 1e-6)


@pytest.mark.parametrize("pooled", [True, False], ids=["1x1", "spatial"])
def test_weights_in_blocks_are_expanded_on_request(pooled: bool) -> None:
    original = blocked(pooled, 1, ml_dtypes.int4, 1)
    result, report = converted(original, expand_block_quantized=True)
    assert kernels(report) == {"fc": [1, 1] if pooled else [H, W]}
    assert "DequantizeLinear" not in op_types(result)
    assert tensor(result, only(result, "Conv").input[1]).data_type == TensorProto.FLOAT
    assert_equal(original, result, 1e-6)


def test_weights_in_blocks_behind_a_transpose() -> None:
    """The scales have the dimensions of what DequantizeLinear read."""
    text = f"""graph (float[{MAP}] x) => (float[N,{M}] y)
    {{ f = Flatten (x)
       d = DequantizeLinear <axis = 1, block_size = 4> (w, s)
       t = Transpose (d)
       [fc] y = MatMul (f, t) }}"""
    original = model(text, {"w": integers((M, K), np.int8), "s": np.abs(floats((M, K // 4))) * np.float32(0.01)}, 21)
    result, report = converted(original)
    assert kernels(report) == {"fc": [1, 1]}
    assert_equal(original, result, 1e-6)


@pytest.mark.parametrize("pooled", [True, False], ids=["1x1", "spatial"])
def test_weights_in_blocks_of_outputs(pooled: bool) -> None:
    """M = 8 in blocks of 4, each feature with scales of its own: a 1x1 kernel, or floating point."""
    shape = f"N,{K},1,1" if pooled else MAP
    text = f"""graph (float[{shape}] x) => (float[N,8] y)
    {{ f = Flatten (x)
       d = DequantizeLinear <axis = 1, block_size = 4> (w, s)
       [fc] y = MatMul (f, d) }}"""
    original = model(text, {"w": integers((K, 8), np.int8), "s": np.abs(floats((K, 2))) * np.float32(0.01)}, 21)
    result, report = converted(original)
    assert kernels(report)["fc"] in ([1, 1], [H, W])
    assert_equal(original, result, 1e-6)


def test_one_block_and_blocks_of_one() -> None:
    """A scale [1, 1] is blocked by its rank alone, and a dimension of size 1 has blocks of 1."""
    text = """graph (float[N,1,1,1] x) => (float[N,3] y, float[N,3] u, float[N,4] z)
    { f = Flatten (x)
      d = DequantizeLinear <axis = 0, block_size = 1> (w, s)
      [fc1] y = MatMul (f, d)
      e = DequantizeLinear <axis = 1, block_size = 3> (v, t)
      [fc2] u = MatMul (f, e)
      q = DequantizeLinear <axis = 0, block_size = 3> (p, r)
      [fc3] z = MatMul (y, q) }"""
    arrays = {"w": integers((1, 3), np.int8), "s": scales(3).reshape(1, 3), "v": integers((1, 3), np.int8)}
    arrays |= {"t": scales(1).reshape(1, 1), "p": integers((3, 4), np.int8), "r": scales(4).reshape(1, 4)}
    original = model(text, arrays, 21)
    result, report = converted(original)
    assert not report.kept or {layer.reason.code for layer in report.kept if layer.reason} == {"FC101"}
    assert_equal(original, result, 1e-6)


def nbits(bits: int, zero_points: bool, bias: bool, features: int = 48) -> ModelProto:
    """MatMulNBits over a flattened map [N, 3, 4, 4], in blocks of 16."""
    block, outputs = 16, 8
    blocks = features // block
    random = np.random.default_rng(bits)
    packed = random.integers(0, 256, (outputs, blocks, block * bits // 8)).astype(np.uint8)
    arrays: dict[str, Any] = {"w": packed, "s": (random.random(outputs * blocks) * 0.01 + 0.01).astype(np.float32)}
    if zero_points:
        arrays["z"] = random.integers(0, 256, outputs * -(-blocks * bits // 8)).astype(np.uint8)
    if bias:
        arrays["b"] = floats((outputs,))
    names = ["f", "w", "s", "z" if zero_points else '""', '""', "b" if bias else '""']
    while names[-1] == '""':
        names.pop()
    text = f"""graph (float[N,3,4,4] x) => (float[N,{outputs}] y)
    {{ f = Flatten (x)
       [fc] y = com.microsoft.MatMulNBits <K = {features}, N = {outputs}, bits = {bits}, block_size = {block}>
         ({", ".join(names)}) }}"""
    return model(text, arrays, 17)


@pytest.mark.parametrize("bits", [2, 4, 8])
@pytest.mark.parametrize("zero_points", [True, False], ids=["zero_points", "symmetric"])
@pytest.mark.parametrize("bias", [True, False], ids=["bias", "none"])
def test_matmul_nbits(bits: int, zero_points: bool, bias: bool) -> None:
    original = nbits(bits, zero_points, bias)
    same, report = converted(original)
    assert kernels(report) == {"fc": "FC211"}
    assert same == original

    result, report = converted(original, expand_block_quantized=True)
    assert kernels(report) == {"fc": [4, 4]}
    assert op_types(result) == ["Conv", "Flatten"]
    assert_equal(original, result, 1e-5)


@pytest.mark.parametrize("zero_points", ["none", "packed", "floats"])
def test_an_expanded_weight_is_proved(zero_points: str) -> None:
    """Its numbers are those that the original computes, as rounded; with others nothing is proved."""
    original = nbits(4, zero_points == "packed", bias=True)
    if zero_points == "floats":
        original.graph.initializer.append(numpy_helper.from_array(floats((8, 3)), "z"))
        only(original, "MatMulNBits").input[3] = "z"
    result, _ = proved(original, expand_block_quantized=True)
    kernel = tensor(result, only(result, "Conv").input[1])
    wrong = numpy_helper.to_array(kernel).copy()
    wrong[2, 1, 0, 3] = np.nextafter(wrong[2, 1, 0, 3], np.float32(9))
    kernel.CopyFrom(numpy_helper.from_array(wrong, kernel.name))
    assert not fc2conv.verify(original, result).verdict.accepted


def test_a_weight_in_blocks_is_not_cut_for_a_map_and_a_vector() -> None:
    """Each output has scales of its own along all inputs, which no part of the weight has."""
    text = """graph (float[N,2,2,2] x, float[N,3] v) => (float[N,5] y)
    { f = Flatten (x)  c = Concat <axis = 1> (f, v)  d = DequantizeLinear <axis = -2, block_size = 1> (w, s)
      [fc] y = Gemm <transB = 1> (c, d) }"""
    original = model(text, {"w": integers((5, 11), np.int8), "s": np.abs(floats((5, 11)))}, 22)
    result, report = converted(original, scope="all")
    assert kernels(report) == {"fc": [1, 1]}
    assert_equal(original, result, 1e-5)


@pytest.mark.parametrize("operand", [1, 2, 3])
@pytest.mark.parametrize("expand", [False, True])
def test_operands_of_another_size_than_the_blocks_are_named(operand: int, expand: bool) -> None:
    """NNCF writes zero points that are not packed; runtimes refuse the node, whatever is done with it."""
    original = nbits(4, zero_points=True, bias=False)
    given = tensor(original, only(original, "MatMulNBits").input[operand])
    twice = np.repeat(numpy_helper.to_array(given), 2, axis=0)
    given.CopyFrom(numpy_helper.from_array(twice, given.name))
    (layer,) = fc2conv.plan(original, Options(expand_block_quantized=expand)).sites
    assert layer.reason is not None
    assert (layer.reason.code, layer.reason.detail.split()[0]) == ("FC205", given.name)


@pytest.mark.parametrize("size", [0, -4])
def test_blocks_of_no_size_are_named(size: int) -> None:
    original = nbits(4, zero_points=False, bias=False)
    next(each for each in only(original, "MatMulNBits").attribute if each.name == "block_size").i = size
    (layer,) = fc2conv.plan(original).sites
    assert layer.reason is not None
    assert (layer.reason.code, layer.reason.detail) == ("FC205", f"block_size {size}")


@pytest.mark.parametrize("attribute", ["axis = 0, block_size = 4", "axis = 0"])
def test_a_scale_that_fits_another_dimension_is_named(attribute: str) -> None:
    text = f"""graph (float[N,2,2,2] x) => (float[N,5] y)
    {{ f = Flatten (x)  [made] d = DequantizeLinear <{attribute}> (w, s)  [fc] y = Gemm <transB = 1> (f, d) }}"""
    scale = (5, 2) if "block" in attribute else (8,)
    original = model(text, {"w": integers((5, 8), np.int8), "s": np.abs(floats(scale))}, 21)
    (layer,) = fc2conv.plan(original).sites
    assert layer.reason is not None
    assert (layer.reason.code, layer.reason.node) == ("FC205", "made")
    assert layer.reason.detail.startswith("scale s of shape")
