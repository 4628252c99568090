"""Servers of the application: gunicorn for HTTP, and AWS's runtime client on AWS Lambda.

The application is a WSGI callable, so any WSGI server runs it. The modules here add a server's life cycle::

    gunicorn serverfull_wsgi:app ──> start.load_app ─────────────┐
    serverfull serve, start_http ──> start.serve ──> arbiter ────┼──> Application ──> gunicorn's workers
    own gunicorn.conf.py         ──> hooks ──────────────────────┘
    serverfull lambda, start_lambda ──> native.bootstrap ──> awslambdaric ──> one handler

In a gunicorn worker:

1. The application is loaded, in the worker, or before the fork with ``--preload``.
2. `Application.start` opens its resources, in the worker, before the first request.
3. `Application.watch_shutdown` gets a function that returns the seconds left after a stop.
4. `gunicorn.workers.adopt` keeps slow clients from the worker's threads.
   With ``--server granian``, `gunicorn.granian.GranianWorker` takes the place of gunicorn's own worker classes.
5. `Application.close` lets accepted events finish. The hook ``worker_exit`` calls it; with the command ``gunicorn`` and
   no hooks, the end of the interpreter does.
"""
