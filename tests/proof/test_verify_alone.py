"""Layers alone, before and after, against sums in float64."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest
from cases import CASES, FLATTEN, NHWC, SCALED, STACK, Case, model, originals, pair, tiny, verify
from onnx import ModelProto, TensorProto

from fc2conv.onnxfile import model_file_from_proto
from fc2conv.proof import runtime
from fc2conv.proof.alone import check_alone
from fc2conv.proof.certificate import Certificate
from fc2conv.proof.proof import Site
from fc2conv.report.types import Check


def layers(case: Case, fill: Any = None) -> Check:
    protos = pair(case) if fill is None else pair(case, fill)
    return next(check for check in verify(*protos, case.pairs).checks if check.name == "layers")


def sites(case: Case) -> list[Site]:
    files = [model_file_from_proto(proto) for proto in pair(case)]
    certificate = Certificate(*files, case.pairs, {"x": (2, 3, 5, 4)}, lambda *_: False)
    assert certificate.check().verdict == "pass"
    return certificate.sites


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_right_conversions_are_within_the_bound(case: Case) -> None:
    check = layers(case)
    assert check.verdict == "pass", check
    assert f"{len(case.pairs)} layers alone" in check.detail


@pytest.mark.parametrize("case", [FLATTEN, NHWC, STACK], ids=lambda case: case.name)
@pytest.mark.parametrize(
    "fill", [tiny, lambda s, _: np.full(s, 1e38, np.float32), lambda s, _: np.zeros(s, np.float32)],
    ids=["tiny", "saturating", "zero"],
)  # fmt: skip
def test_weak_weights_raise_no_alarm(case: Case, fill: Any) -> None:
    assert layers(case, fill).verdict == "pass"


def typed(kind: int, dtype: Any) -> tuple[ModelProto, ModelProto]:
    weights = originals(FLATTEN)
    made = {name: w.astype(dtype) for name, w in (weights | FLATTEN.convert(weights)).items()}
    name = {TensorProto.FLOAT16: "float16", TensorProto.DOUBLE: "double", TensorProto.BFLOAT16: "bfloat16"}[kind]
    texts = (text.replace("float[", f"{name}[") for text in (FLATTEN.original, FLATTEN.converted))
    one, other = (model(text, made, opset=22, ir=10) for text in texts)
    return one, other


@pytest.mark.parametrize(
    ("kind", "dtype", "clone"),
    [
        (TensorProto.FLOAT16, np.float16, False),
        (TensorProto.DOUBLE, np.float64, True),
        (TensorProto.BFLOAT16, ml_dtypes.bfloat16, True),
    ],
)
def test_types_that_onnxruntime_lacks_are_cloned_and_the_report_says_so(kind: int, dtype: Any, clone: bool) -> None:
    checks = {check.name: check for check in verify(*typed(kind, dtype), FLATTEN.pairs).checks}
    assert checks["certificate"].verdict == "pass"
    assert checks["layers"].verdict == "pass"
    assert ("as float32" in checks["layers"].detail) == clone
    assert checks["numeric"].verdict == "pass"
    assert checks["numeric"].detail.startswith("as float32") == clone


def test_a_large_layer_is_sampled() -> None:
    big = Case(
        "big",
        "g (float[N,32,16,16] x) => (float[N,300] y) { flat = Flatten(x) [fc] y = Gemm(flat, W) }",
        "g (float[N,32,16,16] x) => (float[N,300] y) <int64[2] to = {-1, 300}> {"
        " [fc] y_conv = Conv(x, W_conv) y = Reshape(y_conv, to) }",
        {"W": (8192, 300)},
        lambda w: {"W_conv": np.ascontiguousarray(w["W"].T).reshape(300, 32, 16, 16)},
        FLATTEN.pairs,
    )
    assert "1 sampled" in layers(big).detail


def test_another_order_or_another_bias_is_beyond_the_bound() -> None:
    (site,) = sites(FLATTEN)
    real = np.random.default_rng(0).standard_normal((2, 60)).astype(np.float32)
    assert check_alone([site], {"y": real}).verdict == "pass"
    assert site.order is not None
    site.order = site.order[:, ::-1].copy()
    check = check_alone([site], {"y": real})
    assert check.verdict == "fail"
    assert check.detail.startswith("fc: its convolution alone gives ")


def test_factors_that_were_folded_into_the_weight() -> None:
    (site,) = sites(SCALED)
    assert check_alone([site], {}).verdict == "pass"
    assert check_alone([], {}).verdict == "skipped"


def test_a_layer_that_runs_alone_has_its_name_in_the_note(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[tuple[str, str]] = []
    found = sites(FLATTEN)
    monkeypatch.setattr(runtime, "note", lambda stage, node="": told.append((stage, node)))
    assert check_alone(found, {}).verdict == "pass"
    assert {stage for stage, _ in told} == {"onnxruntime"}
    (site,) = found
    assert {node for _, node in told} == {site.pair.node, site.calls[0].label}
    assert all(node and "->" not in node for _, node in told)
