"""Code packages: valid archives are unpacked, hostile and damaged ones are refused."""

import os
import stat
import struct
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serverfull_wsgi.fetchers.sam.fetcher import SamFetcher
from serverfull_wsgi.storage.archives import UNZIPPED_LIMIT, BadPackage
from serverfull_wsgi.storage.packages import Packages
from tests.support.servers import ROOT

pytestmark = pytest.mark.quick

LINK, FIFO, DEVICE = stat.S_IFLNK | 0o777, stat.S_IFIFO | 0o644, stat.S_IFCHR | 0o644


@pytest.fixture(autouse=True)
def private(tmp_path, monkeypatch):
    """Return a private temporary directory, so that a test can see the files left in it."""
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    return tmp_path / "tmp"


def packed(folder, *entries, name="code.zip"):
    """Write an archive with entries ``(path, content, mode)``, also such as `zipfile` itself would refuse to write."""
    with zipfile.ZipFile(folder / name, "w") as archive:
        for path, content, mode in entries:
            info = zipfile.ZipInfo("placeholder")
            info.filename = path
            info.external_attr = mode << 16 | 0x20  # without this bit zipfile changes 0 to 0o600
            archive.writestr(info, content, zipfile.ZIP_DEFLATED)
    return str(folder / name)


def remaining(private):
    """Return every file and link below the temporary directory."""
    return [name for _, folders, files in os.walk(private) for name in files + [f for f in folders if "." in f]]


def test_a_directory_is_used_as_it_is(tmp_path, private):
    assert Packages().directory(str(tmp_path)) == str(tmp_path)
    assert remaining(private) == []


def test_an_archive_is_unpacked_with_its_permissions(tmp_path):
    packages = Packages()
    path = packed(
        tmp_path,
        ("bootstrap", "#!/bin/sh\n", 0o755 | stat.S_IFREG),
        ("package/module.py", "x = 1", 0o644),
        ("secret", "", 0o040),
        ("setuid", "", 0o4755),
        ("windows.txt", "", 0),
        ("./dotted/a..b", "", 0o644),
        ("empty/", "", 0o755 | stat.S_IFDIR),
    )
    folder = packages.directory(path)
    mode = {name: stat.S_IMODE(os.stat(f"{folder}/{name}").st_mode) for name in os.listdir(folder)}
    assert mode["bootstrap"] == mode["setuid"] == 0o755
    assert mode["secret"] == 0o640
    assert mode["windows.txt"] == 0o644
    assert Path(folder, "package/module.py").read_text() == "x = 1"
    assert os.listdir(f"{folder}/dotted") == ["a..b"]
    assert os.listdir(f"{folder}/empty") == []
    assert packages.directory(path) == folder


def test_only_this_user_can_read_the_directory(tmp_path):
    folder = Packages().directory(packed(tmp_path, ("a", "", 0o666)))
    assert stat.S_IMODE(os.stat(folder).st_mode) == stat.S_IMODE(os.stat(os.path.dirname(folder)).st_mode) == 0o700


def test_links_inside_the_package_are_kept(tmp_path):
    path = packed(tmp_path, ("bin/run", "../lib/run.js", LINK), ("lib/run.js", "it", 0o644), ("gone", "nowhere", LINK))
    folder = Packages().directory(path)
    assert Path(folder, "bin/run").read_text() == "it"
    assert os.readlink(f"{folder}/gone") == "nowhere"


