"""Snapshots of functions with SnapStart: each runs the init phase once, and the function's environments are its forks.

::

    first call         create: start a process, wait for the end of its init phase (Snapshot)
    each cold start    restore: fork an environment from it, run the hooks after a restore
    refused            the process has threads, sockets, … : its environments start as those of other functions do

A snapshot counts within the limit of environments. It ends if it has no environment and has not been used for as long
as an idle environment stays, if its place is needed, and with the server. A snapshot is used no longer, and ends with
its last environment, if its process has died, or if the function or a module of its code directory has changed.
"""

from __future__ import annotations

import logging
import os
import select
from collections.abc import Callable, Iterable
from time import monotonic

from serverfull_wsgi.domain import Function
from serverfull_wsgi.executors.isolated.environment import Environment
from serverfull_wsgi.executors.isolated.runtimes.launch import LaunchSpec
from serverfull_wsgi.executors.isolated.zygote.client import SnapshotClient
from serverfull_wsgi.executors.isolated.zygote.protocol import SnapshotRefused, SnapshotTaken
from serverfull_wsgi.executors.isolated.zygote.spawner import Spawner

# Seconds for the init phase, or the function's timeout if that is longer, and for the hooks after a restore, as on AWS.
# Sources: lambda-runtime-environment.html and snapstart-troubleshooting.html in https://docs.aws.amazon.com/lambda/latest/dg
INIT_TIMEOUT, RESTORE_TIMEOUT = 130.0, 10.0
_OLD_CLIENT = "AWS's runtime client, awslambdaric, is older than version 3"

Stamp = tuple[int, ...]  # empty for a file that does not exist


class SnapshotEnvironment(Environment):
    """The process of a snapshot. It is ready at the end of its init phase, and runs no invocation.

    Args:
        function, launch_spec, spawner, folder, logger, is_stopped: as for `Environment`. ``folder`` has the temporary
            files of the snapshot in ``tmp``, and those of its environments.
    """

    def __init__(
        self,
        function: Function,
        launch_spec: LaunchSpec,
        spawner: Spawner,
        folder: str,
        logger: logging.Logger,
        is_stopped: Callable[[], bool] = lambda: False,
    ) -> None:
        self.client = SnapshotClient()
        self._root, self._layers = function.code or os.getcwd(), function.layers
        self._stamps = self._stamp_all(())
        os.mkdir(os.path.join(folder, "tmp"), 0o700)
        try:
            super().__init__(function, launch_spec, spawner, folder, logger, is_stopped)
        except BaseException:
            self.client.close()
            raise
        self._poll.register(self.client.socket, select.POLLIN)
        self._socket_fd = self.client.socket.fileno()

    def _spawn(self, spec: LaunchSpec, fds: list[int], snapshot: SnapshotClient | None) -> None:
        with self.client.snapshot_end as end:
            self._spawner.spawn(
                self.function,
                spec,
                [*fds, end.fileno()],
                port=self._api.listener.port,
                group=self._group,
                tmp=os.path.join(self.tmp, "tmp"),
                snapshot=self.tmp,
            )

    @property
    def refused(self) -> list[str]:
        """Why no environment can start from this process; empty if some can."""
        if isinstance(self.client.result, SnapshotRefused):
            return self.client.result.reasons
        return [] if self.client.result else [_OLD_CLIENT]

    def _is_ready(self) -> bool:
        return self.client.result is not None or self._api.is_waiting

    def _handle_other(self, fd: int) -> bool:
        if fd != self._socket_fd:
            return False
        self._poll.unregister(fd)  # one message arrives; after that, the process has died
        self.client.receive()
        if isinstance(self.client.result, SnapshotTaken):
            self._stamps = self._stamp_all(self.client.result.files)
        return True

    def is_usable(self) -> bool:
        """Return whether the process lives, and its code has not changed."""
        if self.client.has_ended() or not self.is_alive():
            return False
        files = self.client.result.files if isinstance(self.client.result, SnapshotTaken) else ()
        return self._stamps == self._stamp_all(files)

    def _stamp_all(self, files: Iterable[str]) -> list[Stamp]:
        """Return the identities of the code directory and the layers, and the identities and times of modules."""
        folders = [_stamp(path)[:2] for path in (self._root, *self._layers)]
        return [*folders, *(_stamp(os.path.join(self._root, file)) for file in files)]

    def close(self) -> None:
        super().close()
        group, self.client.spare_group = self.client.spare_group, None
        self._spawner.remove_later(group)

    def abandon(self) -> None:
        super().abandon()
        self.client.close()


def _stamp(path: str) -> tuple[int, ...]:
    try:
        status = os.stat(path)
    except OSError:
        return ()
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


class Snapshot:
    """A snapshot in use. The caller holds the lock of the `PoolManager`."""

    def __init__(self, environment: SnapshotEnvironment) -> None:
        self.environment = environment
        self.environments = 0  # that have started from it and have not ended
        self.used = monotonic()
