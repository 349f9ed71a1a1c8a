"""What a network does with one item alone is proved with one item."""

from __future__ import annotations

import pytest
from execute import difference, feeds, run
from textmodel import parse

import fc2conv

BODIES = """graph (float[N,3,2,2] x) => (float[N,5] y)
  <float[12,5] w, float[12,5] v, int64 zero = {{0}}, int64 n = {{{}}}>
{{ s = Shape (x)  b = Gather (s, zero)  c = {} (b, n)  f = Flatten (x)
  y = If (c) <
     then_branch = g () => (float[N,5] a) {{ [first] a = MatMul (f, w) }},
     else_branch = h () => (float[N,5] z) {{ [second] p = MatMul (f, v)  z = {} (p) }}> }}"""


@pytest.mark.parametrize(
    ("condition", "n"), [("Equal", 1), ("Greater", 1), ("Less", 2), ("Greater", 2), ("Greater", 4)]
)
def test_layers_of_both_bodies_are_proved(condition: str, n: int) -> None:
    original = parse(BODIES.format(n, condition, "Relu"))
    done = fc2conv.convert(original, None, fc2conv.Options(scope="all"))
    assert {layer.decision for layer in done.report.sites} == {"convert"}
    assert done.model is not None
    for items in (1, 2, 5):
        inputs = feeds(original, {"N": items})
        assert difference(run(original, inputs), run(done.model, inputs)) < 1e-5
    assert done.report.verification is not None
    (exact,) = (check for check in done.report.verification.checks if check.name == "exact")
    assert (exact.verdict, exact.detail[:24]) == ("proved", "proved on 2 and 3 items,"), "both bodies are compared"


@pytest.mark.parametrize(("condition", "n"), [("Equal", 1), ("Greater", 1), ("Greater", 4)])
@pytest.mark.parametrize("body", ["first", "second"])
def test_a_fault_in_either_body_is_found(condition: str, n: int, body: str) -> None:
    original, other = parse(BODIES.format(n, condition, "Relu")), parse(BODIES.format(n, condition, "Abs"))
    if body == "first":
        other = parse(
            BODIES.format(n, condition, "Relu").replace("a = MatMul (f, w)", "q = Neg (f)  a = MatMul (q, w)")
        )
    assert fc2conv.verify(original, other).verdict == "differs"


@pytest.mark.parametrize("size", ["Max (s, two)", "Mul (s, c)"])
def test_a_size_that_is_another_one_with_one_item(size: str) -> None:
    """Of 2 items and more the numbers are the same."""
    text = """graph (float[N,4] x) => (float[N,4] y) <int64[1] two = {2}>
    { n = Shape <end = 1> (x)  s = Identity (n)  b = Less (s, two)  i = Cast <to = 7> (b)  o = Sub (two, two)
      e = Equal (i, o)  c = Cast <to = 7> (e)  r = %s  f = Cast <to = 1> (r)  y = Add (x, f) }"""
    found = fc2conv.verify(parse(text % "Identity (s)", opset=17), parse(text % size, opset=17))
    assert found.verdict == "differs"


EACH_FIFTH = "graph (float[N,4] x) => (float[A,B] y) <int64[2] k = {-1, 20}, int64[1] zero = {0}, int64[1] five = {5}>"
ROWS = "graph (float[N,4] x) => (float[A,B] y) <float[3,4] w, int64[1] zero = {0}, int64[1] three = {3}>"
ONE_ALONE = "n = Shape <end = 1> (x)  t = Sub (three, n)  b = Greater (t, n)  f = Cast <to = 1> (b)"
EVEN = "graph (float[N,4] x) => (float[A,4,B] y) <int64[3] k = {2, 4, -1}, int64[1] three = {3}>"
FEWER = "n = Shape <end = 1> (x)  b = Less (n, three)  f = Cast <to = 1> (b)"
TWO = "graph (float[N,4] x, float[M,4] z) => (float[A,B] y)"


@pytest.mark.parametrize(
    ("head", "one", "other", "verdict"),
    [
        (EACH_FIFTH, "y = Reshape (x, k)", "c = Slice (x, zero, five, zero)  y = Reshape (c, k)", "differs"),
        (ROWS, "y = Add (x, w)", "c = Slice (x, zero, three, zero)  y = Add (c, w)", "proved"),
        (ROWS, "y = Add (x, w)", "s = Shape (w)  e = Expand (x, s)  y = Add (e, w)", "proved"),
        (EVEN, "y = Reshape (x, k)", f"{FEWER}  o = Add (x, f)  y = Reshape (o, k)", "differs"),
        (ROWS, "y = Max (x, w)", f"{ONE_ALONE}  o = Add (x, f)  y = Max (o, w)", "differs"),
        (TWO, "y = Add (x, z)", "s = Shape (z)  e = Expand (x, s)  y = Add (e, z)", "proved"),
        (TWO, "y = Add (x, z)", "s = Shape (x)  r = Reshape (z, s)  y = Add (x, r)", "differs"),
    ],
)
def test_numbers_of_items_that_suit_a_model(head: str, one: str, other: str, verdict: str) -> None:
    """A batch of which each fifth number is one, or one and three; two that are broadcast in each other."""
    models = [parse(f"{head} {{ {each} }}", opset=17) for each in (one, other)]
    assert fc2conv.verify(*models).verdict == verdict


VALUES = "<int64[1] zero = {0}, int64[1] one = {1}, int64[1] two = {2}, int64[1] five = {5}, int64[1] last = {-1}>"
BATCH, TOKENS = "graph (float[N,1,4] x) => (float y)", "graph (float[1,T,4] x) => (float y)"
GONE = "a = Slice (x, {0}, {1}, {2})  n = Shape <start = {3}, end = {4}> (a)  s = Sub (n, {5})  f = Cast <to = 1> (s)"


@pytest.mark.parametrize(
    ("head", "one", "other", "verdict"),
    [
        (BATCH, "y = Squeeze (x)", "y = Squeeze (x, one)", "differs"),
        (BATCH, "y = Identity (x)", f"{GONE.format('one', 'two', 'zero', 0, 1, 'one')}  y = Add (x, f)", "differs"),
        (BATCH, "y = Identity (x)", f"{GONE.format('zero', 'two', 'zero', 0, 1, 'two')}  y = Add (x, f)", "differs"),
        (BATCH, "y = Gather (x, one)", "y = Slice (x, one, two, zero)", "proved"),
        (TOKENS, "y = Identity (x)", f"{GONE.format('two', 'five', 'one', 1, 2, 'three')}  y = Add (x, f)", "differs"),
        (TOKENS, "a = Slice (x, two, five, one)  y = ReduceSum (a, one)",
         "a = Slice (x, two, five, one)  b = Slice (x, two, five, one)  c = Add (a, b)  d = Sub (c, a)"
         "  y = ReduceSum (d, one)", "proved"),
    ],
)  # fmt: skip
def test_positions_that_fewer_items_do_not_have(head: str, one: str, other: str, verdict: str) -> None:
    values = VALUES.replace(">", ", int64[1] three = {3}>")
    models = [parse(f"{head} {values} {{ {each} }}", opset=17) for each in (one, other)]
    options = fc2conv.VerifyOptions(only="exact")
    assert fc2conv.verify(*models, options).verdict == verdict
