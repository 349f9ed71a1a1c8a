"""Two models of others that differ in a number, a cut, an order or a name: what is proved, and what is not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from cases import edit, model, random, verdicts, verify
from onnx import ModelProto
from small import TEXT, WEIGHTS, original

from fc2conv.options import VerifyOptions


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


def test_a_norm_that_onnxruntime_wrote_into_an_older_opset_is_valid() -> None:
    text = "g (float[N,8] x) => (float[N,8] y) {{ {} }}"
    parts = (
        "m = ReduceMean <axes = [-1]> (x) d = Sub(x, m) q = Mul(d, d) v = ReduceMean <axes = [-1]> (q) a = Add(v, e) "
        "r = Sqrt(a) n = Div(d, r) s = Mul(n, w) y = Add(s, b)"
    )
    weights = {"w": random((8,), 1), "b": random((8,), 2)}
    one = model(text.format(parts), weights | {"e": np.array(1e-5, np.float32)}, 13)
    for epsilon, verdict in (("1e-5", "proved"), ("1e-3", "differs")):
        other = model(text.format(f"y = LayerNormalization <axis = -1, epsilon = {epsilon}> (x, w, b)"), weights, 13)
        assert verify(one, other, False).verdict == verdict


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


def test_the_places_of_the_greatest_depend_on_the_order() -> None:
    """Of equal elements the first is named, which is another one where they are read from the far end."""
    head, pool = "g (float[1,1,6] x) => (int64[1,1,3] y)", "MaxPool <kernel_shape = [2], strides = [2]>"
    turned = f"t = Gather <axis = 2> (x, back) u, i = {pool} (t) g = Gather <axis = 2> (i, last) y = Sub(five, g)"
    given = {"back": np.int64([5, 4, 3, 2, 1, 0]), "last": np.int64([2, 1, 0]), "five": np.int64(5)}
    one = model(f"{head} {{ v, y = {pool} (x) }}", {}, 13)
    assert not verify(one, model(f"{head} {{ {turned} }}", given, 13), True).verdict.accepted
    assert verify(one, one, True).verdict.accepted


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
