"""Pairs of models that are the same function, however they are written, and pairs that are nearly so."""

from __future__ import annotations

import pytest
from exact_models import compared, text

from fc2conv.verification.exact.primes import primes

BOUNDS = "a = Constant<value_float = -1.0>() b = Constant<value_float = 6.0>() "
ITEM = "s = Constant<{}>() q = SplitToSequence<axis = 1>(x, s) i = Constant<value_int = {}>() r = SequenceAt(q, i) "
PART = (
    "b = Constant<value_ints = [{}]>() e = Constant<value_ints = [{}]>() a = Constant<value_ints = [1]>() "
    "r = Slice(x, b, e, a) "
)
WIDE = "o = Constant<value_ints = [1]>() m = ReduceSum<keepdims = 1>(r, o) y = Add(x, m)"
SAME = {
    "the last part of a sequence": (ITEM.format("value_int = 3", -1) + WIDE, PART.format(3, 4) + WIDE),
    "a part of a sequence": (ITEM.format("value_ints = [1, 2, 1]", 1) + WIDE, PART.format(1, 3) + WIDE),
    "an item of a sequence of rows": (
        "q = SplitToSequence<axis = 1, keepdims = 0>(x) i = Constant<value_int = 2>() r = SequenceAt(q, i) "
        "a = Constant<value_ints = [1]>() m = Unsqueeze(r, a) y = Add(x, m)",
        PART.format(2, 3) + "y = Add(x, r)",
    ),
    "an item of a sequence": (
        "q = SequenceConstruct(u, x2) i = Constant<value_int = 1>() r = SequenceAt(q, i) y = Add(x, r)",
        "y = Add(x, x2)",
    ),
    "an item of a sequence that was put in and left": (
        "e = SequenceEmpty() p = SequenceInsert(e, x) z = Constant<value_int = 0>() q = SequenceInsert(p, u, z) "
        "l = SequenceErase(q, z) k = SequenceInsert(l, x2) i = Constant<value_int = -1>() r = SequenceAt(k, i) "
        "y = Add(x, r)",
        "y = Add(x, x2)",
    ),
    "items beside one another": (
        "q = SequenceConstruct(x, x2) r = ConcatFromSequence<axis = -1, new_axis = 1>(q) "
        "a = Constant<value_ints = [2]>() y = ReduceSum<keepdims = 0>(r, a)",
        "y = Add(x, x2)",
    ),
    "all parts of what was split": (
        "s = Constant<value_int = 3>() q = SplitToSequence<axis = 1>(x, s) y = ConcatFromSequence<axis = -1>(q)",
        "y = Identity(x)",
    ),
    "the length of a sequence": (
        "q = SplitToSequence<axis = 1>(x) n = SequenceLength(q) f = Cast<to = 1>(n) y = Add(x, f)",
        "f = Constant<value_float = 4.0>() y = Add(x, f)",
    ),
    "Relu is a Clip from 0": ("y = Relu(x)", "z = Constant<value_float = 0.0>() y = Clip(x, z)"),
    "LeakyRelu": (
        "y = LeakyRelu<alpha = 0.25>(x)",
        "a = Constant<value_float = 0.25>() n = Neg(x) r = Relu(x) q = Relu(n) m = Mul(q, a) y = Sub(r, m)",
    ),
    "PRelu": ("y = LeakyRelu<alpha = 0.5>(x)", "a = Constant<value_floats = [0.5]>() y = PRelu(x, a)"),
    "Max": ("z = Constant<value_float = 2.0>() y = Max(x, z)", "z = Constant<value_float = 2.0>() y = Max(z, x)"),
    "HardSigmoid": (
        "y = HardSigmoid<alpha = 0.25, beta = 0.5>(x)",
        "a = Constant<value_float = 0.25>() h = Constant<value_float = 0.5>() o = Constant<value_float = 1.0>() "
        "z = Constant<value_float = 0.0>() m = Mul(x, a) s = Add(m, h) y = Clip(s, z, o)",
    ),
    "Softmax": (
        "y = Softmax<axis = 1>(x)",
        "e = Exp(x) a = Constant<value_ints = [1]>() s = ReduceSum(e, a) y = Div(e, s)",
    ),
    "Swish": ("g = Sigmoid(x) y = Mul(x, g)", "g = Sigmoid(x) y = Mul(g, x)"),
    "QuickGelu": (
        "y = com.microsoft.QuickGelu<alpha = 2.0>(x)",
        "a = Constant<value_float = 2.0>() m = Mul(x, a) g = Sigmoid(m) y = Mul(x, g)",
    ),
    "a power of two": ("e = Constant<value_float = 2.0>() y = Pow(x, e)", "y = Mul(x, x)"),
    "a root": ("e = Constant<value_float = 0.5>() a = Abs(x) y = Pow(a, e)", "a = Abs(x) y = Sqrt(a)"),
    "a difference": ("y = Sub(x, x2)", "n = Neg(x2) y = Add(x, n)"),
    "the order of factors": ("a = Mul(x, x2) y = Add(a, x)", "a = Mul(x2, x) y = Add(x, a)"),
    "a common factor": ("a = Add(x, x2) y = Mul(a, x)", "a = Mul(x, x) b = Mul(x, x2) y = Add(a, b)"),
    "there and back": ("y = Relu(x)", "a = Transpose<perm = [1, 0]>(x) b = Relu(a) y = Transpose<perm = [1, 0]>(b)"),
    "Relu of what is rectified": ("y = Relu(x)", "a = Relu(x) b = Transpose<perm = [1, 0]>(a) c = Relu(b) "
                                  "y = Transpose<perm = [1, 0]>(c)"),
    "Clip is a Min of a Max": (BOUNDS + "y = Clip(x, a, b)", BOUNDS + "m = Max(a, x) y = Min(m, b)"),
    "Clip is a Max of a Min": (BOUNDS + "y = Clip(x, a, b)", BOUNDS + "m = Min(x, b) y = Max(m, a)"),
    "Relu of an Expand to its own shape of a Clip": (
        BOUNDS + "z = Sub(a, a) y = Clip(x, z, b)",
        BOUNDS + "o = Constant<value_ints = [1, 1]>() c = Clip(x, a, b) e = Expand(c, o) y = Relu(e)",
    ),
    "Relu of a Clip": (
        BOUNDS + "z = Sub(a, a) y = Clip(x, z, b)",
        BOUNDS + "r = Relu(x) c = Clip(r, a, b) y = Relu(c)",
    ),
    "Less and Greater": ("c = Less(x, x2) y = Where(c, x, x2)", "c = Greater(x2, x) y = Where(c, x, x2)"),
}  # fmt: skip

