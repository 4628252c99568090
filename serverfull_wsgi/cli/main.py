"""The command ``serverfull`` and its subcommands, except ``serverfull events``."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
import sys
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import click

from serverfull_wsgi.api.application import Application
from serverfull_wsgi.api.wrapped import applications_in
from serverfull_wsgi.assembly.application import create_app, import_application, import_wsgi
from serverfull_wsgi.assembly.executors import node_modules_path, python_modules_path
from serverfull_wsgi.assembly.extras import needs_extra
from serverfull_wsgi.assembly.fetchers import CANNOT_RUN, NO_FUNCTIONS
from serverfull_wsgi.assembly.telemetry import configure_logging, log_notices
from serverfull_wsgi.cli.events import events
from serverfull_wsgi.cli.registry import registry, rollback
from serverfull_wsgi.domain import Function, Invocation
from serverfull_wsgi.errors import ConfigurationError, ServiceError
from serverfull_wsgi.executors.isolated.runtimes.checks import runtime_warnings
from serverfull_wsgi.executors.isolated.runtimes.node_sdk import sdk_warnings
from serverfull_wsgi.fetchers.abilities import list_functions, reporting
from serverfull_wsgi.names import LATEST
from serverfull_wsgi.protocols import (
    Checkable,
    IsolatingExecutor,
    ProvisioningExecutor,
    SandboxCheckable,
    StorageAdvisor,
)
from serverfull_wsgi.queues.sqlite.queue import SqliteQueue
from serverfull_wsgi.servers.gunicorn.hooks import counted, drain_warnings, provisioned_warnings, timeout_warnings
from serverfull_wsgi.servers.gunicorn.start import serve
from serverfull_wsgi.servers.native.bootstrap import start_lambda
from serverfull_wsgi.settings.settings import Settings
from serverfull_wsgi.storage.group_commit import StoreError
from serverfull_wsgi.telemetry.scope import LOGGER
from serverfull_wsgi.wsgi.ids import new_request_id, trace_id

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

NO_APPLICATION = (
    "--app %s: no serverfull_wsgi.Application was found inside of this %s, so gunicorn's hooks neither start it nor "
    "drain its events, and SERVERFULL_CREDENTIALS_FILE is not checked; set the attribute serverfull_application of the "
    "callable to the application"
)


SERVERS = ("gunicorn", "granian")
GRANIAN = "serverfull_wsgi.workers.GranianWorker"
SECTIONS = {  # the commands as `--help` shows them
    "Develop": ("serve", "invoke", "functions", "check"),
    "Operate": ("worker", "events", "rollback", "registry"),
    "On AWS Lambda": ("lambda",),
}


class _ErrorReportingGroup(click.Group):
    """A group of commands that prints an expected error as one message, and exits with status 1."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        width = formatter.width - 6 - max(map(len, self.commands))
        for title, names in SECTIONS.items():
            with formatter.section(title):
                formatter.write_dl([(name, self.commands[name].get_short_help_str(width)) for name in names])

    def invoke(self, ctx: click.Context) -> Any:
        sys.path.insert(0, os.getcwd())  # gunicorn does so too: handlers are imported from the working directory
        try:
            return super().invoke(ctx)
        except StoreError as error:
            raise click.ClickException(f"the event store: {error}") from error
        except (ConfigurationError, ServiceError) as error:
            raise click.ClickException(str(error)) from error


_ENV_VARS = click.option(
    "--env-vars",
    metavar="FILE.json",
    default="",
    help="Variables of isolated functions, in the format of sam --env-vars. They win over the functions' own.",
)
_APP = click.option(
    "--app",
    "target",
    metavar="MODULE:APPLICATION",
    help="Use an application built in code, instead of the one that the settings describe.",
)


@click.group(cls=_ErrorReportingGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="serverfull-wsgi")
def main() -> None:
    """Serve AWS Lambda functions on your own machine."""


@main.command(name="serve", context_settings={"ignore_unknown_options": True, "allow_extra_args": True})
@_APP
@_ENV_VARS
@click.option(
    "--api",
    is_flag=False,
    flag_value="",
    metavar="[NAME]",
    help="Serve an API of the template, or SERVERFULL_ROUTES, at / instead of the Lambda API.",
)
@click.option(
    "--server",
    type=click.Choice(SERVERS),
    default="gunicorn",
    help="HTTP server of the workers: gunicorn's own, or granian, which serves more requests per second.",
)
@click.pass_context
def serve_(ctx: click.Context, target: str | None, env_vars: str, api: str | None, server: str) -> None:
    """Serve the functions over HTTP with gunicorn.

    Further options are gunicorn's own. These are used most:

    \b
    -b, --bind ADDRESS         HOST:PORT or unix:PATH  [default: SERVERFULL_RUNTIME_HTTPSERVER_ADDRESS]
    -w, --workers N            Processes.
    --threads N                Threads of each process.
    -k, --worker-class CLASS   gthread, sync or gevent.
    --reload                   Reload changed code, for development.
    --graceful-timeout N       Seconds that running calls have at a stop.
    --certfile FILE, --keyfile FILE
                               Serve HTTPS.
    --access-logfile -         Log each request.
    -c, --config FILE          Read more options from a Python file.
    """
    if target and api is not None:
        raise click.UsageError("--api serves an API of the settings, and --app has an application of its own; use one")
    options = [*_worker_class(server, ctx.args), *ctx.args]
    serve(lambda: _served(target, env_vars, api), Settings.from_environ(), options)


