"""Payloads: the bytes of large tensors, wherever they are, and how they get into a file."""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol
from weakref import WeakValueDictionary

from fc2conv import system
from fc2conv.dataclass import dataclass

BLOCK = 1 << 20
"""Bytes that pass through Python at a time."""

COPY_BLOCK = 1 << 25
"""Bytes that the kernel copies in one call; between two calls Ctrl-C is seen, and the disk is set to work."""

_UNSUPPORTED = {errno.EXDEV, errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EPERM, errno.EBADF,
                errno.ETXTBSY, errno.EOVERFLOW}  # fmt: skip


_SYNC_FILE_RANGE_WRITE = 2
_sync_file_range = system.libc("sync_file_range")
if _sync_file_range is not None:
    _sync_file_range.argtypes = (ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint)


_maps: WeakValueDictionary[tuple[Path, tuple[int, ...]], mmap.mmap] = WeakValueDictionary()
"""The maps of files, by path and stamp, that some array still reads."""


def stamp(status: os.stat_result) -> tuple[int, ...]:
    """Returns what tells one state of a file from another: device, inode, bytes, and nanoseconds of its last change."""
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


class Payload(Protocol):
    """The bytes of one tensor, little endian, as raw_data holds them."""

    @property
    def nbytes(self) -> int:
        """The size in bytes."""

    def blocks(self) -> Iterator[bytes | memoryview]:
        """Yields the bytes in order, in blocks of bounded size."""


@dataclass(frozen=True)
class Span:
    """A range of bytes of a file: `offset` and `length` in bytes."""

    path: Path
    offset: int
    length: int

    @property
    def nbytes(self) -> int:
        return self.length

    def blocks(self) -> Iterator[bytes | memoryview]:
        """Yields the bytes in order; raises OSError if the file cannot be read or became shorter."""
        with self.path.open("rb", buffering=0) as file:
            done = 0
            file.seek(self.offset)
            while done < self.length:
                block = file.read(min(BLOCK, self.length - done))
                if not block:
                    raise _shrunk(self.path)
                yield block
                done += len(block)

    def mapped(self) -> memoryview:
        """The bytes where they are in the file; one map, which holds a file descriptor, serves all of a file."""
        with self.path.open("rb", buffering=0) as file:
            key = self.path, stamp(os.fstat(file.fileno()))
            found = _maps.get(key)
            if found is None:
                found = _maps[key] = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        return memoryview(found)[self.offset : self.offset + self.length]


@dataclass(frozen=True)
class Buffer:
    data: bytes | memoryview

    @property
    def nbytes(self) -> int:
        return len(self.data)

    def blocks(self) -> Iterator[bytes | memoryview]:
        """Yields slices of the bytes, without a copy."""
        view = memoryview(self.data)
        for start in range(0, len(view), BLOCK):
            yield view[start : start + BLOCK]


class Sink:
    """A file that is written from its start to its end; small pieces are gathered, spans are copied by the kernel."""

    def __init__(self, path: Path, mode: int) -> None:
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | system.BINARY, 0o666)
        self._pending = bytearray()
        self._sources: dict[Path, int] = {}
        self._behind = 0
        self.nbytes = 0
        if mode >= 0:
            path.chmod(mode)

    def __enter__(self) -> Sink:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        try:
            if kind is None:
                self._flush()
        finally:
            for descriptor in (self._descriptor, *self._sources.values()):
                os.close(descriptor)

    def add(self, part: memoryview | Payload) -> None:
        """Appends bytes or a payload; raises OSError if the disk is full, or a source cannot be read."""
        self.nbytes += part.nbytes
        if isinstance(part, memoryview):
            self._bytes(part)
        elif isinstance(part, Span):
            self._span(part)
        else:
            left = part.nbytes
            for block in part.blocks():
                self._bytes(memoryview(block))
                left -= len(block)
            if left:
                raise ValueError(f"a payload yielded {part.nbytes - left} bytes instead of {part.nbytes}")

    def pad(self, nbytes: int) -> None:
        self.add(memoryview(bytes(nbytes)))

    def _bytes(self, data: memoryview) -> None:
        if len(self._pending) + data.nbytes > BLOCK:
            self._flush()
        if data.nbytes >= BLOCK:
            _write_all(self._descriptor, data)
            self._wrote(data.nbytes)
        else:
            self._pending += data

    def _flush(self) -> None:
        _write_all(self._descriptor, memoryview(self._pending))
        self._wrote(len(self._pending))
        self._pending = bytearray()

    def _wrote(self, nbytes: int) -> None:
        """Starts to write to the disk what has gathered, so that the fsync before publishing has little to wait for."""
        self._behind += nbytes
        if self._behind >= COPY_BLOCK:
            self._behind = 0
            if _sync_file_range is not None:
                _sync_file_range(self._descriptor, 0, 0, _SYNC_FILE_RANGE_WRITE)

    def _span(self, span: Span) -> None:
        self._flush()
        source = self._sources.get(span.path)
        if source is None:
            source = self._sources[span.path] = os.open(span.path, os.O_RDONLY | system.BINARY)
        done = 0
        for copy in (*system.KERNEL_COPIES, _by_hand):
            try:
                while done < span.length:
                    count = copy(source, self._descriptor, span.offset + done, min(COPY_BLOCK, span.length - done))
                    if not count:
                        break
                    done += count
                    self._wrote(count)
            except OSError as error:
                if error.errno not in _UNSUPPORTED or copy is _by_hand:
                    raise
            if done == span.length:
                return
        raise _shrunk(span.path)


def _by_hand(source: int, sink: int, offset: int, count: int) -> int:
    os.lseek(source, offset, os.SEEK_SET)
    block = os.read(source, min(BLOCK, count))
    _write_all(sink, memoryview(block))
    return len(block)


def _write_all(descriptor: int, data: memoryview) -> None:
    while data:
        data = data[os.write(descriptor, data) :]


def _shrunk(path: Path) -> OSError:
    return OSError(errno.EIO, "the file became shorter while it was read", os.fspath(path))
