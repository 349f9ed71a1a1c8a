"""onnxruntime's own operators: fused layers, convolutions and activations, and norms with a residual."""

from __future__ import annotations

from fc2conv.options import Options

from .case import CONVERT, Case, Expectation

MS = {"com.microsoft": 1}
FLAT = "graph (float[N,4,3,2] x) => (float[N,5] y)"
SHAPED = "graph (float[N,4,3,2] x) => (float[N,6,5] y) <int64[3] s = {0, 4, 6}, "
ACTIVATIONS = {
    "relu": 'activation = "Relu"',
    "sigmoid": 'activation = "Sigmoid"',
    "tanh": 'activation = "Tanh"',
    "softplus": 'activation = "Softplus"',
    "softsign": 'activation = "Softsign"',
    "every_attribute": 'activation = "LeakyRelu", activation_alpha = 0.25, alpha = 0.5, beta = 2.0',
    "every_attribute_turned": 'alpha = 0.5, beta = 2.0, activation_alpha = 0.25, activation = "LeakyRelu"',
    "leaky_relu": 'activation = "LeakyRelu", activation_alpha = 0.25',
    "elu": 'activation = "Elu", activation_alpha = 0.5',
    "celu": 'activation = "Celu", activation_alpha = 0.5',
    "selu": 'activation = "Selu", activation_alpha = 1.5, activation_gamma = 1.25',
    "thresholded_relu": 'activation = "ThresholdedRelu", activation_alpha = 0.5',
    "hard_sigmoid": 'activation = "HardSigmoid", activation_alpha = 0.25, activation_beta = 0.5',
}


def fused(name: str, text: str, expect: dict[str, Expectation], layout: int, options: Options | None = None) -> Case:
    """A case with onnxruntime's operators."""
    return Case(f"fused_{name}", text, expect, layout, 17, options=options or Options(), domains=MS)


def product(name: str, declared: str, nodes: str, layout: int = 1, expectation: Expectation = CONVERT) -> Case:
    """A FusedMatMul over a flattened map `f` [N, 24]."""
    return fused(f"matmul_{name}", f"{FLAT} <{declared}> {{ f = Flatten (x)\n {nodes} }}", {"fc": expectation}, layout)


def between(
    name: str,
    declared: str,
    nodes: str,
    layout: int = 1,
    expectation: Expectation = CONVERT,
    **more: Expectation,
) -> Case:
    """Nodes that make `r` of the layer's result `a` [N, 8], between two layers."""
    text = f"""{FLAT} <float[8,24] w, float[5,8] v{declared}>
    {{ f = Flatten (x)
       [fc1] a = Gemm <transB = 1> (f, w)
       {nodes}
       [fc2] y = Gemm <transB = 1> (r, v) }}"""
    return fused(f"between_{name}", text, {"fc1": [3, 2], "fc2": expectation, **more}, layout)


