"""Profiles: what a file may say, where one is found, and that every fact has a source with a date."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from textmodel import parse

import fc2conv
from fc2conv.__main__ import main
from fc2conv.errors import ExitCode, UsageError
from fc2conv.options import Options
from fc2conv.targets.chosen import conv_rank, profile_of
from fc2conv.targets.describe import described, listed
from fc2conv.targets.lookup import find, installed, shipped, source

Captured = pytest.CaptureFixture[str]
NAMED = """onnx dla tidl ethos-u ethos-n78 dpu dpu-czdx8g dpu-cvdx8h dpu-cadf8h intel-npu qualcomm-htp rknn mdla neutron
max78000 k210 axelera ane kneron edgetpu onnxruntime-cpu openvino-cpu ncnn mnn""".split()
SOURCE = '\n[sources.a]\ntitle = "t"\ndate = "2026-11"\n'


def written(folder: Path, text: str, name: str = "mine.toml") -> str:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_what_is_shipped() -> None:
    assert set(NAMED) <= set(shipped())


@pytest.mark.parametrize("name", NAMED)
def test_every_fact_has_a_source_with_a_date(name: str) -> None:
    profile = find(name)
    assert profile.name == name
    assert profile.title
    assert all(source.date for source in profile.sources.values())
    assert all(fact.source in profile.sources for _, _, fact in profile.facts())
    text = described(profile)
    assert all(source.date in text and source.title.split()[0] in text for source in profile.sources.values())


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[conv]\nkernel-hight = []", "conv: there is no key 'kernel-hight': did you mean 'kernel-height'?"),
        ('[conv]\nrank = [{most = 4, sorce = "a"}]', "conv: rank: there is no key 'sorce': did you mean 'source'?"),
        ("[cnov]", "there is no key 'cnov': did you mean 'conv'?"),
        ('[sources.b]\ntitle = "t"\ndat = "x"', "sources: there is no key 'dat': did you mean 'date'?"),
        ('[conv]\nrank = [{most = 4, source = "b"}]', "conv.rank names the source 'b', which [sources] has not"),
        ('[conv]\nrank = [{multiple = 0, source = "a"}]', "Expected `int` >= 1"),
        ('[prefers]\nform = [{value = "maps", source = "a"}]', "Invalid enum value 'maps'"),
        ("conv = 3", "Expected `object`, got `int`"),
        ('like = "dlaa"', "there is no shipped target 'dlaa': the nearest is 'dla'"),
        ("[conv", "cannot be read as TOML"),
    ],
)
def test_what_a_profile_may_not_say(tmp_path: Path, text: str, said: str) -> None:
    ends = "" if text.startswith(("conv", "like")) else SOURCE
    path = written(tmp_path, f'title = "x"\n{text}\n{ends}')
    with pytest.raises(UsageError) as stop:
        find(path)
    assert said in str(stop.value)
    assert path in str(stop.value)


@pytest.mark.parametrize(
    ("target", "said"), [("dlla", "the nearest is 'dla'"), ("none.toml", "cannot be read"), (".", "no target '.'")]
)
def test_a_target_that_is_not_there(target: str, said: str, capsys: Captured) -> None:
    with pytest.raises(UsageError, match=said):
        find(target)
    assert main(["check", "model.onnx", "--target", target]) == ExitCode.USAGE
    assert said in capsys.readouterr().err


def test_a_profile_may_be_like_another(tmp_path: Path) -> None:
    path = written(tmp_path, 'title = "x"\nlike = "dla"\n[prefers]\n')
    assert find(path).conv == find("dla").conv
    assert find(path).form == "map"
    assert len(source(path)) == 2
    assert find("dpu").conv == find("dpu-czdx8g").conv


def test_a_profile_that_is_like_another_has_its_sources_as_well(tmp_path: Path) -> None:
    facts = '[prefers]\nform = [{value = "map", source = "a"}]\n'
    profile = find(written(tmp_path, f'title = "x"\nlike = "dla"\n{facts}{SOURCE}'))
    assert profile.sources.keys() == {"a", *find("dla").sources}
    with pytest.raises(UsageError, match="Expected `object`"):
        find(written(tmp_path, 'title = "x"\nlike = "dla"\nsources = 3\n'))


def test_the_example_of_the_documentation(tmp_path: Path, root: Path) -> None:
    page = (root / "docs" / "target-profiles.md").read_text(encoding="utf-8")
    example = next(block for block in page.split("```")[1::2] if 'title = "Acme' in block).removeprefix("text\n")
    profile = find(written(tmp_path, example))
    assert len(list(profile.facts())) == 10
    assert [flag.value for flag in profile.fc.runs] == [False]


@pytest.mark.parametrize("editable", [False, True])
def test_a_package_gives_a_folder_of_profiles(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, editable: bool, capsys: Captured
) -> None:
    """The folder is read; the package, which would fail where it is imported, is not."""
    site, code = tmp_path / "site", tmp_path / "code" / "src" if editable else tmp_path / "site"
    info = site / "acme-1.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[fc2conv.targets]\nacme = acme.profiles\n")
    if editable:
        (info / "direct_url.json").write_text(f'{{"url": "file://{tmp_path}/code", "dir_info": {{"editable": true}}}}')
    folder = code / "acme" / "profiles"
    folder.mkdir(parents=True)
    (code / "acme" / "__init__.py").write_text("raise SystemExit('imported')\n")
    written(folder, 'title = "Acme NPU"\n', "acme-npu.toml")
    written(folder, 'title = "another"\n', "dla.toml")
    monkeypatch.syspath_prepend(str(site))
    assert installed()["acme-npu"] == folder / "acme-npu.toml"
    assert find("acme-npu").title == "Acme NPU"
    assert find("dla").title.startswith("NVIDIA")
    assert "acme" not in sys.modules
    assert main(["targets"]) == ExitCode.DONE
    assert "acme-npu" in capsys.readouterr().out


def test_options_stand_in_the_place_of_facts() -> None:
    assert profile_of(Options()) is None
    given = profile_of(Options(target="intel-npu", max_kernel=3, max_channels=64, channel_multiple=8))
    assert given is not None
    assert [limit.most for limit in given.conv.kernel_height] == [3]
    assert [limit.most for limit in given.conv.input_channels] == [None, 64, None]
    assert [limit.multiple for limit in given.conv.input_channels] == [1, 1, 8]
    assert [limit.allowed for limit in given.conv.rank] == [[4]]
    assert profile_of(Options(target="max78000", max_kernel=5)).conv.kernels == []  # type: ignore[union-attr]
    assert profile_of(Options(target="ethos-u", layer_form="map")).form == "map"  # type: ignore[union-attr]
    assert conv_rank(Options(target="dla"), find("dla")) == "2d"
    assert conv_rank(Options(target="dla", conv_rank="1d"), find("dla")) == "1d"
    assert conv_rank(Options(), None) == "auto"


def test_the_command_lists_and_shows(capsys: Captured) -> None:
    assert main(["targets"]) == ExitCode.DONE
    assert capsys.readouterr().out == listed()
    assert main(["targets", "mdla"]) == ExitCode.DONE
    shown = capsys.readouterr().out
    assert "input channels: at most 8194 for int8,uint8 [guidelines]" in shown
    assert "read 2026-11" in shown
    assert main(["targets", "mdla", "--output-format", "json"]) == ExitCode.DONE
    assert '"name": "mdla"' in capsys.readouterr().out


@pytest.mark.parametrize(("named", "code"), [(False, ExitCode.USAGE), (True, ExitCode.CHECK_FOUND)])
def test_a_configuration_that_was_found_names_shipped_targets_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lenet: Path, named: bool, code: ExitCode, capsys: Captured
) -> None:
    written(tmp_path, f'title = "x"\n[model]\nstatic = [{{value = true, source = "a"}}]\n{SOURCE}')
    written(tmp_path, 'target = "mine.toml"\n', "fc2conv.toml")
    monkeypatch.chdir(tmp_path)
    line = ["check", lenet.name, *(["--config", "fc2conv.toml"] if named else [])]
    assert main(line) == code
    assert ("names a target that fc2conv does not ship" in capsys.readouterr().err) != named
    written(tmp_path, 'target = "onnx"\n', "fc2conv.toml")
    assert main(line) == ExitCode.DONE


def test_weights_of_layout_nodes_decide(tmp_path: Path) -> None:
    model = parse(
        """graph (float[N,8,6,5] x) => (float[N,30,8] y) <int64[3] s = {0, 8, 30}, int64 one = {1}, float[8,8] w>
        { c = Relu (x)  r = Reshape (c, s)  t = Transpose <perm = [0, 2, 1]> (r)  a = CumSum (t, one)
          [fc] m = MatMul (a, w)  y = CumSum (m, one) }"""
    )
    for weight, decision in ((1, "keep"), (0, "convert")):
        weights = [f'{{ operator = "{name}", weight = {weight}, source = "a" }}' for name in ("Reshape", "Transpose")]
        text = f'title = "x"{SOURCE}[prefers]\nlayout = [{", ".join(weights)}]\n'
        path = written(tmp_path, text)
        report = fc2conv.convert(model, None, Options(target=path)).report
        assert [site.decision for site in report.sites] == [decision]
