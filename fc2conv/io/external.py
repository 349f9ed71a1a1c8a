"""External data of an untrusted model: which bytes of which file a tensor names, or why they are refused."""

from __future__ import annotations

import os
import posixpath
import re
import stat
from dataclasses import field
from pathlib import Path, PureWindowsPath

from onnx import TensorProto

from fc2conv.dataclass import dataclass
from fc2conv.errors import InputError
from fc2conv.io.escape import shown
from fc2conv.io.payload import Span
from fc2conv.io.tensors import label, raw_nbytes

_BESIDE = "put the model's external data back where it was exported, beside the model"


@dataclass(eq=False)
class ExternalFolder:
    """The folder of one model; every file that it names as external data is checked once.

    `sizes` has the size in bytes of each data file that was named.
    """

    model: Path
    sizes: dict[Path, int] = field(default_factory=dict)

    def span(self, tensor: TensorProto) -> Span:
        """Return the bytes that hold the values of an external tensor.

        Raise InputError for a location that is absolute, leaves the folder, is missing, no regular file, a symbolic or
        a hard link, and for a range that is malformed or not within the file.
        """
        entries = self._entries(tensor)
        path = self._path(entries.get("location", ""), tensor)
        offset = self._number(entries, "offset", tensor) or 0
        length = self._number(entries, "length", tensor)
        if length is None:
            length = self._needed(tensor, self.sizes[path] - offset)
        if offset + length > self.sizes[path] or length < 0:
            what = f"bytes {offset} to {offset + length} of {shown(path)}, which has {self.sizes[path]}"
            raise self._refusal(tensor, f"lies at {what}", _pointer_remedy(path) or "fetch the whole data file again")
        return Span(path, offset, length)

    def _entries(self, tensor: TensorProto) -> dict[str, str]:
        entries: dict[str, str] = {}
        for entry in tensor.external_data:
            if entry.key in entries:
                raise self._refusal(tensor, f"names its external {shown(entry.key)} twice", "export the model again")
            entries[entry.key] = entry.value
        return entries

    def _number(self, entries: dict[str, str], key: str, tensor: TensorProto) -> int | None:
        text = entries.get(key)
        if text is None:
            return None
        if not isinstance(text, str) or not re.fullmatch("[0-9]{1,18}", text):
            raise self._refusal(tensor, f"has the external {key} '{shown(text)[:40]}'", "export the model again")
        return int(text)

    def _needed(self, tensor: TensorProto, rest: int) -> int:
        try:
            needed = raw_nbytes(tensor)
        except ValueError as error:
            raise self._refusal(tensor, str(error), "export the model again") from None
        return rest if needed is None else needed

    def _path(self, location: str, tensor: TensorProto) -> Path:
        if not isinstance(location, str) or not location or "\0" in location:
            raise self._refusal(tensor, f"names no file as its external data: '{shown(location)}'", _BESIDE)
        prefix = f"keeps its data in '{shown(location)}'"
        if location.startswith("/") or PureWindowsPath(location).drive or PureWindowsPath(location).root:
            raise self._refusal(tensor, f"{prefix}, an absolute path", _BESIDE)
        parts = posixpath.normpath(location).split("/")
        if ".." in PureWindowsPath(location).parts:
            raise self._refusal(tensor, f"{prefix}, and `..` may leave the model's folder", _BESIDE)
        path = self.model.parent.joinpath(*parts)
        if path not in self.sizes:
            self.sizes[path] = self._checked_size(path, prefix, tensor)
        return path

    def _checked_size(self, path: Path, prefix: str, tensor: TensorProto) -> int:
        """Check a data file and its folders, and return its size in bytes."""
        depth = len(path.relative_to(self.model.parent).parts)
        try:
            for step in reversed([path, *path.parents[: depth - 1]]):
                status = step.lstat()
                if stat.S_ISLNK(status.st_mode):
                    raise self._refusal(tensor, f"{prefix}, a symbolic link", "put the data file itself there")
            problem = self._problem(path, status)
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or "not a possible name"
            problem = "which is missing" if isinstance(error, FileNotFoundError) else f"which cannot be read ({reason})"
        if problem:
            raise self._refusal(tensor, f"{prefix}, {problem}", _BESIDE)
        return status.st_size

    def _problem(self, path: Path, status: os.stat_result) -> str:
        if stat.S_ISDIR(status.st_mode):
            return "a folder"
        if not stat.S_ISREG(status.st_mode):
            return "which is not a regular file"
        if path.samefile(self.model):
            return "the model file itself"
        if status.st_nlink > 1:
            return "which has hard links elsewhere"
        return "" if os.access(path, os.R_OK) else "which may not be read (Permission denied)"

    def _refusal(self, tensor: TensorProto, problem: str, remedy: str) -> InputError:
        return InputError(f"{shown(self.model)}: {label(tensor)} {problem}", remedy)


def _pointer_remedy(path: Path) -> str:
    """Return what to do if a data file is a Git LFS pointer, else ""."""
    with path.open("rb") as file:
        return "it is a Git LFS pointer: run `git lfs pull`" if file.read(23) == b"version https://git-lfs" else ""
