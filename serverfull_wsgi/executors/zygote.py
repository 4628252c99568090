"""The program that execution environments are forked from: ``python zygote.py FD MODE [MODULE…]``.

It has one thread, so that a fork of it is sound, and was exec'ed with an environment of its own, so that it holds
nothing of the server's. On the socket FD it is sent jobs, each with two descriptors: the environment's line to the
server, and what its output goes to. Of a job come

- the *init*, which waits: it reports how the function's process ended, and ends what that leaves behind. When the
  server says so, or its end of the line is closed because the server is gone, it ends everything at once;
- its child, the function's process: it execs the job's command, or, in a zygote of MODE ``fork``, which has imported
  AWS's runtime client, becomes the runtime.

On the line go JSON objects: ``{"init": pid}``, ``{"started": true}`` with the sender's credentials,
``{"ended": wait status, "peak": KiB}``, ``{"failed": reason}``, ``{"exec": errno}``.

Needs nothing but the standard library, since it also runs under other interpreters than the server's.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import gc
import importlib
import importlib.util
import io
import json
import os
import resource
import select
import shutil
import signal
import socket
import sys
import time
import types
from collections.abc import Iterator
from typing import Any, NoReturn

Job = dict[str, Any]
MESSAGE = 1 << 20  # bytes; a job is the function's variables and little more
LOG_FD = 3  # where a runtime finds its telemetry descriptor
GATE_FD = 5  # where a function's process waits for its limits


def _load_linux() -> Any:
    """The module beside this file, under a name that no function's module has."""
    spec = importlib.util.spec_from_file_location(
        "_serverfull_linux", os.path.join(os.path.dirname(os.path.abspath(__file__)), "linux.py")
    )
    assert spec is not None  # noqa: S101
    assert spec.loader is not None  # noqa: S101
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


linux = _load_linux()


def main(fd: int, mode: str, modules: list[str]) -> None:
    """Serves the socket ``fd``; in the process of a function that this forks, returns when that ends."""
    control = socket.socket(fileno=fd)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # whoever ends the server ends this by it
    linux.become_subreaper()
    hello = {"fork": False, "why": "", "client": False, "sandbox": _probe()}
    if mode == "fork":
        hello.update(_preload(modules))
    control.send(json.dumps(hello).encode())
    job = Zygote(control).serve()
    if job is not None:
        become_runtime(job)  # from here an ordinary process, which ends as it likes


def _preload(modules: list[str]) -> dict[str, Any]:
    """Imports the runtime client and ``modules``; whether forks of this process can be environments, or why not."""
    try:
        if not importlib.util.find_spec("runtime_client"):
            return {"why": "there is no awslambdaric for this interpreter"}
        with _without_client():
            for name in ("awslambdaric.__main__", "awslambdaric.bootstrap", "concurrent.futures.thread"):
                importlib.import_module(name)
        with contextlib.suppress(ImportError, OSError):  # what each fork would load, 1 ms in all; not in every version
            importlib.import_module("awslambdaric.lambda_literals")
            ctypes.CDLL("libstdc++.so.6")
        for name in modules:
            importlib.import_module(name)
    except BaseException as error:
        return {"client": "awslambdaric.__main__" in sys.modules, "why": f"{type(error).__name__}: {error}"}
    if len(os.listdir("/proc/self/task")) > 1:
        return {"client": True, "why": "a preloaded module has started a thread"}
    gc.collect()
    gc.freeze()  # what is here now stays, so collections in the forks need not touch, and copy, its pages
    return {"client": True, "fork": True}


@contextlib.contextmanager
def _without_client() -> Iterator[None]:
    """The runtime's client, in C, reads the address of its API when it is loaded: not here, but in each fork."""
    stub = types.ModuleType("runtime_client")
    stub.initialize_client = lambda user_agent: None  # type: ignore[attr-defined]
    sys.modules["runtime_client"] = stub
    try:
        yield
    finally:
        del sys.modules["runtime_client"]


def _probe() -> dict[str, str]:
    """What keeps processes apart here: for each means an empty text, or why it cannot be had."""
    found = {"namespaces": "", "proc": "", "tmp": ""}
    reader, writer = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            linux.unshare()
            if not (pid := os.fork()):
                for name, act in (
                    ("proc", linux.mount_proc),
                    ("tmp", lambda: linux.mount_over("/tmp", "/tmp")),  # noqa: S108
                ):
                    try:
                        act()
                    except OSError as error:
                        found[name] = str(error)
                os.write(writer, json.dumps(found).encode())
                os._exit(0)
            os.waitpid(pid, 0)
        except OSError as error:
            os.write(writer, json.dumps(dict.fromkeys(found, str(error))).encode())
        os._exit(0)
    os.close(writer)
    with open(reader, "rb") as answer:
        text = answer.read()
    os.waitpid(pid, 0)
    return json.loads(text) if text else dict.fromkeys(found, "the trial ended without a word")


