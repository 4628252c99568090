"""A store of objects writes under conditions, and a reader has the old object or the new one."""

import os
import stat
from pathlib import Path

import pytest

from serverfull_wsgi.errors import ConfigurationError
from serverfull_wsgi.registry import objects
from serverfull_wsgi.registry.objects import Busy, Changed, DirectoryStore, Missing, Stored
from serverfull_wsgi.storage.filesystems import file_system_of

pytestmark = pytest.mark.quick
KEY = "functions/hello"


@pytest.fixture
def store(tmp_path):
    return DirectoryStore(tmp_path / "registry")


def test_an_object_is_returned_as_it_was_written(store):
    assert store.get(KEY) is None
    assert store.etag(KEY) is None
    etag = store.put_new(KEY, b"one")
    assert store.get(KEY) == Stored(b"one", etag)
    assert store.etag(KEY) == etag
    assert store.list("functions") == {KEY: etag}
    assert store.list("code") == {}


def test_a_new_object_never_replaces_one(store):
    store.put_new(KEY, b"one")
    with pytest.raises(Changed):
        store.put_new(KEY, b"two")
    assert store.get(KEY).body == b"one"


def test_an_object_is_replaced_and_deleted_only_if_it_is_unchanged(store):
    first = store.put_new(KEY, b"one")
    second = store.replace(KEY, b"two", first)
    with pytest.raises(Changed):
        store.replace(KEY, b"three", first)
    with pytest.raises(Changed):
        store.delete(KEY, first)
    assert store.get(KEY).body == b"two"
    store.delete(KEY, second)
    assert store.get(KEY) is None
    with pytest.raises(Changed):
        store.replace(KEY, b"three", second)


def test_every_write_has_an_etag_and_a_stamp_of_its_own(store):
    """The clock of files ticks every some milliseconds, and numbers of deleted files are used again."""
    stamp = store.watch(KEY)
    assert stamp() is None
    etags, stamps = [store.put_new(KEY, b"same")], [stamp()]
    for _ in range(50):
        etags.append(store.replace(KEY, b"same", etags[-1]))
        stamps.append(stamp())
    assert len(set(etags)) == len(set(stamps)) == 51


def test_an_object_is_not_written_without_those_that_it_needs(store):
    with pytest.raises(Missing):
        store.put_new(KEY, b"one", needs=("code/a",))
    assert store.get(KEY) is None
    store.put_new("code/a", b"package")
    store.put_new(KEY, b"one", needs=("code/a",))


def test_a_failed_write_leaves_nothing(store):
    store.put_new(KEY, b"one")
    with pytest.raises(Changed):
        store.put_new(KEY, b"two")
    assert os.listdir(store.path / "functions") == ["hello"]


def test_only_this_user_can_read_the_objects(store):
    store.put_new(KEY, b"one")
    modes = {path: stat.S_IMODE(path.stat().st_mode) for path in [store.path, *store.path.rglob("*")]}
    assert {mode for path, mode in modes.items() if path.is_dir()} == {0o700}
    assert modes[store.path / KEY] == 0o600


@pytest.mark.parametrize(
    "key", ["functions/../lock", "functions/.hidden", "/etc/passwd", "functions/a/b", "functions/"]
)
def test_a_key_never_leaves_the_directory(store, key):
    with pytest.raises(ValueError, match="not a valid key"):
        store.put_new(key, b"")


def test_a_writer_does_not_wait_for_ever(store, monkeypatch):
    monkeypatch.setattr(objects, "LOCK_PATIENCE", 0.05)
    store.put_new(KEY, b"one")
    with store.locked():
        with pytest.raises(Busy):
            store.put_new("functions/other", b"")
    store.put_new("functions/other", b"")


MOUNTS = """\
22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
40 22 0:41 / /srv/shared\\040disk rw shared:9 - nfs4 server:/export rw
41 40 8:2 / /srv/shared\\040disk/local rw - xfs /dev/sdb1 rw
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/srv/registry", "ext4"),
        ("/srv/shared disk/registry", "nfs4"),
        ("/srv/shared disk/local/registry", "xfs"),
        ("/srv/shared disks", "ext4"),
    ],
)
def test_the_file_system_of_a_path_is_that_of_its_mount(tmp_path, path, kind):
    (tmp_path / "mounts").write_text(MOUNTS)
    assert file_system_of(Path(path), str(tmp_path / "mounts")) == kind


def test_a_network_file_system_is_refused(store, monkeypatch):
    monkeypatch.setattr(objects, "file_system_of", lambda path: "nfs4")
    with pytest.raises(ConfigurationError, match=r"network file system \(nfs4\).*local disk"):
        store.check()
