"""File descriptors: how many environments the limit of a server process (``ulimit -n``) has room for."""

from __future__ import annotations

import contextlib
import os
import resource

# Of one environment: the listening socket, the connection for frames and one over HTTP of its Runtime API, the control
# channel, the pipe for its output, the counter of events, two files that show its memory, and one with its CPU weight.
FOR_ENVIRONMENT = 9
_SHARE_FOR_OTHERS = 1 / 4  # of the limit: clients' connections, event store, and descriptors during a start


def raise_limit() -> None:
    """Raise the soft limit of this process to its hard limit. Functions have a limit of their own."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    with contextlib.suppress(OSError, ValueError):  # the system can refuse an unlimited number
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def environments_that_fit() -> int:
    """Return the number of environments that this process has descriptors for, beside those that are open now."""
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if soft == resource.RLIM_INFINITY:
        return 1_000_000
    is_open = len(os.listdir("/dev/fd"))
    return max(1, int(soft * (1 - _SHARE_FOR_OTHERS) - is_open) // FOR_ENVIRONMENT)


def limit_for(environments: int) -> int:
    """Return the limit that has room for this number of environments, rounded up to a power of 2."""
    needed = (environments * FOR_ENVIRONMENT + len(os.listdir("/dev/fd"))) / (1 - _SHARE_FOR_OTHERS)
    return 1 << int(needed).bit_length()
