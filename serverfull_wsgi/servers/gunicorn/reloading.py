"""``serverfull serve --reload``: reload isolated functions and templates, and survive code that cannot be loaded.

gunicorn's own reloader watches the Python modules that the worker has imported. It does not see the code of isolated
functions, which other processes import, and it ends the server if an import fails. It misses each change before its
first look at a file, which comes after the load of the application. So each worker also has a `FileWatcher`::

    load ──> application ───> serves calls ──────────────────┐
      ^ └──> any error ─────> `BrokenApplication`: 500 ──────┤ a file changes, or has changed during the load
      │                                                      v
      └── the arbiter starts a new worker <── SIGTERM to this worker
"""

from __future__ import annotations

import mmap
import os
import signal
import struct
import sys
import sysconfig
import threading
import time
import traceback
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from serverfull_wsgi.api.application import Application
from serverfull_wsgi.errors import ConfigurationError, ServiceException
from serverfull_wsgi.fetchers.abilities import configured_functions, watched_paths
from serverfull_wsgi.telemetry.scope import LOGGER
from serverfull_wsgi.wsgi.ids import new_request_id
from serverfull_wsgi.wsgi.responses import render

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

INTERVAL = 0.5  # seconds between two looks at the files: short for a person, and rare enough for a laptop
SHARE = 10  # a pause lasts 10 times as long as the look before it, so that a large tree takes a tenth of one processor
CLOCK_TICK = 10_000_000  # nanoseconds: Linux takes the times of files from a clock that is up to a hundredth second old
CODE_SUFFIXES = {".py", ".js", ".mjs", ".cjs", ".node", ".so", ".sh"}
IGNORED_FOLDERS = {"__pycache__", "node_modules", "site-packages"}

TIME = struct.Struct("q")
Snapshot = dict[str, tuple[int, int]]  # modification time in nanoseconds, and size, by path


class BrokenApplication:
    """A WSGI application that answers each request with a 500 and the reason why the application cannot be loaded.

    Args:
        error: the exception that the load of the application raised.

    Attributes:
        reason: the text for callers and for the log.
        paths: files and folders in which a change may mend the application.
    """

    def __init__(self, error: BaseException) -> None:
        self.reason = str(error) if isinstance(error, ConfigurationError) else _trace(error)
        self.paths = [os.getcwd(), *_own_search_path(), *_files_of(error)]

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        error = ServiceException(f"The application cannot be loaded: {self.reason}")
        return render(error, new_request_id(), environ, start_response)


def _trace(error: BaseException) -> str:
    return "".join(traceback.format_exception(error)).rstrip()


def _files_of(error: BaseException | None) -> Iterator[str]:
    """Yield the files of an exception's stack trace, of its causes, and of a syntax error."""
    while error is not None:
        yield from (frame.filename for frame in traceback.extract_tb(error.__traceback__))
        if isinstance(error, SyntaxError) and error.filename:
            yield error.filename
        error = error.__cause__ or error.__context__


def _own_search_path() -> list[str]:
    """Return the folders of ``sys.path`` that neither Python nor an installer fills."""
    return [path for path in sys.path if os.path.isdir(path) and not _is_installed(path)]


def _own_modules() -> Iterator[str]:
    """Yield the files of the imported modules that are neither Python's nor installed. gunicorn watches those."""
    for module in list(sys.modules.values()):
        path = getattr(module, "__dict__", {}).get("__file__")  # an attribute of a lazy module may import more
        if isinstance(path, str) and not _is_installed(path):
            yield os.path.abspath(path)


_INSTALLED = tuple(sysconfig.get_paths()[name] for name in ("stdlib", "platstdlib", "purelib", "platlib"))


def _is_installed(path: str) -> bool:
    return os.path.abspath(path).startswith(_INSTALLED)


def paths_of(application: Application) -> list[str]:
    """Return the code folders of an application's functions, and the files that declare the functions."""
    fetcher = application.dispatcher.fetcher
    paths = watched_paths(fetcher)
    try:
        functions = configured_functions(fetcher)
    except ConfigurationError:  # of a fetcher that cannot list its functions
        return paths
    return [*paths, *(path for function in functions for path in (function.code, *function.layers) if path)]


