"""The cache of unpacked archives: each is unpacked once, by one process, and is complete or absent."""

import os
import stat
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest

from serverfull_wsgi.storage.archives import ENTRY_LIMIT, BadPackage
from serverfull_wsgi.storage.package_cache import UNUSED, PackageCache
from serverfull_wsgi.storage.packages import Packages
from tests.support.servers import ROOT


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "data/packages"


@pytest.fixture
def archive(tmp_path):
    """Write an archive: ``archive(a="text")``; and return its path."""

    def write(**files):
        with zipfile.ZipFile(tmp_path / "code.zip", "w") as it:
            for name, text in files.items():
                it.writestr(name, text)
        return str(tmp_path / "code.zip")

    return write


def packages(cache):
    return Packages(PackageCache(cache))


def folders(cache):
    return [path.name for path in cache.iterdir() if path.is_dir()]


def test_a_later_process_uses_the_directory_of_the_first(cache, archive):
    path = archive(a="1")
    first = packages(cache).directory(path)
    Path(first, "mark").touch()
    assert packages(cache).directory(path) == first
    assert sorted(os.listdir(first)) == ["a", "mark"]


def test_another_content_has_another_directory(cache, archive):
    first = packages(cache).directory(archive(a="1"))
    second = packages(cache).directory(archive(a="2"))
    assert Path(first, "a").read_text() == "1"
    assert Path(second, "a").read_text() == "2"


def test_only_this_user_can_read_the_cache(cache, archive):
    packages(cache).directory(archive(a="1"))
    assert {stat.S_IMODE(path.stat().st_mode) for path in (cache, cache.parent, *cache.glob("v1-*"))} == {0o700}


UNPACK = """
import sys
from pathlib import Path
from serverfull_wsgi.storage.packages import Packages
from serverfull_wsgi.storage.package_cache import PackageCache
print(Packages(PackageCache(Path(sys.argv[1]))).directory(sys.argv[2]))
"""


def unpack_in_a_process(cache, path):
    """Return the directory of an archive that a process has unpacked before its end."""
    argv = [sys.executable, "-c", UNPACK, str(cache), path]
    return subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()


def test_processes_that_start_together_unpack_once(cache, archive):
    path = archive(**{f"f{n}": "x" for n in range(500)})
    argv = [sys.executable, "-c", UNPACK, str(cache), path]
    processes = [subprocess.Popen(argv, cwd=ROOT, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    printed = {process.communicate(timeout=60)[0].strip() for process in processes}
    assert printed == {str(cache / folders(cache)[0])}
    assert len(folders(cache)) == 1
    assert len(os.listdir(printed.pop())) == 500


def test_the_rest_of_a_killed_process_is_removed(cache, archive):
    packages(cache).directory(archive(a="1"))
    for rest in (".new-x", ".old-v1-x"):
        (cache / rest / "half").mkdir(parents=True)
    packages(cache).directory(archive(a="2"))
    assert not [name for name in folders(cache) if name.startswith(".")]


def test_a_refused_archive_leaves_nothing_in_the_cache(cache, tmp_path):
    with zipfile.ZipFile(tmp_path / "code.zip", "w") as it:
        it.writestr("good", "x")
        it.writestr("../evil", "x")
    with pytest.raises(BadPackage, match="points outside the package"):
        packages(cache).directory(str(tmp_path / "code.zip"))
    assert folders(cache) == []


def test_an_archive_that_has_not_been_used_for_a_week_is_removed(cache, archive):
    old = unpack_in_a_process(cache, archive(a="old"))
    recent = unpack_in_a_process(cache, archive(a="recent"))
    then = time.time() - UNUSED - 60
    os.utime(old, (then, then))
    packages(cache).directory(archive(a="new"))
    assert not os.path.exists(old)
    assert os.path.exists(recent)


def test_an_archive_that_another_process_uses_stays(cache, archive):
    user = packages(cache)
    used = user.directory(archive(a="old"))
    then = time.time() - UNUSED - 60
    os.utime(used, (then, then))
    packages(cache).directory(archive(a="new"))
    assert os.path.exists(used)
    assert user.directory(archive(a="old")) == used


@pytest.mark.parametrize("mode", [0o777, 0o770])
def test_a_cache_to_which_others_can_write_is_not_used(cache, archive, mode):
    path = archive(a="1")
    packages(cache).directory(path)
    cache.chmod(mode)
    assert not packages(cache).directory(path).startswith(str(cache))


def test_a_cache_that_creates_no_files_has_only_the_archives_of_others(cache, archive):
    path = archive(a="1")
    looking = Packages(PackageCache(cache, may_create=False))
    assert not looking.directory(path).startswith(str(cache))
    assert not cache.exists()
    kept = packages(cache).directory(path)
    assert Packages(PackageCache(cache, may_create=False)).directory(path) == kept


def test_a_cache_that_is_not_a_directory_is_replaced_by_a_private_one(tmp_path, archive):
    (tmp_path / "data").touch()
    assert os.listdir(packages(tmp_path / "data/packages").directory(archive(a="1"))) == ["a"]


# The limit of entries


def many(path, count, comment=b""):
    """Write an archive with this number of empty entries, quickly."""
    with zipfile.ZipFile(path, "w") as it:
        for n in range(count):
            it.writestr(zipfile.ZipInfo(f"d/{n}"), "")
        it.comment = comment
    return str(path)


@pytest.mark.parametrize(("count", "comment"), [(ENTRY_LIMIT + 1, b""), (ENTRY_LIMIT + 1, b"a comment")])
def test_an_archive_with_too_many_entries_is_refused(tmp_path, count, comment):
    path = many(tmp_path / "code.zip", count, comment)
    with pytest.raises(BadPackage, match="it has more than 65,535 entries; remove files from it"):
        Packages().directory(path)


def test_the_number_that_the_archive_states_is_not_trusted(tmp_path):
    path = Path(many(tmp_path / "code.zip", ENTRY_LIMIT + 1))
    content = bytearray(path.read_bytes())
    end = content.rfind(b"PK\5\6")
    content[end - 76 + 24 : end - 76 + 40] = (1).to_bytes(8, "little") * 2  # ZIP64's numbers of entries
    path.write_bytes(content)
    with pytest.raises(BadPackage, match="it has more than 65,535 entries"):
        Packages().directory(str(path))


@pytest.mark.parametrize("comment", [b"", b"a comment"])
def test_the_entries_of_a_small_archive_are_counted_with_any_comment(tmp_path, comment):
    assert len(os.listdir(f"{Packages().directory(many(tmp_path / 'code.zip', 7, comment))}/d")) == 7
