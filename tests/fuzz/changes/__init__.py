"""What may be done to a model to damage it, in an order that every seed counts on."""

from __future__ import annotations

from .attributes import ATTRIBUTE_CHANGES
from .models import MODEL_CHANGES
from .nodes import NODE_CHANGES
from .places import Change
from .tensors import TENSOR_CHANGES

CHANGES: tuple[Change, ...] = (*NODE_CHANGES, *ATTRIBUTE_CHANGES, *TENSOR_CHANGES, *MODEL_CHANGES)
