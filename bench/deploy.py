"""The registry's figures: python -m bench.deploy.

Each figure names what it is compared with. Servers listen on the loopback.
"""

import argparse
import contextlib
import http.client
import io
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import timeit
import zipfile
from pathlib import Path

from bench.servers import free_port
from serverfull_wsgi import StaticFetcher
from serverfull_wsgi.fetchers.fallback import FallbackFetcher
from serverfull_wsgi.fetchers.registry import RegistryFetcher
from serverfull_wsgi.registry.account import Account
from serverfull_wsgi.registry.objects import DirectoryStore
from serverfull_wsgi.registry.packages import PackageStore
from serverfull_wsgi.registry.registry import Registry
from serverfull_wsgi.storage.package_cache import PackageCache
from serverfull_wsgi.telemetry.scope import LOGGER

REQUEST = {"Runtime": "python3.12", "Role": "arn:aws:iam::123456789012:role/r", "Handler": "app.handler"}
VARIABLES = {"Variables": {f"VARIABLE_{number}": "x" * 40 for number in range(10)}}
NAME = "hello"


def main():
    options = _options()
    LOGGER.disabled = True
    with tempfile.TemporaryDirectory(dir=options.directory) as directory:
        for figure in options.only or FIGURES:
            path = Path(directory, figure)
            path.mkdir()
            FIGURES[figure](path, options)
            subprocess.run(["chmod", "-R", "u+w", path], check=True)  # unpacked packages are read-only
            shutil.rmtree(path)


def _options():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("only", nargs="*", metavar="FIGURE", help=f"some of: {', '.join(FIGURES)} (default: all)")
    parser.add_argument("--directory", default=None, help="the parent of the registries, on the disk to measure")
    parser.add_argument("--functions", type=int, default=10_000, help="functions of one registry (default: 10,000)")
    parser.add_argument("--kills", type=int, default=200, help="deploys that are killed (default: 200)")
    parser.add_argument("--updates", type=int, default=10_000, help="updates of one function (default: 10,000)")
    parser.add_argument("--writers", type=int, default=16, help="processes that update it (default: 16)")
    parser.add_argument("--deploys", type=int, default=100, help="deploys during calls (default: 100)")
    parser.add_argument("--pause", type=float, default=0.2, help="seconds between them (default: 0.2)")
    options = parser.parse_args()
    if unknown := set(options.only) - FIGURES.keys():
        parser.error(f"unknown figure: {', '.join(unknown)}")
    return options


def registry_in(path, data="data"):
    store = DirectoryStore(path / "registry")
    return Registry(store, PackageStore(store, PackageCache(path / data / "deployed")), Account("us-east-1", "1" * 12))


