"""Writes skeletons as model files: payloads are spliced in where tokens are, or go to one data file beside it."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from copy import deepcopy
from pathlib import Path

import onnx
from onnx import TensorProto

from fc2conv.errors import OutputError
from fc2conv.io import wire
from fc2conv.io.escape import shown
from fc2conv.io.files import Target, as_output_error, checked_target, same_file
from fc2conv.io.payload import Payload, Sink, Span
from fc2conv.io.reader import ModelFile
from fc2conv.io.staged import Move, Staged, content_names, refuse_different, same_content
from fc2conv.io.tensors import EXPLICIT, MAX_INLINE, TOKEN, payload_key, set_external, tensors
from fc2conv.io.workspace import building
from fc2conv.options import Form

ALIGN_LARGE, ALIGN_SMALL = 4096, 64
"""What offsets in a data file are multiples of, from `LARGE_PAYLOAD` bytes on and below."""

LARGE_PAYLOAD = 1 << 20
_RAW, _EXTERNAL, _LOCATION = 9, 13, 14
_NAME_MAX = 200


def stage(
    file_model: onnx.ModelProto, payloads: Mapping[str, Payload], target: Path, *, form: Form, source: ModelFile
) -> Staged:
    """Write a skeleton and its payloads in full, beside `target`; `publish` of the result puts the model there.

    `form` is where the weights go; "keep" is the form of `source`. Raise OutputError if it cannot be written (a file at
    the target is intact and no other file remains), InputError if `source` has changed meanwhile, and KeyError for a
    token without a payload.
    """
    place = check_target(target, source)
    inline = _inlined(file_model.SerializeToString(), payloads)
    large = inline.nbytes > MAX_INLINE
    if large and form == "inline":
        what = f"{shown(target)} would have {inline.nbytes} bytes, and protobuf reads no more than {MAX_INLINE}"
        raise OutputError(what, "write it with external data")
    external = large or form == "external" or (form == "keep" and source.external)
    if external and payloads:
        _check_beside(target, place)
    with as_output_error(target), building(place.folder) as workspace:
        data = _write_data(workspace.path, place, file_model, payloads) if external else None
        chunks = _externalised(file_model, *data[1:]) if data else inline
        path = workspace.path / place.path.name
        _write(path, chunks.parts, place.mode)
        source.check_unchanged()
        moves = [data[0]] if data else []
        written = sum(each.source.stat().st_size for each in moves)
        return Staged(place, workspace, path, [each.final for each in moves], chunks.nbytes + written, moves)


def stage_copy(source: ModelFile, target: Path) -> Staged:
    """Stage an output that is the file of `source` byte for byte, its data files beside it under their own names.

    In the folder of `source` its data files serve as they are; to another one they are copied, and the staged model can
    be read with its data. Raise OutputError as `stage` does, and where another file has the name of a data file.
    """
    if source.path is None:
        raise ValueError("a model that was not read from a file cannot be copied")
    place = check_target(target, source)
    data = [path for path in source.stamps if path != source.path]
    finals = [place.folder / each.relative_to(source.path.parent) for each in data]
    with as_output_error(target):
        if same_file(place.path, source.path):
            return Staged(place, None, place.path, finals, source.nbytes)
        if data:
            _check_beside(target, place)
        with building(place.folder) as workspace:
            elsewhere = data if data and not place.folder.samefile(source.path.parent) else []
            moves = [_copy_data(each, source.path.parent, workspace.path, place) for each in elsewhere]
            path = workspace.path / place.path.name
            _write(path, [_whole(source.path)], place.mode)
            source.check_unchanged()
            return Staged(place, workspace, path, finals, source.nbytes, moves)


def check_target(target: Path, source: ModelFile) -> Target:
    """Return the checked target; raise OutputError also where it is a data file of the source."""
    place = checked_target(target)
    for path in source.stamps:
        if path != source.path and same_file(place.path, path):
            raise OutputError(f"{shown(target)} is a data file of the model that is read", "give another name")
    return place


def _check_beside(target: Path, place: Target) -> None:
    """Raise OutputError where the data would not be beside the target, as whoever reads it expects."""
    if not same_file(os.path.dirname(target) or ".", place.folder):  # noqa: PTH120 (a name may be a string)
        what = f"{shown(target)} is a link into {shown(place.folder)}, and data beside that is not found through a link"
        raise OutputError(what, f"remove the link, or write to {shown(place.path)}")


def _whole(path: Path) -> Span:
    return Span(path, 0, path.stat().st_size)


def _write(path: Path, parts: Iterable[wire.Chunk], mode: int) -> None:
    with Sink(path, mode) as sink:
        for part in parts:
            sink.add(part)


def _copy_data(path: Path, origin: Path, staging: Path, place: Target) -> Move:
    """Copy one data file to where the staged model looks for it; raise OutputError if its final place is taken."""
    relative = path.relative_to(origin)
    final = place.folder / relative
    if final == place.path:
        raise OutputError(f"{shown(final)} is also the name of a data file of the model", "give another name")
    for folder in [place.folder / each for each in relative.parents if each.name]:
        if os.path.lexists(folder) and (folder.is_symlink() or not folder.is_dir()):
            raise OutputError(f"{shown(folder)} is not a folder, and the model's data belongs in it", "write elsewhere")
    if os.path.lexists(final):
        refuse_different(path, final)
    staged = staging / relative
    staged.parent.mkdir(parents=True, exist_ok=True)
    _write(staged, [_whole(path)], place.mode)
    return Move(staged, final)


def _write_data(
    staging: Path, place: Target, model: onnx.ModelProto, payloads: Mapping[str, Payload]
) -> tuple[Move, str, dict[str, tuple[int, int]]] | None:
    """Write every payload of a skeleton to one file named by its content; return None if it has no payloads.

    The result is the due rename, the file's name, and the offset and length in bytes of each payload.
    """
    ranges: dict[str, tuple[int, int]] = {}
    unnamed = staging / "data"
    with Sink(unnamed, place.mode) as sink:
        for tensor, _ in tensors(model):
            key = payload_key(tensor)
            if key is None or key in ranges:
                continue
            payload = payloads[key]
            sink.pad(-sink.nbytes % (ALIGN_LARGE if payload.nbytes >= LARGE_PAYLOAD else ALIGN_SMALL))
            ranges[key] = (sink.nbytes, payload.nbytes)
            sink.add(payload)
    if not ranges:
        unnamed.unlink()
        return None
    move = _named(unnamed, place)
    return move, move.final.name, ranges


def _named(unnamed: Path, place: Target) -> Move:
    """Rename a data file after its content, by the shortest name that no other content has already."""
    stem = re.sub(r"\.onnx$", "", place.path.name) or "model"
    stem = os.fsencode(stem)[:_NAME_MAX].decode("utf-8", "replace").replace("\N{REPLACEMENT CHARACTER}", "_")
    for name in content_names(unnamed):
        final = place.folder / f"{stem}-{name}.data"
        if not os.path.lexists(final) or same_content(unnamed, final):
            return Move(unnamed.rename(unnamed.with_name(final.name)), final)
    raise OutputError(f"{shown(final)} exists, and has not the content that its name says", "remove it")


def _inlined(serialized: bytes, payloads: Mapping[str, Payload]) -> wire.Chunks:
    """Return a serialized skeleton with raw_data instead of each token, where protobuf itself would write it."""
    view = memoryview(serialized)
    token = TOKEN.encode()

    def on_tensor(begin: int, end: int) -> wire.Chunks | None:
        key = payload_key(TensorProto.FromString(view[begin:end]))
        if key is None:
            return None
        found = list(wire.fields(serialized, begin, end))
        payload = payloads[key]
        cut = next(each.at for each in found if each.number > _RAW)
        changes: dict[tuple[int, int], list[wire.Chunk]] = {
            (cut, cut): [memoryview(wire.prefix(_RAW, payload.nbytes)), payload]
        }
        for each in found:
            if each.number == _EXTERNAL or (each.number == _LOCATION and not key.endswith(EXPLICIT)):
                changes[each.at, each.end] = []
            elif each.number == _LOCATION:
                changes[each.begin, each.end] = [memoryview(b"\0")]
        return wire.splice(view, begin, end, changes)

    return wire.transform(serialized, on_tensor, lambda begin, end: serialized.find(token, begin, end) >= 0)


def _externalised(model: onnx.ModelProto, name: str, ranges: Mapping[str, tuple[int, int]]) -> wire.Chunks:
    """Return a skeleton, serialized, whose tokens are ranges of the data file `name`."""
    copy = deepcopy(model)
    for tensor, _ in tensors(copy):
        if (key := payload_key(tensor)) is not None:
            offset, length = ranges[key]
            set_external(tensor, location=name, offset=offset, length=length)
    serialized = copy.SerializeToString()
    return wire.Chunks([memoryview(serialized)], len(serialized))
