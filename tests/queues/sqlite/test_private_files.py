"""Other users of the machine cannot read the events, and git ignores them."""

import os
import shutil
import stat
import subprocess
from contextlib import closing

import pytest

from serverfull_wsgi import SqliteQueue
from serverfull_wsgi.queues.sqlite.store import Store
from tests.support.event_servers import EventServers
from tests.support.event_store import fill, put


def mode(path):
    return oct(stat.S_IMODE(path.stat().st_mode))


@pytest.mark.parametrize("mask", [0o000, 0o022, 0o077])
def test_only_the_server_can_read_a_new_store(tmp_path, mask):
    before = os.umask(mask)
    try:
        folder = tmp_path / "a/b"
        with closing(Store(folder / "events.sqlite3", "tests")) as store:
            put(store, "a")
            files = [file for file in folder.rglob("*") if file.is_file() and file.name != ".gitignore"]
            assert {file.name for file in files} >= {"events.sqlite3", "events.sqlite3-wal", "events.sqlite3-shm"}
            assert {mode(file) for file in files} == {"0o600"}
            assert {mode(file) for file in (folder, *folder.rglob("*")) if file.is_dir()} == {"0o700"}
    finally:
        os.umask(before)


def test_a_store_in_a_folder_of_the_user_is_private_and_the_folder_stays_as_it_is(tmp_path):
    tmp_path.chmod(0o755)
    fill(tmp_path / "events.sqlite3", 1)
    assert mode(tmp_path / "events.sqlite3") == "0o600"
    assert mode(tmp_path) == "0o755"
    assert not (tmp_path / ".gitignore").exists()
    assert SqliteQueue(tmp_path / "events.sqlite3").storage_warnings() == []


@pytest.mark.skipif(not shutil.which("git"), reason="needs git")
def test_git_ignores_a_new_data_directory(tmp_path):
    subprocess.run(["git", "init", "--quiet"], cwd=tmp_path, check=True)
    fill(tmp_path / ".serverfull/events.sqlite3", 1)
    status = subprocess.run(["git", "status", "--porcelain"], cwd=tmp_path, check=True, capture_output=True)
    assert status.stdout == b""


@pytest.fixture
def servers(tmp_path):
    servers = EventServers(tmp_path)
    fill(tmp_path / ".serverfull/events.sqlite3", 0)
    return servers


# The modes of the folder and of the file, and whether other users can read the events.
MODES = [
    (0o755, 0o644, True),
    (0o777, 0o666, True),
    (0o711, 0o604, True),
    (0o755, 0o640, False),
    (0o750, 0o644, False),
    (0o700, 0o644, False),
    (0o755, 0o600, False),
]


@pytest.mark.parametrize(("folder", "file", "is_readable"), MODES, ids=lambda value: str(value))
def test_a_store_that_others_can_read_is_found(servers, folder, file, is_readable):
    path = servers.folder / ".serverfull/events.sqlite3"
    path.chmod(file)
    path.parent.chmod(folder)
    assert bool(SqliteQueue(path).storage_warnings()) == is_readable


def test_the_start_and_the_check_warn_of_a_store_that_others_can_read(servers):
    path = servers.folder / ".serverfull/events.sqlite3"
    warning = f"run chmod o-rwx {path.parent} {path}"
    assert warning not in servers.command("check", SERVERFULL_EVENTS_OWNER="tests").stderr
    path.chmod(0o644)
    path.parent.chmod(0o755)
    result = servers.command("check", SERVERFULL_EVENTS_OWNER="tests")
    assert result.returncode == 0
    assert f"warning: other users of this machine can read the events in {path}" in result.stderr
    with servers.gunicorn("--workers", "2", SERVERFULL_EVENTS_OWNER="tests") as server:
        servers.accept("note")
        assert server.output().count(f"run chmod o-rwx {path.parent} {path}") == 1
