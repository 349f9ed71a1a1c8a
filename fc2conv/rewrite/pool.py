"""The initializers of a scope: those that it has, and those that are made under free names, each once."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from copy import deepcopy
from enum import Enum
from typing import Any

import numpy as np
from onnx import NodeProto, TensorProto, numpy_helper

from fc2conv.dataclass import dataclass
from fc2conv.io.payload import Buffer, Payload
from fc2conv.io.tensors import LARGE, payload_key, set_payload, set_raw
from fc2conv.ir.graph import new_node

_READ = {
    "Expand": (8, ("shape",)),
    "Pad": (11, ("pads",)),
    "ReduceSum": (13, ("axes",)),
    **{f"Reduce{name}": (18, ("axes",)) for name in "L1 L2 LogSum LogSumExp Max Mean Min Prod SumSquare".split()},
    "Reshape": (5, ("shape",)),
    "Slice": (10, ("starts", "ends", "axes", "steps")),
    "Squeeze": (13, ("axes",)),
    "Tile": (6, ("repeats",)),
    "Unsqueeze": (13, ("axes",)),
}
"""Lists of numbers that an operator reads, in this order, from an operator set on; before, they are attributes."""

TO_THE_END = (1 << 63) - 1
"""The end of a Slice that takes all after its start."""


class State(Enum):
    """What becomes of a name."""

    KEEP = "an initializer as it was"
    REPLACE = "an initializer that has another tensor"
    DROP = "the result of a node that is left out; what is made in its place has the name"
    NEW = "a name that the scope did not have"


@dataclass
class Entry:
    """The state of a name, and its tensor; None where it has no tensor, or not yet."""

    state: State
    tensor: TensorProto | None = None


def unused(wanted: str, taken: set[str]) -> str:
    """Take a free name: the wanted one, or that with a number where it is taken."""
    name, i = wanted, 1
    while name in taken:
        i += 1
        name = f"{wanted}_{i}"
    taken.add(name)
    return name


class Pool:
    """The initializers of one scope by name; each has one state.

    `old` are those that the scope has, `taken` all names of the model, `payloads` the bytes of large tensors.
    """

    def __init__(self, old: Iterable[TensorProto], taken: set[str], payloads: dict[str, Payload]) -> None:
        self.payloads = payloads
        self._entries = {tensor.name: Entry(State.KEEP, tensor) for tensor in old}
        self._taken = taken
        self._made: dict[object, str] = {}

    def state(self, name: str) -> State | None:
        """Return the state of a name; None for a value that nodes make or that comes from outside."""
        entry = self._entries.get(name)
        return None if entry is None else entry.state

    def tensor(self, name: str) -> TensorProto | None:
        """Return the initializer that a name has now; None for every other value."""
        entry = self._entries.get(name)
        return None if entry is None or entry.state is State.DROP else entry.tensor

    def names(self, state: State) -> set[str]:
        return {name for name, entry in self._entries.items() if entry.state is state}

    def claim(self, name: str) -> None:
        """Take an old name for what is made next: of an initializer, or of the one result of a node."""
        entry = self._entries.get(name)
        self._entries[name] = Entry(State.DROP if entry is None else State.REPLACE)

    def initializers(
        self, before: Collection[str], now: Collection[str]
    ) -> tuple[list[TensorProto], list[TensorProto]]:
        """Return the old and the new initializers that are read now; an old one that nobody read before stays."""
        old, new = list[TensorProto](), list[TensorProto]()
        for name, entry in self._entries.items():
            is_old = entry.state in (State.KEEP, State.REPLACE)
            if entry.tensor is not None and (name in now or (is_old and name not in before)):
                (old if is_old else new).append(entry.tensor)
        return old, new

    @property
    def new(self) -> list[TensorProto]:
        """The tensors that were made under new names."""
        made = (entry.tensor for entry in self._entries.values() if entry.state is State.NEW)
        return [tensor for tensor in made if tensor is not None]

    def unique(self, wanted: str) -> str:
        """Take a name that nothing in the scope has: the wanted one, or that with a number."""
        return unused(wanted, self._taken)

    def once(self, key: object, make: Callable[[], str]) -> str:
        """Return the constant of a key; make it where it is asked for first."""
        if key not in self._made:
            self._made[key] = make()
        return self._made[key]

    def ints(self, values: tuple[int, ...], wanted: str) -> str:
        return self.once(("ints", values), lambda: self.value(np.array(values, np.int64), wanted))

    def node(
        self, op_type: str, reads: Sequence[str], made: str, name: str, opset: int, *, wanted: str, **attributes: Any
    ) -> NodeProto:
        """Make a node of ONNX's own; the numbers that its operator set reads become constants after what it `reads`.

        Name these constants by what is `wanted` and by their key.
        """
        since, keys = _READ.get(op_type, (0, ()))
        read = [key for key in keys if opset >= since and attributes.get(key) is not None]
        numbers = [self.ints(tuple(attributes.pop(key)), f"{wanted}_{key}") for key in read]
        return new_node(op_type, [*reads, *numbers], [made], name, **attributes)

    def value(self, array: np.ndarray, wanted: str) -> str:
        return self._place(numpy_helper.from_array(array, self.unique(wanted)))

    def reshaped(self, tensor: TensorProto, dims: Sequence[int]) -> str:
        """Return a tensor of the model with other dimensions and the same elements, wherever they are."""

        def make() -> str:
            new = deepcopy(tensor)
            new.dims[:], new.name = dims, self.unique(f"{tensor.name}_flat")
            return self._place(new)

        return self.once(("reshaped", tensor.name, tuple(dims)), make)

    def _array(self, array: np.ndarray, data_type: int, name: str) -> str:
        data = numpy_helper.from_array(np.ascontiguousarray(array), name).raw_data
        if len(data) >= LARGE:
            return self.placed(name, data_type, array.shape, Buffer(data))
        return self._place(TensorProto(name=name, data_type=data_type, dims=array.shape, raw_data=data))

    def placed(self, name: str, data_type: int, shape: Sequence[int], payload: Payload) -> str:
        """Make a constant whose bytes are those of a payload, and return its name."""
        key = f"fc2conv:{name}"
        while key in self.payloads:
            key += "'"
        self.payloads[key] = payload
        tensor = TensorProto(name=name, data_type=data_type, dims=shape)
        set_payload(tensor, key)
        return self._place(tensor)

    def made(self, name: str) -> np.ndarray | None:
        """Return the values of a constant that was made here; None for every other one."""
        entry = self._entries.get(name)
        if entry is None or entry.state is State.KEEP or entry.tensor is None:
            return None
        plain = deepcopy(entry.tensor)
        if (key := payload_key(plain)) is not None:
            set_raw(plain, b"".join(self.payloads[key].blocks()))
        return numpy_helper.to_array(plain)

    def _place(self, tensor: TensorProto) -> str:
        entry = self._entries.setdefault(tensor.name, Entry(State.NEW))
        assert entry.tensor is None, f"{tensor.name} is made twice"
        entry.tensor = tensor
        return tensor.name
