"""What stands between layers: activations, arithmetic with constants, norms, dropout."""

from __future__ import annotations

from .case import CONVERT, Case


def between(name: str, declared: str, nodes: str, layout: int = 1, opset: int = 13) -> Case:
    """Two layers, and what makes `b` of `a` = [N, 8] between them."""
    declared = f"{declared}, " if declared else ""
    text = f"""graph (float[N,4,3,2] x) => (float[N,5] y) <{declared}float[8,24] w1, float[8] c1,
     float[5,8] w2, float[5] c2>
    {{ f = Flatten (x)
       [fc1] a = Gemm <transB = 1> (f, w1, c1)
       {nodes}
       [fc2] y = Gemm <transB = 1> (b, w2, c2) }}"""
    return Case(name, text, {"fc1": [3, 2], "fc2": [1, 1]}, layout, opset)


def before(name: str, declared: str, nodes: str, layout: int = 1, opset: int = 13) -> Case:
    """What makes `b` of the flattened map `f` = [N, 24], and a layer that reads it."""
    text = f"""graph (float[N,4,3,2] x) => (float[N,5] y) <{declared}, float[5,24] w, float[5] c>
    {{ f = Flatten (x)
       {nodes}
       [fc] y = Gemm <transB = 1> (b, w, c) }}"""
    return Case(name, text, {"fc": [3, 2]}, layout, opset)


NORM = "float[8] s, float[8] o, float[8] m, float[8] var"
WIDE_NORM = "float[24] s, float[24] o, float[24] m, float[24] var"
LAYER_NORM = """[norm_mean] mu = ReduceMean <axes = [-1]> (f)
       d = Sub (f, mu)
       sq = Pow (d, two)
       v = ReduceMean <axes = [-1]> (sq)
       e = Add (v, eps)
       r = Sqrt (e)
       n = Div (d, r)
       g = Mul (n, gamma)
       b = Add (g, beta)"""

