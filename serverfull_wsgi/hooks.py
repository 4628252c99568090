"""gunicorn's hooks: ``from serverfull_wsgi.hooks import post_worker_init, worker_exit`` in its configuration file."""

from serverfull_wsgi.servers.gunicorn.hooks import post_worker_init, worker_exit

__all__ = ["post_worker_init", "worker_exit"]
