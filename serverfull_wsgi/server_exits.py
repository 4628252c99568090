"""Exits of the server, as distinct from exits of the code that it runs."""

from __future__ import annotations

STOPPING = "The server is stopping, and does not wait for this invocation any longer."


def raised_by_server(error: BaseException) -> bool:
    """Return whether the server raised ``error`` to end this request.

    gunicorn's sync worker raises `SystemExit` from its signal handler when a request takes too long. gevent ends a
    greenlet with ``GreenletExit``. Every other exception comes from a handler or a fetcher, and must not reach the
    server: an uncaught ``sys.exit(3)`` in a worker stops gunicorn's master.
    """
    if type(error).__name__ == "GreenletExit":
        return True
    trace = error.__traceback__
    while trace and trace.tb_next:
        trace = trace.tb_next
    return trace is not None and trace.tb_frame.f_globals.get("__name__", "").startswith("gunicorn.")
