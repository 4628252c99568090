"""The function's process, from the fork to its command, or to where it becomes the runtime."""

from __future__ import annotations

import fcntl
import json
import os
import resource
import signal
import socket
import sys
from typing import NoReturn

from ...sandbox import linux
from ..protocol import MESSAGE, Job
from .line import say

LOG_FD = 3  # where a runtime finds its telemetry descriptor
LINE_FD = 4


def await_job(inner: socket.socket) -> Job:
    """Waits until the init passes the job on, and becomes its process; returns for a job with no command to exec."""
    message, fds, _, _ = socket.recv_fds(inner, MESSAGE, 2)
    if not message:
        os._exit(0)
    job: Job = json.loads(message)
    inner.close()
    _become(job, socket.socket(fileno=fds[0]), fds[1])
    return job


def _become(job: Job, line: socket.socket, output: int) -> None:
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    linux.die_with_parent()
    linux.set_name(os.path.basename(sys.executable))
    os.setsid()
    say(line, started=True)
    fd = line.detach()
    nothing = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((nothing, 0), (output, 1), (output, 2)):
        os.dup2(source, target)
    away = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 200)  # out of the way
    os.dup2(output, LOG_FD)
    os.set_inheritable(LOG_FD, True)
    os.dup2(away, LINE_FD, inheritable=False)
    os.closerange(LINE_FD + 1, 65536)
    for name, limit in job["limits"].items():
        kind = getattr(resource, f"RLIMIT_{name}")
        most = resource.getrlimit(kind)[1]
        resource.setrlimit(kind, (limit if most < 0 else min(limit, most),) * 2)
    linux.drop_privileges()
    os.umask(0o022)
    try:
        os.chdir(job["cwd"])
    except OSError as error:
        _give_up({"failed": f"its code directory {job['cwd']} cannot be entered: {error.strerror}"})
    if job["argv"]:
        for name in ("SIGPIPE", "SIGXFSZ", "SIGINT"):
            signal.signal(getattr(signal, name), signal.SIG_DFL)
        try:
            os.execve(job["argv"][0], job["argv"], job["env"])  # noqa: S606
        except OSError as error:
            _give_up({"exec": error.errno})
    os.close(LINE_FD)


def _give_up(why: dict[str, object]) -> NoReturn:
    os.write(LINE_FD, json.dumps(why).encode())
    os._exit(126)
