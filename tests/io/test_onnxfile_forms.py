"""Forms of a skeleton: what onnxruntime runs and what the checker takes, without the weights in memory."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import ModelProto
from onnxfile_models import (
    EVERYWHERE,
    RNG,
    SIZE,
    constant,
    function,
    initializer,
    save,
    save_external,
    sparse,
    subgraph,
    training,
)
from onnxruntime.capi.onnxruntime_pybind11_state import Fail

from fc2conv.io.forms import checkable, runnable
from fc2conv.io.reader import model_file_from_proto, read_model
from fc2conv.io.writer import stage

RUNNABLE = (initializer, constant, subgraph, function, sparse, training)
LEVELS = onnxruntime.GraphOptimizationLevel


def run(model: ModelProto, folder: Path | None, feeds: dict[str, np.ndarray], level: object) -> np.ndarray:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = level
    if folder is not None:
        options.add_session_config_entry("session.model_external_initializers_file_folder_path", str(folder))
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, feeds)[0]


@pytest.mark.parametrize("level", [LEVELS.ORT_DISABLE_ALL, LEVELS.ORT_ENABLE_ALL])
@pytest.mark.parametrize("how", ["inline", "external", "memory", "staged"])
@pytest.mark.parametrize("make", RUNNABLE, ids=lambda make: make.__name__)
def test_onnxruntime_runs_it(make: Callable[[], ModelProto], how: str, level: object, tmp_path: Path) -> None:
    model = make()
    feeds = {"x": RNG.standard_normal((1, SIZE), dtype=np.float32)}
    path = save_external(model, tmp_path / "m.onnx") if how == "external" else save(model, tmp_path / "m.onnx")
    try:
        expected = run(model, None, feeds, level)
    except Fail as error:  # onnxruntime 1.24 does not optimize a graph whose subgraphs hold large weights
        pytest.skip(f"this onnxruntime does not run the model as it is: {error}")
    file = model_file_from_proto(model) if how == "memory" else read_model(path)
    if how != "staged":
        assert_runs(file, feeds, level, expected)
        return
    with stage(file.model, file.payloads, tmp_path / "out.onnx", form="external", source=file) as staged:
        assert_runs(read_model(staged.path), feeds, level, expected)


def assert_runs(file: object, feeds: dict[str, np.ndarray], level: object, expected: np.ndarray) -> None:
    model, folder = runnable(file)  # type: ignore[arg-type]
    np.testing.assert_array_equal(run(model, folder, feeds, level), expected)


def test_weights_are_left_on_disk_for_onnxruntime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for make in (initializer, constant, subgraph, function):
        monkeypatch.chdir(tmp_path)
        model, folder = runnable(read_model(save(make(), Path("m.onnx"))))
        assert folder == Path()
        assert len(model.SerializeToString()) < 2000


@pytest.mark.parametrize("make", EVERYWHERE, ids=lambda make: make.__name__)
def test_checker_and_inference_need_no_weights(make: Callable[[], ModelProto], tmp_path: Path) -> None:
    model = make()
    file = read_model(save(model, tmp_path / "m.onnx"))
    before = file.model.SerializeToString()
    light = checkable(file.model)
    assert len(light.SerializeToString()) < len(model.SerializeToString()) - 1024
    if make.__name__ != "list_attribute":  # MatMul takes no attribute
        onnx.checker.check_model(light)
    shapes = [onnx.shape_inference.infer_shapes(each, data_prop=True).graph.value_info for each in (light, model)]
    assert list(shapes[0]) == list(shapes[1])
    assert file.model.SerializeToString() == before
