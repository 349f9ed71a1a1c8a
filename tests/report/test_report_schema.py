"""What the commands print keeps the published schema, as an independent validator reads it."""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path

import jsonschema
import pytest

from fc2conv.__main__ import main
from fc2conv.errors import ExitCode

FIXTURES = sorted((Path(__file__).parent.parent.parent / "fixtures").glob("*.onnx"))
Captured = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def validator() -> jsonschema.Draft202012Validator:
    schema = json.loads(resources.files("fc2conv.report").joinpath("schema.json").read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


@pytest.mark.parametrize("scope", ["spatial", "all"])
@pytest.mark.parametrize("model", FIXTURES, ids=lambda path: path.stem)
def test_check_and_convert(
    validator: jsonschema.Draft202012Validator, capsys: Captured, tmp_path: Path, model: Path, scope: str
) -> None:
    form = ["--output-format", "json", "--scope", scope]
    assert main(["check", str(model), "--diff", *form]) == ExitCode.CHECK_FOUND
    out, cert = str(tmp_path / "out.onnx"), tmp_path / "cert.json"
    assert main(["convert", str(model), out, "--report", str(cert), *form]) == ExitCode.DONE
    lines = [*capsys.readouterr().out.splitlines(), cert.read_text(encoding="ascii")]
    assert len(lines) == 3
    for line in lines:
        validator.validate(json.loads(line))


def test_verify_and_what_is_no_document(
    validator: jsonschema.Draft202012Validator, capsys: Captured, root: Path
) -> None:
    lenet, tokens = (str(root / "fixtures" / f"{name}.onnx") for name in ("lenet", "tokens"))
    assert main(["verify", lenet, tokens, "--output-format", "json"]) == ExitCode.MISMATCH
    printed = json.loads(capsys.readouterr().out)
    validator.validate(printed)
    for broken in ({**printed, "a": 1}, {}, {**printed, "verification": {"verdict": "maybe"}}):
        assert not validator.is_valid(broken)
