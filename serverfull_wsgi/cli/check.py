"""The command ``serverfull check``."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Sequence

import click

from serverfull_wsgi.api.application import Application
from serverfull_wsgi.assembly.executors import node_modules_path, python_modules_path
from serverfull_wsgi.assembly.fetchers import CANNOT_RUN, NO_FUNCTIONS
from serverfull_wsgi.cli.application import APP, application_of
from serverfull_wsgi.domain import Function
from serverfull_wsgi.errors import ConfigurationError
from serverfull_wsgi.executors.isolated.runtimes.checks import runtime_warnings
from serverfull_wsgi.executors.isolated.runtimes.node_sdk import sdk_warnings
from serverfull_wsgi.fetchers.abilities import list_functions, reporting
from serverfull_wsgi.protocols import (
    Checkable,
    IsolatingExecutor,
    ProvisioningExecutor,
    SandboxCheckable,
    StorageAdvisor,
)
from serverfull_wsgi.servers.gunicorn.hooks import counted, drain_warnings, provisioned_warnings, timeout_warnings
from serverfull_wsgi.settings.settings import Settings
from serverfull_wsgi.telemetry.scope import LOGGER


@click.command()
@APP
def check(target: str | None) -> None:
    """Check settings, functions and event storage.

    Creates no files. The exit status is 1 if there is a problem, or if the settings name no function.
    """
    settings = Settings.from_environ()
    with _printed_warnings():
        application = application_of(target, quiet=True, creates_files=False)
        fetcher = application.dispatcher.fetcher
        functions = list_functions(fetcher)
        _check_parts(application, functions, settings)
    notes = reporting(fetcher).notes() if target else []  # `create_app` has logged those of the settings' functions
    for line in [*_storage_warnings(application), *notes, *_warnings(application, functions, settings)]:
        click.echo(f"warning: {line}", err=True)
    if problems := reporting(fetcher).problems():
        raise ConfigurationError("these functions cannot run:\n" + "\n".join(problems))
    if not functions and not target:  # a fetcher of an application's own may find functions later
        raise ConfigurationError(NO_FUNCTIONS)
    click.echo(f"ok: {counted(function.name for function in functions)}")


def _check_parts(application: Application, functions: Sequence[Function], settings: Settings) -> None:
    """Raise `ConfigurationError` if a part of the application could not start."""
    executor, queue = application.executor, application.queue
    if isinstance(queue, Checkable):
        queue.check_place()
    if isinstance(executor, SandboxCheckable):
        executor.check_sandbox(functions)
    provisioned = [function for function in functions if function.provisioned]
    if provisioned and isinstance(executor, ProvisioningExecutor):
        executor.provision(provisioned, settings.region, None)  # names those that run in the server


def _storage_warnings(application: Application) -> list[str]:
    return application.queue.storage_warnings() if isinstance(application.queue, StorageAdvisor) else []


def _warnings(application: Application, functions: Sequence[Function], settings: Settings) -> list[str]:
    """Return the warnings about functions that may lack time, environments or packages."""
    executor = application.executor
    is_isolated = executor.is_isolated if isinstance(executor, IsolatingExecutor) else bool
    provisioned = [function for function in functions if function.provisioned and is_isolated(function)]
    return [
        *timeout_warnings(functions),
        *drain_warnings(settings),
        *provisioned_warnings(provisioned, settings.max_concurrency),
        *sdk_warnings(functions, node_modules_path(settings)),
        *runtime_warnings(functions, python_modules_path(settings), settings.zygote_preload),
    ]


@contextlib.contextmanager
def _printed_warnings() -> Iterator[None]:
    """Print warnings of the server's log as `check` prints its own. `check` raises errors for these two itself."""

    def print_warning(record: logging.LogRecord) -> bool:
        if record.levelno < logging.WARNING:
            return True
        if record.msg not in (CANNOT_RUN, NO_FUNCTIONS):
            click.echo(f"warning: {record.getMessage()}", err=True)
        return False

    LOGGER.addFilter(print_warning)
    try:
        yield
    finally:
        LOGGER.removeFilter(print_warning)
