"""Integer products on a processor that adds their pairs in 16 bits: the proof compares what they mean."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
from execute import run
from onnx import ModelProto, checker, numpy_helper
from textmodel import parse

import fc2conv
from fc2conv.verification.saturation import make_exact

SCALES: dict[str, Any] = {"xs": np.float32(0.02), "xz": np.uint8(120), "ws": np.float32(0.03), "wz": np.int8(3)}
SCALES |= {"ys": np.float32(0.5), "yz": np.uint8(110), "uz": np.uint8(130)}
LAYERS = {
    "int32": ("uint8", "int32", "f = Flatten (x)  [fc] y = MatMulInteger (f, w)", np.int8),
    "int32_zero": ("uint8", "int32", "f = Flatten (x)  [fc] y = MatMulInteger (f, w, xz, wz)", np.int8),
    "uint8": ("uint8", "uint8", "f = Flatten (x)  [fc] y = QLinearMatMul (f, xs, xz, w, ws, wz, ys, yz)", np.int8),
    "float": (
        "float",
        "float",
        "f = Flatten (x)  [fc] y = com.microsoft.DynamicQuantizeMatMul (f, w, ws, wz)",
        np.int8,
    ),
    "conv": ("int8", "int32", "c = ConvInteger (x, k, nz, uz)  y = Flatten (c)", np.uint8),
}


def layer(name: str, most: int) -> ModelProto:
    """One layer with weights up to a number."""
    given, made, nodes, dtype = LAYERS[name]
    words = set(nodes.replace(",", " ").replace(")", " ").split())
    low = 0 if dtype == np.uint8 else -most
    numbers = np.random.default_rng(3).integers(low, most, (24, 5)).astype(dtype)
    arrays = {"w": numbers, "k": numbers.T.reshape(5, 4, 3, 2), "nz": np.int8(-7), **SCALES}
    model = parse(f"g ({given}[N,4,3,2] x) => ({made}[N,5] y) {{ {nodes} }}", opset=13, domains={"com.microsoft": 1})
    model.graph.initializer.extend(
        numpy_helper.from_array(np.asarray(array), key) for key, array in arrays.items() if key in words
    )
    return model


def feed(name: str) -> dict[str, Any]:
    numbers = np.random.default_rng(5).standard_normal((3, 4, 3, 2)) * (40 if name != "float" else 1)
    return {"x": numbers.astype(np.float32) if name == "float" else (numbers + 100 * (name != "conv")).astype(
        np.int8 if name == "conv" else np.uint8)}  # fmt: skip


@pytest.mark.parametrize("name", LAYERS)
def test_bytes_of_the_other_sign_mean_the_same(name: str) -> None:
    original = layer(name, 60)  # so small that nothing saturates anywhere
    exact = copy.deepcopy(original)
    make_exact(exact)
    checker.check_model(exact)
    assert len(exact.graph.node) > len(original.graph.node)
    assert all(np.array_equal(a, b) for a, b in zip(run(original, feed(name)), run(exact, feed(name)), strict=True))


@pytest.mark.parametrize("name", ["int32", "int32_zero", "uint8", "float"])
def test_weights_of_the_whole_range_are_proved_on_every_processor(name: str) -> None:
    found = fc2conv.convert(layer(name, 127)).report
    assert [each.decision for each in found.sites] == ["convert"]
    assert found.verification is not None
    assert {check.name: check.verdict for check in found.verification.checks}["numeric"] == "agrees"


@pytest.mark.parametrize(
    "node", ["v = Constant<value = int8[2,1] {127, 120}>()", "v = Identity(w)", "v = Transpose(t)"]
)
def test_weights_that_a_node_holds_or_lays_out(node: str) -> None:
    model = parse(f"g (uint8[N,2] x) => (int32[N,1] y) {{ {node} y = MatMulInteger (x, v) }}", opset=13)
    for name, shape in (("w", (2, 1)), ("t", (1, 2))):
        if f"({name})" in node:
            model.graph.initializer.append(numpy_helper.from_array(np.array([127, 120], np.int8).reshape(shape), name))
    make_exact(model)
    assert run(model, {"x": np.array([[255, 255]], np.uint8)})[0].tolist() == [[255 * (127 + 120)]]


SIGNED = (
    "y = MatMulInteger (x, w, z)",
    "y = QLinearMatMul (x, s, z, w, s, z, s, z)",
    "y = QLinearConv (x4, s, z, k, s, z, s, z)",
)


@pytest.mark.parametrize("layer", SIGNED)
def test_signed_inputs_run_as_well(layer: str) -> None:
    kind = "int32" if "Integer" in layer else "int8"
    model = parse(
        f"g (int8[N,2] x) => ({kind}[?,?] y) {{ x4 = Reshape (x, to)  {layer} }}".replace("[?,?]", ""), opset=13
    )
    values = {
        "s": np.float32(1),
        "z": np.int8(0),
        "w": np.array([[127], [-120]], np.int8),
        "to": np.array([0, 2, 1, 1]),
    }
    values["k"] = values["w"].reshape(1, 2, 1, 1)
    model.graph.initializer.extend(numpy_helper.from_array(np.asarray(v), k) for k, v in values.items())
    feeds = {"x": np.array([[1, 1], [-128, -128]], np.int8)}
    expected = run(model, feeds)
    make_exact(model)
    assert np.array_equal(run(model, feeds)[0], expected[0])
