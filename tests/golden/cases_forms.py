"""Layers in other forms: Einsum, batched weights as groups, sums over branches, and the rank of their convolutions."""

from __future__ import annotations

from collections.abc import Mapping

from fc2conv.options import ConvRank, Options

from .case import CONVERT, Case, Expectation

EVERY = Options(scope="all")


def einsum(
    name: str,
    equation: str,
    weight: str,
    result: str,
    expectation: Expectation,
    layout: int,
    options: Options | None = None,
    operands: str = "x, w",
) -> Case:
    """An Einsum of a map [N,4,3,2] and a weight."""
    text = f"""graph (float[N,4,3,2] x) => (float[{result}] y) <float[{weight}] w>
    {{ [fc] y = Einsum <equation = "{equation}"> ({operands}) }}"""
    return Case(f"einsum_{name}", text, {"fc": expectation}, layout, options=options or Options())


def grouped(name: str, shapes: tuple[str, str, str], expectation: Expectation, layout: int, left: bool = False) -> Case:
    """A MatMul with a batched weight, in scope all."""
    x, w, y = shapes
    text = f"""graph (float[{x}] x) => (float[{y}] y) <float[{w}] w>
    {{ [fc] y = MatMul ({"w, x" if left else "x, w"}) }}"""
    return Case(f"grouped_{name}", text, {"fc": expectation}, layout, options=EVERY)


SPP = """graph (float[N,3,4,4] x) => (float[N,5] y) <{declared}>
{{ p1 = GlobalMaxPool (x)
   p2 = MaxPool <kernel_shape = [2, 2], strides = [2, 2]> (x)
   p3 = AveragePool <kernel_shape = [4, 2], strides = [4, 2]> (x)
   f1 = Flatten (p1)
   f2 = Flatten (p2)
   f3 = Flatten (p3)
   c = Concat <axis = {axis}> (f1, f2, f3)
   {nodes} }}"""


def spp(name: str, declared: str, nodes: str, axis: int = 1, **more: Expectation) -> Case:
    """Spatial pyramid pooling: three extents of one map side by side, [N, 21]."""
    text = SPP.format(declared=declared, nodes=nodes, axis=axis)
    return Case(f"branches_{name}", text, {"fc": CONVERT, **more}, 1)


VECTORS = """graph (float[N,6] x) => (float[N,3] y) <float[6,8] w1, float[8] b1, float[3,8] w2>
{ [fc1] a = MatMul (x, w1)
  c = Add (a, b1)
  r = Relu (c)
  [fc2] y = Gemm <transB = 1> (r, w2) }"""
TOKENS = """graph (float[N,5,6] x) => (float[N,5,3] y) <float[6,8] w1, float[8] b1, float[8,3] w2>
{ [fc1] a = MatMul (x, w1)
  c = Add (a, b1)
  r = Relu (c)
  [fc2] y = MatMul (r, w2) }"""
KERNELS: Mapping[ConvRank, list[int]] = {"1d": [1], "2d": [1, 1]}
RANKS: Mapping[str, tuple[str, int]] = {"vectors": (VECTORS, 2), "tokens": (TOKENS, 4)}


