"""A server with twenty secrets, and a function that searches for them.

Run by ``python -m tests.support.secrets_server SANDBOX FOLDER SECRET``, with another secret in the variable PLANTED.

Standard output is a JSON object. ``planted`` has the secrets by name, and ``found`` the places where each was found.
``open`` is whether the search found one more secret, in a file that every process of this user may read. ``own_tmp``
is whether /tmp is private.
"""

import atexit
import ctypes
import glob
import json
import mmap
import os
import sys
import tempfile
import uuid

from serverfull_wsgi.executors.isolated.sandbox.linux import descendants
from tests.support.isolated import FUNCTIONS, executing, function, result


def new_secret(name):
    return f"planted-{name}-{uuid.uuid4().hex}"


class Secrets(dict):
    """Secrets by name, made when they are first used."""

    def __missing__(self, name):
        self[name] = new_secret(name)
        return self[name]


def main(sandbox, folder, argument):
    planted = Secrets({"command-line": argument, "environment": os.environ["PLANTED"]})
    kept, places, key = plant(planted, folder)
    with executing(sandbox=sandbox) as executor:
        code = FUNCTIONS / "hostile"
        own = {"SECRET": planted["variable-of-a-neighbour"]}
        hides = function("search.hide", code=code, name="hides", environment=own, memory_size=256)
        event = {
            "memory": planted["memory-of-a-neighbour"],
            "payload": planted["payload-of-a-neighbour"],
            "file": planted["file-of-a-neighbour"],
            "unlinked": planted["unlinked-file-of-a-neighbour"],
            "argument": planted["command-line-of-a-neighbours-child"],
            "variable": planted["environment-of-a-neighbours-child"],
        }
        places.append(result(executor, hides, event))
        places += glob.glob(f"{executor.statistics().directory}/*/secret")
        event = {"pids": [os.getpid(), *descendants(os.getpid())], "places": places, "key": key}
        searches = function("search.search", code=code, name="searches", memory_size=2048, timeout=120)
        found = result(executor, searches, event)
        open_secret = planted.pop("file-for-everybody")
        print(
            json.dumps(
                {
                    "planted": planted,
                    "found": {name: found[one] for name, one in planted.items() if one in found},
                    "open": open_secret in found,
                    "own_tmp": result(executor, function("evaluate"), "os.stat('/tmp').st_ino")
                    != os.stat("/tmp").st_ino,
                }
            )
        )
    assert kept


def plant(planted, folder):
    """Put secrets in every place where a server can have them.

    Return the objects that keep them there, the paths of files, and the key of shared memory.
    """
    os.environ["LATER"] = planted["later-environment"]
    os.chdir(make(os.path.join(folder, planted["working-directory"])))
    kept = [bytes(planted["memory"], "ascii"), anonymous_map(planted["anonymous-map"])]
    kept += [mapped_file(os.path.join(folder, planted["name-of-a-mapped-file"]))]
    kept += [unlinked_file(planted["unlinked-file"]), pipe(planted["pipe"]), memory_file(planted["memory-file"])]
    inherited = pipe(planted["inheritable-descriptor"])
    os.set_inheritable(inherited[0], True)
    key = uuid.uuid4().int & 0x7FFFFFFF
    shared_memory(key, planted["shared-memory"])
    places = [os.path.join(folder, "secret")]
    write(places[0], planted["temporary-file"])
    places.append(f"/dev/shm/serverfull-test-{os.getpid()}")
    write(places[1], planted["file-for-everybody"])
    atexit.register(os.unlink, places[1])
    return [*kept, inherited], places, key


def make(path):
    os.mkdir(path, 0o700)
    return path


def write(path, text):
    with open(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), "w") as file:
        file.write(text)


def anonymous_map(text):
    memory = mmap.mmap(-1, 4096)
    memory.write(text.encode())
    return memory


def mapped_file(path):
    write(path, "x" * 4096)
    with open(path, "r+b") as file:
        return mmap.mmap(file.fileno(), 4096)


def unlinked_file(text):
    fd, path = tempfile.mkstemp()
    os.unlink(path)
    os.write(fd, text.encode())
    return os.lseek(fd, 0, os.SEEK_SET), fd


def pipe(text):
    reader, writer = os.pipe()
    os.write(writer, text.encode())
    return reader, writer


def memory_file(text):
    fd = os.memfd_create("secrets")
    os.write(fd, text.encode())
    return fd


def shared_memory(key, text):
    """Put a text into System V shared memory, which the kernel removes after its last user."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.shmat.restype = ctypes.c_void_p
    number = libc.shmget(key, 4096, 0o1600)
    assert number >= 0, os.strerror(ctypes.get_errno())
    ctypes.memmove(libc.shmat(number, None, 0), text.encode(), len(text))
    libc.shmctl(number, 0, None)  # IPC_RMID


if __name__ == "__main__":
    main(*sys.argv[1:])
