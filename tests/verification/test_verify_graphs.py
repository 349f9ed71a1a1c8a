"""What surrounds a layer in files in the wild; each is converted by hand, and what differs must be reported."""

from __future__ import annotations

import numpy as np
import pytest
from byhand import HEAD, KERNEL, TAIL, B, W, gemm, proved
from cases import FLATTEN, PARTED, STACK, edit, model, pair, random, verdicts, verify

from fc2conv.options import VerifyOptions


def test_activations_that_are_quantized_in_between() -> None:
    params = {"s": np.float32(0.05), "z": np.uint8(128)}
    between = "{1}q = QuantizeLinear({0}, s, z) {1}v = DequantizeLinear({1}q, s, z) "
    original = gemm(between.format("flat", "") + "[fc] y = Gemm<transB=1>(v, W, b)", W=W, b=B, **params)
    converted = model(HEAD + between.format("x", "n") + TAIL.replace("Conv(x", "Conv(nv"), KERNEL | params)
    proved(original, converted)


def test_slopes_and_norms_on_flattened_features() -> None:
    scale = {name: np.abs(random((12,), i)) for i, name in enumerate("abcd")} | {"p": random((1, 12), 9)}
    original = gemm("n0 = BatchNormalization(flat, a, b_, c, d) r0 = PRelu(n0, p) [fc] y = Gemm<transB=1>(r0, W, b)",
                    W=W, b=B, **{("b_" if k == "b" else k): v for k, v in scale.items()})  # fmt: skip
    text = HEAD + "m = Mul(x, s) n = Add(m, t) r = PRelu(n, p4) " + TAIL.replace("Conv(x", "Conv(r")
    spread = {"s": random((1, 3, 2, 2), 5), "t": random((1, 3, 2, 2), 6), "p4": scale["p"].reshape(1, 3, 2, 2)}
    result = verify(original, model(text, KERNEL | spread), True)
    assert verdicts(result)["exact"] == "inconclusive"  # a norm and none, and the numbers decide
    assert verdicts(result)["numeric"] == "differs"


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


def test_a_long_head() -> None:
    weights = {f"V{i}": random((6, 6), 10 + i) for i in range(4)}
    layer = "r{0} = Relu(d{0}) [fc{0}] e{0} = MatMul(r{0}, V{0}) d{1} = Add(e{0}, d{0})"
    layers = " ".join(layer.format(i, i + 1) for i in range(4))
    convs = " ".join(f"p{i} = Relu(q{i}) [fc{i}] t{i} = Conv(p{i}, K{i}) q{i + 1} = Add(t{i}, q{i})" for i in range(4))
    original = gemm(f"[fc] d0 = Gemm<transB=1>(flat, W, b) {layers} y = Relu(d4)", W=W, b=B, **weights)
    kernels = {f"K{i}": np.ascontiguousarray(weights[f"V{i}"].T).reshape(6, 6, 1, 1) for i in range(4)}
    text = HEAD + "[fc] q0 = Conv(x, K, b) " + convs + " u = Relu(q4) y = Reshape(u, to) }"
    proved(original, model(text, KERNEL | kernels))
    wrong = text.replace("q3 = Add(t2, q2)", "q3 = Add(t2, q1)")
    assert verdicts(verify(original, model(wrong, KERNEL | kernels), True))["exact"] in PARTED


def test_a_flattened_value_that_others_read_too() -> None:
    text = "g (float[N,3,2,2] x) => (float[N,12] r, float[N,6] y) {{ f = Flatten(x) r = Relu(f) {0} }}"
    given = {"W": W, "b": B, "to": np.array([-1, 6])}
    original = model(text.format("[fc] y = Gemm<transB=1>(r, W, b)"), given)
    for map_ in ("m = Relu(x)", "n = Identity(x) m = Relu(n)"):
        conv = f"{map_} [fc] y_conv = Conv(m, K, b) y = Reshape(y_conv, to)"
        proved(original, model(text.format(conv), given | KERNEL))
        wrong = np.ascontiguousarray(KERNEL["K"][:, ::-1])
        result = verify(original, model(text.format(conv), given | KERNEL | {"K": wrong}), True)
        assert verdicts(result)["exact"] == "inconclusive"  # a Relu of the map and one of the row
        assert result.verdict == "differs"


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
    assert verdicts(verify(original, wrong, True))["exact"] == "differs"


def test_nodes_out_of_order_are_followed() -> None:
    original, converted = gemm("[fc] y = Gemm<transB=1>(flat, W, b)", W=W, b=B), model(HEAD + TAIL, KERNEL)
    nodes = list(original.graph.node)
    del original.graph.node[:]
    original.graph.node.extend(reversed(nodes))
    result = verify(original, converted, True)
    assert verdicts(result)["exact"] == "proved", result.checks


def test_an_op_that_nothing_is_known_of_is_a_function_of_its_own() -> None:
    text = "{ [odd] f = com.microsoft.Odd(x) "
    original = model("g (float[N,3,2,2] x) => (float[N,6] y) " + text + "flat = Flatten(f) "
                     "[fc] y = Gemm<transB=1>(flat, W, b) }", {"W": W, "b": B})  # fmt: skip
    converted = model(HEAD.replace("{", text, 2).replace(text, "{", 1) + TAIL.replace("(x,", "(f,"), KERNEL)
    result = verify(original, converted, True)
    checks = {c.name: c for c in result.checks}
    assert checks["exact"].verdict == "inconclusive"
    assert "odd" in checks["exact"].detail
    assert checks["numeric"].verdict == "inconclusive"
    assert result.verdict == "inconclusive"


