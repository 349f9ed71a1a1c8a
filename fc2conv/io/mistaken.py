"""What is often given instead of a model: other formats, URLs, misspelt names."""

from __future__ import annotations

import re
from itertools import islice
from pathlib import Path

from fc2conv.errors import InputError
from fc2conv.io.escape import one_line
from fc2conv.options.checked import close

_ANSWER = "it may be a server's answer in place of the model: download the model again"
_PYTORCH = "export the model with torch.onnx.export first"
_FORMATS = (
    (0, b"version https://git-lfs", "a Git LFS pointer and not the model itself", "run `git lfs pull`"),
    (0, b"PK\x03\x04", "a ZIP archive", "unpack it; a .pt or .keras file must be exported to ONNX first"),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7z archive", "unpack it"),
    (257, b"ustar", "a tar archive", "unpack it"),
    (0, b"\x1f\x8b", "gzip-compressed", "decompress it"),
    (0, b"BZh", "bzip2-compressed", "decompress it"),
    (0, b"\xfd7zXZ", "xz-compressed", "decompress it"),
    (0, b"\x28\xb5\x2f\xfd", "zstd-compressed", "decompress it"),
    (0, b"\x89HDF", "an HDF5 file", "export the Keras model to ONNX first"),
    (0, b"\x80\x02", "a pickle", _PYTORCH),
    (0, b"\x80\x04", "a pickle", _PYTORCH),
    (0, b"GGUF", "a GGUF file", "give the ONNX model"),
    (8, b'{"', "a safetensors file", "it holds weights without a model: export the model to ONNX"),
    (0, b"\x7fELF", "a program", "give the ONNX model"),
    (4, b"ORTM", "in onnxruntime's own .ort format", "give the ONNX model that it was made from"),
    (4, b"TFL3", "a TensorFlow Lite model", "convert it to ONNX first"),
)


def refuse_other_formats(head: bytes, name: str) -> None:
    """Raise InputError for a file that is often mistaken for a model; `head` is how the file begins."""
    if head.startswith(b"PK\x03\x04") and b"/data.pkl" in head:
        raise InputError(f"{name} is a ZIP archive of PyTorch", _PYTORCH)
    for offset, magic, what, remedy in _FORMATS:
        if head[offset:].startswith(magic):
            raise InputError(f"{name} is {what}", remedy)
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if text.startswith((b"<?xml", b'{"', b"[{")):
        raise InputError(f"{name} is {'an XML' if text.startswith(b'<') else 'a JSON'} text", _ANSWER)
    if text.startswith((b"<!doctype html", b"<html")):
        raise InputError(f"{name} is an HTML page", "download the model itself; the link led to a web page")


def url(path: Path) -> str | None:
    """Return the URL that a path was meant to be; None for any other path."""
    found = re.match(r"([a-z][a-z0-9+.-]+):/+(.*)", str(path))
    return one_line(f"{found[1]}://{found[2]}") if found else None


def missing(path: Path, name: str) -> InputError:
    """Return the error for a file that does not exist, with the nearest name in its folder or the command for URLs."""
    address = url(path)
    if address is not None:
        return InputError(f"{address} is a URL", "fetch the model first, or use `fc2conv batch URL FOLDER`")
    if set(path.name) & set("*?["):
        return InputError(f"{name} matches no file", "check the pattern, and leave it without quotes")
    return InputError(f"{name} does not exist", _nearest(path))


def _nearest(path: Path) -> str:
    try:
        names = [each.name for each in islice(path.parent.iterdir(), 1000)]
    except OSError:
        return "check the path"
    if near := close(path.name, names, 0.8):
        return f"the nearest is {one_line(str(path.with_name(near)))}"
    return "check the path" if path.suffix else "check the path; `fc2conv --help` lists the commands"
