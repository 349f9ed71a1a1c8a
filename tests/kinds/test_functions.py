"""Model-local functions on the way to a layer, as exporters write them that keep a function for each operator."""

from __future__ import annotations

from collections import Counter
from itertools import product

import numpy as np
import pytest
from execute import difference, feeds, run
from onnx import ModelProto, TensorProto, helper
from proving_kinds import proved
from textmodel import parse

import fc2conv
from fc2conv.errors import InputError, UnprovedError, UsageError
from fc2conv.options import SlidingOptions
from fc2conv.rewrite import functions

_FUNCTION = '<domain: "own", opset_import: ["": 18, "own": 1]>'
FUNCTIONS = f"""
{_FUNCTION} flat <a: int = 1> (v) => (r) {{ i = own.swish (v)  r = Flatten <axis: int = @a> (i) }}
{_FUNCTION} swish (v) => (r) {{ s = Sigmoid (v)  r = Mul (v, s) }}
{_FUNCTION} shape (v) => (r) {{ n = Shape <end = 1> (v)  e = Constant <value_ints = [-1]> ()
                                r = Concat <axis = 0> (n, e) }}
{_FUNCTION} turned (v) => (r) {{ r = Transpose <perm = [1, 0]> (v) }}
{_FUNCTION} convolved (v, u) => (r) {{ r = Conv (v, u) }}
{_FUNCTION} linear (v, u) => (r) {{ s = own.swish (v)  r = Gemm <transB = 1> (s, u) }}
{_FUNCTION} either <turn: int = 1> (v, u) => (r)
{{ n = ReduceMax <keepdims = 0> (v)  c = Cast <to = 9> (n)
   r = If (c) <then_branch = then () => (p) {{ p = Gemm <transB: int = @turn> (v, u) }},
               else_branch = otherwise () => (q) {{ q = own.plain (v, u) }}> }}
{_FUNCTION} plain <turn: int = 1> (v, u) => (r) {{ r = Gemm <transB: int = @turn> (v, u) }}
{_FUNCTION} scalar (v) => (r) {{ n = Shape (v)  s = Size (n)  z = Constant <value_int = 0> ()  r = Equal (s, z) }}
{_FUNCTION} scores (v) => (r)
{{ t = own.scalar (v)
   r = If (t) <then_branch = then () => (p) {{ p = Identity (v) }},
               else_branch = otherwise () => (q) {{ q = Softmax <axis = 1> (v) }}> }}
{_FUNCTION} split (v) => (r) {{ n = Constant <value_int = 4> ()  r = SplitToSequence <axis = 1> (v, n) }}
{_FUNCTION} item (v) => (r) {{ i = Constant <value_int = 0> ()  r = SequenceAt (v, i) }}
{_FUNCTION} picked (v, u) => (r) {{ s = SequenceConstruct (u, v)  w = own.item (s)  r = Gemm <transB = 1> (v, w) }}
{_FUNCTION} transposed (v, u) => (r) {{ t = own.turned (u)  r = MatMul (v, t) }}
"""
CASES = {
    "flat": "m = Conv (x, k)  f = own.flat (m)  [fc] y = Gemm <transB = 1> (f, w)",
    "beside a layer of its own": "m = Conv (x, k)  f = own.flat (m)  y = own.linear (f, w)",
    "map": "m = own.convolved (x, k)  s = own.swish (m)  f = Flatten (s)  [fc] y = Gemm <transB = 1> (f, w)",
    "target": "m = Conv (x, k)  t = own.shape (m)  f = Reshape (m, t)  [fc] y = Gemm <transB = 1> (f, w)",
    "weight": "m = Conv (x, k)  f = Flatten (m)  t = own.turned (w)  [fc] y = Gemm (f, t)",
    "item within": "m = Conv (x, k)  f = Flatten (m)  y = own.picked (f, w)",
    "between": "m = Conv (x, k)  f = Flatten (m)  g = Gemm <transB = 1> (f, w)  s = own.swish (g)  y = MatMul (s, v)",
}
HIDING = {
    "choice": "m = Conv (x, k)  s = own.scores (m)  f = Flatten (s)  y = own.transposed (f, w)",
    "item": "m = Conv (x, k)  s = own.split (m)  i = own.item (s)  f = Flatten (i)  y = own.transposed (f, w)",
}


def model(nodes: str, own: int = 1) -> ModelProto:
    """`own` is the version that functions import for each other."""
    text = f"graph (float[N,3,3,3] x) => (float[N,5] y) <float[4,3,1,1] k, float[5,36] w, float[5,5] v> {{ {nodes} }}"
    return parse(text + FUNCTIONS.replace('"own": 1', f'"own": {own}'), opset=18, domains={"own": 1})


