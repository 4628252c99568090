"""A function that looks for what it should not see, and one that has something to hide."""

import contextlib
import ctypes
import os
import re
import subprocess
import tempfile

planted = re.compile(rb"planted-[a-z-]+-[0-9a-f]{32}")
hidden = []


def hide(event, context):
    """Has secrets in all places that a function has, and leaves a process running."""
    hidden.append(event["memory"])
    with open(os.path.join(tempfile.gettempdir(), "secret"), "w") as file:
        file.write(event["file"])
    unlinked, path = tempfile.mkstemp()
    os.unlink(path)
    os.write(unlinked, event["unlinked"].encode())
    sleeping = ["/bin/sh", "-c", f"sleep 60; : {event['argument']}"]
    hidden.append(subprocess.Popen(sleeping, env={"SECRET": event["variable"]}))
    return file.name


def search(event, context):
    """What is found, and where: in itself, the processes ``pids``, the files ``places`` and the shared memory ``key``.

    Where it is the second process of a namespace of its own, it looks into all processes it sees.
    """
    found = Found()
    found.in_memory("self")
    found.in_descriptors("self")
    found.at("own variables", repr(os.environ).encode())
    for name in filter(str.isdigit, os.listdir("/proc")):
        if int(name) in event["pids"] or os.getppid() == 1:
            found.in_process(name)
    for place in event["places"]:
        found.in_file(place, "place")
    found.in_shared_memory(event["key"])
    return {secret: sorted(places) for secret, places in found.places.items()}


class Found:
    def __init__(self):
        self.places = {}

    def at(self, place, data):
        for secret in planted.findall(data):
            self.places.setdefault(secret.decode(), set()).add(place)

    def in_process(self, name):
        if int(name) != os.getpid():
            for what in ("environ", "cmdline", "comm", "maps"):
                self.in_file(f"/proc/{name}/{what}", what)
            for what in ("cwd", "root", "exe"):
                with contextlib.suppress(OSError):
                    self.at(what, os.readlink(f"/proc/{name}/{what}").encode())
            self.in_descriptors(name)
            self.in_memory(name)

    def in_descriptors(self, name):
        with contextlib.suppress(OSError):
            for fd in os.listdir(f"/proc/{name}/fd"):
                with contextlib.suppress(OSError):
                    path = f"/proc/{name}/fd/{fd}"
                    target = os.readlink(path)
                    self.at("fd", target.encode())
                    if not target.startswith(("socket:", "/dev", "anon_inode")) and not (
                        name == "self" and int(fd) < 4
                    ):
                        self.in_file(path, "fd")

    def in_file(self, path, place):
        with contextlib.suppress(OSError):
            fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
            try:
                self.at(place, os.read(fd, 1 << 20))
            finally:
                os.close(fd)

    def in_memory(self, name):
        with contextlib.suppress(OSError), open(f"/proc/{name}/maps") as maps:
            lines = maps.readlines()
            with open(f"/proc/{name}/mem", "rb", buffering=0) as memory:
                for line in lines:
                    begin, end = (int(address, 16) for address in line.split()[0].split("-"))
                    if line.split()[1].startswith("rw") and end - begin < 1 << 28:
                        with contextlib.suppress(OSError, ValueError, OverflowError):
                            memory.seek(begin)
                            self.at("memory", memory.read(end - begin) or b"")

    def in_shared_memory(self, key):
        libc = ctypes.CDLL(None)
        libc.shmat.restype = ctypes.c_void_p
        number = libc.shmget(key, 0, 0)
        if number >= 0:
            address = libc.shmat(number, None, 0o10000)
            if address not in (None, ctypes.c_void_p(-1).value):
                self.at("shared memory", ctypes.string_at(address, 4096))
                libc.shmdt(ctypes.c_void_p(address))
