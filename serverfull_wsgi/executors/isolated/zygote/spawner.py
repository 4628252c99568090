"""The zygotes of a server process, one an interpreter, and how environments are had from them."""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import os
import shutil
import site
import sys
import tempfile
import threading
from collections.abc import Sequence
from typing import Any

from serverfull_wsgi.domain import Function
from serverfull_wsgi.errors import ConfigurationError, InvalidRuntimeException
from serverfull_wsgi.executors.isolated.runtimes.launch import OWN, LaunchSpec
from serverfull_wsgi.executors.isolated.sandbox.cgroups import Group, Groups
from serverfull_wsgi.executors.isolated.sandbox.linux import remove_tree
from serverfull_wsgi.executors.isolated.sandbox.memory import MIB
from serverfull_wsgi.executors.isolated.zygote.client import ZygoteClient, ZygoteDied
from serverfull_wsgi.names import log_stream_name

HEADROOM = 256 * MIB  # what RLIMIT_DATA allows over the memory size: it counts stacks that threads may never use
FILES = 1024  # open files, as on Lambda


def _client_path() -> tuple[str, ...]:
    """Where the runtime client is, unless the server's interpreter finds it by itself."""
    spec = importlib.util.find_spec("awslambdaric")
    if spec is None or not spec.origin:
        return ()
    folder = os.path.dirname(os.path.dirname(spec.origin))
    return () if folder in site.getsitepackages() else (folder,)


