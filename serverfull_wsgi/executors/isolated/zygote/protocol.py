"""The messages between a server, its zygotes and their environments; the package's docstring shows their order.

Each message is one JSON object in one packet, with the name of its class as ``type``. Both ends have the same version
of this module, so the classes carry no version number.
"""

from __future__ import annotations

import contextlib
import json
import socket
from typing import Any, NamedTuple

from ..sandbox.root import Root, decode_root

MAX_DESCRIPTORS = 12  # of a message: 5 at most, and one for each hierarchy of control groups
MESSAGE_LIMIT = 1 << 20  # bytes; a start request is the function's variables and little more
SPARE_NAME = "serverfull wait"  # in lists of processes: a process that waits for a request
SNAPSHOT_NAME = "serverfull snap"  # likewise: a process that environments of a function start from
SUPERVISOR_NAME = "serverfull init"  # likewise; at most 15 bytes
MOUNT_SERVER_NAME = "serverfull root"  # likewise
FRAMES_FD = 15  # in a new function process: its connection for frames; no program of Node.js inherits 0 to 15
COUNTER_SIZE = 8  # bytes of the counter of events: 1 more than the events, 0 if nothing counts
END = b"end"  # sent to a supervisor, which then ends its environment


class SandboxSupport(NamedTuple):
    """The means to isolate processes on this machine: empty if the means works, else the reason why not."""

    namespaces: str = ""
    proc: str = ""
    tmp: str = ""
    hidden_groups: str = ""
    root: str = ""


class RootSpec(NamedTuple):
    """The arguments of a root template, for the mount server of a zygote."""

    target: str  # an empty directory
    preload: list[str]  # names of modules
    programs: list[str]  # further programs that functions run


class Place(NamedTuple):
    """The part of a start request that a spare has been prepared for."""

    cgroups: list[str]  # the cgroup.procs files of its control groups
    namespaces: bool
    hidden_groups: bool = False  # control groups are invisible, so that a function of root cannot leave its own
    root: str = ""  # the directory that a root directory of its own is mounted on, or an empty text
    is_in_snapshot: bool = False  # it shares the process namespace of the snapshot that it starts from
    has_network: bool = True  # the machine's; otherwise a loopback interface only

    @property
    def has_own_pids(self) -> bool:
        """Whether the environment has a process namespace of its own, of which its supervisor is the first process."""
        return self.namespaces and not self.is_in_snapshot


# From a zygote to the server


class Hello(NamedTuple):
    """The first message of a zygote."""

    client_fault: str  # why AWS's runtime client cannot be imported; empty if it can
    exec_reason: str  # why environments must be exec'ed; empty if a fork can be one
    sandbox: SandboxSupport

    @property
    def can_fork(self) -> bool:
        """Whether a fork of the zygote can become a Python environment."""
        return not self.exec_reason


# From the server to a zygote


class SpareRequest(NamedTuple):
    """A request to fork an environment beforehand; to a snapshot, descriptors come with it as with a `StartRequest`."""

    place: Place


class StartRequest(NamedTuple):
    """A request to start an environment; three descriptors or more come with it.

    They are the control channel, a pipe for output, and memory that counts the events a Python process has received.
    The runtime's end of a connection for frames comes next, if ``has_frames``. The last one comes with a request to
    start a snapshot: the socket for the start requests of its environments. To a snapshot, the files ``cgroup.procs``
    of the environment's groups come along, since a snapshot cannot open them.
    """

    place: Place
    argv: tuple[str, ...]  # the command to exec; if empty, the fork runs `handler`
    handler: str
    env: dict[str, str]
    cwd: str
    path: tuple[str, ...]  # put at the front of the module search path
    limits: dict[str, int]  # by the name of the resource, without RLIMIT_
    tmp: str  # the directory for temporary files
    keep: list[str]  # directories that stay visible if they are below /tmp
    base: str  # the directory that is removed with the server
    hides_packages: bool  # a fork can import the packages of AWS's runtime only, and not all of the interpreter's
    modules: str  # the folder of packages for all Python functions, or an empty text
    own_proc: bool
    private_tmp: bool
    root: Root | None = None  # the mounts of a root directory of its own
    snapshot: str = ""  # for a snapshot: the directory for its own and its environments' temporary files
    has_frames: bool = False  # whether the runtime's end of a connection for frames comes along

    @property
    def descriptors(self) -> int:
        """How many descriptors come with the request; the rest of a message's are those of its control groups."""
        return 3 + self.has_frames + bool(self.snapshot)


