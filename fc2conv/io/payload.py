"""Payloads: the bytes of large tensors, wherever they are, and how they get into a file."""

from __future__ import annotations

import ctypes
import errno
import io
import mmap
import os
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from threading import Thread
from typing import Protocol
from weakref import WeakValueDictionary

from fc2conv import system
from fc2conv.dataclass import dataclass

BLOCK = 1 << 20
"""Bytes that pass through Python at a time."""

COPY_BLOCK = 1 << 23
"""Bytes that the kernel copies in one call; between two calls Ctrl-C takes effect, and writes to the disk start."""

_GATHERED = 1 << 16
"""Bytes of small pieces that are written together."""

_UNSUPPORTED = {errno.EXDEV, errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EPERM, errno.EBADF,
                errno.ETXTBSY, errno.EOVERFLOW}  # fmt: skip


_SYNC_FILE_RANGE_WRITE = 2
_sync_file_range = system.libc("sync_file_range")
if _sync_file_range is not None:
    _sync_file_range.argtypes = (ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint)


_maps: WeakValueDictionary[tuple[Path, tuple[int, ...]], mmap.mmap] = WeakValueDictionary()
"""The maps of files that some array still reads, by path and stamp."""


def stamp(status: os.stat_result) -> tuple[int, ...]:
    """Return what tells one state of a file from another: device, inode, bytes, and nanoseconds of its last change."""
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


class Payload(Protocol):
    """The bytes of one tensor, little endian, as raw_data holds them."""

    @property
    def nbytes(self) -> int:
        """The size in bytes."""

    def blocks(self) -> Iterator[bytes | memoryview]:
        """Yield the bytes in order, in blocks of bounded size."""


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
        """Yield the bytes in order; raise OSError if the file cannot be read or became shorter."""
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
        """Map the bytes where they are in the file. One map, which holds a file descriptor, serves all of a file."""
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
        """Yield slices of the bytes, without a copy."""
        view = memoryview(self.data)
        for start in range(0, len(view), BLOCK):
            yield view[start : start + BLOCK]


class WriteBehind:
    """Starts to write a file to the disk while more is copied, so that the fsync before publishing has little to do.

    Where the disk is slower than the copy, the copy waits for it.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._begun = self._gathered = 0
        self._thread: Thread | None = None

    def wrote(self, nbytes: int) -> None:
        """Count bytes that were appended to the file, and start to write them to the disk when they are enough."""
        self._gathered += nbytes
        if self._gathered < COPY_BLOCK or _sync_file_range is None:
            return
        self.join()
        begin = partial(_sync_file_range, self._descriptor, self._begun, self._gathered, _SYNC_FILE_RANGE_WRITE)
        try:
            thread = Thread(target=begin)
            thread.start()
            self._thread = thread
        except RuntimeError:  # there is no room for a thread
            begin()
        self._begun, self._gathered = self._begun + self._gathered, 0

    def join(self) -> None:
        """Wait until the last started write is done. After that the file may be closed."""
        if self._thread is not None:
            self._thread.join()
            self._thread = None


class Sink:
    """A file that is written from its start to its end; small pieces are gathered, spans are copied by the kernel."""

    def __init__(self, path: Path, mode: int) -> None:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | system.BINARY, 0o666)
        self._file = os.fdopen(descriptor, "wb", _GATHERED)
        self._sources: dict[Path, io.FileIO] = {}
        self._block = memoryview(bytearray())
        self._behind = WriteBehind(descriptor)
        self.nbytes = 0
        if mode >= 0:
            path.chmod(mode)

    def __enter__(self) -> Sink:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        try:
            if kind is None:
                self._file.flush()
        finally:
            self._behind.join()
            with suppress(OSError):  # of a file that is given up
                self._file.close()
            for source in self._sources.values():
                source.close()

    def add(self, part: memoryview | Payload) -> None:
        """Append bytes or a payload; raise OSError if the disk is full, or a source cannot be read."""
        self.nbytes += part.nbytes
        if isinstance(part, memoryview):
            self._write(part)
        elif isinstance(part, Span):
            self._span(part)
        else:
            left = part.nbytes
            for block in part.blocks():
                self._write(memoryview(block))
                left -= len(block)
            if left:
                raise ValueError(f"a payload yielded {part.nbytes - left} bytes instead of {part.nbytes}")

    def pad(self, nbytes: int) -> None:
        self.add(memoryview(bytes(nbytes)))

    def _write(self, data: memoryview) -> None:
        self._file.write(data)
        self._behind.wrote(data.nbytes)

    def _span(self, span: Span) -> None:
        self._file.flush()
        source = self._sources.get(span.path)
        if source is None:
            source = self._sources[span.path] = io.FileIO(span.path)
        aligned = (self.nbytes - span.length - span.offset) % mmap.PAGESIZE == 0
        done = self._by_kernel(source.fileno(), span) if aligned else 0
        source.seek(span.offset + done)
        self._block = self._block or memoryview(bytearray(BLOCK))
        while done < span.length:
            count = source.readinto(self._block[: span.length - done])
            if not count:
                raise _shrunk(span.path)
            self._write(self._block[:count])
            done += count

    def _by_kernel(self, source: int, span: Span) -> int:
        """Have the kernel copy what it can of a span, and return how many bytes it copied.

        It clones what a file system can clone. Where the span is not aligned to pages as in its source, the kernel
        takes longer than a copy through memory that stays in the processor's cache.
        """
        done = 0
        while system.kernel_copy is not None and done < span.length:
            left = min(COPY_BLOCK, span.length - done)
            try:
                count = system.kernel_copy(source, self._file.fileno(), span.offset + done, left)
            except OSError as error:
                if error.errno not in _UNSUPPORTED:
                    raise
                break
            if not count:
                break
            done += count
            self._behind.wrote(count)
        return done


def _shrunk(path: Path) -> OSError:
    return OSError(errno.EIO, "the file became shorter while it was read", os.fspath(path))
