"""A graph input is the map that a convolution reads, in that order of its dimensions, and so is what is added to it."""

from __future__ import annotations

import pytest
from execute import difference, feeds, run
from textmodel import parse

import fc2conv
from fc2conv import Options

LINE, PICTURE = "float[4,4,3] k, float[128,5] w", "float[4,4,3,3] k, float[256,5] w"
CONV1, CONV2 = "Conv <pads = [1, 1]>", "Conv <pads = [1, 1, 1, 1]>"
HEAD = "f = Flatten (a)  [fc] y = MatMul (f, w)"
MODELS = {
    # name: (inputs, weights, nodes, kernel, layout nodes)
    "a signal": ("float[N,4,32] x", LINE, f"c = {CONV1} (x, k)  a = Add (x, c)", [32], 1),
    "a signal beside its map": ("float[N,4,32] x", LINE, f"c = {CONV1} (x, k)  a = Max (c, x)", [32], 1),
    "samples first": (
        *("float[N,32,4] x", LINE),
        f"t = Transpose <perm = [0, 2, 1]> (x)  c = {CONV1} (t, k)  a = Add (t, c)",
        *([32], 2),
    ),
    "samples first throughout": (
        *("float[N,32,4] x", LINE),
        f"""t = Transpose <perm = [0, 2, 1]> (x)  c = {CONV1} (t, k)  u = Transpose <perm = [0, 2, 1]> (c)
            a = Add (x, u)""",
        *([32], 2),
    ),
    "channels last": (
        *("float[N,8,8,4] x", PICTURE),
        f"t = Transpose <perm = [0, 3, 1, 2]> (x)  c = {CONV2} (t, k)  a = Add (t, c)",
        *([8, 8], 2),
    ),
    "channels last throughout": (
        *("float[N,8,8,4] x", PICTURE),
        f"""t = Transpose <perm = [0, 3, 1, 2]> (x)  c = {CONV2} (t, k)  u = Transpose <perm = [0, 2, 3, 1]> (c)
            a = Add (x, u)""",
        *([8, 8], 2),
    ),
    "another signal": ("float[N,4,32] x, float[N,4,32] z", LINE, f"c = {CONV1} (x, k)  a = Add (z, c)", [32], 1),
    "another picture, channels last": (
        *("float[N,4,8,8] x, float[N,8,8,4] z", PICTURE),
        f"c = {CONV2} (x, k)  t = Transpose <perm = [0, 3, 1, 2]> (z)  a = Add (t, c)",
        *([8, 8], 2),
    ),
}


@pytest.mark.parametrize("name", MODELS)
def test_the_kernel_covers_the_cells_of_the_map(name: str) -> None:
    inputs, weights, nodes, kernel, layout = MODELS[name]
    model = parse(f"graph ({inputs}) => (float[N,5] y) <{weights}> {{ {nodes}  {HEAD} }}")
    done = fc2conv.convert(model)
    fed = feeds(model, {"N": 2})
    assert difference(run(model, fed), run(done.model, fed)) < 1e-4
    assert done.report.verification is not None
    assert done.report.verification.verdict == "proved"
    (layer,) = done.report.sites
    assert layer.kernel_shape == kernel
    assert done.report.layout_nodes.after == layout


@pytest.mark.parametrize("name", [name for name in MODELS if "signal" in name or "samples" in name])
def test_such_a_map_is_lifted_with_the_network(name: str) -> None:
    inputs, weights, nodes, kernel, layout = MODELS[name]
    model = parse(f"graph ({inputs}) => (float[N,5] y) <{weights}> {{ {nodes}  {HEAD} }}")
    done = fc2conv.convert(model, None, Options(conv_rank="2d"))
    fed = feeds(model, {"N": 2})
    assert difference(run(model, fed), run(done.model, fed)) < 1e-4
    assert done.report.sites[0].kernel_shape == [1, *kernel]
    assert done.report.layout_nodes.after == layout + inputs.count("float")


