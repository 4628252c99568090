"""A fetcher of one's own: each ``NAME.py`` of a directory with a ``handler`` in it is the function NAME.

Run it, with ``pip install serverfull-wsgi``, from the directory that holds ``examples``:

    mkdir -p functions
    echo 'def handler(event, context): return event' > functions/echo.py
    FUNCTIONS_DIRECTORY=functions gunicorn --threads 8 'examples.directory_fetcher:application()'

Call it; a file that is new, changed or removed counts from the next call on:

    curl -d '{"n": 1}' http://localhost:8000/2015-03-31/functions/echo/invocations
    {"n": 1}
    echo 'def handler(event, context): return "pong"' > functions/ping.py
    curl -d '{}' http://localhost:8000/2015-03-31/functions/ping/invocations
    "pong"

While calls come in, write a changed file under another name and rename it: one half written would be loaded as it is.
Whoever may write to the directory may run code in the server.
"""

import os
import re
import sys
from pathlib import Path
from types import ModuleType

from serverfull_wsgi import ConfigurationError, Function, NotFoundError, create_app

# What a request may name: no dot, no slash, nothing hidden. A file whose name begins with _ is no function.
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")


class DirectoryFetcher:
    """Serves the files of ``directory``, in their present state; there is one version of each, ``$LATEST``."""

    def __init__(self, directory):
        self.directory = Path(directory).resolve()
        if not self.directory.is_dir():
            raise ConfigurationError(f"{directory!r} is no directory to load functions from; make it, or name another")
        self.loaded = {}

    def fetch(self, name, qualifier="$LATEST"):
        if not NAME.fullmatch(name) or qualifier != "$LATEST" or not self.path(name).is_file():
            raise NotFoundError(name)
        return self.function(name)

    def functions(self):
        """What there is, for ``serverfull functions`` and the like."""
        names = sorted(path.stem for path in self.directory.glob("*.py"))
        return [self.function(name) for name in names if NAME.fullmatch(name)]

    def path(self, name):
        return self.directory / f"{name}.py"

    def function(self, name):
        # Loaded when it runs, not when it is found: a file that cannot be loaded is then an error of its function,
        # and one that calls sys.exit() does not end the server.
        return Function(lambda event, context: self.module(name).handler(event, context), name=name)

    def module(self, name):
        """The module as the file is now. Two threads may both load a change; that costs no more than the time."""
        status = self.path(name).stat()
        state = status.st_mtime_ns, status.st_size  # read before the file: a change in between is seen next time
        if self.loaded.get(name, (None,))[0] != state:
            self.loaded[name] = state, load(name, self.path(name))
        return self.loaded[name][1]


def load(name, path):
    """Runs the file as a module; not through import, whose cache of bytecode knows changes by the second only."""
    module = ModuleType(f"{__name__}.{name}")
    module.__file__ = str(path)
    code = compile(path.read_bytes(), path, "exec")
    sys.modules[module.__name__] = module  # dataclasses and pickle look there
    exec(code, vars(module))
    return module


def application():
    return create_app(fetcher=DirectoryFetcher(os.environ.get("FUNCTIONS_DIRECTORY", "functions")))
