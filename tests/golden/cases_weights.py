"""Where weights come from, and who else reads them."""

from __future__ import annotations

from onnx import ModelProto, TensorProto, helper

from fc2conv.options import Options

from .case import CONVERT, Case

FLAT = "graph (float[N,4,3,2] x) => (float[N,5] y)"


def computed(name: str, declared: str, nodes: str, layout: int = 1, alternatives: tuple[str, ...] = ()) -> Case:
    """Flatten and a MatMul whose weight `w` is made by nodes."""
    text = f"{FLAT} <{declared}> {{ {nodes}\n f = Flatten (x)\n [fc] y = MatMul (f, w) }}"
    return Case(name, text, {"fc": ([3, 2], *alternatives)}, layout)


def list_weight_as_input(model: ModelProto) -> None:
    """From IR 4 on this lets the caller override it."""
    tensor = next(t for t in model.graph.initializer if t.name == "w")
    model.graph.input.append(helper.make_tensor_value_info("w", tensor.data_type, tensor.dims))


def list_bounds_as_inputs(model: ModelProto) -> None:
    for name in ("begin", "end"):
        model.graph.input.append(helper.make_tensor_value_info(name, TensorProto.INT64, [2]))


def weight_to_constant(model: ModelProto) -> None:
    """Moves the initializer `w` into a Constant node, as older PyTorch exports hold it."""
    tensor = next(t for t in model.graph.initializer if t.name == "w")
    node = helper.make_node("Constant", [], ["w"], value=tensor)
    model.graph.initializer.remove(tensor)
    model.graph.node.insert(0, node)


OVERRIDABLE = f"""{FLAT} <float[5,24] w, float[5] c>
{{ f = Flatten (x)
   [fc] y = Gemm <transB = 1> (f, w, c) }}"""

CUT = """graph (float[N,2,4,4] x) => (float[N,5] y)
<int64[2] begin = {0,0}, int64[2] end = {2,4}, int64[2] axes = {2,3}, float[16,5] w>
{ m = Slice (x, begin, end, axes)
  f = Flatten (m)
  [fc] y = MatMul (f, w) }"""

