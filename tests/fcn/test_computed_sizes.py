"""Sliding networks whose pads, crops and reshapes follow from sizes that they compute: as at the training size."""

from __future__ import annotations

import pytest
from computed_sizes import KINDS, computed_sizes
from sliding_judge import at_crops, at_training_size, slid
from textmodel import parse

from fc2conv.errors import InputError

SHUFFLES = {
    "constant sizes": "r = Reshape (c, a)  p = Transpose <perm = [0, 2, 1, 3, 4]> (r)  d = Reshape (p, back)",
    "a computed quotient": """s = Shape (c)  n = Gather <axis = 0> (s, z)  m = Gather <axis = 0> (s, one)
        h = Gather <axis = 0> (s, two)  q = Div (m, two)  t = Concat <axis = 0> (n, two, q, h, h)  r = Reshape (c, t)
        p = Transpose <perm = [0, 2, 1, 3, 4]> (r)  u = Concat <axis = 0> (n, m, h, h)  d = Reshape (p, u)""",
    "channels last": """l = Transpose <perm = [0, 2, 3, 1]> (c)  r = Reshape (l, cl)
        p = Transpose <perm = [0, 1, 2, 4, 3]> (r)  f = Reshape (p, clback)  d = Transpose <perm = [0, 3, 1, 2]> (f)""",
    "an activation between": """r = Reshape (c, a)  p = Transpose <perm = [0, 2, 1, 3, 4]> (r)  d = Reshape (p, back)
        e = Relu (d)""",
}


def shuffled(nodes: str, layer: int = 8) -> str:
    last = "e" if " e = " in nodes else "d"
    return f"""g (float[N,2,8,8] x) => (float[N,5] y) <float[8,2,3,3] k, float[8,8,3,3] k2, float[5,{layer}] w,
        int64[5] a = {{-1, 2, 4, 6, 6}}, int64[4] back = {{-1, 8, 6, 6}}, int64[5] cl = {{-1, 6, 6, 2, 4}},
        int64[4] clback = {{-1, 6, 6, 8}}, int64[1] z = {{0}}, int64[1] one = {{1}}, int64[1] two = {{2}}>
        {{ c = Conv (x, k)  {nodes}  c2 = Conv ({last}, k2)  p2 = GlobalAveragePool (c2)  f2 = Flatten (p2)
           [fc] y = Gemm <transB = 1> (f2, w) }}"""


@pytest.mark.parametrize("kind", sorted({*KINDS} - {"frames as a batch", "a crop of all items"}))
def test_a_network_of_computed_sizes_slides(kind: str) -> None:
    model = computed_sizes(kind)
    assert at_training_size(model, slid(model)) < 1e-4


@pytest.mark.parametrize("kind", SHUFFLES)
def test_a_channel_shuffle_slides(kind: str) -> None:
    model = parse(shuffled(SHUFFLES[kind]))
    sliding = slid(model)
    assert [node.op_type for node in sliding.graph.node].count("Gather") == 1
    assert at_training_size(model, sliding) < 1e-5
    assert at_crops(model, sliding, (10, 11)) < 2e-5


def test_every_second_channel_may_be_taken() -> None:
    nodes = """r = Reshape (c, five)  p = Transpose <perm = [2, 0, 1, 3, 4]> (r)  g = Gather <axis = 0> (p, i)
        d = Mul (g, g)"""
    text = (
        shuffled(nodes)
        .replace("k2, float", "k0, float[8,4,3,3] k2, float")
        .replace("int64[1] z", "int64[5] five = {-1, 4, 2, 6, 6}, int64 i = {1}, int64[1] z")
    )
    model = parse(text)
    sliding = slid(model)
    assert at_training_size(model, sliding) < 1e-5
    assert at_crops(model, sliding, (10, 11)) < 2e-5


def test_channels_that_stay_apart_are_named_where_they_are_taken_apart() -> None:
    nodes = "r = Reshape (c, a)  q = CumSum (r, four)  d = Reshape (q, back)"
    with pytest.raises(InputError, match=r"FC503 at r: \[7, 8, 6, 6\] becomes \[7, 2, 4, 6, 6\]"):
        slid(parse(shuffled(nodes).replace("int64[1] z", "int64 four = {4}, int64[1] z")))


