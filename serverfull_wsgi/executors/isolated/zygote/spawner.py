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

from serverfull_wsgi.errors import ConfigurationError, InvalidRuntimeException
from serverfull_wsgi.executors.isolated.runtimes.launch import OWN
from serverfull_wsgi.executors.isolated.sandbox.cgroups import Group, Groups
from serverfull_wsgi.executors.isolated.sandbox.linux import remove_tree
from serverfull_wsgi.executors.isolated.zygote.client import Zygote, ZygoteDied


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
        self._zygotes: dict[str, Zygote] = {}
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
        self._groups = Groups(os.path.basename(self.base))
        try:
            found = self._zygote(sys.executable).sandbox
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
        self._prepare(self._zygote(sys.executable))

    def _tell(self, found: dict[str, str]) -> None:
        reasons = {why for why in found.values() if why} if self._sandbox != "process" else {"not asked for"}
        off = f" (off: {'; '.join(sorted(reasons))})" if reasons else ""
        zygote = self._zygotes[sys.executable]
        if self._preload and not zygote.fork:
            self._logger.warning("SERVERFULL_ZYGOTE_PRELOAD has no effect: %s", zygote.why)
        self._logger.info(
            "isolated functions: process namespace %s, user namespace %s, own /proc %s, private /tmp %s%s; "
            "memory limit by %s; CPU shared %s; capabilities dropped; starts by %s",
            *("on" if on else "off" for on in (self.namespaces, self.namespaces, self.own_proc, self.own_tmp)),
            off,
            self._groups.found or "RLIMIT_DATA and watching",
            "by weight" if self._groups.weighs else "as the kernel does",
            "fork" if zygote.fork else f"exec ({zygote.why})",
        )

    def python(self, runtime: str) -> str:
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
                if (found := self._zygote(path)).fork:
                    return path
                why = f"{path} cannot serve as one: {found.why}"
        self._logger.warning("functions of the runtime %s run under the server's own %s: %s", runtime, OWN, why)
        return sys.executable

    def _zygote(self, python: str) -> Zygote:
        if found := self._zygotes.get(python):
            return found
        with self._lock:
            starting = self._starting.setdefault(python, threading.Lock())
        with starting:
            if python not in self._zygotes:
                path = self.client_path if python == sys.executable else ()
                made = Zygote(python, "fork", self._preload, path)
                with self._lock:
                    if not self._closed:
                        self._zygotes[python] = made
                if self._closed:
                    made.close()
                    raise ZygoteDied
            return self._zygotes[python]

    def can_fork(self, python: str) -> bool:
        """Whether forks of this interpreter's zygote can be Python environments.

        Raises `InvalidRuntimeException` where it cannot run any.
        """
        found = self._zygote(python)
        if not found.client:
            raise InvalidRuntimeException(
                "Functions in Python need awslambdaric, AWS's runtime client, in a process of their own; it has wheels "
                "for Linux on x86-64: pip install awslambdaric"
            )
        return found.fork

    def spawn(self, python: str, job: dict[str, Any], fds: Sequence[int]) -> None:
        """Has an environment started; a zygote that has gone is replaced once. Raises `ZygoteDied`."""
        job |= {
            "base": self.base,
            "namespaces": self.namespaces,
            "own_proc": self.own_proc,
            "private_tmp": self.own_tmp,
        }
        if not self.own_tmp:
            job["env"].setdefault("TMPDIR", job["tmp"])
        found = self._zygote(python)
        try:
            found.send(job, fds)
        except ZygoteDied:
            with self._lock:
                if self._zygotes.get(python) is found:
                    del self._zygotes[python]
                    found.close()
            self.leave(found.ready)
            found = self._zygote(python)
            found.send(job, fds)
        self._prepare(found)

    def _prepare(self, zygote: Zygote) -> None:
        """Has an environment forked for the next job."""
        with self._lock:
            zygote.ready = zygote.ready or self._groups.make()
            doors = zygote.ready.doors() if zygote.ready else []
        with contextlib.suppress(ZygoteDied):
            zygote.send({"spare": {"cgroups": doors, "namespaces": self.namespaces}})

    def make_tmp(self) -> str:
        """A new directory for an environment's temporary files."""
        with self._lock:
            self._tmp += 1
            path = os.path.join(self.base, str(self._tmp))
        os.mkdir(path, 0o700)
        return path

    def take_group(self, python: str, memory_size: int) -> Group | None:
        """A control group of ``memory_size`` MiB, the one of the spare if there is one; None where it cannot be had."""
        with self._lock:
            self._left = [group for group in self._left if not group.remove(0)]
            group = self._ready(python) or self._groups.make()
        try:
            if group:
                group.limit(memory_size)
        except OSError:
            self.leave(group)
            return None
        return group

    def _ready(self, python: str) -> Group | None:
        if zygote := self._zygotes.get(python):
            group, zygote.ready = zygote.ready, None
            return group
        return None

    def leave(self, group: Group | None) -> None:
        """A group that is not empty yet, to be removed later."""
        if group:
            with self._lock:
                self._left.append(group)

    def abandon(self) -> None:
        """In a fork of the server: what the parent has started is the parent's."""
        for one in self._zygotes.values():
            one.abandon()

    def close(self) -> None:
        """Ends every zygote, and with them all environments, and removes what they leave in files."""
        with self._lock:
            self._closed, zygotes, self._zygotes = True, self._zygotes, {}
        for one in zygotes.values():
            one.close()
            self.leave(one.ready)
        for group in self._left:
            group.remove()
        self._groups.close()
        remove_tree(self.base)
