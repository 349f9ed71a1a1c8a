"""Numbers that count the cells of a map: of a network that pools the whole image they are those of any image."""

from __future__ import annotations

import pytest
from execute import run
from onnx import ModelProto
from sliding_judge import CLOSE, apart, image, slid
from textmodel import parse

import fc2conv
from fc2conv import Options, SlidingOptions
from fc2conv.errors import InputError

_SPREAD = "g = Sigmoid (m)  r = Mul (c, g)"
_SQUARES = "m = ReduceMean <axes = [2, 3]> (c)  d = Sub (c, m)  e = Mul (d, d)"
_NORM = "z = Add (b, level)  s = Sqrt (z)  r = Div (d, s)"
_GROUPS = """q = Reshape (c, groups)  m = ReduceMean <axes = [2]> (q)  o = Sub (q, m)  e = Mul (o, o)
    v = ReduceMean <axes = [2]> (e)"""
_NORMED = "z = Add (b, level)  s = Sqrt (z)  d = Div (o, s)  r = Reshape (d, whole)"
COUNTED = {
    "a sum by n": f"v = ReduceSum (c, space)  m = Div (v, n)  {_SPREAD}",
    "a sum by 1/n": f"v = ReduceSum (c, space)  m = Mul (v, inverse)  {_SPREAD}",
    "by 1/n, then a sum": f"v = Mul (c, inverse)  m = ReduceSum (v, space)  {_SPREAD}",
    "a sum of rows": f"v = ReduceSum (c, column)  m = Div (v, side)  {_SPREAD}",
    "channels last": """t = Transpose <perm = [0, 2, 3, 1]> (c)  v = ReduceSum (t, middle)  m = Div (v, n)
        g = Sigmoid (m)  o = Mul (t, g)  r = Transpose <perm = [0, 3, 1, 2]> (o)""",
    "a variance": f"{_SQUARES}  v = ReduceSum (e, space)  b = Div (v, less)  {_NORM}",
    "a variance by n / (n - 1)": f"{_SQUARES}  v = ReduceMean <axes = [2, 3]> (e)  b = Mul (v, bessel)  {_NORM}",
    "a variance of a difference": f"""m = ReduceMean <axes = [2, 3]> (c)  e = Mul (c, c)  d = Sub (c, m)
        q = ReduceMean <axes = [2, 3]> (e)  o = Mul (m, m)  v = Sub (q, o)  b = Mul (v, bessel)  {_NORM}""",
    "a root mean square": "v = ReduceL2 <axes = [2, 3]> (c)  m = Div (v, root)  r = Div (c, m)",
    "a variance of groups": f"{_GROUPS}  a = Mul (v, twice)  b = Div (a, twice_less)  {_NORMED}",
    "a variance of groups, in halves": """q = Reshape (c, apart)  m = ReduceMean <axes = [2, 3, 4]> (q)  o = Sub (q, m)
        e = Mul (o, o)  v = ReduceSum (e, behind)  b = Div (v, twice_less)  """
    + _NORMED,
    "attention without parameters": f"""{_SQUARES}  v = ReduceSum (e, space)  a = Div (v, less)  b = Add (a, level)
        i = Div (e, b)  j = Add (i, level)  g = Sigmoid (j)  r = Mul (c, g)""",
    "a gate of another number": f"v = GlobalAveragePool (c)  m = Mul (v, level)  {_SPREAD}",
}
"""Networks with such a number, written for each size."""

MEASURED = {
    "of groups": f"""{_GROUPS}  h = Shape (q)  i = Gather (h, two)  j = Sub (i, one)  k0 = Cast <to = 1> (i)
        k1 = Cast <to = 1> (j)  a = Mul (v, k0)  b = Div (a, k1)  {_NORMED}""",
    "of parts": f"""q = Reshape (c, apart)  h = Shape (q)  i = Gather (h, last_two)  j = ReduceProd <keepdims = 0> (i)
        k0 = Cast <to = 1> (j)  v = ReduceSum (c, space)  m = Div (v, k0)  {_SPREAD}""",
    "channels last": f"""t = Transpose <perm = [0, 2, 3, 1]> (c)  h = Shape (t)  i = Gather (h, middle)
        j = ReduceProd <keepdims = 0> (i)  k0 = Cast <to = 1> (j)  v = ReduceSum (c, space)
        m = Div (v, k0)  {_SPREAD}""",
    "of cells in a row": f"""q = Reshape (c, row)  h = Shape (q)  i = Gather (h, two)  k0 = Cast <to = 1> (i)
        v = ReduceSum (c, space)  m = Div (v, k0)  {_SPREAD}""",
    "before they are summed": f"""h = Shape (c)  i = Gather (h, space)  j = ReduceProd <keepdims = 0> (i)
        k0 = Cast <to = 1> (j)  a = Div (c, k0)  m = ReduceSum (a, space)  {_SPREAD}""",
    "all of them": f"""h = Size (c)  k0 = Cast <to = 1> (h)  v = ReduceSum (c, space)  a = Div (v, k0)
        m = Mul (a, level)  {_SPREAD}""",
}
"""Networks that compute it of a shape."""