OTHER = {
    "another part of a sequence": (ITEM.format("value_int = 3", -1) + WIDE, PART.format(2, 4) + WIDE),
    "items in another order": (
        "q = SequenceConstruct(x, u) r = ConcatFromSequence<axis = 0, new_axis = 1>(q) "
        "i = Constant<value_int = 0>() y = Gather(r, i)",
        "q = SequenceConstruct(u, x) r = ConcatFromSequence<axis = 0, new_axis = 1>(q) "
        "i = Constant<value_int = 0>() y = Gather(r, i)",
    ),
    "Relu and LeakyRelu": ("y = Relu(x)", "y = LeakyRelu<alpha = 0.000001>(x)"),
    "Relu and Relu6": (
        "y = Relu(x)",
        "z = Constant<value_float = 0.0>() s = Constant<value_float = 6.0>() y = Clip(x, z, s)",
    ),
    "bounds in the other order": (
        BOUNDS + "m = Max(x, b) y = Min(m, a)",
        BOUNDS + "m = Min(x, a) y = Max(m, b)",
    ),
    "a Clip of another Relu": (BOUNDS + "r = Relu(x) y = Min(r, b)", BOUNDS + "y = Clip(x, a, b)"),
    "a very small offset": ("y = Relu(x)", "o = Constant<value_float = 1e-30>() a = Add(x, o) y = Relu(a)"),
    "half and back": ("y = Relu(x)", "h = Cast<to = 10>(x) f = Cast<to = 1>(h) y = Relu(f)"),
    "Hardmax of a reversed axis": (
        "y = Hardmax<axis = 1>(x)",
        "i = Constant<value_ints = [3, 2, 1, 0]>() a = Gather<axis = 1>(x, i) b = Hardmax<axis = 1>(a) "
        "y = Gather<axis = 1>(b, i)",
    ),
    "an infinity and back": (
        "y = Identity(x)",
        "i = Constant<value = float {-inf}>() a = Add(x, i) y = Sub(a, i)",
    ),
    "GreaterOrEqual is not Not Less in NaN": (
        "c = GreaterOrEqual(x, x2) y = Where(c, x, x2)",
        "l = Less(x, x2) c = Not(l) y = Where(c, x, x2)",
    ),
    "the mean over the batch": ("y = Identity(x)", "m = ReduceMean<axes = [0]>(x) z = Sub(x, x) y = Add(m, z)"),
    "operands swapped": ("y = Sub(x, x2)", "y = Sub(x2, x)"),
    "Softmax over the other axis": ("y = Softmax<axis = 1>(x)", "y = Softmax<axis = 0>(x)"),
}


def _pointwise(nodes: str) -> str:
    return f"graph (float[N,4] x, float[N,4] x2) => (float[N,4] y) {{ u = Add(x, x2) {nodes} }}"


@pytest.mark.parametrize("name", SAME)
def test_one_function_written_in_two_ways(name: str) -> None:
    one, other = (text(_pointwise(nodes)) for nodes in SAME[name])
    found = compared(one, other)
    assert found.proved, found.check


