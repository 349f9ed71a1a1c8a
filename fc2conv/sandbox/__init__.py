"""Work on an untrusted model in a process of its own, where a library's crash, hang or lack of memory is an answer.

A child limits its own data (RLIMIT_DATA; the address space would count harmless maps as well), works, and sends what
came of it through a pipe. Where the system has no limit of this kind, the parent watches its memory. The parent waits
outside of native code, so that it can be interrupted at any time; it then gives the child a moment to clean up, and
ends it. The child is a fork of this process. Where there is no fork, or where the caller's own threads make one unsafe
(a lock that another thread holds at that moment stays locked in the child for ever), it is a fresh interpreter, which
never looks for modules in the working folder. A caller who knows its threads sets `START`, and nothing is counted.
"""

from fc2conv.sandbox.child import (
    MEMORY_SHARE,
    allow,
    attempt,
    hush,
    limit_for,
    note,
    rarely_collect,
    return_memory,
    room,
)
from fc2conv.sandbox.parent import START, FaultError, contained
