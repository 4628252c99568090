"""The file of events on a disk that fails, and after damage."""

import json
import os
import random
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from serverfull_wsgi.queues.store import Store
from tests.battery import SEED, share
from tests.failing_disk import CALLS, MOST
from tests.servers import ROOT, clean_environ
from tests.test_event_store import fill
from tests.tracing import needs_strace

pytest_plugins = ["tests.battery"]


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
        [*strace, *inject, sys.executable, "-m", "tests.failing_disk"],
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
