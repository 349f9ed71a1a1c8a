"""FcToConv as a pass among others: those of onnx_ir and of onnxscript, and models with weights in other files."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from execute import difference, feeds, run
from textmodel import parse

import fc2conv

ir = pytest.importorskip("onnx_ir", reason="onnx_ir is not installed: pip install onnx-ir")

from onnx_ir.passes import common  # noqa: E402

from fc2conv.integrations.onnx_ir import FcToConv  # noqa: E402

BRANCHES = """graph (float[N,4,3,2] x, bool c) => (float[N,5] y) {
  f = Flatten (x)
  y = If (c) <
    then_branch = g () => (float[N,5] a) { [one] a = Gemm <transB = 1> (f, w) },
    else_branch = h () => (float[N,5] b) { [two] b = Gemm <transB = 1> (f, w) }
  >
}"""


@pytest.fixture
def model(root: Path) -> Any:
    return ir.load(root / "fixtures" / "lenet.onnx")


def operators(model: Any) -> list[str]:
    return [node.op_type for node in model.graph]


def same(a: onnx.ModelProto, b: onnx.ModelProto) -> None:
    inputs = feeds(a, {"N": 2})
    assert difference(run(a, inputs), run(b, inputs)) < 1e-5


def test_the_pass_gives_a_new_model_and_a_report(model: Any) -> None:
    before = ir.to_proto(model)
    convert = FcToConv(exclude=["fc3"])
    result = convert(model)
    assert result.modified
    assert ir.to_proto(model) == before
    same(before, ir.to_proto(result.model))
    assert operators(result.model).count("Conv") == 4
    assert convert.report is not None
    assert [layer.node for layer in convert.report.kept] == ["fc3"]


def test_it_works_between_passes_of_onnx_ir_and_onnxscript(model: Any) -> None:
    pytest.importorskip("onnxscript", reason="onnxscript is not installed: pip install onnxscript")
    from onnxscript import optimizer, rewriter
    from onnxscript.rewriter.rules.common import cast_cast_rule, reshape_reshape_rule, transpose_transpose_rule

    before = ir.to_proto(model)
    passes = ir.passes.Sequential(
        common.LiftConstantsToInitializersPass(),
        FcToConv(scope="all"),
        rewriter.RewritePass([cast_cast_rule, reshape_reshape_rule, transpose_transpose_rule]),
        common.IdentityEliminationPass(),
        common.CommonSubexpressionEliminationPass(),
        common.RemoveUnusedNodesPass(),
        common.NameFixPass(),
        common.CheckerPass(),
    )
    result = passes(ir.from_proto(before))
    assert result.modified
    assert "Gemm" not in operators(result.model)
    same(before, ir.to_proto(result.model))
    optimizer.optimize(result.model)
    same(before, ir.to_proto(result.model))
    assert fc2conv.verify(before, result.model).verdict == "proved"


def test_a_model_without_layers_is_a_copy_that_says_so() -> None:
    plain = ir.from_proto(parse("graph (float[N,4,3,2] x) => (float[N,4,3,2] y) { y = Relu (x) }"))
    result = FcToConv()(plain)
    assert not result.modified
    assert result.model is not plain


def test_a_signature_that_is_fixed_is_a_change() -> None:
    plain = ir.from_proto(parse("graph (float[N,4,3,2] x) => (float[N,4,3,2] y) { y = Relu (x) }"))
    result = FcToConv(static=1)(plain)
    assert result.modified
    assert list(result.model.graph.inputs[0].shape) == [1, 4, 3, 2]


def test_a_fault_is_the_cause_of_the_pipelines_error(model: Any) -> None:
    with pytest.raises(ir.passes.PassError) as caught:
        ir.passes.Sequential(FcToConv(exclude=["nothing"]))(model)
    assert isinstance(caught.value.__cause__, fc2conv.errors.UsageError)


def test_weights_in_other_files_are_read_and_left_there(tmp_path: Path) -> None:
    """Two scopes have a weight of one name, each its own."""
    proto = parse(BRANCHES)
    random = np.random.default_rng(1)
    for branch in proto.graph.node[1].attribute:
        weight = random.standard_normal((5, 24), np.float32)
        branch.g.initializer.append(onnx.numpy_helper.from_array(weight, "w"))
    ir.save(ir.from_proto(proto), tmp_path / "m.onnx", external_data="m.data", size_threshold_bytes=0)
    assert (tmp_path / "m.data").stat().st_size >= 2 * 5 * 24 * 4
    loaded = ir.load(tmp_path / "m.onnx")
    result = FcToConv(scope="all")(loaded)
    assert result.modified
    after = ir.to_proto(result.model)
    for choice in (True, False):
        inputs = {**feeds(proto, {"N": 2}), "c": np.array(choice)}
        assert difference(run(proto, inputs), run(after, inputs)) < 1e-5
    weights = [value.const_value for graph in loaded.graphs() for value in graph.initializers.values()]
    assert weights
    assert all(isinstance(weight, ir.ExternalTensor) for weight in weights)


def test_without_onnx_ir_the_error_names_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnx_ir", None)
    monkeypatch.delitem(sys.modules, "fc2conv.integrations.onnx_ir")
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'fc2conv\[onnx-ir\]'"):
        importlib.import_module("fc2conv.integrations.onnx_ir")
