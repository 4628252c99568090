"""The file of events on a disk that fails, and after damage."""

import json
import os
import random
import shutil
import sqlite3
import subprocess
import sys
from collections import Counter
from contextlib import closing, suppress
from pathlib import Path

import pytest

from serverfull_wsgi import ConfigurationError
from serverfull_wsgi.queues.sqlite.store import Store
from serverfull_wsgi.storage.group_commit import StoreError
from tests.queues.sqlite.test_event_store import claim, end, fill, payload, put
from tests.support.battery import SEED, share
from tests.support.failing_disk import CALLS, MOST
from tests.support.servers import ROOT, clean_environ
from tests.support.tracing import needs_strace


@needs_strace
@pytest.mark.parametrize("error", ["EIO", "ENOSPC"])
def test_a_write_or_sync_that_fails_accepts_nothing_and_loses_nothing(error, tmp_path, battery):
    """A4: the n-th of either, of a new store and of one that was there, closed well or not at all."""
    rng, there = random.Random(SEED), tmp_path / "there.sqlite3"
    fill(there)
    cases = [
        {"path": str(tmp_path / f"{call}-{n}.sqlite3"), "call": call, "n": n, "closes": n // 2 % 2 == 0}
        for call in CALLS
        for n in rng.sample(range(1, MOST + 1), share(MOST, 4))
    ]
    for case in cases:
        if case["n"] % 2:
            shutil.copy(there, case["path"])
    told = [(case, *_left(case)) for case in _with_faults(cases, error)]
    battery.record(
        f"A4 {error} of the n-th write, of the n-th sync",
        cases=len(told),
        opens_refused=sum(not case["opened"] for case, *_ in told),
        writes_refused=sum(case["refused"] for case, *_ in told),
        nothing_noticed=sum(case["opened"] and not case["refused"] for case, *_ in told),
        accepted=sum(len(case["accepted"]) for case, *_ in told),
        false_202=sum(len(false) for _, false, _ in told),
        lost=sum(len(lost) for *_, lost in told),
    )
    assert len(told) == len(cases)
    assert [found for found in told if found[1] or found[2]] == []


def _with_faults(cases, error):
    calls = ",".join(CALLS)
    strace = ["strace", "-f", "--seccomp-bpf", "-qq", "-o", os.devnull, "-e", f"trace={calls}"]
    inject = ["-e", f"inject={calls}:error={error}:when={MOST}"]
    child = subprocess.run(
        [*strace, *inject, sys.executable, "-m", "tests.support.failing_disk"],
        input="".join(json.dumps(case) + "\n" for case in cases),
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=clean_environ(),
        check=False,
    )
    assert child.returncode == 0, child.stderr
    return [json.loads(line) for line in child.stdout.splitlines()]


def _left(case):
    """What the store does not have though it said so: events, and ends of events."""
    path = Path(case["path"])
    Store(path, "tests").close()  # which reads all of it
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        found = dict(db.execute("SELECT request_id, state FROM event"))
    there = {f"id-{number}" for number in range(20)} if case["n"] % 2 else set()
    return (
        sorted({*case["accepted"], *there} - set(found)),
        sorted(id for id in case["ended"] if found.get(id) != "succeeded"),
    )


def test_a_damaged_store_is_refused_or_serves_what_was_committed(tmp_path, battery):
    """A6: bytes flipped, and ends cut off, in the main file, its WAL, or the index of the WAL that processes share."""
    rng, whole = random.Random(SEED), _files(tmp_path / "whole.sqlite3")
    found = {file: Counter(refused=0, served=0, set_aside=0, missing=0, wrong=0) for file in whole}
    for number in range(share(240, 60)):
        file = rng.choice(["", "", "", "-wal", "-wal", "-shm"])
        path = tmp_path / f"{number}.sqlite3"
        for name, content in whole.items():
            Path(f"{path}{name}").write_bytes(_damaged(content, rng) if name == file else content)
        found[file].update(_served(path))
    for file, counts in found.items():
        battery.record(f"A6 flips and truncations, events.sqlite3{file}", **counts)
    assert sum(counts["wrong"] for counts in found.values()) == 0
    assert found[""]["refused"]
    assert found[""]["served"]
    assert found[""]["missing"] == 0
    assert found["-wal"]["refused"]
    assert +found["-shm"] == Counter(served=found["-shm"]["served"])


@pytest.mark.parametrize(
    ("place", "what"),
    [
        (20, "the header of its -wal file is not valid"),
        (32 + 24 + 100, "commits in its -wal file follow a frame that is not valid"),
    ],
)
def test_damage_inside_the_wal_is_told_and_nothing_is_changed(place, what, tmp_path):
    path, whole = tmp_path / "damaged.sqlite3", _files(tmp_path / "whole.sqlite3")
    log = bytearray(whole["-wal"])
    log[place] ^= 0xFF
    for name, content in {**whole, "-wal": bytes(log)}.items():
        Path(f"{path}{name}").write_bytes(content)
    with pytest.raises(ConfigurationError, match=what):
        Store(path, "tests")
    assert Path(f"{path}-wal").read_bytes() == log


def test_a_commit_that_was_cut_off_is_left_out(tmp_path):
    path, whole = tmp_path / "torn.sqlite3", _files(tmp_path / "whole.sqlite3")
    for name, content in {**whole, "-wal": whole["-wal"][:-100]}.items():
        Path(f"{path}{name}").write_bytes(content)
    assert _served(path) == Counter(served=39, missing=1)


def _files(path):
    """A store of which half is in the main file and half in the WAL, as a crash leaves it."""
    fill(path)
    store = Store(path, "tests")
    for number in range(20, 40):
        put(store, f"id-{number}", payload(number))
    found = {name: Path(f"{path}{name}").read_bytes() for name in ("", "-wal", "-shm")}
    store.close()
    return found


def _served(path):
    """What became of the 40 events of a damaged store."""
    counts = Counter()
    try:
        store = Store(path, "tests")
    except ConfigurationError:
        return Counter(refused=1)
    with closing(store), suppress(StoreError):
        while event := claim(store):
            counts["set_aside" if event.is_damaged else "served"] += 1
            counts["wrong"] += not event.is_damaged and payload(int(event.request_id[3:])) != event.payload
            end(store, event)
    counts["missing"] = 40 - counts["served"] - counts["set_aside"]
    return counts


def _damaged(whole, rng):
    if rng.random() < 0.2:
        return whole[: rng.randrange(len(whole))]
    place = rng.randrange(len(whole))
    return whole[:place] + bytes([whole[place] ^ rng.randrange(1, 256)]) + whole[place + 1 :]
