"""A store's files are moved, removed or replaced under a running server: no event gets a 202 and is then lost."""

import contextlib
import os
import random
import shutil
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest

from serverfull_wsgi import Application, ServiceException, SqliteQueue, StaticFetcher
from serverfull_wsgi.queues.sqlite import schema
from tests.support.battery import SEED, share
from tests.support.event_servers import GTHREAD, EventServers
from tests.support.event_store import NAME, Invocation, fill
from tests.support.handlers import hello
from tests.support.processes import children
from tests.support.waiting import wait_until


def remove_files(folder):
    for file in folder.glob("events.sqlite3*"):
        if file.is_file():
            file.unlink()


def remove_store(folder):
    (folder / "events.sqlite3").unlink()


def remove_log(folder):
    (folder / "events.sqlite3-wal").unlink()


def remove_index(folder):
    (folder / "events.sqlite3-shm").unlink()


def remove_folder(folder):
    while folder.exists():  # the server may make its reserve again while the folder is being removed
        shutil.rmtree(folder, ignore_errors=True)


def move_folder(folder):
    folder.rename(f"{folder}.old")


def move_folder_and_make_another(folder):
    move_folder(folder)
    folder.mkdir()


def replace_by_copy(folder):
    shutil.copy(folder / "events.sqlite3", folder / "copy")
    (folder / "copy").rename(folder / "events.sqlite3")


def replace_folder_by_copy(folder):
    move_folder(folder)
    shutil.copytree(f"{folder}.old", folder)


LOSSES = [
    remove_files,
    remove_store,
    remove_log,
    remove_index,
    remove_folder,
    move_folder,
    move_folder_and_make_another,
    replace_by_copy,
    replace_folder_by_copy,
]


@contextlib.contextmanager
def running(folder):
    application = Application(StaticFetcher({"hello": hello}), queue=SqliteQueue(folder / "events.sqlite3"))
    application.start()
    with closing(application):
        yield application


def accept(application, id):
    return application.dispatcher.accept(Invocation(NAME, b"1", id))


def errors(caplog):
    return [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]


@pytest.mark.parametrize("lose", LOSSES, ids=lambda lose: lose.__name__)
def test_events_are_refused_with_one_error_after_the_files_were_lost(tmp_path, caplog, lose):
    folder = tmp_path / "data"
    with running(folder) as application:
        accept(application, "before")
        wait_until(lambda: application.queue.event("before")["state"] == "succeeded")
        lose(folder)
        for number in range(5):
            with pytest.raises(ServiceException, match="could not be stored"):
                accept(application, f"after-{number}")
        (error,) = errors(caplog)
    assert "were moved, removed or replaced while this server had them open" in error


@pytest.mark.parametrize("lose", [remove_store, remove_log, replace_by_copy], ids=lambda lose: lose.__name__)
def test_files_that_are_lost_while_the_store_is_opened_are_noticed(tmp_path, monkeypatch, caplog, lose):
    folder = tmp_path / "data"
    fill(folder / "events.sqlite3", 1)
    connect = schema.connect

    def connect_and_lose(path):
        db = connect(path)
        db.execute("SELECT * FROM about").fetchone()  # opens the file
        if not (folder / "lost").exists():
            lose(folder)
            (folder / "lost").touch()
        return db

    monkeypatch.setattr(schema, "check", lambda *_, **__: None)
    monkeypatch.setattr(schema, "connect", connect_and_lose)
    with running(folder) as application:
        with pytest.raises(ServiceException, match="could not be stored"):
            accept(application, "after")
        assert len(errors(caplog)) == 1


def test_events_are_accepted_again_once_the_folder_is_back(tmp_path, caplog):
    folder = tmp_path / "data"
    with running(folder) as application:
        move_folder(folder)
        with pytest.raises(ServiceException):
            accept(application, "lost")
        (tmp_path / "data.old").rename(folder)
        accept(application, "found")
        wait_until(lambda: application.queue.event("found")["state"] == "succeeded")
    assert "are back: events are accepted again" in caplog.text


def test_a_folder_behind_a_link_is_lost_if_the_link_leads_to_another_folder(tmp_path, caplog):
    (tmp_path / "first").mkdir()
    (tmp_path / "second").mkdir()
    folder = tmp_path / "data"
    folder.symlink_to(tmp_path / "first")
    with running(folder) as application:
        accept(application, "before")
        folder.unlink()
        folder.symlink_to(tmp_path / "second")
        with pytest.raises(ServiceException):
            accept(application, "after")
        assert len(errors(caplog)) == 1


@pytest.mark.parametrize("lose", LOSSES, ids=lambda lose: lose.__name__)
def test_no_event_gets_a_202_after_the_files_were_lost_under_load(tmp_path, battery, lose):
    """A14."""
    rng, late, accepted = random.Random(SEED), 0, 0
    for round in range(share(20, 1)):
        folder = tmp_path / str(round)
        folder.mkdir()
        servers = EventServers(folder)
        with servers.gunicorn("--workers", "2", *GTHREAD) as server:
            before, after = under_load(servers, lose, rng.uniform(0.1, 1))
            kill(server)
        late += len(after)
        accepted += len(before)
    battery.record(f"A14 {lose.__name__} under load", accepted_before=accepted, false_202=late)
    assert accepted > 0
    assert late == 0


def under_load(servers, lose, seconds):
    """Send events from four threads and call ``lose`` after ``seconds``.

    Return the request ids of the 202s to events that were sent before the call, and after its end.
    """
    is_lost, stop = threading.Event(), threading.Event()

    def client(_):
        before, after = [], []
        while not stop.is_set():
            ids = after if is_lost.is_set() else before
            if (answer := servers.send("note", 1)) and answer[0] == 202:
                ids.append(answer[1])
        return before, after

    with ThreadPoolExecutor(4) as pool:
        clients = [pool.submit(client, number) for number in range(4)]
        try:
            wait_until(lambda: servers.noted("ran"))
            wait_until(lambda: len(list(servers.folder.glob(".serverfull/*.locks/owners/*"))) == 2)  # both have it open
            stop.wait(seconds)
            lose(servers.folder / ".serverfull")
            is_lost.set()
            stop.wait(0.5)
        finally:
            stop.set()
        answers = [client.result() for client in clients]
    return [id for before, _ in answers for id in before], [id for _, after in answers for id in after]


def kill(server):
    for pid in (server.process.pid, *children(server.process.pid)):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    server.process.wait()