CASES = [
    Case(
        "weight_shared_with_transb_0_and_1",
        """graph (float[N,6,1,1] x) => (float[N,6] y) <float[6,6] w>
        { f = Flatten (x)
          [fc1] a = Gemm <transB = 1> (f, w)
          r = Relu (a)
          [fc2] y = Gemm <transB = 0> (r, w) }""",
        {"fc1": [1, 1], "fc2": [1, 1]},
        1,
    ),
    Case(
        "weight_shared_by_maps_of_two_layouts",
        """graph (float[N,4,3,2] x, float[N,6,2,2] z) => (float[N,5] y, float[N,5] u) <float[5,24] w>
        { f = Flatten (x)
          g = Flatten (z)
          [fc1] y = Gemm <transB = 1> (f, w)
          [fc2] u = Gemm <transB = 1> (g, w) }""",
        {"fc1": [3, 2], "fc2": [2, 2]},
        2,
    ),
    Case(
        "weight_shared_nchw_and_nhwc",
        """graph (float[N,4,3,2] x) => (float[N,5] y) <float[5,24] w>
        { f = Flatten (x)
          t = Transpose <perm = [0, 2, 3, 1]> (x)
          g = Flatten (t)
          [fc1] a = Gemm <transB = 1> (f, w)
          [fc2] b = Gemm <transB = 1> (g, w)
          y = Sub (a, b) }""",
        {"fc1": [3, 2], "fc2": [3, 2]},
        1,
    ),
    Case(
        "weight_shared_as_siamese_nets_do",
        """graph (float[N,4,3,2] x, float[N,4,3,2] z) => (float[N,5] y) <float[5,24] w, float[5] c>
        { f = Flatten (x)
          g = Flatten (z)
          [left] a = Gemm <transB = 1> (f, w, c)
          [right] b = Gemm <transB = 1> (g, w, c)
          d = Sub (a, b)
          y = Abs (d) }""",
        {"left": [3, 2], "right": [3, 2]},
        1,
    ),
    Case(
        "weight_is_a_constant_node",
        f"{FLAT} <float[24,5] w> {{ f = Flatten (x)\n [fc] y = MatMul (f, w) }}",
        {"fc": [3, 2]},
        1,
        edit=weight_to_constant,
    ),
    computed(
        "weight_is_constant_of_shape",
        "int64[2] shape = {24, 5}",
        "w = ConstantOfShape <value = float[1] {0.02}> (shape)",
    ),
    computed("weight_is_a_transpose", "float[5,24] v", "w = Transpose <perm = [1, 0]> (v)"),
    computed("weight_is_a_reshape", "float[4,3,2,5] v, int64[2] shape = {24, 5}", "w = Reshape (v, shape)"),
    computed(
        "weight_is_a_transpose_of_a_reshape",
        "float[5,4,6] v, int64[2] shape = {5, -1}",
        "r = Reshape (v, shape)\n w = Transpose (r)",
    ),
    computed("weight_is_a_cast", "float16[24,5] v", "w = Cast <to = 1> (v)"),
    computed("weight_is_an_identity", "float[24,5] v", "w = Identity (v)"),
    computed("weight_is_scaled", "float[24,5] v, float s = {0.5}", "w = Mul (v, s)"),
    computed(
        "weight_is_scaled_by_output",
        "float[24,5] v, float[1,5] s",
        "w = Mul (v, s)",
        alternatives=("FC206",),
    ),
    Case(
        "weight_is_a_product_of_two",
        f"""{FLAT} <float[24,2] u, float[2,5] v>
        {{ [low_rank] w = MatMul (u, v)
          f = Flatten (x)
          [fc] y = MatMul (f, w) }}""",
        {"fc": ([3, 2], "FC206"), "low_rank": "FC207"},
        1,
    ),
    computed("weight_is_squashed", "float[24,5] v", "w = Tanh (v)", alternatives=("FC206",)),
    computed("weight_is_a_flatten", "float[24,5,1] v", "w = Flatten (v)"),
    Case(
        "weight_is_a_graph_output",
        """graph (float[N,4,3,2] x) => (float[N,5] y, float[5,24] copy) <float[5,24] w>
        { f = Flatten (x)
          copy = Identity (w)
          [fc] y = Gemm <transB = 1> (f, w) }""",
        {"fc": [3, 2]},
        1,
    ),
    Case(
        "weight_is_read_by_a_norm_penalty",
        """graph (float[N,4,3,2] x) => (float[N,5] y, float penalty) <float[24,5] w>
        { f = Flatten (x)
          squared = Mul (w, w)
          penalty = ReduceSum <keepdims = 0> (squared)
          [fc] y = MatMul (f, w) }""",
        {"fc": [3, 2]},
        1,
    ),
    Case(
        "weight_is_tied_to_an_embedding",
        """graph (float[N,4,3,2] x, int64[N] ids) => (float[N,5] y, float[N,24] rows) <float[5,24] w>
        { f = Flatten (x)
          rows = Gather (w, ids)
          [fc] y = Gemm <transB = 1> (f, w) }""",
        {"fc": [3, 2]},
        1,
    ),
    Case("weight_is_overridable", OVERRIDABLE, {"fc": "FC202"}, edit=list_weight_as_input),
    Case(
        "weight_is_overridable_but_frozen",
        OVERRIDABLE,
        {"fc": [3, 2]},
        1,
        edit=list_weight_as_input,
        options=Options(freeze_initializers=True),
    ),
    Case("bounds_are_overridable", CUT, {"fc": "FC104"}, edit=list_bounds_as_inputs),
    Case(
        "bounds_are_overridable_but_frozen",
        CUT,
        {"fc": [2, 4]},
        1,
        edit=list_bounds_as_inputs,
        options=Options(freeze_initializers=True),
    ),
    Case(
        "weight_is_a_graph_input",
        """graph (float[N,4,3,2] x, float[5,24] w) => (float[N,5] y)
        { f = Flatten (x)
          [fc] y = Gemm <transB = 1> (f, w) }""",
        {"fc": "FC201"},
    ),
    Case(
        "weight_of_equal_values_still_lands_right",
        """graph (float[N,2,1,2] x) => (float[N,2] y) <float[2,4] w = {1, 1, 1, 1, 2, 2, 2, 2}, float[2] c = {0, 0}>
        { f = Flatten (x)
          [fc] y = Gemm <transB = 1> (f, w, c) }""",
        {"fc": [1, 2]},
        1,
    ),
    Case(
        "weight_holds_signed_zeros_and_extremes",
        """graph (float[N,2,1,2] x) => (float[N,2] y) <float[2,4] w = {0, -0.0, 1.2e-38, -1e30, -1.2e-38, 2, 3, 1e20}>
        { f = Flatten (x)
          [fc] y = Gemm <transB = 1> (f, w) }""",
        {"fc": [1, 2]},
        1,
    ),
    Case(
        "bias_is_shared_and_of_zeros",
        """graph (float[N,4,3,2] x) => (float[N,2] y, float[N,2] z)
        <float[2,24] w, float[2,24] v, float[2] c = {0, 0}>
        { f = Flatten (x)
          [fc1] y = Gemm <transB = 1> (f, w, c)
          [fc2] z = Gemm <transB = 1> (f, v, c) }""",
        {"fc1": [3, 2], "fc2": [3, 2]},
        2,
    ),
    Case(
        "weight_is_also_a_bias_elsewhere",
        """graph (float[N,4,1,1] x) => (float[N,4] y, float[N,4,4,4] z) <float[4,4] w>
        { f = Flatten (x)
          [fc] y = Gemm <transB = 1> (f, w)
          z = Add (x, w) }""",
        {"fc": CONVERT},
        1,
    ),
]
