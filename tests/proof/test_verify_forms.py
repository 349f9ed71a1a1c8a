"""Forms of layers and weights that files in the wild have; each is converted by hand and must be proved."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from cases import FLATTEN, STACK, edit, model, pair, random, verdicts, verify
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, helper, numpy_helper

from fc2conv.options import VerifyOptions
from fc2conv.proof import SitePair, evaluation
from fc2conv.report.types import Verification

W = random((6, 12), 0)
B = random((6,), 1)
PAIR = (SitePair("fc", "y", "y", "y_conv"),)
TAIL = "[fc] y_conv = Conv(x, K, b) y = Reshape(y_conv, to) }"
HEAD = "g (float[N,3,2,2] x) => (float[N,6] y) <int64[2] to = {-1, 6}> {"
KERNEL = {"K": W.reshape(6, 3, 2, 2), "b": B}


def proved(original: ModelProto, converted: ModelProto, pairs: tuple[SitePair, ...] = PAIR) -> Verification:
    result = verify(original, converted, pairs)
    assert verdicts(result)["certificate"] == "pass", result.checks
    assert result.verdict == "pass"
    return result


def gemm(text: str, **weights: NDArray[Any]) -> ModelProto:
    return model(f"g (float[N,3,2,2] x) => (float[N,6] y) {{ flat = Flatten(x) {text} }}", weights)


@pytest.mark.parametrize(
    ("text", "weights"),
    [
        ("[fc] y = Gemm<transB=1>(flat, W, b)", {"W": W, "b": B}),
        ("[fc] y = Gemm<transB=0>(flat, W, b)", {"W": np.ascontiguousarray(W.T), "b": B}),
        ("t = Transpose<perm=[1,0]>(flat) [fc] y = Gemm<transA=1, transB=1>(t, W, b)", {"W": W, "b": B}),
        ("[fc] y = Gemm<transB=1>(flat, W, b)", {"W": W, "b": B[None, :]}),
        ("i = Identity(V) [fc] y = Gemm<transB=1>(flat, i, b)", {"V": W, "b": B}),
        ("i = Transpose(V) [fc] y = Gemm(flat, i, b)", {"V": W, "b": B}),
        ("i = Mul(V, two) [fc] y = Gemm<transB=1>(flat, i, b)", {"V": W / 2, "two": np.float32([2]), "b": B}),
        ("[fc] y = Gemm<transB=1, alpha=2.0, beta=0.5>(flat, V, c)", {"V": W / 2, "c": B * 2}),
        ("d = Dropout(flat) [fc] y = Gemm<transB=1>(d, W, b)", {"W": W, "b": B}),
        ("i = Reshape(V, s) [fc] y = Gemm<transB=1>(flat, i, b)", {"V": W.ravel(), "s": np.array([6, -1]), "b": B}),
    ],
)
def test_forms_of_gemm(text: str, weights: dict[str, NDArray[Any]]) -> None:
    proved(gemm(text, **weights), model(HEAD + TAIL, KERNEL))


def test_the_weight_on_the_left_of_a_gemm() -> None:
    original = model(
        "g (float[N,3,2,2] x) => (float[6,N] y) { flat = Flatten(x) [fc] y = Gemm<transB=1>(W, flat, c) }",
        {"W": W, "c": B[:, None]},
    )
    converted = model(
        "g (float[N,3,2,2] x) => (float[6,N] y) <int64[2] to = {-1, 6}> {"
        "[fc] y_conv = Conv(x, K, b) r = Reshape(y_conv, to) y = Transpose(r) }",
        KERNEL,
    )
    proved(original, converted)


def test_a_bias_that_is_no_constant_or_not_per_output_is_an_add() -> None:
    text = "g (float[N,3,2,2] x, float[N,6] c) => (float[N,6] y) "
    original = model(text + "{ flat = Flatten(x) [fc] y = Gemm<transB=1, beta=0.5>(flat, W, c) }", {"W": W})
    converted = model(
        text + "<int64[2] to = {-1, 6}, float[1] half = {0.5}> "
        "{ [fc] y_conv = Conv(x, K) r = Reshape(y_conv, to) h = Mul(c, half) y = Add(r, h) }",
        KERNEL,
    )
    pairs = (SitePair("fc", "y", "y", "y_conv"),)
    proved(original, converted, pairs)
    node = next(n for n in converted.graph.node if n.op_type == "Add")
    node.input[1] = "c"
    assert verdicts(verify(original, converted, pairs))["certificate"] == "fail"


def test_a_weight_that_is_constant_of_shape() -> None:
    original = gemm("V = ConstantOfShape<value: tensor = float[1] {0.25}>(s) [fc] y = Gemm(flat, V, b)",
                    s=np.array([12, 6]), b=B)  # fmt: skip
    filled = "K = ConstantOfShape<value: tensor = float[1] {0.25}>(s) "
    shape = {"s4": np.array([6, 3, 2, 2]), "b": B}
    proved(original, model(HEAD + filled.replace("(s)", "(s4)") + TAIL, shape))
    same_name = filled.replace("(s)", "(s4)").replace("K =", "V =") + TAIL.replace("(x, K", "(x, V")
    proved(original, model(HEAD + same_name, shape))
    wrong = model(HEAD + filled.replace("(s)", "(s4)").replace("0.25", "0.5") + TAIL, shape)
    assert verdicts(verify(original, wrong, PAIR))["certificate"] == "fail"


def test_a_quantized_weight_that_is_dequantized() -> None:
    values = np.random.default_rng(0).integers(-127, 127, (6, 12)).astype(np.int8)
    scale, zero = np.abs(random((6,), 3)), np.zeros(6, np.int8)
    params = {"scale": scale, "zero": zero, "b": B}
    original = gemm("V = DequantizeLinear<axis=0>(Q, scale, zero) [fc] y = Gemm<transB=1>(flat, V, b)",
                    Q=values, **params)  # fmt: skip
    right = HEAD + "K = DequantizeLinear<axis=0>(Q4, scale, zero) " + TAIL
    kernel = values.reshape(6, 3, 2, 2)
    proved(original, model(right, {"Q4": kernel} | params))
    wrong = model(right, {"Q4": np.ascontiguousarray(kernel[..., ::-1])} | params)
    assert verdicts(verify(original, wrong, PAIR))["certificate"] == "fail"


def test_activations_that_are_quantized_in_between() -> None:
    params = {"s": np.float32(0.05), "z": np.uint8(128)}
    between = "{1}q = QuantizeLinear({0}, s, z) {1}v = DequantizeLinear({1}q, s, z) "
    original = gemm(between.format("flat", "") + "[fc] y = Gemm<transB=1>(v, W, b)", W=W, b=B, **params)
    converted = model(HEAD + between.format("x", "n") + TAIL.replace("Conv(x", "Conv(nv"), KERNEL | params)
    proved(original, converted)


def test_float16() -> None:
    half = {name: array.astype(np.float16) for name, array in (KERNEL | {"W": W}).items()}
    original = gemm("[fc] y = Gemm<transB=1>(flat, W, b)", **half)
    converted = model(HEAD + TAIL, half)
    for proto in (original, converted):
        for value in (*proto.graph.input, *proto.graph.output):
            value.type.tensor_type.elem_type = TensorProto.FLOAT16
    proved(original, converted)


def test_slopes_and_norms_on_flattened_features() -> None:
    scale = {name: np.abs(random((12,), i)) for i, name in enumerate("abcd")} | {"p": random((1, 12), 9)}
    original = gemm("n0 = BatchNormalization(flat, a, b_, c, d) r0 = PRelu(n0, p) [fc] y = Gemm<transB=1>(r0, W, b)",
                    W=W, b=B, **{("b_" if k == "b" else k): v for k, v in scale.items()})  # fmt: skip
    text = HEAD + "m = Mul(x, s) n = Add(m, t) r = PRelu(n, p4) " + TAIL.replace("Conv(x", "Conv(r")
    spread = {"s": random((1, 3, 2, 2), 5), "t": random((1, 3, 2, 2), 6), "p4": scale["p"].reshape(1, 3, 2, 2)}
    result = verify(original, model(text, KERNEL | spread), PAIR)
    assert verdicts(result)["certificate"] == "fail"  # another function than the norm, and the numbers agree on that
    assert verdicts(result)["numeric"] == "fail"


def test_shapes_that_the_graph_computes() -> None:
    text = """
        s = Shape(x)
        n = Gather<axis=0>(s, zero)
        u = Unsqueeze(n, axes)
        to = Concat<axis=0>(u, rest)
        flat = Reshape(x, to)
        [fc] y = Gemm<transB=1>(flat, W, b)"""
    given = {"zero": np.array(0), "axes": np.array([0]), "rest": np.array([-1]), "W": W, "b": B}
    proved(gemm(text.replace("flat = F", "f = F"), **given), model(HEAD + TAIL, KERNEL))


def test_a_softmax_of_old_flattens_what_follows_its_axis() -> None:
    weights = KERNEL | {"W": W, "to": np.array([-1, 6])}
    original = model("g (float[N,3,2,2] x) => (float[N,6] z) { flat = Flatten(x) [fc] y = Gemm<transB=1>(flat, W, b)"
                     " z = Softmax(y) }", weights, opset=11)  # fmt: skip
    text = "g (float[N,3,2,2] x) => (float[N,6] z) { [fc] y_conv = Conv(x, K, b) s = Softmax<axis=1>(y_conv)" \
           " z = Reshape(s, to) }"  # fmt: skip
    proved(original, model(text, weights, opset=11))


def test_a_weight_in_blocks_of_four_bits() -> None:
    values = np.random.default_rng(0).integers(-8, 7, (12, 6)).astype(np.int8)
    scale = np.abs(random((3, 6), 3))
    text = "g (float[N,3,2,2] x) => (float[N,6] y) { flat = Flatten(x) " \
           "V = DequantizeLinear<axis=0, block_size=4>(Q, scale) [fc] y = MatMul(flat, V) }"  # fmt: skip
    original = model(text, {"scale": scale, "Q": values}, opset=21, ir=10)
    weight = values.astype(np.float32) * np.repeat(scale, 4, axis=0)
    kernel = np.ascontiguousarray(weight.T).reshape(6, 3, 2, 2)
    proved(original, model(HEAD + TAIL.replace(", b)", ")"), {"K": kernel}, opset=21, ir=10))


def test_a_long_head_in_little_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluation, "BUDGET", 1024)
    weights = {f"V{i}": random((6, 6), 10 + i) for i in range(4)}
    layer = "r{0} = Relu(d{0}) [fc{0}] e{0} = MatMul(r{0}, V{0}) d{1} = Add(e{0}, d{0})"
    layers = " ".join(layer.format(i, i + 1) for i in range(4))
    convs = " ".join(f"p{i} = Relu(q{i}) [fc{i}] t{i} = Conv(p{i}, K{i}) q{i + 1} = Add(t{i}, q{i})" for i in range(4))
    original = gemm(f"[fc] d0 = Gemm<transB=1>(flat, W, b) {layers} y = Relu(d4)", W=W, b=B, **weights)
    kernels = {f"K{i}": np.ascontiguousarray(weights[f"V{i}"].T).reshape(6, 6, 1, 1) for i in range(4)}
    text = HEAD + "[fc] q0 = Conv(x, K, b) " + convs + " u = Relu(q4) y = Reshape(u, to) }"
    pairs = (SitePair("fc", "d0", "d0", "q0"), *(SitePair(f"fc{i}", f"e{i}", f"e{i}", f"t{i}") for i in range(4)))
    proved(original, model(text, KERNEL | kernels), pairs)
    wrong = text.replace("q3 = Add(t2, q2)", "q3 = Add(t2, q1)")
    assert verdicts(verify(original, model(wrong, KERNEL | kernels), pairs))["certificate"] == "fail"


def test_a_flattened_value_that_others_read_too() -> None:
    text = "g (float[N,3,2,2] x) => (float[N,12] r, float[N,6] y) {{ f = Flatten(x) r = Relu(f) {0} }}"
    given = {"W": W, "b": B, "to": np.array([-1, 6])}
    original = model(text.format("[fc] y = Gemm<transB=1>(r, W, b)"), given)
    for map_ in ("m = Relu(x)", "n = Identity(x) m = Relu(n)"):
        conv = f"{map_} [fc] y_conv = Conv(m, K, b) y = Reshape(y_conv, to)"
        proved(original, model(text.format(conv), given | KERNEL))
        wrong = np.ascontiguousarray(KERNEL["K"][:, ::-1])
        result = verify(original, model(text.format(conv), given | KERNEL | {"K": wrong}), PAIR)
        assert verdicts(result)["certificate"] == "fail"


def test_pad_slice_and_split_move_what_they_say() -> None:
    text = """g (float[N,3,2,2] x) => (float[N,6] y) {{
        p = Pad(x, pads) c = Slice(p, starts, ends, axes) a, d = Split<axis=1>(c, parts) e = Concat<axis=1>(a, d)
        {0} }}"""
    given = {"pads": np.array([0, 0, 1, 1, 0, 0, 0, 0]), "starts": np.array([1, 1]), "ends": np.array([3, 3]),
             "axes": np.array([2, 3]), "parts": np.array([1, 2])}  # fmt: skip
    original = model(text.format("flat = Flatten(e) [fc] y = Gemm<transB=1>(flat, W, b)"), given | {"W": W, "b": B})
    right = model(HEAD + TAIL, KERNEL)
    wrong = model(text.replace("Concat<axis=1>(a, d)", "Concat<axis=1>(d, a)").format("f = Flatten(x) " + TAIL[:-1]
                  .replace("Conv(x", "Conv(e")), given | KERNEL | {"to": np.array([-1, 6])})  # fmt: skip
    proved(original, right)
    assert verdicts(verify(original, wrong, PAIR))["certificate"] == "fail"


def test_nodes_out_of_order_are_followed() -> None:
    original, converted = gemm("[fc] y = Gemm<transB=1>(flat, W, b)", W=W, b=B), model(HEAD + TAIL, KERNEL)
    nodes = list(original.graph.node)
    del original.graph.node[:]
    original.graph.node.extend(reversed(nodes))
    result = verify(original, converted, PAIR)
    assert verdicts(result)["certificate"] == "pass", result.checks


def test_an_op_that_nothing_is_known_of_stands_for_itself() -> None:
    text = "{ [odd] f = com.microsoft.Odd(x) "
    original = model("g (float[N,3,2,2] x) => (float[N,6] y) " + text + "flat = Flatten(f) "
                     "[fc] y = Gemm<transB=1>(flat, W, b) }", {"W": W, "b": B})  # fmt: skip
    converted = model(HEAD.replace("{", text, 2).replace(text, "{", 1) + TAIL.replace("(x,", "(f,"), KERNEL)
    result = verify(original, converted, PAIR)
    checks = {c.name: c for c in result.checks}
    assert checks["certificate"].verdict == "inconclusive"
    assert "odd" in checks["certificate"].detail
    assert checks["numeric"].verdict == "inconclusive"
    assert result.verdict == "inconclusive"


def test_a_shape_that_only_a_run_tells() -> None:
    text = '{ [odd] f = com.microsoft.FusedConv<activation="Relu">(x, C) '
    weights = {"C": random((3, 3, 1, 1), 8)}
    original = model("g (float[N,3,2,2] x) => (float[N,6] y) " + text + "flat = Flatten(f) "
                     "[fc] y = Gemm<transB=1>(flat, W, b) }", {"W": W, "b": B} | weights)  # fmt: skip
    start = "g (float[N,3,2,2] x) => (float[N,6] y) <int64[2] to = {-1, 6}> "
    proved(original, model(start + text + TAIL.replace("(x,", "(f,"), KERNEL | weights))


def branch(op_type: str, output: str) -> onnx.GraphProto:
    made = helper.make_node(op_type, ["y0"], [output])
    return helper.make_graph([made], output, [], [helper.make_tensor_value_info(output, TensorProto.FLOAT, None)])


def test_a_layer_whose_result_a_subgraph_reads() -> None:
    start = "g (float[N,3,2,2] x, bool c) => (float[N,6] y) <int64[2] to = {-1, 6}> "
    layer = "{ flat = Flatten(x) [fc] y0 = Gemm<transB=1>(flat, W, b) y = Identity(y0) }"
    original = model(start + layer, {"W": W, "b": B})
    converted = model(start + "{ [fc] y_conv = Conv(x, K, b) y0 = Reshape(y_conv, to) y = Identity(y0) }", KERNEL)
    for proto in (original, converted):
        choice = helper.make_node("If", ["c"], ["y"], then_branch=branch("Neg", "a"), else_branch=branch("Abs", "e"))
        proto.graph.node[-1].CopyFrom(choice)
    pairs = (SitePair("fc", "y0", "y0", "y_conv"),)
    proved(original, converted, pairs)
    converted.graph.node[-1].attribute[0].g.node[0].op_type = "Exp"
    assert verdicts(verify(original, converted, pairs))["certificate"] == "fail"


def in_branch(nodes: list[onnx.NodeProto], weights: dict[str, NDArray[Any]]) -> ModelProto:
    """A model whose one branch is given, and reads the outer x and b."""
    shape = helper.make_tensor_value_info("out", TensorProto.FLOAT, None)
    inner = [numpy_helper.from_array(array, name) for name, array in weights.items()]
    one = helper.make_graph(nodes, "one", [], [shape], inner)
    zero = helper.make_node("Flatten", ["x"], ["f"])
    cut = helper.make_node("Slice", ["f", "start", "end", "axis"], ["out"])
    other = helper.make_graph([zero, cut], "other", [], [shape])
    consts = {"start": np.array([0]), "end": np.array([6]), "axis": np.array([1]), "b": B}
    proto = model("g (float[N,3,2,2] x, bool c) => (float[N,6] y) { y = Identity(x) }", {})
    proto.graph.initializer.extend(numpy_helper.from_array(array, name) for name, array in consts.items())
    proto.graph.node[0].CopyFrom(helper.make_node("If", ["c"], ["y"], "if", then_branch=one, else_branch=other))
    return proto


def test_a_layer_in_a_subgraph() -> None:
    original = in_branch(
        [
            helper.make_node("Flatten", ["x"], ["flat"]),
            helper.make_node("Gemm", ["flat", "W", "b"], ["out"], "fc", transB=1),
        ],
        {"W": W},
    )
    nodes = [
        helper.make_node("Conv", ["x", "K", "b"], ["out_conv"], "fc"),
        helper.make_node("Reshape", ["out_conv", "to"], ["out"]),
    ]
    weights = {"K": KERNEL["K"], "to": np.array([-1, 6])}
    pairs = (SitePair("fc", "out", "out", "out_conv", "if.then_branch"),)
    proved(original, in_branch(nodes, weights), pairs)
    wrong = in_branch(nodes, weights | {"K": np.ascontiguousarray(KERNEL["K"][:, :, ::-1])})
    result = verify(original, wrong, pairs)
    assert verdicts(result)["certificate"] == "fail"
    assert verdicts(verify(original, wrong, ()))["certificate"] == "inconclusive"


def test_a_loop_whose_body_is_converted() -> None:
    """The body's input is known only by its place: `h` is a map that each turn makes into a map again."""

    def loop(nodes: list[onnx.NodeProto], weights: dict[str, NDArray[Any]]) -> ModelProto:
        float4 = [2, 3, 2, 2]
        body = helper.make_graph(
            [*nodes, helper.make_node("Identity", ["more"], ["still"])],
            "body",
            [
                helper.make_tensor_value_info("i", TensorProto.INT64, []),
                helper.make_tensor_value_info("more", TensorProto.BOOL, []),
                helper.make_tensor_value_info("h", TensorProto.FLOAT, float4),
            ],
            [
                helper.make_tensor_value_info("still", TensorProto.BOOL, []),
                helper.make_tensor_value_info("back", TensorProto.FLOAT, float4),
            ],
            [numpy_helper.from_array(array, name) for name, array in weights.items()],
        )
        proto = model("g (float[2,3,2,2] x) => (float[2,3,2,2] y) { y = Identity(x) }", {})
        proto.graph.initializer.append(numpy_helper.from_array(np.array(3), "turns"))
        proto.graph.node[0].CopyFrom(helper.make_node("Loop", ["turns", "", "x"], ["y"], "loop", body=body))
        return proto

    square = random((12, 12), 4) / np.float32(8)
    make = helper.make_node
    to = {"to": np.array([2, 3, 2, 2])}
    layer = [make("Flatten", ["h"], ["f"]), make("Gemm", ["f", "W"], ["g"], "fc", transB=1)]
    original = loop([*layer, make("Reshape", ["g", "to"], ["back"])], {"W": square} | to)
    nodes = [make("Conv", ["h", "K"], ["g_conv"], "fc"), make("Reshape", ["g_conv", "to"], ["back"])]
    kernel = square.reshape(12, 3, 2, 2)
    pairs = (SitePair("fc", "g", "g", "g_conv", "loop.body"),)
    proved(original, loop(nodes, {"K": kernel} | to), pairs)
    wrong = loop(nodes, {"K": np.ascontiguousarray(kernel[::-1])} | to)
    assert verdicts(verify(original, wrong, pairs))["certificate"] == "fail"


