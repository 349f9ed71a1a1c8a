"""Values: what is known of one tensor of a model, with its ids (see `ids`) made only where they are asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np

from fc2conv.proof.ids import Array, Ids

Rule = Callable[[Sequence[Ids]], Ids]
"""How a value's ids come from the ids of its inputs."""


class UnmodelledError(Exception):
    """The ids of a value cannot be told; the message names the node that is in the way, for the user."""


@contextmanager
def fitting(node: str) -> Iterator[None]:
    """Around arithmetic on what a model says: operands and attributes that do not fit each other are UnmodelledError.

    onnx.checker and inference look at few of them, and numpy finds the rest.
    """
    try:
        yield
    except (ValueError, IndexError, TypeError, OverflowError) as error:
        raise UnmodelledError(f"{node} ({error})") from error


@dataclass(eq=False)
class Value:
    """One tensor.

    `key` is equal for values that are made in the same way; unlike keys say nothing. `signature` is what the node
    does to its `inputs`. `parts` are the values from whose ids `rule` makes the ids; with no rule the value is an
    anchor, whose elements get fresh ids. `read` gives the elements of a constant. `doubt` names the node because of
    which unlike ids of this value prove nothing; `moved` is whether the node only moves elements, and `common` whether
    both models are known to make the value. `live` values depend on an input of the model, be it on its shape alone.
    """

    key: np.uint64
    node: str
    shape: tuple[int, ...] | None = None
    elem_type: int = 0
    signature: np.uint64 = field(default_factory=lambda: np.uint64(0))
    inputs: tuple[Value, ...] = ()
    parts: tuple[Value, ...] = ()
    rule: Rule | None = None
    read: Callable[[], Array] | None = None
    doubt: str = ""
    moved: bool = False
    common: bool = False
    live: bool = False

    @property
    def is_weight(self) -> bool:
        """Whether the elements are numbers of the model, whatever it is given."""
        return self.is_constant and not self.live

    @property
    def is_constant(self) -> bool:
        """Whether the elements are known numbers."""
        return self.read is not None

    def array(self) -> Array:
        """The elements of a constant."""
        if self.read is None:
            raise UnmodelledError(f"{self.node} is not a constant")
        made = self.read()
        if self.shape is not None and made.shape != self.shape:
            raise UnmodelledError(f"{self.node} (it has shape {made.shape}, inference says {self.shape})")
        return made


@dataclass(frozen=True)
class Modelled:
    """The ids of one output: `rule` over the ids of `parts`; `moved` where they are the same ids, elsewhere."""

    parts: tuple[Value, ...]
    rule: Rule
    moved: bool = False


def blame(value: Value) -> str:
    """The node because of which a value's shape is not known."""
    while (before := next((v for v in value.inputs if v.shape is None), None)) is not None:
        value = before
    return value.node
