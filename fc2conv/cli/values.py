"""The types of the options' values: text of the command line, converted to what the library takes."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Any

import click

from fc2conv.options.checked import LEAST, is_interval, most_of

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem


class Whole(click.IntRange):
    """A whole number, as the library takes it for the option of this name; it is multiplied by `unit` there."""

    def __init__(self, name: str, unit: int = 1) -> None:
        super().__init__(min=LEAST[name])
        self.most = most_of(name) // unit

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        number: int = super().convert(value, param, ctx)
        if number > self.most:
            self.fail(f"{number} is more than {self.most}", param, ctx)
        return number


class Number(click.FloatRange):
    """A finite number in a range."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"'{value}' is not a finite number", param, ctx)
        return number


def named_numbers(number: str, form: str) -> Callable[[str], tuple[str, tuple[int, ...]]]:
    """Make the type of `NAME:N,N,...`, split at the last colon: `number` is a number's pattern, `form` the hint."""

    def convert(value: str) -> tuple[str, tuple[int, ...]]:
        name, _, numbers = value.rpartition(":")
        if not name or not re.fullmatch(f"{number}(,{number})*", numbers):
            raise click.BadParameter(f"'{value}' is not {form}")
        return name, tuple(map(int, numbers.split(",")))

    return convert


def providers(value: str) -> tuple[str, ...]:
    """Parse `A,B` as names."""
    found = tuple(name for name in value.split(",") if name)
    if not found:
        raise click.BadParameter(f"'{value}' names no provider")
    return found


def tolerance(value: str) -> float:
    """Parse a finite number >= 0."""
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    if not 0 <= number < math.inf:
        raise click.BadParameter(f"'{value}' is not a finite number >= 0")
    return number


def interval(example: str) -> Callable[[str], tuple[float, float]]:
    """Make the type of `LOW,HIGH`, two finite numbers in this order."""

    def convert(value: str) -> tuple[float, float]:
        try:
            low, high = map(float, value.split(","))
        except ValueError:
            low = high = math.nan
        if not is_interval(low, high):
            raise click.BadParameter(f"'{value}' is not LOW,HIGH such as {example}")
        return low, high

    return convert


def output_tolerance(value: str) -> tuple[str, float]:
    """Parse `name:tolerance`, split at the last colon."""
    name, _, number = value.rpartition(":")
    if not name:
        raise click.BadParameter(f"'{value}' is not NAME:X such as logits:1e-3")
    return name, tolerance(number)


def by_name(twice: str) -> Callable[[click.Context, click.Parameter, Collection[tuple[str, Any]]], dict[str, Any]]:
    """Make a callback that collects pairs in a dict; `twice` is the error for a name that has two values."""

    def collected(_: click.Context, param: click.Parameter, given: Collection[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(given)
        if len(found) < len(given):
            raise click.BadParameter(twice, param=param)
        return found

    return collected


def files(_: click.Context, __: click.Parameter | None, incomplete: str) -> list[CompletionItem]:
    """Return the completions of an argument for the shell: its own list of files."""
    from click.shell_completion import CompletionItem

    return [CompletionItem(incomplete, type="file")]
