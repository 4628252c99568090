"""Opening a store, and a store on a full disk, in a deleted directory and in a fork."""

import functools
import os
import shutil
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing

import pytest

from serverfull_wsgi import (
    Application,
    ConfigurationError,
    EventConfig,
    Invocation,
    ServiceException,
    SqliteQueue,
    StaticFetcher,
)
from serverfull_wsgi.queues.sqlite import admin, schema, statements
from serverfull_wsgi.queues.sqlite.store import Store
from serverfull_wsgi.storage.group_commit import StoreError
from serverfull_wsgi.storage.locks import FileLock
from tests.support.event_store import NAME, claim, end, fill, fill_quickly, put, states
from tests.support.handlers import hello
from tests.support.servers import ROOT, clean_environ


def test_a_store_of_an_older_version_is_migrated_and_one_of_a_newer_version_refused(tmp_path, monkeypatch):
    path = tmp_path / "events.sqlite3"
    fill(path, 1)
    with monkeypatch.context() as patch:
        patch.setattr(schema, "MIGRATIONS", (*schema.MIGRATIONS, "ALTER TABLE event ADD COLUMN note TEXT"))
        with closing(Store(path, "tests")) as store:
            assert store.read(lambda db: db.execute("SELECT note FROM event").fetchall()) == [(None,)]
    with pytest.raises(
        ConfigurationError,
        match=r"has version 6, and this serverfull-wsgi reads versions up to 5; run the serverfull-wsgi",
    ):
        Store(path, "tests")


def test_a_start_without_changes_does_not_wait_for_the_disk(tmp_path):
    path = tmp_path / "events.sqlite3"
    fill(path, 1)
    with closing(Store(path, "tests")):
        assert (tmp_path / "events.sqlite3-wal").stat().st_size == 0


def test_a_long_command_outlasts_a_store_that_is_busy(tmp_path):
    fill_quickly(tmp_path / "events.sqlite3", "failed", 3)
    with closing(Store(tmp_path / "events.sqlite3")) as store:
        gate = FileLock(store.locks / "writing")
        assert gate.acquire()
        threading.Timer(1.5, gate.close).start()  # longer than a write waits
        redriven = functools.partial(admin.redrive_failed, last=3, now=store.now())
        assert admin.change_all(store, redriven, lambda count: None) == 3
        assert set(states(store).values()) == {"queued"}


def test_a_store_of_another_application_is_refused_while_it_has_events_or_is_in_use(tmp_path):
    path = tmp_path / "events.sqlite3"
    fill(path, 1)
    with pytest.raises(ConfigurationError, match=r"belongs to the application 'tests' and has 1 of its events"):
        Store(path, "another")
    with closing(Store(path, "tests")) as store:
        end(store, claim(store))
        with pytest.raises(ConfigurationError, match=r"belongs to the application 'tests' and is in use"):
            Store(path, "another")
    Store(path, "another").close()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is damaged (the file is empty). Nothing was started"),
        (b"This is a text and not a database. " * 100, "is damaged (file is not a database). Nothing was started"),
    ],
)
def test_a_file_that_is_not_a_store_is_refused_and_not_changed(tmp_path, content, message):
    path = tmp_path / "events.sqlite3"
    path.write_bytes(content)
    with pytest.raises(ConfigurationError) as caught:
        Store(path, "tests")
    assert message in str(caught.value)
    assert path.read_bytes() == content


def test_an_sqlite_file_that_is_not_a_store_is_refused(tmp_path):
    path = tmp_path / "events.sqlite3"
    with closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE mine (x)")
    with pytest.raises(ConfigurationError, match="is an SQLite file, but not an event store"):
        Store(path, "tests")


def test_a_store_without_its_main_file_is_refused(tmp_path):
    (tmp_path / "events.sqlite3-wal").write_bytes(b"frames")
    with pytest.raises(ConfigurationError, match="does not exist, but its -wal file does"):
        Store(tmp_path / "events.sqlite3", "tests")


