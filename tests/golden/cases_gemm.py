"""Gemm in every form of its attributes and of C."""

from __future__ import annotations

from onnx import ModelProto

from .case import CONVERT, Case

FLAT = "graph (float[N,4,3,2] x) => (float[N,5] y)"


def gemm(name: str, attributes: str = "transB = 1", c: str = "", weight: str = "[5,24]", layout: int = 1) -> Case:
    """Flatten and one Gemm; `c` is the type of C, if there is one."""
    declared = f"float{weight} w" + (f", float{c} c" if c else "")
    operands = "f, w, c" if c else "f, w"
    text = f"{FLAT} <{declared}> {{ f = Flatten (x)\n [fc] y = Gemm <{attributes}> ({operands}) }}"
    return Case(name, text, {"fc": [3, 2]}, layout)


def with_scalar(value: str, name: str) -> Case:
    text = f"""{FLAT} <float[5,24] w, float c = {{{value}}}>
    {{ f = Flatten (x)
       [fc] y = Gemm <transB = 1> (f, w, c) }}"""
    return Case(name, text, {"fc": [3, 2]}, 1)


STATIC = "graph (float[3,4,3,2] x) => (float[3,5] y)"


def static_c(name: str, c: str) -> Case:
    """A C with a batch dimension can't be the Conv's bias."""
    text = f"{STATIC} <float[24,5] w, float{c} c> {{ f = Flatten (x)\n [fc] y = Gemm <beta = 0.5> (f, w, c) }}"
    return Case(name, text, {"fc": [3, 2]}, 2)


def legacy_types(model: ModelProto) -> None:
    """IR 3 lists every initializer as a graph input."""
    for tensor in model.graph.initializer:
        value = model.graph.input.add(name=tensor.name)
        value.type.tensor_type.elem_type = tensor.data_type
        for size in tensor.dims:
            value.type.tensor_type.shape.dim.add(dim_value=size)


