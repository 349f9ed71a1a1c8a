"""Blocks of real architectures in small: transformers, mixers, ConvNeXt, Swin, PoolFormer, norms of groups, gates."""

from __future__ import annotations

from fc2conv.options import Options

from .case import CONVERT, Case, Expectation

EVERY = Options(scope="all")


def norm(made: str, read: str, width: int, written_out: bool, label: str) -> tuple[str, str]:
    """What is declared for a LayerNormalization over the last dimension, and its nodes: one, or nine."""
    scale, offset = f"{label}_scale", f"{label}_offset"
    declared = f"float[{width}] {scale}, float[{width}] {offset}"
    if not written_out:
        return declared, f"{made} = LayerNormalization <axis = -1> ({read}, {scale}, {offset})"
    nodes = f"""{label}_mean = ReduceMean <axes = [-1]> ({read})
          {label}_less = Sub ({read}, {label}_mean)
          {label}_square = Pow ({label}_less, {label}_two)
          {label}_var = ReduceMean <axes = [-1]> ({label}_square)
          {label}_more = Add ({label}_var, {label}_eps)
          {label}_root = Sqrt ({label}_more)
          {label}_unit = Div ({label}_less, {label}_root)
          {label}_wide = Mul ({label}_unit, {scale})
          {made} = Add ({label}_wide, {offset})"""
    return f"{declared}, float {label}_two = {{2.0}}, float {label}_eps = {{0.00001}}", nodes


GELU = """{made}_d = Div ({read}, root2)
          {made}_e = Erf ({made}_d)
          {made}_p = Add ({made}_e, one)
          {made}_m = Mul ({read}, {made}_p)
          {made} = Mul ({made}_m, half)"""
GELU_CONSTANTS = "float root2 = {1.4142135}, float one = {1.0}, float half = {0.5}"


def vit(written_out: bool, options: Options, expectation: Expectation, layout: int) -> Case:
    """Patches, one transformer block with two heads, the mean of the tokens, a classifier."""
    d1, n1 = norm("a", "t", 8, written_out, "ln1")
    d2, n2 = norm("b", "r1", 8, written_out, "ln2")
    text = f"""graph (float[N,3,8,8] x) => (float[N,5] y)
        <float[8,3,4,4] k, int64[3] s = {{0, 8, -1}}, float[1,4,8] position, {d1}, {d2}, {GELU_CONSTANTS},
         float[8,24] wqkv, float[24] bqkv, int64[5] s_heads = {{0, 4, 3, 2, 4}}, int64[3] s_flat = {{0, 4, 8}},
         int64 i0 = {{0}}, int64 i1 = {{1}}, int64 i2 = {{2}}, float[8,8] wo, float[8] bo,
         float[8,16] w1, float[16] b1, float[16,8] w2, float[8] b2, float[5,8] wc, float[5] bc>
        {{ c = Conv <kernel_shape = [4, 4], strides = [4, 4]> (x, k)
          rows = Reshape (c, s)
          tokens = Transpose <perm = [0, 2, 1]> (rows)
          t = Add (tokens, position)
          {n1}
          [qkv] m = MatMul (a, wqkv)
          mb = Add (m, bqkv)
          split = Reshape (mb, s_heads)
          turned = Transpose <perm = [2, 0, 3, 1, 4]> (split)
          q = Gather <axis = 0> (turned, i0)
          key = Gather <axis = 0> (turned, i1)
          v = Gather <axis = 0> (turned, i2)
          keyt = Transpose <perm = [0, 1, 3, 2]> (key)
          [scores] p = MatMul (q, keyt)
          soft = Softmax <axis = -1> (p)
          [mix] o = MatMul (soft, v)
          back = Transpose <perm = [0, 2, 1, 3]> (o)
          flat = Reshape (back, s_flat)
          [proj] pr = MatMul (flat, wo)
          prb = Add (bo, pr)
          r1 = Add (t, prb)
          {n2}
          [up] u = MatMul (b, w1)
          ub = Add (b1, u)
          {GELU.format(made="g", read="ub")}
          [down] d = MatMul (g, w2)
          db = Add (b2, d)
          r2 = Add (r1, db)
          mean = ReduceMean <axes = [1], keepdims = 0> (r2)
          [classify] y = Gemm <transB = 1> (mean, wc, bc) }}"""
    name = f"vit_{'norms_written_out' if written_out else 'norms'}_{options.scope}"
    layers = dict.fromkeys(("qkv", "proj", "up", "down", "classify"), expectation)
    return Case(name, text, {**layers, "scores": "FC201", "mix": "FC201"}, layout, 17, options=options, tolerance=2e-5)


