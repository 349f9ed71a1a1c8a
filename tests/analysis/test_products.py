"""Products of two activations: the rows of the left operand and the columns of the right, whatever the operator."""

from __future__ import annotations

import pytest
from execute import difference, feeds, run
from textmodel import parse

import fc2conv
from fc2conv import Options

GRAPH = """g (float[1,4,4,4] x) => (float[1,%(rows)s,5] y) <float[4,4,3,3] k, int64[3] t = {1, 4, 4}, float[4,5] w,
    int8 z = {0}, float s = {0.05}, int64[2] two = {4, 4}, int64[3] three = {1, 4, 4}>
{ c = Conv <kernel_shape = [3, 3]> (x, k)
  a = Reshape (c, t)
  %(product)s
  [fc] y = MatMul (p, w) }"""
PRODUCTS = {
    "MatMul": "p = MatMul (a, a)",
    "Gemm": "b = Reshape (a, two)  g = Gemm <transA = 1> (b, b)  p = Reshape (g, three)",
    "FusedMatMul": "p = com.microsoft.FusedMatMul <transB = 1, alpha = 0.5> (a, a)",
    "QLinearMatMul": """q = QuantizeLinear (a, s, z)  r = QLinearMatMul (q, s, z, q, s, z, s, z)
        p = DequantizeLinear (r, s, z)""",
    "MatMulInteger": "q = QuantizeLinear (a, s, z)  r = MatMulInteger (q, q)  p = Cast <to = 1> (r)",
}


@pytest.mark.parametrize("name", PRODUCTS)
def test_a_layer_behind_a_product_of_a_map_is_not_lost(name: str) -> None:
    model = parse(GRAPH % {"product": PRODUCTS[name], "rows": 4}, opset=17, domains={"com.microsoft": 1})
    layer = next(layer for layer in fc2conv.plan(model).sites if layer.node == "fc")
    assert layer.reason is not None
    assert layer.reason.code == "FC301"
    made = fc2conv.convert(model, options=Options(scope="all"))
    assert made.model is not None
    assert [layer.node for layer in made.report.converted] == ["fc"]
    inputs = feeds(model, {})
    assert difference(run(model, inputs), run(made.model, inputs)) < 1e-4


@pytest.mark.parametrize("attribute", ["transBatchA = 1", "transBatchB = 1"])
def test_a_product_with_its_batch_elsewhere_is_not_followed(attribute: str) -> None:
    product = f"p = com.microsoft.FusedMatMul <{attribute}> (a, a)"
    model = parse(GRAPH % {"product": product, "rows": "R"}, opset=17, domains={"com.microsoft": 1})
    layer = next(layer for layer in fc2conv.plan(model).sites if layer.node == "fc")
    assert layer.reason is not None
    assert layer.reason.code == "FC105"
