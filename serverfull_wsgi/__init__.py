"""AWS Lambda functions on your own machines: a WSGI application that speaks the Lambda API.

    >>> from serverfull_wsgi import Application, StaticFetcher
    >>> application = Application(StaticFetcher({"hello": lambda event, context: "Hello!"}))

``serverfull_wsgi.app`` is the application that the environment variables ``SERVERFULL_*`` describe, for
``gunicorn serverfull_wsgi:app``. It is made when it is first read. An import of the package opens no file, starts no
thread and reads no environment variable.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from serverfull_wsgi.api.application import Application
from serverfull_wsgi.api.invoke import Invoke, InvokeAsync
from serverfull_wsgi.assembly.application import create_app
from serverfull_wsgi.assembly.extras import needs_extra
from serverfull_wsgi.auth.principal import Principal
from serverfull_wsgi.context import LambdaContext
from serverfull_wsgi.domain import Function, Invocation, Outcome
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
from serverfull_wsgi.events.retry_policy import Delays
from serverfull_wsgi.executors.inprocess import InProcessExecutor
from serverfull_wsgi.executors.isolated.executor import ProcessExecutor
from serverfull_wsgi.executors.routing import ChoosingExecutor
from serverfull_wsgi.fetchers.chain import ChainFetcher
from serverfull_wsgi.fetchers.imported import ImportFetcher
from serverfull_wsgi.fetchers.static import StaticFetcher
from serverfull_wsgi.names import FunctionName
from serverfull_wsgi.protocols import (
    Backlog,
    Checkable,
    CheckingExecutor,
    Closable,
    EventLog,
    EventQueue,
    Executor,
    Fetcher,
    ListableFetcher,
    ReportingFetcher,
    SandboxCheckable,
    ShutdownAware,
    Startable,
    StorageAdvisor,
)
from serverfull_wsgi.servers.gunicorn.start import load_app, start_http, start_http_mock
from serverfull_wsgi.settings.settings import Settings
from serverfull_wsgi.telemetry.scope import Logger, logger_from_context, stat_from_context
from serverfull_wsgi.telemetry.stat import Stat

if TYPE_CHECKING:
    from serverfull_wsgi.auth.credentials import Credential, CredentialsFile
    from serverfull_wsgi.auth.sigv4.middleware import SigV4Middleware
    from serverfull_wsgi.fetchers.mocking import MockingFetcher
    from serverfull_wsgi.fetchers.sam.fetcher import SamFetcher
    from serverfull_wsgi.logging_config import LoggingConfig
    from serverfull_wsgi.queues.celery.queue import CeleryQueue
    from serverfull_wsgi.queues.memory import MemoryQueue
    from serverfull_wsgi.queues.sqlite.queue import SqliteQueue
    from serverfull_wsgi.servers.native.bootstrap import start_lambda, start_lambda_mock

    app: Application

__version__ = "0.1.0"
__all__ = [
    "Application",
    "Backlog",
    "CeleryQueue",
    "ChainFetcher",
    "Checkable",
    "CheckingExecutor",
    "ChoosingExecutor",
    "Closable",
    "ConfigurationError",
    "Credential",
    "CredentialsFile",
    "Delays",
    "EventConfig",
    "EventLog",
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
    "ListableFetcher",
    "Logger",
    "LoggingConfig",
    "MemoryQueue",
    "MockingFetcher",
    "NotFoundError",
    "Outcome",
    "Principal",
    "ProcessExecutor",
    "ReportingFetcher",
    "ResourceConflictException",
    "SamFetcher",
    "SandboxCheckable",
    "ServiceError",
    "ServiceException",
    "Settings",
    "ShutdownAware",
    "SigV4Middleware",
    "SqliteQueue",
    "Startable",
    "Stat",
    "StaticFetcher",
    "StorageAdvisor",
    "TooManyRequestsException",
    "create_app",
    "logger_from_context",
    "start_http",
    "start_http_mock",
    "start_lambda",
    "start_lambda_mock",
    "stat_from_context",
]


# Names of which a server uses some or none. Each is imported from its module when it is first read.
_ON_DEMAND = {
    "Credential": "serverfull_wsgi.auth.credentials",
    "CredentialsFile": "serverfull_wsgi.auth.credentials",
    "LoggingConfig": "serverfull_wsgi.logging_config",
    "MemoryQueue": "serverfull_wsgi.queues.memory",
    "MockingFetcher": "serverfull_wsgi.fetchers.mocking",
    "SigV4Middleware": "serverfull_wsgi.auth.sigv4.middleware",
    "SqliteQueue": "serverfull_wsgi.queues.sqlite.queue",
    "start_lambda": "serverfull_wsgi.servers.native.bootstrap",
    "start_lambda_mock": "serverfull_wsgi.servers.native.bootstrap",
}
# Classes that need an extra: imported when they are first read. Each has its module and its extra.
_OPTIONAL = {
    "CeleryQueue": ("serverfull_wsgi.queues.celery.queue", "celery"),
    "SamFetcher": ("serverfull_wsgi.fetchers.sam.fetcher", "sam"),
}


def __getattr__(name: str) -> Any:
    if name == "app":
        value: Any = load_app()
    elif name in _ON_DEMAND:
        value = getattr(import_module(_ON_DEMAND[name]), name)
    elif name in _OPTIONAL:
        module, extra = _OPTIONAL[name]
        try:
            with needs_extra(extra, name):
                value = getattr(import_module(module), name)
        except ConfigurationError as error:
            return _unavailable(name, str(error))
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def _unavailable(name: str, message: str) -> type:
    """Return a stand-in for a class if its extra is not installed, so that ``import *`` works without extras.

    Its constructor raises `ConfigurationError` with the command that installs the extra.
    """

    class Unavailable:
        __doc__ = message

        def __init__(self, *args: Any, **kwargs: Any) -> None:
            raise ConfigurationError(message)

    Unavailable.__name__ = Unavailable.__qualname__ = name
    return Unavailable
