"""What a caller may give as a model: each becomes a path, the bytes of a file, or an onnx.ModelProto.

Nothing heavy is imported here. A library that made the object is loaded already.
"""

from __future__ import annotations

import os
import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, Union

if TYPE_CHECKING:
    from onnx import ModelProto

Source: TypeAlias = Union[str, os.PathLike[str], bytes, "ModelProto"]


class Readable(Protocol):
    """A binary file, as `open(path, "rb")` and `io.BytesIO` give it."""

    def read(self) -> bytes: ...


class IrModel(Protocol):
    """An `onnx_ir.Model`."""

    @property
    def graph(self) -> Any: ...
    @property
    def ir_version(self) -> int: ...


class Program(Protocol):
    """A `torch.onnx.ONNXProgram`."""

    @property
    def model_proto(self) -> Any: ...


Model: TypeAlias = Source | bytearray | memoryview | Readable | Program | IrModel
"""A path, bytes, a binary file, an onnx.ModelProto, an onnx_ir.Model or a torch.onnx.ONNXProgram."""


def path_of(name: str | os.PathLike[str]) -> str:
    """Return a path as a plain string, which any process can read, whatever its type; raise TypeError."""
    return str(os.fsdecode(name))


def source_of(model: Model) -> Source:
    """Convert what a caller gives into a path, bytes or a ModelProto; raise TypeError for anything else."""
    if isinstance(model, bytes):
        return model
    if isinstance(model, str | os.PathLike):
        return path_of(model)
    if isinstance(model, bytearray | memoryview):
        return bytes(model)
    given: Any = model
    if "onnx" in sys.modules and isinstance(given, sys.modules["onnx"].ModelProto):
        return given  # type: ignore[no-any-return]
    if type(given).__module__.startswith("onnx_ir"):
        return _of_ir(given)
    if hasattr(given, "model_proto"):
        return given.model_proto  # type: ignore[no-any-return]
    data = given.read() if callable(getattr(given, "read", None)) else None
    if isinstance(data, bytes):
        return data
    what = "a file that is open as text" if isinstance(data, str) else f"an object of type {type(given).__name__}"
    raise TypeError(f"{what} is not a model; give a path, bytes, a binary file, a ModelProto or an onnx_ir.Model")


def _of_ir(model: Any) -> ModelProto:
    """Serialize an onnx_ir.Model, with the weights that it keeps in other files; the model itself keeps them there."""
    library = import_module("onnx_ir")
    found: ModelProto = library.to_proto(library.external_data.load_to_model(model.clone()))
    return found
