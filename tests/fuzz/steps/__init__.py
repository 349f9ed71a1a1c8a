"""The steps of a random graph and how often each is drawn, in an order that every seed counts on."""

from __future__ import annotations

from ..builder import Step
from .bodies import BODIES
from .elementwise import ELEMENTWISE
from .forms import FORMS
from .joins import JOINS
from .layers import LAYERS
from .maps import MAPS
from .moves import MOVES
from .networks import NETWORKS
from .rare import RARE

STEPS: dict[Step, int] = {**MAPS, **LAYERS, **ELEMENTWISE, **JOINS, **FORMS, **MOVES, **NETWORKS, **BODIES, **RARE}
