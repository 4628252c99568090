"""Code packages: what a good archive becomes, and what is done to a hostile one."""

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

from serverfull_wsgi.fetchers.sam import SamFetcher
from serverfull_wsgi.storage.archives import UNZIPPED_LIMIT, BadPackage, Packages
from tests.support.servers import ROOT

LINK, FIFO, DEVICE = stat.S_IFLNK | 0o777, stat.S_IFIFO | 0o644, stat.S_IFCHR | 0o644


@pytest.fixture(autouse=True)
def private(tmp_path, monkeypatch):
    """A temporary directory of the test's own, so that it sees what is left in it."""
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    return tmp_path / "tmp"


def packed(folder, *entries, name="code.zip"):
    """An archive of ``(path, content, mode)``; as `zipfile` would not write it, but anybody can."""
    with zipfile.ZipFile(folder / name, "w") as archive:
        for path, content, mode in entries:
            info = zipfile.ZipInfo("placeholder")
            info.filename = path
            info.external_attr = mode << 16 | 0x20  # without which zipfile makes 0 into 0o600
            archive.writestr(info, content, zipfile.ZIP_DEFLATED)
    return str(folder / name)


def left(private):
    """Every file and link below the temporary directory."""
    return [name for _, folders, files in os.walk(private) for name in files + [f for f in folders if "." in f]]


def test_a_folder_stays_where_it_is(tmp_path, private):
    assert Packages().folder(str(tmp_path)) == str(tmp_path)
    assert left(private) == []


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
    folder = packages.folder(path)
    mode = {name: stat.S_IMODE(os.stat(f"{folder}/{name}").st_mode) for name in os.listdir(folder)}
    assert mode["bootstrap"] == mode["setuid"] == 0o755
    assert mode["secret"] == 0o640
    assert mode["windows.txt"] == 0o644
    assert Path(folder, "package/module.py").read_text() == "x = 1"
    assert os.listdir(f"{folder}/dotted") == ["a..b"]
    assert os.listdir(f"{folder}/empty") == []
    assert packages.folder(path) == folder


def test_nobody_else_can_look_into_it(tmp_path):
    folder = Packages().folder(packed(tmp_path, ("a", "", 0o666)))
    assert stat.S_IMODE(os.stat(folder).st_mode) == stat.S_IMODE(os.stat(os.path.dirname(folder)).st_mode) == 0o700


def test_links_inside_are_kept(tmp_path):
    path = packed(tmp_path, ("bin/run", "../lib/run.js", LINK), ("lib/run.js", "it", 0o644), ("gone", "nowhere", LINK))
    folder = Packages().folder(path)
    assert Path(folder, "bin/run").read_text() == "it"
    assert os.readlink(f"{folder}/gone") == "nowhere"


CURE = "pack it again without that"
HOSTILE = {
    "parent": ([("../evil", "", 0o644)], "'../evil' leads out of its folder"),
    "parent inside": ([("a/../../evil", "", 0o644)], "'a/../../evil' leads out of its folder"),
    "absolute": ([("/etc/evil", "", 0o644)], "'/etc/evil' leads out of its folder"),
    "backslashes": ([("..\\evil", "", 0o644)], "'..\\\\evil' leads out of its folder"),
    "drive": ([("C:evil", "", 0o644)], "'C:evil' leads out of its folder"),
    "share": ([("\\\\host\\evil", "", 0o644)], "'\\\\\\\\host\\\\evil' leads out of its folder"),
    "link to the root": ([("a", "/", LINK)], "the link 'a' leads out of its folder"),
    "link to a parent": ([("a", "..", LINK)], "the link 'a' leads out of its folder"),
    "link that looks inside": (
        [("d/e/a", "../..", LINK), ("b", "d/e/a/..", LINK)],
        "the link 'b' leads out of its folder",
    ),
    "through a link": ([("a", "/tmp", LINK), ("a/evil", "x", 0o644)], "'a/evil' lies behind a link"),
    "through a link before it": ([("a/evil", "x", 0o644), ("a", "/tmp", LINK)], "'a/evil' lies behind a link"),
    "link through a link": ([("a", "b", LINK), ("a/evil", "x", LINK)], "'a/evil' lies behind a link"),
    "twice": ([("a", "/tmp", LINK), ("./a", "x", 0o644)], "'a' is in it twice"),
    "file and folder": ([("a", "x", 0o644), ("a/", "", stat.S_IFDIR | 0o755)], "'a' is in it twice"),
    "long link": ([("a", "x" * 5000, LINK)], "'a' is too long for a link"),
    "fifo": ([("a", "", FIFO)], "'a' is neither a file nor a folder nor a link"),
    "device": ([("a", "", DEVICE)], "'a' is neither a file nor a folder nor a link"),
}


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_archive_is_refused_and_nothing_of_it_is_left(tmp_path, private, name):
    entries, reason = HOSTILE[name]
    with pytest.raises(BadPackage) as caught:
        Packages().folder(packed(tmp_path, *entries))
    assert str(caught.value) == f"{reason}; {CURE}"
    assert left(private) == []
    assert sorted(os.listdir(tmp_path)) == ["code.zip", "tmp"]


