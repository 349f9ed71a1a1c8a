"""Constants that are added behind a layer, with a Reshape between: the bias of its convolution, where they are one."""

from __future__ import annotations

import numpy as np
import pytest
from proving_kinds import proved
from typed import Array, assert_equal, floats, model, op_types

M = 6
DENSE = f"""graph (float[N,4,3,2] x) => (float[N,3,2,{M}] y) {{{{ t = Transpose <perm = [0, 2, 3, 1]> (x)
    r = Reshape (t, rows)  [fc] m = MatMul (r, w)  o = Reshape (m, back)  {{}} }}}}"""
ARRAYS = {"w": floats((4, M)), "rows": np.int64([-1, 4]), "back": np.int64([-1, 3, 2, M]), "b": floats((M,))}

BIASES: dict[str, tuple[str, dict[str, Array]]] = {
    "as Keras writes a Dense": ("y = Add (o, b)", {}),
    "in front of what it is added to": ("y = Add (b, o)", {}),
    "of all dimensions": ("y = Add (o, b)", {"b": floats((1, 1, 1, M))}),
    "that a node computes": ("c = Mul (b, b)  y = Add (o, c)", {}),
    "of the heads of an attention": (
        "q = Reshape (o, heads)  a = Add (q, b)  y = Reshape (a, back)",
        {"heads": np.int64([-1, 3, 2, 2, 3]), "b": floats((2, 3))},
    ),
    "within a fused operator": ("g = com.microsoft.BiasGelu (o, b)  y = Relu (g)", {}),
}
OTHERS: dict[str, tuple[str, dict[str, Array]]] = {
    "a number for each cell": ("y = Add (o, b)", {"b": floats((3, 2, M))}),
    "a number for each row": ("y = Add (o, b)", {"b": floats((3, 1, 1))}),
    "beside another reader": ("a = Add (o, b)  g = Sigmoid (o)  y = Mul (a, g)", {}),
    "the layer itself": ("y = Add (o, o)", {}),
    "what another layer gives": ("k = MatMul (r, v)  l = Reshape (k, back)  y = Add (o, l)", {"v": floats((4, M))}),
}


@pytest.mark.parametrize("name", [*BIASES, *OTHERS])
@pytest.mark.parametrize("half", [False, True])
def test_what_is_added_to_each_channel_is_a_bias(name: str, half: bool) -> None:
    body, arrays = (BIASES | OTHERS)[name]
    text, given = DENSE.format(body), ARRAYS | arrays
    if half and "BiasGelu" not in body:  # onnxruntime has none of half floats
        text = text.replace("float[", "float16[")
        given = {key: each.astype(np.float16) if each.dtype.kind == "f" else each for key, each in given.items()}
    original = model(text, given, opset=17)
    result, report = proved(original)
    assert len(report.converted) == op_types(original).count("MatMul")
    assert_equal(original, result, 1e-2 if half else 1e-6)
    conv = next(node for node in result.graph.node if node.name == "fc")
    assert (len(conv.input), op_types(result).count("Add")) == ((3, 0) if name in BIASES else (2, 1))


def test_a_bias_that_a_caller_may_replace_stays() -> None:
    original = model(DENSE.format("y = Add (o, b)").replace("x)", f"x, float[{M}] b)", 1), ARRAYS, opset=17)
    result, _ = proved(original)
    assert_equal(original, result, 1e-6)
    assert op_types(result).count("Add") == 1
