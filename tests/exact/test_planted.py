"""Faults of every kind are refused, and edits that keep the function are proved, in conversions of small networks."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from functools import cache

import numpy as np
import pytest
from editing import Editor
from kept import EDITS
from onnx import ModelProto, checker
from planted import FAULTS
from textmodel import parse

import fc2conv
from fc2conv.io.reader import model_file_from_proto
from fc2conv.options import VerifyOptions
from fc2conv.verification.pair import verify_pair

NETWORKS = {
    "pooled": """graph (float[N,3,8,8] x) => (float[N,5] y, float[N,5] z)
        <float[4,3,3,3] k, float[4] kb, float[4] scale, float[4] shift, float[4] average, float[4] var,
         float[4,2,3,3] g, float[7,16] w, float[7] b, float[7,5] v>
        {
            c = Conv<pads = [1, 1, 1, 1]>(x, k, kb)
            n = BatchNormalization(c, scale, shift, average, var)
            r = Relu(n)
            p = MaxPool<kernel_shape = [2, 2], strides = [2, 2]>(r)
            d = Conv<group = 2>(p, g)
            q = Relu(d)
            f = Flatten(q)
            a = Gemm<transB = 1>(f, w, b)
            t = Tanh(a)
            y = MatMul(t, v)
            z = Softmax(y)
        }""",
    "tokens": """graph (float[N,4,3,3] x) => (float[N,9,4] y)
        <float[4,4,1,1] k, int64[3] shape = {0, 4, 9}, float[4] s, float[4] sb, float[4,4] w, float[4] b, float[4,4] v>
        {
            c = Conv(x, k)
            r = Reshape(c, shape)
            t = Transpose<perm = [0, 2, 1]>(r)
            n = LayerNormalization(t, s, sb)
            m = MatMul(n, w)
            a = Add(m, b)
            e = Softmax(a)
            u = MatMul(e, v)
            h = Sub(u, t)
            y = Add(h, t)
        }""",
    "means": """graph (float[N,3,6,6] x) => (float[N,5] y)
        <float[4,3,3,3] k, float[4] kb, float[1,4,1,1] kk, float[8,5] w, float[5] b>
        {
            c = Conv<pads = [1, 1, 1, 1]>(x, k, kb)
            g = Sigmoid(c)
            m = Mul(c, g)
            p = GlobalAveragePool(m)
            i = Conv<pads = [1, 1, 1, 1]>(x, k)
            n = InstanceNormalization(i, kb, kb)
            r = Relu(n)
            o = GlobalAveragePool(r)
            d = Div(p, kk)
            j = Concat<axis = 1>(d, o)
            f = Flatten(j)
            l = MatMul(f, w)
            y = Add(l, b)
        }""",
}


@cache
def pair(name: str) -> tuple[ModelProto, ModelProto]:
    """A network and its conversion."""
    original = parse(NETWORKS[name], opset=17)
    return original, fc2conv.convert(original, options=fc2conv.Options(verify=False, scope="all")).model


def edited(name: str) -> Iterator[tuple[str, ModelProto, ModelProto]]:
    """Each conversion with a fault or an edit, where there is a place for it; edits in a network itself as well."""
    for network in (*NETWORKS, *(["pooled, as it is"] if name in EDITS else [])):
        seed = [zlib.crc32(network.encode()), zlib.crc32(name.encode())]
        one, other = pair(network.partition(",")[0])
        old, new = (
            Editor(model, np.random.default_rng(seed)) for model in (one, other if network in NETWORKS else one)
        )
        if FAULTS[name](old, new) if name in FAULTS else EDITS[name](new):
            checker.check_model(new.model, full_check=True)
            yield network, old.model, new.model


def compared(one: ModelProto, other: ModelProto) -> tuple[bool, bool, str]:
    """Whether the two are accepted, and proved, and what exact arithmetic says."""
    found = verify_pair(model_file_from_proto(one), model_file_from_proto(other), False, VerifyOptions())
    exact = next(check for check in found.checks if check.name == "exact")
    return found.verdict.accepted, exact.detail.startswith("proved"), exact.detail


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_refused_wherever_it_is(name: str) -> None:
    found = {network: compared(*models) for network, *models in edited(name)}
    assert found, "there is no place for it"
    assert not [network for network, (accepted, proved, _) in found.items() if accepted or proved], found


@pytest.mark.parametrize("name", EDITS)
def test_an_edit_that_keeps_the_function_is_proved(name: str) -> None:
    found = {network: compared(*models) for network, *models in edited(name)}
    assert found, "there is no place for it"
    assert all(accepted and proved for accepted, proved, _ in found.values()), found
