"""A child of `test_disk`, under a strace that makes the `MOST`-th pwrite64 or fdatasync of each process fail.

strace counts for each process anew, so a case is a fork that first makes so many of these calls on a file in memory
that the store's n-th is the one to fail. The cases come on standard input, one JSON a line; what each was told by its
store goes to standard output.
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
from tests.queues.sqlite.test_event_store import LEASE, SUCCEEDED, put

MOST = 300
ROUNDS = 330  # more than it takes to come to the 300th call of either kind
AFTER = 4  # rounds after the failure
CALLS = {"pwrite64": lambda fd: os.pwrite(fd, b"x", 0), "fdatasync": os.fdatasync}


def main():
    for line in sys.stdin:
        case = json.loads(line)
        if os.fork() == 0:
            said = run(case)
            os.write(1, json.dumps({**case, **said}).encode() + b"\n")
            os._exit(0)
        os.wait()


def run(case):
    said = {"accepted": [], "ended": [], "refused": 0, "opened": False}
    memory = os.memfd_create("calls")
    for _ in range(MOST - case["n"]):
        CALLS[case["call"]](memory)
    with suppress(ConfigurationError):
        store = Store(Path(case["path"]), "tests")
        said["opened"] = True
        use(store, said)
        if case["closes"]:
            store.close()
    return said


def use(store, said):
    """Accepts events and ends them, a little beyond the first failure; checkpoints come often."""
    store._db.execute("PRAGMA wal_autocheckpoint=20")
    last = ROUNDS
    for number in itertools.count():
        if number == last:
            return
        try:
            said["accepted"].append(put(store, f"new-{number}", b'"' + b"x" * 300 * (number % 9) + b'"'))
            event = store.write(lambda db: statements.claim(db, "one", store.now(), LEASE, 0.0), vital=True)
            if store.write(lambda db, event=event: statements.end(db, event, SUCCEEDED, store.now(), 0.0), vital=True):
                said["ended"].append(event.request_id)
        except StoreError:
            said["refused"] += 1
            last = min(last, number + AFTER)


if __name__ == "__main__":
    main()