def test_unlike_constants_of_like_nodes_are_seen() -> None:
    text = "g (float[N,3,2,2] x) => (float[N,2] z) {{ {0} [cut] z = Slice(y, {1}, end, axis) }}"
    given = {"start": np.array([0]), "late": np.array([1]), "end": np.array([2]), "axis": np.array([1]),
             "wide": np.array([3]), "to": np.array([-1, 6])}  # fmt: skip
    layer = "flat = Flatten(x) [fc] y = Gemm<transB=1>(flat, W, b)"
    original = model(text.format(layer, "start"), given | {"W": W, "b": B})
    conv = "[fc] y_conv = Conv(x, K, b) y = Reshape(y_conv, to)"
    proved(original, model(text.format(conv, "start"), given | KERNEL))
    wrong = model(text.format(conv, "late").replace("end", "wide"), given | KERNEL)
    assert verdicts(verify(original, wrong, PAIR))["certificate"] == "fail"


def test_like_nodes_on_two_layers_of_one_map_are_told_apart() -> None:
    text = "g (float[N,3,2,2] x) => (float[N,6] p, float[N,6] q) {{ {0} p = Relu({1}) q = Relu({2}) }}"
    layers = "flat = Flatten(x) [fc1] y = Gemm<transB=1>(flat, V, b) [fc2] z = Gemm<transB=1>(flat, W, b)"
    given = {"to": np.array([-1, 6]), "b": B, "V": random((6, 12), 5), "W": W}
    original = model(text.format(layers, "y", "z"), given)
    convs = ("[fc1] y_conv = Conv(x, L, b) y = Reshape(y_conv, to) "
             "[fc2] z_conv = Conv(x, K, b) z = Reshape(z_conv, to)")  # fmt: skip
    kernels = given | {"L": given["V"].reshape(6, 3, 2, 2), "K": W.reshape(6, 3, 2, 2)}
    pairs = (SitePair("fc1", "y", "y", "y_conv"), SitePair("fc2", "z", "z", "z_conv"))
    proved(original, model(text.format(convs, "y", "z"), kernels), pairs)
    assert verdicts(verify(original, model(text.format(convs, "z", "y"), kernels), pairs))["certificate"] == "fail"