def mixer(options: Options, expectation: Expectation, layout: int) -> Case:
    """Token mixing (a sum over space) and channel mixing."""
    d1, n1 = norm("a", "t", 8, False, "ln1")
    d2, n2 = norm("b", "r1", 8, False, "ln2")
    text = f"""graph (float[N,3,8,8] x) => (float[N,5] y)
        <float[8,3,4,4] k, int64[3] s = {{0, 8, 4}}, {d1}, {d2}, float[4,6] wt1, float[6] bt1, float[6,4] wt2,
         float[4] bt2, float[8,16] w1, float[16] b1, float[16,8] w2, float[8] b2, float[5,8] wc>
        {{ c = Conv <kernel_shape = [4, 4], strides = [4, 4]> (x, k)
          rows = Reshape (c, s)
          t = Transpose <perm = [0, 2, 1]> (rows)
          {n1}
          at = Transpose <perm = [0, 2, 1]> (a)
          [tokens1] m1 = MatMul (at, wt1)
          m1b = Add (m1, bt1)
          m1r = Relu (m1b)
          [tokens2] m2 = MatMul (m1r, wt2)
          m2b = Add (m2, bt2)
          m2t = Transpose <perm = [0, 2, 1]> (m2b)
          r1 = Add (t, m2t)
          {n2}
          [channels1] u = MatMul (b, w1)
          ub = Add (u, b1)
          ur = Relu (ub)
          [channels2] d = MatMul (ur, w2)
          db = Add (d, b2)
          r2 = Add (r1, db)
          mean = ReduceMean <axes = [1], keepdims = 0> (r2)
          [classify] y = Gemm <transB = 1> (mean, wc) }}"""
    names = ("tokens1", "tokens2", "channels1", "channels2", "classify")
    return Case(f"mixer_{options.scope}", text, dict.fromkeys(names, expectation), layout, 17, options=options)


def convnext(written_out: bool, options: Options) -> Case:
    """Two blocks: a depthwise Conv, channels last, a norm, two layers, a scale, channels first, a residual."""
    declared, nodes = [], []
    for i in (1, 2):
        d, n = norm(f"a{i}", f"t{i}", 4, written_out, f"ln{i}")
        declared.append(
            f"float[4,1,3,3] k{i}, {d}, float[4,16] u{i}, float[16] ub{i}, float[16,4] d{i}, float[4] db{i}, "
            f"float[4] gamma{i}"
        )
        nodes.append(f"""c{i} = Conv <group = 4, kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (x{i}, k{i})
          t{i} = Transpose <perm = [0, 2, 3, 1]> (c{i})
          {n}
          [up{i}] m{i} = MatMul (a{i}, u{i})
          mb{i} = Add (ub{i}, m{i})
          {GELU.format(made=f"g{i}", read=f"mb{i}")}
          [down{i}] w{i} = MatMul (g{i}, d{i})
          wb{i} = Add (db{i}, w{i})
          s{i} = Mul (gamma{i}, wb{i})
          n{i} = Transpose <perm = [0, 3, 1, 2]> (s{i})
          x{i + 1} = Add (x{i}, n{i})""")
    text = f"""graph (float[N,4,4,4] x1) => (float[N,4,4,4] y) <{", ".join(declared)}, {GELU_CONSTANTS}>
        {{ {" ".join(nodes)}
          y = Relu (x3) }}"""
    name = f"convnext_{'norm_written_out' if written_out else 'norm'}_{options.scope}"
    return Case(
        name,
        text,
        {layer: [1, 1] for layer in ("up1", "down1", "up2", "down2")},
        0 if written_out else 4,
        17,
        options=options,
    )


SWIN = """graph (float[N,4,4,4] x) => (float[N,4,4,4] y)
        <float[4] g1, float[4] o1, float[4] g2, float[4] o2, int64[6] cut = {-1, 2, 2, 2, 2, 4},
         int64[3] windows = {-1, 4, 4}, float[4,4] wq, float[4,4] wk, float[4,4] wv, float[4,4] wo, float[4] bo,
         int64[6] uncut = {-1, 2, 2, 2, 2, 4}, int64[4] whole = {-1, 4, 4, 4}, float[4,8] w1, float[8] b1,
         float[8,4] w2, float[4] b2>
        { t = Transpose <perm = [0, 2, 3, 1]> (x)
          a = LayerNormalization <axis = -1> (t, g1, o1)
          c = Reshape (a, cut)
          p = Transpose <perm = [0, 1, 3, 2, 4, 5]> (c)
          w = Reshape (p, windows)
          [q] q = MatMul (w, wq)
          [k] k = MatMul (w, wk)
          [v] v = MatMul (w, wv)
          kt = Transpose <perm = [0, 2, 1]> (k)
          [scores] s = MatMul (q, kt)
          soft = Softmax <axis = -1> (s)
          [mix] m = MatMul (soft, v)
          [proj] o = MatMul (m, wo)
          ob = Add (o, bo)
          u = Reshape (ob, uncut)
          pt = Transpose <perm = [0, 1, 3, 2, 4, 5]> (u)
          back = Reshape (pt, whole)
          r1 = Add (t, back)
          b = LayerNormalization <axis = -1> (r1, g2, o2)
          [up] h = MatMul (b, w1)
          hb = Add (h, b1)
          hr = Relu (hb)
          [down] d = MatMul (hr, w2)
          db = Add (d, b2)
          r2 = Add (r1, db)
          y = Transpose <perm = [0, 3, 1, 2]> (r2) }"""
