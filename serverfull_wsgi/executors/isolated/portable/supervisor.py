"""The supervisor of one environment, run as ``python supervisor.py CHANNEL OUTPUT [FRAMES]``, all descriptors.

The start request is one JSON object on standard input, with the members of `zygote.protocol.StartRequest`. The program
imports the standard library only.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import resource
import select
import signal
import socket
import subprocess
import sys
from typing import Any

LOG_FD = 3  # the telemetry descriptor of AWS's runtimes
FRAMES_FD = 15  # `zygote.protocol.FRAMES_FD`
_FREE_FD = 100  # above the numbers that a function process inherits
_EXEC_FAILED = 126 << 8  # a wait status: a shell's exit status for a command that cannot be run
_RSS_UNIT = 1024 if sys.platform == "darwin" else 1  # getrusage(2): bytes on macOS, elsewhere KiB


def main(*descriptors: int) -> None:
    """Run the command of the request on standard input. Return after its end."""
    channel_fd, output, *frames = (fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, _FREE_FD) for fd in descriptors)
    for fd in descriptors:
        os.close(fd)
    channel = socket.socket(fileno=channel_fd)
    inherited = dict(zip((LOG_FD, FRAMES_FD), (output, *frames)))  # noqa: B905  (not all have frames)
    for target, source in inherited.items():
        os.dup2(source, target)
    request = json.load(sys.stdin)
    wakeup = _watch_children()
    _send(channel, "SupervisorStarted", pid=os.getpid())
    try:
        process = _start(request, output, [*inherited])
    except OSError as error:
        _report(channel, request, error)
        return
    for fd in (*inherited, *inherited.values()):
        os.close(fd)
    _send(channel, "FunctionStarted", pid=process.pid)
    status, usage = _wait(channel, process.pid, wakeup)
    _kill_group(process.pid)
    _send(channel, "Ended", status=status, peak_kib=usage.ru_maxrss // _RSS_UNIT)


def _watch_children() -> int:
    """Return a descriptor that becomes readable when a child ends."""
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    os.set_blocking(writer, False)
    signal.signal(signal.SIGCHLD, lambda number, frame: None)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    return reader


def _start(request: dict[str, Any], output: int, inherited: list[int]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(  # noqa: S603
        request["argv"],
        env=request["env"],
        cwd=request["cwd"],
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        pass_fds=inherited,
        start_new_session=True,
        umask=0o022,
        preexec_fn=lambda: _limit(request["limits"]),  # sound: this process has one thread
    )


def _limit(limits: dict[str, int]) -> None:
    """Set resource limits, as far as the system has them."""
    for name, limit in limits.items():
        kind = getattr(resource, f"RLIMIT_{name}")
        hard = resource.getrlimit(kind)[1]
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(kind, (limit if hard == resource.RLIM_INFINITY else min(limit, hard),) * 2)


def _report(channel: socket.socket, request: dict[str, Any], error: OSError) -> None:
    """Report a command that cannot be run."""
    if os.access(request["cwd"], os.X_OK):
        _send(channel, "ExecFailed", errno=error.errno or 0)
        _send(channel, "Ended", status=_EXEC_FAILED)
    else:
        reason = f"its code directory {request['cwd']} cannot be entered: {error.strerror}"
        _send(channel, "Failed", reason=reason)


def _wait(channel: socket.socket, pid: int, wakeup: int) -> tuple[int, resource.struct_rusage]:
    """Wait for the end of a process. Kill its group when a message arrives, or when the server has gone."""
    while True:
        ended, status, usage = os.wait4(pid, os.WNOHANG)
        if ended:
            return status, usage
        ready, _, _ = select.select([channel.fileno(), wakeup], [], [])
        if channel.fileno() in ready:
            _kill_group(pid)
            return os.wait4(pid, 0)[1:]
        with contextlib.suppress(BlockingIOError):
            os.read(wakeup, 4096)


def _kill_group(pid: int) -> None:
    with contextlib.suppress(OSError):
        os.killpg(pid, signal.SIGKILL)


def _send(channel: socket.socket, kind: str, **members: Any) -> None:
    with contextlib.suppress(OSError):  # the server has gone, which ends the wait too
        channel.sendall(json.dumps({"type": kind, **members}).encode() + b"\n")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
