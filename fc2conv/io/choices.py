"""What a caller names and a model must have: layers by patterns, inputs and other values by their names and shapes.

What the model lacks is a UsageError that names the nearest. A pattern for many models (`for_many`) need not match in
each of them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase

from fc2conv.errors import UsageError
from fc2conv.options import Options
from fc2conv.options.checked import close

Shapes = Mapping[str, tuple[int, ...]]
Declared = Mapping[str, Sequence[int | str] | None]
"""The shapes of a model's inputs: a number for a fixed size, a symbol or `?` for an open one; None for no shape."""


def nearest(wanted: str, names: Collection[str]) -> str:
    """Return the name that is most like the wanted one; of equals the first in order."""
    from difflib import SequenceMatcher

    return max(sorted(names), key=lambda name: SequenceMatcher(None, wanted.lower(), name.lower()).ratio())


def unmatched(options: Options, layers: Collection[str], others: Collection[str] = ()) -> Iterator[UsageError]:
    """Yield an error for each pattern that matches no layer and no other name that it may match."""
    for option, patterns in (("include", options.include), ("exclude", options.exclude)):
        for pattern in patterns:
            if not any(fnmatchcase(name, pattern) for name in (*layers, *others)):
                there = f"the nearest is {nearest(pattern, layers)!r}" if layers else "there is none"
                if any(pattern in name for name in layers):
                    there += f", and '*{pattern}*' matches every name that holds it"
                yield UsageError(f"--{option} {pattern!r} matches no fully connected layer", there)


def check_patterns(options: Options, layers: Collection[str], convolutions: Collection[str]) -> None:
    """Raise UsageError for the first pattern that matches no layer of a model and no layer converted before."""
    if not options.for_many:
        for error in unmatched(options, layers, convolutions):
            raise error


def of_inputs(given: Shapes, declared: Declared) -> dict[str, tuple[int, ...]]:
    """Select the shapes that a caller gives for inputs."""
    return {name: shape for name, shape in given.items() if name in declared}


def of_open_inputs(given: Shapes, declared: Declared) -> dict[str, tuple[int, ...]]:
    """Select the shapes that a caller gives for inputs that have an open size or no shape."""
    opened = {name: shape is None or any(isinstance(size, str) for size in shape) for name, shape in declared.items()}
    return {name: shape for name, shape in given.items() if opened.get(name)}


def check_shapes(given: Shapes, declared: Declared, inner: Collection[str] = ()) -> None:
    """Raise UsageError for a shape that is given to no input, or contradicts what the model declares.

    A shape may be given to an `inner` value as well; whether it already has one is not known here.
    """
    for name, shape in given.items():
        if name in declared:
            _check_shape(name, shape, declared[name])
        elif name not in inner:
            names = [*declared, *filter(None, [close(name, inner, 0.8)])] if declared else inner
            there = f"the nearest is {nearest(name, names)!r}" if names else "the model has none"
            more = f", of {', '.join(declared)}" if len(declared) > 1 else ""
            raise UsageError(f"--overwrite-input-shape names {name!r}, which is no input", there + more)


def check_outputs(given: Collection[str], outputs: Sequence[str]) -> None:
    """Raise UsageError for a tolerance whose name is no output and no value made from one (`OUTPUT_mean`)."""
    for name in given:
        if name not in outputs and not any(name.startswith(f"{output}_") for output in outputs):
            there = f"the nearest is {nearest(name, outputs)!r}" if outputs else "the model has none"
            raise UsageError(f"--per-output names {name!r}, which is no output", there)


def _check_shape(name: str, shape: tuple[int, ...], declared: Sequence[int | str] | None) -> None:
    if declared is None:
        return
    what = f"--overwrite-input-shape gives {name!r} the shape {_sizes(shape)}"
    if len(shape) != len(declared):
        raise UsageError(f"{what}, which has {len(shape)} dimensions", f"in the model it has {_sizes(declared)}")
    # A size of 0 is one that the caller leaves open.
    near = [there if isinstance(there, int) and size else size for there, size in zip(declared, shape, strict=True)]
    if near != list(shape):
        raise UsageError(f"{what}, and in the model it has {_sizes(declared)}", f"the nearest is {name}:{_sizes(near)}")


def _sizes(sizes: Sequence[int | str]) -> str:
    return ",".join(map(str, sizes))
