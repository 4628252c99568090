"""Native Lambda mode: one function under awslambdaric, AWS's own runtime client.

awslambdaric imports its handler by name, so the handler to run is put into this module. It leaves the frames of files
called bootstrap.py out of its stack traces, which then begin in the user's code, as they would without us.
"""

from __future__ import annotations

import os
from typing import Any

from serverfull_wsgi.domain import Function, Handler
from serverfull_wsgi.errors import ConfigurationError, RuntimeFault
from serverfull_wsgi.handlers import load_handler
from serverfull_wsgi.telemetry.metrics import Stat, UdpStats
from serverfull_wsgi.telemetry.scope import LOGGER, InvocationScope, current_scope

handler: Handler


def handler_of(function: Function, stats: Stat | None, level: int) -> Handler:
    """The function's handler with the logger and the stats client in its context, as in HTTP mode.

    What is logged from ``level`` on goes to AWS's own handler on the root logger. Raises `ConfigurationError` for a
    Handler string that cannot be loaded, and for a function whose code lies in a directory of its own.
    """
    if function.code is not None:
        raise ConfigurationError(
            f"function {function.name!r} has a code directory of its own; name its handler instead"
        )
    try:
        handler = load_handler(function.handler) if isinstance(function.handler, str) else function.handler
    except RuntimeFault as fault:
        raise ConfigurationError(f"function {function.name!r}: {fault}") from fault
    LOGGER.handlers[:], LOGGER.propagate = [], True  # whatever an application made in code set up
    LOGGER.setLevel(level)
    if isinstance(stats, UdpStats):
        stats.start()

    def in_scope(event: Any, context: Any) -> Any:
        token = current_scope.set(InvocationScope(context.aws_request_id, function.name, LOGGER, stats, None))
        try:
            return handler(event, context)
        finally:
            current_scope.reset(token)

    return in_scope


def run(handler_to_run: Handler) -> None:
    """Takes invocations from the Lambda Runtime API until the process ends.

    Raises `ConfigurationError` where there is no such API, or no awslambdaric to speak to it.
    """
    global handler
    handler = handler_to_run
    address = os.environ.get("AWS_LAMBDA_RUNTIME_API")
    if not address:
        raise ConfigurationError("AWS_LAMBDA_RUNTIME_API is not set: native Lambda mode runs on AWS Lambda only")
    try:
        from awslambdaric import bootstrap
        from awslambdaric.lambda_runtime_client import LambdaRuntimeClient
    except ImportError as error:
        raise ConfigurationError(
            "native Lambda mode needs awslambdaric, which has wheels for Linux on x86-64: pip install awslambdaric"
        ) from error
    bootstrap.run(f"{__name__}.handler", LambdaRuntimeClient(address, use_thread_for_polling_next=True))