class Zygote:
    """Waits for jobs, and forks an environment for each."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._inits: set[int] = set()
        self._base: set[str] = set()  # where temporary directories and
        self._groups: set[str] = set()  # control groups are

    def serve(self) -> Job | None:
        """Returns None when the server is gone; and in each process that is to run a function, its job."""
        wakeup, self._wakeup = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._wakeup_reader = wakeup
        _watch_children(self._wakeup)
        poll = select.poll()
        poll.register(self._control, select.POLLIN)
        poll.register(wakeup, select.POLLIN)
        while True:
            ready = [fd for fd, _ in poll.poll()]
            if wakeup in ready:
                os.read(wakeup, 4096)
                self._reap()
            if self._control.fileno() in ready:
                message, fds, _, _ = socket.recv_fds(self._control, MESSAGE, 2)
                if not message:
                    self._farewell()
                    return None
                job: Job = json.loads(message)
                self._base.add(job["base"])
                self._groups.update(os.path.dirname(os.path.dirname(path)) for path in job["cgroups"])
                if self._fork(job, *fds):
                    return job

    def _farewell(self) -> None:
        """The server is gone. The inits have noticed it themselves; what they leave in files is removed here."""
        deadline = time.monotonic() + 10.0
        while self._inits and time.monotonic() < deadline:
            self._reap()
            time.sleep(0.002)
        for path in self._base:
            shutil.rmtree(path, ignore_errors=True)
        for path in self._groups:
            with contextlib.suppress(OSError):
                for entry in [*os.scandir(path)]:
                    if entry.is_dir():
                        os.rmdir(entry)
                os.rmdir(path)

    def _reap(self) -> None:
        with contextlib.suppress(ChildProcessError):
            while pid := os.waitpid(-1, os.WNOHANG)[0]:
                if pid in self._inits:
                    self._inits.discard(pid)
                    self._end_orphans()

    def _end_orphans(self) -> None:
        """An init that was killed itself leaves its processes to this one."""
        for pid in linux.descendants(os.getpid()):
            with contextlib.suppress(OSError, ValueError, IndexError), open(f"/proc/{pid}/stat") as file:
                parent = int(file.read().rpartition(")")[2].split()[1])
                if parent == os.getpid() and pid not in self._inits:
                    linux.kill(pid)

    def _fork(self, job: Job, line: int, output: int) -> bool:
        """Begins an environment; True in its function's process."""
        reader, writer = os.pipe()
        if pid := os.fork():
            os.close(writer)
            init = int(os.read(reader, 32) or 0)
            if init != pid:
                os.waitpid(pid, 0)
            if init:
                self._inits.add(init)
                with contextlib.suppress(OSError):
                    os.write(line, json.dumps({"init": init}).encode())
            for fd in (reader, line, output):
                os.close(fd)
            return False
        os.close(reader)
        signal.set_wakeup_fd(-1)
        for fd in (self._wakeup, self._wakeup_reader, self._control.detach()):
            os.close(fd)
        return _begin(job, socket.socket(fileno=line), output, writer)


def _watch_children(fd: int) -> None:
    """Has ``fd`` written to when a child ends."""
    signal.signal(signal.SIGCHLD, lambda number, frame: None)
    signal.set_wakeup_fd(fd, warn_on_full_buffer=False)


def _begin(job: Job, line: socket.socket, output: int, writer: int) -> bool:
    """In a fork of the zygote's: from here comes the init, and from the init the function's process (True)."""
    try:
        if job["namespaces"]:
            linux.unshare()
            if init := os.fork():
                os.write(writer, str(init).encode())
                os._exit(0)
            os.close(writer)
            _arrange(job)
        else:
            os.write(writer, str(os.getpid()).encode())
            os.close(writer)
            linux.become_subreaper()
    except OSError as error:
        _say(line, failed=str(error))
        os._exit(1)
    wakeup = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    _watch_children(wakeup[1])
    gate = os.pipe()
    if child := os.fork():
        os.close(output)
        os.close(gate[0])
        _limit(job, child, line, gate[1])
        _wait(line, child, wakeup[0], linux.kill_namespace if job["namespaces"] else linux.kill_descendants)
    _become(job, line, output, gate[0])
    return True


