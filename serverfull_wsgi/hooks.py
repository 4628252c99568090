"""gunicorn's server hooks, for a ``gunicorn.conf.py``.

Its line is ``from serverfull_wsgi.hooks import post_worker_init, worker_exit``.
"""

from serverfull_wsgi.servers.gunicorn.hooks import post_worker_init, worker_exit

__all__ = ["post_worker_init", "worker_exit"]