# Between a zygote and its mount server


class TmpRequest(NamedTuple):
    """A request for the temporary files at ``path``, with a file system of ``size`` bytes."""

    path: str
    size: int
    mount_points: list[str]  # directories that the root must have


class MountAnswer(NamedTuple):
    """The answer of a mount server: the reason why a mount failed, or an empty text with a descriptor."""

    reason: str
    target: str = ""  # the directory of the root template; in the first answer
    kept: tuple[str, ...] = ()  # directories of the template below /tmp and /opt; likewise


# From a snapshot, over the socket of its start requests


class SnapshotTaken(NamedTuple):
    """The init phase has ended, and the snapshot accepts start requests."""

    files: list[str]  # of modules in the code directory, relative to that


class SnapshotRefused(NamedTuple):
    """The init phase has ended in a state that a fork would not keep."""

    reasons: list[str]


# From an environment to the server, over its control channel


class SupervisorStarted(NamedTuple):
    """The environment exists; ``pid`` is that of its supervisor, as the zygote counts.

    It is 0 if the supervisor itself sends the message: the kernel then adds the pid, as the server counts.
    """

    pid: int


class FunctionStarted(NamedTuple):
    """The function process has its request. If ``pid`` is 0, the kernel adds it to the packet, as the server counts."""

    pid: int = 0


class ListenerMoved(NamedTuple):
    """The Runtime API's listening socket in the environment's network; its descriptor comes with the message."""


class ExecFailed(NamedTuple):
    """The command of the function process could not be run."""

    errno: int


class Failed(NamedTuple):
    """The environment could not be made."""

    reason: str


class Ended(NamedTuple):
    """The function process ended."""

    status: int  # as `os.wait` returns it
    peak_kib: int = 0  # the most memory that the process had resident


ChannelMessage = SupervisorStarted | ListenerMoved | FunctionStarted | ExecFailed | Failed | Ended
Message = (
    Hello
    | SpareRequest
    | StartRequest
    | RootSpec
    | TmpRequest
    | MountAnswer
    | SnapshotTaken
    | SnapshotRefused
    | ChannelMessage
)

_KINDS = (
    *(Hello, SpareRequest, StartRequest, RootSpec, TmpRequest, MountAnswer, SnapshotTaken, SnapshotRefused),
    *(SupervisorStarted, ListenerMoved, FunctionStarted, ExecFailed, Failed, Ended),
)
_TYPES: dict[str, type[Any]] = {kind.__name__: kind for kind in _KINDS}
_NESTED: dict[str, Any] = {"place": Place, "sandbox": SandboxSupport, "root": decode_root}


def encode(message: Message) -> bytes:
    """Return a message as it is sent.

    >>> encode(Ended(9, 2048))
    b'{"type": "Ended", "status": 9, "peak_kib": 2048}'
    """
    return json.dumps({"type": type(message).__name__, **message._asdict()}).encode()


def decode(data: bytes) -> Any:
    """Return the message that was sent as ``data``.

    >>> decode(encode(SpareRequest(Place(["/sys/fs/cgroup/a/cgroup.procs"], True)))).place.cgroups
    ['/sys/fs/cgroup/a/cgroup.procs']
    """
    fields = json.loads(data)
    kind = _TYPES[fields.pop("type")]
    return kind(
        **{name: _NESTED[name](*value) if name in _NESTED and value else value for name, value in fields.items()}
    )


def send(channel: socket.socket, message: ChannelMessage) -> None:
    """Send a message over a control channel. Ignore that the server has gone: its supervisor notices that too."""
    with contextlib.suppress(OSError):
        channel.send(encode(message))
