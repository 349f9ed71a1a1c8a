"""Models that are right and unusual: each is converted as far as the result runs wherever the original does."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from execute import difference, run
from onnx import ModelProto, TensorProto, helper
from proving_kinds import ints, proved
from typed import floats, kernels, model

import fc2conv
from fc2conv import SlidingOptions

Arrays = dict[str, Any]


# ------------------------------------------------------------------ what depends on shapes alone

QUERIES = """graph (float[N,16,2,2] x) => (float[N,3,4] y)
{ s = Shape (x)  n = Gather (s, zero)  t = Concat <axis = 0> (n, rest)  e = Expand (queries, t)
  [query] q = MatMul (e, wq)
  l = LayerNormalization <axis = -1> (q, g)
  [again] r = MatMul (l, wr)
  m = Reshape (x, rows)  k = Transpose <perm = [0, 2, 1]> (m)
  [value] v = MatMul (k, wv)  vt = Transpose <perm = [0, 2, 1]> (v)
  y = MatMul (r, vt) }"""


def test_layers_of_queries_that_no_input_reaches() -> None:
    """Queries are expanded to the batch: their layers have known numbers, which a convolution rounds in its own way."""
    arrays = {"zero": ints(0), "rest": ints(3, 16), "rows": ints(0, 16, 4), "queries": floats((1, 3, 16))}
    arrays |= {name: floats((16, 16), seed=i) for i, name in enumerate(("wq", "wr", "wv"))} | {"g": floats((16,))}
    original = model(QUERIES, arrays, 17)
    result, report = proved(original, scope="all")
    assert len(report.converted) == 3
    feed = {"x": floats((2, 16, 2, 2))}
    assert difference(run(original, feed), run(result, feed)) < 1e-5
    wrong = ModelProto.FromString(result.SerializeToString())
    weight = next(t for t in wrong.graph.initializer if t.name == "wq")
    weight.raw_data = weight.raw_data[:-1] + bytes([weight.raw_data[-1] ^ 1])
    assert {c.name: c.verdict for c in fc2conv.verify(original, wrong).checks}["exact"] in ("differs", "inconclusive")


# ------------------------------------------------------------------ windows that do not count

ROUNDED_UP = """graph (float[N,3,8,8] x) => (float[N,5] y)
{ a = MaxPool <kernel_shape = [2, 2], strides = [3, 3], pads = [0, 0, 1, 1], ceil_mode = 1> (x)  %s
  [fc] y = Gemm (f, w, b) }"""


@pytest.mark.parametrize("sliding", [None, SlidingOptions()], ids=["", "sliding"])
@pytest.mark.parametrize(("head", "k"), [("f = Flatten (a)", 27), ("g = GlobalAveragePool (a)  f = Flatten (g)", 3)])
def test_a_last_window_that_begins_behind_the_map(head: str, k: int, sliding: SlidingOptions | None) -> None:
    """Inference counts it, for 48 features that no runtime makes."""
    original = model(ROUNDED_UP % head, {"w": floats((k, 5)), "b": floats((5,))}, 11)
    conversion = fc2conv.convert(original, sliding=sliding)
    assert len(conversion.report.converted) == 1
    assert conversion.report.verification.verdict == "proved"
    feed = {"x": floats((2, 3, 8, 8))}
    found = [each.reshape(2, 5) for each in run(conversion.model, feed)]
    assert difference(run(original, feed), found) < 1e-5


# ------------------------------------------------------------------ slopes

MAP = "graph (float[N,4,3,2] x) => (float[{out}] y)"
SLOPES: dict[str, tuple[str, Arrays, str, str]] = {
    "reshaped": (f"{MAP.format(out='N,5')} {{ p = PRelu (x, a)  f = Reshape (p, s)  [fc] y = MatMul (f, w) }}",
                 {"a": floats((1, 1, 4, 1, 1)), "s": ints(-1, 24), "w": floats((24, 5))}, "FC102", "convert"),
    "read": (f"{MAP.format(out='1,N,4,3,5')} {{ p = PRelu (x, a)  [fc] y = MatMul (p, w) }}",
             {"a": floats((1, 1, 4, 1, 1)), "w": floats((2, 5))}, "FC205", "FC205"),
    "behind": (f"{MAP.format(out='1,N,5')} {{ f = Flatten (x)  [fc] m = MatMul (f, w)  y = PRelu (m, a) }}",
               {"a": floats((1, 1, 5)), "w": floats((24, 5))}, "convert", "convert"),
}  # fmt: skip


@pytest.mark.parametrize("scope", ["spatial", "all"])
@pytest.mark.parametrize("name", SLOPES)
def test_a_slope_that_broadcasts_beyond_its_input(name: str, scope: str) -> None:
    """onnxruntime runs it, and infers another shape than it gives."""
    text, arrays, spatial, everywhere = SLOPES[name]
    original = model(text, arrays, 16)
    result, report = proved(original, scope=scope)
    (layer,) = report.sites
    assert (layer.reason.code if layer.reason else "convert") == {"spatial": spatial, "all": everywhere}[scope]
    feed = {"x": floats((2, 4, 3, 2))}
    assert difference(run(original, feed), run(result, feed)) < 1e-5


@pytest.mark.parametrize("rows", [1, 2])
def test_a_slope_does_not_tell_an_open_size(rows: int) -> None:
    """onnxruntime runs one row as well as two, where a slope has two."""
    text = """graph (float[N,4,3,2] x) => (float[?,?] a, float[?,?] y) {
        f = Flatten (x)  m = MatMul (f, w)  r = Flatten <axis = 0> (m)  a = PRelu (r, b)  y = MatMul (a, v) }"""
    arrays = {"b": floats((1, 2)), "w": floats((24, 1)), "v": floats((2, 3))}
    original = model(text, arrays, 16)
    result, _ = proved(original)
    feed = {"x": floats((rows, 4, 3, 2))}
    assert difference(run(original, feed), run(result, feed)) < 1e-5


# ------------------------------------------------------------------ sizes that are open and fixed

POOL = "AveragePool <kernel_shape = [2, 2], strides = [2, 2]> (x)"
PATCHES = """c = Conv <strides = [4, 4]> (x, k)  r = Reshape (c, s)  t = Transpose <perm = [0, 2, 1]> (r)
    e = Add (t, p)  [fc] y = MatMul (e, w)"""
OPEN: dict[str, tuple[str, str, Arrays, dict[str, tuple[int, ...]], Any]] = {
    "width": ("N,4,3,W", "f = Flatten (x)  [fc] y = Gemm (f, w)", {"w": floats((60, 5))}, {"x": (2, 4, 3, 5)}, [3, 5]),
    "width_behind_a_pool": ("N,4,6,W", f"c = {POOL}  r = Relu (c)  f = Flatten (r)  [fc] y = Gemm (f, w)",
                            {"w": floats((132, 5))}, {"x": (2, 4, 6, 23)}, [3, 11]),
    "square": ("N,4,H,W", f"c = {POOL}  f = Flatten (c)  [fc] y = Gemm (f, w)", {"w": floats((4 * 19 * 19, 5))},
               {"x": (2, 4, 38, 38)}, [1, 1]),
    "rectangle": ("N,4,H,W", f"c = {POOL}  f = Flatten (c)  [fc] y = Gemm (f, w)", {"w": floats((4 * 3 * 11, 5))},
                  {"x": (2, 4, 6, 22)}, [1, 1]),
    "left_and_right": ("1,1,H,W", f"a = {POOL}  b = MatMul (a, v)  [fc] y = MatMul (w, b)",
                       {"v": floats((9, 3)), "w": floats((1,))}, {"x": (1, 1, 2, 18)}, [1, 1]),
    "channels": ("A,B,H,W", "c = Conv (x, k)  g = GlobalAveragePool (c)  f = Flatten (g)  [fc] y = Gemm (f, w)",
                 {"k": floats((7, 5, 3, 3)), "w": floats((7, 5))}, {"x": (2, 5, 9, 9)}, [1, 1]),
    "features": ("N,T,F", "r = Relu (x)  [fc] y = MatMul (r, w)", {"w": floats((7, 5))}, {"x": (2, 3, 7)}, [1, 1]),
    "positions": ("N,3,H,W", PATCHES, {"k": floats((8, 3, 4, 4)), "s": ints(0, 8, -1), "p": floats((1, 36, 8)),
                  "w": floats((8, 5))}, {"x": (2, 3, 24, 24)}, [1, 1]),
    "target": ("N,4,H,W", "r = Reshape (x, s)  [fc] y = Gemm (r, w)", {"s": ints(-1, 60), "w": floats((60, 5))},
               {"x": (2, 4, 3, 5)}, [1, 1]),
}  # fmt: skip


@pytest.mark.parametrize("name", OPEN)
def test_an_open_size_that_the_model_fixes_is_found(name: str) -> None:
    shape, nodes, arrays, sizes, kernel = OPEN[name]
    original = model(f"graph (float[{shape}] x) => (y) {{ {nodes} }}", arrays, 17)
    result, report = proved(original, scope="all")
    assert kernels(report)["fc"] == kernel
    assert report.verification is not None
    assert {check.name: check.verdict for check in report.verification.checks}["numeric"] == "agrees"
    feed = {"x": floats(sizes["x"])}
    assert difference(run(original, feed), run(result, feed)) < 1e-5


def test_what_one_layer_fixes_holds_for_all() -> None:
    """The first layer tells the width of the map, and so the kernel of the second, which reads it in another order."""
    text = """graph (float[N,4,3,W] x) => (a, b)
    { r = Relu (x)  f = Flatten (r)  [one] a = Gemm (f, w)
      t = Transpose <perm = [0, 3, 2, 1]> (r)  g = Flatten (t)  [two] b = Gemm (g, v) }"""
    original = model(text, {"w": floats((60, 5)), "v": floats((60, 7))}, 17)
    _, report = proved(original)
    assert kernels(report) == {"one": [3, 5], "two": [3, 5]}


def test_means_over_an_open_number_of_tokens_one_behind_another() -> None:
    """Three gates by a sum that is divided by the number of tokens: both models divide by it as often."""
    gate = """s{0} = ReduceSum <keepdims = 1> (h{0}, one)  d{0} = Div (s{0}, many)  e{0} = MatMul (d{0}, u)
    g{0} = Sigmoid (e{0})  m{0} = Mul (h{0}, g{0})  h{1} = MatMul (m{0}, w)"""
    text = """graph (float[N,L,8] x) => (float[N,L,8] y)
    { s = Shape (x)  l = Gather (s, one)  many = Cast <to = 1> (l)  h0 = MatMul (x, w) GATES  y = Relu (h3) }"""
    gates = " ".join(gate.format(i, i + 1) for i in range(3))
    original = model(text.replace("GATES", gates), {"one": ints(1), "w": floats((8, 8)), "u": floats((8, 8))}, 17)
    result, report = proved(original, scope="all")
    assert len(report.converted) == 7
    feed = {"x": floats((2, 5, 8))}
    assert difference(run(original, feed), run(result, feed)) < 1e-4


# ------------------------------------------------------------------ what is stated of values that are no more


def test_new_names_are_none_of_values_whose_shapes_are_stated() -> None:
    """onnxruntime's optimizer states the shapes of values that it has fused away, and believes them when it loads."""
    text = """graph (float[N,4,3,2] x) => (float[N,5] y) { c = Relu (x)  f = Flatten (c)
    [fc1] h = MatMul (f, v)  r = Tanh (h)  [fc2] y = MatMul (r, w) }"""
    original = model(text, {"v": floats((24, 6)), "w": floats((6, 5), seed=1)}, 17)
    there = {name for node in original.graph.node for name in node.output}
    made = fc2conv.convert(original).model
    stale = [name for node in made.graph.node for name in node.output if name not in there]
    assert stale
    original.graph.value_info.extend(helper.make_tensor_value_info(n, TensorProto.FLOAT, [7, 7]) for n in stale)
    result, report = proved(original)
    assert len(report.converted) == 2
    feed = {"x": floats((2, 4, 3, 2))}
    assert difference(run(original, feed), run(result, feed)) < 1e-5


