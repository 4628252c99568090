"""Functions in processes of their own, and helpers for their tests."""

import contextlib
import functools
import importlib.util
import json
import os
import sys
import uuid
from pathlib import Path

import pytest

from serverfull_wsgi import ConfigurationError, Function, Invocation, ProcessExecutor
from serverfull_wsgi.executors.isolated.sandbox.linux import descendants
from serverfull_wsgi.executors.isolated.zygote import spawner as spawner_module
from serverfull_wsgi.executors.isolated.zygote.protocol import MOUNT_SERVER_NAME, SPARE_NAME
from serverfull_wsgi.executors.isolated.zygote.spawner import Spawner
from serverfull_wsgi.telemetry.scope import LOGGER
from tests.support.names import function_name
from tests.support.servers import ROOT

FUNCTIONS = ROOT / "tests/functions"
NAME = "isolated"
SANDBOXES = ["process", "namespaces", "root"]
CLIENT = ("awslambdaric", "runtime_client")  # the packages of AWS's runtime client
WITHOUT_CLIENT = str(ROOT / "tests/support/without_client")  # has packages of these names that cannot be imported

needs_client = pytest.mark.skipif(
    sys.platform != "linux" or not importlib.util.find_spec("awslambdaric"),
    reason="awslambdaric has wheels for Linux on x86-64 and aarch64 only",
)


def task_root(executor, code=FUNCTIONS):
    """Return the path of a code directory as its function sees it."""
    return "/var/task" if executor.statistics().sandbox == "root" else str(code)


def function(handler="whoami", *, code=FUNCTIONS, timeout=30, **more):
    """Return a function whose handler is in tests/functions/app.py, unless ``handler`` names another module."""
    handler = handler if "." in handler or more.get("runtime") else f"app.{handler}"
    return Function(handler, **{"name": NAME, "code": str(code), "timeout": timeout, **more})


def invocation(event=None, *, name=NAME, **more):
    payload = b"" if event is None else json.dumps(event).encode()
    return Invocation(function_name(name), payload, str(uuid.uuid4()), **{"tail": True, **more})


def run(executor, function, event=None, **more):
    """Run a function. Return its outcome, and its payload as an object."""
    outcome = executor.execute(function, invocation(event, name=function.name, **more))
    return outcome, json.loads(outcome.payload)


def result(executor, function, event=None):
    """Run a function that must succeed. Return its payload as an object."""
    outcome, value = run(executor, function, event)
    assert outcome.function_error is None, (value, outcome.log)
    return value


@contextlib.contextmanager
def executing(**options):
    """Return a `ProcessExecutor` that has started; close it at the end."""
    executor = ProcessExecutor(**{"eager": True, **options})
    executor.start()
    executor.sandbox = executor.statistics().sandbox
    try:
        yield executor
    finally:
        executor.close()


@contextlib.contextmanager
def hidden_client():
    """Make the import of AWS's runtime client fail, in this process and in zygotes that start within the block."""
    client = {name: sys.modules.pop(name) for name in list(sys.modules) if name.partition(".")[0] in CLIENT}
    sys.path.insert(0, WITHOUT_CLIENT)
    try:
        yield
    finally:
        sys.path.remove(WITHOUT_CLIENT)
        sys.modules.update(client)


@contextlib.contextmanager
def executing_without_client(**options):
    """Return a `ProcessExecutor` that has started without AWS's runtime client; close it at the end."""
    with contextlib.ExitStack() as stack:
        with hidden_client():
            executor = stack.enter_context(executing(**options))
        yield executor


def refuse_roots(monkeypatch):
    """Let new executors find a machine that allows no environment a root directory of its own."""

    class WithoutRoots(Spawner):
        def zygote(self, python):
            zygote = super().zygote(python)
            zygote.hello = zygote.hello._replace(sandbox=zygote.hello.sandbox._replace(root="the kernel refuses"))
            return zygote

    monkeypatch.setattr(spawner_module, "Spawner", WithoutRoots)


@functools.cache
def namespaces():
    """Return the reason why this machine has no namespaces, or an empty text if it has."""
    spawner = Spawner(sandbox="process", preload=(), logger=LOGGER)
    spawner.start()
    try:
        return spawner.zygote(sys.executable).hello.sandbox.namespaces
    finally:
        spawner.close()


def needs_namespaces():
    """Skip the test on a machine without namespaces."""
    if why := namespaces():
        pytest.skip(f"no namespaces here: {why}")


@functools.cache
def roots():
    """Return the reason why environments have no root directories of their own here, or an empty text."""
    try:
        with executing(sandbox="root"):
            return ""
    except ConfigurationError as error:
        return str(error)


def needs_root():
    """Skip the test on a machine where environments have no root directories of their own."""
    if why := roots():
        pytest.skip(why)


def needs_sandbox(sandbox):
    """Skip the test on a machine without this sandbox."""
    if sandbox == "namespaces":
        needs_namespaces()
    if sandbox == "root":
        needs_root()


def temporary_folders(executor):
    """Return the names of the directories of temporary files."""
    return [name for name in os.listdir(executor.statistics().directory) if name != "root"]


def population(executor):
    """Return the processes of all environments, without the fork servers and their spare processes."""
    return [pid for pid in _forked(executor) if _name(pid) not in (SPARE_NAME, MOUNT_SERVER_NAME, "")]


def waiting(executor):
    """Return the spare processes, which wait for a function: the function's process and its supervisor."""
    return [pid for pid in _forked(executor) if _name(pid) == SPARE_NAME]


def mount_servers(executor):
    """Return the processes from which environments get their root directories."""
    return [pid for pid in _forked(executor) if _name(pid) == MOUNT_SERVER_NAME]


def _forked(executor):
    return [pid for zygote in executor.statistics().fork_servers for pid in descendants(zygote)]


def _name(pid):
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/comm").read_text().rstrip("\n")
    return ""


def marked(mark):
    """Return the processes with this text in their command line, or in their variables when they were executed."""
    pids = []
    for path in Path("/proc").glob("[0-9]*"):
        for name in ("cmdline", "environ"):
            with contextlib.suppress(OSError):
                if path.name != str(os.getpid()) and mark.encode() in (path / name).read_bytes():
                    pids.append(int(path.name))
    return pids
