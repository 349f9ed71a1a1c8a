"""The verdicts: of the whole, of each output, of each check; and where two models part."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from cases import model, random, verdicts, verify
from numpy.typing import NDArray
from onnx import ModelProto

from fc2conv.errors import ExitCode
from fc2conv.io.reader import model_file_from_proto
from fc2conv.options import VerifyOptions
from fc2conv.report.terminal import Look
from fc2conv.report.text import to_text
from fc2conv.report.types import Comparison, Verdict
from fc2conv.report.verification import Check, OutputDifference, worst
from fc2conv.verification import numeric
from fc2conv.verification.exact import alone, prover
from fc2conv.verification.exact.result import Exact
from fc2conv.verification.exact.walk import Walk
from fc2conv.verification.pair import outputs_of

W = random((6, 4), 0)
B = random((4,), 1)
ONE = "g (float[N,6] x) => (float[N,4] y) { m = MatMul(x, W) y = Add(m, b) }"


def up(array: NDArray[Any], place: int = 5) -> NDArray[Any]:
    """One element by one unit in the last place."""
    found = array.copy()
    found.flat[place] = np.nextafter(found.flat[place], np.float32(9))
    return found


def scaled(text: str, **more: NDArray[Any]) -> ModelProto:
    return model(text, {"W": W, "b": B, **more})


FOLDED = (
    ONE.replace("m = MatMul(x, W)", "z = MatMul(x, V) m = Mul(z, k)"),
    {"V": (W / np.float32(3)).astype(np.float32), "k": np.float32([3])},
    "inconclusive",
    "rounding",
)
PARTING: dict[str, tuple[str, dict[str, NDArray[Any]], str, str]] = {
    "a weight by one ulp": (ONE, {"W": up(W)}, "differs", "arithmetic"),
    "a bias by one ulp": (ONE, {"b": up(B, 1)}, "differs", "arithmetic"),
    "a very small offset": (
        ONE.replace("m = MatMul(x, W)", "z = MatMul(x, W) m = Add(z, e)"),
        {"e": np.float32([1e-30])},
        "differs",
        "arithmetic",
    ),
    "a very small offset behind another form": (
        ONE.replace("m = MatMul(x, W)", "z = Gemm<transB = 1>(x, V) m = Add(z, e)"),
        {"e": np.float32([1e-30]), "V": np.ascontiguousarray(W.T)},
        "differs",
        "arithmetic",
    ),
    "columns swapped": (ONE, {"W": W[:, ::-1].copy()}, "differs", "arithmetic"),
    "another function": (
        ONE.replace("y = Add(m, b)", "s = Add(m, b) y = Softsign(s)"),
        {},
        "inconclusive",
        "functions",
    ),
    "a factor folded and rounded": FOLDED,
    "a quotient as a product": (
        "g (float[N,6] x) => (float[N,4] y) { m = MatMul(x, W) d = Add(m, b) y = Div(d, k) }",
        {"k": np.float32([3])},
        "inconclusive",
        "rounding",
    ),
    "a quotient as a product in front of one that both have": (
        "g (float[N,6] x) => (float[N,4] y) { z = MatMul(x, W) d = Add(z, b) m = Div(d, k) y = Div(m, l) }",
        {"k": np.float32([3]), "l": np.float32([7])},
        "inconclusive",
        "rounding",
    ),
    "a factor folded and rounded, and one of 1": FOLDED,
}


@pytest.mark.parametrize("name", PARTING)
def test_two_models_that_part(name: str) -> None:
    text, weights, verdict, cause = PARTING[name]
    one = scaled(ONE)
    if "one of 1" in name:
        one = scaled(ONE.replace("MatMul(x", "com.microsoft.FusedMatMul<alpha = 1.0>(x"))
    if "quotient" in name:
        one = scaled(text.replace("Div(d", "Mul(d"), **weights | {"k": np.float32([1 / 3])})
    found = verify(one, scaled(text, **weights), False, VerifyOptions(only="exact"))
    assert (found.verdict, found.outputs[0].verdict, found.outputs[0].exact) == (verdict,) * 3, found.checks
    assert found.parting is not None
    assert (found.parting.cause, found.parting.value in ("m", "y")) == (cause, True), found.parting
    assert found.parting.index is not None
    shown = to_text(Comparison(a="a", b="b", verification=found), Look())
    assert f"Part at: {found.parting.value} (node {found.parting.node}, {found.parting.op_type})" in " ".join(
        shown.split()
    )


def test_numbers_accept_nothing_that_is_known_to_differ() -> None:
    found = verify(scaled(ONE), scaled(ONE, W=up(W)), False)
    assert (found.verdict, verdicts(found)["numeric"], found.outputs[0].numeric) == ("differs", "agrees", "agrees")


HIDDEN = "g (float[2,6] x) => (float[2,4] y) { s = NonZero(x) f = Cast<to = 1>(s) t = ReduceSum<keepdims = 0>(f) "


def test_a_node_that_both_apply_in_one_way_hides_no_difference() -> None:
    """Nothing says what the node computes; the models part in front of it, by one ulp."""
    text = (
        HIDDEN + "m = MatMul(x, W) z = NonZero(m) g1 = Cast<to = 1>(z) r = ReduceSum<keepdims = 0>(g1) y = Mul(m, r) }"
    )
    found = verify(scaled(text), scaled(text, W=up(W)), False)
    assert found.verdict in ("differs", "inconclusive"), found
    assert verify(scaled(text), scaled(text), False).verdict == "proved"


def test_places_in_another_order_are_no_agreement_where_no_number_shows_it() -> None:
    one, other = (
        scaled(f"g (float[4,4] x) => (int64[2,M] y) {{ t = Transpose(x) y = NonZero({each}) }}") for each in "xt"
    )
    found = verify(one, other, False)
    assert (found.verdict, verdicts(found)["numeric"]) == ("inconclusive", "agrees"), found.checks


def test_equal_residues_that_prove_too_little_leave_the_verdict_to_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    """An error below 2^-24 is no proof, though nothing speaks against the models: they agree, or differ in numbers."""
    one = "g (float[N,6] x) => (float[N,4] y) { m = MatMul(x, W) y = Add(m, b) }"
    other = "g (float[N,6] x) => (float[N,4] y) { s = Add(x, x) m = MatMul(s, V) y = Add(m, b) }"
    pair = scaled(one), scaled(other, V=W / np.float32(2))
    assert verify(*pair, False).verdict == "proved"
    monkeypatch.setattr(prover, "safety", lambda *_: 12.0)
    found = verify(*pair, False)
    assert (found.verdict, found.outputs[0].exact, verdicts(found)["numeric"]) == ("agrees", "inconclusive", "agrees")
    assert "2^-24" in next(check.detail for check in found.checks if check.name == "exact")


@pytest.mark.parametrize(
    ("ours", "ends", "verdict"),
    [
        (True, "agrees", "agrees"),
        (True, "inconclusive", "inconclusive"),
        (True, "differs", "inconclusive"),
        (False, "agrees", "inconclusive"),
    ],
)
def test_an_output_without_numbers_agrees_only_where_both_ends_do(ours: bool, ends: str, verdict: str) -> None:
    """No box was found: what was converted in front of it must agree at its ends, and be ours."""
    empty = OutputDifference(output="y", verdict=Verdict.INCONCLUSIVE, numeric=Verdict.INCONCLUSIVE)
    numbers = numeric.Comparison(Check(name="numeric", verdict=Verdict(ends), detail=""), [empty])
    exact = Exact(Check(name="exact", verdict=Verdict.INCONCLUSIVE, detail=""), {"y": Verdict.INCONCLUSIVE})
    (found,) = outputs_of(model_file_from_proto(scaled(ONE)), exact, numbers, ours)
    assert found.verdict == verdict
    followed = Exact(exact.check, exact.outputs, frozenset("y"))
    assert outputs_of(model_file_from_proto(scaled(ONE)), followed, numbers, ours)[0].verdict == "inconclusive"


def test_each_output_has_its_verdict() -> None:
    text = "g (float[N,6] x) => (float[N,4] y, float[N,4] z) { y = MatMul(x, W) t = MatMul(x, V) z = Softmax(t) }"
    found = verify(scaled(text, V=W), scaled(text, V=up(W)), False)
    assert [(each.output, each.verdict) for each in found.outputs if each.exact != "skipped"] == [
        ("y", "proved"),
        ("z", "differs"),
    ]
    assert found.verdict == "differs"


def test_the_worst_verdict_is_that_of_the_whole() -> None:
    proved, agrees, differs, inconclusive, skipped = Verdict
    assert worst([proved, agrees, skipped]) is agrees
    assert worst([proved, inconclusive, differs]) is differs
    assert worst([agrees, inconclusive]) is inconclusive
    assert worst([skipped]) is skipped
    assert [each.exit_code for each in Verdict] == [
        ExitCode.DONE,
        ExitCode.DONE,
        ExitCode.MISMATCH,
        ExitCode.INCONCLUSIVE,
        ExitCode.INCONCLUSIVE,
    ]


def test_a_rounded_quotient_is_a_function_and_no_sign_of_another_network() -> None:
    """Of sizes that are not known, as in a Loop whose state grows, one model may hold the quotient that another has."""
    file = model_file_from_proto(model("g (int64[4] x, int64[4] z) => (int64[4] y) { y = Div (x, z) }", {}))
    quotient = Walk(file, {"x": (4,), "z": (4,)}).run()["y"]
    assert alone.functions(quotient) == {"Div"}
    assert not alone.named(quotient, opaque=False)
