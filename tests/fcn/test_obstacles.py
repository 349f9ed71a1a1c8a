"""What keeps a network from sliding: every code, with the node that is to blame; and nothing is written then."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
from obstacle_case import Case
from sliding_judge import CLOSE, at_training_size, slid
from textmodel import parse

import fc2conv
from fc2conv import Options, SlidingOptions
from fc2conv.errors import InputError
from fc2conv.reasons import Code

SLIDING = Options(sliding=SlidingOptions())
CASES = {
    Code.NOT_SLIDING: Case(
        '[part] d = Resize <mode = "linear", coordinate_transformation_mode = "tf_crop_and_resize"> (c, roi, , sizes)',
        "part",
        ", float[8] roi = {0, 0, 0.2, 0.2, 1, 1, 0.8, 0.8}, int64[4] sizes = {1, 4, 6, 6}",
    ),
    Code.SIZE_IN_CONSTANT: Case(
        "[positions] p = Add (c, q)  d = Conv <kernel_shape = [1, 1]> (p, l)",
        "positions",
        ", float[1,4,6,6] q, float[4,4,1,1] l",
    ),
    Code.SIZES_MIXED: Case("[soft] s = Softmax <axis = 3> (c)  d = Conv (s, l)", "soft", ", float[4,4,1,1] l"),
    Code.LAYER_KEPT: Case("d = Relu (c)", "fc", options=Options(exclude=("fc",), sliding=SlidingOptions())),
    Code.POOL_REFUSED: Case(
        "[pool] d = GlobalAveragePool (c)",
        "pool",
        options=Options(sliding=SlidingOptions(global_pool="error")),
        columns=4,
    ),
    Code.POOL_NOT_SLIDING: Case("[pool] d = GlobalLpPool <p = 3> (c)", "pool", columns=4),
    Code.MAP_SPREAD: Case(
        "e = Conv <kernel_shape = [6, 6]> (c, q)  [add] a = Add (c, e)  d = Conv (a, l)",
        "add",
        ", float[4,4,6,6] q, float[4,4,1,1] l",
    ),
    Code.SIZE_UNKNOWN: Case("[pool] d = GlobalAveragePool (c)", "x", columns=4, image="H,W"),
    Code.STRIDES_UNLIKE: Case(
        "e = MaxPool <kernel_shape = [6, 6]> (c)  g = MaxPool <kernel_shape = [3, 3], strides = [3, 3]> (c)  "
        "h = MaxPool <kernel_shape = [2, 2]> (g)  [add] d = Add (e, h)",
        "add",
        columns=4,
    ),
    Code.NOT_DILATED: Case(
        "e = MaxPool <kernel_shape = [2, 2], strides = [2, 2]> (c)  [norm] d = InstanceNormalization (e, v, v)",
        "norm",
        ", float[4] v",
        Options(sliding=SlidingOptions(output_stride=1)),
        columns=36,
    ),
    Code.NOT_PLACED: Case(
        "g = GlobalAveragePool (c)  d = Mul (c, g)", "y", options=Options(sliding=SlidingOptions(padding="valid"))
    ),
    Code.NO_CLASS_ACTIVATION: Case("d = Relu (c)", "fc", options=Options(sliding=SlidingOptions(cam=True))),
}
REMEDIES = {
    Code.LAYER_KEPT: Code.EXCLUDED.remedy,
    Code.SIZE_UNKNOWN: "Give the size that it was trained on, for example --overwrite-input-shape x:1,2,224,224.",
}
"""What helps in a case, where that is not the code's own."""


@pytest.mark.parametrize("code", CASES, ids=lambda code: code.value)
def test_the_obstacle_is_named(code: Code) -> None:
    case = CASES[code]
    report = fc2conv.plan(case.model(), case.options).sliding
    assert report is not None
    assert [(each.code, each.node) for each in report.obstacles] == [(code.value, case.node)]
    assert report.obstacles[0].remedy == REMEDIES.get(code, code.remedy)


@pytest.mark.parametrize("code", CASES, ids=lambda code: code.value)
def test_nothing_is_written(code: Code, tmp_path: Path) -> None:
    source, target = tmp_path / "in.onnx", tmp_path / "out.onnx"
    onnx.save(CASES[code].model(), source)
    with pytest.raises(InputError, match=code.value):
        fc2conv.convert(source, target, CASES[code].options)
    assert list(tmp_path.iterdir()) == [source]


def test_every_code_of_the_family_has_a_case() -> None:
    assert set(CASES) == {code for code in Code if code.value.startswith("FC5")}


def test_a_result_that_has_no_map_is_named_where_it_is_an_output() -> None:
    model = parse(
        """g (float[N,2,8,8] x) => (float[N,4,6,6] y, bool[N,4,6,6] i) <float[4,2,3,3] k>
        { c = Conv <kernel_shape = [3, 3]> (x, k)  [drop] y, i = Dropout (c) }"""
    )
    report = fc2conv.plan(model, SLIDING).sliding
    assert report is not None
    assert [(each.code, each.node) for each in report.obstacles] == [("FC501", "drop")]


