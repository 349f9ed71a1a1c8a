"""What the caller chooses for a comparison, through the command line: inputs, tolerances, certificate."""

from __future__ import annotations

import json
import shlex
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from fc2conv.__main__ import main
from fc2conv.errors import ExitCode
from fc2conv.verification import compare

FIXTURES = Path(__file__).parent.parent.parent / "fixtures"


@pytest.fixture
def pair(tmp_path: Path) -> tuple[str, str, str]:
    """LeNet, its conversion, and the report of that."""
    model, out, report = (str(tmp_path / name) for name in ("a.onnx", "b.onnx", "cert.json"))
    shutil.copy(FIXTURES / "lenet.onnx", model)
    assert main([model, out, "-q", "--report", report]) == ExitCode.DONE
    return model, out, report


def faulty(path: str) -> str:
    """A copy in which one bias is another one; the same shift of all logits would be none behind a Softmax."""
    model = onnx.load(path)
    bias = next(t for t in model.graph.initializer if len(t.dims) == 1 and t.dims[0] == 10)
    bias.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(bias) + np.arange(10, dtype=np.float32), bias.name))
    onnx.save(model, other := path.replace(".onnx", "-bad.onnx"))
    return other


def verified(capsys: Any, *arguments: str) -> tuple[int, dict[str, Any]]:
    capsys.readouterr()
    code = main(["verify", *arguments, "--output-format", "json"])
    said = capsys.readouterr().out
    return code, json.loads(said).get("verification", {}) if said else {}


def numeric(found: dict[str, Any]) -> str:
    return str(next(c["detail"] for c in found["checks"] if c["name"] == "numeric"))


def test_inputs_from_files(pair: Any, tmp_path: Path, capsys: Any) -> None:
    given = np.random.default_rng(0).standard_normal((5, 1, 28, 28)).astype(np.float32)
    np.savez(tmp_path / "in.npz", image=given)
    np.save(tmp_path / "in.npy", given)
    for source in (f"{tmp_path}/in.npz", f"image:{tmp_path}/in.npy"):
        code, found = verified(capsys, *pair[:2], "--load-inputs", source)
        assert code == ExitCode.DONE
        assert "in 1 run," in numeric(found)
        assert "inputs as given" in numeric(found)


@pytest.mark.parametrize("source", ["nowhere.npz", "image:nowhere.npy", "{0}/in.npy", "other:{0}/in.npy",
                                    "image:{0}/wide.npy", "image:{0}/flat.npy", "image:{0}/a.onnx"])  # fmt: skip
def test_inputs_that_fit_nothing_are_a_usage_error(source: str, pair: Any, tmp_path: Path, capsys: Any) -> None:
    given = np.zeros((1, 1, 28, 28), np.float32)
    for name, array in {"in": given, "wide": given.astype(np.float64), "flat": given.reshape(1, -1)}.items():
        np.save(tmp_path / f"{name}.npy", array)
    assert verified(capsys, *pair[:2], "--load-inputs", source.format(tmp_path))[0] == ExitCode.USAGE


def test_failing_inputs_are_saved_and_fail_again(pair: Any, tmp_path: Path, capsys: Any) -> None:
    bad, folder = faulty(pair[1]), str(tmp_path / "failing")
    code, found = verified(capsys, pair[0], bad, "--save-failing-inputs", folder)
    assert code == ExitCode.MISMATCH
    saved = ["--load-inputs", f"{folder}/failing-inputs.npz"]
    program, *words = shlex.split(found["reproduce"])
    assert (program, words[:3], words[-2:]) == ("fc2conv", ["verify", pair[0], bad], saved)
    shutil.move(folder, f"{folder}-then")
    assert main([*words[:-1], f"{folder}-then/failing-inputs.npz"]) == ExitCode.MISMATCH
    assert Path(folder).exists()
    again = verified(capsys, pair[0], bad, "--load-inputs", f"{folder}/failing-inputs.npz")[1]
    assert numeric(again).split(", where ")[0] == numeric(found).split(", where ")[0]
    assert verified(capsys, *pair[:2], *saved)[0] == ExitCode.DONE


