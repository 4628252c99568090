"""gunicorn's worker classes that slow clients do not stop, for ``--worker-class``.

``gunicorn --worker-class serverfull_wsgi.workers.ThreadWorker --threads 8 serverfull_wsgi:app``
"""

from serverfull_wsgi.servers.gunicorn.workers import SyncWorker, ThreadWorker

__all__ = ["SyncWorker", "ThreadWorker"]
