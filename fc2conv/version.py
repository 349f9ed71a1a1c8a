"""The version, alone, so that the build and `--version` read it without importing anything else."""

from functools import cache

__version__ = "0.2.0"


def versions() -> dict[str, str]:
    """Return the versions of what makes a report: fc2conv, onnx, onnxruntime, Python."""
    import platform

    libraries = {name: _installed(name) for name in ("onnx", "onnxruntime")}
    return {"fc2conv": __version__, **libraries, "python": platform.python_version()}


@cache
def _installed(library: str) -> str:
    """Return the version of a library; its metadata is a page of text, which takes a third of a small plan to read."""
    from importlib.metadata import version

    return version(library)
