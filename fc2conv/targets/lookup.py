"""Finds a profile: by the name of one that is shipped or installed, or by the path of its file.

A package gives profiles by an entry point of the group `fc2conv.targets`, whose value is the dotted path of a folder
of TOML files. They are read as data; nothing of the package is imported.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from urllib.parse import unquote, urlsplit

from fc2conv.errors import UsageError
from fc2conv.io.choices import nearest
from fc2conv.io.files import opened
from fc2conv.io.parsing import of_json
from fc2conv.targets.profile import Profile, made, table

GROUP = "fc2conv.targets"
SUFFIX = ".toml"
_HERE = Path(__file__).parent


def shipped() -> list[str]:
    return sorted(path.stem for path in _HERE.glob(f"*{SUFFIX}"))


def is_path(target: str) -> bool:
    return target.lower().endswith(SUFFIX) or "/" in target or "\\" in target


def installed() -> dict[str, Path]:
    """Return the files of all targets by name, the shipped ones first; of two with one name the first counts."""
    out = {name: _HERE / f"{name}{SUFFIX}" for name in shipped()}
    for folder in _folders():
        for path in sorted(folder.glob(f"*{SUFFIX}")):
            out.setdefault(path.stem, path)
    return out


def find(target: str) -> Profile:
    """Find the profile of a target; raise UsageError for an unknown target or a profile that is wrong."""
    if is_path(target):
        return _read(Path(target))
    there = _HERE / f"{target}{SUFFIX}"
    path = there if target in shipped() else installed().get(target)
    if path is None:
        what = f"there is no target '{target}'"
        raise UsageError(what, f"the nearest is '{nearest(target, installed())}'; `fc2conv targets` lists them all")
    return _read(path)


def source(target: str) -> list[str]:
    """Return the texts that a target's profile is read from, so that a change of one is seen; raise as `find` does."""
    path = Path(target) if is_path(target) else installed().get(target, _HERE / f"{target}{SUFFIX}")
    text = _text(path)
    like = str(table(text, str(path)).get("like", ""))
    return [text, *([_text(_HERE / f"{like}{SUFFIX}")] if like in shipped() else [])]


def _read(path: Path) -> Profile:
    own = table(_text(path), str(path))
    like = str(own.get("like", ""))
    if like and like not in shipped():
        raise UsageError(f"{path}: there is no shipped target '{like}'", f"the nearest is '{nearest(like, shipped())}'")
    base = table(_text(_HERE / f"{like}{SUFFIX}"), like) if like else {}
    if isinstance(own.get("sources"), dict):
        own["sources"] = {**base.get("sources", {}), **own["sources"]}
    return made({**base, **own, "name": path.stem}, str(path))


def _text(path: Path) -> str:
    try:
        with opened(path) as stream:
            return stream.read().decode("utf-8")
    except OSError as error:
        what = f"the target {path} cannot be read ({error.strerror})"
        raise UsageError(what, "check the path; `fc2conv targets` lists those that have a name") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is not UTF-8 ({error.reason})", "write the profile in UTF-8") from error


def _folders() -> Iterator[Path]:
    """Yield the folders of the installed packages that have profiles."""
    for point in metadata.entry_points(group=GROUP):
        parts = point.value.partition(":")[0].split(".")
        if point.dist is None or not all(part.isidentifier() for part in parts):
            continue
        roots = [Path(str(point.dist.locate_file("")))]
        roots += [root for base in _editable(point.dist) for root in (base, base / "src")]
        found = next((folder for root in roots if (folder := root.joinpath(*parts)).is_dir()), None)
        if found is not None:
            yield found


def _editable(dist: metadata.Distribution) -> list[Path]:
    """Return the folder of a package that is installed where its source is."""
    text = dist.read_text("direct_url.json")
    if text is None:
        return []
    try:
        url = urlsplit(str(of_json(text).get("url", "")))
    except (ValueError, AttributeError):
        return []
    return [Path(unquote(url.path))] if url.scheme == "file" else []
