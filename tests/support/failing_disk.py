"""A child of `test_disk`, under a strace that makes the `MOST`-th pwrite64 or fdatasync of each process fail.

strace counts the calls of each process separately. So each case is a fork that first makes calls on a file in memory,
as many as it takes for the store's n-th call to be the one that fails. The cases are read from standard input, one JSON
object a line, and the results are written to standard output.
"""

import itertools
import json
import os
import sys
from contextlib import suppress
from pathlib import Path

from serverfull_wsgi import ConfigurationError
from serverfull_wsgi.queues.sqlite import statements
from serverfull_wsgi.queues.sqlite.store import Store
from serverfull_wsgi.storage.group_commit import StoreError
from tests.support.event_store import LEASE, SUCCEEDED, accept_and_run, put

MOST = 300
ROUNDS = 330  # more than enough for 300 calls of either kind
AFTER = 4  # rounds after the failure
CALLS = {"pwrite64": lambda fd: os.pwrite(fd, b"x", 0), "fdatasync": os.fdatasync}


def main():
    for line in sys.stdin:
        case = json.loads(line)
        if os.fork() == 0:
            result = run(case)
            os.write(1, json.dumps({**case, **result}).encode() + b"\n")
            os._exit(0)
        os.wait()


def run(case):
    result = {"accepted": [], "ended": [], "refused": 0, "opened": False}
    memory = os.memfd_create("calls")
    for _ in range(MOST - case["n"]):
        CALLS[case["call"]](memory)
    with suppress(ConfigurationError):
        store = Store(Path(case["path"]), "tests")
        result["opened"] = True
        use(store, result)
        if case["closes"]:
            store.close()
    return result


def use(store, result):
    """Accept events and end them, until a few rounds after the first failure. Checkpoints are frequent."""
    store.write(lambda db: db.execute("PRAGMA wal_autocheckpoint=20").fetchall())
    last = ROUNDS
    for number in itertools.count():
        if number == last:
            return
        try:
            if number % 3 == 0:
                accept_and_end_together(store, result, number)
            result["accepted"].append(put(store, f"new-{number}", b'"' + b"x" * 300 * (number % 9) + b'"'))
            event = store.write(lambda db: statements.claim(db, "one", store.now(), LEASE, 0.0), may_use_reserve=True)
            if store.write(end_of(store, event), may_use_reserve=True):
                result["ended"].append(event.request_id)
        except StoreError:
            result["refused"] += 1
            last = min(last, number + AFTER)


def accept_and_end_together(store, result, number):
    """Accept an event that runs at once. Its end is in the transaction of the next accept."""
    event = accept_and_run(store, f"run-{number}")
    result["accepted"].append(f"run-{number}")
    if event is None:  # after a failure older events are due
        return
    deferred = store.defer(end_of(store, event))
    try:
        result["accepted"].append(put(store, f"next-{number}"))
    finally:
        if store.finish(deferred):
            result["ended"].append(event.request_id)


def end_of(store, event):
    return lambda db: statements.end(db, event, SUCCEEDED, store.now(), 0.0)


if __name__ == "__main__":
    main()
