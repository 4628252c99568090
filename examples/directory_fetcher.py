"""A fetcher of your own: each file ``NAME.py`` of a directory serves its ``handler`` as the function NAME.

Run it, after ``pip install .`` in a checkout, from the checkout's directory:

    mkdir -p functions
    echo 'def handler(event, context): return event' > functions/echo.py
    FUNCTIONS_DIRECTORY=functions gunicorn --threads 8 'examples.directory_fetcher:application()'

Call it. A new, changed or removed file takes effect at the next call:

    curl -d '{"n": 1}' http://localhost:8000/2015-03-31/functions/echo/invocations
    {"n": 1}
    echo 'def handler(event, context): return "pong"' > functions/ping.py
    curl -d '{}' http://localhost:8000/2015-03-31/functions/ping/invocations
    "pong"

Write a changed file under another name and rename it. Otherwise a call may load a file that is half written.
Everyone who may write to the directory may run code in the server.
"""

import os
import re
import sys
from pathlib import Path
from types import ModuleType

from serverfull_wsgi import ConfigurationError, Function, NotFoundError, create_app

# A valid name has no dot and no slash, so it cannot leave the directory. It does not begin with _, as private files do.
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")


class DirectoryFetcher:
    """A fetcher that serves the files of ``directory`` in their present state. Each has one version, ``$LATEST``."""

    def __init__(self, directory):
        self.directory = Path(directory).resolve()
        if not self.directory.is_dir():
            raise ConfigurationError(
                f"{directory!r} is not a directory to load functions from; make it, or name another"
            )
        self.loaded = {}

    def fetch(self, name, qualifier="$LATEST"):
        if not NAME.fullmatch(name) or qualifier != "$LATEST" or not self.path(name).is_file():
            raise NotFoundError(name)
        return self.function(name)

    def functions(self):
        """Return all functions, for ``serverfull functions`` and ``serverfull check``."""
        names = sorted(path.stem for path in self.directory.glob("*.py"))
        return [self.function(name) for name in names if NAME.fullmatch(name)]

    def path(self, name):
        return self.directory / f"{name}.py"

    def function(self, name):
        # The file is loaded when the function runs. So a file that cannot be loaded is an error of its function, and
        # a file that calls sys.exit() does not end the server.
        return Function(lambda event, context: self.module(name).handler(event, context), name=name)

    def module(self, name):
        """Return the module of the present file. Two threads may load the same change; that costs only time."""
        status = self.path(name).stat()
        state = status.st_mtime_ns, status.st_size  # read before the file, so the next call sees a change in between
        if self.loaded.get(name, (None,))[0] != state:
            self.loaded[name] = state, load(name, self.path(name))
        return self.loaded[name][1]


def load(name, path):
    """Run the file as a module. An import would use cached bytecode, which misses changes within one second."""
    module = ModuleType(f"{__name__}.{name}")
    module.__file__ = str(path)
    code = compile(path.read_bytes(), path, "exec")
    sys.modules[module.__name__] = module  # dataclasses and pickle look modules up there
    exec(code, vars(module))
    return module


def application():
    return create_app(fetcher=DirectoryFetcher(os.environ.get("FUNCTIONS_DIRECTORY", "functions")))
