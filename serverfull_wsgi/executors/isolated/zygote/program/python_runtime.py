"""AWS's runtime client in a process that was forked with it: what ``python -m awslambdaric HANDLER`` does."""

from __future__ import annotations

import importlib
import io
import os
import sys
import time

from ..protocol import Job


def _stream(fd: int, name: str, errors: str) -> io.TextIOWrapper:
    """What Python itself opens when it is not to buffer (``python -u``)."""
    raw = io.FileIO(fd, "w", closefd=False)
    raw.name = f"<{name}>"
    return io.TextIOWrapper(raw, "utf-8", errors, "\n", write_through=True)


def become_runtime(job: Job) -> None:
    """What ``python -m awslambdaric HANDLER`` does, in a process that has imported it already."""
    os.environ.clear()
    os.environ.update(job["env"])
    time.tzset()
    sys.path[:0] = job["path"]
    sys.stdout = sys.__stdout__ = _stream(1, "stdout", "strict")  # type: ignore[misc]
    sys.stderr = sys.__stderr__ = _stream(2, "stderr", "backslashreplace")  # type: ignore[misc]
    if numpy := sys.modules.get("numpy"):
        numpy.random.seed()  # (`random` seeds itself in a fork)
    from awslambdaric import __main__ as runtime
    from awslambdaric import bootstrap, lambda_runtime_client

    if "AWS_LAMBDA_LOG_FORMAT" in os.environ or "AWS_LAMBDA_LOG_LEVEL" in os.environ:
        importlib.reload(bootstrap)
    # What was decided at import, by variables that were not there yet: how text is written, and where the API is.
    lambda_runtime_client.LambdaRuntimeClient.marshaller = lambda_runtime_client.LambdaMarshaller()
    client = lambda_runtime_client.runtime_client = importlib.import_module("runtime_client")
    client.initialize_client(lambda_runtime_client._user_agent())
    sys.argv = [runtime.__file__, job["handler"]]
    runtime.main(sys.argv)