def test_tokens_of_a_signal_that_is_convolved_are_its_cells() -> None:
    text = f"""graph (float[N,4,32] x) => (float[N,32,6] y) <float[6,4,3] k, float[4,6] w>
    {{ c = {CONV1} (x, k)  u = Transpose <perm = [0, 2, 1]> (c)
       t = Transpose <perm = [0, 2, 1]> (x)  [fc] m = MatMul (t, w)  y = Add (m, u) }}"""
    model = parse(text)
    done = fc2conv.convert(model)
    fed = feeds(model, {"N": 2})
    assert difference(run(model, fed), run(done.model, fed)) < 1e-4
    assert (done.report.layout_nodes.before, done.report.layout_nodes.after) == (2, 1)


@pytest.mark.parametrize(
    "behind",
    [
        "t = Transpose <perm = [2, 0, 1]> (c)  r, , = LSTM <hidden_size = 5> (t, a, b)  s = Squeeze (r, one)"
        "  y = MatMul (s, w)",
        "y = Relu (c)",
    ],
    ids=["a layer that is kept", "no layer"],
)
def test_a_network_is_lifted_whatever_becomes_of_its_layers(behind: str) -> None:
    weights = "float[6,4,3] k, float[1,20,6] a, float[1,20,5] b, float[5,3] w, int64[1] one = {1}"
    text = f"graph (float[N,4,16] x) => (float[A,B,C] y) <{weights}> {{ c = {CONV1} (x, k)  {behind} }}"
    model = parse(text)
    done = fc2conv.convert(model, None, Options(conv_rank="2d"))
    fed = feeds(model, {"N": 2})
    assert difference(run(model, fed), run(done.model, fed)) < 1e-5
    assert done.report.verification is not None
    assert done.report.verification.verdict == "proved"
    assert not done.report.converted
    ranks = {tensor.name: len(tensor.dims) for tensor in done.model.graph.initializer}
    assert [ranks[node.input[1]] for node in done.model.graph.node if node.op_type == "Conv"] == [4]
    again = fc2conv.convert(done.model, None, Options(conv_rank="2d"))
    assert again.report.outcome == "unchanged"
    assert fc2conv.convert(model).report.outcome == "unchanged"


TOKENS = {
    "positions": ("float[N,L,8] x", "a = Add (x, p)"),
    "two sequences": ("float[N,L,8] x, float[N,M,8] z", "a = Concat <axis = 1> (x, z)"),
    "pairs": ("float[N,L,8] x, float[N,M,8] z", "u = Unsqueeze (x, two)  v = Unsqueeze (z, one)  a = Add (u, v)"),
}


@pytest.mark.parametrize("name", TOKENS)
def test_what_comes_of_sequences_alone_is_no_map(name: str) -> None:
    inputs, nodes = TOKENS[name]
    text = f"""graph ({inputs}) => (float y) <float[1,6,8] p, float[8,5] w, int64[1] one = {{1}}, int64[1] two = {{2}}>
    {{ {nodes}  [fc] y = MatMul (a, w) }}"""
    (layer,) = fc2conv.plan(parse(text)).sites
    assert layer.reason is not None
    assert layer.reason.code == "FC101"
    assert layer.reason.detail.endswith("has rank 3, and may as well be tokens")
    assert fc2conv.plan(parse(text), scope="all").converted


def test_what_is_flattened_of_a_sequence_is_a_map() -> None:
    text = """graph (float[N,4,8] x) => (float[N,5] y) <float[4,8] p, float[32,6] w, float[6,5] v>
    { a = Add (x, p)  f = Flatten (a)  [fc1] g = MatMul (f, w)  r = Relu (g)  [fc2] y = MatMul (r, v) }"""
    assert [layer.decision for layer in fc2conv.plan(parse(text)).sites] == ["convert", "convert"]
