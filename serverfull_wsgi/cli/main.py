"""The command: ``serverfull serve | check | invoke | functions | lambda | worker | events``."""

from __future__ import annotations

import contextlib
import os
import sys
from dataclasses import replace
from typing import Any

import click

from serverfull_wsgi.api.application import Application
from serverfull_wsgi.assembly import configure_logging, create_app, imported
from serverfull_wsgi.cli.events import events, run_worker
from serverfull_wsgi.domain import Invocation
from serverfull_wsgi.errors import ConfigurationError, ServiceError
from serverfull_wsgi.fetchers.listing import functions_of, problems_of, refused_of
from serverfull_wsgi.names import LATEST
from serverfull_wsgi.servers.gunicorn.hooks import timeout_warnings
from serverfull_wsgi.servers.gunicorn.start import serve, start_lambda
from serverfull_wsgi.settings.settings import Settings
from serverfull_wsgi.storage.group_commit import StoreError
from serverfull_wsgi.wsgi.requests import new_ids


class _Refusals(click.Group):
    """Prints what was refused as one message, without a traceback, and exits with status 1."""

    def invoke(self, ctx: click.Context) -> Any:
        sys.path.insert(0, os.getcwd())  # as gunicorn does: functions are found where one stands
        try:
            return super().invoke(ctx)
        except StoreError as error:
            raise click.ClickException(f"the event store: {error}") from error
        except (ConfigurationError, ServiceError) as error:
            raise click.ClickException(str(error)) from error


_APP = click.option(
    "--app", "target", metavar="MODULE:APPLICATION", help="An application built in code, instead of the settings'."
)


@click.group(cls=_Refusals)
@click.version_option(package_name="serverfull-wsgi")
def main() -> None:
    """Serve AWS Lambda functions on your own machine."""


@main.command(name="serve", context_settings={"ignore_unknown_options": True, "allow_extra_args": True})
@_APP
@click.pass_context
def serve_(ctx: click.Context, target: str | None) -> None:
    """Serve the functions over HTTP with gunicorn, whose own options may follow."""
    serve(lambda: _application(target), Settings.from_environ(), ctx.args)


@main.command()
@_APP
def check(target: str | None) -> None:
    """Say whether the settings are good, every function can be run, and there is a place for events."""
    application = _application(target, aside=True)
    if check_place := getattr(application.queue, "check_place", None):
        check_place()
    listed = functions_of(application.dispatcher.fetcher)
    for line in timeout_warnings(listed):
        click.echo(f"warning: {line}", err=True)
    if problems := problems_of(application.dispatcher.fetcher):
        raise ConfigurationError("these cannot run:\n" + "\n".join(problems))
    click.echo(f"ok: {len(listed)} function{'' if len(listed) == 1 else 's'}")


@main.command()
@_APP
def functions(target: str | None) -> None:
    """List the functions: name, timeout, memory size, description; or why one cannot run."""
    fetcher = _application(target, aside=True).dispatcher.fetcher
    for function in functions_of(fetcher):
        name = function.name if function.version == LATEST else f"{function.name}:{function.version}"
        click.echo(f"{name}\t{function.timeout:g} s\t{function.memory_size} MB\t{function.description}".rstrip())
    for name, problems in refused_of(fetcher).items():
        click.echo(f"{name}\tcannot run: {problems[0]}")


@main.command()
@_APP
@click.argument("name")
@click.argument("payload", default="", metavar="[PAYLOAD|-|@FILE]")
def invoke(target: str | None, name: str, payload: str) -> None:
    """Run one function. Its result goes to standard output, its log to standard error; status 1 if it failed."""
    dispatcher = _application(target, aside=True).dispatcher
    invocation = Invocation(dispatcher.name(name), _payload(payload), new_ids().request_id)
    with contextlib.redirect_stdout(sys.stderr):
        outcome = dispatcher.invoke(invocation)
    click.echo(outcome.payload)
    if outcome.function_error:
        sys.exit(1)


@main.command()
@_APP
def worker(target: str | None) -> None:
    """Run events, so that the web processes leave them to this one; until a signal."""
    run_worker(_application(target), Settings.from_environ())


main.add_command(events)


@main.command(name="lambda")
@_APP
@click.argument("name", metavar="TARGET")
def lambda_(target: str | None, name: str) -> None:
    """Run one function natively on AWS Lambda, under AWS's runtime client."""
    start_lambda(_application(target, aside=True).dispatcher.fetcher if target else None, name)


def _application(target: str | None, *, aside: bool = False) -> Application:
    """The application to work with; ``aside``: one that keeps standard output free and sends no metrics."""
    settings = Settings.from_environ()
    if aside:
        settings = replace(settings, logger_output="STDERR", stats_output="NULL")
    if target is None:
        return create_app(settings)
    if aside:
        configure_logging(settings)
    application = imported(target, f"--app {target}")
    if settings.credentials_file and not application.authenticated:
        raise ConfigurationError(
            f"--app {target}: SERVERFULL_CREDENTIALS_FILE is set, and this application asks nobody who signed; "
            "make it with authentication=, or with create_app"
        )
    return application


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
