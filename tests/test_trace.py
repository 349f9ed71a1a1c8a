"""`fc2conv trace`: the layout, provenance, rule and decision of each node are those of the plan."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
from click.testing import CliRunner

import fc2conv
from fc2conv.__main__ import main as run
from fc2conv.cli import main
from fc2conv.errors import ExitCode, UsageError

TEXT = """<ir_version: 8, opset_import: ["": 17, "other": 1]>
g (float[N,3,4,2] x) => (float[N,5] y, float[N,24] z)
<float[5,24] w = {WEIGHTS}> {
  [turn] t = Transpose <perm = [0, 2, 3, 1]> (x)
  [flat] f = Flatten (t)
  [fc] y = Gemm <transB = 1> (f, w)
  [odd] o = other.Unknown (x)
  z = Flatten (f)
}""".replace("WEIGHTS", ", ".join(str((i * 37 % 11) / 7 - 0.5) for i in range(120)))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "m.onnx"
    onnx.save(onnx.parser.parse_model(TEXT), path)
    return path


def test_each_node_is_traced_as_the_plan_saw_it(file: Path) -> None:
    rows = {each.node: each for each in fc2conv.trace(file)}
    (flat,) = rows["flat"].values
    assert (flat.shape, flat.layout) == ("[N, 24]", "x.0:N | x.2:4 x.3:2 x.1:3")
    assert flat.spatial == "x.0:N | x.1:3 | x.2:4 | x.3:2"
    assert rows["flat"].rule == "analysis.reshapes._flatten"
    assert rows["fc"].form == "convolution with the kernel [4, 2]"
    planned = {each.node: each.decision for each in fc2conv.plan(file).sites}
    assert planned == {"fc": rows["fc"].decision}
    assert rows["odd"].rule == "none: the layout ends here"
    assert [each.node for each in fc2conv.trace(file, ["f*"])] == ["flat", "fc"]


def test_a_name_that_is_not_there_is_answered_with_the_nearest(file: Path) -> None:
    with pytest.raises(UsageError, match="'flaat' matches no node") as stop:
        fc2conv.trace(file, ["flaat"])
    assert "'flat'" in str(stop.value.remedy)


def test_the_command_prints_whole_names(file: Path) -> None:
    found = CliRunner().invoke(main, ["trace", str(file), "flat"], standalone_mode=False)
    assert found.return_value == ExitCode.DONE
    assert "flat (Flatten)\n" in found.output
    assert "layout    x.0:N | x.2:4 x.3:2 x.1:3\n" in found.output


def test_a_configuration_decides_as_it_does_for_a_check(
    file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(file.parent)
    Path("fc2conv.toml").write_text("exclude = ['fc']", encoding="utf-8")
    assert run(["trace", "m.onnx", "fc"]) == ExitCode.DONE
    assert "FC302" in capsys.readouterr().out
