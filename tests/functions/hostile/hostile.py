"""Hostile functions. Each has a bound of its own, so that a limit that fails does not take the machine down.

All processes of the environment inherit the named pipe LIVENESS_PIPE open for writing, so that its reader sees their
end. An act that ends its process writes the time to the pipe just before.
"""

import ctypes
import gc
import locale
import logging
import os
import random
import re
import resource
import signal
import socket
import struct
import sys
import threading
import time
import warnings

MIB = 1024 * 1024
calls, request_id = 0, None
pipe = os.open(os.environ["LIVENESS_PIPE"], os.O_WRONLY | os.O_NONBLOCK)
os.set_inheritable(pipe, True)


def handler(event, context):
    """Run the act ``event["do"]`` with the other members of the event as arguments."""
    global calls, request_id
    calls += 1
    request_id = context and context.aws_request_id
    options = dict(event)
    return globals()[options.pop("do")](**options)


def mark_end():
    os.write(pipe, struct.pack("d", time.monotonic()))


def nothing():
    return calls


def sleep(seconds=60):
    time.sleep(seconds)


# Endless


def loop():
    while True:
        pass


def stop():
    os.kill(os.getpid(), signal.SIGSTOP)


def ignore():
    for number in set(signal.valid_signals()) - {signal.SIGKILL, signal.SIGSTOP, 32, 33}:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    loop()


def keep_the_interpreter():
    """Loop in C without releasing the GIL."""
    re.match(r"(a+)+$", "a" * 64 + "b")


def stop_the_supervisor():
    os.kill(os.getppid(), signal.SIGSTOP)
    loop()


# Exits


def leave(status):
    mark_end()
    sys.exit(status)


def quit(status):
    mark_end()
    os._exit(status)


def quit_in_a_thread(status):
    threading.Thread(target=quit, args=[status]).start()
    time.sleep(60)


def interrupt():
    mark_end()
    raise KeyboardInterrupt


def end_by(number):
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [number])
    if number not in (signal.SIGKILL, signal.SIGSTOP):
        signal.signal(number, signal.SIG_DFL)
    mark_end()
    os.kill(os.getpid(), number)
    time.sleep(60)


def crash():
    mark_end()
    ctypes.string_at(0)


def overflow():
    """Recurse in C until the stack of a thread overflows."""
    sys.setrecursionlimit(2**30)
    threading.stack_size(65536)
    mark_end()
    thread = threading.Thread(target=repr, args=[deep()])
    thread.start()
    thread.join()


def become(*, argv):
    mark_end()
    os.execv(argv[0], argv)


def kill_the_supervisor():
    mark_end()
    os.kill(os.getppid(), signal.SIGKILL)
    time.sleep(0.5)
    return "alive"


def kill_all():
    """Kill every process that this one may signal, but only inside a process namespace."""
    if (os.getpid(), os.getppid()) == (2, 1):
        if not os.fork():
            time.sleep(60)
            os._exit(0)
        os.kill(-1, signal.SIGKILL)
    return "alive"


# Memory, 2 GiB at most