CASES = [
    *(
        fused(
            f"gemm_{name}",
            f"""{FLAT} <float[8,24] w, float[8] b, float[5,8] v>
            {{ f = Flatten (x)
              [fc1] r = com.microsoft.FusedGemm <transB = 1, {attributes}> (f, w, b)
              [fc2] y = Gemm <transB = 1> (r, v) }}""",
            {"fc1": [3, 2], "fc2": [1, 1]},
            1,
        )
        for name, attributes in ACTIVATIONS.items()
    ),
    fused(
        "gemm_alpha_and_beta_transb_0",
        f"""{FLAT} <float[24,5] w, float[1,5] b>
        {{ f = Flatten (x)
          [fc] y = com.microsoft.FusedGemm <alpha = 0.5, beta = -2.0, activation = "Relu"> (f, w, b) }}""",
        {"fc": [3, 2]},
        1,
    ),
    fused(
        "gemm_of_a_transposed_flat",
        f"""{FLAT} <float[5,24] w>
        {{ f = Flatten (x)
          t = Transpose <perm = [1, 0]> (f)
          [fc] y = com.microsoft.FusedGemm <transA = 1, transB = 1, activation = "Relu"> (t, w) }}""",
        {"fc": [3, 2]},
        1,
    ),
    product("as_it_stands", "float[24,5] w", "[fc] y = com.microsoft.FusedMatMul (f, w)", 1, [3, 2]),
    product("transb", "float[5,24] w", "[fc] y = com.microsoft.FusedMatMul <transB = 1> (f, w)", 1, [3, 2]),
    product("alpha", "float[24,5] w", "[fc] y = com.microsoft.FusedMatMul <alpha = -0.5> (f, w)", 1, [3, 2]),
    product(
        "alpha_and_a_bias",
        "float[24,5] w, float[5] b",
        "[fc] m = com.microsoft.FusedMatMul <alpha = 0.125> (f, w)\n y = Add (b, m)",
        1,
        [3, 2],
    ),
    product(
        "transa",
        "float[24,5] w",
        "t = Transpose <perm = [1, 0]> (f)\n [fc] y = com.microsoft.FusedMatMul <transA = 1> (t, w)",
        1,
        [3, 2],
    ),
    product(
        "transa_transb_alpha",
        "float[5,24] w",
        "t = Transpose <perm = [1, 0]> (f)\n"
        "[fc] y = com.microsoft.FusedMatMul <transA = 1, transB = 1, alpha = 2.0> (t, w)",
        1,
        [3, 2],
    ),
    product(
        "weight_on_the_left",
        "float[5,24] w",
        "[fc] m = com.microsoft.FusedMatMul <transB = 1> (w, f)\n y = Transpose <perm = [1, 0]> (m)",
        1,
        [3, 2],
    ),
    product(
        "weight_on_the_left_turned",
        "float[24,5] w",
        "[fc] m = com.microsoft.FusedMatMul <transA = 1, transB = 1> (w, f)\n y = Transpose <perm = [1, 0]> (m)",
        1,
        [3, 2],
    ),
    fused(
        "matmul_transa_on_rows_of_channels",
        SHAPED
        + """float[4,5] w>
        { r = Reshape (x, s)
          [fc] y = com.microsoft.FusedMatMul <transA = 1> (r, w) }""",
        {"fc": [1, 1]},
        2,
    ),
    fused(
        "matmul_transb_on_tokens",
        SHAPED
        + """float[5,4] w>
        { r = Reshape (x, s)
          t = Transpose <perm = [0, 2, 1]> (r)
          [fc] y = com.microsoft.FusedMatMul <transB = 1, alpha = 0.5> (t, w) }""",
        {"fc": [1, 1]},
        2,
    ),
    fused(
        "conv_upstream",
        f"""{FLAT.replace("[N,4,3,2]", "[N,2,4,3]")} <float[4,2,2,2] k, float[4] c, float[5,24] w>
        {{ m = com.microsoft.FusedConv <kernel_shape = [2, 2], activation = "Relu"> (x, k, c)
          f = Flatten (m)
          [fc] y = Gemm <transB = 1> (f, w) }}""",
        {"fc": [3, 2]},
        1,
    ),
    fused(
        "conv_with_a_residual_upstream",
        f"""{FLAT} <float[4,4,1,1] k, float[4] c, float[5,24] w>
        {{ m = com.microsoft.FusedConv <kernel_shape = [1, 1], activation = "Relu"> (x, k, c, x)
          f = Flatten (m)
          [fc] y = com.microsoft.FusedGemm <transB = 1, activation = "Tanh"> (f, w) }}""",
        {"fc": [3, 2]},
        1,
    ),
    between("gelu", "", "r = com.microsoft.Gelu (a)"),
    between("quick_gelu", "", "r = com.microsoft.QuickGelu <alpha = 1.5> (a)"),
    between("fast_gelu", "", "r = com.microsoft.FastGelu (a)"),
    between("fast_gelu_with_a_bias", ", float[8] c", "r = com.microsoft.FastGelu (a, c)", 1, (CONVERT, "FC102@r")),
    between("bias_gelu", ", float[8] c", "r = com.microsoft.BiasGelu (a, c)", 1, (CONVERT, "FC102@r")),
    between(
        "skip_layer_normalization",
        ", float[8] g, float[8] o, float[8] c, float[8,24] u",
        "[skip] k = Gemm <transB = 1> (f, u)\n"
        "r = com.microsoft.SkipLayerNormalization <epsilon = 0.00001> (a, k, g, o, c)",
        2,
        "FC301",
        skip=[3, 2],
    ),
    fused(
        "transformer_mlp_on_a_map",
        """graph (float[N,4,3,2] x) => (float[N,6,4] y)
        <int64[3] s = {0, 4, 6}, float[4] g, float[4] o, float[4,8] w1, float[8] b1, float[8,4] w2, float[4] b2,
         float[4] g2, float[4] o2>
        { r = Reshape (x, s)
          t = Transpose <perm = [0, 2, 1]> (r)
          n = LayerNormalization <axis = -1> (t, g, o)
          [up] m = MatMul (n, w1)
          q = com.microsoft.BiasGelu (m, b1)
          [down] d = MatMul (q, w2)
          y = com.microsoft.SkipLayerNormalization (d, t, g2, o2, b2) }""",
        {"up": CONVERT, "down": CONVERT},
        6,
        Options(scope="all"),
    ),
    Case(
        "fused_with_an_activation_that_the_operator_set_has_not",
        f"""{FLAT} <float[5,24] w>
        {{ f = Flatten (x)
          [fc] y = com.microsoft.FusedGemm <transB = 1, activation = "Celu", activation_alpha = 0.5> (f, w) }}""",
        {"fc": "FC402"},
        1,
        11,
        domains=MS,
    ),
    Case(
        "fused_with_an_activation_that_no_runtime_has_alone",
        f"""{FLAT} <float[5,24] w>
        {{ f = Flatten (x)
          [fc] y = com.microsoft.FusedGemm <transB = 1, activation = "Relu"> (f, w) }}""",
        {"fc": "FC402"},
        1,
        5,
        domains=MS,
    ),
]
