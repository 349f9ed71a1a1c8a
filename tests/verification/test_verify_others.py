"""Two models of others: what is only described, named or left over in another way is noted, and no difference."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest
from cases import FLATTEN, edit, model, pair, random, verdicts, verify
from onnx import ModelProto, TensorProto, helper

import fc2conv
from fc2conv.options import VerifyOptions

TEXT = """g (float[N,2,4,4] image) => (float[N,3] y) {
    [conv] c = Conv(image, K) [relu] x = Relu(c) f = Flatten(x) [fc] y = MatMul(f, W0)
}"""
WEIGHTS = {"K": random((2, 2, 1, 1), 0), "W0": random((32, 3), 1)}


def original() -> ModelProto:
    return model(TEXT, WEIGHTS)


def set_to(name: str, value: object) -> Callable[[ModelProto], None]:
    return lambda m: setattr(m, name, value)


def renamed_values(m: ModelProto) -> None:
    for node in m.graph.node:
        for names in (node.input, node.output):
            names[:] = [f"t_{name}" if name in ("c", "x", "f") else name for name in names]


def renamed_nodes(m: ModelProto) -> None:
    for i, node in enumerate(m.graph.node):
        node.name = f"node {i}"


def with_dead_node(m: ModelProto) -> None:
    m.graph.node.insert(1, helper.make_node("Exp", ["c"], ["dead"], "dead"))


def with_value_info(m: ModelProto) -> None:
    m.graph.value_info.append(helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 2, 4, 4]))


def with_metadata(m: ModelProto) -> None:
    helper.set_model_props(m, {"author": "somebody", "note": "x" * 500})


def with_symbols(m: ModelProto) -> None:
    for value in (*m.graph.input, *m.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "batch"
        value.doc_string = "said"


def with_documented_nodes(m: ModelProto) -> None:
    m.graph.node[0].doc_string = "a convolution"


def with_opset(version: int) -> Callable[[ModelProto], None]:
    return lambda m: setattr(m.opset_import[0], "version", version)


def with_domain(m: ModelProto) -> None:
    m.opset_import.append(helper.make_opsetid("ai.onnx.ml", 3))


@pytest.mark.parametrize(
    ("change", "note"),
    [
        (set_to("ir_version", 9), "ir_version: 8 -> 9"),
        (set_to("producer_name", "another"), "producer_name: '' -> 'another'"),
        (set_to("producer_version", "2"), "producer_version: '' -> '2'"),
        (set_to("domain", "org"), "domain: '' -> 'org'"),
        (set_to("model_version", 7), "model_version: 0 -> 7"),
        (set_to("doc_string", "word\n" * 99), "doc_string: '' -> 'word\\nword"),
        (lambda m: setattr(m.graph, "name", "h"), "name of the graph: 'g' -> 'h'"),
        (lambda m: setattr(m.graph, "doc_string", "h"), "doc_string of the graph"),
        (with_metadata, "metadata_props: author, note"),
        (renamed_values, "names of inner values: c, x, f"),
        (renamed_nodes, "names of nodes: conv, relu"),
        (with_documented_nodes, "doc strings or metadata_props of nodes"),
        (with_dead_node, "nodes that no output depends on: 0 in the first model, 1 in the second"),
        (with_value_info, "value_info"),
        (with_symbols, "doc strings of inputs and outputs, or names of their sizes"),
        (with_opset(18), "opset of ai.onnx: 17 -> 18"),
        (with_opset(13), "opset of ai.onnx: 17 -> 13"),
        (with_domain, "opset of ai.onnx.ml: none -> 3"),
    ],
)
def test_what_computes_nothing_is_a_note(change: Callable[[ModelProto], None], note: str) -> None:
    other = original()
    change(other)
    for models in ((original(), other), (other, original())):
        assert verify(*models, False).verdict == "proved"
    found = verify(original(), other, False)
    assert any(each.startswith(note) for each in found.notes), found.notes
    assert all(len(each) < 200 and "\n" not in each for each in found.notes)


def test_a_domain_that_is_written_out_is_the_same_domain() -> None:
    other = original()
    for node in other.graph.node:
        node.domain = "ai.onnx"
    for models in ((original(), other), (other, original())):
        assert verify(*models, False).verdict == "proved"


DRAWN = "g (float[N,4] x) => (float[N,4] y) {{ {0} = RandomNormalLike(x) {1} = RandomNormalLike(x) {2} }}"
TWO = DRAWN.format("a", "b", "y = Sub(a, b)")


@pytest.mark.parametrize(
    ("one", "other", "verdict"),
    [
        (TWO, DRAWN.format("r0", "r1", "y = Sub(r0, r1)"), "proved"),
        (TWO, DRAWN.format("r0", "b", "y = Sub(r0, b)"), "proved"),
        (TWO, DRAWN.format("r0", "r1", "y = Sub(r0, r0)"), "differs"),
    ],
)
def test_what_is_drawn_may_have_another_name(one: str, other: str, verdict: str) -> None:
    assert verify(model(one, {}), model(other, {}), False).verdict == verdict


def test_the_same_in_a_conversion_of_ours_is_a_fault() -> None:
    models = pair(FLATTEN)
    helper.set_model_props(models[1], {"author": "somebody"})
    assert verdicts(verify(*models, True))["structure"] == "differs"
    assert verify(*models, False).verdict == "proved"


def test_a_copy_has_no_notes() -> None:
    found = verify(original(), original(), False)
    assert (found.verdict, found.notes) == ("proved", [])


@pytest.mark.parametrize(
    ("change", "detail"),
    [
        (lambda m: setattr(m.graph.input[0].type.tensor_type.shape.dim[0], "dim_value", 1),
         "the inputs are not the same: image tensor(float)[N,2,4,4] in the first model, "
         "image tensor(float)[1,2,4,4] in the second"),
        (lambda m: setattr(m.graph.output[0].type.tensor_type, "elem_type", TensorProto.DOUBLE),
         "the outputs are not the same: y tensor(float)[N,3] in the first model, y tensor(double)[N,3] in the second"),
        (lambda m: m.graph.input.append(helper.make_tensor_value_info("more", TensorProto.INT64, [])),
         "the inputs are not the same: image tensor(float)[N,2,4,4] in the first model, "
         "image tensor(float)[N,2,4,4], more tensor(int64)[] in the second"),
        (lambda m: m.graph.ClearField("output"),
         "the outputs are not the same: y tensor(float)[N,3] in the first model, none in the second"),
    ],
)  # fmt: skip
def test_another_signature_is_shown_on_both_sides(change: Callable[[ModelProto], None], detail: str) -> None:
    other = original()
    change(other)
    found = verify(original(), other, False)
    assert (found.verdict, found.checks[1].detail) == ("differs", detail)


def test_names_of_inputs_and_outputs_are_no_notes() -> None:
    other = model(TEXT.replace("image", "picture"), WEIGHTS)
    found = verify(original(), other, False)
    assert (found.verdict, verdicts(found)["numeric"]) == ("differs", "skipped")


def test_one_symbol_for_two_sizes_is_another_signature() -> None:
    one, other = (model(f"g (float[A,{b}] x) => (float[A,{b}] y) {{ y = Relu(x) }}", {}) for b in "BA")
    assert verify(one, other, False).verdict == "differs"


def test_numbers_are_shown_beside_a_broken_structure() -> None:
    other = original()
    other.graph.output[0].type.tensor_type.shape.dim[0].ClearField("dim_param")
    found = verify(original(), other, False)
    assert verdicts(found) == {"checker": "agrees", "signature": "differs", "structure": "agrees", "exact": "skipped",
                               "numeric": "agrees"}  # fmt: skip
    assert (found.verdict, [each.output for each in found.outputs]) == ("differs", ["y"])


def test_old_models_list_their_weights_as_inputs() -> None:
    old = original()
    old.ir_version = 3
    old.graph.input.extend(helper.make_tensor_value_info(t.name, t.data_type, t.dims) for t in old.graph.initializer)
    for models in ((original(), old), (old, original())):
        assert verify(*models, False).verdict == "proved"


def softmax(shape: str, opset: int) -> ModelProto:
    return model(f"g (float[{shape}] x) => (float[{shape}] y) {{ y = Softmax <axis = 1> (x) }}", {}, opset)


def test_an_operator_that_another_opset_means_otherwise_is_proved_or_left_open() -> None:
    """Softmax flattened before opset 13, which is the same on a matrix."""
    found = verify(softmax("N,3", 11), softmax("N,3", 13), False)
    assert (found.verdict, found.notes) == ("proved", ["opset of ai.onnx: 11 -> 13"])
    found = verify(softmax("N,3,1,1", 11), softmax("N,3,1,2", 13), False)
    assert found.verdict == "differs"
    odd = "g (float[N,3] x) => (float[N,3] y) { o = com.microsoft.Odd(x) y = Softmax <axis = 1> (o) }"
    found = verify(*(model(odd, {}, opset) for opset in (11, 13)), False)
    assert found.verdict == "inconclusive"


def one_ulp(m: ModelProto, name: str) -> None:
    def up(array: Any) -> Any:
        array[0, 0] = np.nextafter(array[0, 0], np.float32(9))
        return array

    edit(m, name, lambda a: up(a.copy()))


def test_a_weight_by_one_ulp_is_a_difference_unless_nothing_depends_on_it() -> None:
    other = original()
    one_ulp(other, "K")
    assert verify(original(), other, False).verdict == "differs"
    dead = TEXT.replace("f = Flatten", "d = MatMul(f0, W0) f = Flatten").replace("[relu]", "f0 = Flatten(c) [relu]")
    dead = dead.replace("[fc] y = MatMul(f, W0)", "[fc] y = MatMul(f, W1)")
    weights = WEIGHTS | {"W1": random((32, 3), 2)}
    one, other = model(dead, weights), model(dead, weights)
    one_ulp(other, "W0")
    assert verify(one, other, False).verdict == "proved"


@pytest.mark.parametrize(("end", "verdict"), [(2, "differs"), (3, "differs"), (40, "differs"), (500, "inconclusive")])
def test_a_cut_of_the_batch_is_found_beyond_the_batches_that_are_run(end: int, verdict: str) -> None:
    cut = TEXT.replace("[N,3] y", "[M,3] y").replace("f = Flatten(x)", "s = Slice(x, zero, end, zero) f = Flatten(s)")
    other = model(cut, WEIGHTS | {"zero": np.int64([0]), "end": np.int64([end])})
    one = model(TEXT.replace("[N,3] y", "[M,3] y"), WEIGHTS)
    assert verify(one, other, False).verdict == verdict
    numbers = verify(one, other, False, VerifyOptions(only="numeric")).verdict
    assert numbers == ("differs" if end < 64 else "agrees")
    assert verify(other, other, False).verdict == "proved"
    whole = model(cut, WEIGHTS | {"zero": np.int64([0]), "end": np.int64([2**63 - 1])})
    assert verify(one, whole, False).verdict == "proved"


@pytest.mark.parametrize(("end", "verdict"), [(3, "differs"), (40, "differs"), (500, "inconclusive")])
def test_a_cut_of_the_batch_is_found_where_nodes_cannot_be_followed(end: int, verdict: str) -> None:
    """No shape is known behind the node, so that numbers decide, beyond the position."""
    text = """g (float[N,2] x) => (float[M,2] y) {{
        z = NonZero(x) f = Cast <to = 1> (z) s = ReduceSum <keepdims = 0> (f) r = Reshape(x, to) t = Mul(r, s) y = {}
    }}"""
    one = model(text.format("Identity(t)"), {"to": np.int64([-1, 2])})
    cut = {"to": np.int64([-1, 2]), "zero": np.int64([0]), "end": np.int64([end])}
    other = model(text.format("Slice(t, zero, end, zero)"), cut)
    found = verify(one, other, False)
    assert (verdicts(found)["exact"], found.verdict) == ("inconclusive", verdict)
    assert verify(one, one, False).verdict.accepted


@pytest.mark.parametrize("opset", [12, 13])
def test_hardmax_breaks_ties_by_place(opset: int) -> None:
    """The same elements in another order are another function, and in the same order behind an axis the same."""
    turned = "t = Gather <axis = 1> (x, back) h = Hardmax <axis = 1> (t) y = Gather <axis = 1> (h, back)"
    one, other = (
        model(f"g (float[N,4] x) => (float[N,4] y) {{ {body} }}", {"back": np.int64([3, 2, 1, 0])}, opset)
        for body in ("y = Hardmax <axis = 1> (x)", turned)
    )
    assert verify(one, other, False).verdict != "proved"
    wide = """u = Unsqueeze <axes = [2]> (x) h = Hardmax <axis = 1> (u) y = Squeeze <axes = [2]> (h)"""
    wide = wide if opset < 13 else "u = Unsqueeze(x, two) h = Hardmax <axis = 1> (u) y = Squeeze(h, two)"
    other = model(f"g (float[N,4] x) => (float[N,4] y) {{ {wide} }}", {"two": np.int64([2])}, opset)
    assert verdicts(verify(one, other, False))["exact"] == "proved"


# Models that are no models: an operand that does not fit is a word of the report, and never a fault of ours.


def other_operand(op_type: str, place: int, name: str) -> Callable[[ModelProto], None]:
    def change(m: ModelProto) -> None:
        node = next(node for node in m.graph.node if node.op_type == op_type)
        node.input[place:] = [name]

    return change


def attribute(op_type: str, name: str, value: Any) -> Callable[[ModelProto], None]:
    def change(m: ModelProto) -> None:
        node = next(node for node in m.graph.node if node.op_type == op_type)
        kept = [a for a in node.attribute if a.name != name]
        node.ClearField("attribute")
        node.attribute.extend([*kept, helper.make_attribute(name, value)])

    return change


MADE = """g (float[N,2,4,4] image) => (float[N,3] y) {
    k = DequantizeLinear <axis = 0> (Kq, scales, zeros) p = Pad(image, pads, nothing) x = Conv(p, k)
    f = Flatten(x) e = ConstantOfShape(shape) w = Add(W0, e) [fc] y = MatMul(f, w)
}"""
PARTS = {
    "Kq": np.arange(4, dtype=np.uint8).reshape(2, 2, 1, 1), "scales": np.float32([0.1, 0.2]),
    "zeros": np.uint8([1, 2]), "pads": np.int64([0] * 8), "nothing": np.float32(0), "shape": np.int64([32, 3]),
    "W0": WEIGHTS["W0"], "K": WEIGHTS["K"],
}  # fmt: skip


@pytest.mark.parametrize(
    "change",
    [
        attribute("DequantizeLinear", "axis", 2),
        attribute("DequantizeLinear", "axis", 9),
        attribute("Flatten", "axis", -7),
        other_operand("Pad", 2, "Kq"),
        other_operand("Pad", 2, "scales"),
        other_operand("Pad", 1, "shape"),
        other_operand("ConstantOfShape", 0, "zeros"),
        other_operand("ConstantOfShape", 0, "scales"),
        other_operand("Conv", 1, "scales"),
        other_operand("MatMul", 1, "scales"),
        other_operand("MatMul", 1, "nothing"),
        attribute("Conv", "kernel_shape", [2, 2]),
        attribute("Conv", "group", 3),
        attribute("Conv", "strides", [0, 0]),
        attribute("Conv", "pads", [1]),
    ],
)
def test_what_does_not_fit_is_no_fault_of_ours(change: Callable[[ModelProto], None]) -> None:
    good, bad = model(MADE, PARTS), model(MADE, PARTS)
    change(bad)
    converted = fc2conv.convert(good, options=fc2conv.Options(verify=False)).model
    for one, other in ((good, bad), (bad, good), (bad, converted)):
        assert verify(one, other, False).verdict in ("differs", "inconclusive")


@pytest.mark.parametrize(("name", "value"), [("kernel_shape", [3, 3]), ("group", 5), ("dilations", [2]), ("pads", [])])
def test_attributes_of_a_convolution_that_do_not_fit_its_kernel(name: str, value: Any) -> None:
    original = model(MADE, PARTS)
    converted = fc2conv.convert(original, options=fc2conv.Options(verify=False)).model
    node = next(node for node in converted.graph.node if node.name == "fc")
    kept = [a for a in node.attribute if a.name != name]
    node.ClearField("attribute")
    node.attribute.extend([*kept, helper.make_attribute(name, value, attr_type=onnx.AttributeProto.INTS)
                           if isinstance(value, list) else helper.make_attribute(name, value)])  # fmt: skip
    assert verify(original, converted, False).verdict != "proved" or not value


NUMBERED = "g (float[N,4] x) => (float[N,3] y) {{ {} y = Softmax(v9) }}"
ONE = NUMBERED.format("v1 = Relu(x) v2 = MatMul(v1, W0) v9 = Tanh(v2)")
OTHER = NUMBERED.format("v0 = Identity(x) v2 = Relu(v0) v1 = MatMul(v2, W0) v9 = Tanh(v1)")


@pytest.mark.parametrize("options", [{}, {"check_n": 2}, {"check_n": 2, "ort_opt": "both"}, {"only": "numeric"}])
def test_a_name_may_mean_another_value_in_each_model(options: dict[str, Any]) -> None:
    """Exporters number values: v1 and v2 are others in each of the two."""
    models = (model(text, {"W0": random((4, 3), 0)}) for text in (ONE, OTHER))
    assert verify(*models, False, VerifyOptions(**options)).verdict.accepted


def test_a_difference_that_a_softmax_hides_is_not_passed_by_numbers() -> None:
    text = NUMBERED.format("v9 = Mul(x, c)").replace("[N,3]", "[N,4]")
    one, other = (model(text, {"c": np.float32([c, 1, 1, 1])}) for c in (1e9, 2e9))
    found = verify(one, other, False, VerifyOptions(only="numeric", val_range=(1, 2)))
    assert found.verdict == "inconclusive"
    assert found.checks[-1].detail.startswith("the outputs agree, and v9 (made by Mul -> v9) differs by ")