KEPT_OR = ("FC301", CONVERT)

CASES = [
    vit(False, Options(), (CONVERT, "FC301"), 7),
    vit(True, Options(), (CONVERT, "FC301"), 6),
    vit(False, EVERY, CONVERT, 10),
    vit(True, EVERY, CONVERT, 6),
    mixer(Options(), (CONVERT, "FC301"), 4),
    mixer(EVERY, CONVERT, 8),
    convnext(False, Options()),
    convnext(True, Options()),
    convnext(False, EVERY),
    Case(
        "swin_windows_spatial",
        SWIN,
        {**dict.fromkeys(("q", "k", "v", "proj", "up", "down"), KEPT_OR), "scores": "FC201", "mix": "FC201"},
        9,
        17,
    ),
    Case(
        "swin_windows_all",
        SWIN,
        {**dict.fromkeys(("q", "k", "v", "proj", "up", "down"), CONVERT), "scores": "FC201", "mix": "FC201"},
        16,
        17,
        options=EVERY,
    ),
    Case(
        "poolformer_group_norm_by_reshape",
        """graph (float[N,4,4,4] x) => (float[N,5] y)
        <int64[3] grouped = {0, 1, -1}, float[1] ones = {1.0}, float[1] zeros = {0.0}, int64[4] map = {-1, 4, 4, 4},
         float[4,1,1] scale, float[4,1,1] offset, int64[3] tokens = {0, 4, -1}, float[4,8] w1, float[8] b1,
         float[8,4] w2, float[4] b2, float[5,4] wc>
        { g = Reshape (x, grouped)
          i = InstanceNormalization (g, ones, zeros)
          m = Reshape (i, map)
          a = Mul (m, scale)
          b = Add (a, offset)
          p = AveragePool <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (b)
          d = Sub (p, b)
          r = Add (x, d)
          f = Reshape (r, tokens)
          t = Transpose <perm = [0, 2, 1]> (f)
          [up] u = MatMul (t, w1)
          ub = Add (u, b1)
          ur = Relu (ub)
          [down] v = MatMul (ur, w2)
          vb = Add (v, b2)
          s = Add (t, vb)
          mean = ReduceMean <axes = [1], keepdims = 0> (s)
          [classify] y = Gemm <transB = 1> (mean, wc) }""",
        {"up": [1, 1], "down": [1, 1], "classify": [1, 1]},
        3,
    ),
    Case(
        "group_norm_of_a_flattened_map",
        """graph (float[N,4,3,2] x) => (float[N,5] y)
        <int64[3] grouped = {0, 2, 12}, float[2] ones = {1.0, 1.0}, float[2] zeros = {0.0, 0.0},
         int64[2] flat = {-1, 24}, float[24] scale, float[5,24] w>
        { g = Reshape (x, grouped)
          i = InstanceNormalization (g, ones, zeros)
          f = Reshape (i, flat)
          a = Mul (f, scale)
          [fc] y = Gemm <transB = 1> (a, w) }""",
        {"fc": [1, 1]},
        3,
    ),
    Case(
        "se_block_behind_a_conv_with_hard_sigmoid",
        """graph (float[N,3,6,6] x) => (float[N,5] y)
        <float[8,3,3,3] k, float[4,8] w1, float[4] b1, float[8,4] w2, float[8] b2, int64[2] u = {2, 3}, float[5,8] wc>
        { c = Conv <kernel_shape = [3, 3]> (x, k)
          m = ReduceMean <axes = [2, 3], keepdims = 0> (c)
          [squeeze] a = Gemm <transB = 1> (m, w1, b1)
          r = Relu (a)
          [excite] e = Gemm <transB = 1> (r, w2, b2)
          h = HardSigmoid <alpha = 0.1666667, beta = 0.5> (e)
          g = Unsqueeze (h, u)
          s = Mul (c, g)
          p = GlobalAveragePool (s)
          f = Flatten (p)
          [fc] y = Gemm <transB = 1> (f, wc) }""",
        {"squeeze": [1, 1], "excite": [1, 1], "fc": [1, 1]},
        1,
    ),
]
