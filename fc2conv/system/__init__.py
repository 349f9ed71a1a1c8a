"""What the operating system offers: the one place that asks which system this is.

Every name here has an answer on every system. Linux forks safely, limits memory by itself and copies in the kernel.
Where the system has no call for this, psutil watches and filelock locks; each is loaded when it is needed.
"""

from fc2conv.system.files import DENIED, lock, lock_of, reachable, read_only, replace, sync
from fc2conv.system.memory import data, forget, limit_data, machine_memory, peak_memory, private, ulimit
from fc2conv.system.offers import (
    BINARY,
    FORKS,
    KILL,
    LIMITS_MEMORY,
    NAMES_BY_PROC,
    NO_LINK,
    NO_WAIT,
    PRIVATE,
    STOPS,
    kernel_copy,
    libc,
)
from fc2conv.system.processes import (
    CHUNK,
    Incoming,
    above_streams,
    cores,
    deferred_stops,
    die_with,
    every,
    fork,
    incoming,
    kill_all,
    let_come,
    pump,
    seat_standard_streams,
    threads,
)
