"""What the report of a sliding network claims, held against runs of it and of its original in onnxruntime.

Nothing of fc2conv is imported. All claims are those of the JSON report (`sliding`): where the cells of each map lie
(`stride`, `period`, `size`), what they read (`offset`, `field`), on which sizes the network runs (`minimum`, `step`,
`remainders`), and whether anything pads.

- training size: every output is the original's.
- crops: where nothing pads, every cell at a multiple of the period is the original on the crop of the image.
- windows: every such cell is the original's head on that window of the features, the last map that both models hold
  under one name and that all of the output goes through; and the features are the original's on the larger image.
- fields: other pixels around what a cell reads change nothing; its first and last ones change something.
- sizes: the network runs on those that are claimed and on no others, and a period more gives as many cells more as it
  says. An image that moves by a period moves the cells that read no rim.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from math import lcm
from typing import Any

import numpy as np
from sliding_runs import Array, Runs, apart, cut_out, opened, ordered, pads, part, session, sizes_of, with_output

_SMALL = 64
"""Images of this size and less are run in all sizes, and their fields must be tight."""
_FAR = 1200
"""Beyond this size no image is made so large that a field fits into it."""
_MOST_CROPS = 16


class Judge(Runs):
    """All comparisons."""

    def judge(self) -> dict[str, Any]:
        """All comparisons of all maps."""
        self.found["least"] = "x".join(str(n) for each in self.stated["inputs"][:1] for n in each["minimum"])
        self.training()
        for axis in self.axes:
            self.sizes(axis)
        for output in self.maps:
            placed = {i: a for i, a in enumerate(output["axes"]) if a["stride"] is not None}
            if len(placed) == len(output["axes"]) and not any(self.found["wrong"]):
                self.crops(output)
                self.windows(output)
                for axis in placed:
                    self.fields(output, axis)
        return self.found

    def wrong(self, said: str) -> None:
        self.found["wrong"].append(said)

    def compare(self, what: str, wanted: Array, found: Array, of: Array | None = None) -> float:
        """How far two values, which may be a part of a map, are apart; more than they may be is wrong."""
        gap = apart(wanted, found, of)
        if not gap <= self.close:
            self.wrong(f"{what} differs by {gap:.1e}")
        return gap

    # ------------------------------------------------------------------ images

    def training(self) -> None:
        """The outputs at the training size, if the network runs on that."""
        if not all(self.runs(axis, 0) for axis in self.axes):
            self.found["loose"].append("it does not run on the training size")
            return
        feed = self.feed([0] * len(self.axes))
        for output in self.maps:
            (wanted,) = self.old.run([output["of"]], feed)
            found = self.map(output, feed)
            gap = self.compare(f"{output['output']} at the training size", ordered(wanted, found.shape), found)
            self.found["training"] = max(self.found["training"], gap)

    def sizes(self, axis: int) -> None:
        """The sizes that run, and how many cells they give."""
        each = next(each for each in self.stated["inputs"] if axis < len(each["dims"]))
        size, least, step = each["sizes"][axis], each["minimum"][axis], each["step"][axis]
        periods = [a["period"] for out in self.maps for i, a in enumerate(out["axes"]) if i == axis and a["period"]]
        every = lcm(1, step, *periods)
        if size + 2 * every <= 4 * _SMALL:
            tried = set(range(1, size + 2 * every + 3))
        else:
            tried = {least - 1, least, least + 1, least + step, size - 1, size, size + 1, size + 2, size + every}
        for pixels in sorted(tried - {0}):
            cells = self.cells(axis, pixels - size)
            if bool(cells) != self.runs(axis, pixels - size):
                said = f"axis {axis}: {pixels} pixels {'run' if cells else 'do not run'}"
                self.found["loose" if cells and pixels < least else "wrong"].append(said)
            if (
                cells
                and pixels - every >= least
                and pixels - every in tried
                and (before := self.cells(axis, pixels - size - every))
            ):
                for output, more, less in zip(self.maps, cells, before, strict=True):
                    a = output["axes"][axis] if axis < len(output["axes"]) else None
                    if a and a["stride"] and a["every"] == 1 and (more - less) * a["stride"] != every:
                        self.wrong(f"axis {axis}: {every} pixels more than {pixels - every} give {more - less} cells")
            self.found["sizes"] += 1

    def cells(self, axis: int, grown: int) -> list[int]:
        """How many cells the maps have along an axis; none where the network does not run."""
        try:
            found = self.new.run([output["output"] for output in self.maps], self.feed(self.at(axis, grown)))
        except Exception:  # noqa: BLE001  # onnxruntime's exceptions have no common class
            return []
        return [each.shape[axis + 2] for each in found] if all(each.size for each in found) else []

    def crops(self, output: Mapping[str, Any]) -> None:
        """The original on every crop that lies in the image; the gap alone where something pads."""
        axes = output["axes"]
        grown = [self.growth(i, 2 * a["period"] + (a["period"] > 1)) for i, a in enumerate(axes)]
        feed = self.feed(grown)
        found = self.map(output, feed)
        extent = self.extent(output)
        for place, start in list(self.placed(output, found))[: None if not self.stated["padded"] else _MOST_CROPS]:
            if any(p + e > n for p, e, n in zip(place, extent, found.shape[2:], strict=True)):
                continue
            cut = {name: self.cropped(name, value, start) for name, value in feed.items()}
            if any(value.shape != tuple(self.feed([0] * len(axes))[name].shape) for name, value in cut.items()):
                continue
            (wanted,) = self.old.run([output["of"]], cut)
            part = found[(slice(None), slice(None), *(slice(p, p + e) for p, e in zip(place, extent, strict=True)))]
            if self.stated["padded"]:
                self.found["gap"] = max(self.found["gap"] or 0.0, apart(ordered(wanted, part.shape), part))
            else:
                gap = self.compare(f"{output['output']} at cell {place}", ordered(wanted, part.shape), part)
                self.found["crops"], self.found["worst"] = self.found["crops"] + 1, max(self.found["worst"], gap)

    def windows(self, output: Mapping[str, Any]) -> None:
        """The original's head on every window of the features."""
        if any(n > 1 for n in self.extent(output)):
            return
        name, example = self.features(output)
        if not name:
            return
        within = {pool["node"] for pool in self.stated["pools"] if pool["action"] == "within"}
        nodes, _ = part(self.original, name, output["of"])
        claimed = not within & {each for node in nodes for each in (node.name, *node.output)}
        claimed = claimed and not any(map(pads, nodes))  # what pads behind is held under no common name
        head = session(cut_out(self.original, name, output["of"], example.dtype))
        both = session(with_output(self.sliding, name))
        axes, run = output["axes"], lambda grown: both.run([output["output"], name], self.feed(grown))
        zero = [0] * len(axes)
        extent = run(zero)[1].shape[2:]
        periods = [lcm(a["period"], each) for a, each in zip(axes, self.stated["inputs"][0]["step"], strict=True)]
        one, more = run(zero), run(periods)
        moved = [[b - a for a, b in zip(x.shape[2:], y.shape[2:], strict=True)] for x, y in zip(one, more, strict=True)]
        if not all(out and inner for out, inner in zip(*moved, strict=True)):
            return
        for grown in ([self.growth(i, 2 * p) for i, p in enumerate(periods)],
                      [self.growth(i, p + 1) for i, p in enumerate(periods)]):  # fmt: skip
            cells, maps = run(grown)
            self.in_front(name, maps, grown)
            for place in product(*(range(0, n * claimed, s) for n, s in zip(cells.shape[2:], moved[0], strict=True))):
                at = [i // s * m for i, s, m in zip(place, *moved, strict=True)]
                window = maps[(slice(None), slice(None), *(slice(i, i + n) for i, n in zip(at, extent, strict=True)))]
                (wanted,) = head.run(None, {name: np.ascontiguousarray(window).reshape(example.shape)})
                cell = cells[(slice(None), slice(None), *place)]
                gap = self.compare(f"{output['output']} at window {place}", wanted.reshape(-1), cell.reshape(-1), cells)
                self.found["windows"], self.found["worst"] = self.found["windows"] + 1, max(self.found["worst"], gap)

    def in_front(self, name: str, maps: Array, grown: Sequence[int]) -> None:
        """The features of the original on the larger image, where it runs on that."""
        feed = self.feed(grown)
        model = opened(cut_out(self.original, None, name), feed)
        if self.large is not None:
            shapes = {value.name: sizes_of(value) for value in self.large.graph.input}
            first = self.stated["inputs"][0]
            more = [shapes[first["input"]][dim] - size for dim, size in zip(first["dims"], first["sizes"], strict=True)]
            feed = self.feed(more)
            maps = session(with_output(self.sliding, name)).run([name], feed)[0]
            model = opened(cut_out(self.large, None, name), feed)
        kinds = [each.s for node in model.graph.node for each in node.attribute if each.name == "auto_pad"]
        if any(kind.startswith(b"SAME") for kind in kinds):
            return  # its padding depends on the size of the image, and the sliding network's is that of a window
        try:
            (wanted,) = session(model).run([name], feed)
        except Exception:  # noqa: BLE001  # the original names sizes: it is not for this image
            return
        if wanted.size == maps.size:
            gap = self.compare(f"{name} of {grown}", wanted.reshape(maps.shape), maps)
            self.found["worst"] = max(self.found["worst"], gap)
        elif self.large is not None:
            self.wrong(f"{name} has the shape {list(maps.shape)} and not {list(wanted.shape)}")

    def features(self, output: Mapping[str, Any]) -> tuple[str, Array]:
        """The last map of several cells that both models have, through which all of the output goes, and its value.

        That is the original's, which may hold the channels in several dimensions.
        """
        there = {name for node in self.original.graph.node for name in node.output}
        names = [name for node in reversed(self.sliding.graph.node) for name in node.output if name in there]
        feed = self.feed([0] * len(self.axes))
        rank = len(output["axes"]) + 2
        old, new = session(with_output(self.original, *names)), session(with_output(self.sliding, *names))
        known = zip(names, old.run(names, feed), new.run(names, feed), strict=True)
        for name, one, other in known:
            several = other.ndim == rank and one.size == other.size and any(n > 1 for n in other.shape[2:])
            there = several and apart(one.reshape(other.shape), other) <= self.close
            if there and not self.leaks(name, output["of"]):
                return name, one
        return "", None

    def leaks(self, name: str, output: str) -> bool:
        """Whether an output reads the image other than through a value."""
        return bool({value.name for value in self.values} & part(self.original, name, output)[1])

    # ------------------------------------------------------------------ what a cell reads

    def fields(self, output: Mapping[str, Any], axis: int) -> None:
        """Pixels around the field change nothing, the first and the last of it do; and the map moves by periods."""
        a = output["axes"][axis]
        size, period = a["size"], a["period"]
        field = a["field"] or 0
        wanted = 2 * period if size + 3 * period + field > _FAR else int(max(0, field - size) + 3 * period)
        grown = self.growth(axis, wanted)
        feed = self.feed(self.at(axis, grown))
        pixels = size + grown
        base = self.map(output, feed)
        cells = base.shape[axis + 2]
        steps = round(period / a["stride"])
        middle = [i for i in range(cells // 2, cells // 2 + steps) if i < cells]
        if a["field"] is None:
            for pixel in (0, pixels - 1):
                self.touched(output, axis, feed, base, {pixel: middle})
            return
        for i in sorted({0, *middle, cells - 1}):
            first, end = a["offset"] + a["stride"] * i, a["offset"] + a["stride"] * i + a["field"]
            around = [pixel for pixel in range(pixels) if not first <= pixel < end]
            moved = np.take(self.map(output, self.other(feed, a, around)), i, axis + 2)
            if around and not apart(np.take(base, i, axis + 2), moved) <= 1e-6:
                self.wrong(f"axis {axis}: cell {i} reads beyond {first:g} to {end:g}")
            self.found["fields"] += 1
        for end in (0, field - 1):
            at = {i: a["offset"] + a["stride"] * i + end for i in middle}
            rows = {round(pixel): [i] for i, pixel in at.items() if pixel == round(pixel) and 0 <= pixel < pixels}
            if len(rows) == sum(pixel == round(pixel) for pixel in at.values()):
                self.touched(output, axis, feed, base, rows)
        self.shifted(output, axis, feed, base)

    def touched(self, output: Any, axis: int, feed: Any, base: Array, rows: Mapping[int, Sequence[int]]) -> None:
        """One of these rows changes its cells: where maps upsample, the cells of a period read unlike fields."""
        a = output["axes"][axis]
        self.found["fields"] += 1
        for (pixel, cells), scale in product(rows.items(), (1, 30, 1000)):
            moved = self.map(output, self.other(feed, a, [pixel], scale))
            if not np.array_equal(np.take(moved, cells, axis + 2), np.take(base, cells, axis + 2)):
                return
        if rows:
            tight = a["size"] <= _SMALL and a["field"] is not None and np.issubdtype(base.dtype, np.floating)
            said = f"axis {axis}: pixels {list(rows)} change no cell"
            self.found["wrong" if tight else "loose"].append(said)

    def shifted(self, output: Any, axis: int, feed: Mapping[str, Array], base: Array) -> None:
        """The image without its first period: the cells that read no rim are those behind."""
        a = output["axes"][axis]
        step = self.stated["inputs"][0]["step"][axis]
        period = lcm(a["period"], step)
        behind = {}
        for name, value in feed.items():
            each = next((each for each in self.stated["inputs"] if each["input"] == name), None)
            cut = [slice(None)] * value.ndim
            if each is not None:
                cut[each["dims"][axis]] = slice(period, None)
            behind[name] = np.ascontiguousarray(value[tuple(cut)])
        pixels = feed[a["input"]].shape[a["dim"]]
        if not self.runs(axis, pixels - period - a["size"]):
            return
        moved = self.map(output, behind)
        cells = round(period / a["stride"])
        for i in range(moved.shape[axis + 2]):
            first = a["offset"] + a["stride"] * i
            if first >= 0 and first + a["field"] <= pixels - period and i + cells < base.shape[axis + 2]:
                one, other = np.take(base, i + cells, axis + 2), np.take(moved, i, axis + 2)
                self.compare(f"{output['output']} moved by {period}, at cell {i},", one, other)
