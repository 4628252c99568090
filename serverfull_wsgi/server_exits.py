"""Telling apart who ends a request: the code that was called, or the server around it."""

from __future__ import annotations


def raised_by_server(error: BaseException) -> bool:
    """Whether the server ends this request, and not the handler or fetcher that was running.

    gunicorn's sync worker raises `SystemExit` from its signal handler when a request takes too long; gevent ends a
    greenlet with ``GreenletExit``. Whatever else gets this far stops here: an uncaught ``sys.exit(3)`` in a worker
    stops gunicorn's master.
    """
    if type(error).__name__ == "GreenletExit":
        return True
    trace = error.__traceback__
    while trace and trace.tb_next:
        trace = trace.tb_next
    return trace is not None and trace.tb_frame.f_globals.get("__name__", "").startswith("gunicorn.")