def test_a_kernel_under_the_name_of_its_weight() -> None:
    original = gemm("[fc] y = Gemm<transB=1>(flat, W, b)", W=W, b=B)
    right = HEAD + TAIL.replace("(x, K", "(x, W")
    proved(original, model(right, {"W": KERNEL["K"], "b": B}))
    wrong = np.ascontiguousarray(KERNEL["K"].transpose(0, 1, 3, 2))
    assert verdicts(verify(original, model(right, {"W": wrong, "b": B}), PAIR))["certificate"] == "fail"


def test_only_a_part_of_the_rows() -> None:
    original = model(FLATTEN.original, {"W": random((6, 60), 0), "b": B})
    text = FLATTEN.converted.replace("Conv(f", "Conv(one").replace("[fc]", "one = Slice(f, start, end, axis) [fc]")
    weights = {"start": np.array([0]), "end": np.array([1]), "axis": np.array([0]), "b": B}
    converted = model(text, weights | {"W_conv": random((6, 60), 0).reshape(6, 3, 5, 4)})
    checks = {c.name: c for c in verify(original, converted, FLATTEN.pairs, VerifyOptions()).checks}
    assert checks["certificate"].verdict == "fail"
    assert "1 of its 2 rows are in no window" in checks["certificate"].detail


def test_an_output_that_is_an_input() -> None:
    text = "g (float[N,3,2,2] x) => (float[N,6] y, float[N,3,2,2] x) "
    original = model(text + "{ flat = Flatten(x) [fc] y = Gemm<transB=1>(flat, W, b) }", {"W": W, "b": B})
    converted = model(text + "<int64[2] to = {-1, 6}> { " + TAIL, KERNEL)
    assert verdicts(verify(original, converted, PAIR))["certificate"] == "pass"


