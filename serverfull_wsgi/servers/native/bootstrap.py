"""Native Lambda mode: one function under awslambdaric, AWS's own runtime client, or else the fallback client.

The client imports its handler by name, so `run` stores the handler in this module. The module's file name is
required: the client leaves the frames of files called bootstrap.py out of stack traces, which then begin in the
user's code, as they do without this package.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from serverfull_wsgi.assembly.fetchers import create_fetcher
from serverfull_wsgi.assembly.telemetry import create_stats, log_notices
from serverfull_wsgi.domain import Function, Handler
from serverfull_wsgi.errors import ConfigurationError, RuntimeFault
from serverfull_wsgi.executors.isolated.runtimes.python_client import import_client, is_fallback
from serverfull_wsgi.fetchers.abilities import find_function
from serverfull_wsgi.handlers import load_handler
from serverfull_wsgi.protocols import Fetcher
from serverfull_wsgi.settings.settings import Settings
from serverfull_wsgi.telemetry.metrics import UdpStats
from serverfull_wsgi.telemetry.scope import LOGGER, InvocationScope, current_scope
from serverfull_wsgi.telemetry.stat import Stat

handler: Handler


def run(handler_to_run: Handler) -> None:
    """Take invocations from the Lambda Runtime API until the process ends.

    Raises `ConfigurationError` if this process is not on AWS Lambda.
    """
    global handler
    handler = handler_to_run
    address = os.environ.get("AWS_LAMBDA_RUNTIME_API")
    if not address:
        raise ConfigurationError("AWS_LAMBDA_RUNTIME_API is not set: native Lambda mode runs on AWS Lambda only")
    import_client()
    if is_fallback():
        LOGGER.warning(
            "the function runs under serverfull_wsgi's own runtime client: awslambdaric, AWS's, cannot be imported; "
            "to have AWS's, install it: pip install awslambdaric"
        )
    from awslambdaric import bootstrap
    from awslambdaric.lambda_runtime_client import LambdaRuntimeClient

    bootstrap.run(f"{__name__}.handler", LambdaRuntimeClient(address, use_thread_for_polling_next=True))


def start_lambda(
    fetcher: Fetcher | None,
    target: str,
    settings: Settings | None = None,
    run: Callable[[Handler], None] = run,
) -> None:
    """Run one function natively on AWS Lambda, under awslambdaric. Does not return while there are invocations.

    Args:
        fetcher: the functions; None for the functions that the settings describe.
        target: a function's name, or ``name:qualifier``.
        settings: None for the environment variables.
        run: a replacement of awslambdaric, for tests.

    Raises:
        ConfigurationError: if the fetcher has no function ``target``, or if this process is not on AWS Lambda.
    """
    settings = settings or Settings.from_environ()
    function = find_function(create_fetcher(settings, fetcher), target)
    handler = _in_context(function, create_stats(settings), settings.logger_level)
    log_notices(settings)
    run(handler)


def start_lambda_mock(
    fetcher: Fetcher | None,
    target: str,
    settings: Settings | None = None,
    run: Callable[[Handler], None] = run,
) -> None:
    """Run one function as `start_lambda` does, in mock mode."""
    start_lambda(fetcher, target, replace(settings or Settings.from_environ(), mock=True), run)


def _in_context(function: Function, stats: Stat | None, level: int) -> Handler:
    """Return the function's handler with the logger and the stats client in its context, as in HTTP mode.

    Log records of ``level`` and above go to AWS's own handler on the root logger.

    Raises `ConfigurationError` for a Handler string that cannot be loaded, and for a function with a code directory.
    """
    if function.code is not None:
        raise ConfigurationError(
            f"function {function.name!r} has a code directory, which native mode cannot run; name its handler instead"
        )
    try:
        handler = load_handler(function.handler) if isinstance(function.handler, str) else function.handler
    except RuntimeFault as fault:
        raise ConfigurationError(f"function {function.name!r}: {fault}") from fault
    LOGGER.handlers[:], LOGGER.propagate = [], True  # an application built in code may have set handlers
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
