"""An If whose condition follows from sizes or constants is the branch that it takes; of any other the shape is lost."""

from __future__ import annotations

from collections import Counter

import pytest
from execute import difference, feeds, run
from onnx import ModelProto
from textmodel import parse

import fc2conv

CONDITIONS = {
    "equal": "s = Shape (m)  d = Gather (s, one)  c = Equal (d, four)",
    "greater": "s = Shape (m)  r = Size (s)  c = Greater (r, one)",
    "not": "s = Shape (m)  d = Gather (s, one)  e = Equal (d, one)  c = Not (e)",
    "cast": "s = Shape (m)  d = Gather (s, one)  e = Sub (d, one)  c = Cast <to = 9> (e)",
    "constant": "c = Constant <value = bool[1] {1}> ()",
    "flattened": "g = Flatten (m)  s = Shape (g)  d = Gather (s, one)  e = Equal (d, four)  c = Not (e)",
}
FLATTEN = "f = Flatten (m)"
BRANCHES = {
    "same names": (FLATTEN, "f = Identity (m)", 36),
    "layer within": ("g = Flatten (m)  [inner] f = MatMul (g, u)", "f = GlobalAveragePool (m)", 7),
    "nested": (
        """q = Shape (m)  n = Size (q)  e = Equal (n, four)
           f = If (e) <then_branch = t2 () => (float[M,K] z) { z = Flatten (m) },
                       else_branch = e2 () => (float[?,?,?,?] z) { z = Relu (m) }>""",
        "f = Relu (m)",
        36,
    ),
}
CONV, NAMES = "m = Conv (x, k)", "int64[1] one = {1}, int64[1] four = {4}, float[4,3,1,1] k, float[36,7] u"


def choosing(condition: str, then: str = FLATTEN, other: str = "f = Identity (m)", features: int = 36) -> ModelProto:
    return parse(f"""graph (float[N,3,3,3] x) => (float[N,5] y) <{NAMES}, float[{features},5] w>
    {{ {CONV}  {condition}
       b = If (c) <then_branch = t () => (float[?,?] f) {{ {then} }},
                   else_branch = e () => (float[?,?,?,?] f) {{ {other} }}>
       [fc] y = MatMul (b, w) }}""")


def operators(model: ModelProto) -> Counter[str]:
    return Counter(node.op_type for node in model.graph.node)


@pytest.mark.parametrize("scope", ["spatial", "all"])
@pytest.mark.parametrize("condition", CONDITIONS)
def test_a_layer_sees_the_map_through_the_branch_that_is_taken(condition: str, scope: str) -> None:
    model = choosing(CONDITIONS[condition])
    conversion = fc2conv.convert(model, scope=scope)
    inputs = feeds(model, {"N": 2})
    assert difference(run(model, inputs), run(conversion.model, inputs)) < 1e-4
    assert conversion.report.verification is not None
    assert conversion.report.verification.verdict.value == "proved"
    # What only the condition needed is gone with it.
    assert operators(conversion.model) == {"Conv": 2, "Flatten": 1}


@pytest.mark.parametrize("name", BRANCHES)
def test_what_is_in_the_branch_is_planned_with_the_rest(name: str) -> None:
    model = choosing(CONDITIONS["equal"], *BRANCHES[name])
    conversion = fc2conv.convert(model)
    inputs = feeds(model, {"N": 2})
    assert difference(run(model, inputs), run(conversion.model, inputs)) < 1e-4
    assert not any(layer.decision == "keep" for layer in conversion.report.sites)
    assert "If" not in operators(conversion.model)
    assert conversion.report.layout_nodes.after == 1


def test_an_if_without_a_layer_behind_it_stays() -> None:
    model = parse(f"""graph (float[N,3,3,3] x) => (float[N,5] y, float[?,?] b) <{NAMES}, float[36,5] w>
    {{ {CONV}  {CONDITIONS["equal"]}
       b = If (c) <then_branch = t () => (float[?,?] g) {{ g = Flatten (m) }},
                   else_branch = e () => (float[?,?,?,?] g) {{ g = Identity (m) }}>
       f = Flatten (m)  [fc] y = MatMul (f, w) }}""")
    assert operators(fc2conv.convert(model).model)["If"] == 1