def test_a_pair_that_is_not_there() -> None:
    original, converted = gemm("[fc] y = Gemm<transB=1>(flat, W, b)", W=W, b=B), model(HEAD + TAIL, KERNEL)
    for wrong in (SitePair("fc", "y", "y", "gone"), SitePair("fc", "y", "y", "y_conv", "no.scope")):
        assert verdicts(verify(original, converted, (wrong,)))["certificate"] in ("fail", "inconclusive")
    other = SitePair("fc", "gone", "gone", "y_conv")
    assert verdicts(verify(original, converted, (other,)))["certificate"] == "inconclusive"


def test_a_changed_initializer_is_told_by_the_structure() -> None:
    original, converted = pair(STACK)
    edit(converted, "K", lambda a: a + 1)
    assert verdicts(verify(original, converted, STACK.pairs))["structure"] == "fail"


EINSUMS = {
    "nchw,chwm->nm": (3, 0, 1, 2),
    "nchw,mwch->nm": (0, 2, 3, 1),
    "chwm,nchw->nm": (3, 0, 1, 2),
    "...chw,hwcm->...m": (3, 2, 0, 1),
    "...chw,wchm": (3, 1, 2, 0),
}
"""Equations over a map [N,3,2,2], and the perm that makes the kernel of the weight."""