def test_a_shape_that_only_a_run_tells() -> None:
    text = '{ [odd] f = com.microsoft.FusedConv<activation="Relu">(x, C) '
    weights = {"C": random((3, 3, 1, 1), 8)}
    original = model("g (float[N,3,2,2] x) => (float[N,6] y) " + text + "flat = Flatten(f) "
                     "[fc] y = Gemm<transB=1>(flat, W, b) }", {"W": W, "b": B} | weights)  # fmt: skip
    start = "g (float[N,3,2,2] x) => (float[N,6] y) <int64[2] to = {-1, 6}> "
    proved(original, model(start + text + TAIL.replace("(x,", "(f,"), KERNEL | weights))


def test_different_constants_of_similar_nodes_are_seen() -> None:
    text = "g (float[N,3,2,2] x) => (float[N,2] z) {{ {0} [cut] z = Slice(y, {1}, end, axis) }}"
    given = {"start": np.array([0]), "late": np.array([1]), "end": np.array([2]), "axis": np.array([1]),
             "wide": np.array([3]), "to": np.array([-1, 6])}  # fmt: skip
    layer = "flat = Flatten(x) [fc] y = Gemm<transB=1>(flat, W, b)"
    original = model(text.format(layer, "start"), given | {"W": W, "b": B})
    conv = "[fc] y_conv = Conv(x, K, b) y = Reshape(y_conv, to)"
    proved(original, model(text.format(conv, "start"), given | KERNEL))
    wrong = model(text.format(conv, "late").replace("end", "wide"), given | KERNEL)
    assert verdicts(verify(original, wrong, True))["exact"] == "differs"


def test_like_nodes_on_two_layers_of_one_map_are_distinguished() -> None:
    text = "g (float[N,3,2,2] x) => (float[N,6] p, float[N,6] q) {{ {0} p = Relu({1}) q = Relu({2}) }}"
    layers = "flat = Flatten(x) [fc1] y = Gemm<transB=1>(flat, V, b) [fc2] z = Gemm<transB=1>(flat, W, b)"
    given = {"to": np.array([-1, 6]), "b": B, "V": random((6, 12), 5), "W": W}
    original = model(text.format(layers, "y", "z"), given)
    convs = ("[fc1] y_conv = Conv(x, L, b) y = Reshape(y_conv, to) "
             "[fc2] z_conv = Conv(x, K, b) z = Reshape(z_conv, to)")  # fmt: skip
    kernels = given | {"L": given["V"].reshape(6, 3, 2, 2), "K": W.reshape(6, 3, 2, 2)}
    proved(original, model(text.format(convs, "y", "z"), kernels))
    assert verdicts(verify(original, model(text.format(convs, "z", "y"), kernels), True))["exact"] == "differs"


def test_only_a_part_of_the_rows() -> None:
    original = model(FLATTEN.original, {"W": random((6, 60), 0), "b": B})
    text = FLATTEN.converted.replace("Conv(f", "Conv(one").replace("[fc]", "one = Slice(f, start, end, axis) [fc]")
    weights = {"start": np.array([0]), "end": np.array([1]), "axis": np.array([0]), "b": B}
    converted = model(text, weights | {"W_conv": random((6, 60), 0).reshape(6, 3, 5, 4)})
    checks = {c.name: c for c in verify(original, converted, True, VerifyOptions()).checks}
    assert checks["exact"].verdict == "differs"
    assert checks["exact"].detail == "y has the shape [1, 6], where it was [2, 6]"


def test_an_output_that_is_an_input() -> None:
    text = "g (float[N,3,2,2] x) => (float[N,6] y, float[N,3,2,2] x) "
    original = model(text + "{ flat = Flatten(x) [fc] y = Gemm<transB=1>(flat, W, b) }", {"W": W, "b": B})
    converted = model(text + "<int64[2] to = {-1, 6}> { " + TAIL, KERNEL)
    assert verdicts(verify(original, converted, True))["exact"] == "proved"


def test_a_changed_initializer_of_a_node_that_stays() -> None:
    original, converted = pair(STACK)
    edit(converted, "K", lambda a: a + 1)
    assert verdicts(verify(original, converted, True))["exact"] in PARTED


@pytest.mark.parametrize(("order", "consistent"), [([0, 1, 2], True), ([1, 2, 0], True), ([1, 0, 2], False)])
def test_a_row_of_padding_does_not_hide_an_order(order: list[int], consistent: bool) -> None:
    """All elements of the first row are one; the kernel has the order of the channels, or another one."""
    weight = random((3, 5), 0)
    original = model(
        "g (float[N,2,3] x) => (float[N,3,5] y) <int64[6] p = {0,1,0,0,0,0}> { q = Pad(x, p) [fc] y = MatMul(q, W) }",
        {"W": weight},
    )
    kernel = np.ascontiguousarray(weight.T[:, order, None])
    converted = model(
        """g (float[N,2,3] x) => (float[N,3,5] y) <int64[6] p = {0,0,1,0,0,0}> {
            t = Transpose<perm=[0,2,1]>(x)
            c = Gather<axis=1>(t, i)
            q_map = Pad(c, p)
            [fc] y_conv = Conv(q_map, K)
            y = Transpose<perm=[0,2,1]>(y_conv)
        }""",
        {"K": kernel, "i": np.array(order if consistent else [0, 1, 2])},
    )
    exact = next(c for c in verify(original, converted, True).checks if c.name == "exact")
    assert exact.verdict == ("proved" if consistent else "differs"), exact


def test_operands_that_do_not_broadcast_have_no_shape() -> None:
    text = """g (float[8,2,6] x) => (float[A,B,C] y) { n = Relu(x) y = com.microsoft.BiasGelu(n, b) }"""
    original = model(text, {"b": random((8,), 1)})
    assert verdicts(verify(original, original, False))["exact"] == "proved"  # the same node on the same values