CASES = [
    between("relu_identity_cast", "", "r = Relu (a)\n i = Identity (r)\n b = Cast <to = 1> (i)"),
    between("sigmoid_times_itself", "", "s = Sigmoid (a)\n b = Mul (a, s)"),
    between(
        "gelu_by_erf",
        "float h = {0.5}, float one = {1.0}, float q = {1.4142135}",
        "d = Div (a, q)\n e = Erf (d)\n p = Add (e, one)\n m = Mul (a, p)\n b = Mul (m, h)",
    ),
    between("clip_with_inputs", "float lo = {0.0}, float hi = {6.0}", "b = Clip (a, lo, hi)"),
    between(
        "hard_swish_by_parts",
        "float three = {3.0}, float lo = {0.0}, float hi = {6.0}",
        "p = Add (a, three)\n q = Clip (p, lo, hi)\n r = Div (q, hi)\n b = Mul (a, r)",
    ),
    between("leaky_relu_and_elu", "", "l = LeakyRelu <alpha = 0.1> (a)\n b = Elu (l)"),
    between("mul_and_add_per_feature", "float[8] s, float[1,8] o", "m = Mul (a, s)\n b = Add (o, m)"),
    between("where_on_a_condition", "float z = {0.0}", "p = Greater (a, z)\n b = Where (p, a, z)"),
    between("prelu_slope_per_feature", "float[8] slope", "b = PRelu (a, slope)"),
    between("prelu_slope_of_one", "float[1] slope", "b = PRelu (a, slope)"),
    between("prelu_slope_1_m", "float[1,8] slope", "b = PRelu (a, slope)"),
    before("prelu_slope_over_the_flattened_map", "float[24] slope", "b = PRelu (f, slope)"),
    Case(
        "prelu_slope_c_1_1_on_the_map",
        """graph (float[N,4,3,2] x) => (float[N,5] y) <float[4,1,1] slope, float[5,24] w>
        { p = PRelu (x, slope)
          f = Flatten (p)
          [fc] y = Gemm <transB = 1> (f, w) }""",
        {"fc": [3, 2]},
        1,
    ),
    between("dropout_inference", "float ratio = {0.5}", "b = Dropout (a, ratio)"),
    between("dropout_opset_11_attribute", "", "b = Dropout <ratio = 0.4> (a)", opset=11),
    Case(
        "dropout_with_its_mask_used",
        """graph (float[N,4,3,2] x) => (float[N,3] y, bool[N,5] mask) <float ratio = {0.5}, float[5,24] w, float[3,5] v>
        { f = Flatten (x)
          [fc1] a = Gemm <transB = 1> (f, w)
          b, mask = Dropout (a, ratio)
          [fc2] y = Gemm <transB = 1> (b, v) }""",
        {"fc1": [3, 2], "fc2": [1, 1]},
        2,
    ),
    between("batch_norm_opset_9_of_rank_2", NORM, "b = BatchNormalization (a, s, o, m, var)", opset=9),
    between("batch_norm_opset_15_of_rank_2", NORM, "n = BatchNormalization (a, s, o, m, var)\n b = Relu (n)", opset=15),
    between(
        "batch_norm_between_unsqueeze_and_squeeze",
        NORM + ", int64[1] two = {2}",
        "u = Unsqueeze (a, two)\n n = BatchNormalization (u, s, o, m, var)\n b = Squeeze (n, two)",
    ),
    between(
        "batch_norm_between_reshapes",
        NORM + ", int64[3] up = {-1, 8, 1}, int64[2] down = {-1, 8}",
        "u = Reshape (a, up)\n n = BatchNormalization (u, s, o, m, var)\n b = Reshape (n, down)",
    ),
    before("batch_norm_per_feature_of_the_flattened_map", WIDE_NORM, "b = BatchNormalization (f, s, o, m, var)"),
    before("mul_per_feature_of_the_flattened_map", "float[24] s", "b = Mul (f, s)"),
    before("add_1_k_to_the_flattened_map", "float[1,24] s", "b = Add (s, f)"),
    before("sub_mean_and_div_deviation", "float[24] m, float[24] var", "d = Sub (f, m)\n b = Div (d, var)"),
    Case(
        "constant_of_the_map_behind_channels_last",
        """graph (float[N,4,3,2] x) => (float[N,5] y) <float[3,2,4] s, float[4] o, float[5,24] w>
        { t = Transpose <perm = [0, 2, 3, 1]> (x)
          m = Mul (t, s)
          a = Add (m, o)
          f = Flatten (a)
          [fc] y = Gemm <transB = 1> (f, w) }""",
        {"fc": [3, 2]},
        1,
    ),
    Case(
        "constant_of_the_tokens",
        """graph (float[N,4,3,2] x) => (float[N,6,5] y) <int64[3] s = {0, 4, 6}, float[1,6,4] position, float[4,5] w>
        { r = Reshape (x, s)
          t = Transpose <perm = [0, 2, 1]> (r)
          a = Add (t, position)
          [fc] y = MatMul (a, w) }""",
        {"fc": [1, 1]},
        3,
    ),
    Case(
        "layer_norm_over_the_flattened_map",
        """graph (float[N,4,3,2] x) => (float[N,5] y) <float[24] gamma, float[24] beta, float[5,24] w>
        { f = Flatten (x)
          [norm] b = LayerNormalization <axis = -1> (f, gamma, beta)
          [fc] y = Gemm <transB = 1> (b, w) }""",
        {"fc": (CONVERT, "FC301", "FC102@norm")},
        3,
        opset=17,
    ),
    Case(
        "layer_norm_by_parts_over_the_flattened_map",
        f"""graph (float[N,4,3,2] x) => (float[N,5] y)
        <float[24] gamma, float[24] beta, float two = {{2.0}}, float eps = {{0.00001}}, float[5,24] w>
        {{ f = Flatten (x)
           {LAYER_NORM}
           [fc] y = Gemm <transB = 1> (b, w) }}""",
        {"fc": (CONVERT, "FC301", "FC102")},
        3,
    ),
    Case(
        "layer_norm_between_two_layers",
        """graph (float[N,4,3,2] x) => (float[N,5] y) <float[8,24] v, float[8] gamma, float[8] beta, float[5,8] w>
        { f = Flatten (x)
          [fc1] a = Gemm <transB = 1> (f, v)
          b = LayerNormalization <axis = -1> (a, gamma, beta)
          [fc2] y = Gemm <transB = 1> (b, w) }""",
        {"fc1": [3, 2], "fc2": (CONVERT, "FC301")},
        3,
        opset=17,
    ),
    Case(
        "convnext_block",
        """graph (float[N,4,5,5] x) => (float[N,4,5,5] y)
        <float[4,1,3,3] k, float[4] kb, float[4] gamma, float[4] beta, float[4,16] w1, float[16] b1, float[16,4] w2,
         float[4] b2, float[4] scale>
        { c = Conv <group = 4, pads = [1, 1, 1, 1]> (x, k, kb)
          t = Transpose <perm = [0, 2, 3, 1]> (c)
          n = LayerNormalization <axis = -1> (t, gamma, beta)
          [fc1] m1 = MatMul (n, w1)
          a1 = Add (m1, b1)
          g = Gelu (a1)
          [fc2] m2 = MatMul (g, w2)
          a2 = Add (m2, b2)
          s = Mul (a2, scale)
          u = Transpose <perm = [0, 3, 1, 2]> (s)
          y = Add (x, u) }""",
        {"fc1": [1, 1], "fc2": [1, 1]},
        2,
        opset=20,
    ),
]