def _worker_class(server: str, options: list[str]) -> list[str]:
    """Return the options of gunicorn that select a ``--server``."""
    if server == "gunicorn":
        return []
    if any(option.startswith(("-k", "--worker-class")) for option in options):
        raise ConfigurationError(f"--server {server} has a worker class of its own; remove --worker-class or --server")
    with needs_extra(server, f"--server {server}"):
        from serverfull_wsgi.servers.gunicorn import granian  # noqa: F401  (to find out whether it is installed)
    return ["--worker-class", GRANIAN]


@main.command()
@_APP
def check(target: str | None) -> None:
    """Check settings, functions and event storage.

    Creates no files. The exit status is 1 if there is a problem, or if the settings name no function.
    """
    settings = Settings.from_environ()
    with _printed_warnings():
        application = _application(target, quiet=True, creates_files=False)
        if isinstance(application.queue, Checkable):
            application.queue.check_place()
        if isinstance(application.executor, SandboxCheckable):
            application.executor.check_sandbox(list_functions(application.dispatcher.fetcher))
        provisioned = [one for one in list_functions(application.dispatcher.fetcher) if one.provisioned]
        if provisioned and isinstance(application.executor, ProvisioningExecutor):
            application.executor.provision(provisioned, settings.region, None)  # names those that run in the server
    if isinstance(application.queue, StorageAdvisor):
        for line in application.queue.storage_warnings():
            click.echo(f"warning: {line}", err=True)
    fetcher = application.dispatcher.fetcher
    functions = list_functions(fetcher)
    notes = reporting(fetcher).notes() if target else []  # `create_app` has logged those of the settings' functions
    sdk = sdk_warnings(functions, node_modules_path(settings))
    lacking = runtime_warnings(functions, python_modules_path(settings), settings.zygote_preload)
    is_isolated = application.executor.is_isolated if isinstance(application.executor, IsolatingExecutor) else bool
    isolated = [one for one in provisioned if is_isolated(one)]
    many = provisioned_warnings(isolated, settings.max_concurrency)
    for line in [*notes, *timeout_warnings(functions), *drain_warnings(settings), *many, *sdk, *lacking]:
        click.echo(f"warning: {line}", err=True)
    if problems := reporting(fetcher).problems():
        raise ConfigurationError("these functions cannot run:\n" + "\n".join(problems))
    if not functions and not target:  # a fetcher of an application's own may find functions later
        raise ConfigurationError(NO_FUNCTIONS)
    click.echo(f"ok: {counted(function.name for function in functions)}")


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


@main.command()
@_APP
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list, with all reasons why a function cannot run.")
def functions(target: str | None, as_json: bool) -> None:
    """List the functions.

    A function that cannot run has the reason in place of its description. Tabs separate the columns.
    """
    fetcher = _application(target, quiet=True, creates_files=False).dispatcher.fetcher
    functions, refused = list_functions(fetcher), reporting(fetcher).refused()
    if as_json:
        rows = [_function_as_json(function) for function in functions]
        rows += [{"name": name, "problems": problems} for name, problems in refused.items()]
        click.echo(json.dumps(rows, indent=2, ensure_ascii=False))
        return
    click.echo("NAME\tTIMEOUT\tMEMORY\tDESCRIPTION")
    for function in functions:
        name = function.name if function.version == LATEST else f"{function.name}:{function.version}"
        click.echo(f"{name}\t{function.timeout:g} s\t{function.memory_size} MB\t{function.description}".rstrip())
    for name, problems in refused.items():
        click.echo(f"{name}\t-\t-\tcannot run: {problems[0]}")


def _function_as_json(function: Function) -> dict[str, Any]:
    return {
        "name": function.name,
        "version": function.version,
        "timeout": function.timeout,
        "memorySize": function.memory_size,
        "runtime": function.runtime or None,
        "description": function.description,
    }


