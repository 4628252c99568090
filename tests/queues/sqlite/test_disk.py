"""The event store on a disk that fails, and after damage."""

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
from tests.support.battery import SEED, share
from tests.support.event_store import claim, end, fill, payload, put
from tests.support.failing_disk import CALLS, MOST
from tests.support.servers import ROOT, clean_environ
from tests.support.tracing import needs_strace


@needs_strace
@pytest.mark.parametrize("error", ["EIO", "ENOSPC"])
def test_a_failed_write_or_sync_accepts_no_event_and_loses_none(error, tmp_path, battery):
    """A4: the n-th write or sync fails, of a new store and of an existing one, closed in order or not at all."""
    rng, existing = random.Random(SEED), tmp_path / "existing.sqlite3"
    fill(existing)
    cases = [
        {"path": str(tmp_path / f"{call}-{n}.sqlite3"), "call": call, "n": n, "closes": n // 2 % 2 == 0}
        for call in CALLS
        for n in rng.sample(range(1, MOST + 1), share(MOST, 4))
    ]
    for case in cases:
        if case["n"] % 2:
            shutil.copy(existing, case["path"])
    results = [(case, *_missing(case)) for case in _with_faults(cases, error)]
    battery.record(
        f"A4 {error} of the n-th write, of the n-th sync",
        cases=len(results),
        opens_refused=sum(not case["opened"] for case, *_ in results),
        writes_refused=sum(case["refused"] for case, *_ in results),
        nothing_noticed=sum(case["opened"] and not case["refused"] for case, *_ in results),
        accepted=sum(len(case["accepted"]) for case, *_ in results),
        false_202=sum(len(false) for _, false, _ in results),
        lost=sum(len(lost) for *_, lost in results),
    )
    assert len(results) == len(cases)
    assert [result for result in results if result[1] or result[2]] == []


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


def _missing(case):
    """Return the accepted events and the ended events that the store does not have."""
    path = Path(case["path"])
    Store(path, "tests").close()  # checks the whole file
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        states = dict(db.execute("SELECT request_id, state FROM event"))
    existing = {f"id-{number}" for number in range(20)} if case["n"] % 2 else set()
    return (
        sorted({*case["accepted"], *existing} - set(states)),
        sorted(id for id in case["ended"] if states.get(id) != "succeeded"),
    )


def test_a_damaged_store_is_refused_or_serves_committed_events_only(tmp_path, battery):
    """A6: bytes are changed, or the end is cut off, in the main file, its WAL, or the shared index of the WAL."""
    rng, intact = random.Random(SEED), _files(tmp_path / "whole.sqlite3")
    counts = {file: Counter(refused=0, served=0, set_aside=0, missing=0, wrong=0) for file in intact}
    for number in range(share(240, 60)):
        file = rng.choice(["", "", "", "-wal", "-wal", "-shm"])
        path = tmp_path / f"{number}.sqlite3"
        for name, content in intact.items():
            Path(f"{path}{name}").write_bytes(_damaged(content, rng) if name == file else content)
        counts[file].update(_served(path))
    for file, figures in counts.items():
        battery.record(f"A6 flips and truncations, events.sqlite3{file}", **figures)
    assert sum(figures["wrong"] for figures in counts.values()) == 0
    assert counts[""]["refused"]
    assert counts[""]["served"]
    assert counts[""]["missing"] == 0
    assert counts["-wal"]["refused"]
    assert +counts["-shm"] == Counter(served=counts["-shm"]["served"])


@pytest.mark.parametrize(
    ("offset", "message"),
    [
        (20, "the header of its -wal file is not valid"),
        (32 + 24 + 100, "commits in its -wal file follow a frame that is not valid"),
    ],
)
def test_damage_in_the_wal_is_reported_and_no_file_is_changed(offset, message, tmp_path):
    path, intact = tmp_path / "damaged.sqlite3", _files(tmp_path / "whole.sqlite3")
    log = bytearray(intact["-wal"])
    log[offset] ^= 0xFF
    for name, content in {**intact, "-wal": bytes(log)}.items():
        Path(f"{path}{name}").write_bytes(content)
    with pytest.raises(ConfigurationError, match=message):
        Store(path, "tests")
    assert Path(f"{path}-wal").read_bytes() == log


def test_an_incomplete_last_commit_is_ignored(tmp_path):
    path, intact = tmp_path / "torn.sqlite3", _files(tmp_path / "whole.sqlite3")
    for name, content in {**intact, "-wal": intact["-wal"][:-100]}.items():
        Path(f"{path}{name}").write_bytes(content)
    assert _served(path) == Counter(served=39, missing=1)


def _files(path):
    """Return the files of a store after a crash: half of its events are in the main file, half in the WAL."""
    fill(path)
    store = Store(path, "tests")
    for number in range(20, 40):
        put(store, f"id-{number}", payload(number))
    files = {name: Path(f"{path}{name}").read_bytes() for name in ("", "-wal", "-shm")}
    store.close()
    return files


def _served(path):
    """Open a damaged store, claim its 40 events, and return the number of each outcome."""
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


def _damaged(content, rng):
    if rng.random() < 0.2:
        return content[: rng.randrange(len(content))]
    offset = rng.randrange(len(content))
    return content[:offset] + bytes([content[offset] ^ rng.randrange(1, 256)]) + content[offset + 1 :]