def package(text, size=0):
    """Return a zip archive with a handler, and with ``size`` bytes that cannot be compressed."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("app.py", f"def handler(event, context): return {text!r}")
        for number in range(size // 100_000):
            archive.writestr(f"data/{number}", random.randbytes(100_000))
    file.seek(0)
    return file


def call(path, options):
    """Microseconds to find a function, over a static one; the system call is most of it."""
    registry = registry_in(path)
    registry.create_function(NAME, {**REQUEST, "Publish": True}, registry.packages.add(package("one")), "bench")
    registry.create_alias(NAME, {"Name": "prod", "FunctionVersion": "1"}, "bench")
    static, document = StaticFetcher({"static": print}), str(path / "registry/functions" / NAME)
    fetcher = FallbackFetcher(static, RegistryFetcher(registry))
    calls = {
        "static": lambda: static.fetch("static", "$LATEST"),
        "$LATEST": lambda: fetcher.fetch_for(NAME, "$LATEST", "id"),
        "alias": lambda: fetcher.fetch_for(NAME, "prod", "id"),
        "stat": lambda: os.stat(document),
    }
    best = dict.fromkeys(calls, float("inf"))
    for _ in range(100):  # in turns
        for name, one in calls.items():
            best[name] = min(best[name], timeit.timeit(one, number=500) / 500 * 1e6)
    for name in ("$LATEST", "alias"):
        over = best[name] - best["static"]
        print(
            f"call of {name}: {best[name]:.1f} µs, {over:.1f} over a static function, "
            f"of which os.stat takes {best['stat']:.1f}"
        )


def create(path, options):
    """Seconds to create a function of 10 MB, beside ``unzip``."""
    content = package("one", 10_000_000).getvalue()
    (path / "code.zip").write_bytes(content)
    ours, theirs = [], []
    for number in range(5):
        registry = registry_in(path / str(number))
        begin = time.perf_counter()
        registry.create_function(NAME, REQUEST, registry.packages.add(io.BytesIO(content)), "bench")
        ours.append(time.perf_counter() - begin)
        begin = time.perf_counter()
        subprocess.run(["unzip", "-q", path / "code.zip", "-d", path / f"unzip-{number}"], check=True)
        os.sync()
        theirs.append(time.perf_counter() - begin)
    print(f"create of {len(content) / 1e6:.1f} MB: best {min(ours):.2f} s; unzip and sync: best {min(theirs):.2f} s")


def many(path, options):
    """Seconds and memory with many functions."""
    registry, count = registry_in(path), options.functions
    one = registry.packages.add(package("one"))
    begin = time.perf_counter()
    for number in range(count):
        registry.create_function(f"f{number}", {**REQUEST, "Environment": VARIABLES}, one, "bench")
    print(f"{count:,} creates: {(time.perf_counter() - begin) / count * 1e3:.1f} ms each")
    print(f"names: {_seconds(registry.names):.2f} s")
    page = registry.names()[:50]
    print(f"one page of 50: {_seconds(lambda: [registry.function_configuration(name) for name in page]) * 1e3:.0f} ms")
    print(f"all configurations: {_seconds(lambda: sum(1 for _ in registry.list_functions())):.1f} s")
    before = _resident()
    fetcher = RegistryFetcher(registry)
    print(f"first call of each: {_seconds(lambda: [fetcher.fetch(f'f{number}') for number in range(count)]):.1f} s")
    print(f"memory of {count:,} called functions: {_resident() - before:.0f} MB")
    update = _seconds(lambda: registry.update_configuration("f0", {"Timeout": 9}, "bench"))
    print(f"one update: {update * 1e3:.0f} ms")


def _seconds(one):
    begin = time.perf_counter()
    one()
    return time.perf_counter() - begin


def _resident():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def kills(path, options):
    """Deploys that are killed at a random moment: half states and lost acknowledged deploys."""
    registry = registry_in(path)
    registry.create_function(NAME, REQUEST, registry.packages.add(package("0")), "bench")
    window = 2 * _seconds(lambda: _update(registry, "typical"))  # seconds in which a deploy is killed
    half = lost = acknowledged = 0
    for number in range(options.kills):
        read, write = os.pipe()
        child = os.fork()
        if child == 0:
            os.write(write, _update(registry_in(path), str(number))["CodeSha256"].encode())
            os._exit(0)
        time.sleep(random.uniform(0, window))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        os.close(write)
        with os.fdopen(read) as answers:
            expected = answers.read() or None
        half += not _is_whole(path, number)
        present = registry_in(path).function_configuration(NAME)["CodeSha256"]
        lost += expected not in (None, present)
        acknowledged += expected is not None
        window *= 0.9 if expected else 1.1  # so that about a half of the deploys are acknowledged
    print(
        f"{options.kills} deploys killed, {acknowledged} of them after their answer: "
        f"half states {half}, lost acknowledged deploys {lost}"
    )


def _update(registry, text):
    return registry.update_code(NAME, {}, registry.packages.add(package(text)), "bench")


def _is_whole(path, number):
    """Return whether a machine without a cache can unpack the function's package."""
    registry = registry_in(path, f"machine-{number}")
    try:
        return Path(registry.packages.directory(registry.package(NAME)), "app.py").is_file()
    except Exception as error:
        print(f"deploy {number}: {error!r}")
        return False


WRITER = """
import sys
from pathlib import Path
from bench.deploy import LOGGER, NAME, registry_in
LOGGER.disabled = True
registry, writer = registry_in(Path(sys.argv[1])), sys.argv[2]
for number in range(int(sys.argv[3])):
    registry.tag(NAME, {f"writer-{writer}": str(number + 1)}, "bench")
"""


