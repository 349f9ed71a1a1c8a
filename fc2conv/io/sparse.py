"""Sparse tensors as the dense tensors that they describe."""

from __future__ import annotations

from math import prod

import numpy as np
import onnx

from fc2conv.io.reader import ModelFile

_MOST = 1 << 28
"""Elements of a tensor that is written out."""


def dense(file: ModelFile, sparse: onnx.SparseTensorProto) -> np.ndarray | None:
    """Return the elements of a sparse tensor of a skeleton; None where it is large, or its indices fit no shape."""
    shape, values, indices = tuple(sparse.dims), file.array(sparse.values), file.array(sparse.indices)
    if prod(shape) > _MOST or min(shape, default=0) <= 0 or indices.dtype != np.int64 or values.ndim != 1:
        return None
    if indices.shape == (len(values), len(shape)):
        inside = ((indices >= 0) & (indices < shape)).all()
        flat = np.ravel_multi_index(tuple(indices.T), shape) if inside else None
    else:
        flat = indices if indices.shape == values.shape and ((indices >= 0) & (indices < prod(shape))).all() else None
    if flat is None:
        return None
    out = np.zeros(prod(shape), values.dtype)
    out[flat] = values
    return out.reshape(shape)