@pytest.mark.parametrize(("name", "scope"), [*product(CASES, ["spatial", "all"]), *product(HIDING, ["spatial"])])
def test_what_a_layer_reads_is_seen_through_functions(name: str, scope: str) -> None:
    original = model({**CASES, **HIDING}[name])
    result, report = proved(original, scope=scope)
    inputs = feeds(original, {"N": 2})
    assert difference(run(original, inputs), run(result, inputs)) < 1e-5
    assert report.converted[0].kernel_shape == [3, 3]
    assert not report.kept
    assert sum(node.op_type in ("Flatten", "Reshape", "Transpose") for node in result.graph.node) == 1


@pytest.mark.parametrize("nodes", [CASES["beside a layer of its own"], HIDING["choice"]])
def test_functions_have_no_version(nodes: str) -> None:
    """jax2onnx imports the domains of functions in the version of ONNX's operators, and in version 1 in the model."""
    original = model(nodes, own=18)
    result, report = proved(original)
    assert not report.kept
    inputs = feeds(original, {"N": 2})
    assert difference(run(original, inputs), run(result, inputs)) < 1e-5


def test_inlined_values_of_one_name_are_the_same_values() -> None:
    """Functions that hide a map are inlined later than those that hold a layer."""
    nodes = "m = Conv (x, k)  o = own.flat (m)  b = own.linear (o, w)  c = own.linear (b, v)  y = own.swish (c)"
    original = model(nodes)
    result, _ = proved(original)
    before = functions.inlined_like(original, result)
    outputs = [{each.output[0] for each in m.graph.node} for m in (before, result)]
    names = sorted(name for name in outputs[0] if f"{name}_s" in outputs[1])
    for each, suffix in ((before, ""), (result, "_s")):
        del each.graph.output[:]
        each.graph.output.extend(
            helper.make_tensor_value_info(name + suffix, TensorProto.FLOAT, None) for name in names
        )
    inputs = feeds(original, {"N": 2})
    values = zip(run(before, inputs), run(result, inputs), strict=True)
    assert len(names) > 5
    assert all(np.allclose(one.ravel(), other.ravel(), atol=1e-5) for one, other in values)


def test_a_layer_is_kept_for_what_functions_do_and_not_for_being_within_one() -> None:
    text = f"graph (float[N,7,5] x) => (float[N,7,5] y) <float[5,5] w> {{ y = own.transposed (x, w) }} {FUNCTIONS}"
    (layer,) = fc2conv.plan(parse(text, opset=18, domains={"own": 1})).sites
    assert layer.code == "FC101", "the weight is a constant behind a function, and not FC201"


def test_a_loop_within_a_function_is_the_same_in_place_of_the_call() -> None:
    steps = f"""{_FUNCTION} steps (v, u, n) => (r)
    {{ r = Loop (n, , v) <body = b (int64 i, bool c, float[N,5] s) => (bool d, float[N,5] t)
          {{ d = Identity (c)  m = MatMul (s, u)  t = Tanh (m) }}> }}"""
    text = f"graph (float[N,5] x, int64 n) => (float[N,5] y) <float[5,5] w> {{ y = own.steps (x, w, n) }} {steps}"
    original = parse(text, opset=18, domains={"own": 1})
    _, report = proved(original, scope="all")
    assert len(report.converted) == 1


def test_functions_behind_the_layers_stay() -> None:
    original = model("m = Conv (x, k)  f = Flatten (m)  g = Gemm <transB = 1> (f, w)  y = own.swish (g)")
    result, _ = proved(original)
    assert Counter(node.op_type for node in result.graph.node) == {"Conv": 2, "Flatten": 1, "swish": 1}


