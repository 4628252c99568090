"""The function process, from its fork until it execs a command or returns to run Python."""

from __future__ import annotations

import fcntl
import os
import resource
import signal
import socket
import sys
from typing import NoReturn

from ...sandbox import linux
from ..protocol import (
    FRAMES_FD,
    MAX_DESCRIPTORS,
    MESSAGE_LIMIT,
    ExecFailed,
    Failed,
    FunctionStarted,
    StartRequest,
    decode,
    encode,
    send,
)

LOG_FD = 3  # the telemetry descriptor of AWS's runtimes
CHANNEL_FD = 4  # closed by the exec, or before Python runs
COUNTER_FD = 5  # likewise; memory that counts events
KEPT_FDS = 1000  # of a snapshot: the socket for start requests, and the directory; functions rarely have so many
_MOST_FDS = 65536  # more than the zygote ever has open
_EXIT_STATUS = 126  # a shell's, for a command that cannot be run


def wait_for_request(requests: socket.socket) -> StartRequest:
    """Wait for the supervisor's request and set this process up for it. Return if there is no command to exec."""
    message, fds, _, _ = socket.recv_fds(requests, MESSAGE_LIMIT, MAX_DESCRIPTORS)
    if not message:
        os._exit(0)
    request: StartRequest = decode(message)
    requests.close()
    _reset_signals()
    linux.die_with_parent()
    linux.set_process_name(os.path.basename(sys.executable))
    os.setsid()
    channel = socket.socket(fileno=fds[0])
    send(channel, FunctionStarted())
    _arrange_descriptors(channel.detach(), *fds[1:], first=KEPT_FDS if request.snapshot else FRAMES_FD)
    _limit(request.limits)
    if request.place.hidden_groups:
        linux.unshare_cgroups()
    linux.drop_privileges(may_map_root=bool(request.snapshot))
    os.umask(0o022)
    try:
        os.chdir(request.cwd)
    except OSError as error:
        _exit(Failed(f"its code directory {request.cwd} cannot be entered: {error.strerror}"))
    if request.argv:
        if request.has_frames:
            os.set_inheritable(FRAMES_FD, True)
        _exec(request)
    os.close(CHANNEL_FD)
    return request


def _reset_signals() -> None:
    """Undo the signal handlers of the zygote and the supervisor."""
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)


def _arrange_descriptors(channel: int, output: int, counter: int, *kept: int, first: int) -> None:
    """Leave open: 0 on /dev/null; 1, 2 and `LOG_FD` on the output; `CHANNEL_FD` and `COUNTER_FD`, closed by an exec.

    Move the descriptors ``kept`` to the number ``first`` and those after it, also closed by an exec.
    """
    kept = tuple(fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, first) for fd in kept)
    null = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((null, 0), (output, 1), (output, 2)):
        os.dup2(source, target)
    # The next lines may close the numbers of both.
    parked = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, COUNTER_FD + 1) for fd in (channel, counter)]
    os.dup2(output, LOG_FD)
    os.set_inheritable(LOG_FD, True)
    for source, target in zip(parked, (CHANNEL_FD, COUNTER_FD), strict=True):
        os.dup2(source, target, inheritable=False)
    os.closerange(COUNTER_FD + 1, first)
    for number, fd in enumerate(kept, first):
        if fd != number:
            os.dup2(fd, number, inheritable=False)
    os.closerange(first + len(kept), _MOST_FDS)


def _limit(limits: dict[str, int]) -> None:
    """Set resource limits, hard and soft, none above the present hard limit."""
    for name, limit in limits.items():
        kind = getattr(resource, f"RLIMIT_{name}")
        hard = resource.getrlimit(kind)[1]
        resource.setrlimit(kind, (limit if hard < 0 else min(limit, hard),) * 2)  # negative: no limit


def _exec(request: StartRequest) -> NoReturn:
    for number in (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGINT):  # Python ignores or handles them
        signal.signal(number, signal.SIG_DFL)
    try:
        os.execve(request.argv[0], request.argv, request.env)  # noqa: S606
    except OSError as error:
        _exit(ExecFailed(error.errno or 0))


def _exit(message: Failed | ExecFailed) -> NoReturn:
    os.write(CHANNEL_FD, encode(message))
    os._exit(_EXIT_STATUS)
