"""Arithmetic on small tensors of numbers, some of which depend on sizes that nobody knows."""

from fc2conv.ir.arithmetic.numbers import INT64, MOST, Call, Numbers
from fc2conv.ir.arithmetic.table import SOURCES, TABLE, counted, evaluate

__all__ = ["INT64", "MOST", "SOURCES", "TABLE", "Call", "Numbers", "counted", "evaluate"]
