"""AWS Lambda functions on your own machines: a WSGI application that speaks the Lambda API.

    >>> from serverfull_wsgi import Application, StaticFetcher
    >>> application = Application(StaticFetcher({"hello": lambda event, context: "Hello!"}))

``serverfull_wsgi.app`` is the application that the environment variables ``SERVERFULL_*`` describe, made when it is
first read: ``gunicorn serverfull_wsgi:app``.
"""

from __future__ import annotations

import sys
from types import FrameType
from typing import TYPE_CHECKING, Any

from serverfull_wsgi.api.application import Application
from serverfull_wsgi.api.invoke import Invoke, InvokeAsync
from serverfull_wsgi.assembly import create_app
from serverfull_wsgi.auth.credentials import Credential, CredentialsFile
from serverfull_wsgi.auth.principal import Principal
from serverfull_wsgi.auth.sigv4.middleware import SigV4Middleware
from serverfull_wsgi.context import LambdaContext
from serverfull_wsgi.domain import EventQueue, Executor, Fetcher, Function, Invocation, Outcome
from serverfull_wsgi.errors import (
    ConfigurationError,
    InvalidRuntimeException,
    NotFoundError,
    ResourceConflictException,
    ServiceError,
    ServiceException,
    TooManyRequestsException,
)
from serverfull_wsgi.event_config import EventConfig
from serverfull_wsgi.executors.inprocess import InProcessExecutor
from serverfull_wsgi.executors.isolated.executor import ProcessExecutor
from serverfull_wsgi.executors.routing import ChoosingExecutor
from serverfull_wsgi.fetchers.imported import ImportFetcher
from serverfull_wsgi.fetchers.mocking import MockingFetcher
from serverfull_wsgi.fetchers.static import StaticFetcher
from serverfull_wsgi.names import FunctionName
from serverfull_wsgi.queues.memory import MemoryQueue
from serverfull_wsgi.queues.sqlite.queue import SqliteQueue
from serverfull_wsgi.servers.gunicorn.hooks import command_line, follow_worker, warn_of_timeouts
from serverfull_wsgi.servers.gunicorn.start import start_http, start_http_mock, start_lambda, start_lambda_mock
from serverfull_wsgi.settings.settings import Settings
from serverfull_wsgi.telemetry.metrics import Stat
from serverfull_wsgi.telemetry.scope import Logger, logger_from_context, stat_from_context

if TYPE_CHECKING:
    app: Application

__version__ = "0.1.0"
__all__ = [
    "Application",
    "ChoosingExecutor",
    "ConfigurationError",
    "Credential",
    "CredentialsFile",
    "EventConfig",
    "EventQueue",
    "Executor",
    "Fetcher",
    "Function",
    "FunctionName",
    "ImportFetcher",
    "InProcessExecutor",
    "InvalidRuntimeException",
    "Invocation",
    "Invoke",
    "InvokeAsync",
    "LambdaContext",
    "Logger",
    "MemoryQueue",
    "MockingFetcher",
    "NotFoundError",
    "Outcome",
    "Principal",
    "ProcessExecutor",
    "ResourceConflictException",
    "ServiceError",
    "ServiceException",
    "Settings",
    "SigV4Middleware",
    "SqliteQueue",
    "Stat",
    "StaticFetcher",
    "TooManyRequestsException",
    "create_app",
    "logger_from_context",
    "start_http",
    "start_http_mock",
    "start_lambda",
    "start_lambda_mock",
    "stat_from_context",
]


def __getattr__(name: str) -> Any:
    if name != "app":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        application = create_app()
    except ConfigurationError as error:
        raise _refusal(error) from None
    if _gunicorn_asks():
        follow_worker(application)
        if cfg := command_line():
            warn_of_timeouts(application, cfg)
    if _a_worker_asks():
        try:
            application.start()
        except ConfigurationError as error:
            raise _refusal(error) from None
    globals()["app"] = application
    return application


def _gunicorn_asks() -> bool:
    return "gunicorn.arbiter" in sys.modules


def _a_worker_asks() -> bool:
    """Whether one of gunicorn's workers loads the application, and not the master, which forks afterwards."""
    frame: FrameType | None = sys._getframe()
    while frame and frame.f_globals.get("__name__") != "gunicorn.workers.base":
        frame = frame.f_back
    return frame is not None


def _refusal(error: ConfigurationError) -> Exception:
    """The error in the form that gunicorn prints without a traceback, when it is gunicorn that asks."""
    if not _gunicorn_asks():
        return error
    from gunicorn.errors import AppImportError

    return AppImportError(  # type: ignore[no-any-return]
        f"serverfull_wsgi: the settings cannot be served:\n{error}"
    )
