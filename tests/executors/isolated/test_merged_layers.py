"""Several layers become one ``/opt``, also where the kernel does not merge them by an overlay mount."""

import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from serverfull_wsgi import ServiceException
from serverfull_wsgi.assembly.executors import create_executor
from serverfull_wsgi.executors.isolated import merged_layers
from serverfull_wsgi.executors.isolated.merged_layers import LayerMerger, overlay_refusal
from serverfull_wsgi.settings.settings import Settings
from serverfull_wsgi.storage.package_cache import PackageCache
from serverfull_wsgi.telemetry.scope import LOGGER
from tests.support.isolated import executing, function, needs_client, needs_root, result
from tests.support.servers import ROOT

pytestmark = pytest.mark.quick


@pytest.fixture
def refusing(monkeypatch):
    """Stand in for a kernel that merges no layers by a mount."""
    monkeypatch.setattr(merged_layers, "overlay_refusal", lambda layers: "the kernel refuses")


@pytest.fixture
def layers(tmp_path):
    """Return two layers that have a file, a directory and a link of the same names."""
    one, two = tmp_path / "one", tmp_path / "two"
    for layer in (one, two):
        (layer / "python").mkdir(parents=True)
        (layer / "python/layered.py").write_text(f"NAME = {layer.name!r}")
        (layer / f"{layer.name}.txt").write_text(layer.name)
    (one / "file-then-folder").write_text("one")
    (two / "file-then-folder").mkdir()
    (two / "file-then-folder/inner").write_text("two")
    (one / "folder-then-file").mkdir()
    (one / "folder-then-file/inner").write_text("one")
    (two / "folder-then-file").write_text("two")
    (one / "link-then-folder").symlink_to("/etc")
    (two / "link-then-folder").mkdir()
    (two / "link-then-folder/hosts").write_text("two")
    (one / "bin").symlink_to("python")
    (one / "run").write_text("#!/bin/sh\n")
    (one / "run").chmod(0o755)
    os.mkfifo(one / "pipe")
    return str(one), str(two)


def merger(tmp_path, hidden=()):
    """Return a merger with a cache, as each server process has one."""
    return LayerMerger(PackageCache(tmp_path / "cache"), hidden, LOGGER)


@pytest.fixture
def base(tmp_path):
    (tmp_path / "base").mkdir()
    return str(tmp_path / "base")


def files(folder):
    """Return the content of each file below a folder, by its path there."""
    return {str(path.relative_to(folder)): path.read_text() for path in Path(folder).rglob("*") if path.is_file()}


@pytest.mark.usefixtures("refusing")
def test_a_later_layer_replaces_files_folders_and_links_of_an_earlier_one(layers, tmp_path, base):
    (merged,) = merger(tmp_path).folders(layers, base)
    assert files(merged) == {
        "python/layered.py": "NAME = 'two'",
        "one.txt": "one",
        "two.txt": "two",
        "file-then-folder/inner": "two",
        "folder-then-file": "two",
        "link-then-folder/hosts": "two",
        "run": "#!/bin/sh\n",
    }
    assert os.readlink(f"{merged}/bin") == "python"
    assert os.access(f"{merged}/run", os.X_OK)
    assert files(layers[0])["python/layered.py"] == "NAME = 'one'"  # the layers stay as they are


@pytest.mark.usefixtures("refusing")
def test_files_of_the_same_file_system_are_hard_links(layers, tmp_path, base):
    (merged,) = merger(tmp_path).folders(layers, base)
    assert os.path.samefile(f"{merged}/one.txt", f"{layers[0]}/one.txt")
    assert not os.path.islink(f"{merged}/one.txt")