def test_an_archive_over_awss_limit_is_refused_before_it_is_written(tmp_path, private):
    half = bytes(UNZIPPED_LIMIT // 2)
    path = packed(tmp_path, ("a", half, 0o644), ("b", half, 0o644), ("c", "x", 0o644))
    assert os.path.getsize(path) < 1_000_000
    with pytest.raises(BadPackage, match="more than 262,144,000 bytes unzipped, AWS's limit; leave out what"):
        Packages().folder(path)
    assert left(private) == []


def overlapping(folder, count=100):
    """``count`` entries in the directory, all of the one piece of data that is there: a zip bomb."""
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
        Packages().folder(overlapping(tmp_path, 10))
    assert left(private) == []


def test_an_encrypted_archive_is_refused(tmp_path):
    path = packed(tmp_path, ("a", "x", 0o644))
    data = bytearray(Path(path).read_bytes())
    data[data.index(b"PK\x01\x02") + 8] |= 1
    Path(path).write_bytes(data)
    with pytest.raises(BadPackage, match=f"'a' is encrypted; {CURE}"):
        Packages().folder(path)


@pytest.mark.parametrize("content", [b"", b"no archive", b"PK\x05\x06" + bytes(17)])
def test_what_is_no_archive_is_refused(tmp_path, content):
    (tmp_path / "code.zip").write_bytes(content)
    with pytest.raises(BadPackage, match=r"it is no good zip archive: .*; pack it again"):
        Packages().folder(str(tmp_path / "code.zip"))


def test_damaged_contents_are_refused_and_nothing_is_left(tmp_path, private):
    path = packed(tmp_path, ("fine", "x", 0o644), ("damaged", os.urandom(1000), 0o644))
    data = bytearray(Path(path).read_bytes())
    data[600] ^= 0xFF
    Path(path).write_bytes(data)
    with pytest.raises(BadPackage, match="; pack it again"):
        Packages().folder(path)
    assert left(private) == []


def test_a_file_that_is_also_a_folder_is_refused(tmp_path):
    with pytest.raises(BadPackage, match=r"it cannot be unpacked: .*; pack it again"):
        Packages().folder(packed(tmp_path, ("a", "x", 0o644), ("a/b", "x", 0o644)))


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_whatever_is_changed_in_an_archive_it_is_unpacked_or_refused(tmp_path_factory, data):
    folder = tmp_path_factory.getbasetemp()
    path = packed(folder, ("a/b", "text" * 9, 0o644), ("c", "a/b", LINK), ("d/", "", 0o755 | stat.S_IFDIR))
    content = bytearray(Path(path).read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    Path(path).write_bytes(content)
    packages = Packages()
    try:
        root = packages.folder(path)
    except BadPackage:
        return
    for where, _, files in os.walk(root):
        assert all(os.path.realpath(os.path.join(where, name)).startswith(os.path.realpath(root)) for name in files)


def test_the_template_tells_of_a_hostile_archive(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    packed(tmp_path, ("../evil", "", 0o644), name="evil.zip")
    properties = "{Code: evil.zip, Handler: a.b, Runtime: python3.12}"
    (tmp_path / "template.yaml").write_text(
        f"Resources:\n  F: {{Type: AWS::Lambda::Function, Properties: {properties}}}"
    )
    assert SamFetcher("template.yaml").problems() == [
        "template.yaml:2: F.Code: 'evil.zip' cannot be used: '../evil' leads out of its folder; "
        "pack it again without that"
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


def test_it_is_gone_when_the_process_ends_but_not_when_a_fork_does(tmp_path, private):
    path = packed(tmp_path, ("a", "x", 0o644))
    code = f"""
import os, sys
from serverfull_wsgi.storage.archives import Packages
packages = Packages()
folder = packages.folder({path!r})
if os.fork() == 0:
    sys.exit()
os.wait()
assert os.listdir(folder) == ["a"]
"""
    environ = {**os.environ, "TMPDIR": str(private)}
    subprocess.run([sys.executable, "-c", code], env=environ, check=True)
    assert os.listdir(private) == []


LEAVING = """
import os, signal, sys, tempfile
from serverfull_wsgi.storage.archives import Packages
tempfile.tempdir = sys.argv[1]
Packages().inline("", "py")
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_process_has_left_is_removed_by_the_next(private):
    subprocess.run([sys.executable, "-c", LEAVING, private], cwd=ROOT, check=False)
    (old,) = private.iterdir()
    mine = Path(Packages().inline("", "py")).parent
    assert old.exists(), "it could be one that is about to be locked"
    for folder in (old, mine):
        os.utime(folder, (0, 0))
    another = Path(Packages().inline("", "py")).parent
    assert {*private.iterdir()} == {mine, another}