def test_the_command_that_reproduces_is_on_one_line(pair: Any, tmp_path: Path, capsys: Any) -> None:
    folder = tmp_path / ("a folder with a long name " * 4)
    assert main(["verify", pair[0], faulty(pair[1]), "--save-failing-inputs", str(folder)]) == ExitCode.MISMATCH
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("Reproduce with: ")]
    assert main(shlex.split(line.removeprefix("Reproduce with: "))[1:]) == ExitCode.MISMATCH


def test_a_conversion_that_fails_tells_the_command_as_well(
    pair: Any, tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(compare.TOLERANCES, "float32", (0.0, 0.0))
    words = [pair[0], str(tmp_path / "c.onnx"), "--numeric-only", "--save-failing-inputs", str(tmp_path)]
    assert main(words) == ExitCode.MISMATCH
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    command = shlex.join(["fc2conv", "convert", *words, "--load-inputs", str(tmp_path / "failing-inputs.npz")])
    assert f"reproduce with: {command}: nothing was written" in error
    assert main(shlex.split(command)[1:]) == ExitCode.MISMATCH
    assert not (tmp_path / "c.onnx").exists()


def test_only_a_proof_or_only_numbers(pair: Any, capsys: Any) -> None:
    code, found = verified(capsys, *pair[:2], "--exact-only")
    verdicts = {check["name"]: check["verdict"] for check in found["checks"]}
    assert (code, found["verdict"], verdicts["exact"], verdicts["numeric"]) == (0, "proved", "proved", "skipped")
    assert [(each["verdict"], each["max_abs_difference"]) for each in found["outputs"]] == [("proved", None)]
    code, found = verified(capsys, *pair[:2], "--numeric-only")
    verdicts = {check["name"]: check["verdict"] for check in found["checks"]}
    assert (code, found["verdict"], verdicts["exact"], verdicts["numeric"]) == (0, "agrees", "skipped", "agrees")
    assert verified(capsys, *pair[:2], "--numeric-only", "--exact-only")[0] == ExitCode.USAGE
    bad = faulty(pair[1])
    assert verified(capsys, pair[0], bad, "--exact-only")[0] == ExitCode.MISMATCH
    assert verified(capsys, pair[0], bad, "--numeric-only")[0] == ExitCode.MISMATCH


@pytest.mark.parametrize("level", ["disable", "all", "both"])
def test_levels_of_optimization(level: str, pair: Any, capsys: Any) -> None:
    code, found = verified(capsys, *pair[:2], "--ort-opt", level)
    assert code == ExitCode.DONE
    assert numeric(found).count("values agree") == (2 if level == "both" else 1)


def test_providers(pair: Any, capsys: Any) -> None:
    assert verified(capsys, *pair[:2], "--providers", "CPUExecutionProvider")[0] == ExitCode.DONE
    assert verified(capsys, *pair[:2], "--providers", "NoSuchProvider")[0] == ExitCode.USAGE


def test_a_tolerance_for_one_output_and_the_likeness_of_all(pair: Any, capsys: Any) -> None:
    _, found = verified(capsys, *pair[:2], "--per-output", "probabilities:0.5", "--val-range", "0,255")
    output = found["outputs"][0]
    assert output["bound"] == pytest.approx(0.5 * output["max_abs_reference"], rel=1e-3)
    assert output["cosine"] == pytest.approx(1.0)
    assert output["top1_agreement"] == 1.0
    assert output["snr_db"] is None or output["snr_db"] > 80
    assert "inputs [0, 255], as given" in numeric(found)


def test_a_certificate_is_checked_again(pair: Any, capsys: Any) -> None:
    model, out, report = pair
    record = json.loads(Path(report).read_text(encoding="ascii"))
    assert [len(record[side]["sha256"]["a.onnx" if side == "input" else "b.onnx"]) for side in ("input", "output")] == [
        64,
        64,
    ]
    code, found = verified(capsys, model, out, "--certificate", report)
    assert code == ExitCode.DONE
    assert found["checks"][-1]["name"] == "recorded"
    assert found["checks"][-1]["verdict"] == "agrees"
    moved = out.replace("b.onnx", "c.onnx")
    shutil.copy(out, moved)
    assert verified(capsys, model, moved, "--certificate", report)[0] == ExitCode.DONE


@pytest.mark.parametrize("only", ["exact", "numeric"])
def test_a_certificate_is_not_checked_in_part(pair: Any, capsys: Any, only: str) -> None:
    """What is left out would be missing from what the certificate says."""
    model, out, report = pair
    assert main(["verify", model, out, "--certificate", report, f"--{only}-only"]) == ExitCode.USAGE
    assert f"leave --{only}-only out" in capsys.readouterr().err


def test_a_certificate_of_other_files_is_refused(pair: Any, tmp_path: Path, capsys: Any) -> None:
    model, out, report = pair
    other = onnx.load(out)
    other.graph.node[0].doc_string = "another file, the same model"
    onnx.save(other, out)
    code, found = verified(capsys, model, out, "--certificate", report)
    assert code == ExitCode.MISMATCH
    assert found["checks"][-1]["detail"].endswith("is not the second model of the certificate: another SHA-256")
    assert verified(capsys, model, out, "--certificate", str(tmp_path / "none.json"))[0] == ExitCode.USAGE
    assert verified(capsys, model, out, "--certificate", model)[0] == ExitCode.USAGE


def test_a_certificate_that_was_changed_is_refused(pair: Any, tmp_path: Path, capsys: Any) -> None:
    """The proof is run once more, with its seed, and what it finds must be what is recorded."""
    model, out, report = pair
    seeded = str(tmp_path / "seeded.json")
    assert main(["verify", model, out, "--seed", "5", "-q", "--report", seeded]) == ExitCode.DONE
    for path in (report, seeded):
        code, found = verified(capsys, model, out, "--certificate", path)
        assert (code, found["checks"][-1]["verdict"]) == (ExitCode.DONE, "agrees")
        assert found["certificate"] == json.loads(Path(path).read_text(encoding="ascii"))["verification"]["certificate"]
    assert found["certificate"]["seed"] == 5
    assert verified(capsys, model, out, "--certificate", seeded, "--seed", "6")[0] == ExitCode.USAGE
    for name, value in {"primes": [3], "residues": {"probabilities": "0"}, "a": ["0" * 64]}.items():
        forged = json.loads(Path(report).read_text(encoding="ascii"))
        forged["verification"]["certificate"][name] = value
        (tmp_path / "forged.json").write_text(json.dumps(forged), encoding="ascii")
        code, found = verified(capsys, model, out, "--certificate", f"{tmp_path}/forged.json")
        assert (code, found["verdict"], found["checks"][-1]["verdict"]) == (ExitCode.MISMATCH, "differs", "differs")
        assert found["checks"][-1]["detail"].startswith("not as recorded: the ")
        forged["versions"]["fc2conv"] = "0.0.1"
        (tmp_path / "forged.json").write_text(json.dumps(forged), encoding="ascii")
        code, found = verified(capsys, model, out, "--certificate", f"{tmp_path}/forged.json")
        assert (code, found["verdict"], found["checks"][-1]["verdict"]) == (ExitCode.DONE, "proved", "inconclusive")


def test_primes_depend_on_the_files(pair: Any, capsys: Any) -> None:
    """Nobody can make a model for a known seed."""
    first = verified(capsys, *pair[:2])[1]["certificate"]
    other = onnx.load(pair[1])
    other.doc_string = "another file, the same model"
    onnx.save(other, pair[1])
    second = verified(capsys, *pair[:2])[1]["certificate"]
    assert first["a"] == second["a"]
    assert not set(first["primes"]) & set(second["primes"])


@pytest.mark.parametrize("option", [("--val-range", "5"), ("--val-range", "2,1"), ("--per-output", "x"),
                                    ("--per-output", "x:-1"), ("--ort-opt", "some")])  # fmt: skip
def test_options_that_make_no_sense(option: tuple[str, str], pair: Any, capsys: Any) -> None:
    assert verified(capsys, *pair[:2], *option)[0] == ExitCode.USAGE