@pytest.mark.usefixtures("refusing")
@pytest.mark.skipif(not os.path.isdir("/dev/shm"), reason="there is no other file system")
def test_files_of_another_file_system_are_copies(layers, tmp_path, base):
    folder = Path("/dev/shm", f"serverfull-test-{os.getpid()}")
    if os.stat("/dev/shm").st_dev == tmp_path.stat().st_dev:
        pytest.skip("there is no other file system")
    try:
        shutil.copytree(layers[0], folder, symlinks=True, ignore=shutil.ignore_patterns("pipe"))
        (merged,) = merger(tmp_path).folders([str(folder), layers[1]], base)
        expected, copy = folder / "run", Path(merged, "run")
        assert copy.read_text() == expected.read_text()
        assert (copy.stat().st_mode, copy.stat().st_mtime_ns) == (expected.stat().st_mode, expected.stat().st_mtime_ns)
        assert copy.stat().st_dev != expected.stat().st_dev
        assert os.readlink(f"{merged}/bin") == "python"
    finally:
        shutil.rmtree(folder)


@pytest.mark.usefixtures("refusing")
def test_a_set_of_layers_is_merged_once_for_all_processes(layers, tmp_path, base):
    program = (
        "import sys\nfrom tests.executors.isolated.test_merged_layers import *\n"
        "merged_layers.overlay_refusal = lambda layers: 'the kernel refuses'\n"
        f"print(merger(Path({str(tmp_path)!r})).folders({layers!r}, {base!r})[0])"
    )
    others = [
        subprocess.Popen([sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.PIPE, text=True) for _ in range(2)
    ]
    printed = {other.communicate(timeout=60)[0].strip() for other in others}
    inodes = [path.stat().st_ino for path in (tmp_path / "cache").glob("v1-*")]
    assert len(inodes) == len(printed) == 1
    (merged,) = merger(tmp_path).folders(layers, base)
    assert {merged} == printed
    assert [os.stat(merged).st_ino] == inodes
    assert merger(tmp_path).folders(layers[::-1], base) != (merged,)  # in another order it is another set


@pytest.mark.usefixtures("refusing")
@pytest.mark.parametrize("change", ["a new file", "other content", "another mode", "one file less", "a file replaced"])
def test_a_layer_that_changes_is_merged_again(layers, tmp_path, base, change):
    one = merger(tmp_path)
    before = one.folders(layers, base)
    path = Path(layers[0], "one.txt")
    if change == "a new file":
        Path(layers[0], "python/new.py").touch()
    elif change == "other content":
        path.write_text("another length")
    elif change == "another mode":
        path.chmod(0o640)
    elif change == "one file less":
        path.unlink()
    else:
        new = path.with_name("new")
        new.write_text("new")
        os.utime(new, ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns))
        new.replace(path)
    after = one.folders(layers, base)
    assert after != before
    for name in ("one.txt", "python/new.py"):
        assert files(after[0]).get(name) == files(layers[0]).get(name)
    if change == "another mode":
        assert stat.S_IMODE(os.stat(f"{after[0]}/one.txt").st_mode) == 0o640
    assert one.folders(layers, base) == after


@pytest.mark.usefixtures("refusing")
def test_no_merged_folder_has_the_data_of_the_server(tmp_path, layers, base):
    """A layer around the data directory would otherwise grow with each merged folder in it."""
    data = Path(layers[0], "data")
    (data / "layers").mkdir(parents=True)
    (data / "events").write_text("an event")
    one = LayerMerger(PackageCache(data / "cache"), [str(data)], LOGGER)
    first = one.folders(layers, base)
    assert not os.path.exists(f"{first[0]}/data")
    assert one.folders(layers, base) == first


@pytest.mark.usefixtures("refusing")
@pytest.mark.parametrize("cache", ["none", "unusable"])
def test_without_a_cache_a_folder_of_the_server_process_has_the_layers(tmp_path, layers, base, cache):
    (tmp_path / "file").touch()
    one = LayerMerger(PackageCache(tmp_path / "file/cache") if cache == "unusable" else None, (), LOGGER)
    (merged,) = one.folders(layers, base)
    assert Path(merged).is_relative_to(base)
    assert one.folders(layers, base) == (merged,)
    assert files(merged)["two.txt"] == "two"


@pytest.mark.usefixtures("refusing")
def test_a_layer_that_cannot_be_read_is_named_in_the_log(tmp_path, layers, base, caplog):
    shutil.rmtree(layers[1])
    with pytest.raises(ServiceException):
        merger(tmp_path).folders(layers, base)
    assert f"the layers {layers[0]}, {layers[1]} cannot be merged into one folder" in caplog.text


