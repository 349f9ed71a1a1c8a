"""Chains of nodes that are followed without recursion: one may be longer than Python's stack is deep."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator


def operands_first(name: str, done: Collection[str], read: Callable[[str], Iterator[str]]) -> Iterator[str]:
    """Yield a value after those that it is made of, without those that are `done`.

    `read` gives what a value is made of. The caller adds each value to `done` before it asks for the next one.
    """
    chain = [(name, read(name))]
    while chain:
        behind = next((each for each in chain[-1][1] if each not in done), None)
        if behind is not None:
            chain.append((behind, read(behind)))
            continue
        made, _ = chain.pop()
        if made not in done:
            yield made
