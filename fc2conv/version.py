"""The version, alone, so that the build and `--version` read it without importing anything else."""

__version__ = "0.2.0"


def versions() -> dict[str, str]:
    """The versions of what makes a report: fc2conv, onnx, onnxruntime, Python."""
    import platform
    from importlib.metadata import version

    libraries = {name: version(name) for name in ("onnx", "onnxruntime")}
    return {"fc2conv": __version__, **libraries, "python": platform.python_version()}