def einsum_pair(equation: str, swapped: bool = False) -> tuple[ModelProto, ModelProto]:
    """A layer as Einsum, and its convolution by hand, with h and w swapped in the kernel on demand."""
    perm = EINSUMS[equation]
    weight = np.ascontiguousarray(KERNEL["K"].transpose(np.argsort(perm)))
    operands = "x, V" if equation[0] in "n." else "V, x"
    text = f'[fc] y = Einsum<equation="{equation}">({operands})'
    original = model(f"g (float[N,3,2,2] x) => (float[N,6] y) {{ {text} }}", {"V": weight})
    kernel = KERNEL["K"].swapaxes(2, 3) if swapped else KERNEL["K"]
    return original, model(HEAD + TAIL.replace(", b", ""), {"K": np.ascontiguousarray(kernel)})


@pytest.mark.parametrize("equation", EINSUMS)
def test_forms_of_einsum(equation: str) -> None:
    proved(*einsum_pair(equation))


@pytest.mark.parametrize("equation", EINSUMS)
def test_an_einsum_whose_kernel_is_swapped_is_refuted(equation: str) -> None:
    assert verdicts(verify(*einsum_pair(equation, swapped=True), PAIR))["certificate"] == "fail"


def test_an_einsum_to_two_dimensions_of_outputs() -> None:
    weight = random((3, 2, 4), 2)
    original = model(
        'g (float[N,3,2,2] x) => (float[2,N,4,2,2] y) { [fc] y = Einsum<equation="nchw,cde->dnehw">(x, V) }',
        {"V": weight},
    )
    converted = model(
        "g (float[N,3,2,2] x) => (float[2,N,4,2,2] y) <int64[5] to = {-1, 2, 4, 2, 2}> {"
        "[fc] y_conv = Conv(x, K) r = Reshape(y_conv, to) y = Transpose<perm=[1,0,2,3,4]>(r) }",
        {"K": weight.reshape(3, 8).T.reshape(8, 3, 1, 1)},
    )
    proved(original, converted)


