"""The part of a root directory that all environments of a zygote have: programs, libraries and a minimal ``/etc``.

::

    /bin /lib* /sbin /usr   the machine's own, or links into /usr
    /etc                    a few files as copies, and the folders that programs need for names, fonts and certificates
    /dev                    the harmless devices; /dev/pts and /dev/shm are mounted for each environment
    the interpreter         at its own path, with the packages that functions may import, and no others
    /var/runtime            the files of the runtimes
    /var/task /opt /tmp /proc /mnt        empty, for mounts of each environment

The template is built once, in a mount namespace of its own, by the mount server of a zygote. An environment gets a
clone, which costs about 1 µs for each mount. All of it is read-only, so that environments can share it.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import site
import sys
from collections.abc import Iterable
from pathlib import Path

from ..runtimes.packages import visible_entries
from ..runtimes.python_client import FALLBACK
from . import mounts

RUNTIME = "/var/runtime"
NODE_MODULES, PYTHON_MODULES = f"{RUNTIME}/node_modules", f"{RUNTIME}/python"
PROGRAM_FOLDERS = ("bin", "lib", "lib32", "lib64", "libx32", "sbin", "usr")
_DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
_LINKS = {
    "dev/fd": "/proc/self/fd",
    "dev/stdin": "/proc/self/fd/0",
    "dev/stdout": "/proc/self/fd/1",
    "dev/stderr": "/proc/self/fd/2",
    "dev/ptmx": "pts/ptmx",
    "etc/mtab": "/proc/self/mounts",
}
_MOUNT_POINTS = (
    *("dev/pts", "dev/shm", "mnt", "opt", "proc", "tmp", "var/task"),
    *(path.lstrip("/") for path in (NODE_MODULES, PYTHON_MODULES)),
)
_CHANGING = ("hosts", "resolv.conf")  # of a machine that changes its network
_COPIED = (
    *("host.conf", "ld.so.cache", "ld.so.conf", "localtime", "mime.types", "nsswitch.conf"),
    *("os-release", "protocols", "services", "gai.conf", "magic"),
)
FILES_OF_ETC = (*_COPIED, *_CHANGING, "group", "mtab", "passwd")
FOLDERS_OF_ETC = ("alternatives", "ca-certificates", "fonts", "ld.so.conf.d", "pki", "ssl")
_SECRET_FOLDERS = ("etc/ssl/private", "etc/pki/*/private", "etc/pki/nssdb")
_RUNTIME_FILES = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "runtimes")


class RootTemplate:
    """A template, mounted at a directory.

    Attributes:
        kept: the directories below /tmp and /opt, where each environment mounts its own.

    Args:
        target: an empty directory.
        preloaded: names of modules that the zygote imports.
        programs: paths of further programs that functions run, such as Node.js, each shown with its prefix.

    Raises:
        OSError: if the kernel refuses a mount.
    """

    def __init__(self, target: str, preloaded: Iterable[str], programs: Iterable[str] = ()) -> None:
        self._target = target
        self._stamps: dict[str, tuple[int, int]] = {}
        self.kept: list[str] = []
        mounts.mount_tmpfs(target, "mode=755,size=16m")
        for name in PROGRAM_FOLDERS:
            self._show_program_folder(name)
        for path in (*_MOUNT_POINTS, "etc", "root"):
            os.makedirs(os.path.join(target, path), exist_ok=True)
        self._make_devices()
        for path, leads_to in _LINKS.items():
            os.symlink(leads_to, os.path.join(target, path))
        self._make_etc()
        self._show_interpreter(list(preloaded))
        for program in programs:
            self._show_prefix(program)
        unused = shutil.ignore_patterns("__pycache__")
        shutil.copytree(_RUNTIME_FILES, f"{target}{RUNTIME}", ignore=unused, dirs_exist_ok=True)
        self._rewritable = mounts.clone(target, is_recursive=False)  # a second mount of the same files
        self._make_read_only()

    def clone(self) -> int:
        """Return a descriptor of a copy of the template."""
        for name in _CHANGING:
            self._refresh(name)
        return mounts.clone(self._target)

    def make_mount_points(self, paths: Iterable[str]) -> None:
        """Make directories, which existing clones have too, since all clones are mounts of one file system."""
        for path in paths:
            os.makedirs(f"/proc/self/fd/{self._rewritable}{path}", exist_ok=True)

    def _make_read_only(self) -> None:
        fd = mounts.clone(self._target)
        mounts.restrict(fd)
        mounts.attach(fd, self._target)  # over the writable one

    def _show_program_folder(self, name: str) -> None:
        path, target = f"/{name}", os.path.join(self._target, name)
        if os.path.islink(path):
            os.symlink(os.readlink(path), target)
        elif os.path.isdir(path):
            os.mkdir(target)
            mounts.attach(mounts.clone(path), target)

    def _make_devices(self) -> None:
        for name in _DEVICES:
            if os.path.exists(f"/dev/{name}"):
                self._show(f"/dev/{name}")

    # /etc

    def _make_etc(self) -> None:
        for name in _COPIED:
            with contextlib.suppress(OSError):  # many machines lack one or another
                shutil.copyfile(f"/etc/{name}", f"{self._target}/etc/{name}")
        for name in FOLDERS_OF_ETC:
            if os.path.isdir(f"/etc/{name}"):
                self._show(f"/etc/{name}")
        for pattern in _SECRET_FOLDERS:
            for path in Path(self._target).glob(pattern):
                mounts.mount_tmpfs(str(path), "mode=755,size=4k")
        uid, gid = os.geteuid(), os.getegid()
        name, home = ("root", "/root") if uid == 0 else ("sbx_user1051", "/home/sbx_user1051")  # AWS's name
        other = "nobody:x:65534:65534::/:/sbin/nologin" if uid == 0 else "root:x:0:0::/root:/sbin/nologin"
        own_group, other_group = f"{name}:x:{gid}:", "nogroup:x:65534:" if gid == 0 else "root:x:0:"
        self._write("passwd", f"{name}:x:{uid}:{gid}::{home}:/bin/sh\n{other}\n")
        self._write("group", f"{own_group}\n{other_group}\n")
        for name in _CHANGING:
            self._copy(name, f"{self._target}/etc/{name}")

    def _write(self, name: str, text: str) -> None:
        Path(self._target, "etc", name).write_text(text)

    def _refresh(self, name: str) -> None:
        """Copy a file of /etc again if it has changed."""
        if self._stamps.get(name) != _stamp(f"/etc/{name}"):
            self._copy(name, f"/proc/self/fd/{self._rewritable}/etc/{name}")

    def _copy(self, name: str, target: str) -> None:
        self._stamps[name] = _stamp(f"/etc/{name}")
        with contextlib.suppress(OSError):
            shutil.copyfile(f"/etc/{name}", target)

    # Interpreters

    def _show_interpreter(self, preloaded: list[str]) -> None:
        """Show this interpreter, and of its packages those that functions may import."""
        self._show_prefix(os.path.realpath(sys.executable))
        self._make_directory(sys.base_prefix, sys.base_prefix)
        if sys.prefix != sys.base_prefix:
            self._make_environment()
        entries = [*visible_entries(preloaded), FALLBACK]
        hidden = {*site.getsitepackages([sys.prefix, sys.base_prefix]), *map(os.path.dirname, entries)}
        for folder in sorted(hidden):
            if os.path.isdir(folder):
                self._hide(folder)
        for entry in entries:
            self._show(entry)

    def _make_environment(self) -> None:
        """Make the skeleton of a virtual environment: its configuration and its interpreters."""
        self._keep(sys.prefix)
        os.makedirs(self._target + os.path.join(sys.prefix, "bin"))
        shutil.copyfile(os.path.join(sys.prefix, "pyvenv.cfg"), self._target + os.path.join(sys.prefix, "pyvenv.cfg"))
        for name in os.listdir(os.path.join(sys.prefix, "bin")):
            path = os.path.join(sys.prefix, "bin", name)
            if name.startswith("python"):
                self._copy_program(path)
        if os.path.islink(path := os.path.join(sys.prefix, "lib64")):
            os.symlink(os.readlink(path), self._target + path)

    def _copy_program(self, path: str) -> None:
        if os.path.islink(path):
            os.symlink(os.readlink(path), self._target + path)
        elif os.path.isfile(path):
            self._show(path)

    def _show_prefix(self, program: str) -> None:
        """Show a program with its libraries: the folder that has the program's ``bin``, or else the program alone."""
        program = os.path.realpath(program)
        prefix = os.path.dirname(os.path.dirname(program))
        if os.path.exists(self._target + program):
            return
        is_prefix = os.path.basename(os.path.dirname(program)) == "bin" and prefix.count("/") > 1
        self._show(prefix if is_prefix else program)

    # Paths

    def _show(self, path: str) -> None:
        """Show a file or directory at its own path."""
        target = self._target + path
        self._keep(path)
        if os.path.isdir(path):
            os.makedirs(target, exist_ok=True)
        else:
            os.makedirs(os.path.dirname(target), exist_ok=True)
            if not os.path.exists(target):
                os.close(os.open(target, os.O_WRONLY | os.O_CREAT, 0o644))
        mounts.attach(mounts.clone(path), target)

    def _keep(self, path: str) -> None:
        if path.startswith(("/tmp/", "/opt/")) and not any(f"{path}/".startswith(f"{one}/") for one in self.kept):  # noqa: S108
            self.kept.append(path if os.path.isdir(path) else os.path.dirname(path))

    def _hide(self, folder: str) -> None:
        """Make a directory that is empty but for mount points, in the place of one that may be visible."""
        target = self._target + folder
        self._keep(folder)
        if os.path.isdir(target):
            mounts.mount_tmpfs(target, "mode=755,size=4m")
        else:
            os.makedirs(target)

    def _make_directory(self, path: str, source: str = "") -> None:
        """Make a directory as a mount point, or show ``source`` there, unless the path is visible already."""
        target = self._target + path
        if os.path.exists(target):
            return
        os.makedirs(target)
        if source:
            mounts.attach(mounts.clone(source), target)


def _stamp(path: str) -> tuple[int, int]:
    try:
        status = os.stat(path)
    except OSError:
        return 0, 0
    return status.st_mtime_ns, status.st_ino
