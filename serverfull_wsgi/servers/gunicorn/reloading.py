"""``serverfull serve --reload``: reload isolated functions and templates, and survive code that cannot be loaded.

gunicorn's own reloader watches the Python modules that the worker has imported. It does not see the code of isolated
functions, which other processes import, and it ends the server if an import fails. So each worker also has a
`FileWatcher`::

    load ──> application ───> serves calls ──────────────────┐
      ^ └──> any error ─────> `BrokenApplication`: 500 ──────┤ a file changes
      │                                                      v
      └── the arbiter starts a new worker <── SIGTERM to this worker
"""

from __future__ import annotations

import os
import signal
import sys
import sysconfig
import threading
import time
import traceback
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from serverfull_wsgi.api.application import Application
from serverfull_wsgi.errors import ConfigurationError, ServiceException
from serverfull_wsgi.fetchers.abilities import list_functions, watched_paths
from serverfull_wsgi.telemetry.scope import LOGGER
from serverfull_wsgi.wsgi.requests import new_ids
from serverfull_wsgi.wsgi.responses import render

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

INTERVAL = 0.5  # seconds between two looks at the files: short for a person, and rare enough for a laptop
SHARE = 10  # a pause lasts 10 times as long as the look before it, so that a large tree takes a tenth of one processor
CODE_SUFFIXES = {".py", ".js", ".mjs", ".cjs", ".node", ".so", ".sh"}
IGNORED_FOLDERS = {"__pycache__", "node_modules", "site-packages"}

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
        return render(error, new_ids().request_id, environ, start_response)


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
    installed = tuple(sysconfig.get_paths()[name] for name in ("stdlib", "platstdlib", "purelib", "platlib"))
    return [path for path in sys.path if os.path.isdir(path) and not os.path.abspath(path).startswith(installed)]


def paths_of(application: Application) -> list[str]:
    """Return the code folders of an application's functions, and the files that declare the functions."""
    fetcher = application.dispatcher.fetcher
    paths = watched_paths(fetcher)
    try:
        functions = list_functions(fetcher)
    except ConfigurationError:  # of a fetcher that cannot list its functions
        return paths
    return [*paths, *(path for function in functions for path in (function.code, *function.layers) if path)]


class FileWatcher:
    """A thread that ends the worker if files change. gunicorn then starts a new worker, which loads everything again.

    Args:
        paths: files, and folders whose code is watched. They need not exist.
    """

    def __init__(self, paths: Iterable[str]) -> None:
        self._paths = list(dict.fromkeys(map(os.path.abspath, paths)))
        self._first = snapshot(self._paths)  # before the worker accepts a call, so that no later change is missed

    def start(self) -> None:
        """Start the thread. It ends with the process."""
        threading.Thread(target=self._run, name="serverfull-reload", daemon=True).start()

    def _run(self) -> None:
        first = previous = self._first
        while True:
            started = time.monotonic()
            now = snapshot(self._paths)
            if now != first and now == previous:  # a build that is still writing is left alone
                changed = min(path for path in {**first, **now} if first.get(path) != now.get(path))
                LOGGER.info("%s changed: this worker stops, and a new worker loads the code", changed)
                os.kill(os.getpid(), signal.SIGTERM)
                return
            previous = now
            time.sleep(max(INTERVAL, SHARE * (time.monotonic() - started)))


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