def test_the_error_for_a_directory_that_cannot_be_created_names_the_setting(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ConfigurationError, match="set SERVERFULL_DATA_DIR to a directory"):
        Store(tmp_path / "file/events.sqlite3", "tests")


# A limit on the size of files simulates a full disk.
FULL = """
import resource, signal, sys
from pathlib import Path
from tests.support.event_store import put, claim, end, states
from serverfull_wsgi.storage.group_commit import StoreError
from serverfull_wsgi.queues.sqlite.store import Store
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
store = Store(Path(sys.argv[1]), "tests")
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), resource.RLIM_INFINITY))
accepted, refused = [], 0
for number in range(60):
    try:
        accepted.append(put(store, f"id-{number}", b'"' + b"x" * 20_000 + b'"'))
    except StoreError:
        refused += 1
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
assert refused, "the limit was never reached"
put(store, "after")
assert sorted(states(store)) == sorted([*accepted, "after"]), "not the accepted events"
while event := claim(store):
    assert not event.is_damaged
    assert end(store, event)
print(len(accepted), refused)
"""


@pytest.mark.parametrize("limit", [300_000, 500_000, 800_000])
def test_events_on_a_full_disk_are_refused_and_accepted_ones_are_kept(tmp_path, limit, battery):
    argv = [sys.executable, "-c", FULL, str(tmp_path / "events.sqlite3"), str(limit)]
    child = subprocess.run(argv, capture_output=True, text=True, cwd=ROOT, env=clean_environ(), check=False)
    assert child.returncode == 0, child.stderr
    accepted, refused = map(int, child.stdout.split())
    battery.record(f"A4 no file over {limit} bytes", accepted=accepted, refused=refused, false_202=0, lost=0)


def test_the_reserve_is_released_for_results_only(store):
    attempts = []

    def write_on_full_disk(db):
        attempts.append(store.reserve.is_held())
        if store.reserve.is_held():
            db.execute("PRAGMA max_page_count=1")  # SQLite then reports a full disk
        else:
            db.execute("PRAGMA max_page_count=4294967294")
        return statements.insert(db, Invocation(NAME, b"x" * 100_000, "a"), EventConfig(), "", 1.0, 1.0)

    with pytest.raises(StoreError, match="full"):
        store.write(write_on_full_disk)
    assert store.write(write_on_full_disk, may_use_reserve=True).request_id == "a"
    assert attempts == [True, True, False]
    store.reserve.acquire()
    assert store.reserve.is_held()


def test_a_directory_that_was_deleted_refuses_events_with_a_line_in_the_log(tmp_path, caplog):
    queue = SqliteQueue(tmp_path / "data/events.sqlite3")
    application = Application(StaticFetcher({"hello": hello}), queue=queue)
    application.start()
    shutil.rmtree(tmp_path / "data")
    with closing(application), pytest.raises(ServiceException, match="could not be stored"):
        application.dispatcher.accept(Invocation(NAME, b"1", "an id"))
    assert f"the files of the event store {queue.path} were moved, removed or replaced" in caplog.text


def test_a_fork_can_neither_write_nor_keep_a_lock(store):
    lock = FileLock(store.locks / "another")
    assert lock.acquire()
    pid = os.fork()
    if pid == 0:
        is_refused = False
        try:
            put(store, "from the child")
        except StoreError:
            is_refused = not lock.is_held
        os._exit(0 if is_refused else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert lock.is_held
    lock.close()


@pytest.mark.parametrize("name", ["a b", "a?b=c&mode=memory", "a#b", "a%20b", "é", "'\""])
def test_a_store_is_written_and_read_at_a_path_with_special_characters(tmp_path, name):
    with closing(Store(tmp_path / name / f"{name}.sqlite3", "tests")) as store:
        put(store, "a")
        assert states(store) == {"a": "queued"}
