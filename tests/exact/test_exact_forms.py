"""What two exporters write in another way: newer operator sets, indices of places, recurrent layers of two ways."""

from __future__ import annotations

import numpy as np
import pytest
from exact_models import compared, text
from execute import feeds, run

TWO_WAYS = """graph (float[5,N,3] x) => (float[5,1,N,4] y)
    <float[1,16,3] w, float[1,16,4] r, float[1,32] b, float[1,16,3] w2, float[1,16,4] r2, float[1,32] b2> {{
    a = Concat<axis = 0>(w, w2) c = Concat<axis = 0>(r, r2) d = Concat<axis = 0>(b, b2)
    p, q = Split<axis = 1>(h) y = Identity({1})
    h = LSTM<hidden_size = 4, direction = "bidirectional"{0}>(x, a, c, d) }}"""
ONE_WAY = """graph (float[5,N,3] x) => (float[5,1,N,4] y) <float[1,16,3] w, float[1,16,4] r, float[1,32] b,
    float[1,16,3] w2, float[1,16,4] r2, float[1,32] b2> {{ y = LSTM<hidden_size = 4{}>(x, {}) }}"""
LEAKY = ', activations = ["LeakyRelu", "Tanh", "Tanh"{}], activation_alpha = [0.1, 0.2]'
PLACES = "graph (float[6,6] x, float[5,6] u) => (float[5,6] y) {{ i = ArgMax<axis = 1, keepdims = 0>(u) {} }}"
PLACE = "m = Constant<value_ints = [-1, 1]>() j = Reshape(i, m) "
SHAPED = "graph (float[4,6] x, int64[2] s) => (float[A,B] y) {{ y = Reshape{}(x, s) }}"
CUT = "graph (float[N,6] x, int64[2] s) => (float[N,A] y) { y, z = Split<axis = 1>(x, s) }"
LARGER = 'graph (float[1,2,4,4] x, float[4] s) => (float[A,B,C,D] y) { y = Resize<mode = "linear">(x, "", s) }'


@pytest.mark.parametrize(
    ("one", "other", "opsets", "same"),
    [
        (TWO_WAYS.format("", "p"), ONE_WAY.format("", "w, r, b"), (17, 17), True),
        (TWO_WAYS.format("", "q"), ONE_WAY.format(', direction = "reverse"', "w2, r2, b2"), (17, 17), True),
        (TWO_WAYS.format(", layout = 0", "p"), ONE_WAY.format("", "w, r, b"), (17, 13), True),
        (TWO_WAYS.format("", "q"), ONE_WAY.format("", "w2, r2, b2"), (17, 17), False),
        (TWO_WAYS.format("", "p"), ONE_WAY.format("", "w2, r, b"), (17, 17), False),
        (TWO_WAYS.format(LEAKY.format(', "LeakyRelu", "Tanh", "Tanh"'), "q"),
         ONE_WAY.format(', direction = "reverse"' + LEAKY.format(""), "w2, r2, b2"), (17, 17), False),
        (PLACES.format("y = Gather(x, i)"), PLACES.format(PLACE + "y = GatherND(x, j)"), (17, 17), True),
        (PLACES.format("y = Gather(x, i)"), PLACES.format(PLACE + "t = Transpose(x) y = GatherND(t, j)"), (17, 17),
         False),
        (PLACES.format("t = Gather<axis = 1>(x, i) y = Transpose(t)"), PLACES.format(PLACE + "y = GatherND(x, j)"),
         (17, 17), False),
        (SHAPED.format(""), SHAPED.format(""), (13, 14), True),
        (CUT, CUT, (13, 18), True),
        (LARGER, LARGER, (13, 19), True),
    ],
)  # fmt: skip
def test_what_is_written_in_another_way_is_the_same(one: str, other: str, opsets: tuple[int, int], same: bool) -> None:
    models = [text(graph, opset) for graph, opset in zip((one, other), opsets, strict=True)]
    inputs = feeds(models[0], {"N": 2})
    inputs |= {"s": np.int64([3, 8] if "Reshape" in one else [2, 4])} if "int64[2] s" in one else {}
    inputs |= {"s": np.float32([1, 1, 2, 2])} if "float[4] s" in one else {}
    (wanted,), (found,) = (run(each, inputs)[:1] for each in models)
    assert (wanted.shape == found.shape and np.allclose(wanted, found, atol=1e-6)) == same
    assert compared(*models).proved == same


def test_a_size_of_zero_is_not_that_of_the_operand_where_it_may_be_zero() -> None:
    assert not compared(text(SHAPED.format(""), 13), text(SHAPED.format("<allowzero = 1>"), 14)).proved