def network(body: str, side: int = 6) -> ModelProto:
    n = side * side
    numbers = {
        "n": n, "less": n - 1, "inverse": 1 / n, "bessel": n / (n - 1), "root": n**0.5, "twice": 2 * n,
        "twice_less": 2 * n - 1, "side": side, "level": 0.5,
    }  # fmt: skip
    floats = ", ".join(f"float {name} = {{{float(value)!r}}}" for name, value in numbers.items())
    return parse(
        f"""g (float[1,2,{side + 2},{side + 2}] x) => (float[1,5] y)
        <float[4,2,3,3] k, float[5,4] w, {floats}, int64[2] space = {{2, 3}}, int64[1] column = {{3}},
         int64[2] middle = {{1, 2}}, int64[3] behind = {{2, 3, 4}}, int64[1] two = {{2}}, int64[1] one = {{1}},
         int64[2] last_two = {{3, 4}}, int64[3] groups = {{0, 2, -1}}, int64[3] row = {{0, 4, -1}},
         int64[5] apart = {{0, 2, 2, {side}, {side}}}, int64[4] whole = {{0, 4, {side}, {side}}}>
        {{ c = Conv <kernel_shape = [3, 3]> (x, k)  {body}  f = Tanh (r)  p = GlobalAveragePool (f)
           t0 = Flatten (p)  [fc] y = Gemm <transB = 1> (t0, w) }}""",
        opset=17,
    )


@pytest.mark.parametrize("name", COUNTED)
def test_a_number_that_counts_cells_is_that_of_the_image(name: str) -> None:
    """The map in front of the last pooling is that of the network of the larger size."""
    assert _gap(COUNTED[name]) < CLOSE


@pytest.mark.parametrize("name", MEASURED)
def test_a_number_computed_of_a_shape_is_that_of_the_image(name: str) -> None:
    assert _gap(MEASURED[name]) < CLOSE


def _gap(body: str) -> float:
    larger, sliding = network(body, 11), slid(network(body))
    for model in (sliding, larger):
        model.graph.output.add(name="f")
    given = image(larger, {})
    return apart(run(larger, given)[-1], run(sliding, given)[-1])


@pytest.mark.parametrize("name", ["a variance by n / (n - 1)", "a root mean square", "a variance of groups"])
def test_it_is_proved(name: str) -> None:
    report = fc2conv.convert(network(COUNTED[name]), options=Options(sliding=SlidingOptions())).report
    assert report.verification is not None
    assert report.verification.verdict.accepted


def test_a_network_that_keeps_its_pooling_is_compared_in_front_of_it() -> None:
    """The original itself has the number of the training size on a larger image."""
    options = Options(sliding=SlidingOptions(global_pool="keep"))
    report = fc2conv.convert(network(COUNTED["a variance"]), options=options).report
    assert report.verification is not None
    assert report.verification.verdict.accepted


def test_a_sum_that_slides_keeps_the_number_of_its_window() -> None:
    model = network("v = ReduceSum (c, space)  m = Div (v, n)  r = Sigmoid (m)")
    sliding = slid(model)
    (cells,) = run(sliding, given := image(sliding, {2: 9, 3: 10}))
    (name,) = given
    for i, j in ((0, 0), (1, 2)):
        (wanted,) = run(model, {name: given[name][:, :, i : i + 8, j : j + 8]})
        assert apart(wanted[0], cells[0, :, i, j]) < CLOSE


def test_cells_that_are_counted_have_no_form_with_holes() -> None:
    model = parse(
        """g (float[1,2,17,17] x) => (float[1,5] y) <float[4,2,3,3] k, float[5,4] w, float n = {64.0},
            int64[2] space = {2, 3}>
        { c = Conv <kernel_shape = [3, 3], strides = [2, 2]> (x, k)  v = ReduceSum (c, space)  m = Div (v, n)
          g = Sigmoid (m)  r = Mul (c, g)  p = GlobalAveragePool (r)  f = Flatten (p)  [fc] y = Gemm <transB = 1> (f, w)
        }"""
    )
    options = Options(sliding=SlidingOptions(output_stride=1), verify=False)
    with pytest.raises(InputError, match="FC511 at m: it counts the cells of the map"):
        fc2conv.convert(model, options=options)
