"""The test which means of isolation a machine allows."""

from __future__ import annotations

import json
import os
from collections.abc import Callable

from ...sandbox import linux
from ..protocol import SandboxSupport


def probe() -> SandboxSupport:
    """Test in a fork which means of isolation this machine allows."""
    reader, writer = os.pipe()
    pid = os.fork()
    if not pid:
        _report_support(writer)
        os._exit(0)
    os.close(writer)
    with open(reader, "rb") as report:
        reasons = report.read()
    os.waitpid(pid, 0)
    if not reasons:
        return SandboxSupport(*["the test process ended without a result"] * 4)
    return SandboxSupport(*json.loads(reasons))


def _report_support(writer: int) -> None:
    """Enter namespaces, mount in a child, and write the reasons why something failed, as JSON."""
    try:
        linux.unshare()
        if not (pid := os.fork()):
            proc = _error_of(linux.mount_proc)
            groups = _error_of(linux.hide_groups)
            tmp = _error_of(lambda: linux.bind_mount("/tmp", "/tmp"))  # noqa: S108
            os.write(writer, json.dumps(SandboxSupport("", proc, tmp, groups)).encode())
            os._exit(0)
        os.waitpid(pid, 0)
    except OSError as error:
        os.write(writer, json.dumps([str(error)] * 4).encode())


def _error_of(mount: Callable[[], None]) -> str:
    try:
        mount()
    except OSError as error:
        return str(error)
    return ""