@main.command()
@_APP
@_ENV_VARS
@click.argument("name")
@click.argument("payload", default="", metavar="[PAYLOAD|-|@FILE]")
def invoke(target: str | None, name: str, payload: str, env_vars: str) -> None:
    """Run one function and print its result.

    The result goes to standard output, the log to standard error.

    The payload is JSON: the argument itself, standard input (-), or a file (@FILE). The exit status is 1 if the
    function fails.
    """
    dispatcher = _application(target, quiet=True, env_vars=env_vars).dispatcher
    invocation = Invocation(dispatcher.name(name), _payload(payload), new_request_id(), trace_id=trace_id(None))
    with contextlib.redirect_stdout(sys.stderr):
        outcome = dispatcher.invoke(invocation)
    click.echo(outcome.payload)
    if outcome.function_error:
        sys.exit(1)


@main.command()
@_APP
def worker(target: str | None) -> None:
    """Run events until a signal stops it.

    Web processes run no events while a worker is running.
    """
    _run_events(_application(target), Settings.from_environ())


main.add_command(events)
main.add_command(rollback)
main.add_command(registry)


@main.command(name="lambda")
@_APP
@click.argument("name", metavar="TARGET")
def lambda_(target: str | None, name: str) -> None:
    """Run one function natively on AWS Lambda.

    TARGET is a function's name, or NAME:QUALIFIER. It runs under AWS's own runtime client, awslambdaric.
    """
    start_lambda(_application(target, quiet=True).dispatcher.fetcher if target else None, name)


def _application(
    target: str | None, *, quiet: bool = False, creates_files: bool = True, env_vars: str = ""
) -> Application:
    """Return the application of ``--app``, or of the settings. ``quiet``: log to standard error, send no metrics."""
    settings = _settings(target, env_vars)
    settings = replace(settings, creates_files=creates_files)
    if quiet:
        settings = replace(settings, logger_output="STDERR", stats_output="NULL")
    if target is None:
        return create_app(settings)
    if quiet:
        configure_logging(settings)
    application = import_application(target, f"--app {target}")
    _check_authentication(target, application, settings)
    log_notices(settings)
    return application


def _settings(target: str | None, env_vars: str) -> Settings:
    if target is not None and env_vars:
        raise ConfigurationError("--env-vars is for the functions of the settings; remove it or --app")
    return replace(Settings.from_environ(), env_vars=env_vars)


def _served(target: str | None, env_vars: str, api: str | None) -> WSGIApplication:
    """Return the WSGI callable of ``--app``, or the application of the settings; ``api`` is served at ``/``."""
    settings = _settings(target, env_vars)
    if api is not None:
        settings = settings.at_root(api)
    if target is None:
        return create_app(settings)
    wsgi = import_wsgi(target, f"--app {target}")
    applications = applications_in(wsgi)
    for application in applications:
        _check_authentication(target, application, settings)
    log_notices(settings)
    if not applications:
        LOGGER.warning(NO_APPLICATION, target, type(wsgi).__name__)
    return wsgi


def _check_authentication(target: str, application: Application, settings: Settings) -> None:
    """Raise `ConfigurationError` if the settings require signatures and the application does not check them."""
    if settings.credentials_file and not application.has_authentication:
        raise ConfigurationError(
            f"--app {target}: SERVERFULL_CREDENTIALS_FILE is set, but this application does not check signatures; "
            "give it authentication=, or make it with create_app"
        )


def _payload(text: str) -> bytes:
    if text == "-":
        return sys.stdin.buffer.read()
    if text.startswith("@"):
        try:
            with open(text[1:], "rb") as file:
                return file.read()
        except OSError as error:
            raise ConfigurationError(f"payload {text}: {error.strerror}") from error
    return text.encode()


@runtime_checkable
class _ExternallyRun(Protocol):
    """A queue with a program of its own that runs its events."""

    is_run_by: str  # the command that starts the program


def _run_events(application: Application, settings: Settings) -> None:
    """Run the events of an application until a signal, and then let running events finish.

    Raises `ConfigurationError` if this process cannot run them: they are in another process's memory or in a broker.
    """
    queue = application.queue
    if isinstance(queue, _ExternallyRun):
        raise ConfigurationError(f"the events of {queue} are run by Celery's workers: {queue.is_run_by}")
    if not isinstance(queue, SqliteQueue):
        raise ConfigurationError(
            "a worker needs events that processes can share, but this application keeps them in memory; "
            "remove SERVERFULL_EVENTS=memory, or give the Application queue=SqliteQueue(...)"
        )
    stop, stopping = os.pipe()  # an Event has a lock, which a handler of a second signal would wait for
    for number in {signal.SIGTERM, signal.SIGINT, *settings.signals}:
        signal.signal(number, lambda *_: os.write(stopping, b"."))
    application.start()
    queue.become_worker()
    LOGGER.info("running the events of %s", queue.path)
    os.read(stop, 1)
    application.close()
