"""The function's process, from the fork to its command, or to where it becomes the runtime."""

from __future__ import annotations

import fcntl
import json
import os
import resource
import signal
import socket

from .. import linux
from . import Job
from .line import say

LOG_FD = 3  # where a runtime finds its telemetry descriptor
GATE_FD = 5  # where a function's process waits for its limits


def become(job: Job, line: socket.socket, output: int, gate: int) -> None:
    """Makes this process the function's; returns for a job that has no command to exec."""
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    linux.die_with_parent()
    os.setsid()
    say(line, started=True)
    fd = line.detach()
    nothing = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((nothing, 0), (output, 1), (output, 2)):
        os.dup2(source, target)
    fds = [fcntl.fcntl(one, fcntl.F_DUPFD_CLOEXEC, 200) for one in (fd, gate)]  # out of the way
    os.dup2(output, LOG_FD)
    os.set_inheritable(LOG_FD, True)
    for target, source in enumerate(fds, LOG_FD + 1):
        os.dup2(source, target, inheritable=False)
    line_fd = LOG_FD + 1
    os.closerange(GATE_FD + 1, 65536)
    for name, limit in job["limits"].items():
        kind = getattr(resource, f"RLIMIT_{name}")
        most = resource.getrlimit(kind)[1]
        resource.setrlimit(kind, (limit if most < 0 else min(limit, most),) * 2)
    linux.drop_privileges()
    os.umask(0o022)
    try:
        os.chdir(job["cwd"])
        if job["argv"]:
            await_limits(GATE_FD)
            for name in ("SIGPIPE", "SIGXFSZ", "SIGINT"):
                signal.signal(getattr(signal, name), signal.SIG_DFL)
            os.execve(job["argv"][0], job["argv"], job["env"])  # noqa: S606
    except OSError as error:
        os.write(line_fd, json.dumps({"exec": error.errno}).encode())
        os._exit(126)
    os.close(line_fd)


def await_limits(gate: int) -> None:
    """Waits, before any code of the function's runs, until its limits hold."""
    if not os.read(gate, 1):
        os._exit(1)
    os.close(gate)
