"""Optional dependencies: the extra that a missing one needs."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from serverfull_wsgi.errors import ConfigurationError

EXTRAS = {  # the extras of setup.py that whole modules need: the package's name, and the modules it and its own import
    "celery": ("Celery", {"celery", "kombu", "redis"}),
    "granian": ("granian", {"granian"}),
    "jwt": ("PyJWT", {"jwt", "cryptography"}),
    "sam": ("PyYAML", {"yaml"}),
}


@contextlib.contextmanager
def needs_extra(extra: str, origin: str) -> Iterator[None]:
    """Turn the ImportError of a missing optional dependency into a `ConfigurationError` that names its cure.

    ``extra`` is a key of `EXTRAS`, ``origin`` the setting or class that needs it.
    """
    package, modules = EXTRAS[extra]
    try:
        yield
    except ImportError as error:
        if (error.name or "").partition(".")[0] not in modules:
            raise
        raise ConfigurationError(f"{origin} needs {package}: pip install 'serverfull-wsgi[{extra}]'") from error
