"""Inputs from files, and inputs to files: what the caller gives, and what reproduces a failure."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, helper

from fc2conv.errors import UsageError
from fc2conv.io.files import as_output_error, opened, same_file, written
from fc2conv.options import input_file
from fc2conv.verification.feeds import Feeds, inputs


def loaded(model: ModelProto, sources: Sequence[str]) -> Feeds:
    """Load arrays by input, from `FILE.npz` (named as the inputs) and `NAME:FILE.npy`.

    Raise UsageError for a file that cannot be read, a name that no input has, and a wrong type or rank.
    """
    return {name: _checked(model, name, array) for source in sources for name, array in _read(source).items()}


def _read(source: str) -> Mapping[str, NDArray[Any]]:
    name, path = input_file(source)
    try:
        with opened(path) as stream:
            found = np.load(stream, allow_pickle=False)
            if not isinstance(found, np.ndarray):
                return {key: np.asarray(found[key]) for key in found.files}
    except (OSError, ValueError, EOFError, NotImplementedError, zipfile.BadZipFile, zlib.error) as error:
        why = f" ({error.strerror})" if isinstance(error, OSError) and error.strerror else ""
        raise UsageError(f"the inputs {source!r} cannot be read{why}", "give FILE.npz or NAME:FILE.npy") from error
    if not name:
        raise UsageError(f"the inputs {source!r} name no input", "give NAME:FILE.npy")
    return {name: found}


def _checked(model: ModelProto, name: str, array: NDArray[Any]) -> NDArray[Any]:
    known = {info.name: info.type.tensor_type for info in inputs(model)}
    if name not in known:
        raise UsageError(f"the model has no input {name!r}", f"its inputs are {', '.join(known)}")
    wanted = np.dtype(helper.tensor_dtype_to_np_dtype(known[name].elem_type))
    if array.dtype != wanted and not (array.dtype.kind == "U" and wanted.kind == "O"):
        raise UsageError(f"the input {name!r} is {wanted}, not {array.dtype}")
    if known[name].HasField("shape") and len(known[name].shape.dim) != array.ndim:
        raise UsageError(f"the input {name!r} has {len(known[name].shape.dim)} dimensions, not {array.ndim}")
    return array.astype(wanted)


def save(feeds: Feeds, path: str, loaded: Sequence[str]) -> None:
    """Write inputs as one file, unless they were loaded from that file; raise OutputError where that fails."""
    if any(same_file(path, input_file(source)[1]) for source in loaded):
        return
    with as_output_error(path):
        Path(path).parent.mkdir(parents=True, exist_ok=True)
    plain = {name: array.astype(str) if array.dtype == object else array for name, array in feeds.items()}
    with written(path) as stream:
        np.savez(stream, **cast(Any, plain))