class Spawner:
    """Has zygotes start environments; ``sandbox`` is ``auto``, ``process`` or ``namespaces``.

    ``preload`` are modules that the zygotes import beforehand. Raises `ConfigurationError` from `start` where the
    protection that was asked for cannot be had.
    """

    def __init__(self, *, sandbox: str, preload: Sequence[str], logger: logging.Logger) -> None:
        self._sandbox, self._preload, self._logger = sandbox, tuple(preload), logger
        self._lock = threading.Lock()
        self.zygotes: dict[str, ZygoteClient] = {}
        self._starting: dict[str, threading.Lock] = {}  # an interpreter that is slow to start keeps no other waiting
        self._pythons: dict[str, str] = {}
        self._tmp = 0
        self._closed = False
        self._left: list[Group] = []
        self.namespaces = self.own_proc = self.own_tmp = False

    def start(self) -> None:
        """Starts the zygote of the server's own interpreter, and says in one line what protects from what."""
        if sys.platform != "linux":
            raise ConfigurationError("processes of their own for functions need Linux")
        self.client_path = _client_path()
        self.base = tempfile.mkdtemp(prefix="serverfull-")
        self.groups = Groups(os.path.basename(self.base))
        try:
            found = self.zygote(sys.executable).sandbox
        except OSError:  # no more processes, or files
            self.close()
            raise
        except ZygoteDied:
            self.close()
            raise ConfigurationError(
                f"the process that environments are forked from does not start: {sys.executable} ended, or took too "
                "long, and what it says is in the server's standard error; SERVERFULL_ZYGOTE_PRELOAD names what it "
                f"imports, now {','.join(self._preload) or 'nothing'}"
            ) from None
        if self._sandbox == "namespaces" and found["namespaces"]:
            self.close()
            raise ConfigurationError(
                f"SERVERFULL_SANDBOX=namespaces: this machine does not let us make them ({found['namespaces']}); allow "
                "user namespaces, or set SERVERFULL_SANDBOX=auto to take what there is"
            )
        if self._sandbox != "process":
            self.namespaces, self.own_proc, self.own_tmp = (not found[name] for name in ("namespaces", "proc", "tmp"))
        self._tell(found)
        self._prepare(self.zygote(sys.executable))

    def _tell(self, found: dict[str, str]) -> None:
        reasons = {why for why in found.values() if why} if self._sandbox != "process" else {"not asked for"}
        off = f" (off: {'; '.join(sorted(reasons))})" if reasons else ""
        zygote = self.zygotes[sys.executable]
        if self._preload and not zygote.can_fork:
            self._logger.warning("SERVERFULL_ZYGOTE_PRELOAD has no effect: %s", zygote.reason)
        self._logger.info(
            "isolated functions: process namespace %s, user namespace %s, own /proc %s, private /tmp %s%s; "
            "memory limit by %s; CPU shared %s; capabilities dropped; starts by %s",
            *("on" if on else "off" for on in (self.namespaces, self.namespaces, self.own_proc, self.own_tmp)),
            off,
            "control groups" if self.groups.limits_memory else "RLIMIT_DATA and watching",
            "by weight" if self.groups.weighs_cpu else "as the kernel does",
            "fork" if zygote.can_fork else f"exec ({zygote.reason})",
        )

    def interpreter(self, runtime: str) -> str:
        """The interpreter for a runtime: the one of that name if it can be a zygote, else the server's own."""
        if runtime == OWN or not runtime.startswith("python"):
            return sys.executable
        if runtime not in self._pythons:
            self._pythons[runtime] = self._found(runtime)
        return self._pythons[runtime]

    def _found(self, runtime: str) -> str:
        path = shutil.which(runtime)
        why = f"no {runtime} is on the server's PATH"
        if path:
            why = f"{path} does not run"
            with contextlib.suppress(ZygoteDied, OSError):
                if (found := self.zygote(path)).can_fork:
                    return path
                why = f"{path} cannot serve as one: {found.reason}"
        self._logger.warning("functions of the runtime %s run under the server's own %s: %s", runtime, OWN, why)
        return sys.executable

    def zygote(self, python: str) -> ZygoteClient:
        if found := self.zygotes.get(python):
            return found
        with self._lock:
            starting = self._starting.setdefault(python, threading.Lock())
        with starting:
            if python not in self.zygotes:
                path = self.client_path if python == sys.executable else ()
                made = ZygoteClient(python, "fork", self._preload, path)
                with self._lock:
                    if not self._closed:
                        self.zygotes[python] = made
                if self._closed:
                    made.close()
                    raise ZygoteDied
            return self.zygotes[python]

    def can_fork(self, python: str) -> bool:
        """Whether forks of this interpreter's zygote can be Python environments.

        Raises `InvalidRuntimeException` where it cannot run any.
        """
        found = self.zygote(python)
        if not found.has_client:
            raise InvalidRuntimeException(
                "Functions in Python need awslambdaric, AWS's runtime client, in a process of their own; it has wheels "
                "for Linux on x86-64: pip install awslambdaric"
            )
        return found.can_fork

    def spawn(
        self, function: Function, spec: LaunchSpec, fds: Sequence[int], *, port: int, group: Group | None, tmp: str
    ) -> None:
        """Has an environment started; a zygote that has gone is replaced once. Raises `ZygoteDied`."""
        python = spec.python
        job = _start_request(function, spec, port, group, tmp) | {
            "base": self.base,
            "namespaces": self.namespaces,
            "own_proc": self.own_proc,
            "private_tmp": self.own_tmp,
        }
        if not self.own_tmp:
            job["env"].setdefault("TMPDIR", job["tmp"])
        found = self.zygote(python)
        try:
            found.send(job, fds)
        except ZygoteDied:
            with self._lock:
                if self.zygotes.get(python) is found:
                    del self.zygotes[python]
                    found.close()
            self.remove_later(found.ready)
            found = self.zygote(python)
            found.send(job, fds)
        self._prepare(found)

    def _prepare(self, zygote: ZygoteClient) -> None:
        """Has an environment forked for the next job."""
        with self._lock:
            zygote.ready = zygote.ready or self.groups.create()
            doors = zygote.ready.procs_files() if zygote.ready else []
        with contextlib.suppress(ZygoteDied):
            zygote.send({"spare": {"cgroups": doors, "namespaces": self.namespaces}})

    def create_tmp(self) -> str:
        """A new directory for an environment's temporary files."""
        with self._lock:
            self._tmp += 1
            path = os.path.join(self.base, str(self._tmp))
        os.mkdir(path, 0o700)
        return path

    def acquire_group(self, python: str, memory_size: int) -> Group | None:
        """A control group of ``memory_size`` MiB, the one of the spare if there is one; None where it cannot be had."""
        with self._lock:
            self._left = [group for group in self._left if not group.remove(0)]
            group = self._ready(python) or self.groups.create()
        try:
            if group:
                group.limit(memory_size)
        except OSError:
            self.remove_later(group)
            return None
        return group

    def _ready(self, python: str) -> Group | None:
        if zygote := self.zygotes.get(python):
            group, zygote.ready = zygote.ready, None
            return group
        return None

    def remove_later(self, group: Group | None) -> None:
        """A group that is not empty yet, to be removed later."""
        if group:
            with self._lock:
                self._left.append(group)

    def abandon(self) -> None:
        """In a fork of the server: what the parent has started is the parent's."""
        for one in self.zygotes.values():
            one.abandon()

    def close(self) -> None:
        """Ends every zygote, and with them all environments, and removes what they leave in files."""
        with self._lock:
            self._closed, zygotes, self.zygotes = True, self.zygotes, {}
        for one in zygotes.values():
            one.close()
            self.remove_later(one.ready)
        for group in self._left:
            group.remove()
        self.groups.close()
        remove_tree(self.base)


def _start_request(function: Function, spec: LaunchSpec, port: int, group: Group | None, tmp: str) -> dict[str, Any]:
    """The job but for what all environments of a spawner have in common, which that adds."""
    keep = [spec.root, *function.layers, *spec.path, os.path.dirname(spec.python)]
    limits = {"CORE": 0, "NOFILE": FILES}
    if group is None:
        limits["DATA"] = int(function.memory_size) * MIB + HEADROOM
    return {
        "argv": spec.argv,
        "handler": spec.handler,
        "env": {
            **spec.variables,
            "AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{port}",
            "AWS_LAMBDA_LOG_STREAM_NAME": log_stream_name(function.version),
        },
        "cwd": spec.root,
        "path": spec.path,
        "limits": limits,
        "cgroups": group.procs_files() if group else [],
        "tmp": tmp,
        "keep": sorted(set(keep)),
    }
