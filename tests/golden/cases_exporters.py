"""Whole small graphs as each exporter writes them."""

from __future__ import annotations

from .case import Case
from .cases_gemm import legacy_types

CASES = [
    Case(
        "pytorch_script_opset_11_static",
        """graph (float[1,3,8,8] input) => (float[1,10] "19")
        <float[4,3,3,3] "features.0.weight", float[4] "features.0.bias",
         float[8,64] "classifier.1.weight", float[8] "classifier.1.bias",
         float[10,8] "classifier.4.weight", float[10] "classifier.4.bias">
        { c = Conv <dilations = [1, 1], group = 1, kernel_shape = [3, 3], pads = [1, 1, 1, 1], strides = [2, 2]>
            (input, "features.0.weight", "features.0.bias")
          r = Relu (c)
          f = Flatten <axis = 1> (r)
          [Gemm_3] g = Gemm <alpha = 1.0, beta = 1.0, transB = 1> (f, "classifier.1.weight", "classifier.1.bias")
          s = Relu (g)
          [Gemm_5] "19" = Gemm <alpha = 1.0, beta = 1.0, transB = 1> (s, "classifier.4.weight",
           "classifier.4.bias") }""",
        {"Gemm_3": [4, 4], "Gemm_5": [1, 1]},
        1,
        opset=11,
        ir_version=6,
    ),
    Case(
        "pytorch_script_opset_13_dynamic_view",
        """graph (float[batch,1,20] input) => (float[batch,6] output)
        <float[4,1,3] w0, float[4] b0, float[8,40] w1, float[8] b1, float[6,8] w2, float[6] b2>
        { c = Conv <dilations = [1], group = 1, kernel_shape = [3], pads = [1, 1], strides = [2]> (input, w0, b0)
          r = Relu (c)
          s = Shape (r)
          i0 = Constant <value = int64 {0}> ()
          g = Gather <axis = 0> (s, i0)
          a0 = Constant <value = int64[1] {0}> ()
          u = Unsqueeze (g, a0)
          m1 = Constant <value = int64[1] {-1}> ()
          t = Concat <axis = 0> (u, m1)
          f = Reshape (r, t)
          ["/fc1/Gemm"] h = Gemm <alpha = 1.0, beta = 1.0, transB = 1> (f, w1, b1)
          q = Relu (h)
          ["/fc2/Gemm"] output = Gemm <alpha = 1.0, beta = 1.0, transB = 1> (q, w2, b2) }""",
        {"/fc1/Gemm": [10], "/fc2/Gemm": [1]},
        1,
        sizes={"batch": 2},
    ),
    Case(
        "pytorch_dynamo_opset_18",
        """graph (float[1,1,12,12] x) => (float[1,6] linear_1)
        <float[4,1,3,3] w0, float[4] b0, int64[2] val_5 = {1, 144}, float[8,144] w1, float[8] b1,
         float[8,6] w2, float[6] b2>
        { [node_conv2d] conv2d = Conv <auto_pad = "NOTSET", group = 1, strides = [1, 1], pads = [1, 1, 1, 1],
            dilations = [1, 1]> (x, w0, b0)
          [node_relu] relu = Relu (conv2d)
          [node_max_pool2d] pool = MaxPool <auto_pad = "NOTSET", ceil_mode = 0, dilations = [1, 1],
           kernel_shape = [2, 2],
            pads = [0, 0, 0, 0], storage_order = 0, strides = [2, 2]> (relu)
          [node_view] view = Reshape <allowzero = 1> (pool, val_5)
          [node_linear] linear = Gemm <alpha = 1.0, beta = 1.0, transA = 0, transB = 1> (view, w1, b1)
          [node_relu_1] relu_1 = Relu (linear)
          [node_matmul] val_6 = MatMul (relu_1, w2)
          [node_add] linear_1 = Add (val_6, b2) }""",
        {"node_linear": [6, 6], "node_matmul": [1, 1]},
        1,
        opset=18,
        ir_version=10,
    ),
    Case(
        "pytorch_batch_norm_with_shared_statistics",
        """graph (float[1,3,8,8] x) => (float[1,5] y)
        <float[4,3,3,3] k, float[6,144] w1, float[6] b1, float[6] g, float[6] nvar, float[5,6] w2, float[5] b2>
        { mean = Identity (g)
          c = Conv (x, k)
          f = Flatten (c)
          [fc1] a = Gemm <transB = 1> (f, w1, b1)
          n = BatchNormalization <epsilon = 0.00001, momentum = 0.9> (a, g, b1, mean, nvar)
          r = Relu (n)
          [fc2] y = Gemm <transB = 1> (r, w2, b2) }""",
        {"fc1": [6, 6], "fc2": [1, 1]},
        1,
        opset=11,
    ),
    Case(
        "tf2onnx_flatten_of_a_dynamic_batch",
        """graph (float[unk__1,8,8,3] x0) => (float[unk__2,5] "Identity:0")
        <float[4,3,3,3] kernel, float[4] bias, int64[4] nhwc = {0, 2, 3, 1}, int64[1] zero = {0}, int64[1] one = {1},
         int32[1] minus_one = {-1}, float[256,5] dense>
        { ["conv__1"] t0 = Transpose <perm = [0, 3, 1, 2]> (x0)
          [Conv2D] c = Conv <dilations = [1, 1], strides = [1, 1], kernel_shape = [3, 3], pads = [1, 1, 1, 1],
           group = 1>
            (t0, kernel, bias)
          ["Transpose__2"] t1 = Transpose <perm = [0, 2, 3, 1]> (c)
          ["Shape__3"] s = Shape (c)
          [Shape] p = Gather (s, nhwc)
          ["Shape__4"] i = Cast <to = 6> (p)
          [strided_slice] b = Slice (i, zero, one, zero)
          ["Reshape/shape_Concat__5"] d = Concat <axis = 0> (b, minus_one)
          ["Reshape__6"] l = Cast <to = 7> (d)
          [Reshape] f = Reshape (t1, l)
          [MatMul] "Identity:0" = MatMul (f, dense) }""",
        {"MatMul": [8, 8]},
        2,
        sizes={"unk__1": 2, "unk__2": 2},
    ),
    Case(
        "tf2onnx_channels_last_bias_and_batch_norm_by_parts",
        """graph (float[N,6,6,3] x0) => (float[N,5] out)
        <float[4,3,3,3] kernel, float[4] bias, int64[2] s = {-1, 64}, float[64,8] d1, float[8] b1, float[8] scale,
         float[8] offset, float[8,5] d2, float[5] b2>
        { t0 = Transpose <perm = [0, 3, 1, 2]> (x0)
          c = Conv (t0, kernel)
          t1 = Transpose <perm = [0, 2, 3, 1]> (c)
          a = Add (t1, bias)
          r = LeakyRelu <alpha = 0.1> (a)
          f = Reshape (r, s)
          ["dense/MatMul"] m = MatMul (f, d1)
          ma = Add (m, b1)
          mr = Relu (ma)
          n1 = Mul (mr, scale)
          n2 = Add (n1, offset)
          ["dense_1/MatMul"] k = MatMul (n2, d2)
          ka = Add (k, b2)
          out = Softmax <axis = -1> (ka) }""",
        {"dense/MatMul": [4, 4], "dense_1/MatMul": [1, 1]},
        2,
    ),
    Case(
        "tf2onnx_global_average_pooling",
        """graph (float[N,6,6,3] x0) => (float[N,5] out)
        <float[4,3,3,3] kernel, int64[2] axes = {2, 3}, float[4,5] d1, float[5] b1>
        { t0 = Transpose <perm = [0, 3, 1, 2]> (x0)
          c = Conv (t0, kernel)
          p = GlobalAveragePool (c)
          f = Squeeze (p, axes)
          ["dense/MatMul"] m = MatMul (f, d1)
          out = Add (m, b1) }""",
        {"dense/MatMul": [1, 1]},
        2,
    ),
    Case(
        "paddle_flatten_contiguous_range",
        """graph (float[DynamicDimension_0,3,6,6] x) => (float[DynamicDimension_0,5] out)
        <float[4,3,3,3] "conv2d_0.w_0", float[4] "conv2d_0.b_0", float[64,8] "linear_0.w_0", float[8] "linear_0.b_0",
         float[8,5] "linear_1.w_0", float[5] "linear_1.b_0">
        { c = Conv <dilations = [1, 1], group = 1, kernel_shape = [3, 3], pads = [0, 0, 0, 0], strides = [1, 1]>
            (x, "conv2d_0.w_0")
          shape = Constant <value = int64[4] {1, 4, 1, 1}> ()
          bias = Reshape ("conv2d_0.b_0", shape)
          cb = Add (c, bias)
          r = Relu (cb)
          s = Shape (r)
          starts = Constant <value = int64[1] {0}> ()
          ends = Constant <value = int64[1] {1}> ()
          head = Slice (s, starts, ends)
          rest = Constant <value = int64[1] {-1}> ()
          t = Concat <axis = 0> (head, rest)
          f = Reshape (r, t)
          [p2o_MatMul_0] m = MatMul (f, "linear_0.w_0")
          a = Add (m, "linear_0.b_0")
          q = Relu (a)
          [p2o_MatMul_1] n = MatMul (q, "linear_1.w_0")
          b = Add (n, "linear_1.b_0")
          out = Softmax <axis = -1> (b) }""",
        {"p2o_MatMul_0": [4, 4], "p2o_MatMul_1": [1, 1]},
        2,
        opset=11,
        sizes={"DynamicDimension_0": 2},
    ),
    Case(
        "cntk_times_of_two_reshapes",
        """graph (float[1,1,12,12] Input3) => (float[1,10] Plus214_Output_0)
        <float[4,1,5,5] Parameter5, float[4,1,1] Parameter6, int64[2] rows = {1, 64}, float[4,4,4,10] Parameter193,
         int64[2] matrix = {64, 10}, float[1,10] Parameter194>
        { Parameter193_reshape1 = Reshape (Parameter193, matrix)
          c = Conv <kernel_shape = [5, 5], strides = [1, 1], auto_pad = "SAME_UPPER", group = 1, dilations = [1, 1]>
            (Input3, Parameter5)
          a = Add (c, Parameter6)
          r = Relu (a)
          p = MaxPool <kernel_shape = [3, 3], strides = [3, 3], pads = [0, 0, 0, 0], auto_pad = "NOTSET"> (r)
          f = Reshape (p, rows)
          [Times212] m = MatMul (f, Parameter193_reshape1)
          [Plus214] Plus214_Output_0 = Add (m, Parameter194) }""",
        {"Times212": [4, 4]},
        1,
        opset=8,
        ir_version=3,
        edit=legacy_types,
    ),
    Case(
        "caffe2_reshape_and_gemm_with_a_row_of_bias",
        """graph (float[1,3,6,6] data) => (float[1,5] prob)
        <float[4,3,3,3] k, float[4] kb, int64[2] shape = {1, -1}, float[8,64] w6, float[8] b6, float[5,8] w7,
         float[5] b7>
        { c = Conv <kernel_shape = [3, 3]> (data, k, kb)
          r = Relu (c)
          f = Reshape (r, shape)
          [fc6] a = Gemm <transB = 1> (f, w6, b6)
          s = Relu (a)
          d, mask = Dropout <ratio = 0.5> (s)
          [fc7] b = Gemm <transB = 1> (d, w7, b7)
          prob = Softmax (b) }""",
        {"fc6": [4, 4], "fc7": [1, 1]},
        1,
        opset=8,
        ir_version=3,
        edit=legacy_types,
    ),
    Case(
        "chainer_reshape_to_a_static_batch",
        """graph (float[1,3,6,6] Input_0) => (float[1,5] LinearFunction_1)
        <float[4,3,3,3] param_k, float[4] param_kb, float[8,16] param_w, float[8] param_b, float[5,8] param_v,
         float[5] param_c,
         int64[2] shape = {1, 16}>
        { Convolution2DFunction_0 = Conv <dilations = [1, 1], group = 1, kernel_shape = [3, 3], pads = [0, 0, 0, 0],
            strides = [1, 1]> (Input_0, param_k, param_kb)
          MaxPooling2D_0 = MaxPool <kernel_shape = [2, 2], pads = [0, 0, 1, 1], strides = [2,
           2]> (Convolution2DFunction_0)
          Reshape_0 = Reshape (MaxPooling2D_0, shape)
          [linear_0] LinearFunction_0 = Gemm <alpha = 1.0, beta = 1.0, transA = 0, transB = 1> (Reshape_0,
           param_w, param_b)
          ReLU_0 = Relu (LinearFunction_0)
          [linear_1] LinearFunction_1 = Gemm <alpha = 1.0, beta = 1.0, transA = 0, transB = 1> (ReLU_0,
           param_v, param_c) }""",
        {"linear_0": [2, 2], "linear_1": [1, 1]},
        1,
        opset=9,
        ir_version=3,
        edit=legacy_types,
    ),
    Case(
        "mxnet_flatten_batch_norm_and_squeeze",
        """graph (float[1,3,6,6] data) => (float[1,5] fc1)
        <float[4,3,3,3] k, float[64] s, float[64] o, float[64] m, float[64] mvar, float[5,64] w, float[5] b,
         float[5] s1, float[5] o1, float[5] m1, float[5] m1var, float[4,1,1] slope>
        { c = Conv (data, k)
          r = PRelu (c, slope)
          d = Dropout (r)
          f = Flatten (d)
          n = BatchNormalization <epsilon = 0.00002> (f, s, o, m, mvar)
          [pre_fc1] g = Gemm <alpha = 1.0, beta = 1.0, transA = 0, transB = 1> (n, w, b)
          u = Unsqueeze <axes = [2]> (g)
          v = BatchNormalization <epsilon = 0.00002> (u, s1, o1, m1, m1var)
          fc1 = Squeeze <axes = [2]> (v) }""",
        {"pre_fc1": [4, 4]},
        1,
        opset=11,
        ir_version=3,
        edit=legacy_types,
    ),
    Case(
        "coremltools_gemm_with_rows",
        """graph (float[1,3,4,4] image) => (float[1,5] classProbability)
        <float[2,3,1,1] k, float[5,32] w, float[1,5] b, int64[2] s = {1, 32}>
        { c = Conv (image, k)
          r = Relu (c)
          f = Reshape (r, s)
          [loss3_classifier] g = Gemm <transB = 1> (f, w, b)
          classProbability = Softmax <axis = 1> (g) }""",
        {"loss3_classifier": [4, 4]},
        1,
        opset=9,
    ),
    Case(
        "transposed_weight_as_linear_without_bias",
        """graph (float[4,10,1,1] "0") => (float[4,8] "4") <float[8,10] "1">
        { "2" = Transpose <perm = [1, 0]> ("1")
          "3" = Flatten ("0")
          [linear] "4" = MatMul ("3", "2") }""",
        {"linear": [1, 1]},
        1,
        opset=7,
        ir_version=3,
        edit=legacy_types,
    ),
    Case(
        "detection_head_from_flat_to_grid",
        """graph (float[N,4,3,3] x) => (float[N,3,3,7] y)
        <float[16,36] w1, float[16] b1, float[63,16] w2, float[63] b2, int64[4] s = {-1, 3, 3, 7}>
        { f = Flatten (x)
          [connected1] a = Gemm <transB = 1> (f, w1, b1)
          r = LeakyRelu <alpha = 0.1> (a)
          [connected2] b = Gemm <transB = 1> (r, w2, b2)
          y = Reshape (b, s) }""",
        {"connected1": [3, 3], "connected2": [1, 1]},
        2,
    ),
    Case(
        "spatial_transformer_localisation",
        """graph (float[N,1,8,8] x) => (float[N,1,8,8] y)
        <float[4,1,3,3] k, float[6,144] w1, float[6] b1, float[6,6] w2, float[6] b2, int64[3] s = {-1, 2, 3},
         int64[1] zero = {0}, int64[1] one = {1}, int64[3] image = {1, 8, 8}>
        { c = Conv (x, k)
          f = Flatten (c)
          [fc1] a = Gemm <transB = 1> (f, w1, b1)
          r = Relu (a)
          [fc2] t = Gemm <transB = 1> (r, w2, b2)
          theta = Reshape (t, s)
          sx = Shape (x)
          n = Slice (sx, zero, one, zero)
          size = Concat <axis = 0> (n, image)
          grid = AffineGrid <align_corners = 0> (theta, size)
          y = GridSample <align_corners = 0> (x, grid) }""",
        {"fc1": [6, 6], "fc2": [1, 1]},
        2,
        opset=20,
    ),
]
