"""Models that contradict themselves: refused with the node, or their layers kept with a reason; never a fault."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from execute import difference, feeds, run
from onnx import ModelProto, TensorProto, helper, numpy_helper, version_converter
from textmodel import parse

import fc2conv
from fc2conv.errors import InputError
from fc2conv.ir.schema import check_valid
from fc2conv.ir.validate import check_model
from fc2conv.options import SlidingOptions

HEAD = """
g (float[N,4,3,2] x) => (float[N,5] y) <float[5,24] w, float[5] c>
{
  [flat] f = Flatten (x)
  [fc] y = Gemm <transB = 1> (f, w, c)
}
"""


def head(edit: Callable[[ModelProto], object] = lambda _: None) -> ModelProto:
    model = parse(HEAD)
    edit(model)
    return model


def with_attribute(name: str, value: object, node: int = 1) -> Callable[[ModelProto], object]:
    return lambda model: model.graph.node[node].attribute.append(helper.make_attribute(name, value))


def in_another_type(model: ModelProto) -> None:
    model.graph.node[1].attribute[0].CopyFrom(helper.make_attribute("transB", [1.0]))


def called_with_too_much(model: ModelProto) -> None:
    body = [helper.make_node("Relu", ["a"], ["b"])]
    model.functions.append(helper.make_function("local", "F", ["a"], ["b"], body, [helper.make_opsetid("", 13)]))
    model.opset_import.add(domain="local", version=1)
    model.graph.node.add(op_type="F", domain="local", input=["f", "f"], output=["unread"], name="call")


def made_twice(model: ModelProto) -> None:
    model.graph.node.add(op_type="Relu", input=["x"], output=["f"], name="again")


def made_over_an_input(model: ModelProto) -> None:
    model.graph.node.add(op_type="Relu", input=["w"], output=["x"], name="over")


def in_a_subgraph(model: ModelProto) -> None:
    node = helper.make_node("Relu", [], ["z"], name="inner")
    body = helper.make_graph([node], "body", [], [helper.make_empty_tensor_value_info("z")])
    model.graph.node.append(helper.make_node("If", ["x"], ["u"], name="branch", then_branch=body, else_branch=body))


def fused_with(name: str, value: object) -> Callable[[ModelProto], object]:
    def edit(model: ModelProto) -> None:
        model.opset_import.add(domain="com.microsoft", version=1)
        attributes = {name: value}
        node = helper.make_node("FusedGemm", ["f", "w"], ["u"], name="fused", domain="com.microsoft", **attributes)
        model.graph.node.append(node)

    return edit


def look_at(model: ModelProto) -> None:
    check_model(model)
    check_valid(model)


REFUSED: dict[str, tuple[Callable[[ModelProto], object], str]] = {
    "too few operands": (lambda m: m.graph.node[1].input.pop(), ""),
    "one operand": (lambda m: m.graph.node[1].ClearField("input"), "'fc'.*0 operands.*2 to 3"),
    "an empty operand": (lambda m: m.graph.node[1].input.__setitem__(1, ""), "'fc'.*lacks its operand B"),
    "too many operands": (lambda m: m.graph.node[0].input.extend("ww"), "'flat'.*3 operands, and its operator has 1"),
    "no results": (lambda m: m.graph.node[1].ClearField("output"), "no node makes the output 'y'"),
    "an attribute twice": (with_attribute("transB", 1), "'fc' has the attribute 'transB' twice"),
    "an unknown attribute": (with_attribute("axis", 1), "'fc'.*'axis', which its operator has not"),
    "an attribute of another type": (in_another_type, "'fc'.*transB in another type"),
    "a flag of 7": (with_attribute("transA", 7), "'fc'.*transA 7, which is neither"),
    "a missing attribute": (
        lambda m: m.graph.node.add(op_type="Concat", input=["f"], output=["z"], name="j"),
        "'j'.*axis",
    ),
    "a call with too much": (called_with_too_much, "'call'.*2 operands, and the function that it calls 1"),
    "a constant without a value": (
        lambda m: m.graph.node.add(op_type="Constant", output=["z"], name="k"),
        "'k'.*0 values, and a constant is one",
    ),
    "an equation with what is no letter": (
        lambda m: m.graph.node.append(helper.make_node("Einsum", ["f", "w"], ["z"], "e", equation="ab,1c->ac")),
        "'e'.*an equation with '1', which is no letter",
    ),
    "a number that is a list": (fused_with("beta", [1.0, 2.0]), "'fused'.*beta in another type"),
    "a name that is a number": (fused_with("activation", 7), "'fused'.*activation in another type"),
    "a name that is no text": (fused_with("activation", b"\xff\xfe"), "'fused'.*'activation', which is no UTF-8"),
    "no IR version": (lambda m: m.ClearField("ir_version"), "no IR version"),
    "a value made twice": (made_twice, "'again' makes 'f', which is made twice: it is a result of 'flat'"),
    "a value that is an input too": (made_over_an_input, "'over' makes 'x', which is made twice: .* of the inputs"),
    "an initializer twice": (lambda m: m.graph.initializer.append(m.graph.initializer[0]), "two initializers.*'w'"),
    "an input twice": (lambda m: m.graph.input.append(m.graph.input[0]), "two inputs"),
    "in a subgraph": (in_a_subgraph, "'inner'.*0 operands"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_model_that_is_not_valid_is_refused_by_the_node(name: str) -> None:
    edit, words = REFUSED[name]
    model = head(edit)
    if not words:
        look_at(model)  # Gemm may lack its C
        return
    with pytest.raises(InputError, match=r".") as caught:
        look_at(model)
    assert re.search(words, caught.value.message), caught.value.message
    assert caught.value.remedy


def test_what_has_no_definition_is_not_looked_at() -> None:
    model = head(lambda m: m.graph.node.add(op_type="Odd", domain="vendor", input=list("xwc"), output=["z"]))
    model.opset_import.add(domain="vendor", version=1)
    look_at(model)
    model = head(lambda m: m.graph.node.add(op_type="NoSuchOperator", input=list("xwc"), output=["z"]))
    look_at(model)


def test_a_definition_is_that_of_the_version_that_the_model_imports() -> None:
    model = parse("g (float[2,3] x) => (float[2,1] y) { y = Squeeze <axes = [1]> (x) }", opset=11)
    check_valid(model)
    model.opset_import[0].version = 13
    with pytest.raises(InputError, match="'axes', which its operator has not"):
        check_valid(model)


WEIGHTS = "<float[5,24] w, float[5] c, float[3,5] d, float[5,8] v>"
KEPT = {
    "a transpose of too many dimensions": ("t = Transpose <perm = [0, 2, 1]> (w) [fc] y = MatMul (f, t)", "FC206"),
    "an axis that is not there": (
        "p = ReduceSum <keepdims = 0> (f, far) [fc] y = Gemm <transB = 1> (p, w, c)",
        "FC105",
    ),
    "a weight of one dimension": ("[fc] y = Gemm (f, c)", "FC205"),
    "a weight for other features": ("[fc] y = Gemm (f, w)", "FC205"),
    "an addend that fits nothing": ("[fc] y = Gemm <transB = 1> (f, w, odd)", "FC102"),
    "a bias that cannot be computed": ("b = DequantizeLinear (i, s, c) [fc] y = Gemm <transB = 1> (f, w, b)", "FC206"),
    "an infinite alpha": ("[fc] y = Gemm <alpha = inf, transB = 1> (f, w, c)", "FC208"),
    "an equation of three operands": ('[fc] y = Einsum <equation = "nk,mk,jm->nm"> (f, w, d)', "FC208"),
    "an equation without operands": ('[fc] y = Einsum <equation = "linear"> (f, w)', "FC208"),
}


@pytest.mark.parametrize("name", KEPT)
def test_a_layer_that_contradicts_itself_is_kept(name: str) -> None:
    body, code = KEPT[name]
    model = parse(
        f"g (float[N,4,3,2] x) => (float[N,5] y) {WEIGHTS} {{ [flat] f = Flatten (x) {body.replace('inf', '1.0')} }}",
        opset=21,
    )
    if "inf" in body:
        model.graph.node[1].attribute[0].f = float("inf")
    extra = {"far": np.array([9]), "odd": np.array([1.0, 2.0], np.float32)}
    extra |= {"i": np.arange(5, dtype=np.int32), "s": np.ones((1, 1), np.float32)}
    model.graph.initializer.extend(numpy_helper.from_array(array, key) for key, array in extra.items())
    report = fc2conv.plan(model)
    assert [layer.reason.code for layer in report.sites if layer.reason] == [code]


def test_an_einsum_may_broadcast_an_axis_that_nobody_knows() -> None:
    text = """g (float[N,C,3,2] x) => (float[N,5,3,2] y) <float[4,5] w> {
      [fc] y = Einsum <equation = "nchw,cm->nmhw"> (x, w) }"""
    (layer,) = fc2conv.plan(parse(text)).sites
    assert layer.reason is not None
    assert layer.reason.code == "FC104"
    known = fc2conv.Options(input_shapes={"x": (1, 4, 3, 2)})
    assert len(fc2conv.plan(parse(text), known).converted) == 1


def test_what_only_a_function_imports_is_imported_where_it_is_inlined() -> None:
    body = [
        helper.make_node("MatMul", ["a", "v"], ["m"], name="fc"),
        helper.make_node("QuickGelu", ["m"], ["b"], domain="com.microsoft"),
    ]
    imports = [helper.make_opsetid("", 13), helper.make_opsetid("com.microsoft", 1)]
    model = parse("g (float[N,4,3,2] x) => (float[N,5] y) <float[24,5] w> { f = Flatten (x) y = Relu (f) }")
    model.functions.append(helper.make_function("local", "F", ["a", "v"], ["b"], body, imports))
    model.opset_import.add(domain="local", version=1)
    model.graph.node[1].CopyFrom(helper.make_node("F", ["f", "w"], ["y"], domain="local"))
    conversion = fc2conv.convert(model)
    assert len(conversion.report.converted) == 1
    given = feeds(model, {"N": 2})
    assert difference(run(model, given), run(conversion.model, given)) < 1e-5


def test_functions_of_other_operator_sets_stay_as_they_are() -> None:
    """Squeeze has its axes as an attribute before opset 13: the rest of the model is converted."""
    body = [helper.make_node("Squeeze", ["a"], ["s"]), helper.make_node("MatMul", ["s", "v"], ["b"], name="inner")]
    model = parse(HEAD.replace("y = ", "h = ").replace("}", "y = Relu (h) }").replace("N", "3"))
    model.functions.append(helper.make_function("local", "F", ["a", "v"], ["b"], body, [helper.make_opsetid("", 11)]))
    model.opset_import.add(domain="local", version=1)
    model.graph.initializer.append(numpy_helper.from_array(np.eye(5, dtype=np.float32), "u"))
    model.graph.node[2].CopyFrom(helper.make_node("F", ["h", "u"], ["y"], name="call", domain="local"))
    conversion = fc2conv.convert(model)
    layers = {layer.node: layer for layer in conversion.report.sites}
    assert (layers["fc"].kernel_shape, layers["inner"].kernel_shape) == ([3, 2], None)
    assert layers["inner"].reason is not None
    assert (layers["inner"].reason.code, layers["inner"].reason.detail) == (
        "FC402", f"in the function F of opset 11, and the model has {model.opset_import[0].version}")  # fmt: skip
    given = feeds(model, {})
    assert difference(run(model, given), run(conversion.model, given)) < 1e-5
    with pytest.raises(InputError, match="functions F cannot be inlined"):
        fc2conv.convert(model, sliding=SlidingOptions())


@pytest.mark.parametrize(("alpha", "convertible"), [(1e30, True), (3e38, True), (-1e38, True), (1e39, False)])
def test_an_alpha_that_leaves_the_range_of_the_weights(alpha: float, convertible: bool) -> None:
    model = head(with_attribute("alpha", 1.0))
    model.graph.node[1].attribute[-1].f = min(alpha, 3e38)
    values = numpy_helper.to_array(model.graph.initializer[0])
    scaled = values / np.abs(values).max() * (1 if convertible else 4)
    model.graph.initializer[0].CopyFrom(numpy_helper.from_array(scaled.astype(np.float32), "w"))
    (layer,) = fc2conv.plan(model).sites
    assert (layer.reason.code if layer.reason else "") == ("" if convertible else "FC208")


def test_an_activation_of_a_sum_that_is_no_bias() -> None:
    """act(x W + C) is not act(x W) + C."""
    text = """g (float[N,4,3,2] x, float[5] b) => (float[N,5] y) <float[5,24] w> {
      f = Flatten (x) [fc] y = com.microsoft.FusedGemm <activation = "Relu", transB = 1> (f, w, b) }"""
    model = parse(text, opset=17, domains={"com.microsoft": 1})
    converted = fc2conv.convert(model, options=fc2conv.Options(verify=False)).model
    assert converted is not None
    given = feeds(model, {"N": 2})
    assert difference(run(model, given), run(converted, given)) < 1e-5


@pytest.mark.parametrize("scope", ["spatial", "all"])
@pytest.mark.parametrize(
    "text",
    [
        # A scalar of four dimensions gives the product as many.
        """g (float[2,4,3,2] x, float s) => (float[1,1,2,5] y) <float[24,5] w, float[1,1,1,1] four> {
          a = Add (s, four) f = Flatten (x) [fc] m = MatMul (f, w) y = Mul (m, a) }""",
        # A scalar and a constant have a spatial form only where one of them has its rank.
        """g (float[1] x) => (float[1,1,1] y) <float[1,1] k, int64[1] last = {-1}, float[1,1] w> {
          a = Max (k, x) u = Unsqueeze (a, last) [fc] y = MatMul (w, u) }""",
        # A variance below zero gives NaN, and says nothing.
        """g (float[2,4,1,2] x) => (float[2,5] y) <float[8] s, float[8] o, float[8] m, float[8] v, float[5,8] w> {
          f = Flatten (x) b = BatchNormalization (f, s, o, m, v) [fc] y = Gemm <transB = 1> (b, w) }""",
    ],
)
def test_found_by_damaging_models(text: str, scope: str, recwarn: pytest.WarningsRecorder) -> None:
    model = parse(text)
    options = fc2conv.Options(verify=False, scope=scope)  # type: ignore[arg-type]
    converted = fc2conv.convert(model, options=options).model
    assert converted is not None
    given = feeds(model, {})
    assert difference(run(model, given), run(converted, given)) < 1e-5
    assert not [each for each in recwarn.list if issubclass(each.category, RuntimeWarning)]


def test_a_message_shows_the_beginning_of_a_long_name(tmp_path: Path) -> None:
    model = head(lambda m: m.graph.initializer[0].MergeFrom(TensorProto(name="n" * 5000, dims=[2])))
    (tmp_path / "in.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(InputError) as caught:
        fc2conv.plan(tmp_path / "in.onnx")
    assert "nnn..." in caught.value.message
    assert len(caught.value.message) < 1000


def test_an_attribute_of_a_later_operator_set_is_answered_with_what_raises_the_model() -> None:
    model = parse(
        """graph (int8[2,3] x) => (float[2,3] y) <float[3] s, int8[3] z>
        { [dequantize] y = DequantizeLinear <axis = 1> (x, s, z) }""",
        opset=12,
    )
    with pytest.raises(InputError, match=r"opset 13 has it, and the model imports 12: .*convert_version\(model, 13\)"):
        check_valid(model)
    check_valid(version_converter.convert_version(model, 13))


def test_a_function_of_another_version_of_custom_operators_names_their_domain() -> None:
    imports = [helper.make_opsetid("", 17), helper.make_opsetid("their", 2)]
    body = [
        helper.make_node("Odd", ["a"], ["s"], domain="their"),
        helper.make_node("MatMul", ["s", "v"], ["b"], name="m"),
    ]
    model = parse(HEAD)
    model.functions.append(helper.make_function("local", "F", ["a", "v"], ["b"], body, imports))
    model.opset_import.extend([helper.make_opsetid("local", 1), helper.make_opsetid("their", 1)])
    model.graph.node[-1].CopyFrom(helper.make_node("F", ["f", "w"], ["y"], domain="local"))
    (site,) = fc2conv.plan(model).sites
    assert site.reason is not None
    assert (site.reason.code, site.reason.detail) == (
        "FC402", "in the function F of opset 2 of their, and the model has 1")  # fmt: skip
