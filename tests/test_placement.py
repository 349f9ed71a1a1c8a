"""Where heads begin and end: the documented cost, by hand on small graphs, and against real rewrites."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
from fuzz.graphs import random_graph
from inferring import Seen, look
from onnx import GraphProto, ModelProto, NodeProto
from textmodel import parse

from fc2conv import Options
from fc2conv.io.reader import model_file_from_proto
from fc2conv.ir import subgraph_shapes
from fc2conv.ir.constants import Constants
from fc2conv.ir.graph import Graph, label, op, opset_versions
from fc2conv.layers import weights
from fc2conv.layout.relayout import Reshaped, Transposed
from fc2conv.planning import costs, mincut
from fc2conv.planning.mincut import INFINITE
from fc2conv.planning.placement import Labelling, Placement
from fc2conv.planning.requirements import DEFAULT, LAYOUT_OPS
from fc2conv.rewrite.model import rewrite_model
from fc2conv.targets.profile import Preferences, Weight

ALWAYS_CUT = type("AlwaysCut", (Placement,), {"_all_of": lambda *_: False})


def labellings(seen: Seen, forced: Sequence[str] | None = None, offered: Sequence[str] = ()) -> list[Labelling]:
    """The cheapest labelling of each region, with these layers forced (None: all that the plan converts)."""
    plan = seen.plan
    layers = [i for i, each in enumerate(plan.facts.nodes) if each.layer and each.layer.contraction]
    wanted = {d.index for d in plan.decisions if d.converts} if forced is None else set(map(seen.node, forced))
    allowed = frozenset(map(seen.node, offered))
    plain, cut = (each(plan.graph, plan.facts) for each in (Placement, ALWAYS_CUT))
    asked = [(each, frozenset(wanted & {*each.layers}), allowed & {*each.layers}) for each in plain.regions(layers)]
    found = [plain.label(*each) for each in asked]
    assert found == [cut.label(*each) for each in asked]
    return found


def counts(seen: Seen) -> list[tuple[int, int]]:
    return [(each.layout_before, each.layout_after) for each in labellings(seen)]


def on_spatial_forms(seen: Seen) -> set[str]:
    return {label(seen.plan.graph.nodes[i]) for i in seen.plan.on_spatial_forms}


def test_prices() -> None:
    assert DEFAULT.price(()) == 0
    one, two = DEFAULT.price((Reshaped((0, 4)),)), DEFAULT.price((Transposed((0, 2, 1)), Reshaped((0, 4))))
    assert [(costs.nodes(each), costs.weight(each)) for each in (one, two)] == [(1, 1000), (2, 2000)]
    assert DEFAULT.price((Transposed((0, 2, 1)),)) > one
    assert DEFAULT.price(None) == INFINITE


def test_a_profile_weighs_layout_nodes() -> None:
    weights = [Weight(operator="Reshape", weight=0.1, source="a"), Weight(operator="Transpose", weight=4, source="a")]
    dear = costs.costs_of(Preferences(layout=weights))
    forty = dear.price((Reshaped((0, 4)),) * 39)
    assert (costs.nodes(forty), costs.weight(forty)) == (39, 3900)
    assert forty < dear.price((Transposed((0, 2, 1)),)) < dear.price((Reshaped((0, 4)),) * 40)
    assert costs.costs_of(Preferences()) == DEFAULT


# ------------------------------------------------------------------ by hand


def test_a_head_ends_in_one_reshape() -> None:
    seen = look(
        """graph (float[N,4,3,2] x) => (float[N,3] y) <float[8,24] w, float[3,8] v>
        { f = Flatten (x)
          [one] a = Gemm <transB = 1> (f, w)
          r = Relu (a)
          [two] y = Gemm <transB = 1> (r, v) }"""
    )
    assert counts(seen) == [(1, 1)]
    assert on_spatial_forms(seen) == {"f", "one", "r", "two"}


def test_an_activation_stays_with_its_convolution() -> None:
    """The reshape could as well stand before the last Relu."""
    seen = look(
        """graph (float[N,4,3,2] x) => (float[N,8] y) <float[8,24] w>
        { f = Flatten (x)
          [fc] a = Gemm <transB = 1> (f, w)
          r = Relu (a)
          y = Softmax <axis = 1> (r) }"""
    )
    assert on_spatial_forms(seen) == {"f", "fc", "r", "y"}


def test_what_no_layer_feeds_stays_as_it_is() -> None:
    seen = look(
        """graph (float[N,4,1,1] x) => (float[N,8] y) <float[8,4] w>
        { c = Relu (x)
          f = Flatten (c)
          d = Tanh (f)
          [fc] y = Gemm <transB = 1> (d, w) }"""
    )
    # Tanh could go before or behind the Flatten, which would stay: on the spatial form it dies.
    assert (counts(seen), "c" in on_spatial_forms(seen)) == ([(1, 1)], False)


@pytest.mark.parametrize("readers", [1, 2, 3])
def test_a_boundary_is_paid_once_however_many_read_it(readers: int) -> None:
    names = "abc"[:readers]
    outputs = ", ".join(f"float[N,8] {name}" for name in names)
    nodes = "\n".join(f"{name}, i{name} = TopK (s, k)" for name in names)
    seen = look(
        f"""graph (float[N,4,3,2] x) => ({outputs}) <float[8,24] w, int64[1] k = {{8}}>
        {{ f = Flatten (x)
           [fc] s = Gemm <transB = 1> (f, w)
           {nodes} }}"""
    )
    assert counts(seen) == [(1, 1)]


def test_a_flattened_map_that_others_read_stays() -> None:
    seen = look(
        """graph (float[N,4,3,2] x) => (float[N,8] y, float[N,24] z) <float[8,24] w>
        { f = Flatten (x)
          z = CumSum (f, axis)
          axis = Constant <value = int64 {1}> ()
          [fc] y = Gemm <transB = 1> (f, w) }"""
    )
    assert counts(seen) == [(1, 2)]


def test_transposes_that_were_there_for_the_layer_cancel() -> None:
    seen = look(
        """graph (float[N,4,3,2] x) => (float[N,8,3,2] y) <float[4,8] w>
        { t = Transpose <perm = [0, 2, 3, 1]> (x)
          [fc] a = MatMul (t, w)
          y = Transpose <perm = [0, 3, 1, 2]> (a) }"""
    )
    assert counts(seen) == [(2, 0)]


def test_an_output_of_the_graph_keeps_its_form() -> None:
    seen = look(
        """graph (float[N,4,3,2] x) => (float[N,8] a, float[N,3] y) <float[8,24] w, float[3,8] v>
        { f = Flatten (x)
          [one] a = Gemm <transB = 1> (f, w)
          [two] y = Gemm <transB = 1> (a, v) }"""
    )
    assert counts(seen) == [(1, 2)]


def test_regions_part_where_a_value_is_its_spatial_form() -> None:
    seen = look(
        """graph (float[N,4,3,2] x) => (float[N,5,2,1] y) <float[4,4] w, float[5,4] v, float[5,4,2,2] k>
        { t = Transpose <perm = [0, 2, 3, 1]> (x)
          [one] a = MatMul (t, w)
          m = Transpose <perm = [0, 3, 1, 2]> (a)
          r = Relu (m)
          u = Transpose <perm = [0, 2, 3, 1]> (r)
          [two] b = MatMul (u, w)
          o = Transpose <perm = [0, 3, 1, 2]> (b)
          y = Conv (o, k) }"""
    )
    assert counts(seen) == [(2, 0), (2, 0)]
    assert "r" not in on_spatial_forms(seen)


OFFERED = """graph (float[N,4,3,2] x) => (float[N,3] y) <float[8,24] w, float[3,8] v>
{ f = Flatten (x)
  n = Trilu (f)
  [one] a = Gemm <transB = 1> (n, w)
  [two] y = Gemm <transB = 1> (a, v) }"""


def test_a_layer_that_is_offered_is_taken_only_where_it_is_free() -> None:
    seen = look(OFFERED, opset=17)
    (kept,) = labellings(seen, forced=(), offered=("one", "two"))
    assert not kept.spatial_forms & {seen.node("one"), seen.node("two")}
    (both,) = labellings(seen, forced=("one", "two"))
    assert both.layout_after - both.layout_before > 0
    # Where the second is converted in any case, its reshape serves for both.
    (second,) = labellings(seen, forced=("two",), offered=("one",))
    assert seen.node("one") in second.spatial_forms
    assert seen.decided == {"one": "FC301@n", "two": "FC301@n"}


def test_a_budget_buys_layout_nodes() -> None:
    seen = look(OFFERED, opset=17, options=Options(max_added_transposes=4))
    assert set(seen.decided.values()) == {"1x1"}


def test_what_cannot_be_written_is_not_feasible() -> None:
    """The result [H, W, N, 8] would need a Reshape with more than one size unknown."""
    seen = look(
        """graph (float[N,4,H,W] x) => (float[?,?] y) <float[4,8] w, int64[2] s = {-1, 4}>
        { t = Transpose <perm = [2, 3, 0, 1]> (x)
          f = Reshape (t, s)
          [fc] y = MatMul (f, w) }"""
    )
    plan = seen.plan
    placement = Placement(plan.graph, plan.facts)
    (region,) = placement.regions([seen.node("fc")])
    forced = placement.label(region, frozenset(region.layers), frozenset())
    kept = placement.label(region, frozenset(), frozenset())
    assert kept.feasible
    assert forced.feasible == seen.plan.decisions[0].converts


# ------------------------------------------------------------------ against what is really written


def layout_nodes(graph: GraphProto, constants: Constants) -> int:
    """The layout nodes of a graph that are not on the way of a weight."""

    def counts(node: NodeProto) -> bool:
        return op(node) in LAYOUT_OPS and not all(constants.is_constant(name) for name in node.output)

    return sum(map(counts, graph.node))


def planned_and_written(model: ModelProto, scope: str) -> tuple[int, int]:
    """How many layout nodes the placement says that a conversion adds, and how many it adds."""
    file = model_file_from_proto(model)
    plans, rewritten = rewrite_model(file, Options(scope=scope))  # type: ignore[arg-type]
    if rewritten is None:
        return 0, 0
    graph = Graph(rewritten.model.graph, opset_versions(model), ir_version=8)
    after = layout_nodes(rewritten.model.graph, Constants(graph, file))
    planned = sum(each.layout_after - each.layout_before for each in labellings(Seen(plans[0])))
    return planned, after - layout_nodes(model.graph, plans[0].constants)


FRAMES_FURTHER_UP = "a layer that takes its frame from further up reads an original of which that region knows nothing"
OF_NUMBERS = "a Range up to a size is one of numbers in what is written, so that its Reshape is one of a constant"
UNDER = {0: OF_NUMBERS, 26: FRAMES_FURTHER_UP, 27: FRAMES_FURTHER_UP}


@pytest.mark.parametrize("scope", ["spatial", "all"])
def test_the_rewritten_model_costs_what_was_planned(scope: str) -> None:
    wrong = {}
    for seed in set(range(200)) - set(UNDER):
        planned, written = planned_and_written(random_graph(seed).model, scope)
        if planned != written:
            wrong[seed] = (planned, written)
    assert not wrong


def test_a_frame_from_further_up_in_another_region_is_paid_for() -> None:
    model = parse(
        """graph (float[N,6,1,4] x) => (float[N,5,1,7] y) <float[6,5] w, float[4,7] v>
        { t = Transpose <perm = [0, 3, 2, 1]> (x)
          [one] a = MatMul (t, w)
          u = Transpose <perm = [0, 3, 2, 1]> (a)
          [two] y = MatMul (u, v) }"""
    )
    planned, written = planned_and_written(model, "spatial")
    assert planned == written


@pytest.mark.parametrize("seed", UNDER)
def test_what_the_plan_does_not_know_costs_one_node_less(seed: int) -> None:
    planned, written = planned_and_written(random_graph(seed).model, "spatial")
    assert planned == written + 1


def test_a_layout_node_that_dies_costs_nothing() -> None:
    model = parse(
        """graph (float[N,4,3,2] x) => (float[N,4,3,6] a, float[N,4,3,2] p, float[N,4,3,4] q, float[N,3,2,5] y)
        <float[2,6] w, float[4,5] v, int64[2] sizes = {2, 4}>
        { [one] a = MatMul (x, w)
          p, q = Split <axis = 3> (a, sizes)
          r = Transpose <perm = [0, 2, 3, 1]> (p)
          [two] y = MatMul (r, v) }"""
    )
    planned, written = planned_and_written(model, "spatial")
    assert planned == written


def test_a_frame_is_paid_once_however_many_layers_read_it() -> None:
    model = parse(
        """graph (float[N,7,8,8] x) => (float[N,7,3] y, float[N,7,5] z)
        <float[7,7,1,1] k, float[64,3] w, float[64,5] v, int64[3] s = {0, 7, 64}>
        { c = Conv (x, k)
          f = Reshape (c, s)
          [one] y = MatMul (f, w)
          [two] z = MatMul (f, v) }"""
    )
    assert planned_and_written(model, "spatial") == (5, 5)


# ------------------------------------------------------------------ blocks


def blocks(count: int) -> ModelProto:
    """Two layers over the channels of a map between transposes, and a residual, so many times with own weights."""
    nodes, stored = "", ""
    for i in range(count):
        nodes += f"""
          t{i} = Transpose <perm = [0, 2, 3, 1]> (x{i})
          [up{i}] u{i} = MatMul (t{i}, w{i})
          r{i} = Relu (u{i})
          [down{i}] d{i} = MatMul (r{i}, v{i})
          b{i} = Transpose <perm = [0, 3, 1, 2]> (d{i})
          x{i + 1} = Add (x{i}, b{i})"""
        stored += f"float[4,6] w{i}, float[6,4] v{i}, "
    ends = f"(float[N,4,3,2] x) => (float[N,4,3,2] x{count})"
    return parse(f"graph {ends} <{stored} float[4,4,1,1] k> {{ x0 = Conv (x, k) {nodes} }}")


def asked(monkeypatch: pytest.MonkeyPatch, count: int) -> tuple[int, ...]:
    """How often networks are cut, kernels found and declared shapes read while so many blocks are converted."""
    seen: list[str] = []

    def counted(name: str, function: Callable[..., object]) -> Callable[..., object]:
        return lambda *given, **more: (seen.append(name), function(*given, **more))[1]

    mincut._least.cache_clear()
    with monkeypatch.context() as patch:
        for module, name in ((mincut, "_cut"), (weights, "kernel"), (subgraph_shapes, "sizes_of")):
            patch.setattr(module, name, counted(name, getattr(module, name)))
        plans, _ = rewrite_model(model_file_from_proto(blocks(count)), Options())
    assert sum(plan.converted for plan in plans) == 2 * count
    return tuple(seen.count(name) for name in ("_cut", "kernel", "sizes_of"))


def test_the_next_block_is_looked_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """A kernel is found once for each layer; cuts and shapes are those of the blocks before."""
    few, many = asked(monkeypatch, 3), asked(monkeypatch, 9)
    assert (few[1], many[1]) == (6, 18)
    assert few[0] == many[0]
    assert few[2] == many[2]