@pytest.mark.parametrize("name", OTHER)
def test_two_functions_are_never_proved_equal(name: str) -> None:
    one, other = (text(_pointwise(nodes)) for nodes in OTHER[name])
    for first, second in ((one, other), (other, one)):
        found = compared(first, second)
        assert found.parted, found.check


@pytest.mark.parametrize("exponent", ["inf", "nan"])
def test_a_power_without_a_finite_exponent_is_followed(exponent: str) -> None:
    head = f'n = Constant<value_string = "{exponent}">() e = Cast<to = 1>(n) p = Pow(x, e) '
    models = [text(_pointwise(head + last)) for last in ("y = Neg(p)", "y = Neg(p)", "y = Abs(p)")]
    assert compared(models[0], models[1]).proved
    assert not compared(models[0], models[2]).proved


@pytest.mark.parametrize("end", [3, 7, 1000])
def test_a_cut_of_the_batch_is_seen(end: int) -> None:
    original = text("graph (float[N,4] x) => (float[N,4] y) { y = Relu(x) }")
    cut = text(
        "graph (float[N,4] x) => (float[N,4] y) { r = Relu(x) s = Constant<value_ints = [0]>()"
        f" e = Constant<value_ints = [{end}]>() y = Slice(r, s, e, s) }}"
    )
    assert compared(original, cut).parted


def test_how_many_parts_a_batch_has_is_not_shown_by_few_items() -> None:
    one = "f = Constant<value_float = 1.0>() y = Add(x, f)"
    parts = "k = Constant<value_int = 70>() q = SplitToSequence(x, k) n = SequenceLength(q) f = Cast<to = 1>(n) "
    assert not compared(text(_pointwise(parts + "y = Add(x, f)")), text(_pointwise(one))).proved


def test_random_nodes_are_never_shared() -> None:
    two = text(_pointwise("a = RandomNormalLike(x) b = RandomNormalLike(x) y = Sub(a, b)"))
    one = text(_pointwise("a = RandomNormalLike(x) y = Sub(a, a)"))
    assert compared(two, one).parted
    assert compared(two, two).proved


def test_what_wraps_around_is_no_sum_of_floats() -> None:
    inside = text("graph (uint8[N,4] x) => (float[N,4] y) { s = Add(x, x) y = Cast<to = 1>(s) }")
    outside = text("graph (uint8[N,4] x) => (float[N,4] y) { c = Cast<to = 1>(x) y = Add(c, c) }")
    assert compared(inside, outside).parted


def test_the_same_seed_gives_the_same_primes() -> None:
    assert primes(b"1", 3) == primes(b"1", 3)
    assert not set(primes(b"1", 3)) & set(primes(b"2", 3))
    assert all(2**29 <= p < 2**30 for p in primes(b"1", 3))


def test_a_scatter_that_adds_is_not_taken_for_one_that_moves() -> None:
    graph = (
        "graph (float[2,4] x, float[1,4] u) => (float[2,4] y) "
        "{{ i = Constant<value_ints = [{0}, {0}, {0}, {0}]>() s = Constant<value_ints = [1, 4]>() "
        "j = Reshape(i, s) y = ScatterElements<axis = 0{1}>(x, j, u) }}"
    )
    adds = ', reduction = "add"'
    assert not compared(text(graph.format(0, adds)), text(graph.format(1, adds))).proved
    assert not compared(text(graph.format(0, adds)), text(graph.format(0, ""))).proved
    assert compared(text(graph.format(1, adds)), text(graph.format(-1, ""))).proved is False


@pytest.mark.parametrize(("kernel", "same"), [("[3, 5]", True), ("[3, 4]", False)])
def test_a_quantized_mean_of_the_whole_map(kernel: str, same: bool) -> None:
    graph = (
        "graph (uint8[N,4,3,5] x) => (uint8[N,4] y)"
        " <float s = {{0.5}}, uint8 p = {{3}}, float t = {{0.25}}, uint8 q = {{7}}>"
        " {{ m = com.microsoft.{}(x, s, p, t, q) y = Flatten(m) }}"
    )
    whole = text(graph.format("QLinearGlobalAveragePool<channels_last = 0>"))
    windows = text(graph.format(f"QLinearAveragePool<kernel_shape = {kernel}, strides = [1, 2]>"))
    found = compared(whole, windows)
    assert (found.proved, found.parted) == (same, not same), found.check


@pytest.mark.parametrize(("strides", "same"), [("[1, 2]", True), ("[2, 2]", False)])
def test_a_mean_whose_windows_all_fit(strides: str, same: bool) -> None:
    """With ceil_mode the last window may be larger than what is left of the map: that is no mean of a window."""
    graph = "graph (float[N,4,4,5] x) => (float[N,4,A,B] y) {{ y = AveragePool<kernel_shape = [3, 3], {}>(x) }}"
    one = text(graph.format(f"strides = {strides}, ceil_mode = 1"))
    other = text(graph.format(f"strides = {strides}, pads = [0, 0, 0, 0]"))
    assert compared(one, other).proved == same