class Loads:
    """The loads of an application in a server's workers, which share this object.

    A worker may have read a file before the file changed during the load. So the application is loaded once more. The
    changes of that second load do not count: an application that writes code when it is loaded would never rest.
    """

    def __init__(self) -> None:
        self._repeated = mmap.mmap(-1, TIME.size)  # memory that the arbiter and its workers share
        self._began = 0

    def begin(self) -> None:
        """Note that this worker begins to load the application."""
        self._began = time.time_ns()

    def find_change(self, paths: Iterable[str]) -> str | None:
        """Return a path that has changed since the load began, or None. Call this once for each load.

        A time in the future has another clock, such as a file server's, and does not count.
        """
        now = time.time_ns()
        changed = None
        if not 0 < self._last_repeat() < self._began:
            changed = min(
                (path for path in paths if self._began - CLOCK_TICK <= _changed_at(path) <= now), default=None
            )
        TIME.pack_into(self._repeated, 0, now if changed else 0)
        return changed

    def _last_repeat(self) -> int:
        """Return the time of the last order to load once more, or 0 if that load has ended."""
        (time_ns,) = TIME.unpack_from(self._repeated)
        return int(time_ns)


def _changed_at(path: str) -> int:
    """Return the time in nanoseconds at which a file was last written, made, moved or replaced; 0 without a file."""
    try:
        return os.stat(path).st_ctime_ns
    except OSError:
        return 0


class FileWatcher:
    """A thread that ends the worker if files change. gunicorn then starts a new worker, which loads everything again.

    Make it before the worker accepts a call, so that no change is missed.

    Args:
        paths: files, and folders whose code is watched. They need not exist. Modules that are imported are watched too.
        loads: the server's loads. This worker's load has begun.
    """

    def __init__(self, paths: Iterable[str], loads: Loads) -> None:
        self._paths = list(dict.fromkeys(map(os.path.abspath, paths)))
        self._modules: Snapshot = {}  # first states
        self._add_modules()
        self._first = snapshot(self._paths)
        self._changed = loads.find_change([*self._first, *self._modules])

    def start(self) -> None:
        """Start the thread. It ends with the process."""
        threading.Thread(target=self._run, name="serverfull-reload", daemon=True).start()

    def _run(self) -> None:
        previous = {**self._first, **self._modules}
        while True:
            started = time.monotonic()
            self._add_modules()
            first = {**self._first, **self._modules}
            now = snapshot([*self._paths, *self._modules])
            if (now != first or self._changed) and now == previous:  # a build that is still writing is left alone
                changed = self._changed or min(path for path in {**first, **now} if first.get(path) != now.get(path))
                LOGGER.info("%s changed: this worker stops, and a new worker loads the code", changed)
                os.kill(os.getpid(), signal.SIGTERM)
                return
            previous = now
            time.sleep(max(INTERVAL, SHARE * (time.monotonic() - started)))

    def _add_modules(self) -> None:
        """Add the modules that calls have imported since the last look."""
        self._modules.update(snapshot(path for path in _own_modules() if path not in self._modules))


def snapshot(paths: Iterable[str]) -> Snapshot:
    """Return the state of files, and of all code in folders. A path that does not exist has no state."""
    states: Snapshot = {}
    for path in paths:
        if os.path.isdir(path):
            for folder, folders, names in os.walk(path):
                folders[:] = [name for name in folders if name not in IGNORED_FOLDERS and not name.startswith(".")]
                for name in names:
                    _add_state(states, os.path.join(folder, name), only_code=True)
        else:
            _add_state(states, path, only_code=False)
    return states


def _add_state(states: Snapshot, path: str, *, only_code: bool) -> None:
    """Add a file's state. Code has a suffix of code, or is executable, as a custom runtime's ``bootstrap`` is.

    Other files in a code folder may be logs, results or databases, which calls write.
    """
    try:
        status = os.stat(path)
    except OSError:  # removed meanwhile, or a broken link
        return
    if not only_code or os.path.splitext(path)[1] in CODE_SUFFIXES or status.st_mode & 0o100:
        states[path] = (status.st_mtime_ns, status.st_size)
