"""Another system for fc2conv's own code: what Windows does not offer is not there, and what it refuses is refused.

It is simulated: libraries, and the tests, see the system as it is. So it finds calls that are not there, files that are
open where they are replaced, text that would be changed; it does not find what only Windows itself does otherwise.
"""

from __future__ import annotations

import builtins
import errno
import importlib
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any

HIDDEN = {
    "os": "fork forkpty getuid geteuid getgid sched_getaffinity nice copy_file_range posix_spawn memfd_create "
    "pread pwrite statvfs fchmod chown killpg setsid getpgid set_blocking wait wait3 wait4 mkfifo sysconf uname "
    "POSIX_SPAWN_DUP2 POSIX_SPAWN_CLOSE O_CLOEXEC O_NONBLOCK O_NOFOLLOW O_DIRECTORY O_TMPFILE ST_RDONLY WNOHANG "
    "getloadavg openpty pipe2 splice sync fdatasync posix_fadvise posix_fallocate getrandom",
    "signal": "SIGHUP SIGKILL SIGALRM SIGCHLD SIGUSR1 SIGUSR2 SIGPIPE SIGQUIT SIGBUS SIGSTOP SIGCONT SIGXCPU SIGXFSZ "
    "pthread_sigmask pthread_kill sigwait sigpending setitimer getitimer alarm pause SIG_BLOCK SIG_UNBLOCK SIG_SETMASK "
    "ITIMER_REAL siginterrupt",
    "select": "poll epoll",
    "mmap": "MADV_DONTNEED MADV_SEQUENTIAL PROT_READ PROT_WRITE MAP_SHARED MAP_PRIVATE",
    "ctypes": "",
    "sys": "",
}
"""By module, the names that it does not have on Windows."""

MISSING = {"resource", "fcntl", "pwd", "grp", "termios", "pty"}
"""The modules that Windows does not have."""

BINARY = 1 << 30
HERE = Path(__file__).parent


class Shown(ModuleType):
    """A module as another system has it."""

    def __init__(self, module: ModuleType, hidden: frozenset[str], own: dict[str, Any]) -> None:
        super().__init__(module.__name__)
        self.__dict__.update(own, _module=module, _hidden=hidden)

    def __getattr__(self, name: str) -> Any:
        if name in self._hidden:
            raise AttributeError(f"another system has no {self.__name__}.{name}")
        return getattr(self._module, name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._module, name, value)


def _shown() -> dict[str, ModuleType]:
    own: dict[str, dict[str, Any]] = {
        "os": {"O_BINARY": BINARY, "open": _opens},
        "sys": {"platform": "win32"},
        "ctypes": {"CDLL": _no_library},
    }
    return {
        name: Shown(importlib.import_module(name), frozenset(hidden.split()), own.get(name, {}))
        for name, hidden in HIDDEN.items()
    }


def _opens(path: Any, flags: int, mode: int = 0o777, **more: Any) -> int:
    assert flags & BINARY or path == os.devnull, f"{path} is opened as text"
    if Path(path).is_dir():
        raise PermissionError(errno.EACCES, "Permission denied", os.fspath(path))
    return os.open(path, flags & ~BINARY, mode, **more)


def _no_library(name: str | None) -> None:
    if name is None:
        raise TypeError("LoadLibrary() argument 1 must be str, not None")
    raise OSError(name)


def install() -> None:
    """Has every module of fc2conv that is loaded from now on see another system, here and in what it starts."""
    for name in ("subprocess", "psutil"):
        importlib.import_module(name)
    shown = _shown()

    def importing(name: str, *rest: Any, **more: Any) -> ModuleType:
        if name in MISSING:
            raise ModuleNotFoundError(f"another system has no {name}", name=name)
        return shown.get(name) or builtins.__import__(name, *rest, **more)

    execute = SourceFileLoader.exec_module

    def exec_module(self: SourceFileLoader, module: ModuleType) -> None:
        if module.__name__.partition(".")[0] == "fc2conv":
            module.__dict__["__builtins__"] = {**vars(builtins), "__import__": importing}
        execute(self, module)
        if module.__name__ == "fc2conv.system.files":
            module.reachable = os.fspath  # type: ignore[attr-defined]
        if module.__name__ == "fc2conv.sandbox.interpreter":
            first = f"import sys\nsys.path.append({str(HERE)!a})\nimport another_system\nanother_system.install()\n"
            module._BOOT = f"{first}del sys.path[-1]\n{module._BOOT}"  # type: ignore[attr-defined]

    SourceFileLoader.exec_module = exec_module  # type: ignore[method-assign]
    for name in ("replace", "rename", "unlink", "remove"):
        setattr(os, name, _guarded(getattr(os, name)))


def _guarded(call: Callable[..., None]) -> Callable[..., None]:
    """Refuses what touches the name of a file that this process has open or mapped, where fc2conv does it."""

    def guarded(*paths: Any, **more: Any) -> None:
        for path in paths if _called_by_fc2conv(sys._getframe(1)) else ():
            if _in_use(os.fspath(path)):
                raise PermissionError(errno.EACCES, "The process cannot access the file, it is in use", path)
        call(*paths, **more)

    return guarded


def _called_by_fc2conv(frame: FrameType) -> bool:
    """Whether a call is fc2conv's, by itself or through pathlib."""
    callers = [each.f_globals["__name__"] for each in (frame, frame.f_back) if each is not None]
    return any(each.startswith("fc2conv.") for each in callers)


def _in_use(path: str | bytes) -> bool:
    try:
        wanted = Path(os.fsdecode(path)).lstat()
    except OSError:
        return False
    for each in Path("/proc/self/fd").iterdir():
        with suppress(OSError):
            if os.path.samestat(each.stat(), wanted):
                return True
    device = f" {os.major(wanted.st_dev):02x}:{os.minor(wanted.st_dev):02x} {wanted.st_ino} "
    return device.encode() in Path("/proc/self/maps").read_bytes()
