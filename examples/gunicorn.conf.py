"""A gunicorn configuration for functions: threads that keep connections, a clean stop, the loopback only.

Run it, after ``pip install .`` in a checkout, from the checkout's directory:

    SERVERFULL_FUNCTIONS=hello=examples.hello.handler gunicorn --config examples/gunicorn.conf.py serverfull_wsgi:app

Call it:

    curl -d '{}' http://localhost:8000/2015-03-31/functions/hello/invocations

gunicorn reads ``gunicorn.conf.py`` of the directory in which it starts, without an option.
"""

# ruff: noqa: N999  (gunicorn's name for this file, though no module's)

# gunicorn finds its hooks by these names. The first opens the event queue before the first request, and warns about
# functions whose timeout exceeds the limits below. The second lets accepted events end before a worker exits.
from serverfull_wsgi.hooks import post_worker_init, worker_exit  # noqa: F401

# Everyone who reaches this address may run every function, unless SERVERFULL_CREDENTIALS_FILE names the valid keys.
bind = "127.0.0.1:8000"

# Threads keep connections alive. Sync workers do not, so an SDK would open a new connection for each call.
worker_class = "gthread"
threads = 8

# Limits and counts hold for each process, so with one worker they hold for the whole server. Handlers that compute
# rather than wait need one worker for each core.
workers = 1

# gthread applies this limit to a worker, not to a request: a slow function continues, a hung worker is replaced.
timeout = 30  # seconds

# The time for running requests and events at a stop. Events have SERVERFULL_DRAIN (25) of these seconds.
graceful_timeout = 30  # seconds

# Without this, gunicorn opens a socket for commands in the home directory of its user.
control_socket_disable = True
