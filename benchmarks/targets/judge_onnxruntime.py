"""onnxruntime's CPU provider as a judge: one thread, all of its optimizations."""

from __future__ import annotations

from pathlib import Path

import onnxruntime
from judging import Loaded, judge


def load(path: Path) -> Loaded:
    """A session."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return Loaded(lambda inputs: list(session.run(None, dict(inputs))))


if __name__ == "__main__":
    judge("onnxruntime", onnxruntime.__version__, load)
