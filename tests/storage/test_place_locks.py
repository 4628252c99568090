"""Places that processes share. Two `PlaceLocks` of one process behave as two processes do: each opens the file."""

import contextlib
import os
import random
import signal
import subprocess
import sys

import pytest

from serverfull_wsgi.storage.place_locks import PlaceLocks
from serverfull_wsgi.telemetry.scope import LOGGER
from tests.support.battery import SEED
from tests.support.processes import open_files
from tests.support.servers import ROOT
from tests.support.waiting import wait_until

pytestmark = [
    pytest.mark.quick,
    pytest.mark.skipif(sys.platform != "linux", reason="open file description locks are Linux's"),
]
HOLDER = """
import os, subprocess, sys, time
from pathlib import Path
from serverfull_wsgi.storage.place_locks import PlaceLocks
from serverfull_wsgi.telemetry.scope import LOGGER

locks = PlaceLocks(Path(sys.argv[1]), LOGGER)
while locks.acquire("f", 3):
    pass
child = 0
if sys.argv[2] == "fork":
    child = os.fork()
if sys.argv[2] == "pass":
    child = subprocess.Popen(["sleep", "60"], pass_fds=locks.descriptors()).pid
if sys.argv[2] == "exec":
    child = subprocess.Popen(["sleep", "60"], close_fds=False).pid
if sys.argv[2] == "none" or child:
    print(child, flush=True)
time.sleep(60)
"""


@pytest.fixture
def opened(tmp_path):
    """Return ``opened()``, which returns `PlaceLocks` on one file."""
    with contextlib.ExitStack() as stack:

        def opened(path=tmp_path / "data/concurrency"):
            return stack.enter_context(contextlib.closing(PlaceLocks(path, LOGGER)))

        yield opened


def taken(locks, limit, key="f"):
    """Take all free places, and return them."""
    places = []
    while place := locks.acquire(key, limit):
        places.append(place)
    return places


def test_no_more_places_than_the_limit_are_in_use(opened):
    first, second = opened(), opened()
    assert len([*taken(first, 2), *taken(second, 3), *taken(first, 3)]) == 3


def test_a_place_that_was_released_can_be_taken_by_another_process(opened):
    first, second = opened(), opened()
    places = taken(first, 3)
    first.release(places[1])
    assert len(taken(second, 3)) == 1
    first.release(places[1])  # a second release changes nothing
    assert taken(first, 3) == []


def test_keys_have_places_of_their_own(opened):
    locks = opened()
    assert [len(taken(locks, 2, key)) for key in ("f", "g", "..", "")] == [2, 2, 2, 2]


def test_places_above_a_lowered_limit_count(opened):
    first, second = opened(), opened()
    places = sorted(taken(first, 6), key=lambda place: place.number)
    for place in places[:2]:
        first.release(place)
    assert taken(second, 3) == []  # 4 are in use, 3 of them above the limit
    for place in places[3:]:
        first.release(place)
    assert len(taken(second, 3)) == 2  # 1 is in use


def test_any_sequence_of_calls_and_limits_keeps_the_limit(opened):
    rng, processes = random.Random(SEED), [opened() for _ in range(3)]
    running = []
    for _ in range(3000):
        locks, limit = rng.choice(processes), rng.choice([1, 2, 5, 8])
        if rng.random() < 0.55:
            place = locks.acquire("f", limit)
            assert (place is not None) == (len(running) < limit)
            running += [(locks, place)] if place else []
        elif running:
            locks, place = running.pop(rng.randrange(len(running)))
            locks.release(place)


@contextlib.contextmanager
def killed_holder(path, child="none"):
    """Kill a process that has all 3 places. Yield the id of its child, which lives on until the block ends."""
    argv = [sys.executable, "-c", HOLDER, str(path), child]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, cwd=ROOT) as process:
        pid = int(process.stdout.readline())
        process.kill()
        process.wait()
        try:
            yield pid
        finally:
            with contextlib.suppress(ProcessLookupError):
                if pid:
                    os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize("child", ["none", "fork", "exec"])
def test_a_process_that_is_killed_leaves_its_places(opened, tmp_path, child):
    """A child has a copy of the open file for a moment."""
    locks = opened()
    with killed_holder(tmp_path / "data/concurrency", child):
        wait_until(lambda: locks.acquire("f", 3), 10)
        assert len(taken(locks, 3)) == 2


def test_a_child_that_was_given_the_descriptor_keeps_the_places_until_it_ends(opened, tmp_path):
    locks = opened()
    with killed_holder(tmp_path / "data/concurrency", "pass") as child:
        assert taken(locks, 3) == []
        os.kill(child, signal.SIGKILL)
        wait_until(lambda: locks.acquire("f", 3), 10)


def test_a_file_that_was_removed_is_replaced(opened, tmp_path, caplog):
    first, second = opened(), opened()
    [place, _] = taken(first, 2)
    (tmp_path / "data/concurrency").unlink()
    assert taken(first, 2) == []  # locks its places on a new file
    assert taken(second, 2) == []
    first.release(place)
    assert len(taken(second, 2)) == 1
    assert "was removed or replaced" in caplog.text


def test_without_such_locks_each_process_counts_its_own_places(opened, monkeypatch, caplog):
    monkeypatch.setattr(sys, "platform", "darwin")
    first, second = opened(), opened()
    assert [len(taken(first, 2)), len(taken(second, 2))] == [2, 2]
    assert "hold for each process" in caplog.text


def test_without_a_file_each_process_counts_its_own_places(opened):
    assert [len(taken(opened(None), 2)), len(taken(opened(None), 2))] == [2, 2]


def test_the_file_is_closed_with_the_last_place(opened, tmp_path):
    locks = opened()
    place = locks.acquire("f", 1)
    locks.close()
    assert len(open_files(tmp_path)) == 1
    locks.release(place)
    assert open_files(tmp_path) == []
