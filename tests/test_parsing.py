"""Text that is nested deeply: an error with a name, wherever such text is read."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path

import onnx
import pytest
from batches import batch, save

from fc2conv.__main__ import main
from fc2conv.errors import ExitCode
from fc2conv.io.parsing import DEPTH, NestingError, of_json, of_toml, of_yaml

DEEP = {
    "a little": "[" * (DEPTH + 1) + "]" * (DEPTH + 1),
    "lists": "[" * 100_000 + "]" * 100_000,
    "open lists": "[" * 100_000,
    "tables": '{"a":' * 100_000 + "1" + "}" * 100_000,
}
TOML = {
    "lists": f"a = {'[' * 900}{']' * 900}",
    "inline tables": f"a = {'{a = ' * 900}1{'}' * 900}",
    "a dotted key": f"{'a.' * 100_000}a = 1",
    "a table's name": f"['a'.{'a . ' * 100_000}a]",
    "behind a string": 'a = """\n#"""" # \'\nb = {x = "\\"", ' + "a." * 100_000 + "a = 1}",
}
DOTTED = '# ...\na = ["%s", \'%s\', """%s""", 1.5, 2.5]' % (("." * 100,) * 3)


@pytest.mark.parametrize("text", DEEP.values(), ids=DEEP)
def test_deep_json(text: str) -> None:
    with pytest.raises(NestingError, match="more than 64 levels"):
        of_json(text)


@pytest.mark.parametrize("text", TOML.values(), ids=TOML)
def test_deep_toml(text: str) -> None:
    start = time.monotonic()
    with pytest.raises(NestingError):
        of_toml(text)
    assert time.monotonic() - start < 5


@pytest.mark.parametrize("text", [DEEP["a little"], DEEP["lists"], "- &a [*a]", "- " * 900 + "a", "? [a]\n: b"])
def test_deep_yaml(text: str) -> None:
    with pytest.raises(ValueError, match=r"nest|unhashable") as found:
        of_yaml(text.encode())
    assert "\n" not in str(found.value)


def test_what_is_not_deep() -> None:
    assert of_json("[" * DEPTH + "]" * DEPTH)
    assert of_json('["' + "[" * 1000 + '"]') == ["[" * 1000]
    assert len(of_toml(DOTTED)["a"]) == 5
    shared = "- &a [x, x]\n" + "".join(
        f"- &{b} [*{a}, *{a}]\n" for a, b in zip("abcdefghij", "bcdefghijk", strict=True)
    )
    assert len(of_yaml(shared.encode())) == 11
    with pytest.raises(ValueError, match="NaN is no number"):
        of_json("[NaN]")


@pytest.mark.parametrize("text", [DEEP["a little"], DEEP["lists"]], ids=["a little", "much"])
def test_wherever_it_is_read(
    text: str, lenet: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(lenet.parent)
    named = {
        "m.json": (["batch", "m.json", "out"], ExitCode.INPUT),
        "m.yaml": (["batch", "m.yaml", "out"], ExitCode.INPUT),
        "c.toml": (["lenet.onnx", "out.onnx", "--config", "c.toml"], ExitCode.USAGE),
        "r.json": (["verify", "lenet.onnx", "lenet.onnx", "--certificate", "r.json"], ExitCode.USAGE),
        "run/journal.jsonl": (["report", "run"], ExitCode.INPUT),
    }
    Path("run").mkdir()
    for name, (argv, code) in named.items():
        Path(name).write_text(f"seed = {text}\n" if name == "c.toml" else f"{text}\n", encoding="utf-8")
        assert main(argv) == code, name
        printed = capsys.readouterr().err
        assert printed.startswith("fc2conv: error: "), name
        assert printed.count("\n") == 1, name
        assert name in printed
        assert "nest" in printed
    assert not Path("out").exists()


def test_in_a_model_it_matters_where_it_is_asked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = save(tmp_path / "a.onnx")
    model = onnx.load(path)
    for key in ("fc2conv.sliding", "fc2conv.geometry.y", "author"):
        model.metadata_props.add(key=key, value=DEEP["lists"])
    onnx.save(model, tmp_path / "b.onnx")
    assert main(["check", str(tmp_path / "b.onnx"), "-q"]) == ExitCode.CHECK_FOUND
    assert main(["verify", str(tmp_path / "b.onnx"), str(tmp_path / "b.onnx"), "-q"]) == ExitCode.DONE
    assert main(["heatmap", str(tmp_path / "b.onnx"), "x.png", str(tmp_path / "y.png")]) == ExitCode.INPUT
    assert "its fc2conv.geometry.y cannot be read (it is nested" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"seed": [[1]]}, "'seed' is no value nor a list of values"),
        ({"include": {"a": 1}}, "'include' is no value nor a list of values"),
        ({"output": "\ud800.onnx"}, "'output' has a character that is not UTF-8"),
    ],
)
def test_a_manifests_values(entry: object, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save(tmp_path / "a.onnx")
    (tmp_path / "m.json").write_text(json.dumps([{"model": "a.onnx", **entry}]))  # type: ignore[dict-item]
    assert batch(tmp_path / "m.json", tmp_path / "out") == ExitCode.INPUT
    assert message in capsys.readouterr().err
    shutil.rmtree(tmp_path / "out", ignore_errors=True)
