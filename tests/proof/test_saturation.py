"""Products of uint8 by int8 are compared as ONNX defines them, also where those of onnxruntime saturate."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest

import fc2conv
from fc2conv.proof.saturation import without_saturation

X = np.array([[255, 250, 255, 3], [0, 255, 254, 255]], np.uint8)
W = np.array([[127, 1], [120, -128], [127, 5], [-7, -128]], np.int8)


def _model(body: str, kind: str = "uint8") -> onnx.ModelProto:
    weight = ", ".join(map(str, W.reshape(-1)))
    return onnx.parser.parse_model(f"""
<ir_version: 8, opset_import: ["": 17, "com.microsoft": 1]>
saturating ({kind}[N,4] x) => (int32[N,2] y)
<int8[4,2] w = {{{weight}}}, uint8 xz = {{7}}, int8 wz = {{-3}}>
{{
{body}
}}""")


@pytest.mark.parametrize(
    ("body", "x_zero", "w_zero"),
    [
        ("y = MatMulInteger(x, w)", 0, 0),
        ("y = MatMulInteger(x, w, xz, wz)", 7, -3),
        ("v = Identity(w) y = MatMulInteger(x, v, xz)", 7, 0),
        ("t = Transpose<perm = [1, 0]>(w) v = Transpose<perm = [1, 0]>(t) y = MatMulInteger(x, v)", 0, 0),
    ],
)
def test_sums_are_those_of_onnx(body: str, x_zero: int, w_zero: int) -> None:
    model = _model(body)
    without_saturation(model.graph)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (seen,) = session.run(None, {"x": X})
    product = next(node for node in model.graph.node if node.op_type == "MatMulInteger")
    assert product.input[1] not in ("w", "v")
    assert np.array_equal(seen, (X.astype(np.int32) - x_zero) @ (W.astype(np.int32) - w_zero))


def test_other_products_stay() -> None:
    model = _model("s = Cast<to = 3>(x) y = MatMulInteger(s, w)")
    before = model.SerializeToString()
    without_saturation(model.graph)
    assert model.SerializeToString() == before


def test_a_conversion_of_a_saturating_layer_is_proved() -> None:
    model = _model("q, s, z = DynamicQuantizeLinear(x) y = MatMulInteger(q, w, z)", "float")
    conversion = fc2conv.convert(model, options=fc2conv.Options(scope="all"))
    assert conversion.report.verification is not None
    assert conversion.report.verification.verdict == "pass"