@pytest.mark.parametrize(("opset", "results"), [(11, "d, m, v, sm, sv"), (13, "d, m, v, sm, sv"), (15, "d, m, v")])
def test_a_norm_of_the_whole_batch_and_map_does_not_slide(opset: int, results: str) -> None:
    """Before opset 14 more results than one say so."""
    given = "<training_mode = 1>" if opset > 13 else ""
    model = parse(
        f"""g (float[N,2,8,8] x) => (float[N,5] y) <float[4,2,3,3] k, float[5,144] w, float[4] b, float[4] var>
        {{ c = Conv <kernel_shape = [3, 3]> (x, k)  [norm] {results} = BatchNormalization {given} (c, b, b, b, var)
           f = Flatten (d)  y = Gemm <transB = 1> (f, w) }}""",
        opset=opset,
    )
    report = fc2conv.plan(model, SLIDING).sliding
    assert report is not None
    assert [(each.code, each.node, each.detail) for each in report.obstacles] == [
        ("FC501", "norm", "it is in training mode")
    ]


def test_a_class_activation_map_is_refused_with_a_node_of_the_model() -> None:
    case = Case("r = Reshape (c, s)  d = Softmax <axis = 2> (r)", "d", ", int64[3] s = {0, 4, 36}")
    report = fc2conv.plan(case.model(), Options(sliding=SlidingOptions(cam=True))).sliding
    assert report is not None
    (only,) = report.obstacles
    assert (only.code, only.node) == ("FC509", "d")
    assert only.detail.startswith("Softmax (Reshape in the network that slides) neither pools")


def test_a_node_without_a_name_is_known_by_its_result_whatever_that_is_called_as_a_map() -> None:
    """`d_s` is taken, so that the spatial form of `d` has another name."""
    model = parse(
        """g (float[N,2,8,8] x) => (float[N,5] y, float[1] e) <float[4,2,3,3] k, float[5,144] w, float[1] d_s>
        { c = Conv <kernel_shape = [3, 3]> (x, k)  t = Transpose <perm = [0, 2, 3, 1]> (c)
          d = LpNormalization <axis = 1> (t)  f = Flatten (d)  y = Gemm <transB = 1> (f, w)  e = Neg (d_s) }"""
    )
    report = fc2conv.plan(model, SLIDING).sliding
    assert report is not None
    assert [(each.code, each.node) for each in report.obstacles] == [("FC503", "d")]


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ("[n] d = Softmax <axis = 1> (u)", "FC503"),
        ("[n] d = ReduceSumSquare <axes = [0]> (u)", "FC501"),
    ],
)
def test_a_constant_of_more_dimensions_gives_them_to_the_map(body: str, code: str) -> None:
    """On [1, N, M] the dimension 1 is the batch, which was taken for the channels."""
    model = parse(
        f"""g (float[N,2,8,8] x) => (float[A,B,C] d) <float[4,2,8,8] k, float[1,1,1] one, int64[2] s = {{0, 4}}>
        {{ c = Conv (x, k)  r = Reshape (c, s)  u = Add (r, one)  {body} }}"""
    )
    report = fc2conv.plan(model, SLIDING).sliding
    assert report is not None
    assert [(each.code, each.node) for each in report.obstacles] == [(code, "n")]


def test_an_einsum_that_sums_over_nothing_is_no_layer_and_no_product_of_two_computed_values() -> None:
    case = Case('[scale] d = Einsum <equation = "nchw,c->nchw"> (c, g)', "scale", ", float[4] g")
    report = fc2conv.plan(case.model(), SLIDING).sliding
    assert report is not None
    assert [(each.code, each.detail) for each in report.obstacles] == [("FC501", "Einsum")]


def test_a_batch_that_meets_cells_is_an_obstacle() -> None:
    """[N,3] against [N,4,1,3] broadcasts the batch over the height."""
    model = parse(
        """g (float[N,2,3,5] x) => (float[A,B,C,D] y) <float[4,2,3,3] k>
        { c = Conv (x, k)  s = ReduceSum <axes = [1]> (c)  f = Flatten (s)  [add] y = Add (c, f) }""",
        opset=11,
    )
    report = fc2conv.plan(model, SLIDING).sliding
    assert report is not None
    assert [(each.code, each.node) for each in report.obstacles] == [("FC503", "add")]


