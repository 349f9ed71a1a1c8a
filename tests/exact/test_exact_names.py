"""What has other contents has another name: weights, words and bodies of functions."""

from __future__ import annotations

import execute
import numpy as np
import onnx
import pytest
from exact_models import agree, compared
from onnx import ModelProto, TensorProto, helper, numpy_helper
from textmodel import parse


def _made(nodes: list[onnx.NodeProto], inputs: int, outputs: int) -> ModelProto:
    results = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", outputs]) for name in nodes[-1].output]
    given = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", inputs])]
    graph = helper.make_graph(nodes, "g", given, results)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def _sparse(seed: int, in_a_node: bool) -> ModelProto:
    """A product with a sparse weight; other seeds have other values at the same places."""
    places = np.sort(np.random.default_rng(9).choice(128 * 64, 3000, replace=False))
    values = np.random.default_rng(seed).standard_normal(3000).astype(np.float32)
    tensors = numpy_helper.from_array(values, "w"), numpy_helper.from_array(places, "places")
    weight = helper.make_sparse_tensor(*tensors, [128, 64])
    made = _made([helper.make_node("MatMul", ["x", "w"], ["y"])], 128, 64)
    if in_a_node:
        made.graph.node.insert(0, helper.make_node("Constant", [], ["w"], sparse_value=weight))
    else:
        made.graph.sparse_initializer.append(weight)
    return made


@pytest.mark.parametrize("in_a_node", [False, True])
def test_sparse_weights_are_named_by_their_elements(in_a_node: bool) -> None:
    one, other = (_sparse(seed, in_a_node) for seed in (1, 2))
    assert compared(one, one).proved
    assert compared(one, other).parted


def test_weights_that_begin_with_the_same_bytes_have_names_of_their_own() -> None:
    """Two weights begin with zeros, and two with the same other numbers."""
    random = np.random.default_rng(0)
    starts = [np.zeros(1024), random.standard_normal(1024)]
    weights = {}
    for i in range(4):
        weights[f"w{i}"] = random.standard_normal((80, 64)).astype(np.float32)
        weights[f"w{i}"].reshape(-1)[:1024] = starts[i % 2]
    models = []
    for order in ("w0 w1 w2 w3", "w0 w1 w3 w2"):
        nodes = [helper.make_node("MatMul", ["x", name], [f"p{i}"]) for i, name in enumerate(order.split())]
        nodes.append(helper.make_node("Concat", [f"p{i}" for i in range(4)], ["y"], axis=1))
        models.append(_made(nodes, 80, 256))
        models[-1].graph.initializer.extend(numpy_helper.from_array(array, name) for name, array in weights.items())
    assert not agree(*models, 2)
    assert compared(*models).parted
    assert compared(models[0], models[0]).proved


def _encoders(letters: str) -> ModelProto:
    nodes, outputs = [], []
    for letter in letters:
        words = [f"{letter}{i} {letter * 1000}".encode() for i in range(3)]
        given = {"keys_int64s": [1, 2, 3], "values_tensor": helper.make_tensor("v", TensorProto.STRING, [3], words)}
        nodes.append(helper.make_node("LabelEncoder", ["x"], [f"of {letter}"], domain="ai.onnx.ml", **given))
        outputs.append(helper.make_tensor_value_info(f"y{len(outputs)}", TensorProto.STRING, ["N"]))
        nodes.append(helper.make_node("Identity", [f"of {letter}"], [outputs[-1].name]))
    given = [helper.make_tensor_value_info("x", TensorProto.INT64, ["N"])]
    imports = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 4)]
    return helper.make_model(helper.make_graph(nodes, "g", given, outputs), opset_imports=imports, ir_version=8)


def test_words_in_attributes_are_compared_as_words() -> None:
    found = [_encoders(letters) for letters in ("abcdef", "abcdef", "ghijkl")]
    assert compared(found[0], found[1]).proved
    assert not compared(found[0], found[2]).same


def _deep(depth: int, body: str) -> ModelProto:
    """Calls in calls; only the innermost function computes."""
    text = "g (float[N,4] x) => (float[N,4] y) { y = f.f0(x) }\n"
    for i in range(depth):
        text += f'<domain: "f", opset_import: ["": 17, "f": 1]> f{i} (a) => (b) {{ b = f.f{i + 1}(a) }}\n'
    text += f'<domain: "f", opset_import: ["": 17]> f{depth} (a) => (b) {{ {body} }}'
    return parse(text, opset=17, domains={"f": 1})


@pytest.mark.parametrize("depth", [3, 15, 16, 20])
def test_the_body_of_a_deep_call_counts(depth: int) -> None:
    one, other = (_deep(depth, f"b = {name}(a)") for name in ("Relu", "Neg"))
    assert not agree(one, other, 2)
    assert compared(one, one).proved
    assert not compared(one, other).same


def test_numbers_that_deep_calls_draw_are_others() -> None:
    drawn = _deep(20, "r = RandomNormalLike(a) b = Add(a, r)")
    drawn.graph.node.append(helper.make_node("f0", ["x"], ["z"], domain="f"))
    drawn.graph.node.append(helper.make_node("Sub", ["y", "z"], ["d"]))
    drawn.graph.output[0].name = "d"
    zero = parse("g (float[N,4] x) => (float[N,4] d) { d = Sub(x, x) }", opset=17)
    assert not compared(drawn, zero).same


NAMED = ["Relu", "HardSwish", "com.microsoft.Gelu"]


def _named(name: str, body: str, behind: str = "y = Neg(h)") -> ModelProto:
    domain, _, short = name.rpartition(".")
    text = f"g (float[N,4] x) => (float[N,4] y) {{ h = {name}(x) {behind} }}\n"
    text += f'<domain: "{domain}", opset_import: ["": 17]> {short} (a) => (b) {{ {body} }}'
    return parse(text, opset=17, domains={"com.microsoft": 1})


@pytest.mark.parametrize("name", NAMED)
def test_a_function_that_has_the_name_of_an_operator_is_neither_of_both(name: str) -> None:
    called = _named(name, "b = Neg(a)")
    plain, own = (parse(f"g (float[N,4] x) => (float[N,4] y) {{ h = {each}(x) y = Neg(h) }}", opset=17,
                        domains={"com.microsoft": 1}) for each in ("Neg", name))  # fmt: skip
    assert execute.difference(*(execute.run(m, execute.feeds(m, {"N": 3})) for m in (called, own))) == 0
    for other in (plain, own, _named(name, "b = Abs(a)")):
        assert not compared(called, other).same


@pytest.mark.parametrize("name", NAMED)
def test_what_follows_a_function_that_has_the_name_of_an_operator_is_proved(name: str) -> None:
    turned = "t = Transpose<perm = [1, 0]>(h) n = Neg(t) y = Transpose<perm = [1, 0]>(n)"
    assert compared(_named(name, "b = Abs(a)"), _named(name, "b = Abs(a)", turned)).proved