def writers(path, options):
    """Updates of one function by many processes at once."""
    registry = registry_in(path)
    registry.create_function(NAME, REQUEST, registry.packages.add(package("0")), "bench")
    each = options.updates // options.writers
    begin = time.perf_counter()
    processes = [
        subprocess.Popen([sys.executable, "-c", WRITER, path, str(number), str(each)])
        for number in range(options.writers)
    ]
    failed = sum(process.wait() != 0 for process in processes)
    seconds = time.perf_counter() - begin
    document = registry.get(NAME)
    count = each * options.writers
    lost = 1 + count - document["revision"]
    ends = set(document["tags"].values()) == {str(each)}
    print(
        f"{count:,} updates by {options.writers} writers: {seconds:.1f} s, failed writers {failed}, "
        f"lost updates {lost}, every writer's last one in force: {ends}"
    )


def invokes(path, options):
    """Calls of a server with four workers during deploys: failed calls, and calls that ran old code."""
    server = Server(path)
    registry = registry_in(path)
    request = {**REQUEST, "Runtime": f"python3.{sys.version_info.minor}"}
    registry.create_function(NAME, request, registry.packages.add(package("0")), "bench")
    in_force, done, results = [0], threading.Event(), []
    callers = [threading.Thread(target=server.call_until, args=(done, in_force, results)) for _ in range(8)]
    with server:
        server.call()
        for caller in callers:
            caller.start()
        begin = time.perf_counter()
        for number in range(1, options.deploys + 1):
            _update(registry, str(number))
            assert registry.function_configuration(NAME)["LastUpdateStatus"] == "Successful"
            in_force[0] = number
            time.sleep(options.pause)
        seconds = time.perf_counter() - begin
        done.set()
        for caller in callers:
            caller.join()
    failed = results.count(None)
    old = sum(result is not None and result[1] < result[0] for result in results)
    print(
        f"{len(results):,} calls ({len(results) / seconds:.0f}/s) during {options.deploys} deploys: "
        f"failed {failed}, ran old code {old}"
    )


class Server:
    """``serverfull serve`` with four workers on the registry of ``path``."""

    def __init__(self, path):
        self._path, self._port = path, free_port()

    def __enter__(self):
        environ = {
            "SERVERFULL_REGISTRY": str(self._path / "registry"),
            "SERVERFULL_DATA_DIR": str(self._path / "server"),
            "SERVERFULL_EVENTS": "memory",
            "SERVERFULL_RUNTIME_HTTPSERVER_ADDRESS": f"127.0.0.1:{self._port}",
            "SERVERFULL_RUNTIME_LOGGER_LEVEL": "ERROR",
        }
        argv = ["-m", "serverfull_wsgi", "serve", "--workers", "4", "--threads", "4", "--no-control-socket"]
        self._process = subprocess.Popen(
            [sys.executable, *argv], env={**os.environ, **environ}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )

    def __exit__(self, *_):
        self._process.terminate()
        self._process.wait()

    def call(self):
        """Wait until the server responds."""
        for _ in range(300):
            with contextlib.suppress(OSError), contextlib.closing(self._connection()) as connection:
                self._invoke(connection)
                return
            time.sleep(0.1)
        raise RuntimeError("the server does not respond")

    def _connection(self):
        return http.client.HTTPConnection("127.0.0.1", self._port, timeout=60)

    def _invoke(self, connection):
        """Return the number of the deploy whose code ran, or None for a call that failed."""
        connection.request("POST", f"/2015-03-31/functions/{NAME}/invocations", b"{}")
        response = connection.getresponse()
        body = response.read()
        is_failed = response.status != 200 or response.getheader("X-Amz-Function-Error")
        return None if is_failed else int(json.loads(body))

    def call_until(self, done, in_force, results):
        """Call until ``done``. Append the deploy in force before each call and the one that ran; None for a failure."""
        with contextlib.closing(self._connection()) as connection:
            while not done.is_set():
                expected = in_force[0]
                ran = self._invoke(connection)
                results.append(None if ran is None else (expected, ran))


FIGURES = {"call": call, "create": create, "many": many, "kills": kills, "writers": writers, "invokes": invokes}

if __name__ == "__main__":
    main()