def _limit(job: Job, child: int, line: socket.socket, gate: int) -> None:
    """Puts the function's process into its control groups, which takes the kernel some 10 ms, and lets it go on."""
    try:
        for path in job["cgroups"]:
            with open(path, "w") as file:
                file.write(str(child))
    except OSError as error:
        linux.kill(child)
        _say(line, failed=str(error))
        os._exit(1)
    os.write(gate, b"!")
    os.close(gate)


def _pass(gate: int) -> None:
    """Waits, before any code of the function's runs, until its limits hold."""
    if not os.read(gate, 1):
        os._exit(1)
    os.close(gate)


def _arrange(job: Job) -> None:
    """The file system as the environment sees it, as far as it can be had here; the order matters."""
    if job["private_tmp"]:
        programs = [os.path.dirname(path) for path in job["argv"]]
        linux.private_tmp(job["tmp"], [*job["keep"], *programs, sys.prefix, sys.base_prefix, *sys.path])
    if job["own_proc"]:
        linux.mount_proc()


def _wait(line: socket.socket, child: int, wakeup: int, end_all: Any) -> NoReturn:
    """The init's part: returns never."""
    poll = select.poll()
    poll.register(line, select.POLLIN)
    poll.register(wakeup, select.POLLIN)
    status, peak = None, 0
    while status is None:
        ready = [fd for fd, _ in poll.poll()]
        if line.fileno() in ready:  # a word to end it, or the server is gone
            linux.kill(child)
        with contextlib.suppress(BlockingIOError):
            os.read(wakeup, 4096)
        with contextlib.suppress(ChildProcessError):
            while (ended := os.wait4(-1, os.WNOHANG))[0]:
                if ended[0] == child:
                    status, peak = ended[1], ended[2].ru_maxrss
        if line.fileno() in ready:
            time.sleep(0.0005)
    end_all()
    _say(line, ended=status, peak=peak)
    os._exit(0)


def _say(line: socket.socket, **message: Any) -> None:
    with contextlib.suppress(OSError):
        line.send(json.dumps(message).encode())


def _become(job: Job, line: socket.socket, output: int, gate: int) -> None:
    """Makes this process the function's; returns for a job that has no command to exec."""
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    linux.die_with_parent()
    os.setsid()
    _say(line, started=True)
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
            _pass(GATE_FD)
            for name in ("SIGPIPE", "SIGXFSZ", "SIGINT"):
                signal.signal(getattr(signal, name), signal.SIG_DFL)
            os.execve(job["argv"][0], job["argv"], job["env"])  # noqa: S606
    except OSError as error:
        os.write(line_fd, json.dumps({"exec": error.errno}).encode())
        os._exit(126)
    os.close(line_fd)


def _stream(fd: int, name: str, errors: str) -> io.TextIOWrapper:
    """What Python itself opens when it is not to buffer (``python -u``)."""
    raw = io.FileIO(fd, "w", closefd=False)
    raw.name = f"<{name}>"
    return io.TextIOWrapper(raw, "utf-8", errors, "\n", write_through=True)


def become_runtime(job: Job) -> None:
    """What ``python -m awslambdaric HANDLER`` does, in a process that has imported it already."""
    os.environ.clear()
    os.environ.update(job["env"])
    time.tzset()
    sys.path[:0] = job["path"]
    sys.stdout = sys.__stdout__ = _stream(1, "stdout", "strict")  # type: ignore[misc]
    sys.stderr = sys.__stderr__ = _stream(2, "stderr", "backslashreplace")  # type: ignore[misc]
    if numpy := sys.modules.get("numpy"):
        numpy.random.seed()  # (`random` seeds itself in a fork)
    from awslambdaric import __main__ as runtime
    from awslambdaric import bootstrap, lambda_runtime_client

    if "AWS_LAMBDA_LOG_FORMAT" in os.environ or "AWS_LAMBDA_LOG_LEVEL" in os.environ:
        importlib.reload(bootstrap)
    # What was decided at import, by variables that were not there yet: how text is written, and where the API is.
    lambda_runtime_client.LambdaRuntimeClient.marshaller = lambda_runtime_client.LambdaMarshaller()
    client = lambda_runtime_client.runtime_client = importlib.import_module("runtime_client")
    client.initialize_client(lambda_runtime_client._user_agent())
    _pass(GATE_FD)
    sys.argv = [runtime.__file__, job["handler"]]
    runtime.main(sys.argv)


if __name__ == "__main__":
    sys.path.pop(0)  # this file's folder, whose modules are not for functions to find
    main(int(sys.argv[1]), sys.argv[2], sys.argv[3:])