def test_a_crop_by_a_computed_size_is_so_much_from_the_end_of_any_map() -> None:
    model = parse(
        """g (float[N,2,9,9] x) => (float[N,5] y) <float[4,2,3,3] k, float[5,144] w, int64[1] two = {2},
        int64[1] four = {4}, int64[1] one = {1}, int64[2] zz = {0, 0}, int64[2] hw = {2, 3}>
        { c = Conv (x, k)  s = Shape (c)  a = Slice (s, two, four)  e = Sub (a, one)  d = Slice (c, zz, e, hw)
          f = Flatten (d)  [fc] y = Gemm <transB = 1> (f, w) }"""
    )
    sliding = slid(model)
    assert at_crops(model, sliding, (11, 12)) < 2e-5


def test_a_scale_by_the_channels_of_a_layer_is_a_number() -> None:
    model = parse(
        """g (float[N,2,8,8] x) => (float[N,5] y) <float[4,2,3,3] k, float[4,6] w1, float[5,216] w, int64 three = {3}>
        { c = Conv (x, k)  l = Transpose <perm = [0, 2, 3, 1]> (c)  [dense] d = MatMul (l, w1)  s = Shape (d)
          a = Gather <axis = 0> (s, three)  b = Cast <to = 1> (a)  q = Sqrt (b)  r = Div (d, q)  f = Flatten (r)
          [fc] y = Gemm <transB = 1> (f, w) }"""
    )
    sliding = slid(model)
    assert at_training_size(model, sliding) < 1e-5
    assert at_crops(model, sliding, (10, 11)) < 2e-5


CHOSEN = {
    "a branch that is taken": """s = Shape (c)  h = Gather <axis = 0> (s, two)  few = Greater (h, one)  d = If (few) <
        then_branch = a () => (u) { m = MaxPool <kernel_shape = [2, 2]> (c)  u = Relu (m) },
        else_branch = o () => (v) { v = Neg (c) }>""",
    "maps of a list": """q = SplitToSequence <axis = 1> (c, four)  a0 = SequenceAt (q, one)  a1 = SequenceAt (q, z)
        p = SequenceConstruct (a0, a1)  d = ConcatFromSequence <axis = 1> (p)""",
}


@pytest.mark.parametrize("kind", CHOSEN)
def test_a_choice_of_maps_that_is_known_slides(kind: str) -> None:
    text = shuffled(CHOSEN[kind]).replace(
        "int64[1] z = {0}, int64[1] one", "int64 four = {4}, int64 z = {0}, int64 one"
    )
    model = parse(text)
    sliding = slid(model)
    assert at_training_size(model, sliding) < 1e-5
    assert at_crops(model, sliding, (10, 11)) < 2e-5


COUNTED = """g (float[N,2,8,8] x) => (float[N,5] y) <float[4,2,3,3] k, float[5,4] w, int64 two = {{2}},
    int64 often = {{2000}}, bool on = {{1}}, float one = {{1.0}}>
    {{ c = Conv (x, k)  s = Shape (c)  h = Gather (s, two)  {}  m = Mul (c, n)  d = Sub (n, one)  q = Div (m, d)
       p = GlobalAveragePool (q)  f = Flatten (p)  [fc] y = Gemm <transB = 1> (f, w) }}"""


def test_a_number_of_the_type_of_a_map_is_that_of_a_window() -> None:
    model = parse(COUNTED.format("n = CastLike (h, c)"), opset=15)
    sliding = slid(model)
    assert at_training_size(model, sliding) < 1e-5
    assert at_crops(model, sliding, (10, 11)) < 2e-5


def test_a_number_that_is_computed_of_a_size_and_not_known_is_refused() -> None:
    """At each cell it would be that of the whole image."""
    nodes = """v = Loop (often, on, h) <body = b (int64 i, bool o, int64 a) => (bool e, int64 r)
        { e = Identity (o)  r = Add (a, i) }>  n = Cast <to = 1> (v)"""
    with pytest.raises(InputError, match="FC501 at m: its operand n is computed of the size of a map"):
        slid(parse(COUNTED.format(nodes), opset=15))
