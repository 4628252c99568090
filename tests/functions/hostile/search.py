"""A function that hides secrets in its environment, and another that searches for secrets."""

import contextlib
import ctypes
import os
import re
import subprocess
import tempfile

planted = re.compile(rb"planted-[a-z-]+-[0-9a-f]{32}")
hidden = []


def hide(event, context):
    """Put secrets into memory, files and a child process, which stays running."""
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
    """Search this process, the processes ``pids``, the files ``places`` and the shared memory ``key``.

    In a process namespace, search all visible processes. Return the places where each secret was findings.
    """
    findings = Findings()
    findings.search_memory("self")
    findings.search_descriptors("self")
    findings.search_bytes("own variables", repr(os.environ).encode())
    for name in filter(str.isdigit, os.listdir("/proc")):
        if int(name) in event["pids"] or os.getppid() == 1:
            findings.search_process(name)
    for place in event["places"]:
        findings.search_file(place, "place")
    findings.search_shared_memory(event["key"])
    return {secret: sorted(places) for secret, places in findings.places.items()}


class Findings:
    """The secrets that were found, with their places."""

    def __init__(self):
        self.places = {}

    def search_bytes(self, place, data):
        for secret in planted.findall(data):
            self.places.setdefault(secret.decode(), set()).add(place)

    def search_process(self, name):
        if int(name) != os.getpid():
            for file in ("environ", "cmdline", "comm", "maps"):
                self.search_file(f"/proc/{name}/{file}", file)
            for link in ("cwd", "root", "exe"):
                with contextlib.suppress(OSError):
                    self.search_bytes(link, os.readlink(f"/proc/{name}/{link}").encode())
            self.search_descriptors(name)
            self.search_memory(name)

    def search_descriptors(self, name):
        with contextlib.suppress(OSError):
            for fd in os.listdir(f"/proc/{name}/fd"):
                with contextlib.suppress(OSError):
                    path = f"/proc/{name}/fd/{fd}"
                    target = os.readlink(path)
                    self.search_bytes("fd", target.encode())
                    if not target.startswith(("socket:", "/dev", "anon_inode")) and not (
                        name == "self" and int(fd) < 4
                    ):
                        self.search_file(path, "fd")

    def search_file(self, path, place):
        with contextlib.suppress(OSError):
            fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
            try:
                self.search_bytes(place, os.read(fd, 1 << 20))
            finally:
                os.close(fd)

    def search_memory(self, name):
        with contextlib.suppress(OSError), open(f"/proc/{name}/maps") as maps:
            lines = maps.readlines()
            with open(f"/proc/{name}/mem", "rb", buffering=0) as memory:
                for line in lines:
                    start, end = (int(address, 16) for address in line.split()[0].split("-"))
                    if line.split()[1].startswith("rw") and end - start < 1 << 28:
                        with contextlib.suppress(OSError, ValueError, OverflowError):
                            memory.seek(start)
                            self.search_bytes("memory", memory.read(end - start) or b"")

    def search_shared_memory(self, key):
        libc = ctypes.CDLL(None)
        libc.shmat.restype = ctypes.c_void_p
        number = libc.shmget(key, 0, 0)
        if number >= 0:
            address = libc.shmat(number, None, 0o10000)
            if address not in (None, ctypes.c_void_p(-1).value):
                self.search_bytes("shared memory", ctypes.string_at(address, 4096))
                libc.shmdt(ctypes.c_void_p(address))