def test_one_layer_is_never_copied(tmp_path, base):
    assert merger(tmp_path).folders(["/usr"], base) == ("/usr",)


def test_layers_that_the_kernel_merges_are_not_copied(tmp_path, layers, base):
    needs_root()
    if reason := overlay_refusal(layers):
        pytest.skip(reason)
    assert merger(tmp_path).folders(layers, base) == layers
    assert not (tmp_path / "cache").exists()


@needs_client
@pytest.mark.parametrize("cache", ["", "cache"])
@pytest.mark.usefixtures("refusing")
def test_a_function_sees_merged_layers_read_only(tmp_path, layers, cache):
    needs_root()
    (tmp_path / "code").mkdir()
    (tmp_path / "code/app.py").write_text("import os\ndef evaluate(event, context):\n    return eval(event)\n")
    layered = function("app.evaluate", code=tmp_path / "code", name="layered", layers=layers)
    with executing(sandbox="auto", layer_cache=cache and str(tmp_path / cache)) as executor:
        assert executor.sandbox == "root"
        seen = "__import__('layered').NAME, __import__('layered').__file__, open('/opt/one.txt').read()"
        assert result(executor, layered, seen) == ["two", "/opt/python/layered.py", "one"]
        writable = "[path for path in ('/opt', '/opt/one.txt', '/opt/python') if os.access(path, os.W_OK)]"
        assert result(executor, layered, writable) == []
        directory = executor.statistics().directory
        assert os.path.isdir(f"{directory}/layers") is not bool(cache)
    assert not os.path.exists(directory)


@needs_client
@pytest.mark.usefixtures("refusing")
def test_a_server_keeps_merged_layers_in_its_data_directory(tmp_path, layers):
    needs_root()
    executor = create_executor(Settings(data_dir=str(tmp_path / "data")))
    try:
        assert result(executor, function("whoami", layers=layers))
    finally:
        executor.close()
    assert len([*(tmp_path / "data/layers").glob("v1-*")]) == 1


@needs_client
def test_overlapping_layers_which_no_kernel_merges_work(tmp_path):
    needs_root()
    for folder in ("one/inner", "code"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "one/name").write_text("one")
    (tmp_path / "one/inner/name").write_text("inner")
    (tmp_path / "code/app.py").write_text("import os\ndef evaluate(event, context):\n    return eval(event)\n")
    layers = [str(tmp_path / "one"), str(tmp_path / "one/inner")]
    layered = function("app.evaluate", code=tmp_path / "code", name="overlapping", layers=layers)
    with executing(sandbox="root") as executor:
        seen = "open('/opt/name').read(), open('/opt/inner/name').read()"
        assert result(executor, layered, seen) == ["inner", "inner"]


COMPOSE = """
import os, sys
from serverfull_wsgi.executors.isolated.sandbox import linux, mounts, root
linux.unshare(processes=False)
root.compose(sys.argv[1], sys.argv[2])
os.mkdir(f"{sys.argv[2]}/more")
mounts.make_read_only(sys.argv[2])
print(sorted(os.listdir(sys.argv[2])), open(f"{sys.argv[2]}/one.txt").read(), os.readlink(f"{sys.argv[2]}/bin"))
for name in ("one.txt", "python/new", "new"):
    try:
        open(f"{sys.argv[2]}/{name}", "w")
    except OSError as error:
        print(error.strerror)
"""


def test_one_layer_and_further_mount_points_need_no_overlay_mount(layers, tmp_path, base):
    """As for an interpreter of the server below /opt."""
    needs_root()
    os.remove(f"{layers[0]}/pipe")
    argv = [sys.executable, "-c", COMPOSE, layers[0], base]
    seen = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    names = sorted([*os.listdir(layers[0]), "more"])
    assert seen.stdout.splitlines() == [f"{names} one python", *["Read-only file system"] * 3], seen.stderr
    assert os.listdir(base) == []
