"""Packages of a registry are checked, unpacked once on a machine, verified by their hash, and read-only."""

import io
import os
import stat
import zipfile
from pathlib import Path

import pytest

from serverfull_wsgi.errors import InvalidParameterValueException, ServiceException
from tests.support.registry import code, deploy, registry_in, zipped_paths

pytestmark = pytest.mark.quick


@pytest.fixture
def registry(tmp_path):
    return registry_in(tmp_path)


def entry(path, mode, content=""):
    """Return an archive with one entry of a file mode."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        info = zipfile.ZipInfo(path)
        info.external_attr = mode << 16
        archive.writestr(info, content)
    return file


def bomb():
    """Return an archive whose directory states a file of 300 MB."""
    content = bytearray(zipped_paths({"zeros": "0"}).read())
    size = content.index(b"PK\1\2") + 24
    content[size : size + 4] = (300_000_000).to_bytes(4, "little")
    return io.BytesIO(content)


@pytest.mark.parametrize(
    ("archive", "reason"),
    [
        (lambda: zipped_paths({"../evil": ""}), "points outside the package"),
        (lambda: zipped_paths({"/etc/evil": ""}), "points outside the package"),
        (lambda: zipped_paths({"app.py": "", "APP.py": ""}), "'app.py' and 'APP.py' differ in case only"),
        (lambda: zipped_paths({"lib/a": "", "Lib/b": ""}), "'lib' and 'Lib' differ in case only"),
        (lambda: entry("link", stat.S_IFLNK | 0o777, "../../etc/passwd"), "points outside the package"),
        (lambda: entry("disk", stat.S_IFBLK | 0o600), "is not a file, a directory or a link"),
        (lambda: entry("pipe", stat.S_IFIFO | 0o600), "is not a file, a directory or a link"),
        (bomb, "Unzipped size must be smaller than 262144000 bytes"),
    ],
)
def test_an_archive_that_is_not_safe_is_refused_and_leaves_nothing(registry, tmp_path, archive, reason):
    with pytest.raises(InvalidParameterValueException, match=reason):
        registry.packages.add(archive())
    assert [path for path in tmp_path.rglob("*") if path.is_file() and path.suffix not in (".lock", "")] == []
    assert not (tmp_path / "registry").exists()


def test_a_package_is_unpacked_once_and_read_only(registry, tmp_path):
    deploy(registry)
    directory = Path(registry.packages.directory(registry.package("hello")))
    modes = [path.stat().st_mode & 0o222 for path in [directory, *directory.rglob("*")]]
    assert modes == [0, 0]
    again = registry_in(tmp_path).packages.directory(registry.package("hello"))
    assert again == str(directory)


def test_a_program_in_a_package_stays_executable(registry):
    package = registry.packages.add(entry("bootstrap", stat.S_IFREG | 0o755, "#!/bin/sh\n"))
    assert os.access(f"{registry.packages.directory(package.sha256)}/bootstrap", os.X_OK)


def test_a_damaged_package_is_not_unpacked(registry, tmp_path, capsys):
    deploy(registry)
    (stored,) = tmp_path.glob("registry/code/*")
    stored.write_bytes(code("another").read())
    other = registry_in(tmp_path, cache=tmp_path / "another-machine/packages")
    with pytest.raises(ServiceException):
        other.packages.directory(registry.package("hello"))
    assert list((tmp_path / "another-machine/packages").glob("v1-*")) == []


def test_a_lost_package_is_deployed_again(registry, tmp_path):
    deploy(registry)
    (stored,) = tmp_path.glob("registry/code/*")
    stored.unlink()
    registry.packages.add(code("one"))
    assert stored.exists()


def test_the_url_key_is_the_same_in_all_processes(registry, tmp_path):
    secret = registry.secret()
    assert len(secret) == 32
    assert registry_in(tmp_path).secret() == secret
    (file,) = (tmp_path / "registry/secrets").iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_an_unpacked_copy_is_removed_a_day_after_it_was_found_unused(registry, tmp_path):
    deploy(registry)
    directory = Path(registry.packages.directory(registry.package("hello")))
    old = directory.parent / f".idle-{registry.package('hello')}"
    assert registry.prune().unpacked == 0
    registry.delete_function("hello", None, "tester")
    assert registry.prune().unpacked == registry.prune().unpacked == 0
    for path in (old, directory):
        os.utime(path, (0, 0))
    assert registry.prune().unpacked == 1
    assert not directory.exists()
    assert not old.exists()
    deploy(registry)
    assert directory.is_dir()


def test_an_unpacked_copy_in_use_again_stays(registry):
    deploy(registry)
    directory = Path(registry.packages.directory(registry.package("hello")))
    registry.delete_function("hello", None, "tester")
    registry.prune()
    (old,) = directory.parent.glob(".idle-*")
    os.utime(old, (0, 0))
    deploy(registry)
    assert registry.prune().unpacked == 0
    assert directory.is_dir()
    assert list(directory.parent.glob(".idle-*")) == []
