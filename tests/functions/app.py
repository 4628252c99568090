"""Functions for isolated environments; they need the standard library only."""

import json
import logging
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
import uuid
from pathlib import Path

calls = 0


def whoami(event, context):
    global calls
    calls += 1
    return {"pid": os.getpid(), "parent": os.getppid(), "calls": calls, "tmp": tmp(), "uid": os.getuid()}


def tmp():
    return os.environ.get("TMPDIR", "/tmp")


def variables(event, context):
    return dict(os.environ)


def surroundings(event, context):
    return {
        "cwd": os.getcwd(),
        "path": sys.path,
        "fds": {name: os.readlink(f"/proc/self/fd/{name}") for name in os.listdir("/proc/self/fd")[:-1]},
        "threads": threading.active_count(),
        "processes": [int(name) for name in os.listdir("/proc") if name.isdigit()],
        "argv": sys.argv[1:],
        "encoding": [sys.stdout.encoding, sys.stdout.errors],
        "timezone": time.strftime("%z"),
    }


def evaluate(event, context):
    return eval(event, {**globals(), "context": context})


def execute(event, context):
    exec(event, {**globals(), "context": context})


def sleep(event, context):
    time.sleep(event)
    return context.get_remaining_time_in_millis()


def chances(event, context):
    return [random.random(), uuid.uuid4().hex, os.urandom(8).hex()]


def spawn(event, context):
    """Start a child, and a grandchild in a session of its own; leave both running."""
    code = "import os, time\nif os.fork() == 0:\n    os.setsid()\n    if os.fork(): os._exit(0)\ntime.sleep(60)\n"
    subprocess.Popen([sys.executable, "-c", code, event["mark"]])
    time.sleep(0.3)
    time.sleep(event.get("seconds", 0))
    return "left"


def files(event, context):
    """Write a text to a file and die; without a text, return the text of an earlier call."""
    path = os.path.join(tmp(), "kept")
    if event:
        Path(path).write_text(event)
        os._exit(1)
    return Path(path).read_text() if os.path.exists(path) else None


def make_deep_folders(event, context):
    """Nest ``event`` directories, deeper than Python recurses; the innermost has no permissions. Return the root."""
    os.chdir(tmp())
    for _ in range(event):
        os.mkdir("deep")
        os.chdir("deep")
    os.chmod(".", 0)
    os.chdir("/")
    return tmp()


def hog(event, context):
    """Allocate and use up to 2 GiB."""
    blocks = []
    for _ in range(128):
        blocks.append(bytearray(b"x" * 16 * 1024 * 1024))
    return len(blocks)


def breed(event, context):
    """Keep a child process with ``mib`` MiB for some seconds."""
    code = f"data = bytearray(b'x' * {event['mib']} * 2**20); print('allocated', flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        if not child.stdout.readline():
            return f"it ended with {child.wait()}"
        time.sleep(event["seconds"])
    return "kept"


def flood(event, context):
    """Print ``event`` bytes."""
    line = "x" * 1023 + "\n"
    for _ in range(event // 1024):
        sys.stdout.write(line)
    print("the last line")
    return "printed"


def noise(event, context):
    """Write bytes that are neither text nor whole log frames, then close descriptors."""
    os.write(1, b"\x00\xff\xfe broken \xa5\x5a\x00\x03 no frame\n")
    os.write(1, b"\xa5\x5a\x00\x03" + (2**31).to_bytes(4, "big") + bytes(8) + b"an endless frame\n")
    for fd in event:
        os.close(fd)
    logging.warning("still here")
    return "closed"


def large(event, context):
    return "x" * (event - 2)


def request(method, path, body=b"", address=None, headers=""):
    """Return the status line of the Runtime API's response; None if the connection was refused or closed."""
    host, port = (address or os.environ["AWS_LAMBDA_RUNTIME_API"]).split(":")
    try:
        with socket.create_connection((host, int(port)), timeout=5) as sock:
            sock.settimeout(5)
            line = f"{method} /2018-06-01/runtime/{path} HTTP/1.1\r\n"
            sock.sendall(f"{line}Host: x\r\n{headers}Content-Length: {len(body)}\r\n\r\n".encode() + body)
            return sock.recv(4096).decode().partition("\r\n")[0] or None
    except OSError:
        return None


def attack(event, context):
    """Send requests that are not allowed to the Runtime API of this environment, or at ``address``."""
    address = event.get("address")
    return [
        request("POST", "invocation/00000000-0000-4000-8000-000000000000/response", b"1", address),
        request("POST", "init/error", b"{}", address),
        request("GET", "invocation/next", b"", address),
        request("GET", "nothing", b"", address),
        request("DELETE", f"invocation/{context.aws_request_id}/response", b"", address),
        request("GET", "x" * 3_000_000, b"", address),
        request("POST", "invocation/next", b"", address, headers="Content-Length: -5\r\n"),
    ]


def early(event, context):
    """Post two responses to this invocation, then return a third."""
    first = request("POST", f"invocation/{context.aws_request_id}/response", b'"by hand"')
    second = request("POST", f"invocation/{context.aws_request_id}/response", b'"again"')
    Path(tmp(), "answers").write_text(json.dumps([first, second]))
    return "too late"


def ignore(event, context):
    """Loop, and ignore the signals that ask a process to end."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    while True:
        pass


def bomb(event, context):
    """Fork up to 200 processes, each with a session of its own."""
    for _ in range(200):
        try:
            if os.fork() == 0:
                os.setsid()
                time.sleep(60)
                os._exit(0)
        except OSError:
            return "no more"
    return "all"


def descriptors(event, context):
    """Open files until the limit; return their number and the error."""
    opened = []
    try:
        for _ in range(5_000):
            opened.append(os.open("/dev/null", os.O_RDONLY))
    except OSError as error:
        return [len(opened), error.strerror]


def change_everything(event, context):
    """Change state that a whole process shares."""
    os.chdir("/")
    os.environ["CHANGED"] = "1"
    sys.path[:] = []
    os.umask(0o777)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    threading.Thread(target=time.sleep, args=[60], daemon=True).start()
    socket.setdefaulttimeout(0.001)
    sys.stdout = None
    sys.excepthook = None
    logging.disable(logging.CRITICAL)
    random.seed(1)
    json.dumps = None
    os.nice(5)
    return "changed"


def search(event, context):
    """Return the files in /proc, of all processes, that contain a text."""
    matches = []
    for path in [f"/proc/{pid}/{name}" for pid in os.listdir("/proc") if pid.isdigit() for name in PROCESS_FILES]:
        try:
            if event.encode() in Path(path).read_bytes():
                matches.append(path)
        except OSError:
            pass
    return matches


PROCESS_FILES = ("environ", "cmdline", "maps", "task/1/environ")
