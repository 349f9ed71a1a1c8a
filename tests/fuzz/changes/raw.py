"""Changes of a model's bytes, whatever they stand for."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from .places import UNKNOWN, Random

ByteChange: TypeAlias = Callable[[bytes, Random, bytes], bytes]


def _flip(old: bytes, own: Random, _: bytes) -> bytes:
    new = bytearray(old)
    for _ in range(own.choice((1, 1, 2, 8))):
        new[own.randrange(len(new))] ^= 1 << own.randrange(8)
    return bytes(new)


def _set_byte(old: bytes, own: Random, _: bytes) -> bytes:
    at = own.randrange(len(old))
    return old[:at] + bytes([own.choice((0, 1, 0x7F, 0x80, 0xFF))]) + old[at + 1 :]


def _truncate(old: bytes, own: Random, _: bytes) -> bytes:
    return old[: own.randrange(len(old))]


def _insert_bytes(old: bytes, own: Random, _: bytes) -> bytes:
    at = own.randrange(len(old))
    return old[:at] + own.choice((own.randbytes(own.choice((1, 2, 9))), b"\xff" * 10, *UNKNOWN)) + old[at:]


def _delete_bytes(old: bytes, own: Random, _: bytes) -> bytes:
    at = own.randrange(len(old))
    return old[:at] + old[at + own.choice((1, 2, 8, 40)) :]


def _repeat_bytes(old: bytes, own: Random, _: bytes) -> bytes:
    at, count = own.randrange(len(old)), own.choice((2, 16, 100))
    return old[: at + count] + old[at:]


def _splice(old: bytes, own: Random, other: bytes) -> bytes:
    at, start = own.randrange(len(old)), own.randrange(len(other))
    return old[:at] + other[start : start + own.choice((8, 64, 400))] + old[at:]


def _concatenate(old: bytes, own: Random, other: bytes) -> bytes:
    """Two messages one after the other are one message to protobuf: it merges them."""
    return own.choice((old + other, other + old, old + old))


BYTE_CHANGES: tuple[ByteChange, ...] = (
    _flip, _flip, _set_byte, _truncate, _insert_bytes, _delete_bytes, _repeat_bytes, _splice, _concatenate,
)  # fmt: skip
