"""A process that is killed in the middle of a change leaves the old state or the new one."""

import json
import subprocess
import sys

import pytest

from tests.support.battery import SEED, share
from tests.support.registry import code, deploy, redeploy, registry_in
from tests.support.servers import ROOT

CHILD = """
import os, signal, sys
from pathlib import Path
from tests.support.registry import deploy, redeploy, registry_in

def die(path, step, operation):
    def reached(name):
        if name == step:
            os.kill(os.getpid(), signal.SIGKILL)

    registry = registry_in(path, reached=reached)
    if operation == "create":
        deploy(registry, text="new")
    elif operation == "update":
        redeploy(registry, text="new", Publish=True)
    else:
        registry.delete_function("hello", None, "tester")

for line in sys.stdin:
    path, step, operation = line.rstrip().split("|")
    path = Path(path, f"{operation} {step}")
    if operation != "create":
        deploy(registry_in(path), text="old")
    if os.fork() == 0:
        die(path, step, operation)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.wait()[1]) == -signal.SIGKILL, line
"""
PACKAGE = ["package written", "package renamed", "package synced"]
DOCUMENT = ["document written", "document renamed", "document synced"]
BEFORE = [*PACKAGE, "document written"]  # the old state must be in force


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    """Kill a process at each step of each operation, each in a folder of its own, and return the folders' parent."""
    parent = tmp_path_factory.mktemp("deaths")
    deaths = [(step, operation) for operation in ("create", "update") for step in (*PACKAGE, *DOCUMENT)]
    lines = "".join(f"{parent}|{step}|{operation}\n" for step, operation in [*deaths, ("document deleted", "delete")])
    subprocess.run([sys.executable, "-c", CHILD], input=lines, text=True, cwd=ROOT, timeout=60, check=True)
    return parent


def text_of(registry, name="hello"):
    """Return the code of a function, from its package as a machine without a cache unpacks it."""
    with open(f"{registry.packages.directory(registry.package(name))}/app.py") as file:
        return file.read()


def fresh(path):
    return registry_in(path, cache=path / "another-machine/packages")


@pytest.mark.parametrize("step", [*PACKAGE, *DOCUMENT])
def test_a_function_exists_completely_or_not_at_all(places, step):
    registry = fresh(places / f"create {step}")
    assert registry.names() == ([] if step in BEFORE else ["hello"])
    if step in BEFORE:
        deploy(registry, text="new")
    assert "new" in text_of(registry)


@pytest.mark.parametrize("step", [*PACKAGE, *DOCUMENT])
def test_an_update_is_complete_or_has_not_happened(places, step):
    registry = fresh(places / f"update {step}")
    versions = [each["Version"] for each in registry.all_configurations("hello")]
    if step in BEFORE:
        assert versions == ["$LATEST"]
        assert "old" in text_of(registry)
    else:
        assert versions == ["$LATEST", "1"]
        assert "new" in text_of(registry)
    redeploy(registry, text="newer")
    assert "newer" in text_of(registry)


def test_a_deleted_function_is_gone(places):
    registry = fresh(places / "delete document deleted")
    assert registry.names() == []
    deploy(registry)


@pytest.mark.parametrize("step", ["package written", "document written"])
def test_rests_of_killed_processes_are_pruned(places, step):
    place = places / f"update {step}"
    assert len(list(place.glob("registry/*/.new-*"))) == 1
    registry_in(place, clock=lambda: 4e9).prune()
    assert list(place.glob("registry/*/.new-*")) == []
    assert text_of(fresh(place))


def test_two_processes_write_the_same_package(tmp_path):
    first, second = registry_in(tmp_path), fresh(tmp_path)
    assert first.packages.add(code("same")) == second.packages.add(code("same"))
    assert len(list(tmp_path.glob("registry/code/*"))) == 1


RANDOM_DEATHS = """
import json, os, random, signal, sys, time
from pathlib import Path
from tests.support.registry import deploy, redeploy, registry_in

path, count, choose = Path(sys.argv[1]), int(sys.argv[2]), random.Random(int(sys.argv[3]))
deploy(registry_in(path), text="0")
begin = time.monotonic()
redeploy(registry_in(path), text="typical")
window = 2 * (time.monotonic() - begin)  # seconds in which the process is killed
half, lost, acknowledged = [], [], 0
for number in range(count):
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(write, redeploy(registry_in(path), text=str(number), Publish=True)["CodeSha256"].encode())
        os._exit(0)
    os.close(write)
    time.sleep(choose.uniform(0, window))
    os.kill(child, signal.SIGKILL)
    with os.fdopen(read) as answer:
        expected = answer.read()
    os.wait()
    registry = registry_in(path, cache=path / f"machine-{number}")
    present = registry.function_configuration("hello")
    versions = registry.all_configurations("hello")
    for each in (versions[0], versions[-1]):
        folder = registry.packages.directory(registry.package("hello", each["Version"]))
        half += [number] * (not Path(folder, "app.py").is_file())
    lost += [number] * (expected not in ("", present["CodeSha256"]))
    acknowledged += bool(expected)
    window *= 0.9 if expected else 1.1  # so that about a half of the deploys are acknowledged
print(json.dumps({"half": half, "lost": lost, "acknowledged": acknowledged}))
"""


@pytest.mark.battery
def test_a_deploy_that_is_killed_at_a_random_moment_is_complete_or_has_not_happened(tmp_path, battery):
    count = share(200, 8)
    child = subprocess.run(
        [sys.executable, "-c", RANDOM_DEATHS, tmp_path, str(count), str(SEED)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=600,
        check=True,
    )
    figures = json.loads(child.stdout.splitlines()[-1])
    assert (figures["half"], figures["lost"]) == ([], [])
    assert count < 100 or count / 10 < figures["acknowledged"] < count * 9 / 10
    battery.record("killed deploys", deploys=count, acknowledged=figures["acknowledged"])