def test_an_einsum_that_is_no_product_with_a_matrix_is_not_followed() -> None:
    original = model(
        'g (float[N,3,2,2] x) => (float[N,6] y) { [fc] y = Einsum<equation="nchw,cm->nm">(x, V) }', {"V": W[:, :3].T}
    )
    kernel = np.broadcast_to(W[:, :3, None, None], (6, 3, 2, 2))
    converted = model(HEAD + TAIL.replace(", b", ""), {"K": np.ascontiguousarray(kernel)})
    result = verify(original, converted, PAIR)
    assert verdicts(result)["certificate"] == "inconclusive"
    assert verdicts(result)["numeric"] == "pass"


def test_a_weight_of_a_higher_rank_raises_that_of_the_result() -> None:
    weight = random((1, 1, 12, 5), 0)
    original = model(
        "g (float[N,3,2,2] x) => (float[1,1,N,5] y) { f = Flatten(x) [fc] y = MatMul(f, W) }", {"W": weight}
    )
    text = """g (float[N,3,2,2] x) => (float[1,1,N,5] y) <int64[4] to = {1, 1, -1, 5}> {
        [fc] y_conv = Conv(x, K)
        y = Reshape(y_conv, to)
    }"""
    kernel = np.ascontiguousarray(weight[0, 0].T).reshape(5, 3, 2, 2)
    pairs = (SitePair("fc", "y", "y", "y_conv"),)
    proved(original, model(text, {"K": kernel}), pairs)
    result = verify(original, model(text, {"K": kernel[:, ::-1]}), pairs)
    assert verdicts(result)["certificate"] == "fail", result.checks