CASES = [
    gemm("gemm_transb_1"),
    gemm("gemm_transb_absent", "alpha = 1.0", weight="[24,5]"),
    gemm("gemm_transb_present_but_0", "transA = 0, transB = 0", weight="[24,5]", c="[5]"),
    gemm("gemm_alpha_and_beta", "alpha = 0.3, beta = 1.7, transB = 1", c="[5]"),
    gemm("gemm_alpha_0", "alpha = 0.0, transB = 1", c="[5]"),
    gemm("gemm_beta_0", "beta = 0.0, transB = 1", c="[5]"),
    gemm("gemm_negative_alpha_no_c", "alpha = -2.5, transB = 0", weight="[24,5]"),
    with_scalar("0.75", "gemm_c_is_a_scalar"),
    gemm("gemm_c_is_1", c="[1]"),
    gemm("gemm_c_is_1_1", c="[1,1]"),
    gemm("gemm_c_is_m", c="[5]"),
    gemm("gemm_c_is_1_m", c="[1,5]"),
    static_c("gemm_c_is_n_1", "[3,1]"),
    static_c("gemm_c_is_n_m", "[3,5]"),
    Case(
        "gemm_c_is_an_activation",
        """graph (float[N,4,3,2] x, float[N,5] c) => (float[N,5] y) <float[5,24] w>
        { f = Flatten (x)
          [fc] y = Gemm <beta = 0.5, transB = 1> (f, w, c) }""",
        {"fc": [3, 2]},
        2,
    ),
    Case(
        "gemm_c_is_a_vector_that_the_caller_gives",
        """graph (float[N,4,3,2] x, float[5] c) => (float[N,5] y) <float[5,24] w>
        { f = Flatten (x)
          [fc] y = Gemm <beta = 2.0, transB = 1> (f, w, c) }""",
        {"fc": [3, 2]},
        2,
    ),
    Case(
        "gemm_c_is_another_layer_of_the_same_map",
        """graph (float[N,4,3,2] x) => (float[N,5] y) <float[5,24] w, float[5,24] v, float[5] b>
        { f = Flatten (x)
          [fc1] c = Gemm <transB = 1> (f, v, b)
          [fc2] y = Gemm <transB = 1, beta = -1.0> (f, w, c) }""",
        {"fc1": [3, 2], "fc2": [3, 2]},
        1,
    ),
    Case(
        "gemm_transa_undoes_a_transpose",
        """graph (float[N,4,3,2] x) => (float[N,5] y) <float[5,24] w, float[5] c>
        { f = Flatten (x)
          t = Transpose <perm = [1, 0]> (f)
          [fc] y = Gemm <transA = 1, transB = 1> (t, w, c) }""",
        {"fc": [3, 2]},
        1,
    ),
    Case(
        "gemm_transa_contracts_the_batch",
        """graph (float[6,4,1,1] x) => (float[4,5] y) <float[6,5] w, float[5] c>
        { f = Flatten (x)
          [fc] y = Gemm <transA = 1> (f, w, c) }""",
        {"fc": "FC103"},
    ),
    Case(
        "gemm_chain_of_three_with_relu",
        """graph (float[N,4,3,2] x) => (float[N,3] y)
        <float[8,24] w6, float[8] b6, float[7,8] w7, float[7] b7, float[7,3] w8>
        { f = Flatten (x)
          [fc6] a = Gemm <transB = 1> (f, w6, b6)
          a1 = Relu (a)
          [fc7] b = Gemm <transB = 1> (a1, w7, b7)
          b1 = Relu (b)
          [fc8] y = Gemm (b1, w8) }""",
        {"fc6": [3, 2], "fc7": [1, 1], "fc8": [1, 1]},
        1,
    ),
    Case(
        "gemm_result_is_an_output_and_read_twice",
        """graph (float[N,4,3,2] x) => (float[N,5] y, float[N,5] z, float[N,2] u)
        <float[5,24] w, float[5] c, float[2,5] v>
        { f = Flatten (x)
          [fc] y = Gemm <transB = 1> (f, w, c)
          z = Relu (y)
          [fc2] u = Gemm <transB = 1> (y, v) }""",
        {"fc": [3, 2], "fc2": [1, 1]},
        3,
    ),
    Case(
        "gemm_flattened_map_is_an_output",
        """graph (float[N,4,3,2] x) => (float[N,24] f, float[N,5] y) <float[5,24] w>
        { f = Flatten (x)
          [fc] y = Gemm <transB = 1> (f, w) }""",
        {"fc": [3, 2]},
        2,
    ),
    Case(
        "gemm_opset_7",
        """graph (float[2,4,3,2] x) => (float[2,5] y) <float[5,24] w, float[1,5] c>
        { f = Flatten (x)
          [fc] y = Gemm <transB = 1> (f, w, c) }""",
        {"fc": [3, 2]},
        1,
        opset=7,
        ir_version=3,
        edit=legacy_types,
    ),
    Case(
        "gemm_ir_version_3_lists_initializers_as_inputs",
        """graph (float[N,4,3,2] x) => (float[N,3] y) <float[5,24] w, float[5] c, float[5,3] v, float[3] d>
        { f = Flatten (x)
          [fc1] a = Gemm <transB = 1> (f, w, c)
          r = Relu (a)
          [fc2] y = Gemm (r, v, d) }""",
        {"fc1": [3, 2], "fc2": [1, 1]},
        1,
        opset=9,
        ir_version=3,
        edit=legacy_types,
    ),
    Case(
        "gemm_one_output_and_one_channel",
        """graph (float[N,1,1,1] x) => (float[N,1] y) <float[1,1] w, float[1] c>
        { f = Flatten (x)
          [fc] y = Gemm <transB = 1> (f, w, c) }""",
        {"fc": [1, 1]},
        1,
    ),
    Case(
        "gemm_float16",
        """graph (float16[N,4,3,2] x) => (float16[N,5] y) <float16[5,24] w, float16[5] c>
        { f = Flatten (x)
          [fc] y = Gemm <alpha = 0.5, transB = 1> (f, w, c) }""",
        {"fc": [3, 2]},
        1,
        tolerance=4e-3,
    ),
    Case(
        "gemm_float64_has_no_conv_in_the_runtime",
        """graph (double[N,4,3,2] x) => (double[N,5] y) <double[5,24] w>
        { f = Flatten (x)
          [fc] y = Gemm <transB = 1> (f, w) }""",
        {"fc": "FC401"},
    ),
    Case(
        "gemm_half_layer_behind_a_cast",
        """graph (float[N,4,3,2] x) => (float[N,5] y) <float16[5,24] w, float16[5] c>
        { f = Flatten (x)
          h = Cast <to = 10> (f)
          [fc] g = Gemm <transB = 1> (h, w, c)
          y = Cast <to = 1> (g) }""",
        {"fc": [3, 2]},
        1,
        tolerance=4e-3,
    ),
    Case(
        "gemm_only_some_fit_in_one_model",
        """graph (float[N,4,3,2] x, float[N,7] v) => (float[N,5] y, float[N,2] z) <float[5,24] w, float[2,7] u>
        { f = Flatten (x)
          [fc] y = Gemm <transB = 1> (f, w)
          [other] z = Gemm <transB = 1> (v, u) }""",
        {"fc": [3, 2], "other": "FC101@other"},
        1,
    ),
    Case(
        "gemm_bias_is_a_computed_constant",
        """graph (float[N,4,3,2] x) => (float[N,5] y) <float[5,24] w, float[5] b, float two = {2.0}>
        { f = Flatten (x)
          c = Mul (b, two)
          [fc] y = Gemm <transB = 1, beta = 0.5> (f, w, c) }""",
        {"fc": CONVERT},
        2,
    ),
]