CASES = [
    Case(
        "einsum_of_a_flattened_map",
        """graph (float[N,4,3,2] x) => (float[N,5] y) <float[24,5] w>
        { f = Flatten (x)
          [fc] y = Einsum <equation = "nk,km->nm"> (f, w) }""",
        {"fc": [3, 2]},
        1,
    ),
    Case(
        "einsum_without_an_arrow",
        """graph (float[N,4,3,2] x) => (float[N,5] y) <float[24,5] w, float[5] b>
        { f = Flatten (x)
          [fc] m = Einsum <equation = "ij, jk"> (f, w)
          y = Add (m, b) }""",
        {"fc": [3, 2]},
        1,
    ),
    Case(
        "einsum_of_a_channels_last_map",
        """graph (float[N,4,3,2] x) => (float[N,5,3,2] y) <float[4,8] w1, float[8,5] w2>
        { t = Transpose <perm = [0, 2, 3, 1]> (x)
          [fc1] a = Einsum <equation = "bhwc,cd->bhwd"> (t, w1)
          r = Relu (a)
          [fc2] c = Einsum <equation = "bhwc,cd->bhwd"> (r, w2)
          y = Transpose <perm = [0, 3, 1, 2]> (c) }""",
        {"fc1": [1, 1], "fc2": [1, 1]},
        0,
    ),
    Case(
        "einsum_of_tokens_of_a_map",
        """graph (float[N,4,3,2] x) => (float[N,6,5] y) <int64[3] s = {0, 4, -1}, float[4,5] w>
        { r = Reshape (x, s)
          [fc] y = Einsum <equation = "ncl,cd->nld"> (r, w) }""",
        {"fc": [1, 1]},
        2,
    ),
    einsum("of_channels", "nchw,cm->nmhw", "4,5", "N,5,3,2", [1, 1], 0),
    einsum("of_channels_weight_turned", "nchw,mc->nmhw", "5,4", "N,5,3,2", [1, 1], 0),
    einsum("of_channels_weight_first", "mc,nchw->nmhw", "5,4", "N,5,3,2", [1, 1], 0, operands="w, x"),
    einsum("of_channels_weight_turned_first", "cm,nchw->nmhw", "4,5", "N,5,3,2", [1, 1], 0, operands="w, x"),
    einsum("outputs_last", "nchw,cm->nhwm", "4,5", "N,3,2,5", [1, 1], 1),
    einsum("outputs_first", "nchw,cm->mnhw", "4,5", "5,N,3,2", [1, 1], 1),
    einsum("over_the_height", "nchw,hm->ncmw", "3,5", "N,4,5,2", CONVERT, 2, EVERY),
    einsum("over_the_width", "nchw,wm->nchm", "2,5", "N,4,3,5", CONVERT, 2, EVERY),
    einsum("over_the_batch_is_no_convolution_of_maps", "nchw,nm->mchw", "3,5", "5,4,3,2", "FC103", 0),
    einsum("permutes_what_it_keeps", "nchw,cm->nmwh", "4,5", "N,5,2,3", [1, 1], 1),
    einsum("permutes_all", "nchw,cm->wmhn", "4,5", "2,5,3,N", [1, 1], 1),
    einsum("of_a_vector", "nchw,c->nhw", "4", "N,3,2", [1, 1], 1),
    einsum("of_a_vector_and_an_ellipsis", "...w,w->...", "2", "N,4,3", CONVERT, 2, EVERY),
    einsum("with_an_ellipsis", "...w,wm->...m", "2,5", "N,4,3,5", CONVERT, 2, EVERY),
    einsum("with_an_ellipsis_and_no_arrow", "...w,wz", "2,5", "N,4,3,5", CONVERT, 2, EVERY),
    einsum("with_an_ellipsis_of_nothing", "...nchw,cm->...nmhw", "4,5", "N,5,3,2", [1, 1], 0),
    einsum("with_an_ellipsis_and_the_weight_first", "mc,...chw->...mhw", "5,4", "N,5,3,2", [1, 1], 0, operands="w, x"),
    einsum("with_an_ellipsis_and_a_permutation", "...hw,wm->m...h", "2,5", "5,N,4,3", "FC208", 0, EVERY),
    einsum("with_an_ellipsis_in_the_weight", "n...w,...wm->n...m", "4,3,2,5", "N,4,3,5", "FC208", 0, EVERY),
    einsum("over_the_whole_map", "nchw,chwm->nm", "4,3,2,5", "N,5", [3, 2], 1),
    einsum("over_the_whole_map_in_another_order", "nchw,mwch->nm", "5,2,4,3", "N,5", [3, 2], 1),
    einsum("over_the_whole_map_by_a_vector", "nchw,hwc->n", "3,2,4", "N", [3, 2], 1),
    einsum("over_the_whole_map_to_two", "nchw,echwd->nde", "5,4,3,2,3", "N,3,5", [3, 2], 1),
    einsum("over_channels_and_height", "nchw,mhc->nwm", "5,3,4", "N,2,5", [3, 1], 2),
    einsum("over_height_and_width", "nchw,hwm->ncm", "3,2,5", "N,4,5", CONVERT, 4, EVERY),
    einsum("to_heads", "nchw,cde->nhwde", "4,3,5", "N,3,2,3,5", [1, 1], 2, EVERY),
    einsum("to_heads_that_stand_apart", "nchw,ced->dnhew", "4,3,5", "5,N,3,3,2", [1, 1], 3, EVERY),
    einsum("over_the_batch_and_channels", "nchw,ncm->hwm", "3,4,5", "3,2,5", "FC103", 0),
    einsum("with_a_matrix_for_each_row", "nchw,hcm->nhwm", "3,4,5", "N,3,2,5", [1, 1], 4, EVERY),
    einsum("with_a_sum_of_its_own", "nchw,cm->nmh", "4,5", "N,5,3", "FC208", 0),
    einsum("with_a_sum_of_the_weight", "nchw,ckm->nmhw", "4,3,5", "N,5,3,2", "FC208", 0),
    einsum("with_nothing_summed_over", "nchw,m->nchwm", "5", "N,4,3,2,5", "FC208", 0, EVERY),
    Case(
        "einsum_of_heads_and_back",
        """graph (float[N,6,8] x) => (float[N,6,8] y)
        <float[8,3,4] q, float[3,4] qb, float[4,3,8] o, float[8] ob>
        { [fc1] h = Einsum <equation = "abc,cde->abde"> (x, q)
          hb = Add (h, qb)
          t = Transpose <perm = [0, 2, 1, 3]> (hb)
          s = Softmax <axis = -1> (t)
          u = Transpose <perm = [0, 2, 1, 3]> (s)
          [fc2] z = Einsum <equation = "abde,edc->abc"> (u, o)
          y = Add (z, ob) }""",
        {"fc1": CONVERT, "fc2": CONVERT},
        8,
        options=EVERY,
    ),
    Case(
        "einsum_of_three_operands",
        """graph (float[N,4,3,2] x, float[N,4] g) => (float[N,5,3,2] y) <float[4,5] w>
        { [fc] y = Einsum <equation = "nchw,nc,cm->nmhw"> (x, g, w) }""",
        {"fc": "FC208"},
        0,
        opset=12,
    ),
    Case(
        "einsum_of_one_constant",
        """graph (float[N,4] x) => (float[N,4] y) <float[4,4] w>
        { d = Einsum <equation = "ii->i"> (w)
          y = Add (x, d) }""",
        {},
        0,
        opset=12,
    ),
    Case(
        "einsum_of_two_activations",
        """graph (float[N,4,3,2] x, float[N,4,3,2] z) => (float[N,3,3] y)
        { [scores] y = Einsum <equation = "nchw,ncgw->nhg"> (x, z) }""",
        {},
        0,
        opset=12,
    ),
    grouped("of_rank_3", ("4,N,6", "4,6,5", "4,N,5"), CONVERT, 4),
    grouped("of_rank_4", ("N,4,3,6", "4,6,5", "N,4,3,5"), CONVERT, 4),
    grouped("of_two_leading_dimensions", ("N,2,3,4,6", "2,3,6,5", "N,2,3,4,5"), CONVERT, 4),
    grouped("of_the_first_of_two", ("N,2,3,4,6", "2,1,6,5", "N,2,3,4,5"), CONVERT, 4),
    grouped("on_the_left", ("N,4,6,3", "4,5,6", "N,4,5,3"), CONVERT, 2, left=True),
    grouped("with_one_group", ("N,4,3,6", "1,6,5", "N,4,3,5"), CONVERT, 2),
    grouped("that_raises_the_rank", ("N,6", "1,1,6,5", "1,1,N,5"), CONVERT, 2),
    grouped("of_a_broadcast_input", ("N,1,3,6", "4,6,5", "N,4,3,5"), "FC203", 0),
    grouped("of_an_input_of_lower_rank", ("N,6", "4,6,5", "4,N,5"), "FC203", 0),
    Case(
        "grouped_with_a_bias_and_an_activation",
        """graph (float[N,4,3,6] x) => (float[N,4,3,5] y) <float[4,6,7] w1, float[7] b1, float[4,7,5] w2>
        { [fc1] a = MatMul (x, w1)
          c = Add (a, b1)
          r = Relu (c)
          [fc2] y = MatMul (r, w2) }""",
        {"fc1": CONVERT, "fc2": CONVERT},
        4,
        options=EVERY,
    ),
    Case(
        "grouped_over_channels_of_a_map",
        """graph (float[N,4,3,2] x) => (float[N,4,5] y) <int64[4] s = {0, 4, 1, 6}, float[4,6,5] w, int64[1] a = {2}>
        { r = Reshape (x, s)
          [fc] m = MatMul (r, w)
          y = Squeeze (m, a) }""",
        {"fc": CONVERT},
        2,
        options=EVERY,
    ),
    spp("gemm_transb_1_with_a_bias", "float[5,21] w, float[5] b", "[fc] y = Gemm <transB = 1> (c, w, b)"),
    spp("gemm_transb_0", "float[21,5] w", "[fc] y = Gemm (c, w)"),
    spp("gemm_alpha_and_beta", "float[21,5] w, float[5] b", "[fc] y = Gemm <alpha = 0.5, beta = -2.0> (c, w, b)"),
    spp("matmul", "float[21,5] w", "[fc] y = MatMul (c, w)"),
    spp("matmul_and_add", "float[21,5] w, float[5] b", "[fc] m = MatMul (c, w)\n y = Add (b, m)", axis=-1),
    spp(
        "relu_and_a_second_layer",
        "float[8,21] w, float[8] b, float[5,8] v",
        "[fc] h = Gemm <transB = 1> (c, w, b)\n r = Relu (h)\n [next] y = Gemm <transB = 1> (r, v)",
        next=[1, 1],
    ),
    Case(
        "branches_of_two_layouts",
        """graph (float[N,4,3,2] x, float[N,2,2,2] z) => (float[N,5] y) <float[5,32] w, float[5] b>
        { t = Transpose <perm = [0, 2, 3, 1]> (x)
          a = Flatten (t)
          c = Flatten (z)
          f = Concat <axis = 1> (a, c)
          [fc] g = Gemm <transB = 1> (f, w, b)
          y = Relu (g) }""",
        {"fc": CONVERT},
        1,
    ),
    Case(
        "branches_of_which_another_node_reads_the_whole",
        """graph (float[N,4,3,2] x, float[N,2,2,2] z) => (float[N,5] y, float[N,32] u) <float[5,32] w>
        { a = Flatten (x)
          c = Flatten (z)
          f = Concat <axis = 1> (a, c)
          [fc] y = Gemm <transB = 1> (f, w)
          u = Relu (f) }""",
        {"fc": CONVERT},
        3,
    ),
    Case(
        "branches_of_a_map_and_its_pool_twice",
        """graph (float[N,4,3,2] x) => (float[N,5] y, float[N,3] z) <float[28,5] w, float[28,3] v>
        { p = GlobalAveragePool (x)
          a = Flatten (x)
          c = Flatten (p)
          f = Concat <axis = 1> (a, c)
          [fc1] y = MatMul (f, w)
          [fc2] z = MatMul (f, v) }""",
        {"fc1": CONVERT, "fc2": CONVERT},
        2,
    ),
    *(
        Case(
            f"conv_rank_{rank}_of_{name}",
            text,
            {"fc1": kernel, "fc2": kernel},
            layout,
            options=Options(scope="all", conv_rank=rank),
        )
        for name, (text, layout) in RANKS.items()
        for rank, kernel in KERNELS.items()
    ),
    *(
        Case(f"conv_rank_auto_of_{name}", text, {"fc1": CONVERT, "fc2": CONVERT}, layout, options=EVERY)
        for name, (text, layout) in RANKS.items()
    ),
    Case(
        "layers_that_nobody_reads",
        """graph (float[N,4,3,2] x) => (float[N,8] r) <float[8,24] w, float[8,8] v, float[5,8] u>
        { f = Flatten (x)
          [one] a = Gemm <transB = 1> (f, w)
          r = Relu (a)
          [dead] d = Gemm <transB = 1> (r, v)
          t = Tanh (d)
          [end] e = Gemm <transB = 1> (t, u)
          last = Relu (e) }""",
        {"one": [3, 2], "dead": [1, 1], "end": [1, 1]},
        1,
    ),
    Case(
        "one_batch_though_another_is_declared",
        """graph (float[N,4,3,2] x) => (float[1,5] y) <float[24,5] w>
        { a = Flatten <axis = 0> (x)
          f = Flatten (a)
          [fc] y = Gemm (f, w) }""",
        {"fc": CONVERT},
        2,
        batches=(1,),
    ),
]