CURE = "pack it again without this entry"
HOSTILE = {
    "parent": ([("../evil", "", 0o644)], "'../evil' points outside the package"),
    "parent inside": ([("a/../../evil", "", 0o644)], "'a/../../evil' points outside the package"),
    "absolute": ([("/etc/evil", "", 0o644)], "'/etc/evil' points outside the package"),
    "backslashes": ([("..\\evil", "", 0o644)], "'..\\\\evil' points outside the package"),
    "drive": ([("C:evil", "", 0o644)], "'C:evil' points outside the package"),
    "share": ([("\\\\host\\evil", "", 0o644)], "'\\\\\\\\host\\\\evil' points outside the package"),
    "link to the root": ([("a", "/", LINK)], "the link 'a' points outside the package"),
    "link to a parent": ([("a", "..", LINK)], "the link 'a' points outside the package"),
    "link that looks inside": (
        [("d/e/a", "../..", LINK), ("b", "d/e/a/..", LINK)],
        "the link 'b' points outside the package",
    ),
    "through a link": ([("a", "/tmp", LINK), ("a/evil", "x", 0o644)], "'a/evil' is inside a link"),
    "through a link before it": ([("a/evil", "x", 0o644), ("a", "/tmp", LINK)], "'a/evil' is inside a link"),
    "link through a link": ([("a", "b", LINK), ("a/evil", "x", LINK)], "'a/evil' is inside a link"),
    "twice": ([("a", "/tmp", LINK), ("./a", "x", 0o644)], "two entries have the path 'a'"),
    "file and folder": ([("a", "x", 0o644), ("a/", "", stat.S_IFDIR | 0o755)], "two entries have the path 'a'"),
    "long link": ([("a", "x" * 5000, LINK)], "'a' is too long for a link"),
    "fifo": ([("a", "", FIFO)], "'a' is not a file, a directory or a link"),
    "device": ([("a", "", DEVICE)], "'a' is not a file, a directory or a link"),
}


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_archive_is_refused_and_leaves_no_files(tmp_path, private, name):
    entries, reason = HOSTILE[name]
    with pytest.raises(BadPackage) as caught:
        Packages().directory(packed(tmp_path, *entries))
    assert str(caught.value) == f"{reason}; {CURE}"
    assert remaining(private) == []
    assert sorted(os.listdir(tmp_path)) == ["code.zip", "tmp"]


def test_an_archive_over_awss_limit_is_refused_before_a_file_is_written(tmp_path, private):
    half = bytes(UNZIPPED_LIMIT // 2)
    path = packed(tmp_path, ("a", half, 0o644), ("b", half, 0o644), ("c", "x", 0o644))
    assert os.path.getsize(path) < 1_000_000
    with pytest.raises(BadPackage, match="over AWS's limit of 262,144,000 bytes; remove files from it"):
        Packages().directory(path)
    assert remaining(private) == []


def overlapping(folder, count=100):
    """Write a zip bomb: ``count`` entries in the central directory, all with the same bytes."""
    path = packed(folder, ("a", bytes(1000), 0o644))
    data = Path(path).read_bytes()
    start = data.index(b"PK\x01\x02")
    end = data.index(b"PK\x05\x06")
    entry = data[start:end]
    entries = b"".join(entry[:46] + f"{n:x}"[-1].encode() + entry[47:] for n in range(count))
    tail = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, count, count, len(entries), start, 0)
    Path(path).write_bytes(data[:start] + entries + tail)
    return path


def test_entries_that_share_their_bytes_are_refused(tmp_path, private):
    with pytest.raises(BadPackage, match="overlap"):
        Packages().directory(overlapping(tmp_path, 10))
    assert remaining(private) == []


def test_an_encrypted_archive_is_refused(tmp_path):
    path = packed(tmp_path, ("a", "x", 0o644))
    data = bytearray(Path(path).read_bytes())
    data[data.index(b"PK\x01\x02") + 8] |= 1
    Path(path).write_bytes(data)
    with pytest.raises(BadPackage, match=f"'a' is encrypted; {CURE}"):
        Packages().directory(path)


@pytest.mark.parametrize("content", [b"", b"no archive", b"PK\x05\x06" + bytes(17)])
def test_a_file_that_is_not_an_archive_is_refused(tmp_path, content):
    (tmp_path / "code.zip").write_bytes(content)
    with pytest.raises(BadPackage, match=r"not a valid zip archive: .*; pack it again"):
        Packages().directory(str(tmp_path / "code.zip"))


