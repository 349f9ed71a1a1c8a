"""Fused and quantized operators as text: each is a function of the operators that it is made of.

A field `%(name)s` depends on the call, and `parts` fills it in.
"""

from __future__ import annotations

BODIES = """
Gelu (x) => (y) { d = Div(x, root) e = Erf(d) a = Add(e, one) m = Mul(x, a) y = Mul(m, half) }
BentGelu (x) => (y) { s = Mul(x, x) c = Mul(s, x) k = Mul(c, cubic) r = Add(x, k) b = Mul(r, bend) t = Tanh(b)
    a = Add(t, one) m = Mul(x, a) y = Mul(m, half) }
BiasAdd (x, b, z) => (y) { s = Add(x, b) y = Add(s, z) }
BiasDropout (x, b, z, p, t) => (y, m) { s = Add(x, b) d, m = Dropout(s, p, t) y = Add(d, z) }
BiasGelu (x, b) => (y) { s = Add(x, b) y = Gelu(s) }
FastGelu (x, b) => (y) { s = Add(x, b) y = Gelu<approximate = "tanh">(s) }
Swish <alpha: float = 1.0> (x) => (y) { a = Constant<value_float: float = @alpha>() m = Mul(x, a) g = Sigmoid(m)
    y = Mul(x, g) }
QuickGelu <alpha: float = 1.702> (x) => (y) { a = Constant<value_float: float = @alpha>() m = Mul(x, a) g = Sigmoid(m)
    y = Mul(x, g) }
HardSigmoid <alpha: float = 0.2, beta: float = 0.5> (x) => (y) { a = Constant<value_float: float = @alpha>()
    b = Constant<value_float: float = @beta>() m = Mul(x, a) s = Add(m, b) y = Clip(s, zero, one) }
GlobalAveragePool (x) => (y) { y = ReduceMean<axes = %(spatial)s>(x) }
GlobalMaxPool (x) => (y) { y = ReduceMax<axes = %(spatial)s>(x) }
GlobalLpPool (x) => (y) { y = ReduceL%(p)s<axes = %(spatial)s>(x) }
LpPool (x) => (y) { q = Mul(x, x) m = AveragePool<count_include_pad = 1>(q) k = Constant<value_float = %(cells)s>()
    s = Mul(m, k) y = Sqrt(s) }
HardSwish (x) => (y) { h = HardSigmoid<alpha = 0.16666667, beta = 0.5>(x) y = Mul(x, h) }
Celu <alpha: float = 1.0> (x) => (y) { a = Constant<value_float: float = @alpha>() d = Div(x, a)
    e = Elu<alpha = 1.0>(d) y = Mul(e, a) }
Softplus (x) => (y) { e = Exp(x) a = Add(e, one) y = Log(a) }
Mish (x) => (y) { s = Softplus(x) t = Tanh(s) y = Mul(x, t) }
Softsign (x) => (y) { a = Abs(x) b = Add(a, one) y = Div(x, b) }
ReduceL1 (x, a) => (y) { b = Abs(x) %(over)s y = ReduceSum(b, o) }
ReduceSumSquare (x, a) => (y) { q = Mul(x, x) %(over)s y = ReduceSum(q, o) }
ReduceL2 (x, a) => (y) { q = Mul(x, x) %(over)s s = ReduceSum(q, o) y = Sqrt(s) }
ReduceLogSum (x, a) => (y) { %(over)s s = ReduceSum(x, o) y = Log(s) }
ReduceLogSumExp (x, a) => (y) { e = Exp(x) %(over)s s = ReduceSum(e, o) y = Log(s) }
LpNormalization (x) => (y) { n = Constant<value_ints = [%(axis)s]>() r = ReduceL%(p)s<keepdims = 1>(x, n)
    y = Div(x, r) }
MeanVarianceNormalization (x) => (y) { m = ReduceMean<axes = %(moments)s, keepdims = 1>(x) p = Mul(m, m) q = Mul(x, x)
    e = ReduceMean<axes = %(moments)s, keepdims = 1>(q) v = Sub(e, p) d = Sqrt(v)
    n = Constant<value_float = 1e-9>() t = Add(d, n) c = Sub(x, m) y = Div(c, t) }
LRN <alpha: float = 0.0001, beta: float = 0.75, bias: float = 1.0> (x) => (y) { q = Mul(x, x)
    a = Constant<value_float: float = @alpha>() b = Constant<value_float: float = @beta>()
    c = Constant<value_float: float = @bias>() i = Constant<value_ints = [1]>() u = Unsqueeze(q, i)
    p = AveragePool<kernel_shape = %(across)s, pads = %(across_pads)s, count_include_pad = 1>(u)
    s = Squeeze(p, i) m = Mul(s, a) n = Add(m, c) o = Pow(n, b) y = Div(x, o) }
SelfAttention (x, w, b, i, p, r) => (y) { m = MatMul(x, w) a = Add(m, b) q, k, v = Split<axis = 2>(a)
    y = com.microsoft.MultiHeadAttention<num_heads = %(heads)s, scale = %(scale)s>(q, k, v, "", "", r) }
MultiHeadAttention (q, k, v, b, i, r) => (y) { d, e, f = Split<axis = 0>(b) l = Add(q, d) m = Add(k, e) n = Add(v, f)
    h = Constant<value_ints = [0, 0, %(heads)s, -1]>() rq = Reshape(l, h) rk = Reshape(m, h) rv = Reshape(n, h)
    tq = Transpose<perm = [0, 2, 1, 3]>(rq) tk = Transpose<perm = [0, 2, 3, 1]>(rk)
    tv = Transpose<perm = [0, 2, 1, 3]>(rv) s = MatMul(tq, tk) c = Constant<value_float = %(scale)s>() t = Mul(s, c)
    u = Add(t, r) p = Softmax<axis = -1>(u) z = MatMul(p, tv) o = Transpose<perm = [0, 2, 1, 3]>(z)
    g = Constant<value_ints = [0, 0, -1]>() y = Reshape(o, g) }
TokenAttention (q, k, v) => (y) {
    y = com.microsoft.MultiHeadAttention<num_heads = %(heads)s, scale = %(scale)s>(q, k, v) }
HeadAttention (q, k, v) => (y) { t = Transpose<perm = [0, 1, 3, 2]>(k) s = MatMul(q, t)
    c = Constant<value_float = %(scale)s>() m = Mul(s, c) p = Softmax<axis = -1>(m) y = MatMul(p, v) }
EmbedLayerNormalization <epsilon: float = 1e-12> (i, j, w, p, z, g, b, k, n) => (y, m, s) { a = Gather(w, i)
    o = Constant<value_ints = [0]>() l = Constant<value_ints = [%(tokens)s]>() q = %(positions)s c = Gather(z, j)
    d = Add(a, q) s = Add(d, c) y = LayerNormalization<axis = -1, epsilon: float = @epsilon>(s, g, b)
    e = Sub(i, i) h = Constant<value_ints = [1]>() m = %(mask)s }
GroupNorm <epsilon: float = 0.00001> (x, g, b) => (y) { t = Transpose<perm = %(to_map)s>(x)
    i = Constant<value_ints = [0, %(groups)s, -1]>() r = Reshape(t, i)
    n = LayerNormalization<axis = -1, epsilon: float = @epsilon>(r, one) k = Shape(t) m = Reshape(n, k)
    u = Transpose<perm = %(channels_last)s>(m) v = Mul(u, g) w = Add(v, b) %(activated)s
    y = Transpose<perm = %(back)s>(a) }
SkipLayerNormalization <epsilon: float = 1e-12> (x, z, w, c, b) => (y, m, v, s) { t = Add(x, z) s = Add(t, b)
    y, m, v = LayerNormalization<axis = -1, epsilon: float = @epsilon>(s, w, c) }
SkipSimplifiedLayerNormalization <epsilon: float = 1e-12> (x, z, w, b) => (y, m, v, s) { t = Add(x, z) s = Add(t, b)
    y, v = SimplifiedLayerNormalization<axis = -1, epsilon: float = @epsilon>(s, w) }
NhwcConv (x, w, b) => (y) { t = Transpose<perm = %(to_map)s>(x) k = Transpose<perm = %(to_map)s>(w) c = Conv(t, k, b)
    y = Transpose<perm = %(channels_last)s>(c) }
NhwcFusedConv (x, w, b, z) => (y) { c = com.microsoft.NhwcConv(x, w, b) s = Add(c, z) %(activation)s }
FusedConv (x, w, b, z) => (y) { c = Conv(x, w, b) s = Add(c, z) %(activation)s }
FusedGemm (a, b, c) => (y) { s = Gemm(a, b, c) %(activation)s }
FusedMatMul <alpha: float = 1.0> (a, b) => (y) { c = Transpose<perm = %(perm_a)s>(a) d = Transpose<perm = %(perm_b)s>(b)
    k = Constant<value_float: float = @alpha>() %(scaled)s }
MatMulIntegerToFloat (a, b, u, v, i, j, c) => (y) { p = MatMulInteger(a, b, i, j) f = Cast<to = 1>(p) s = Mul(u, v)
    m = Mul(f, s) y = Add(m, c) }
DynamicQuantizeMatMul (a, b, v, j, c) => (y) { q, u, i = DynamicQuantizeLinear(a) p = MatMulInteger(q, b, i, j)
    f = Cast<to = 1>(p) s = Mul(u, v) m = Mul(f, s) y = Add(m, c) }
QLinearConv (x, u, i, w, v, j, s, z, b) => (y) { c = DequantizeLinear(x, u, i) d = DequantizeLinear<axis = 0>(w, v, j)
    t = Mul(u, v) e = DequantizeLinear<axis = 0>(b, t) r = Conv(c, d, e) y = QuantizeLinear(r, s, z) }
QLinearMatMul (a, u, i, b, v, j, s, z) => (y) { c = DequantizeLinear<axis = -2>(a, u, i)
    d = DequantizeLinear<axis = -1>(b, v, j) r = MatMul(c, d) y = QuantizeLinear(r, s, z) }
QGemm <alpha: float = 1.0> (a, u, i, b, v, j, o, s, z) => (y) { c = DequantizeLinear(a, u, i)
    d = DequantizeLinear<axis = %(axis)s>(b, v, j) m = Mul(u, v) f = Constant<value_float: float = @alpha>()
    t = Mul(m, f) e = DequantizeLinear(o, t) r = Gemm(c, d, e) y = QuantizeLinear(r, s, z) }
QLinearAdd (a, u, i, b, v, j, s, z) => (y) { c = DequantizeLinear(a, u, i) d = DequantizeLinear(b, v, j) r = Add(c, d)
    y = QuantizeLinear(r, s, z) }
QLinearMul (a, u, i, b, v, j, s, z) => (y) { c = DequantizeLinear(a, u, i) d = DequantizeLinear(b, v, j) r = Mul(c, d)
    y = QuantizeLinear(r, s, z) }
QLinearWhere (k, a, u, i, b, v, j, s, z) => (y) { c = DequantizeLinear(a, u, i) d = DequantizeLinear(b, v, j)
    r = Where(k, c, d) y = QuantizeLinear(r, s, z) }
QLinearSigmoid (x, u, i, s, z) => (y) { c = DequantizeLinear(x, u, i) r = Sigmoid(c) y = QuantizeLinear(r, s, z) }
QLinearLeakyRelu (x, u, i, s, z) => (y) { c = DequantizeLinear(x, u, i) r = LeakyRelu(c) y = QuantizeLinear(r, s, z) }
QLinearSoftmax <axis: int = -1> (x, u, i, s, z) => (y) { c = DequantizeLinear(x, u, i)
    r = Softmax<axis: int = @axis>(c) y = QuantizeLinear(r, s, z) }
QLinearAveragePool (x, u, i, s, z) => (y) { c = DequantizeLinear(x, u, i) r = AveragePool(c)
    y = QuantizeLinear(r, s, z) }
QLinearGlobalAveragePool (x, u, i, s, z) => (y) { c = DequantizeLinear(x, u, i) r = ReduceMean<axes = %(spatial)s>(c)
    y = QuantizeLinear(r, s, z) }
QLinearReduceMean (x, u, i, s, z) => (y) { c = DequantizeLinear(x, u, i) r = ReduceMean<axes = %(axes)s>(c)
    y = QuantizeLinear(r, s, z) }
BothWays (x, w, r, b, s, h, c, p) => (y, t, u) { w1, w2 = Split<axis = 0>(w) r1, r2 = Split<axis = 0>(r)
    b1, b2 = Split<axis = 0>(b) h1, h2 = Split<axis = 0>(h) c1, c2 = Split<axis = 0>(c) p1, p2 = Split<axis = 0>(p)
    y1, t1, u1 = LSTM<direction = "forward">(x, w1, r1, b1, s, h1, c1, p1)
    y2, t2, u2 = LSTM<direction = "reverse">(x, w2, r2, b2, s, h2, c2, p2)
    y = Concat<axis = 1>(y1, y2) t = Concat<axis = 0>(t1, t2) u = Concat<axis = 0>(u1, u2) }
Compress (x, c) => (y) { n = NonZero(c) s = Constant<value_ints = [-1]>() i = Reshape(n, s) y = Gather(x, i) }
ReduceSumInteger (x) => (y) { c = Cast<to = 6>(x) o = Constant<value_ints = %(axes)s>() y = ReduceSum(c, o) }
QLinearConcat (s, z, %(names)s) => (y) { %(parts)s r = Concat(%(numbers)s) y = QuantizeLinear(r, s, z) }
"""