def test_pairs_of_cells_side_by_side_are_an_obstacle() -> None:
    """As a relation network joins each cell with each: the values are carried without what repeats them."""
    model = parse(
        """g (float[1,2,4,4] x) => (float[1,3] y)
        <float[6,2,3,3] k, float[12,3] w, int64[3] s = {1, 6, 4}, int64[4] all = {1, 4, 4, 6}, int64[2] both = {1, 2}>
        { c = Conv (x, k)  r = Reshape (c, s)  t = Transpose <perm = [0, 2, 1]> (r)
          u = Unsqueeze <axes = [1]> (t)  a = Expand (u, all)  v = Unsqueeze <axes = [2]> (t)  b = Expand (v, all)
          [join] j = Concat <axis = 3> (a, b)  [fc] m = MatMul (j, w)
          y = ReduceSum <axes = [1, 2], keepdims = 0> (m) }""",
        opset=11,
    )
    report = fc2conv.plan(model, SLIDING).sliding
    assert report is not None
    assert ("FC503", "join") in [(each.code, each.node) for each in report.obstacles]


def test_a_norm_of_one_channel_that_is_not_the_maps_is_an_obstacle() -> None:
    model = parse(
        """g (float[N,2,8,8] x) => (float[A,B,C,D] y) <float[4,2,8,8] k, float[1] s, float[1] o, float[1] m, float[1] v>
        { c = Conv (x, k)  t = Transpose <perm = [0, 2, 3, 1]> (c)  [norm] y = BatchNormalization (t, s, o, m, v) }"""
    )
    report = fc2conv.plan(model, SLIDING).sliding
    assert report is not None
    assert [(each.code, each.node) for each in report.obstacles] == [("FC503", "norm")]


def test_a_kernel_of_another_rank_than_its_map_is_an_obstacle() -> None:
    axes = ", int64[1] last = {4}, float[4] q"
    case = Case("u = Unsqueeze (c, last)  [wrong] d = Conv <kernel_shape = [1, 1, 1]> (u, q)", "wrong", axes)
    with pytest.raises(InputError, match="at wrong"):
        fc2conv.convert(case.model(), options=SLIDING)


@pytest.mark.parametrize("mode", ["linear", "cubic"])
def test_channels_between_which_a_resize_interpolates_are_an_obstacle(mode: str) -> None:
    """The last dimension holds the channels, as the layer says; onnxruntime interpolates along two axes of a map."""
    model = parse(
        f"""g (float[N,6,6,6] x) => (float[N,6,3,5] y) <float[3,5] w, float[4] half = {{1.0, 1.0, 0.5, 0.5}}>
        {{ [half] r = Resize <mode = "{mode}"> (x, , half)  y = MatMul (r, w) }}"""
    )
    report = fc2conv.plan(model, SLIDING).sliding
    assert report is not None
    assert [(each.code, each.node) for each in report.obstacles] == [("FC501", "half")]


def test_all_obstacles_are_listed_at_once() -> None:
    model = parse(
        """g (float[N,2,8,8] x) => (float[N,4,6,6] y, float[N,4,6,6] z)
        <float[4,2,3,3] k, float[1,4,6,6] p, int64 axis = {3}>
        { c = Conv <kernel_shape = [3, 3]> (x, k)  [add] y = Add (c, p)  [sum] z = CumSum (c, axis) }"""
    )
    report = fc2conv.plan(model, SLIDING).sliding
    assert report is not None
    assert [(each.code, each.node) for each in report.obstacles] == [("FC502", "add"), ("FC503", "sum")]
    with pytest.raises(InputError, match="and 1 more"):
        fc2conv.convert(model, options=SLIDING)


def test_a_training_size_that_is_given_helps() -> None:
    options = Options(sliding=SlidingOptions(), input_shapes={"x": (1, 2, 8, 8)})
    report = fc2conv.convert(CASES[Code.SIZE_UNKNOWN].model(), options=options).report
    assert report.sliding is not None
    assert report.sliding.outputs[0].axes[0].size == 8


def test_a_constant_that_is_the_same_for_all_cells_is_none() -> None:
    case = CASES[Code.SIZE_IN_CONSTANT]
    model = case.model()
    (positions,) = [t for t in model.graph.initializer if t.name == "q"]
    values = onnx.numpy_helper.to_array(positions)[:, :, :1, :1]
    full = onnx.numpy_helper.from_array(values.repeat(6, 2).repeat(6, 3), "q")
    positions.CopyFrom(full)
    assert at_training_size(model, slid(model)) < CLOSE


@pytest.mark.parametrize(
    ("body", "columns"),
    [
        (
            "t = Transpose <perm = [0, 1, 3, 2]> (c)  [attention] a = MatMul (c, t)  "
            "d = MaxPool <kernel_shape = [1, 1]> (a)",
            144,
        ),
        (
            "q = Reshape (c, heads)  t = Transpose <perm = [0, 1, 3, 2]> (q)  [attention] a = MatMul (q, t)  "
            "d = MaxPool <kernel_shape = [1, 1]> (a)",
            8,
        ),
    ],
)
def test_a_product_of_two_maps_is_no_layer(body: str, columns: int) -> None:
    case = Case(body, "attention", ", int64[4] heads = {0, 2, 2, 36}", columns=columns)
    report = fc2conv.plan(case.model(), SLIDING).sliding
    assert report is not None
    assert [(each.code, each.node) for each in report.obstacles] == [("FC501", "attention")]