def test_a_layer_without_a_name_whose_result_is_called_as_another_node() -> None:
    """onnxruntime names a Cast that it inserts as the value that it reads, which a nameless product makes."""
    text = """graph (float[N,24] x) => (float[N,5] y) { [h] r = Relu (x)  h = MatMul (r, v)  [y] t = Tanh (h)
    y = MatMul (t, w) }"""
    original = model(text, {"v": floats((24, 6)), "w": floats((6, 5), seed=1)}, 17)
    result, report = proved(original, scope="all")
    assert len(report.converted) == 2
    names = [node.name for node in result.graph.node if node.name]
    assert len(names) == len(set(names))
    assert {"h", "y"} <= {node.name for node in result.graph.node if node.op_type in ("Relu", "Tanh")}
    feed = {"x": floats((2, 24))}
    assert difference(run(original, feed), run(result, feed)) < 1e-5


# ------------------------------------------------------------------ frames of a video


@pytest.mark.parametrize("batch", ["N", "1"])
def test_the_frames_of_a_video_are_no_items(batch: str) -> None:
    """They are in the batch of a convolution, and behind it features beside the channels."""
    text = f"""graph (float[{batch},6,4,3,3] x) => (float[{batch},5] y)
    {{ r = Reshape (x, s)  c = Conv (r, k)  f = Reshape (c, t)  [fc] y = MatMul (f, w) }}"""
    arrays = {"s": ints(-1, 4, 3, 3), "t": ints(-1, 378), "k": floats((7, 4, 1, 1)), "w": floats((378, 5))}
    original = model(text, arrays)
    result, report = proved(original)
    assert [layer.kernel_shape for layer in report.converted] == [[3, 3]]
    for items in (1, 2) if batch == "N" else (1,):
        feed = {"x": floats((items, 6, 4, 3, 3))}
        assert difference(run(original, feed), run(result, feed)) < 1e-5


