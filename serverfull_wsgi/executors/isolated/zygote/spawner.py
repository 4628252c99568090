"""The zygotes of a server process, and the temporary directories and control groups of their environments."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import logging
import os
import shutil
import site
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence

from serverfull_wsgi.domain import Function
from serverfull_wsgi.errors import ConfigurationError
from serverfull_wsgi.executors.isolated.roots import Roots, refuse_mounts
from serverfull_wsgi.executors.isolated.runtime_api.peers import connection_belongs_to
from serverfull_wsgi.executors.isolated.runtimes.checks import interpreter_faults
from serverfull_wsgi.executors.isolated.runtimes.launch import FRAMES, OWN_RUNTIME, LaunchSpec
from serverfull_wsgi.executors.isolated.sandbox.cgroups import Group, Groups
from serverfull_wsgi.executors.isolated.sandbox.leftovers import (
    create_directory,
    hold,
    remove_abandoned,
)
from serverfull_wsgi.executors.isolated.sandbox.linux import remove_tree
from serverfull_wsgi.executors.isolated.sandbox.memory import MIB
from serverfull_wsgi.executors.isolated.zygote.client import (
    ForkServerClient,
    SnapshotClient,
    ZygoteClient,
    ZygoteDied,
)
from serverfull_wsgi.executors.isolated.zygote.control_channel import ControlChannel
from serverfull_wsgi.executors.isolated.zygote.protocol import (
    FRAMES_FD,
    Place,
    SandboxSupport,
    SpareRequest,
    StartRequest,
)
from serverfull_wsgi.names import log_stream_name

HEADROOM = 256 * MIB  # RLIMIT_DATA over the memory size: the limit counts stacks that threads may never use
_NO_NETWORK = (
    "a network of its own needs namespaces, which SERVERFULL_SANDBOX=process or this machine does not allow; use "
    "network host, or enable user namespaces"
)
OPEN_FILES = 1024  # Lambda's quota of file descriptors


class Spawner:
    """Start environments, each from the zygote of its interpreter.

    Args:
        sandbox: the level of isolation: ``root``, a root directory for each environment; ``namespaces``; ``process``,
            which does without; or ``auto``, the strongest that the machine allows.
        preload: names of modules that each zygote imports.
        logger: receives one line about the isolation in effect, and warnings.
        inherited: returns further descriptors that zygotes and supervisors keep open until they end.
        roots: the mounts of environments with a root directory of their own.
        network: ``host`` or ``none``, for functions that do not decide themselves.
    """

    def __init__(
        self,
        *,
        sandbox: str,
        preload: Sequence[str],
        logger: logging.Logger,
        inherited: Callable[[], Sequence[int]] = tuple,
        roots: Roots | None = None,
        network: str = "host",
    ) -> None:
        self._sandbox, self._preload, self._logger = sandbox, tuple(preload), logger
        self._inherited = inherited
        self._roots = roots or Roots((), "", logger)
        self._layers = self._roots.merger()
        self._network = network
        self._lock = threading.Lock()
        self._starting: dict[str, threading.Lock] = {}  # one per interpreter: a slow one must not delay the others
        self._interpreters: dict[str, str] = {}  # by runtime
        self._tmp_count = 0
        self._closed = False
        self._locks: list[int] = []  # descriptors of the directory and the parent groups
        self._removable: list[Group] = []  # control groups that still had processes
        self.zygotes: dict[str, ZygoteClient] = {}  # by interpreter
        self.namespaces = self.own_proc = self.own_tmp = self.hides_groups = self.has_root = False

    def start(self) -> None:
        """Start the zygote of the server's own interpreter, and log which isolation is in effect.

        Raises:
            ConfigurationError: if the machine cannot isolate as ``sandbox`` requires, or the zygote does not start.
            OSError: if no process or file can be made.
        """
        self._open_directory()
        try:
            support = self.zygote(sys.executable).hello.sandbox
            self._check_support(support)
        except (OSError, ConfigurationError):
            self.close()
            raise
        except ZygoteDied:
            self.close()
            raise self._start_failure() from None
        if self._sandbox != "process":
            means = [not reason for reason in support]
            self.namespaces, self.own_proc, self.own_tmp, self.hides_groups, self.has_root = means
        if self.has_root:
            self.own_proc = self.own_tmp = self.hides_groups = True
        self._log_isolation(support)
        self._warn_of_fallback(sys.executable, self.zygote(sys.executable).hello.client_fault)
        self._request_spare(self.zygote(sys.executable))

    def _open_directory(self) -> None:
        """Make the directory of temporary files and the parent groups, without those of servers that were killed."""
        self.client_path = _client_path()
        for path in remove_abandoned():
            self._logger.info("removed %s, which a server left that was killed", path)
        self.base, lock = create_directory()
        if self._wants_root:
            os.mkdir(self._root_target, 0o700)
        self.groups = Groups(os.path.basename(self.base))
        self._locks = [lock, *(fd for path in self.groups.parents if (fd := hold(path)) is not None)]

    def check(self) -> SandboxSupport:
        """Raise `ConfigurationError` if `start` would raise it. Start a zygote for that, and end it."""
        with tempfile.TemporaryDirectory() as folder:
            try:
                root = self._roots.spec(folder, self._preload) if self._wants_root else None
                zygote = ZygoteClient(sys.executable, self._preload, _client_path(), inherited=(), root=root)
            except ZygoteDied:
                raise self._start_failure() from None
            zygote.close()
        self._check_support(zygote.hello.sandbox)
        return zygote.hello.sandbox

    def _check_support(self, support: SandboxSupport) -> None:
        if self._sandbox == "root" and support.root:
            raise ConfigurationError(
                "SERVERFULL_SANDBOX=root: this machine does not allow environments a root directory of their own "
                f"({support.root}); it needs Linux 5.12 and user namespaces. Set SERVERFULL_SANDBOX=auto to use the "
                "isolation that works"
            )
        if self._network == "none" and (support.namespaces or self._sandbox == "process"):
            raise ConfigurationError(f"SERVERFULL_NETWORK=none: {_NO_NETWORK}")
        if self._roots.shares_folders and (support.root or not self._wants_root):
            reason = support.root if self._wants_root else f"SERVERFULL_SANDBOX={self._sandbox}"
            raise ConfigurationError(
                "SERVERFULL_MOUNTS: folders are shared with functions that have a root directory of their own only "
                f"({reason}); set SERVERFULL_SANDBOX=root, or remove SERVERFULL_MOUNTS"
            )
        if self._sandbox == "namespaces" and support.namespaces:
            raise ConfigurationError(
                f"SERVERFULL_SANDBOX=namespaces: this machine does not allow namespaces ({support.namespaces}); enable "
                "user namespaces, or set SERVERFULL_SANDBOX=auto to use the isolation that works"
            )

    def _start_failure(self) -> ConfigurationError:
        return ConfigurationError(
            f"the zygote, from which environments are forked, does not start: {sys.executable} ended or took too "
            "long; the server's standard error has its message. Check the modules in SERVERFULL_ZYGOTE_PRELOAD: "
            f"{','.join(self._preload) or 'none'}"
        )

    @property
    def level(self) -> str:
        """The isolation in effect, as a value of SERVERFULL_SANDBOX."""
        return "root" if self.has_root else "namespaces" if self.namespaces else "process"

    def _log_isolation(self, support: SandboxSupport) -> None:
        wanted = support if self._wants_root else support._replace(root="")
        reasons = {reason for reason in wanted if reason} if self._sandbox != "process" else {"not requested"}
        off = f" (off: {'; '.join(sorted(reasons))})" if reasons else ""
        hello = self.zygotes[sys.executable].hello
        if self._preload and not hello.can_fork:
            self._logger.warning("SERVERFULL_ZYGOTE_PRELOAD has no effect: %s", hello.exec_reason)
        means = self.has_root, self.namespaces, self.namespaces, self.own_proc, self.own_tmp
        self._logger.info(
            "isolated functions: own root directory %s, process namespace %s, user namespace %s, own /proc %s, "
            "private /tmp %s%s; "
            "memory limited by %s; CPU shared %s; capabilities dropped; environments start by %s",
            *("on" if on else "off" for on in means),
            off,
            self._memory_limits(),
            "by memory size" if self.groups.weighs_cpu else "equally",
            "fork" if hello.can_fork else f"exec ({hello.exec_reason})",
        )

    def _memory_limits(self) -> str:
        if not self.groups.limits_memory:
            return "RLIMIT_DATA and regular checks"
        return "control groups" if self.hides_groups else "control groups and regular checks"

    def _warn_of_fallback(self, python: str, fault: str) -> None:
        """Warn if an interpreter cannot import AWS's client, so that functions run under the fallback client."""
        if fault:
            self._logger.warning(
                "isolated Python functions run under serverfull_wsgi's own runtime client: %s cannot import AWS's, "
                "awslambdaric (%s); to have AWS's, install it: %s -m pip install awslambdaric",
                python,
                fault,
                python,
            )

    # Interpreters

    def interpreter(self, runtime: str) -> str:
        """Return the path of the interpreter for a runtime: one of that name, or else the server's own.

        The server's own serves every runtime that is not Python, and a version of Python that cannot run here.
        """
        if runtime == OWN_RUNTIME or not runtime.startswith("python"):
            return sys.executable
        if runtime not in self._interpreters:
            self._interpreters[runtime] = self._find_interpreter(runtime)
        return self._interpreters[runtime]

    def _find_interpreter(self, runtime: str) -> str:
        path = shutil.which(runtime)
        reason = f"no {runtime} is on the server's PATH"
        if path:
            reason = ""
            with contextlib.suppress(ZygoteDied, OSError):
                hello = self.zygote(path).hello
                if hello.can_fork:
                    self._warn_of_fallback(path, hello.client_fault)
                    return path
                reason = f"{path} cannot be a zygote: {hello.exec_reason}"
            reason = reason or interpreter_faults(path)[0] or f"{path} cannot be a zygote"
        self._warn_of_interpreter(runtime, reason)
        return sys.executable

    def _warn_of_interpreter(self, runtime: str, reason: str) -> None:
        self._logger.warning("functions with runtime %s run under the server's %s: %s", runtime, OWN_RUNTIME, reason)

    def packages_of(self, spec: LaunchSpec) -> str:
        """Return the arguments with which an interpreter that is not forked hides the server's packages."""
        arguments = {"preload": list(self._preload), "client": list(self.client_path)}
        return json.dumps({**arguments, "modules": spec.modules})

    def can_fork(self, python: str) -> bool:
        """Return whether forks of this interpreter's zygote can become Python environments."""
        return self.zygote(python).hello.can_fork

    def zygote(self, python: str) -> ZygoteClient:
        """Return the zygote of an interpreter, started if necessary.

        Raises:
            ZygoteDied: if the zygote cannot start, or the spawner is closed.
        """
        if zygote := self.zygotes.get(python):
            return zygote
        with self._lock:
            starting = self._starting.setdefault(python, threading.Lock())
        with starting:
            if python not in self.zygotes:
                path = self.client_path if python == sys.executable else ()
                inherited = [*self._locks, *self._inherited()]
                root = self._roots.spec(self._root_target, self._preload) if self._wants_root else None
                zygote = ZygoteClient(python, self._preload, path, inherited, root)
                with self._lock:
                    if not self._closed:
                        self.zygotes[python] = zygote
                if self._closed:
                    zygote.close()
                    raise ZygoteDied
            return self.zygotes[python]

    @property
    def _wants_root(self) -> bool:
        return self._sandbox in ("auto", "root")

    @property
    def _root_target(self) -> str:
        """The directory that root directories are mounted on, each in a namespace of its own."""
        return os.path.join(self.base, "root")

    # Environments

    def open_channel(self) -> ControlChannel:
        """Return a control channel for a new environment."""
        return ControlChannel()

    def is_own_peer(self, channel: ControlChannel, port: int, server_port: int) -> bool:
        """Return whether a process of the environment at the end of a channel opened the connection from ``port``."""
        return connection_belongs_to(channel.function_pid, channel.supervisor_pid, port, server_port)

    def spawn(
        self,
        function: Function,
        spec: LaunchSpec,
        fds: Sequence[int],
        *,
        port: int,
        group: Group | None,
        tmp: str,
        snapshot: str = "",
    ) -> None:
        """Start an environment; replace a zygote that has died, once.

        Args:
            function: the function that the environment is for.
            spec: its command and variables.
            fds: the descriptors of a `StartRequest`.
            port: the port of its Runtime API.
            group: its control group.
            tmp: its directory for temporary files.
            snapshot: for a snapshot, the directory for its own and its environments' temporary files.

        Raises:
            ZygoteDied: if the new zygote has died too.
            ConfigurationError: if the function's variables are too long.
        """
        request = self._start_request(function, spec, port, group, tmp, fds)._replace(snapshot=snapshot)
        zygote = self.zygote(spec.python)
        try:
            zygote.send(request, fds)
        except ZygoteDied:
            with self._lock:
                if self.zygotes.get(spec.python) is zygote:
                    del self.zygotes[spec.python]
                    zygote.close()
            self.remove_later(zygote.spare_group)
            zygote = self.zygote(spec.python)
            zygote.send(request, fds)
        self._request_spare(zygote)

    def restore(
        self,
        client: SnapshotClient,
        function: Function,
        spec: LaunchSpec,
        fds: Sequence[int],
        *,
        port: int,
        group: Group | None,
        tmp: str,
    ) -> None:
        """Start an environment from a snapshot. The arguments are those of `spawn`.

        Raises:
            ZygoteDied: if the snapshot has ended.
        """
        request = self._start_request(function, spec, port, group, tmp, fds)
        place = self._place_in_snapshot(request.place)
        request = request._replace(place=place, own_proc=self.own_proc and not place.is_in_snapshot)
        with _open_groups(group) as groups:
            client.send(request, [*fds, *groups])
        self._request_spare(client, self._network_of(function))

    def _start_request(
        self, function: Function, spec: LaunchSpec, port: int, group: Group | None, tmp: str, fds: Sequence[int]
    ) -> StartRequest:
        if not self.has_root:
            refuse_mounts(function, f"the sandbox is {self.level!r} here")
        env = {**spec.variables, "AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{port}"}
        if not spec.is_snap_start:  # which has no such variable on AWS
            env["AWS_LAMBDA_LOG_STREAM_NAME"] = log_stream_name(function.version)
        if spec.has_frames and spec.argv:
            env[FRAMES] = f"{FRAMES_FD} {os.fstat(fds[3]).st_ino} {env['AWS_LAMBDA_RUNTIME_API']}"
        if not self.own_tmp:
            env.setdefault("TMPDIR", tmp)
        node_path = spec.variables.get("NODE_PATH", "").split(os.pathsep)
        folders = (spec.root, *function.layers, *spec.path, *node_path, spec.modules)
        visible = {*folders, os.path.dirname(spec.python)}
        limits = {"CORE": 0, "NOFILE": OPEN_FILES}
        if group is None:
            limits["DATA"] = int(function.memory_size) * MIB + HEADROOM
        return StartRequest(
            place=self._place(group, self._network_of(function)),
            argv=spec.argv,
            handler=spec.handler,
            env=env,
            cwd=spec.root,
            path=spec.path,
            limits=limits,
            tmp=tmp,
            keep=sorted(filter(None, visible)),
            base=self.base,
            hides_packages=function.code is not None,
            modules=spec.modules,
            own_proc=self.own_proc,
            private_tmp=self.own_tmp,
            root=self._roots.root(function, spec, self._merged) if self.has_root else None,
            has_frames=spec.has_frames,
        )

    def _merged(self, layers: Sequence[str]) -> tuple[str, ...]:
        return self._layers.folders(layers, self.base)

    def _request_spare(self, client: ForkServerClient, network: str = "") -> None:
        """Have an environment forked for the next start request, in the default network unless another is named."""
        with self._lock:
            group = client.spare_group = client.spare_group or self.groups.create()
            place = self._place(group, network or self._network)
        if isinstance(client, SnapshotClient):
            place = self._place_in_snapshot(place)
        with contextlib.suppress(ZygoteDied), _open_groups(group if client.needs_groups else None) as groups:
            client.send(SpareRequest(place), groups)

    def _network_of(self, function: Function) -> str:
        network = function.network or self._network
        if network == "none" and not self.namespaces:
            raise ConfigurationError(f"function {function.name!r}: {_NO_NETWORK}")
        return network

    def _place(self, group: Group | None, network: str) -> Place:
        target = self._root_target if self.has_root else ""
        files = group.procs_files() if group else []
        return Place(files, self.namespaces, self.hides_groups, target, has_network=network == "host")

    def _place_in_snapshot(self, place: Place) -> Place:
        """Return the place of an environment that starts from a snapshot.

        Where /proc is protected, the kernel allows the environment no other one, and so no other process namespace.
        """
        return place._replace(root="", is_in_snapshot=self.has_root and not os.geteuid())

    def create_tmp(self, parent: str = "") -> str:
        """Return a new directory for an environment's temporary files, in ``parent`` if it is a snapshot's."""
        with self._lock:
            self._tmp_count += 1
            path = os.path.join(parent or self.base, str(self._tmp_count))
        os.mkdir(path, 0o700)
        return path

    def acquire_group(self, client: ForkServerClient | None, memory_size: int, tmp_size: int = 0) -> Group | None:
        """Return a control group with a limit of ``memory_size`` MiB: the spare's if there is one, else a new one.

        ``client`` leads to the process that will fork the environment; None if it has to be started. ``tmp_size`` MiB
        are added where /tmp is in memory: the kernel charges the group for it.

        Return None if no group can be made, or the kernel refuses the limit.
        """
        with self._lock:
            self._removable = [group for group in self._removable if not group.remove(0)]
            group = _pop_spare_group(client) or self.groups.create()
        try:
            if group:
                group.limit(memory_size, tmp_size if self.has_root else 0)
        except OSError:
            self.remove_later(group)
            return None
        return group

    def remove_later(self, group: Group | None) -> None:
        """Remove a control group, if any, once its last process has gone."""
        if group:
            with self._lock:
                self._removable.append(group)

    # End

    def abandon(self) -> None:
        """Close this process's copies of the sockets, in a fork of the server; the zygotes stay the parent's."""
        for zygote in self.zygotes.values():
            zygote.abandon()
        self._release_locks()

    def close(self) -> None:
        """End every zygote, and with it all environments; remove their files and control groups."""
        with self._lock:
            self._closed, zygotes, self.zygotes = True, self.zygotes, {}
        for zygote in zygotes.values():
            zygote.close()
            self.remove_later(zygote.spare_group)
        for group in self._removable:
            group.remove()
        self.groups.close()
        remove_tree(self.base)
        self._release_locks()

    def _release_locks(self) -> None:
        locks, self._locks = self._locks, []
        for fd in locks:
            os.close(fd)


def _pop_spare_group(client: ForkServerClient | None) -> Group | None:
    if client is None:
        return None
    group, client.spare_group = client.spare_group, None
    return group


@contextlib.contextmanager
def _open_groups(group: Group | None) -> Iterator[list[int]]:
    """Open the files by which a process joins its control groups."""
    with contextlib.ExitStack() as files:
        paths = group.procs_files() if group else ()
        yield [files.enter_context(open(path, "wb", buffering=0)).fileno() for path in paths]


def _client_path() -> tuple[str, ...]:
    """Return the folder of AWS's runtime client, if the server's interpreter finds it only by ``sys.path``."""
    spec = importlib.util.find_spec("awslambdaric")
    if spec is None or not spec.origin:
        return ()
    folder = os.path.dirname(os.path.dirname(spec.origin))
    return () if folder in site.getsitepackages() else (folder,)
