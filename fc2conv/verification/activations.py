"""Class activation maps as numbers: what their pooling and an activation behind it are."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fc2conv.verification.spec import CamClaim

Array = NDArray[Any]
SPACE = 2


def pooled_by(cam: CamClaim, cells: Array) -> Array:
    """The pooling of every window of a map [N, C, *S], in float64."""
    axes = tuple(range(SPACE, cells.ndim))
    kernel = cam.kernel or cells.shape[SPACE:]
    every = tuple(slice(None, None, stride) for stride in cam.strides)
    seen = np.lib.stride_tricks.sliding_window_view(cells.astype(np.float64), kernel, axis=axes)
    seen = seen[(slice(None), slice(None), *every)]
    over = tuple(range(cells.ndim, seen.ndim))
    return np.asarray(cam.mean * seen.mean(axis=over) + cam.maximum * seen.max(axis=over))


def activated(scores: Array, then: str) -> Array:
    """What an activation of ONNX makes of the scores of each cell."""
    if then == "Sigmoid":
        return np.asarray(1 / (1 + np.exp(-scores)))
    if not then:
        return scores
    below = scores - scores.max(axis=1, keepdims=True)
    logs = below - np.log(np.exp(below).sum(axis=1, keepdims=True))
    return np.asarray(logs if then == "LogSoftmax" else np.exp(logs))
