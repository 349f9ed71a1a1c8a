"""A picture drawn: a network that sees colours, put on pictures with a patch of one."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from coloured import BLUE, RED, colours, patched, saved, written
from PIL import Image
from textmodel import parse

import fc2conv
from fc2conv import HeatmapOptions, Options, SlidingOptions
from fc2conv.__main__ import main
from fc2conv.errors import ExitCode, InputError, OutputError, OverlapError, UsageError


def middle(path: Path) -> tuple[float, float]:
    """(x, y) of the brightest pixels of what was drawn."""
    drawn = np.asarray(Image.open(path).convert("L"), np.float64)
    rows, columns = np.nonzero(drawn >= np.quantile(drawn, 0.999))
    return float(columns.mean()), float(rows.mean())


@pytest.mark.parametrize(("label", "place"), [(RED, (75, 35)), (BLUE, (40, 80))])
@pytest.mark.parametrize("channels_last", [False, True])
def test_the_bright_spot_is_where_the_class_is(
    label: int, place: tuple[int, int], channels_last: bool, picture: Path, tmp_path: Path
) -> None:
    model = written(tmp_path, channels_last)
    seen = fc2conv.heatmap(model, picture, tmp_path / "out.png", HeatmapOptions(label=label))
    left, top, right, bottom = seen.box
    assert left <= place[0] <= right
    assert top <= place[1] <= bottom
    x, y = middle(tmp_path / "out.png")
    assert abs(x - place[0]) < 10
    assert abs(y - place[1]) < 10
    assert Image.open(tmp_path / "out.png").size == (140, 110)


def test_the_best_class_is_the_default(network: Path, picture: Path, tmp_path: Path) -> None:
    seen = fc2conv.heatmap(network, picture, tmp_path / "out.png")
    assert (seen.label, seen.cells, seen.output) == (RED, (20, 28), "scores")
    swapped = fc2conv.heatmap(network, picture, tmp_path / "out.png", HeatmapOptions(bgr=True))
    assert swapped.label == BLUE


def test_what_is_fed(network: Path, picture: Path, tmp_path: Path) -> None:
    plain = fc2conv.heatmap(network, picture, tmp_path / "a.png", HeatmapOptions(label=RED))
    scaled = fc2conv.heatmap(
        network, picture, tmp_path / "b.png", HeatmapOptions(label=RED, scale=1 / 255, mean=(0,), std=(0.5, 0.5, 0.5))
    )
    assert scaled.score == pytest.approx(2 * plain.score, rel=1e-3)
    small = fc2conv.heatmap(network, picture, tmp_path / "c.png", HeatmapOptions(label=RED, size=(55, 70)))
    assert Image.open(tmp_path / "c.png").size == (70, 55)
    assert small.cells == (6, 10)


def test_a_map_at_the_size_of_the_image(picture: Path, tmp_path: Path) -> None:
    model = written(tmp_path, upsample=True)
    seen = fc2conv.heatmap(model, picture, tmp_path / "out.png", HeatmapOptions(label=RED))
    assert seen.cells == (110, 140)
    x, y = middle(tmp_path / "out.png")
    assert abs(x - 75) < 16
    assert abs(y - 35) < 16


def test_what_is_refused(network: Path, picture: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.png"
    small = tmp_path / "small.png"
    Image.new("RGB", (31, 40)).save(small)
    plain = tmp_path / "plain.onnx"
    onnx.save(colours(), plain)
    with pytest.raises(InputError, match="no map of scores"):
        fc2conv.heatmap(plain, picture, out)
    with pytest.raises(InputError, match=r"40x31 pixels .* 32x32 and more"):
        fc2conv.heatmap(network, small, out)
    with pytest.raises(InputError, match="cannot be read"):
        fc2conv.heatmap(network, network, out)
    with pytest.raises(UsageError, match="no class 3"):
        fc2conv.heatmap(network, picture, out, HeatmapOptions(label=3))
    with pytest.raises(UsageError, match="which is no map"):
        fc2conv.heatmap(network, picture, out, HeatmapOptions(output="nobody"))
    with pytest.raises(UsageError, match="2 numbers"):
        fc2conv.heatmap(network, picture, out, HeatmapOptions(mean=(0.5, 0.5)))
    with pytest.raises(OutputError):
        fc2conv.heatmap(network, picture, tmp_path / "nowhere" / "out.png")
    assert not out.exists()
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


@pytest.mark.parametrize("words", ["--opacity nan", "--scale nan", "--scale inf", "--scale 1,2", "--mean 0,nan,0"])
def test_numbers_that_are_none(words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["heatmap", "m.onnx", "p.png", "o.png", *words.split()]) == ExitCode.USAGE
    assert "Invalid value for" in capsys.readouterr().err


def test_the_command(network: Path, picture: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.png"
    command = [sys.executable, "-m", "fc2conv", "heatmap", network, picture, out, "--class", "1", "--scale", "0.004"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"{out}: class 1 is highest with ")
    assert "cell (row 5, column 15) of 20x28 (rows x columns), pixels x 60-92, y 20-52\n" in done.stdout
    assert out.is_file()


def test_options_of_a_file(
    network: Path, picture: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "fc2conv.toml").write_text("[heatmap]\nclass = 1\n")
    assert main(["heatmap", str(network), str(picture), "out.png"]) == ExitCode.DONE
    assert capsys.readouterr().out.startswith("out.png: class 1 is highest with ")


def test_without_pillow_one_line_says_what_to_install(
    network: Path, picture: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "PIL", None)
    monkeypatch.setitem(sys.modules, "PIL.Image", None)
    with pytest.raises(UsageError, match=r"pip install 'fc2conv\[image\]'"):
        fc2conv.heatmap(network, picture, tmp_path / "out.png")


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("input", "gone", "does not fit its inputs"),
        ("dim", 7, "does not fit its inputs"),
        ("minimum", 0, "does not fit its inputs"),
        ("stride", 1e999, "cannot be read"),
    ],
)
def test_a_geometry_that_is_not_the_models(key: str, value: object, words: str, network: Path, tmp_path: Path) -> None:
    model = onnx.load(network)
    (entry,) = (entry for entry in model.metadata_props if entry.key.startswith("fc2conv.geometry."))
    geometry = json.loads(entry.value)
    geometry["axes"][0][key] = value
    entry.value = json.dumps(geometry)
    onnx.save(model, network)
    Image.new("RGB", (64, 64)).save(tmp_path / "a.png")
    with pytest.raises(InputError, match=words):
        fc2conv.heatmap(network, tmp_path / "a.png", tmp_path / "b.png")


@pytest.mark.filterwarnings("ignore:overflow")
def test_scores_that_are_no_numbers(network: Path, tmp_path: Path) -> None:
    Image.new("RGB", (64, 64), "white").save(tmp_path / "a.png")
    with pytest.raises(InputError, match="has no number for class 0"):
        fc2conv.heatmap(network, tmp_path / "a.png", tmp_path / "b.png", HeatmapOptions(scale=1e300))


# ------------------------------------------------------------------ what is drawn


def test_the_map_as_numbers(network: Path, picture: Path, tmp_path: Path) -> None:
    seen = fc2conv.heatmap(network, picture, tmp_path / "out.png", HeatmapOptions(save_map=True))
    cells = np.load(tmp_path / "out.npy")
    assert cells.shape == (3, *seen.cells)
    assert cells[seen.label][seen.cell] == pytest.approx(seen.score)
    assert cells.max() == pytest.approx(seen.score)


def test_classes_by_name_and_on_one_sheet(network: Path, picture: Path, tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_text("nothing\nred, crimson\nblue\n")
    options = HeatmapOptions(label=("Crimson", "blue"), names=str(tmp_path / "names.txt"), box=True)
    seen = fc2conv.heatmap(network, picture, tmp_path / "sheet.png", options)
    assert [(each.label, each.name) for each in seen.classes] == [(RED, "red, crimson"), (BLUE, "blue")]
    sheet = Image.open(tmp_path / "sheet.png")
    assert sheet.width > 2 * 140
    best = fc2conv.heatmap(network, picture, tmp_path / "top.png", HeatmapOptions(top=2, names=options.names))
    assert [each.label for each in best.classes] == [RED, BLUE]
    with pytest.raises(UsageError, match="no class is named 'bleu': the nearest are blue"):
        fc2conv.heatmap(network, picture, tmp_path / "x.png", HeatmapOptions(label="bleu", names=options.names))
    (tmp_path / "more.json").write_text('{"0": ["n1", "a"], "1": ["n2", "b"]}')
    with pytest.raises(UsageError, match="has 2 names, and the map has 3 classes"):
        fc2conv.heatmap(network, picture, tmp_path / "x.png", HeatmapOptions(names=str(tmp_path / "more.json")))
    (tmp_path / "numbers.json").write_text('{"none": 0, "blue": 2, "red": 1}')
    seen = fc2conv.heatmap(network, picture, tmp_path / "x.png", HeatmapOptions(names=str(tmp_path / "numbers.json")))
    assert seen.classes[0].name == "red"


def test_a_fixed_range_and_the_opacity(network: Path, picture: Path, tmp_path: Path) -> None:
    def drawn(**options: object) -> np.ndarray:
        given = HeatmapOptions(label=RED, **options)  # type: ignore[arg-type]
        fc2conv.heatmap(network, picture, tmp_path / "out.png", given)
        return np.asarray(Image.open(tmp_path / "out.png"), np.float64)

    assert drawn(value_range=(0, 1000)).max() < drawn().max()  # every score is among the darkest
    grey = np.asarray(Image.open(picture).convert("L"), np.float64)[:, :, None]
    assert np.abs(drawn(opacity=0.0) - grey).max() <= 1
    assert np.ptp(drawn(opacity=1.0, value_range=(1000, 1001))) == pytest.approx(4)  # the darkest colour alone


def test_a_legend_and_a_box_are_drawn_beside_and_over(network: Path, picture: Path, tmp_path: Path) -> None:
    plain = fc2conv.heatmap(network, picture, tmp_path / "a.png", HeatmapOptions(label=RED))
    fc2conv.heatmap(network, picture, tmp_path / "b.png", HeatmapOptions(label=RED, legend=True, box=True))
    one, two = (np.asarray(Image.open(tmp_path / name)) for name in ("a.png", "b.png"))
    assert two.shape[0] > one.shape[0]
    changed = np.argwhere((two[:110, :140] != one).any(axis=2))
    left, top, right, bottom = plain.box
    assert tuple(changed.min(axis=0)) == (top - 1, left - 1)
    assert tuple(changed.max(axis=0)) == (bottom, right)


@pytest.mark.parametrize(("name", "kind"), [("o.jpg", "JPEG"), ("o.PNG", "PNG"), ("o.webp", "WEBP"), ("o", "PNG")])
def test_the_suffix_is_the_format(name: str, kind: str, network: Path, picture: Path, tmp_path: Path) -> None:
    fc2conv.heatmap(network, picture, tmp_path / name)
    assert Image.open(tmp_path / name).format == kind


def test_a_name_of_no_format(network: Path, picture: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is no name of a picture"):
        fc2conv.heatmap(network, picture, tmp_path / "out.txt")


def test_a_folder_of_pictures(network: Path, picture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    saved(photos / "a.jpg", np.asarray(Image.open(picture)))
    saved(photos / "a.png", patched())
    saved(photos / "small.png", patched()[:20])
    (photos / "notes.txt").write_text("no picture")
    assert main(["heatmap", str(network), str(photos), str(tmp_path / "out"), "--class", "1"]) == ExitCode.INPUT
    printed = capsys.readouterr()
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.jpg.png", "a.png.png"]
    assert printed.out.count("class 1 is highest with") == 2
    assert "1 of 3 pictures not drawn; the first: the picture" in printed.err
    (tmp_path / "empty").mkdir()
    with pytest.raises(OutputError, match=r"cannot be written \(File exists\)"):
        fc2conv.heatmaps(network, photos, picture)
    with pytest.raises(InputError, match="has no pictures"):
        fc2conv.heatmaps(network, tmp_path / "empty", tmp_path / "other")


def test_pictures_of_a_folder_replace_none_and_have_a_name_each(network: Path, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    for name in ("a.jpg", "a.png", "a.jpg.png"):
        saved(photos / name, patched())
    before = {path: path.read_bytes() for path in photos.iterdir()}
    for out, over in ((photos, "the image"), (tmp_path / "out", "the picture")):
        with pytest.raises(OverlapError, match=rf"a\.jpg\.png would be written over {over}"):
            fc2conv.heatmaps(network, photos, out)
    assert {path: path.read_bytes() for path in photos.iterdir()} == before
    assert not list((tmp_path / "out").iterdir())


def test_a_picture_that_is_run_in_tiles_and_in_two_passes(
    network: Path, picture: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fc2conv.fcn import picture as pictures
    from fc2conv.fcn.tiles import Runner

    whole = pictures.heatmap(network, picture, tmp_path / "a.png", HeatmapOptions())
    monkeypatch.setattr(pictures, "room", lambda: 0)
    monkeypatch.setattr(Runner, "_chosen", lambda self, shape, _, __: (40, self._tiles(shape, 40)))
    tiled = pictures.heatmap(network, picture, tmp_path / "b.png", HeatmapOptions())
    assert (tiled.label, tiled.cell, tiled.box) == (whole.label, whole.cell, whole.box)
    one, two = (np.asarray(Image.open(tmp_path / name), int) for name in ("a.png", "b.png"))
    assert np.abs(one - two).max() <= 1


def test_a_size_that_does_not_run_is_cut(tmp_path: Path, capsys: pytest.CaptureFixture[str], network: Path) -> None:
    model = onnx.load(network)
    (entry,) = (entry for entry in model.metadata_props if entry.key.startswith("fc2conv.geometry."))
    geometry = json.loads(entry.value)
    for axis in geometry["axes"]:
        axis["step"], axis["remainders"] = 8, [0]
    entry.value = json.dumps(geometry)
    onnx.save(model, network)
    image = saved(tmp_path / "a.png", np.full((67, 64, 3), 99, np.uint8))
    assert main(["heatmap", str(network), str(image), str(tmp_path / "b.png"), "--class", "1"]) == ExitCode.DONE
    assert "without the last 3 rows and 0 columns" in capsys.readouterr().out
    assert Image.open(tmp_path / "b.png").size == (64, 64)


def test_a_network_of_one_picture_without_a_batch(tmp_path: Path, picture: Path) -> None:
    model = parse(
        """g (float[12,12,3] x) => (float[1,5] y) <float[4,3,3,3] k, float[5,100] w, int64[1] zero = {0}>
        { t = Transpose <perm = [2, 0, 1]> (x)  m = Unsqueeze (t, zero)  c = Conv <strides = [2, 2]> (m, k)
          f = Flatten (c)  [fc] y = Gemm <transB = 1> (f, w) }"""
    )
    fc2conv.convert(model, tmp_path / "one.onnx", Options(sliding=SlidingOptions(), verify=False))
    seen = fc2conv.heatmap(tmp_path / "one.onnx", picture, tmp_path / "o.png")
    assert seen.size == (110, 140)
    assert seen.cells == (50, 65)


def test_a_network_of_several_inputs_is_named(tmp_path: Path, picture: Path) -> None:
    model = parse(
        """g (float[1,3,12,12] x, float[1,7] z) => (float[1,5] y) <float[4,3,3,3] k, float[5,107] w>
        { c = Conv <strides = [2, 2]> (x, k)  f = Flatten (c)  j = Concat <axis = 1> (f, z)
          [fc] y = Gemm <transB = 1> (j, w) }"""
    )
    fc2conv.convert(model, tmp_path / "two.onnx", Options(sliding=SlidingOptions(), verify=False))
    with pytest.raises(InputError, match="reads z beside the image x"):
        fc2conv.heatmap(tmp_path / "two.onnx", picture, tmp_path / "o.png")


def one_answer(kind: str) -> onnx.ModelProto:
    """A network of the given input type that pools its whole map."""
    return parse(
        f"""g ({kind}[N,3,16,16] x) => (float[N,5] y) <float[4,3,3,3] k, float[4,5] w>
        {{ d = Cast <to = 1> (x)  c = Conv <strides = [2, 2]> (d, k)  p = GlobalAveragePool (c)  f = Flatten (p)
           y = MatMul (f, w) }}"""
    )


def test_an_answer_for_the_whole_picture_has_the_whole_as_its_box(tmp_path: Path, picture: Path) -> None:
    options = Options(sliding=SlidingOptions(global_pool="keep"), verify=False)
    fc2conv.convert(one_answer("float"), tmp_path / "kept.onnx", options)
    seen = fc2conv.heatmap(tmp_path / "kept.onnx", picture, tmp_path / "o.png", HeatmapOptions(box=True))
    assert (seen.cells, seen.box) == ((1, 1), (0, 0, 140, 110))


def test_a_network_of_int8_takes_no_pixels(tmp_path: Path, picture: Path) -> None:
    fc2conv.convert(one_answer("int8"), tmp_path / "int8.onnx", Options(sliding=SlidingOptions(), verify=False))
    with pytest.raises(InputError, match="x is int8, and a picture has values from 0 to 255"):
        fc2conv.heatmap(tmp_path / "int8.onnx", picture, tmp_path / "o.png")
