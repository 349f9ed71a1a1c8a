"""Layers as Einsum; each is converted by hand and must be proved."""

from __future__ import annotations

import numpy as np
import pytest
from byhand import HEAD, KERNEL, TAIL, W, proved
from cases import model, random, verdicts, verify
from onnx import ModelProto
from textmodel import parse

import fc2conv

EINSUMS = {
    "nchw,chwm->nm": (3, 0, 1, 2),
    "nchw,mwch->nm": (0, 2, 3, 1),
    "chwm,nchw->nm": (3, 0, 1, 2),
    "...chw,hwcm->...m": (3, 2, 0, 1),
    "...chw,wchm": (3, 1, 2, 0),
}
"""Equations over a map [N,3,2,2], and the perm that makes the kernel of the weight."""


def einsum_pair(equation: str, swapped: bool = False) -> tuple[ModelProto, ModelProto]:
    """A layer as Einsum, and its convolution by hand, with h and w swapped in the kernel on demand."""
    perm = EINSUMS[equation]
    weight = np.ascontiguousarray(KERNEL["K"].transpose(np.argsort(perm)))
    operands = "x, V" if equation[0] in "n." else "V, x"
    text = f'[fc] y = Einsum<equation="{equation}">({operands})'
    original = model(f"g (float[N,3,2,2] x) => (float[N,6] y) {{ {text} }}", {"V": weight})
    kernel = KERNEL["K"].swapaxes(2, 3) if swapped else KERNEL["K"]
    return original, model(HEAD + TAIL.replace(", b", ""), {"K": np.ascontiguousarray(kernel)})


@pytest.mark.parametrize("equation", EINSUMS)
def test_forms_of_einsum(equation: str) -> None:
    proved(*einsum_pair(equation))


@pytest.mark.parametrize("equation", EINSUMS)
def test_an_einsum_whose_kernel_is_swapped_is_refuted(equation: str) -> None:
    assert verdicts(verify(*einsum_pair(equation, swapped=True), True))["exact"] == "differs"


def test_an_einsum_to_two_dimensions_of_outputs() -> None:
    weight = random((3, 2, 4), 2)
    original = model(
        'g (float[N,3,2,2] x) => (float[2,N,4,2,2] y) { [fc] y = Einsum<equation="nchw,cde->dnehw">(x, V) }',
        {"V": weight},
    )
    converted = model(
        "g (float[N,3,2,2] x) => (float[2,N,4,2,2] y) <int64[5] to = {-1, 2, 4, 2, 2}> {"
        "[fc] y_conv = Conv(x, K) r = Reshape(y_conv, to) y = Transpose<perm=[1,0,2,3,4]>(r) }",
        {"K": weight.reshape(3, 8).T.reshape(8, 3, 1, 1)},
    )
    proved(original, converted)


def test_an_einsum_that_is_no_product_with_a_matrix() -> None:
    original = model(
        'g (float[N,3,2,2] x) => (float[N,6] y) { [fc] y = Einsum<equation="nchw,cm->nm">(x, V) }', {"V": W[:, :3].T}
    )
    kernel = np.broadcast_to(W[:, :3, None, None], (6, 3, 2, 2))
    converted = model(HEAD + TAIL.replace(", b", ""), {"K": np.ascontiguousarray(kernel)})
    result = verify(original, converted, True)
    assert verdicts(result)["exact"] == "proved", result.checks
    assert verdicts(result)["numeric"] == "agrees"


def test_a_size_that_an_einsum_repeats_is_that_of_its_result() -> None:
    """ONNX takes the first size of a letter, which is 1 here; the product behind it runs for one item alone."""
    text = """graph (float[N,9,3,1] x) => (float[A,B,C,D] y, float[E,F,G,H] z) <float[5,9,1,1] w, float[1,1] v>
    { e = Einsum <equation = "mcbe,bcde->edbm"> (w, x)  y = MatMul (v, e)  z = Relu (e) }"""
    found = fc2conv.convert(parse(text), options=fc2conv.Options(scope="all"))
    assert found.report.verification is not None
    assert found.report.verification.verdict == "proved"
    names = [check.detail for check in found.report.verification.checks if check.name == "exact"]
    assert "items" not in names[0]