@pytest.mark.parametrize("size", ["batch", "height"])
def test_a_choice_by_an_open_size_is_settled_where_the_size_is_written(size: str) -> None:
    at = {"batch": "zero", "height": "two"}[size]
    model = choosing(f"s = Shape (m)  d = Gather (s, {at})  c = Equal (d, {at}_is)")
    more = "<int64[1] zero = {0}, int64[1] two = {2}, int64[1] zero_is = {1}, int64[1] two_is = {3}>"
    model.graph.initializer.extend(parse(f"graph () => () {more} {{ }}").graph.initializer)
    if size == "height":
        model.graph.input[0].type.tensor_type.shape.dim[2].dim_param = "H"
    report = fc2conv.plan(model)
    assert report.sites[0].reason is not None
    assert report.sites[0].reason.code == "FC105"
    assert "--static" in report.sites[0].reason.remedy
    static = fc2conv.convert(model, static=1, input_shapes={"x": (1, 3, 3, 3)}).model
    assert operators(static) == {"Conv": 2, "Flatten": 1}


def test_the_map_is_lost_at_an_if_that_is_not_settled() -> None:
    text = f"""graph (float[N,3,3,3] x, bool c) => (float[N,5] y) <{NAMES}, float[36,5] w>
    {{ {CONV}  b = If (c) <then_branch = t () => (float[N,36] f) {{ f = Flatten (m) }},
                           else_branch = e () => (float[N,36] f) {{ h = Relu (m)  f = Flatten (h) }}>
       [fc] y = MatMul (b, w) }}"""
    (layer,) = fc2conv.plan(parse(text)).sites
    assert layer.reason is not None
    assert (layer.reason.code, layer.reason.node) == ("FC102", "b")


def test_a_choice_in_a_function_is_settled_where_it_is_called() -> None:
    text = f"""graph (float[N,3,3,3] x) => (float[N,5] y) <float[4,3,1,1] k, float[36,5] w>
    {{ m = Conv (x, k)  y = own.Head (m, w) }}
    <domain: "own", opset_import: ["": 13]> Head (m, w) => (y)
    {{ s = Shape (m)  r = Size (s)  four = Constant <value = int64 {{4}}> ()  c = Equal (r, four)
       b = If (c) <then_branch = t () => (float[?,?] f) {{ {FLATTEN} }},
                   else_branch = e () => (float[?,?,?,?] f) {{ f = Identity (m) }}>
       [fc] y = MatMul (b, w) }}"""
    model = parse(text, domains={"own": 1})
    conversion = fc2conv.convert(model)
    inputs = feeds(model, {"N": 2})
    assert difference(run(model, inputs), run(conversion.model, inputs)) < 1e-4
    assert operators(conversion.model) == {"Conv": 2, "Flatten": 1}


SIZES_OF_X = "s = Shape (x)  i = Gather (s, two)  j = Gather (s, three)  g = GlobalAveragePool (x)"
CHOICE = """If (e) <then_branch = t () => (float[N,3] t1) { t1 = Flatten (g) },
                   else_branch = o () => (float[N,3] u) { v = Neg (g)  u = Flatten (v) }>"""
ROOT = """If (c) <then_branch = a () => (int64 t) {{ d = Cast <to = 1> ({0})  k = Sqrt (d)  t = Cast <to = 7> (k) }},
                  else_branch = b () => (int64 u) {{ u = Identity ({0}) }}>"""
IN_A_LOOP = """y = Loop (three, , z) <body = l (int64 {}, bool b, float[N,3] a) => (bool n, float[N,3] r)
    {{ n = Identity (b)  e = {}  h = {}  m = MatMul (h, w)  r = Add (m, a) }}>"""
