"""The new constants of a scope under free names, each made once."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from onnx import TensorProto, numpy_helper

from fc2conv.io.payload import Buffer, Payload
from fc2conv.io.tensors import LARGE, payload_key, set_payload, set_raw


class Pool:
    """Makes new constants for one scope: those in the place of old ones (`replaced`), and others (`initializers`)."""

    def __init__(self, taken: set[str], payloads: dict[str, Payload]) -> None:
        self.payloads = payloads
        self.initializers: list[TensorProto] = []
        self.replaced: dict[str, TensorProto | None] = {}
        self._taken = taken
        self._made: dict[object, str] = {}

    def unique(self, wanted: str) -> str:
        """A name that nothing in the scope has: the wanted one, or that with a number."""
        name, i = wanted, 1
        while name in self._taken:
            i += 1
            name = f"{wanted}_{i}"
        self._taken.add(name)
        return name

    def once(self, key: object, make: Callable[[], str]) -> str:
        """The constant of a key, made where it is asked for first."""
        if key not in self._made:
            self._made[key] = make()
        return self._made[key]

    def ints(self, values: tuple[int, ...], wanted: str) -> str:
        """A one-dimensional int64 constant."""
        return self.once(("ints", values), lambda: self.value(np.array(values, np.int64), wanted))

    def value(self, array: np.ndarray, wanted: str) -> str:
        """A small constant."""
        return self._small(array, self.unique(wanted))

    def reshaped(self, tensor: TensorProto, dims: Sequence[int]) -> str:
        """A tensor of the model with other dimensions and the same elements, wherever they are."""
        key = ("reshaped", tensor.name, tuple(dims))
        if key not in self._made:
            new = TensorProto()
            new.CopyFrom(tensor)
            new.dims[:] = dims
            new.name = self.unique(f"{tensor.name}_flat")
            self.initializers.append(new)
            self._made[key] = new.name
        return self._made[key]

    def _array(self, array: np.ndarray, data_type: int, name: str) -> str:
        """A constant of some values."""
        data = numpy_helper.from_array(np.ascontiguousarray(array), name).raw_data
        if len(data) >= LARGE:
            return self.placed(name, data_type, array.shape, Buffer(data))
        return self._place(TensorProto(name=name, data_type=data_type, dims=array.shape, raw_data=data))

    def placed(self, name: str, data_type: int, shape: Sequence[int], payload: Payload) -> str:
        """A constant whose bytes are those of a payload."""
        key = f"fc2conv:{name}"
        while key in self.payloads:
            key += "'"
        self.payloads[key] = payload
        tensor = TensorProto(name=name, data_type=data_type, dims=shape)
        set_payload(tensor, key)
        return self._place(tensor)

    def made(self, name: str) -> np.ndarray | None:
        """The values of a constant that was made here; None for every other one."""
        tensors = (*self.initializers, *(tensor for tensor in self.replaced.values() if tensor is not None))
        tensor = next((each for each in tensors if each.name == name), None)
        if tensor is None:
            return None
        plain = TensorProto()
        plain.CopyFrom(tensor)
        if (key := payload_key(tensor)) is not None:
            set_raw(plain, b"".join(self.payloads[key].blocks()))
        return numpy_helper.to_array(plain)

    def _small(self, array: np.ndarray, name: str) -> str:
        return self._place(numpy_helper.from_array(array, name))

    def _place(self, tensor: TensorProto) -> str:
        if tensor.name in self.replaced:
            self.replaced[tensor.name] = tensor
        else:
            self.initializers.append(tensor)
        return tensor.name
