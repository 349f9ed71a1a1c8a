"""What SRC may be: folders, globs, manifests, archives; each gives the same items wherever it is read."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import onnxruntime
import pytest
from batches import batch, files_of, outcomes_of, report_of, rows_of, save, save_external

from fc2conv.batch.discover import discover, of_shard
from fc2conv.batch.journal import Shard
from fc2conv.batch.manifest import read_manifest
from fc2conv.batch.staging import inner_path, staged
from fc2conv.batch.tasks import Item
from fc2conv.cli.batch import entry_options
from fc2conv.errors import ExitCode, Fc2convError, InputError, UsageError
from fc2conv.options import Limits, Options, SlidingOptions, VerifyOptions

pytestmark = pytest.mark.usefixtures("inline")


def names(source: object, out: object = "nowhere") -> list[str]:
    return [item.name for item in discover(str(source), str(out))]


def test_a_folder_without_what_runs_have_left(tmp_path: Path) -> None:
    save(tmp_path / "a.onnx")
    save(tmp_path / "sub" / "b.ONNX")
    save(tmp_path / "out" / "a.onnx")
    save(tmp_path / "other" / ".fc2conv" / "x.onnx")
    save(tmp_path / ".fc2conv-0123456789abcdef" / "x.onnx")
    (tmp_path / "c.onnx").symlink_to("a.onnx")
    assert names(tmp_path, tmp_path / "out") == ["a.onnx", "c.onnx", "sub/b.ONNX"]
    assert names(f"{tmp_path}/a.onnx") == ["a.onnx"]
    assert names(f"{tmp_path}/**/*.[oO]*", tmp_path / "out") == ["a.onnx", "c.onnx", "sub/b.ONNX"]
    assert names(f"{tmp_path}/su?/*") == ["sub/b.ONNX"]
    assert names(f"{tmp_path}/**/**/b*") == ["sub/b.ONNX"]
    for name in ("failing/a.onnx", "other/b.onnx"):
        (tmp_path / "sub" / name).mkdir(parents=True)
        (tmp_path / "sub" / name / ("failing-inputs.npz" if "fail" in name else "x.txt")).touch()
    assert names(tmp_path / "sub") == ["b.ONNX", "other/b.onnx"]


def test_a_destination_that_would_overwrite_the_source(tmp_path: Path) -> None:
    save(tmp_path / "zoo" / "a.onnx")
    for out in (tmp_path / "zoo", tmp_path):
        with pytest.raises(UsageError, match="apart from SRC"):
            discover(str(tmp_path / "zoo"), str(out))
    before = files_of(tmp_path / "zoo")
    assert batch(tmp_path / "zoo" / "a.onnx", tmp_path / "zoo", "--jobs", "1", "-q") == ExitCode.BATCH_FAILURES
    assert "is the model itself" in rows_of(tmp_path / "zoo")["a.onnx"].message
    assert files_of(tmp_path / "zoo") == before


@pytest.mark.parametrize("source", ["nowhere", "*.onnx", "empty"])
def test_a_source_without_models(tmp_path: Path, source: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError):
        discover(str(tmp_path / source), "out")


def test_parts_of_a_batch_are_stable_and_whole() -> None:
    items = [Item(name=f"{number}.onnx", kind="file", location="x") for number in range(100)]
    parts = [of_shard(items, Shard(index, 3)) for index in (1, 2, 3)]
    assert sorted(item.name for part in parts for item in part) == sorted(item.name for item in items)
    assert all(len(part) > 10 for part in parts)
    assert of_shard(items[::2], Shard(2, 3)) == [item for item in parts[1] if item in items[::2]]


# --- archives -------------------------------------------------------------------------------------------------------


def test_an_archive_with_data_and_with_names_that_lead_out(tmp_path: Path) -> None:
    save(tmp_path / "a.onnx", 1)
    save_external(tmp_path / "b.onnx", "b.bin", 2)
    archive, out = tmp_path / "zoo.zip", tmp_path / "deep" / "out"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as target:
        target.write(tmp_path / "a.onnx", "a.onnx")
        target.write(tmp_path / "b.onnx", "sub/b.onnx")
        target.write(tmp_path / "b.bin", "sub/b.bin")
        target.write(tmp_path / "b.onnx", "without/b.onnx")
        target.write(tmp_path / "a.onnx", "../../escaped.onnx")
        for name in ("./a.onnx", "/absolute.onnx"):
            entry = zipfile.ZipInfo("x")
            entry.filename = name  # as nobody writes it who means well
            target.writestr(entry, (tmp_path / "a.onnx").read_bytes())
        target.write(tmp_path / "a.onnx", "..\\windows.onnx")
    before = files_of(tmp_path)
    assert batch(archive, out, "--jobs", "2", "-q") == ExitCode.BATCH_FAILURES
    assert outcomes_of(out) == {
        "../../escaped.onnx": "invalid",
        "..\\windows.onnx": "invalid",
        "/absolute.onnx": "invalid",
        "a.onnx": "converted",
        "a.onnx (2)": "invalid",
        "sub/b.onnx": "converted",
        "without/b.onnx": "invalid",
    }
    found = rows_of(out)
    assert f"{archive}!without/b.onnx has no data file without/b.bin" in found["without/b.onnx"].message
    assert found["sub/b.onnx"].report is not None
    assert found["sub/b.onnx"].report.input.path == f"{archive}!sub/b.onnx"
    for name in ("a.onnx", "sub/b.onnx"):
        onnxruntime.InferenceSession(str(out / name), providers=["CPUExecutionProvider"])
    assert {name: digest for name, digest in files_of(tmp_path).items() if not name.startswith("deep/")} == before
    assert not list(tmp_path.rglob("escaped*"))


def test_an_archive_is_not_taken_at_its_word(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as target:
        target.writestr("big.onnx", bytes(1 << 20))
    item = Item(name="big.onnx", kind="zip", location=str(tmp_path / "bomb.zip"), member="big.onnx")
    with pytest.raises(InputError, match="unpacks to more than can be kept"), staged(item, limit=1 << 19):
        pass
    broken = bytearray((tmp_path / "bomb.zip").read_bytes())
    broken[60:70] = b"\xff" * 10
    (tmp_path / "bomb.zip").write_bytes(broken)
    with pytest.raises(InputError, match=r"bomb.zip!big.onnx cannot be unpacked"), staged(item):
        pass


@pytest.mark.parametrize("name", ["", ".", "/a", "../a", "a/../../b", "a\\..\\b", "C:\\a", "C:a", "a\0b"])
def test_names_that_lead_out(name: str) -> None:
    assert inner_path(name) is None
    assert str(inner_path("./a//b.onnx")) == "a/b.onnx"


# --- manifests ------------------------------------------------------------------------------------------------------

MANIFESTS = {
    "zoo.csv": 'model,output,scope,exclude,no-verify,timeout\nm/a.onnx,,all,"x;y",,\nm/b.onnx,one/b.onnx,,,true,5\n',
    "zoo.json": json.dumps(
        [
            {"model": "m/a.onnx", "scope": "all", "exclude": ["x", "y"]},
            {"model": "m/b.onnx", "output": "one/b.onnx", "no-verify": True, "timeout": 5},
        ]
    ),
    "zoo.yaml": "- model: m/a.onnx\n  scope: all\n  exclude: [x, y]\n"
    "- {model: m/b.onnx, output: one/b.onnx, no-verify: true, timeout: 5}\n",
}


@pytest.mark.parametrize("name", MANIFESTS)
def test_a_manifest_has_options_for_each_model(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text(MANIFESTS[name])
    first, second = read_manifest(str(tmp_path / name))
    assert (first.item.name, first.item.location) == ("m/a.onnx", f"{tmp_path}/m/a.onnx")
    assert (second.item.name, second.item.location) == ("one/b.onnx", f"{tmp_path}/m/b.onnx")
    given = {"scope": "spatial", "include": ("z",), "no_verify": False}
    assert entry_options(given, first.given, first.where) == Options(scope="all", include=("z",), exclude=("x", "y"))
    assert entry_options(given, second.given, second.where) == Options(
        include=("z",), verify=False, limits=Limits(5), verification=VerifyOptions(limits=Limits(5))
    )


def test_a_manifest_chooses_what_slides() -> None:
    given = {"fully_convolutional": True, "reduce": "mean", "score_map": {"": "logits"}}
    own = {"score-map": "y:probabilities", "cam": True, "global-pool": "keep"}
    mode = entry_options(given, own, "here").sliding
    assert mode == SlidingOptions(reduce="mean", score_map={"y": "probabilities"}, cam=True, global_pool="keep")
    assert entry_options(given, {"fully-convolutional": False}, "here").sliding is None
    assert entry_options({}, {"fully-convolutional": True}, "here").sliding == SlidingOptions()
    assert entry_options({}, {"static": True}, "here").static == 1


def test_a_manifest_is_converted(tmp_path: Path) -> None:
    save(tmp_path / "m" / "a.onnx", 1)
    save(tmp_path / "m" / "b.onnx", 2)
    lines = ["model,output,exclude", "m/a.onnx,,fc", "m/b.onnx,x.onnx,", "m/gone.onnx,,"]
    (tmp_path / "zoo.csv").write_text("\n".join(lines))
    out = tmp_path / "out"
    assert batch(tmp_path / "zoo.csv", out, "--jobs", "1", "-q") == ExitCode.BATCH_FAILURES
    assert outcomes_of(out) == {"m/a.onnx": "kept", "m/gone.onnx": "invalid", "x.onnx": "converted"}
    assert report_of(out).models == 3


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.csv", "model,scpe\na.onnx,all\n", "line 2: 'scpe' is not an option"),
        ("a.csv", "model,scope\na.onnx,some\n", "line 2: Invalid value for '--scope'"),
        ("a.csv", "model,force\na.onnx,maybe\n", "line 2: force is true or false"),
        ("a.csv", "model\na.onnx,b\n", "line 2 has more cells"),
        ("a.csv", "models\na.onnx\n", "line 2 has no 'model'"),
        ("a.csv", "model\n", "names no model"),
        ("a.csv", "model,scope,scope\na.onnx,all,spatial\n", "has two columns 'scope'"),
        ("a.json", '[{"model": "a.onnx", "output": ["a.onnx"]}]', "entry 1: 'output' is not a path"),
        ("a.csv", "model\na\u2028b.onnx,c\n", "line 2 has more cells"),
        ("a.json", '[{"model": "a\\u0000.onnx", "output": "a"}]', "entry 1: 'model' holds a NUL"),
        ("a.json", '{"model": "a.onnx"}', "is no list of models"),
        ("a.json", "[3]", "entry 1 is no model"),
        ("a.json", "[", "cannot be read"),
        ("a.json", '["a.onnx", "a.onnx"]', "entry 2: the output 'a.onnx' is that of"),
        ("a.json", '["../a.onnx"]', "entry 1: '../a.onnx' is no path below DST"),
        ("a.json", '[{"model": "a.onnx", "output": ".fc2conv/x"}]', "is no path below DST"),
        ("a.yaml", "- model: [", "cannot be read"),
        ("a.json", '[{"model": "a.onnx", "cam": true}]', "entry 1: --cam needs --fully-convolutional"),
        ("a.yaml", '- {model: a.onnx, "rtol": -1}', "entry 1: Invalid value for '--rtol'"),
    ],
)
def test_a_manifest_that_is_wrong_says_where(tmp_path: Path, name: str, text: str, message: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(Fc2convError) as stop:
        _read(str(tmp_path / name))
    assert message in str(stop.value)
    assert stop.value.exit_code in (ExitCode.USAGE, ExitCode.INPUT)


def test_an_output_over_the_model_of_another_entry(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save(tmp_path / "zoo" / "a.onnx")
    save(tmp_path / "zoo" / "b.onnx", 1)
    (tmp_path / "link").symlink_to(tmp_path / "zoo")
    manifest = tmp_path / "zoo" / "models.json"
    manifest.write_text(json.dumps([{"model": "a.onnx", "output": "b.onnx"}, {"model": "b.onnx", "output": "c.onnx"}]))
    before = files_of(tmp_path)
    assert batch(manifest, tmp_path / "link", "-q") == ExitCode.USAGE
    assert "entry 1: the output 'b.onnx' is the model of" in capsys.readouterr().err
    manifest.write_text(json.dumps([{"model": "a.onnx", "output": "models.json"}]))
    before = files_of(tmp_path)
    assert batch(manifest, tmp_path / "link", "-q") == ExitCode.USAGE
    assert "entry 1: the output 'models.json' is the manifest" in capsys.readouterr().err
    assert files_of(tmp_path) == before


def _read(manifest: str) -> list[Options]:
    return [entry_options({}, entry.given, entry.where) for entry in read_manifest(manifest)]
