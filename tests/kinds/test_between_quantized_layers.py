"""onnxruntime's quantized operators between a map and a layer, or between layers: they run on the map."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from execute import difference, feeds, run
from typed import assert_equal, floats, integers, kernels, model, op_types

import fc2conv

LAYER = "QLinearMatMul ({}, s3, z3, {}, sw, zw, {}, {})"
NUMBERS: dict[str, Any] = {
    "s1": np.float32(0.02), "z1": np.uint8(100), "s2": np.float32(0.03), "z2": np.uint8(120),
    "s3": np.float32(0.04), "z3": np.uint8(110), "sw": np.float32(0.02), "zw": np.uint8(128),
    "sy": np.float32(0.7), "zy": np.uint8(128), "one": np.float32(1 / 256), "none": np.uint8(0),
    "mask": np.arange(12) % 3 == 0,
    "w": integers((12, 5), np.uint8), "wide": integers((20, 5), np.uint8), "v": integers((12, 3), np.uint8, 1),
    "u": integers((8, 5), np.uint8, 2), "t": integers((5, 5), np.uint8, 3), "odd": integers((16, 5), np.uint8),
}  # fmt: skip
TWO = "graph (uint8[N,3,2,2] a, uint8[N,2,2,2] b) => (uint8[N,5] y)"
SAME = "graph (uint8[N,3,2,2] a, uint8[N,3,2,2] b) => (uint8[N,5] y)"
ONE = "graph (uint8[N,3,2,2] a) => (uint8[N,5] y)"
CASES = {
    "maps": (f"""{TWO} {{ c = com.microsoft.QLinearConcat <axis = 1> (s3, z3, a, s1, z1, b, s2, z2)
        f = Flatten (c) [fc] y = {LAYER.format("f", "wide", "sy", "zy")} }}""", {"fc": [2, 2]}),
    "flat": (f"""{TWO} {{ fa = Flatten (a) fb = Flatten (b)
        c = com.microsoft.QLinearConcat <axis = -1> (s3, z3, fa, s1, z1, fb, s2, z2)
        [fc] y = {LAYER.format("c", "wide", "sy", "zy")} }}""", {"fc": [2, 2]}),
    "unequal": (f"""{TWO.replace("2,2,2]", "2,1,2]")} {{ fa = Flatten (a) fb = Flatten (b)
        c = com.microsoft.QLinearConcat <axis = 1> (s3, z3, fa, s1, z1, fb, s2, z2)
        [fc] y = {LAYER.format("c", "odd", "sy", "zy")} }}""", {"fc": [1, 1]}),
    "layers": (f"""{ONE} {{ f = Flatten (a)
        [fc1] p = {LAYER.format("f", "w", "s1", "z1")} [fc2] q = {LAYER.format("f", "v", "s2", "z2")}
        c = com.microsoft.QLinearConcat <axis = 1> (s3, z3, p, s1, z1, q, s2, z2)
        [fc3] y = {LAYER.format("c", "u", "sy", "zy")} }}""", {"fc1": [2, 2], "fc2": [2, 2], "fc3": [1, 1]}),
    "where": (f"""{SAME} {{ f = Flatten (a) g = Flatten (b)
        c = com.microsoft.QLinearWhere (mask, f, s1, z1, g, s2, z2, s3, z3)
        [fc] y = {LAYER.format("c", "w", "sy", "zy")} }}""", {"fc": [2, 2]}),
    "softmax": (f"""{ONE} {{ f = Flatten (a)
        [fc1] p = {LAYER.format("f", "w", "sy", "zy")}
        c = com.microsoft.QLinearSoftmax <axis = -1, opset = 13> (p, sy, zy, one, none)
        [fc2] y = {LAYER.replace("s3, z3", "one, none").format("c", "t", "s1", "zy")} }}""",
        {"fc1": [2, 2], "fc2": [1, 1]}),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_what_is_between_runs_on_the_map(name: str) -> None:
    text, expected = CASES[name]
    used = set(re.findall(r"\w+", text))
    original = model(text, {key: value for key, value in NUMBERS.items() if key in used}, 17)
    found = fc2conv.convert(original)
    assert kernels(found.report) == expected
    assert found.report.verification is not None
    assert {check.name: check.verdict for check in found.report.verification.checks}["exact"] == "proved"
    assert "QLinearMatMul" not in op_types(found.model)
    assert_equal(original, found.model)


def test_scales_for_each_output_of_a_scale_that_is_computed_stay_on_the_map() -> None:
    text = """graph (float[N,3,2,2] x) => (float[N,5] y) { f = Flatten (x) q, qs, qz = DynamicQuantizeLinear (f)
        [fc1] i = MatMulInteger (q, w, qz, zw) c = Cast <to = 1> (i) m = Mul (qs, fine) d = Mul (c, m) r = Relu (d)
        p, ps, pz = DynamicQuantizeLinear (r)
        [fc2] j = MatMulInteger (p, t, pz, zw) g = Cast <to = 1> (j) n = Mul (ps, fine) y = Mul (g, n) }"""
    fine = np.linspace(0.01, 0.03, 5, dtype=np.float32)
    original = model(text, {key: NUMBERS[key] for key in ("w", "t", "zw")} | {"fine": fine})
    found = fc2conv.convert(original)
    assert kernels(found.report) == {"fc1": [2, 2], "fc2": [1, 1]}
    assert [kind for kind in op_types(found.model) if kind in ("Flatten", "Reshape", "Transpose")] == ["Flatten"]
    assert_equal(original, found.model)


def test_a_class_token_beside_quantized_tokens() -> None:
    """What a Concat of tokens makes is laid out as its spatial form before a table of positions is added."""
    text = """graph (float[1,3,2,7] x) => (float[1,16,5] y)
      { p = Conv (x, k) r = Reshape (p, shape) t = Transpose <perm = [0, 2, 1]> (r) q = QuantizeLinear (t, s1, z1)
        c = com.microsoft.QLinearConcat <axis = 1> (s1, z1, token, s1, z1, q, s1, z1)
        a = com.microsoft.QLinearAdd (c, s1, z1, table, s1, z1, s1, z1) d = DequantizeLinear (a, s1, z1)
        [fc] y = MatMul (d, weight) }"""
    arrays = {
        "shape": np.array([0, 6, 14]), "token": integers((1, 2, 6), np.uint8), "table": integers((1, 16, 6), np.uint8),
        "k": floats((6, 3, 1, 1)), "weight": floats((6, 5)), "s1": NUMBERS["s1"], "z1": NUMBERS["z1"],
    }  # fmt: skip
    original = model(text, arrays, 17)
    found = fc2conv.convert(original, scope="all")
    assert_equal(original, found.model, 1e-6)
    assert kernels(found.report) == {"fc": [1, 1]}
    assert found.report.verification is not None
    assert found.report.verification.verdict == "proved"


@pytest.mark.parametrize(("shape", "blocked"), [((1, 1), 8), ((1,), 0)], ids=["a block", "a vector"])
def test_a_scale_of_one_block_needs_the_original(shape: tuple[int, ...], blocked: int) -> None:
    """A scale of one block has the rank of what it quantizes, which a spatial form has not."""
    text = f"""graph (float[1,3,2,2] x) => (float[1,5] y) {{ f = Flatten (x) [fc1] m = MatMul (f, first)
        q = QuantizeLinear <axis = 1, block_size = {blocked}> (m, s, z)
        d = DequantizeLinear <axis = 1, block_size = {blocked}> (q, s, z) [fc2] y = MatMul (d, second) }}"""
    arrays = {"first": floats((12, 8)), "second": floats((8, 5)), "s": np.full(shape, 0.05, np.float32)}
    original = model(text, arrays | {"z": np.zeros(shape, np.int8)}, 21)
    found = fc2conv.convert(original)
    inputs = feeds(original, {})
    assert difference(run(original, inputs), run(found.model, inputs)) < 1e-5
    assert kernels(found.report) == {"fc1": [2, 2], "fc2": "FC301" if blocked else [1, 1]}