UNSETTLED = {
    "a quotient in floating point is its floor": f"""p = Cast <to = 1> (i)  q = Cast <to = 1> (j)  r = Div (p, q)
        f = Floor (r)  e = Equal (f, r)  h = {CHOICE}  y = MatMul (h, w)""",
    "roots of two sizes": f"""n = Size (s)  c = Equal (n, four)  p = {ROOT.format("i")}  q = {ROOT.format("j")}
        e = Equal (p, q)  h = {CHOICE}  y = MatMul (h, w)""",
    "roots of roots": f"""p, q = Loop (two, , i, i) <body = l (int64 k, bool b, int64 l, int64 m) =>
            (bool n, int64 o, int64 r) {{ n = Identity (b)  o = Identity (m)  f = Cast <to = 1> (m)  q = Sqrt (f)
            r = Cast <to = 7> (q) }}>
        e = Equal (p, q)  h = {CHOICE}  y = MatMul (h, w)""",
    "a step is called as a size": f"z = Flatten (g)  {IN_A_LOOP.format('i', 'Equal (i, seven)', CHOICE)}",
    "a comparison is called as one of sizes": f"""z = Flatten (g)  e = Equal (i, seven)
        {IN_A_LOOP.format("k", "Equal (k, two)", CHOICE)}""",
    "a size of the type of the second state": f"""o, p = Loop (two, , z, one)
        <body = l (int64 k, bool b, float f, int64 l) => (bool n, float q, int64 r)
            {{ n = Identity (b)  q = Add (f, f)  r = Add (l, l) }}>
        c = CastLike (i, p)  d = Div (c, three)  q = Mul (d, three)  e = Equal (q, i)
        h = {CHOICE}  y = MatMul (h, w)""",
}


@pytest.mark.parametrize("name", UNSETTLED)
def test_no_branch_is_taken_for_another(name: str) -> None:
    numbers = "int64 one = {1}, int64 two = {2}, int64 three = {3}, int64 four = {4}, int64 seven = {7}"
    scalar = ", float z" if "state" in name else ""
    fixed = "called" in name or "state" in name
    model = parse(
        f"""graph (float[N,3,{"7" if fixed else "H"},W] x{scalar}) => (float[N,3] y) <{numbers}, float[3,3] w>
        {{ {SIZES_OF_X}  {UNSETTLED[name]} }}""",
        opset=17,
    )
    conversion = fc2conv.convert(model)
    for height, width in ((7, 7), (7, 2)) if fixed else ((4, 2), (256, 5), (16, 16)):
        inputs = feeds(model, {"N": 2, "H": height, "W": width})
        assert difference(run(model, inputs), run(conversion.model, inputs)) < 1e-4


def test_a_loop_whose_body_has_no_nodes_is_not_walked_to_its_end() -> None:
    text = """graph (float[N,4,3,3] x) => (float[N,5] y, int64 z)
    <float[36,5] w, int64 many = {1099511627776}, int64 three = {3}>
    { z = Loop (many, , three) <body = a (int64 i, bool g, int64 s) => (bool g, int64 s) { }>
      f = Flatten (x)  [fc] y = MatMul (f, w) }"""
    (layer,) = fc2conv.plan(parse(text)).sites
    assert layer.decision == "convert"


def test_the_state_of_a_loop_has_the_shape_that_it_has_throughout() -> None:
    text = """graph (float[N,4,3,3] x) => (float[N,5] y) <float[4,4,1,1] k, float[36,5] w, int64 n = {3}, bool on = {1}>
    { r = Loop (n, on, x) <body = a (int64 i, bool g, float[N,4,3,3] s) => (bool h, float[N,4,3,3] t)
        { h = Identity (g)  c = Conv (s, k)  t = Relu (c) }>
      f = Flatten (r)  [fc] y = MatMul (f, w) }"""
    model = parse(text)
    (layer,) = fc2conv.plan(model).sites
    assert layer.reason is not None
    assert (layer.reason.code, layer.reason.node) == ("FC102", "r")
    conversion = fc2conv.convert(model, scope="all")
    inputs = feeds(model, {"N": 2})
    assert difference(run(model, inputs), run(conversion.model, inputs)) < 1e-4
    assert len(conversion.report.converted) == 1


def test_a_number_of_an_unsettled_branch_is_a_factor_of_a_map() -> None:
    text = """graph (float[N,3,H,5] x, bool c) => (float[N,4] y) <float[3,4] w, int64 one = {1}, int64 two = {2}>
    { s = Shape (x)  a = Gather (s, two)
      r = If (c) <then_branch = t () => (int64 p) { p = Identity (a) },
                  else_branch = e () => (int64 q) { q = Add (a, one) }>
      f = Cast <to = 1> (r)  g = GlobalAveragePool (x)  v = Flatten (g)  u = Mul (v, f)  [fc] y = MatMul (u, w) }"""
    model = parse(text)
    conversion = fc2conv.convert(model)
    inputs = feeds(model, {"N": 2, "H": 4})
    assert difference(run(model, inputs), run(conversion.model, inputs)) < 1e-4
    assert len(conversion.report.converted) == 1
