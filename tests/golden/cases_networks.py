"""Whole networks in small: audio, video, lines of text, siamese towers, residual blocks."""

from __future__ import annotations

from fc2conv.options import Options

from .case import Case
from .cases_blocks import EVERY

CASES = [
    *(
        Case(
            f"wav2vec_{options.scope}",
            """graph (float[N,32] x) => (float[N,6,5] y)
            <int64[1] one = {1}, float[4,1,4] k1, float[6,4,3] k2, float[6] g1, float[6] o1, float[6,8] w, float[8] b,
             float[8] g2, float[8] o2, float[8,5] v, float[5] c>
            { u = Unsqueeze (x, one)
              a = Conv <kernel_shape = [4], strides = [2]> (u, k1)
              r = Relu (a)
              b1 = Conv <kernel_shape = [3], strides = [2], pads = [0, 0]> (r, k2)
              q = MaxPool <kernel_shape = [2]> (b1)
              t = Transpose <perm = [0, 2, 1]> (q)
              n = LayerNormalization <axis = -1> (t, g1, o1)
              [project] m = MatMul (n, w)
              mb = Add (b, m)
              e = LayerNormalization <axis = -1> (mb, g2, o2)
              [head] h = MatMul (e, v)
              y = Add (c, h) }""",
            {"project": expectation, "head": expectation},
            layout,
            17,
            options=options,
        )
        for options, expectation, layout in ((Options(), ("FC301", [1]), 2), (EVERY, [1], 6))
    ),
    Case(
        "audio_1d_mean_and_deviation_pooling",
        """graph (float[N,1,24] x) => (float[N,5] y)
        <float[4,1,5] k, float[8,8] w, float[8] b, float[5,8] v, float eps = {0.001}>
        { c = Conv <kernel_shape = [5]> (x, k)
          r = Relu (c)
          mean = ReduceMean <axes = [2], keepdims = 0> (r)
          whole = ReduceMean <axes = [2], keepdims = 1> (r)
          less = Sub (r, whole)
          square = Mul (less, less)
          var = ReduceMean <axes = [2], keepdims = 0> (square)
          safe = Add (var, eps)
          std = Sqrt (safe)
          both = Concat <axis = 1> (mean, std)
          [fc1] h = Gemm <transB = 1> (both, w, b)
          q = Relu (h)
          [fc2] y = Gemm <transB = 1> (q, v) }""",
        {"fc1": [1], "fc2": [1]},
        1,
    ),
    Case(
        "video_3d_kernel",
        """graph (float[N,2,4,6,6] x) => (float[N,5] y) <float[3,2,3,3,3] k, float[8,24] w, float[8] b, float[5,8] v>
        { c = Conv <kernel_shape = [3, 3, 3]> (x, k)
          r = Relu (c)
          p = MaxPool <kernel_shape = [1, 2, 2], strides = [1, 2, 2]> (r)
          f = Flatten (p)
          [fc1] h = Gemm <transB = 1> (f, w, b)
          q = Relu (h)
          [fc2] y = Gemm <transB = 1> (q, v) }""",
        {"fc1": [2, 2, 2], "fc2": [1, 1, 1]},
        1,
    ),
    Case(
        "video_3d_global_pool",
        """graph (float[N,2,4,4,4] x) => (float[N,5] y) <float[3,2,3,3,3] k, float[5,3] w, float[5] b>
        { c = Conv <kernel_shape = [3, 3, 3], pads = [1, 1, 1, 1, 1, 1]> (x, k)
          p = GlobalAveragePool (c)
          f = Flatten (p)
          [fc] y = Gemm <transB = 1> (f, w, b) }""",
        {"fc": [1, 1, 1]},
        1,
    ),
    Case(
        "crnn_squeezed_height",
        """graph (float[N,3,4,8] x) => (float[8,N,5] y) <float[6,3,4,1] k, int64[1] h = {2}, float[6,5] w, float[5] b>
        { c = Conv <kernel_shape = [4, 1]> (x, k)
          s = Squeeze (c, h)
          t = Transpose <perm = [2, 0, 1]> (s)
          [fc] m = MatMul (t, w)
          a = Add (b, m)
          y = LogSoftmax <axis = 2> (a) }""",
        {"fc": [1, 1]},
        2,
    ),
    Case(
        "crnn_height_and_channels_summed",
        """graph (float[N,3,4,8] x) => (float[N,8,5] y)
        <float[6,3,1,1] k, int64[3] s = {0, 24, 8}, float[24,7] w, float[7] b, float[7,5] v>
        { c = Conv <kernel_shape = [1, 1]> (x, k)
          f = Reshape (c, s)
          t = Transpose <perm = [0, 2, 1]> (f)
          [embed] m = MatMul (t, w)
          a = Add (b, m)
          r = Relu (a)
          [classify] y = MatMul (r, v) }""",
        {"embed": [4, 1], "classify": [1, 1]},
        2,
    ),
    Case(
        "siamese_towers_of_two_layers",
        """graph (float[N,3,5,5] x, float[N,3,5,5] z) => (float[N,1] y)
        <float[4,3,3,3] k, float[8,36] w1, float[8] b1, float[6,8] w2, float[1,6] w3>
        { cx = Conv <kernel_shape = [3, 3]> (x, k)
          cz = Conv <kernel_shape = [3, 3]> (z, k)
          fx = Flatten (cx)
          fz = Flatten (cz)
          [x1] x1 = Gemm <transB = 1> (fx, w1, b1)
          [z1] z1 = Gemm <transB = 1> (fz, w1, b1)
          xr = Relu (x1)
          zr = Relu (z1)
          [x2] x2 = Gemm <transB = 1> (xr, w2)
          [z2] z2 = Gemm <transB = 1> (zr, w2)
          d = Sub (x2, z2)
          a = Abs (d)
          [score] g = Gemm <transB = 1> (a, w3)
          y = Sigmoid (g) }""",
        {"x1": [3, 3], "z1": [3, 3], "x2": [1, 1], "z2": [1, 1], "score": [1, 1]},
        1,
    ),
    Case(
        "residual_blocks_with_batch_norms",
        """graph (float[N,4,3,2] x) => (float[N,5] y)
        <float[8,24] w0, float[8] b0, float[8,8] w1, float[8,8] w2, float[8] s1, float[8] o1, float[8] m1,
         float[8] v1var, float[8,8] w3, float[8,8] w4, float[5,8] w5>
        { f = Flatten (x)
          [fc0] a = Gemm <transB = 1> (f, w0, b0)
          [fc1] p = Gemm <transB = 1> (a, w1)
          n = BatchNormalization (p, s1, o1, m1, v1var)
          r = Relu (n)
          [fc2] q = Gemm <transB = 1> (r, w2)
          c = Add (a, q)
          cr = Relu (c)
          [fc3] u = MatMul (cr, w3)
          ur = Relu (u)
          [fc4] v = MatMul (ur, w4)
          e = Add (v, cr)
          [fc5] y = Gemm <transB = 1> (e, w5) }""",
        {"fc0": [3, 2], **{layer: [1, 1] for layer in ("fc1", "fc2", "fc3", "fc4", "fc5")}},
        1,
    ),
]
