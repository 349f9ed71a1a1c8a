"""Random options of a conversion."""

from __future__ import annotations

from typing import Any

import numpy as np

from fc2conv import Options
from fc2conv.options import SlidingOptions
from fc2conv.targets.lookup import shipped

_DRAWN: dict[str, tuple[float, tuple[Any, ...]]] = {
    "target": (0.4, tuple(shipped())),
    "conv_rank": (0.3, ("1d", "2d")),
    "norms": (0.2, ("map", "keep")),
    "layer_form": (0.2, ("map", "point", "keep")),
    "qdq": (0.15, (True,)),
    "requantize": (0.1, (True,)),
    "max_kernel": (0.15, (1, 2, 3)),
    "max_kernel_area": (0.1, (1, 2, 4, 6)),
    "max_channels": (0.15, (1, 2, 4, 7, 16)),
    "channel_multiple": (0.15, (2, 3, 4, 8, 16)),
    "expand_block_quantized": (0.1, (True,)),
    "freeze_initializers": (0.1, (True,)),
    "max_added_transposes": (0.1, (0, 1, 4)),
}
"""How often an option is given, and its values."""


def random_options(seed: int, batch: int, scope: str) -> Options:
    """The options of a seed, for a model of this batch."""
    random = np.random.default_rng([seed, batch])
    given: dict[str, Any] = {"scope": scope}
    for name, (probability, values) in _DRAWN.items():
        if random.random() < probability:
            given[name] = values[int(random.integers(len(values)))]
    if random.random() < 0.1:
        return Options(**given, sliding=SlidingOptions())
    if random.random() < 0.3:
        given |= {"static": batch, "outputs": ("keep", "4d")[int(random.integers(2))]}
    return Options(**given)


def same_signature(options: Options) -> bool:
    """Whether a model that these options make takes what the original takes, and computes the same."""
    return options.sliding is None and options.static is None and not options.requantize