def hog(mib=2048):
    blocks = []
    for _ in range(mib // 16):
        blocks.append(bytearray(b"x" * 16 * MIB))
    return len(blocks)


def hog_in_children(children=4):
    for _ in range(children):
        if not os.fork():
            try:
                hog(2048 // children)
                time.sleep(60)
            finally:
                os._exit(0)
    time.sleep(60)


# Processes, threads, descriptors


def bomb(count=200):
    """Fork processes with sessions of their own."""
    for _ in range(count):
        try:
            if not os.fork():
                os.setsid()
                time.sleep(60)
                os._exit(0)
        except OSError:
            break
    time.sleep(60)


def flee(count=100, seconds=5, waits=60):
    """Fork chains of processes that each exit after forking the next, so that a kill by pid comes too late.

    At most ``count`` are alive at once. None forks after ``seconds``.
    """
    ends = time.monotonic() + seconds
    for _ in range(count):
        if not os.fork():
            try:
                while time.monotonic() < ends:
                    if os.fork():
                        break
                    os.setsid()
            finally:
                os._exit(0)
    time.sleep(waits)


def flee_from():
    flee(count=20, waits=0.1)
    quit(7)


def fork_twice(and_then="sleep", **options):
    """Leave a daemon: a grandchild in a session of its own that blocks all signals."""
    if not os.fork():
        os.setsid()
        if not os.fork():
            signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
            time.sleep(60)
        os._exit(0)
    os.wait()
    return globals()[and_then](**options)


def many_threads(count=10_000):
    started = 0
    try:
        for _ in range(count):
            threading.Thread(target=time.sleep, args=[60], daemon=True).start()
            started += 1
    except (RuntimeError, MemoryError):
        pass
    time.sleep(60)


def many_descriptors(count=5_000):
    opened = []
    try:
        for _ in range(count):
            opened.append(os.open("/dev/null", os.O_RDONLY))
    except OSError as error:
        return error.strerror
    finally:
        for fd in opened:
            os.close(fd)


# Output


def flood(size):
    line = b"x" * 65535 + b"\n"
    for _ in range(size // len(line)):
        os.write(1, line)
    return "printed"


def line_without_end(size):
    for _ in range(size // MIB):
        os.write(2, b"x" * MIB)
    return "printed"


def noise(close=()):
    """Write bytes that are neither text nor whole log frames, then close descriptors."""
    os.write(1, b"\x00\xff\xfe broken \xa5\x5a\x00\x03 no frame\n\xc3\x28\xed\xa0\x80\n")
    os.write(1, b"\xa5\x5a\x00\x03" + (2**31).to_bytes(4, "big") + bytes(8) + b"an endless frame\n")
    os.write(3, b"\xa5" * 100_000)
    for fd in close:
        os.close(fd)
    return "noise"


def print_for_ever():
    """Leave a process that prints in a loop, and return."""
    if not os.fork():
        while True:
            os.write(1, b"x" * 1000 + b"\n")
    return "printing"


# Process-wide state


def change_everything():
    os.chdir("/")
    os.environ["TZ"] = os.environ["CHANGED"] = "Asia/Tokyo"
    time.tzset()
    sys.path[:] = ["/nowhere"]
    os.umask(0o777)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    socket.setdefaulttimeout(0.001)
    resource.setrlimit(resource.RLIMIT_NOFILE, (16, 16))
    os.nice(5)
    locale.setlocale(locale.LC_ALL, "C")
    logging.disable(logging.CRITICAL)
    gc.disable()
    ctypes.CDLL(None).prctl(15, b"changed", 0, 0, 0)  # PR_SET_NAME
    random.seed(1)
    warnings.simplefilter("ignore")
    sys.stdout = sys.excepthook = None
    return fingerprint()


def fingerprint():
    """Return state that all code of a process shares."""
    umask = os.umask(0)
    os.umask(umask)
    return {
        "cwd": os.getcwd(),
        "environ": os.environ.get("CHANGED"),
        "timezone": time.tzname,
        "path": sys.path[0],
        "umask": umask,
        "SIGTERM": signal.getsignal(signal.SIGTERM) == signal.SIG_IGN,
        "timeout": socket.getdefaulttimeout(),
        "files": resource.getrlimit(resource.RLIMIT_NOFILE),
        "nice": os.getpriority(os.PRIO_PROCESS, 0),
        "logging": logging.root.manager.disable,
        "gc": gc.isenabled(),
        "name": open("/proc/self/comm").read(),
        "stdout": sys.stdout is None,
    }


# Results


def large(size):
    return "x" * (size - 2)


def nan():
    return [float("nan"), float("inf")]


def cycle():
    result = {}
    result["self"] = result
    return result


def deep(depth=100_000):
    result = []
    for _ in range(depth):
        result = [result]
    return result


def surrogate():
    return "\ud800"


def stream(size, chunked, piece=MIB):
    """Post a response of ``size`` bytes by hand, as far as the server reads it."""
    piece = b"x" * piece
    framing = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {size}"
    with connect() as sock:
        head = f"POST /2018-06-01/runtime/invocation/{request_id}/response HTTP/1.1\r\nHost: x\r\n{framing}\r\n\r\n"
        try:
            sock.sendall(head.encode())
            for _ in range(size // len(piece)):
                sock.sendall(b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece)
        except OSError:
            pass
    time.sleep(60)


def hold_back(connections=32):
    """Post a response on each of many connections, all without their last byte."""
    size, held = 6_000_000, []
    head = f"POST /2018-06-01/runtime/invocation/{request_id}/response HTTP/1.1\r\nContent-Length: {size}\r\n\r\n"
    for _ in range(connections):
        try:
            held.append(connect())
            held[-1].sendall(head.encode() + b"x" * (size - 1))
        except OSError:
            pass
    return len(held)


# The Runtime API


def address():
    return os.environ["AWS_LAMBDA_RUNTIME_API"]


def connect(to=None):
    host, port = (to or address()).split(":")
    sock = socket.create_connection((host, int(port)), timeout=1)
    sock.settimeout(1)
    return sock


def status_of(request, to=None):
    """Send a request; return the status of its response, or an empty text if the connection was refused or closed."""
    try:
        with connect(to) as sock:
            sock.sendall(request)
            return sock.recv(4096).decode().partition("\r\n")[0][9:12]
    except OSError:
        return ""


PREFIX = b" /2018-06-01/runtime/"
ATTACKS = [
    b"GET" + PREFIX + b"invocation/next HTTP/1.1\r\n\r\n",
    b"POST"
    + PREFIX
    + b"invocation/00000000-0000-4000-8000-000000000000/response HTTP/1.1\r\nContent-Length: 1\r\n\r\n1",
    b"POST" + PREFIX + b"invocation/../../x/error HTTP/1.1\r\nContent-Length: 1\r\n\r\n1",
    b"POST" + PREFIX + b"init/error HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}",
    b"DELETE" + PREFIX + b"invocation/next HTTP/1.1\r\n\r\n",
    b"GET /2018-06-01/nothing HTTP/1.1\r\n\r\n",
    b"GET " + b"x" * 3_000_000,
    b"POST" + PREFIX + b"invocation/next HTTP/1.1\r\nContent-Length: -5\r\n\r\n",
    b"POST" + PREFIX + b"invocation/next HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",  # the start of a TLS handshake
    bytes(1000) + b"\r\n\r\n",
]


def attack(addresses=(), rounds=1):
    """Send all requests in ATTACKS to some addresses; return the different statuses."""
    return sorted({status_of(one, to) for _ in range(rounds) for to in addresses or [address()] for one in ATTACKS})


def send_without_reading(seconds=1):
    """Send requests for some time without reading a response; return the number of bytes sent."""
    sent, ends = 0, time.monotonic() + seconds
    try:
        with connect() as sock:
            while time.monotonic() < ends:
                sent += sock.send(b"GET / HTTP/1.1\r\n\r\n" * 1000)
    except OSError:
        pass
    return sent


def crowd(addresses=(), count=100):
    """Open idle connections and hold them; return the number that the server refused or closed."""
    held, refused = [], 0
    for to in addresses or [address()]:
        for _ in range(count):
            try:
                held.append(connect(to))
            except OSError:
                refused += 1
    for sock in held:
        sock.settimeout(0.001)
        try:
            refused += not sock.recv(1)
        except OSError:
            refused += isinstance(sys.exc_info()[1], ConnectionError)
        sock.close()
    return refused


def answer_first(then, **options):
    """Post a response to this invocation by hand, then run another act."""
    body = b'"by hand"'
    status_of(
        b"POST" + PREFIX + b"invocation/%b/response HTTP/1.1\r\nContent-Length: 9\r\n\r\n" % request_id.encode() + body
    )
    return globals()[then](**options)
