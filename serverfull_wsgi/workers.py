"""gunicorn's worker classes that slow clients do not stop, and granian's HTTP server, for ``--worker-class``.

``gunicorn --worker-class serverfull_wsgi.workers.ThreadWorker --threads 8 serverfull_wsgi:app``
"""

from typing import TYPE_CHECKING, Any

from serverfull_wsgi.assembly.extras import needs_extra
from serverfull_wsgi.servers.gunicorn.sync_worker import SyncWorker
from serverfull_wsgi.servers.gunicorn.thread_worker import ThreadWorker

if TYPE_CHECKING:
    from serverfull_wsgi.servers.gunicorn.granian import GranianWorker

__all__ = ["GranianWorker", "SyncWorker", "ThreadWorker"]


def __getattr__(name: str) -> Any:
    if name != "GranianWorker":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    with needs_extra("granian", f"{__name__}.{name}"):
        from serverfull_wsgi.servers.gunicorn import granian
    return granian.GranianWorker
