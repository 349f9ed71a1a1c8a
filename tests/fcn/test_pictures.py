"""Pictures as they come: turned, transparent, with more bits than eight."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from coloured import RED, patched, saved
from PIL import Image

import fc2conv
from fc2conv import HeatmapOptions
from fc2conv.errors import InputError


def scored(network: Path, image: Path, **options: object) -> tuple[float, tuple[int, int]]:
    seen = fc2conv.heatmap(network, image, image.with_name("seen.png"), HeatmapOptions(label=RED, **options))  # type: ignore[arg-type]
    return seen.score, seen.cell


def test_a_picture_is_turned_as_its_camera_was_turned(network: Path, tmp_path: Path) -> None:
    upright = saved(tmp_path / "upright.png", patched())
    exif = Image.Exif()
    exif[0x0112] = 6  # the first row is the right side
    turned = saved(tmp_path / "turned.png", np.ascontiguousarray(np.rot90(patched())), exif=exif)
    assert scored(network, upright) == scored(network, turned)


def test_what_is_transparent_is_white(network: Path, tmp_path: Path) -> None:
    clear = np.dstack([patched(), np.full((60, 90), 255, np.uint8)])
    clear[:, :40] = (255, 0, 0, 0)  # red that nobody sees
    white = patched()
    white[:, :40] = 255
    wanted = scored(network, saved(tmp_path / "white.png", white))
    assert scored(network, saved(tmp_path / "clear.png", clear)) == wanted
    indexed = Image.fromarray(clear).convert("RGBA").quantize(8)
    indexed.save(tmp_path / "indexed.png")
    assert scored(network, tmp_path / "indexed.png")[0] == pytest.approx(wanted[0], rel=0.1)


def test_sixteen_bits_are_not_cut_off(network: Path, tmp_path: Path) -> None:
    grey = np.linspace(0, 65535, 64 * 64).reshape(64, 64).astype(np.uint16)
    found = fc2conv.heatmap(
        network, saved(tmp_path / "deep.png", grey), tmp_path / "a.png", HeatmapOptions(save_map=True)
    )
    eight = (grey / 257).round().astype(np.uint8)
    same = fc2conv.heatmap(
        network, saved(tmp_path / "flat.png", eight), tmp_path / "b.png", HeatmapOptions(save_map=True)
    )
    assert np.abs(np.load(found.map) - np.load(same.map)).max() < 0.005
    assert found.map == str(tmp_path / "a.npy")


def test_floating_point_pixels_have_no_range(network: Path, tmp_path: Path) -> None:
    Image.fromarray(np.zeros((64, 64), np.float32)).save(tmp_path / "f.tif")
    with pytest.raises(InputError, match="floating-point numbers of no known range"):
        fc2conv.heatmap(network, tmp_path / "f.tif", tmp_path / "out.png")