def test_a_norm_across_channels_takes_a_picture_alone() -> None:
    """Channels of a wave that a Reshape dresses as a picture: no runtime norms the wave itself."""
    text = """graph (float[N,3,10] x) => (float[N,5] y)
    { c = Conv (x, k)  r = Reshape (c, s)  n = LRN <size = 3> (r)  f = Flatten (n)  [fc] y = MatMul (f, w) }"""
    arrays = {"s": ints(0, 6, 4, 2), "k": floats((6, 3, 3)), "w": floats((48, 5))}
    original = model(text, arrays)
    result, report = proved(original, scope="all")
    assert kernels(report).keys() == {"fc"}
    feed = {"x": floats((2, 3, 10))}
    assert difference(run(original, feed), run(result, feed)) < 1e-5


# ------------------------------------------------------------------ results of so many steps as a caller says

STEPS = """graph (float[N,5] x, int64 n) => (float[K,N,4] y)
{ last, rows = Loop (n, , x) <body = b (int64 i, bool c, float[N,5] v) => (bool d, float[N,5] w, float[N,5] r)
      { d = Identity (c)  [step] m = MatMul (v, s)  w = Tanh (m)  r = Identity (m) }>
  [behind] y = MatMul (rows, u) }"""


@pytest.mark.parametrize("parts", [{}, {"max_channels": 3, "channel_multiple": 2}])
def test_a_layer_over_the_results_of_a_loop_whose_steps_an_input_counts(parts: dict[str, int]) -> None:
    """No number of them is known, so that numbers decide: of loops that take some steps, as one of none is empty."""
    original = model(STEPS, {"s": floats((5, 5)), "u": floats((5, 4))}, 17)
    conversion = fc2conv.convert(original, scope="all", **parts)
    assert conversion.report.verification is not None
    assert conversion.report.verification.verdict.accepted
    assert len(conversion.report.converted) == 2
    feed = {"x": floats((2, 5)), "n": np.array(3)}
    assert difference(run(original, feed), run(conversion.model, feed)) < 1e-5


# ------------------------------------------------------------------ sizes of which onnx's inference has a wrong default

SPECTRUM = """graph (float[N,64,1] x) => (float[N,5] y)
{ s = STFT (x, hop, window)  r = ReduceSumSquare <axes = [3], keepdims = 0> (s)  f = Flatten (r)
  [fc] y = MatMul (f, w) }"""


def test_a_spectrum_is_one_sided_where_its_node_does_not_say() -> None:
    """7 frames of 16 samples have 9 bins each, and of a spectrum of both sides 16."""
    original = model(SPECTRUM, {"hop": np.array(8), "window": floats((16,)), "w": floats((63, 5))}, 17)
    result, report = proved(original, scope="all")
    assert len(report.converted) == 1
    feed = {"x": floats((2, 64, 1))}
    assert difference(run(original, feed), run(result, feed)) < 1e-5
