"""A sliding network run on pictures of any size, and what it sees laid over them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from fc2conv.errors import InputError, UsageError
from fc2conv.fcn.picture.classes import Scores, check_names, numbered, read_names
from fc2conv.fcn.picture.drawing import Panel, Style, sheet
from fc2conv.fcn.picture.reading import Feed, feed, pillow, read_picture
from fc2conv.fcn.placed import Axis, image_input, placed
from fc2conv.fcn.tiles import Runner
from fc2conv.io.apart import Role, check_apart, parts_of
from fc2conv.io.files import as_output_error, checked_target, written
from fc2conv.io.reader import read_model
from fc2conv.ir.validate import check_model
from fc2conv.options import HeatmapOptions
from fc2conv.report.sliding import Seen, SeenClass, Unseen
from fc2conv.sandbox import room

Name = str | os.PathLike[str]

_FORMATS = {
    **dict.fromkeys((".png", ""), "PNG"),
    **dict.fromkeys((".jpg", ".jpeg"), "JPEG"),
    **dict.fromkeys((".tif", ".tiff"), "TIFF"),
    ".bmp": "BMP",
    ".gif": "GIF",
    ".webp": "WEBP",
}
_QUALITY = {"JPEG": {"quality": 92}, "WEBP": {"quality": 92}}


def heatmap(model: Name, image: Name, output: Name, options: HeatmapOptions) -> Seen:
    """Run a sliding network on a picture, and write the picture with the scores of a class or several over it."""
    _check_apart(model, [image], [output], options)
    return _Camera(model, options).seen(image, output)


def heatmaps(model: Name, folder: Name, output: Name, options: HeatmapOptions) -> list[Seen | Unseen]:
    """Do as `heatmap` for each picture of a folder, into another folder under the same names, as PNG.

    A picture that cannot be read or is too small does not keep the others back.
    """
    files = Path(folder).iterdir() if os.path.isdir(folder) else ()  # a name may be too long for pathlib
    images = sorted(path for path in files if path.suffix.lower() in _FORMATS and path.suffix)
    if not images:
        raise InputError(f"the folder {folder} has no pictures, or is not there", "give one with PNG or JPEG files")
    targets = _targets(images, Path(output))
    camera = _Camera(model, options)
    with as_output_error(output):
        Path(output).mkdir(exist_ok=True)
    _check_apart(model, images, targets, options)
    found: list[Seen | Unseen] = []
    for image, target in zip(images, targets, strict=True):
        try:
            found.append(camera.seen(image, target))
        except InputError as error:
            found.append(Unseen(image=str(image), message=error.message, remedy=error.remedy))
    return found


def _targets(images: Sequence[Path], folder: Path) -> list[Path]:
    """Return the pictures to write: `NAME.png`, or `NAME.SUFFIX.png` where names differ by their suffix alone."""
    stems = [image.stem for image in images]
    return [folder / f"{image.stem if stems.count(image.stem) == 1 else image.name}.png" for image in images]


def _check_apart(model: Name, images: Sequence[Name], outputs: Sequence[Name], options: HeatmapOptions) -> None:
    """Raise an error, before the work, for a file that cannot be written, is read as well, or is written twice."""
    others = [*parts_of(model), *(("the image", each) for each in images)]
    others += [("the labels", options.names)] if options.names is not None else []
    made: list[Role] = [("the picture", each) for each in outputs]
    made += [("the map", _map_of(each)) for each in outputs] if options.save_map else []
    check_apart(made, others)
    for _, path in made:
        checked_target(path)
    for output in outputs:
        if Path(output).suffix.lower() not in _FORMATS:
            known = ", ".join(each for each in _FORMATS if each)
            raise UsageError(f"{output} is no name of a picture", f"let it end in one of {known}")


def _map_of(output: Name) -> Path:
    return Path(output).with_suffix(".npy")


class _Camera:
    """A sliding network and how it is looked through, for one picture after the other."""

    def __init__(self, model: Name, options: HeatmapOptions) -> None:
        self.options = options
        self.file = read_model(model)
        check_model(self.file.model)
        self.name, self.geometry = placed(self.file, options.output)
        value = image_input(self.file, self.name, self.geometry)
        pillow()
        self.feed: Feed = feed(value, self.geometry, options)
        self.names = read_names(options.names) if options.names is not None else []
        wanted: int | str | Sequence[int | str] = () if options.label is None else options.label
        self.wanted = numbered([wanted] if isinstance(wanted, int | str) else wanted, self.names)
        self._runner: Runner | None = None

    def seen(self, image: Name, output: Name) -> Seen:
        """Run the network on one picture, and write what it sees."""
        pixels = read_picture(image, self.feed.channels, self.options.size)
        whole = pixels.shape[:2]
        pixels = self._fitting(pixels, image)
        scores, labels = self._scored(pixels)
        classes = [self._class(scores, label, pixels) for label in labels]
        panels = [Panel(scores.cells[scores.kept.index(each.label)], _caption(each), each.box) for each in classes]
        drawn = sheet(pixels, panels, self.geometry, self._style(panels))
        kind = _FORMATS[Path(output).suffix.lower()]
        with written(output) as stream:
            drawn.save(stream, kind, **_QUALITY.get(kind, {}))
        if self.options.save_map:
            with written(_map_of(output)) as stream:
                np.save(stream, scores.cells, allow_pickle=False)
        first = classes[0]
        return Seen(
            output=self.name,
            label=first.label,
            score=first.score,
            cell=first.cell,
            cells=scores.size,
            box=first.box,
            classes=classes,
            size=pixels.shape[:2],
            cut=(whole[0] - pixels.shape[0], whole[1] - pixels.shape[1]),
            image=os.fspath(image),
            picture=os.fspath(output),
            map=os.fspath(_map_of(output)) if self.options.save_map else "",
        )

    def _fitting(self, pixels: np.ndarray, image: Name) -> np.ndarray:
        """Cut off the last rows and columns of a picture where only smaller sizes run."""
        height, width = self.geometry.axes
        if pixels.shape[0] < height.minimum or pixels.shape[1] < width.minimum:
            what = f"the picture {image} is {pixels.shape[0]}x{pixels.shape[1]} pixels (height x width)"
            least = f"{height.minimum}x{width.minimum}"
            raise InputError(f"{what}, and the network takes {least} and more", f"enlarge it, as with --size {least}")
        return pixels[: height.runs.below(pixels.shape[0]), : width.runs.below(pixels.shape[1])]

    def _scored(self, pixels: np.ndarray) -> tuple[Scores, list[int]]:
        """Return the scores and the classes to show; run the network twice where the whole map takes too much."""
        if self._runner is None:
            self._runner = Runner(self.file, self.name, self.geometry)
        rows, columns = self._runner.cells(pixels.shape[:2])
        whole = 4 * self._runner.channels * rows * columns
        if self.wanted and not self.options.save_map:
            return self._run(pixels, self.wanted), self.wanted
        if self.options.save_map or whole < room() // 4:
            scores = self._run(pixels, None)
            return scores, self._labels(scores)
        labels = self._labels(self._run(pixels, []))
        return self._run(pixels, labels), labels

    def _labels(self, scores: Scores) -> list[int]:
        return self.wanted or scores.highest(self.options.top)

    def _run(self, pixels: np.ndarray, kept: Sequence[int] | None) -> Scores:
        assert self._runner is not None
        rows, columns = self._runner.cells(pixels.shape[:2])
        stored = 4 * rows * columns * (self._runner.channels if kept is None else len(kept))
        stored += 8 * pixels.shape[0] * pixels.shape[1]  # what is drawn
        runs = self._runner.run(self.feed.shape(pixels), lambda parts: self.feed.cut(pixels, *parts), stored)
        for part, first, whole in runs:
            if whole is not None:
                self._check_classes(whole[1])
                scores = Scores(whole, kept)
            scores.take(part, first)
        return scores

    def _check_classes(self, count: int) -> None:
        wrong = next((label for label in self.wanted if not 0 <= label < count), None)
        if wrong is not None:
            raise UsageError(f"there is no class {wrong}", f"the classes are 0 to {count - 1}")
        check_names(self.names, self.options.names, count)

    def _class(self, scores: Scores, label: int, pixels: np.ndarray) -> SeenClass:
        if scores.best[label] == -np.inf:
            what = f"{self.file.path}: {self.name} has no number for class {label}"
            raise InputError(what, "check --scale, --mean and --std")
        row, column = (int(i) for i in scores.at[label])
        return SeenClass(
            label=label,
            name=self.names[label] if self.names else "",
            score=float(scores.best[label]),
            cell=(row, column),
            box=self._box((row, column), pixels),
        )

    def _box(self, cell: tuple[int, int], pixels: np.ndarray) -> tuple[int, int, int, int]:
        """Return the pixels (left, top, right, bottom) of a cell's crop, within the picture."""
        spans = [
            _crop(axis, axis.nearest(i) if self.geometry.upsampled else i, size)
            for axis, i, size in zip(self.geometry.axes, cell, pixels.shape[:2], strict=True)
        ]
        (top, bottom), (left, right) = spans
        return left, top, right, bottom

    def _style(self, panels: Sequence[Panel]) -> Style:
        finite = [panel.cells[np.isfinite(panel.cells)] for panel in panels]
        found = (min((float(each.min()) for each in finite if each.size), default=0.0),
                 max((float(each.max()) for each in finite if each.size), default=1.0))  # fmt: skip
        low, high = self.options.value_range or found
        return Style(low, high, self.options.opacity, self.options.box, self.options.legend)


def _crop(axis: Axis, cell: int, pixels: int) -> tuple[int, int]:
    start, end = (0, pixels) if axis.stride is None else axis.crop(max(0, cell))
    return min(max(start, 0), pixels - 1), max(1, min(end, pixels))


def _caption(each: SeenClass) -> str:
    return f"{f'{each.label} {each.name}'.strip()}: {each.score:.4g}"