def test_an_archive_with_damaged_contents_is_refused_and_leaves_no_files(tmp_path, private):
    path = packed(tmp_path, ("fine", "x", 0o644), ("damaged", os.urandom(1000), 0o644))
    data = bytearray(Path(path).read_bytes())
    data[600] ^= 0xFF
    Path(path).write_bytes(data)
    with pytest.raises(BadPackage, match="; pack it again"):
        Packages().directory(path)
    assert remaining(private) == []


def test_a_path_that_is_both_a_file_and_a_directory_is_refused(tmp_path):
    with pytest.raises(BadPackage, match=r"the archive cannot be unpacked: .*; pack it again"):
        Packages().directory(packed(tmp_path, ("a", "x", 0o644), ("a/b", "x", 0o644)))


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_an_archive_with_any_bytes_changed_is_unpacked_or_refused(tmp_path_factory, data):
    folder = tmp_path_factory.getbasetemp()
    path = packed(folder, ("a/b", "text" * 9, 0o644), ("c", "a/b", LINK), ("d/", "", 0o755 | stat.S_IFDIR))
    content = bytearray(Path(path).read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    Path(path).write_bytes(content)
    packages = Packages()
    try:
        root = packages.directory(path)
    except BadPackage:
        return
    for where, _, files in os.walk(root):
        assert all(os.path.realpath(os.path.join(where, name)).startswith(os.path.realpath(root)) for name in files)


def test_a_template_reports_a_hostile_archive(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    packed(tmp_path, ("../evil", "", 0o644), name="evil.zip")
    properties = "{Code: evil.zip, Handler: a.b, Runtime: python3.12}"
    (tmp_path / "template.yaml").write_text(
        f"Resources:\n  F: {{Type: AWS::Lambda::Function, Properties: {properties}}}"
    )
    assert SamFetcher("template.yaml").problems() == [
        "template.yaml:2: F.Code: 'evil.zip' cannot be used: '../evil' points outside the package; "
        "pack it again without this entry"
    ]


def test_a_layer_may_be_an_archive(tmp_path):
    packed(tmp_path, ("python/deps.py", "x = 1", 0o644), name="layer.zip")
    (tmp_path / "template.yaml").write_text(
        """Resources:
  L: {Type: AWS::Serverless::LayerVersion, Properties: {ContentUri: layer.zip}}
  F:
    Type: AWS::Serverless::Function
    Properties: {CodeUri: ., Handler: a.b, Runtime: python3.12, Layers: [!Ref L]}
  G:
    Type: AWS::Serverless::Function
    Properties: {Handler: a.b, Runtime: python3.12, Layers: [!Ref L]}"""
    )
    f, g = SamFetcher(str(tmp_path / "template.yaml")).functions()
    assert f.layers == g.layers
    assert os.listdir(f.layers[0] + "/python") == ["deps.py"]
    assert f.code == g.code == str(tmp_path)


def test_the_directory_is_deleted_when_its_process_exits_but_not_when_a_fork_exits(tmp_path, private):
    path = packed(tmp_path, ("a", "x", 0o644))
    code = f"""
import os, sys
from serverfull_wsgi.storage.packages import Packages
packages = Packages()
folder = packages.directory({path!r})
if os.fork() == 0:
    sys.exit()
os.wait()
assert os.listdir(folder) == ["a"]
"""
    environ = {**os.environ, "TMPDIR": str(private)}
    subprocess.run([sys.executable, "-c", code], env=environ, check=True)
    assert os.listdir(private) == []


KILLED = """
import os, signal, sys, tempfile
from serverfull_wsgi.storage.packages import Packages
tempfile.tempdir = sys.argv[1]
Packages().write_inline("", "py")
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_the_directory_of_a_killed_process_is_deleted_by_the_next_process(private):
    subprocess.run([sys.executable, "-c", KILLED, private], cwd=ROOT, check=False)
    (old,) = private.iterdir()
    mine = Path(Packages().write_inline("", "py")).parent
    assert old.exists(), "its process might be about to lock it"
    for folder in (old, mine):
        os.utime(folder, (0, 0))
    another = Path(Packages().write_inline("", "py")).parent
    assert {*private.iterdir()} == {mine, another}
