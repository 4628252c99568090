"""The test which means of isolation a machine allows."""

from __future__ import annotations

import json
import os
from collections.abc import Callable

from ...sandbox import linux, root
from ..protocol import SandboxSupport
from .mount_server import MountServer


def probe(mounts: MountServer) -> SandboxSupport:
    """Test in a fork which means of isolation this machine allows."""
    reader, writer = os.pipe()
    pid = os.fork()
    if not pid:
        _report_support(writer, mounts)
        os._exit(0)
    os.close(writer)
    with open(reader, "rb") as report:
        reasons = report.read()
    os.waitpid(pid, 0)
    if mounts.target:
        linux.remove_tree(_folder(mounts))
    if not reasons:
        return SandboxSupport(*["the test process ended without a result"] * len(SandboxSupport._fields))
    return SandboxSupport(*json.loads(reasons))


def _report_support(writer: int, mounts: MountServer) -> None:
    """Enter namespaces, mount in a child, and write the reasons why something failed, as JSON."""
    try:
        linux.unshare()
        if not (pid := os.fork()):
            proc = _error_of(linux.mount_proc)
            groups = _error_of(linux.hide_groups)
            tmp = _error_of(lambda: linux.bind_mount("/tmp", "/tmp"))  # noqa: S108
            own_root = mounts.reason or _error_of(lambda: _enter_root(mounts))
            os.write(writer, json.dumps(SandboxSupport("", proc, tmp, groups, own_root)).encode())
            os._exit(0)
        os.waitpid(pid, 0)
    except OSError as error:
        os.write(writer, json.dumps([str(error)] * len(SandboxSupport._fields)).encode())


def _enter_root(mounts: MountServer) -> None:
    """Enter a root directory. Nothing of the machine's can be mounted afterwards."""
    directory = _folder(mounts)
    layer = f"{directory}/1"
    os.makedirs(layer)
    tmp = mounts.tmp(directory, 1 << 20, [])
    root.prepare(mounts.template(), mounts.target)
    root.enter(mounts.target, root.Root("", (layer,), 1 << 20, 1 << 20), tmp, mounts.kept)


def _folder(mounts: MountServer) -> str:
    return f"{mounts.target}-probe"


def _error_of(mount: Callable[[], None]) -> str:
    try:
        mount()
    except OSError as error:
        return str(error)
    return ""
