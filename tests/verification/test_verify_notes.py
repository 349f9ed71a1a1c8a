"""Two models of others: what only describes, names or is left over is a note, and another signature a difference."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from cases import FLATTEN, model, pair, verdicts, verify
from onnx import ModelProto, TensorProto, helper
from small import TEXT, WEIGHTS, original


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


def with_metadata_that_is_no_text(m: ModelProto) -> None:
    with_metadata(m)
    m.MergeFromString(b"\x72\x06\x0a\x01\xff\x12\x01\xfe")


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
        (with_metadata_that_is_no_text, r"metadata_props: author, b'\\xff', note"),
        (renamed_values, "names of inner values: c, x, f"),
        (renamed_nodes, "names of nodes: conv, relu"),
        (with_documented_nodes, "doc strings or metadata_props of nodes"),
        (with_dead_node, "nodes that no output depends on: 0 in the first model, 1 in the second"),
        (with_value_info, "value_info"),
        (with_symbols, "doc strings of inputs and outputs, names of their sizes"),
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
        (DRAWN.format("a", "b", "y = Identity(b)"), DRAWN.format("a", "y", ""), "proved"),
    ],
)
def test_what_is_drawn_may_have_another_name(one: str, other: str, verdict: str) -> None:
    models = model(one, {}), model(other, {})
    assert {verify(*models, False).verdict, verify(*reversed(models), False).verdict} == {verdict}


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


@pytest.mark.parametrize("dims", [[1, 3], [None, 3], [None, None], ["M", "K"]])
def test_what_an_output_declares_is_no_result(dims: list[int | str | None]) -> None:
    other = original()
    other.graph.output[0].CopyFrom(helper.make_tensor_value_info("y", TensorProto.FLOAT, dims))
    found = verify(original(), other, False)
    assert found.checks[1].verdict == "agrees"
    assert any("the sizes that outputs declare" in each for each in found.notes)
    assert verify(original(), other, True).verdict == "differs"


def test_numbers_are_shown_beside_a_broken_structure() -> None:
    other = original()
    other.graph.output.append(
        helper.make_tensor_value_info(other.graph.node[0].output[0], TensorProto.FLOAT, [None] * 4)
    )
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


def test_another_tools_file_that_is_not_valid_does_not_differ_for_that() -> None:
    """onnxruntime's preprocessing writes weights that are no inputs into files of IR version 3, and runs them."""
    other = original()
    other.ir_version = 3
    found = verify(original(), other, False)
    assert (found.verdict, verdicts(found)["exact"], verdicts(found)["numeric"]) == ("inconclusive", "proved", "agrees")
    assert found.checks[0].detail.startswith("the second model is not valid: ")
    assert "in initializer but not in graph input" in found.checks[0].detail
    assert verify(original(), other, True).verdict == "differs"
