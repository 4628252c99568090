"""gunicorn set up for functions: threads that keep connections, a stop that lets work end, the loopback only.

Run it, with ``pip install serverfull-wsgi``, from the directory that holds ``examples``:

    SERVERFULL_FUNCTIONS=hello=examples.hello.handler gunicorn --config examples/gunicorn.conf.py serverfull_wsgi:app

Call it:

    curl -d '{}' http://localhost:8000/2015-03-31/functions/hello/invocations

gunicorn reads a ``gunicorn.conf.py`` of the directory it starts in without being told to.
"""

# ruff: noqa: N999  (gunicorn's name for this file, though no module's)

# gunicorn finds its hooks by these names. The first opens the event queue before a request comes, and warns of
# functions that may run for longer than this server lets them; the second lets accepted events end before a worker
# goes.
from serverfull_wsgi.hooks import post_worker_init, worker_exit  # noqa: F401

# Whoever reaches this address may run every function, unless SERVERFULL_CREDENTIALS_FILE says whose signatures count.
bind = "127.0.0.1:8000"

# Threads keep connections alive, which sync workers never do, and an SDK would pay a new connection for each call.
worker_class = "gthread"
threads = 8

# What is counted and bounded is so in each process: with one, that is the whole server. Handlers that compute, rather
# than wait, want one for each core.
workers = 1

# gthread looks at its workers, not at requests: a slow function is not cut off, a worker that hangs is replaced.
timeout = 30  # seconds

# A stop waits this long for requests and then for events, which have SERVERFULL_DRAIN (25) of these seconds.
graceful_timeout = 30  # seconds

# gunicorn would open a socket for commands under the home of whoever starts it.
control_socket_disable = True