@pytest.mark.parametrize("name", ["either", "plain"])
def test_a_default_of_a_function_counts_where_a_call_says_nothing(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The layers of a body are those of the function; the proof reads the functions of the original by itself."""
    original = model(f"m = Conv (x, k)  f = Flatten (m)  g = own.{name} (f, w)  y = own.{name} <turn = 0> (g, v)")
    result, report = proved(original, scope="all")
    assert not report.kept
    assert Counter(node.op_type for node in result.graph.node)["Gemm"] == 0
    inputs = feeds(original, {"N": 2})
    assert difference(run(original, inputs), run(result, inputs)) < 1e-5
    monkeypatch.setattr(functions, "_say_defaults", lambda _: None)
    square = model(f"m = Conv (x, k)  f = Flatten (m)  g = Gemm <transB = 1> (f, w)  y = own.{name} (g, v)")
    with pytest.raises(UnprovedError):
        fc2conv.convert(square)


CALLS = """
<domain: "own", opset_import: ["": 13]> older (v, u) => (r) { a = Relu (v)  r = Gemm (a, u) }
<domain: "own", opset_import: ["": 18, "own": 1]> outer <t> (v, u) => (r) { r = own.inner <turn: int = @t> (v, u) }
<domain: "own", opset_import: ["": 18]> inner <turn: int = 1> (v, u) => (r) { r = Gemm <transB: int = @turn> (v, u) }
"""


@pytest.mark.parametrize("call", ["own.older (f, w)", "own.outer (f, u)", "own.outer <t = 0> (f, w)"])
def test_functions_of_an_older_operator_set_and_references_to_what_is_left_out(call: str) -> None:
    """Relu of 13 takes fewer types than that of 18, and an attribute that is passed on is the default, if left out."""
    text = "graph (float[N,3,3,3] x) => (float[N,5] y) <float[27,5] w, float[5,27] u> { f = Flatten (x)  y = %s }"
    original = parse(text % call + CALLS, opset=18, domains={"own": 1})
    result, report = proved(original, scope="all")
    assert [layer.kernel_shape for layer in report.converted] == [[3, 3]]
    inputs = feeds(original, {"N": 2})
    assert difference(run(original, inputs), run(result, inputs)) < 1e-5


def test_a_network_of_functions_slides() -> None:
    original = model("m = own.convolved (x, k)  s = own.swish (m)  f = Flatten (s)  y = Gemm <transB = 1> (f, w)")
    found = fc2conv.convert(original, sliding=SlidingOptions())
    assert found.report.verification is not None
    assert found.report.verification.verdict == "proved"


@pytest.mark.parametrize("domain", ["", "com.microsoft"])
def test_a_function_that_is_called_as_an_operator_is_neither(domain: str) -> None:
    """Which of the two it is each runtime says for itself: onnxruntime has the operator, onnx the function."""
    name = "FusedMatMul" if domain else "Gemm"
    text = f"""graph (float[N,3,3,3] x) => (float[N,5] y) <float[27,4] w, float[4,5] v>
        {{ f = Flatten (x)  [both] g = own.{name} (f, w)  [fc] y = MatMul (g, v) }}
        <domain: "own", opset_import: ["": 18]> {name} (a, b) => (r) {{ m = MatMul (a, b)  r = Neg (m) }}"""
    original = parse(text, opset=18, domains={domain or "own": 1})
    original.functions[0].domain = original.graph.node[1].domain = domain
    result, report = proved(original, scope="all")
    assert [layer.node for layer in report.converted] == ["fc"]
    assert [node.op_type for node in result.graph.node if node.name == "both"] == [name]
    assert result.functions == original.functions
    inputs = feeds(original, {"N": 2})
    assert difference(run(original, inputs), run(result, inputs)) < 1e-5
    with pytest.raises(InputError, match=f"{name} is a function and an operator"):
        fc2conv.convert(original, sliding=SlidingOptions())


def test_a_function_that_calls_one_of_another_operator_set_is_inlined() -> None:
    """The other one stays as it is: Squeeze takes its axes in another way since opset 13."""
    text = """graph (float[2,3,3,3] x) => (float[2,5] y) <float[27,5] w> { f = Flatten (x)  y = own.over (f, w) }
        <domain: "own", opset_import: ["": 18, "own": 1]> over (v, u) => (r) { s = own.kept (v)  r = Gemm (s, u) }
        <domain: "own", opset_import: ["": 11]> kept (v) => (r) { r = Squeeze (v) }"""
    original = parse(text, opset=18, domains={"own": 1})
    result, report = proved(original, scope="all")
    assert [layer.op_type for layer in report.converted] == ["Gemm"]
    assert [node.op_type for node in result.graph.node if node.domain == "own"] == ["kept"]
    inputs = feeds(original, {})
    assert difference(run(original, inputs), run(result, inputs)) < 1e-5


def test_a_shape_that_is_lost_in_a_function_is_given_by_the_name_that_the_refusal_says() -> None:
    text = f"""graph (float[N,24] x) => (float[N,5] y) <float[24,5] w> {{ y = own.odd (x, w) }}
    {_FUNCTION} odd (v, u) => (r) {{ f = my.Mystery (v)  [fc] r = MatMul (f, u) }}"""
    hidden = parse(text, opset=18, domains={"own": 1, "my": 1})
    hidden.functions[0].opset_import.add(domain="my", version=1)
    (kept,) = fc2conv.plan(hidden, fc2conv.Options(scope="all")).sites
    assert kept.reason is not None
    name = kept.reason.detail.rsplit(" ", 1)[-1]
    made = fc2conv.convert(hidden, options=fc2conv.Options(scope="all", input_shapes={name: (0, 24)}))
    assert [layer.decision for layer in made.report.sites] == ["convert"]
    with pytest.raises(UsageError, match="names 'unheard', which is no input"):
        fc2conv.plan(hidden, fc2conv.Options(scope="all", input_shapes={"unheard": (0, 24)}))
