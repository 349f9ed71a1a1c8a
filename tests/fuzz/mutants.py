"""Damaged models: a base model and some random changes of its protobuf or of its bytes, all from one seed.

Each change draws from a generator of its own, so that a mutant stays what it is when one of its changes is left out.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field

from google.protobuf.message import DecodeError
from onnx import ModelProto

from .changes import CHANGES
from .changes.data import EXTERNAL_CHANGES, externalise
from .changes.places import Change
from .changes.raw import BYTE_CHANGES

SHARE_OF_BYTES, SHARE_OF_BOTH, SHARE_EXTERNAL = 0.2, 0.1, 0.08


@dataclass(frozen=True)
class Base:
    """A model to damage; `sizes` gives symbolic dimensions their size when it is run."""

    name: str
    model: ModelProto
    sizes: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Mutant:
    """The file to convert, its data file ("" for none), and what was done to the base."""

    base: Base
    serialized: bytes
    data: bytes
    changes: tuple[str, ...]


def mutant(seed: int, bases: Sequence[Base], without: frozenset[int] = frozenset()) -> Mutant:
    """The mutant of a seed; the changes whose numbers are in `without` are left out."""
    draw = random.Random(seed)
    base, other = draw.choice(bases), draw.choice(bases)
    kind, count, external = draw.random(), 1 + min(int(draw.expovariate(0.8)), 7), draw.random() < SHARE_EXTERNAL
    model = ModelProto.FromString(base.model.SerializeToString())
    data = externalise(model, draw) if external else b""
    changes: list[str] = []
    number = 0
    if kind >= SHARE_OF_BYTES:
        for number in range(count):
            own = random.Random(f"{seed}:{number}")
            change = own.choice(CHANGES + EXTERNAL_CHANGES if external else CHANGES)
            if number not in without and _tried(change, model, own):
                changes.append(f"{number}:{change.__name__.strip('_')}")
    serialized = model.SerializeToString()
    if kind < SHARE_OF_BYTES + SHARE_OF_BOTH:
        for step in range(number + 1, number + 1 + count):
            own = random.Random(f"{seed}:{step}")
            byte_change = own.choice(BYTE_CHANGES)
            if step not in without and serialized:
                serialized = byte_change(serialized, own, other.model.SerializeToString())
                changes.append(f"{step}:{byte_change.__name__.strip('_')}")
    return Mutant(base, serialized, data, tuple(changes))


def _tried(change: Change, model: ModelProto, own: random.Random) -> bool:
    """Whether the change found something to change; a value that protobuf refuses is no change either."""
    try:
        change(model, own)
    except (LookupError, ValueError, TypeError, DecodeError):
        return False
    return True