@pytest.mark.parametrize(("told", "held"), [([0, 1, 2], True), ([1, 2, 0], True), ([1, 0, 2], False)])
def test_a_row_of_padding_does_not_hide_an_order(told: list[int], held: bool) -> None:
    """All elements of the first row are one; the kernel has the order of the channels, or another one."""
    weight = random((3, 5), 0)
    original = model(
        "g (float[N,2,3] x) => (float[N,3,5] y) <int64[6] p = {0,1,0,0,0,0}> { q = Pad(x, p) [fc] y = MatMul(q, W) }",
        {"W": weight},
    )
    kernel = np.ascontiguousarray(weight.T[:, told, None])
    converted = model(
        """g (float[N,2,3] x) => (float[N,3,5] y) <int64[6] p = {0,0,1,0,0,0}> {
            t = Transpose<perm=[0,2,1]>(x)
            c = Gather<axis=1>(t, i)
            q_map = Pad(c, p)
            [fc] y_conv = Conv(q_map, K)
            y = Transpose<perm=[0,2,1]>(y_conv)
        }""",
        {"K": kernel, "i": np.array(told if held else [0, 1, 2])},
    )
    certificate = next(c for c in verify(original, converted, PAIR).checks if c.name == "certificate")
    assert certificate.verdict == ("pass" if held else "fail"), certificate
