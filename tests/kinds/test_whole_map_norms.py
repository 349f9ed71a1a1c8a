"""A norm of all that an item of a map has runs on the map: mean and variance have no order, the factors have."""

from __future__ import annotations

import pytest
from execute import difference, feeds, run
from proving_kinds import proved
from textmodel import parse

NODES = {
    "flattened": "f = Flatten (m)  n = LayerNormalization (f, flat, fbias)",
    "without a bias": "f = Flatten (m)  n = LayerNormalization <axis = 1, epsilon = 0.01> (f, flat)",
    "map": "l = LayerNormalization <axis = 1> (m, chw)  n = Flatten (l)",
    "channels last": """t = Transpose <perm = [0, 2, 3, 1]> (m)  l = LayerNormalization <axis = 1> (t, hwc)
        n = Flatten (l)""",
    "root mean square": "f = Flatten (m)  n = RMSNormalization (f, flat)",
}


@pytest.mark.parametrize("scope", ["spatial", "all"])
@pytest.mark.parametrize("name", NODES)
def test_a_norm_of_the_whole_map(name: str, scope: str) -> None:
    text = f"""graph (float[N,3,2,5] x) => (float[N,6] y)
    <float[4,3,1,1] k, float[40] flat, float[40] fbias, float[4,2,5] chw, float[2,5,4] hwc, float[40,6] w>
    {{ m = Conv (x, k)  {NODES[name]}  [fc] y = MatMul (n, w) }}"""
    original = parse(text, opset=23, ir_version=10)
    result, report = proved(original, scope=scope)
    assert report.converted[0].kernel_shape == [2, 5]
    assert report.layout_nodes.after == 1
    inputs = feeds(original, {"N": 3})
    assert difference(run(original, inputs), run(result, inputs)) < 1e-5


def test_a_norm_of_the_cells_of_each_channel_keeps_its_layout() -> None:
    text = """graph (float[N,3,2,5] x) => (float[N,6] y)
    <float[4,3,1,1] k, float[10] s, int64[3] t = {0, 4, -1}, float[40,6] w>
    { m = Conv (x, k)  r = Reshape (m, t)  l = LayerNormalization (r, s)  n = Flatten (l)  [fc] y = MatMul (n, w) }"""
    original = parse(text, opset=17)
    result, _ = proved(original, scope="all")
    inputs = feeds(original, {"N": 3})
    assert difference(run(original, inputs), run(result, inputs)) < 1e-5
