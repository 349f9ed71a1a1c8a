"""What is often given in place of a model, known by how it begins."""

from __future__ import annotations

from fc2conv.errors import InputError

_ANSWER = "it may be a server's answer in place of the model: download the model again"
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
    (0, b"\x80\x02", "a pickle", "export the PyTorch model to ONNX first"),
    (0, b"\x80\x04", "a pickle", "export the PyTorch model to ONNX first"),
    (0, b"GGUF", "a GGUF file", "give the ONNX model"),
    (8, b'{"', "a safetensors file", "it holds weights without a model: export the model to ONNX"),
    (0, b"\x7fELF", "a program", "give the ONNX model"),
    (4, b"ORTM", "in onnxruntime's own .ort format", "give the ONNX model that it was made from"),
    (4, b"TFL3", "a TensorFlow Lite model", "convert it to ONNX first"),
)


def refuse_other_formats(head: bytes, name: str) -> None:
    """Raises InputError for what is often mistaken for a model; `head` is how the file begins."""
    for offset, magic, what, remedy in _FORMATS:
        if head[offset:].startswith(magic):
            raise InputError(f"{name} is {what}", remedy)
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if text.startswith((b"<?xml", b'{"', b"[{")):
        raise InputError(f"{name} is {'an XML' if text.startswith(b'<') else 'a JSON'} text", _ANSWER)
    if text.startswith((b"<!doctype html", b"<html")):
        raise InputError(f"{name} is an HTML page", "download the model itself; the link led to a web page")
