"""Time from exec to the first answer under gunicorn, beside a bare application: python -m bench.start.

gunicorn inherits a listening socket, and the request waits in it, so no client polls. Modules are compiled before the
first measured start, as an installation compiles them, also if PYTHONDONTWRITEBYTECODE is set.
"""

import argparse
import platform
import re
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import NamedTuple

from bench.servers import PATH, ROOT, clean_environ, family

EVENT = b'{"hello": "world"}'
REQUEST = b"POST %b HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%b" % (
    PATH.encode(),
    len(EVENT),
    EVENT,
)
APPLICATIONS = {"bare": "bench.bare:application", "ours": "serverfull_wsgi:app"}
IMPORTTIME = re.compile(r"import time:\s+(\d+) \|")  # a line of `python -X importtime` for each module
TIMEOUT = 60  # seconds for the first answer
GOAL = 1.6  # times the bare application


class Start(NamedTuple):
    """What one start took: seconds until the first answer, and CPU seconds of all processes until then."""

    wall: float
    cpu: float


def main():
    options = _options()
    starts, imports = measure(options.rounds, options.options)
    print(f"Python {platform.python_version()}; exec to the first answer, {options.rounds} starts in turns")
    for index, unit in enumerate(("ms of time", "ms of CPU")):
        _show(unit, *([start[index] * 1000 for start in starts[name]] for name in APPLICATIONS))
    for name, times in imports.items():
        print(f"{name}: {len(times)} modules, {sum(times) / 1000:.0f} ms to import them under -X importtime")


def measure(rounds, options=()):
    """Return the starts of each application, one for each round, and the microseconds of each module's import.

    ``options`` are gunicorn's, without dashes.
    """
    with tempfile.TemporaryDirectory() as folder:
        environ = _environ(folder)
        for name in APPLICATIONS:
            _start(name, environ, options)  # compiles modules, and makes the event store
        starts = {name: [] for name in APPLICATIONS}
        for _ in range(rounds):
            for name, measured in starts.items():
                measured.append(_start(name, environ, options))
        return starts, {name: _imports(name, environ) for name in APPLICATIONS}


def _options():
    parser = argparse.ArgumentParser(description=__doc__.partition(":")[0])
    parser.add_argument("--rounds", type=int, default=15, help="starts of each application (default: 15)")
    parser.add_argument(
        "--options", nargs="*", default=[], metavar="OPTION", help="options of gunicorn, without dashes"
    )
    return parser.parse_args()


def _environ(folder):
    """Return the variables of both servers, with all their files in ``folder``."""
    environ = {
        **clean_environ(),
        "SERVERFULL_FUNCTIONS": "echo=bench.handlers.echo",
        "SERVERFULL_DATA_DIR": f"{folder}/data",
        "PYTHONPYCACHEPREFIX": f"{folder}/compiled",
    }
    environ.pop("PYTHONDONTWRITEBYTECODE", None)
    return environ


def _start(name, environ, options):
    """Start gunicorn, and return its `Start`."""
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.socket() as client:
        client.settimeout(TIMEOUT)
        client.connect(listener.getsockname())
        client.sendall(REQUEST)
        argv = [sys.executable, "-m", "gunicorn", APPLICATIONS[name], "--no-control-socket", "--log-level", "warning"]
        argv += ["--bind", f"fd://{listener.fileno()}", *(f"--{option}" for option in options)]
        started = perf_counter()
        server = subprocess.Popen(argv, env=environ, cwd=ROOT, pass_fds=[listener.fileno()], stdout=subprocess.DEVNULL)
        listener.close()  # so that the connection ends if gunicorn does
        try:
            answer = client.recv(65536)
            start = Start(perf_counter() - started, sum(map(_cpu_seconds, family(server.pid))))
        finally:
            server.send_signal(signal.SIGTERM)
            server.wait()
    if not answer.startswith(b"HTTP/1.1 200 "):
        raise RuntimeError(f"{name} answers {answer!r}")
    return start


def _cpu_seconds(pid):
    """Return the seconds that all threads of a process have run. /proc/PID/stat has hundredths only."""
    return sum(int(path.read_text().split()[0]) for path in Path(f"/proc/{pid}/task").glob("*/schedstat")) / 1e9


def _imports(name, environ):
    """Return the microseconds of each module that a worker imports until its application is ready."""
    module, _, attribute = APPLICATIONS[name].partition(":")
    code = f"import gunicorn.workers.sync, {module}\ngetattr({module}.{attribute}, 'start', int)()\nos._exit(0)"
    argv = [sys.executable, "-X", "importtime", "-c", f"import os\n{code}"]
    errors = subprocess.run(argv, env=environ, cwd=ROOT, check=True, capture_output=True, text=True).stderr
    return list(map(int, IMPORTTIME.findall(errors)))


def _show(unit, bare, ours):
    ratios = sorted(our / their for our, their in zip(ours, bare, strict=True))
    ratio, spread = median(ratios), ratios[len(ratios) // 4 : -(len(ratios) // 4) or None]
    print(
        f"{unit}: bare {median(bare):5.0f}, ours {median(ours):5.0f}; ratio {ratio:.2f} "
        f"({spread[0]:.2f} to {spread[-1]:.2f} in the middle half), least of each {min(ours) / min(bare):.2f}; "
        f"goal {GOAL}: {'met' if ratio <= GOAL else 'short'}"
    )


if __name__ == "__main__":
    main()
