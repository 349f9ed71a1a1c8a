"""Which classes are looked at, by number or by a name from a file, and what is known of their scores."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

import numpy as np

from fc2conv.errors import InputError, UsageError
from fc2conv.io.files import opened
from fc2conv.io.parsing import of_json

_LARGEST = 1 << 24


def read_names(path: str) -> list[str]:
    """Read the class names: one per line, a JSON list, or an object with numbers; the last of several words."""
    try:
        with opened(path) as stream:
            text = stream.read(_LARGEST).decode()
        found = of_json(text) if text.lstrip()[:1] in ("[", "{") else text.splitlines()
        if isinstance(found, dict):
            numbers = all(isinstance(each, int) for each in found.values())
            found = {str(each): name for name, each in found.items()} if numbers else found
            found = [found[str(i)] for i in range(len(found))]
        return [str(each[-1] if isinstance(each, list) else each).strip() for each in found]
    except (OSError, ValueError, KeyError, IndexError) as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else error
        why = f"there is no class {why}" if isinstance(error, KeyError) else why
        raise InputError(f"the names in {path} cannot be read ({why})", "give one name in each line") from None


def numbered(wanted: Sequence[int | str], names: Sequence[str]) -> list[int]:
    """Return the numbers of classes, each given by its number or by its name in any case."""
    return [
        each if isinstance(each, int) else int(each) if each.isdecimal() else _named(each, names) for each in wanted
    ]


def _named(wanted: str, names: Sequence[str]) -> int:
    whole = {name.casefold(): i for i, name in enumerate(names)}
    parts = {part.strip().casefold(): i for i, name in enumerate(names) for part in name.split(",")}
    found = {**parts, **whole}.get(wanted.strip().casefold())
    if found is None:
        near = difflib.get_close_matches(wanted.casefold(), [*whole, *parts], 3)
        remedy = f"the nearest are {', '.join(dict.fromkeys(near))}" if near else "give its number"
        raise UsageError(f"no class is named {wanted!r}", remedy if names else "give the names with --labels FILE")
    return found


def check_names(names: Sequence[str], path: str | None, count: int) -> None:
    """Raise UsageError where the file names another number of classes than the map has."""
    if path is not None and len(names) != count:
        raise UsageError(f"{path} has {len(names)} names, and the map has {count} classes", "give a name for each")


class Scores:
    """The best cell of every class of a map [N, M, rows, columns], and the cells of those that are kept.

    `kept` are the classes whose cells are stored (None: all).
    """

    def __init__(self, shape: tuple[int, ...], kept: Sequence[int] | None) -> None:
        self.classes, self.size = shape[1], (shape[2], shape[3])
        self.kept = range(self.classes) if kept is None else kept
        self.cells = np.empty((len(self.kept), *self.size), np.float32)
        self.best = np.full(self.classes, -np.inf)
        self.at = np.zeros((self.classes, 2), int)

    def take(self, part: np.ndarray, first: Sequence[int]) -> None:
        """Take the cells of a tile that begins at this row and column of the map."""
        row, column = first
        values = part[0].astype(np.float32, copy=False)
        chosen = values if len(self.kept) == self.classes else values[list(self.kept)]
        self.cells[:, row : row + values.shape[1], column : column + values.shape[2]] = chosen
        flat = np.nan_to_num(values.reshape(self.classes, -1), nan=-np.inf, posinf=np.inf, neginf=-np.inf)
        where = flat.argmax(axis=1)
        found = flat[np.arange(self.classes), where]
        places = np.stack(np.unravel_index(where, values.shape[1:]), axis=1) + np.array([row, column])
        index = np.array([self.size[1], 1])
        higher = (found > self.best) | ((found == self.best) & (places @ index < self.at @ index))
        self.best[higher] = found[higher]
        self.at[higher] = places[higher]

    def highest(self, count: int) -> list[int]:
        """Return the classes of the highest scores; of equal scores the first comes first."""
        return [int(i) for i in np.argsort(-self.best, kind="stable")[:count]]
