"""The command ``serverfull invoke``."""

from __future__ import annotations

import contextlib
import sys

import click

from serverfull_wsgi.cli.application import APP, ENV_VARS, application_of
from serverfull_wsgi.domain import Invocation
from serverfull_wsgi.errors import ConfigurationError, ResourceNotFoundException
from serverfull_wsgi.fetchers.abilities import find_function
from serverfull_wsgi.wsgi.ids import new_request_id, trace_id


@click.command()
@APP
@ENV_VARS
@click.argument("name")
@click.argument("payload", default="", metavar="[PAYLOAD|-|@FILE]")
def invoke(target: str | None, name: str, payload: str, env_vars: str) -> None:
    """Run one function and print its result.

    The result goes to standard output, the log to standard error.

    The payload is JSON: the argument itself, standard input (-), or a file (@FILE). The exit status is 1 if the
    function fails.
    """
    dispatcher = application_of(target, quiet=True, env_vars=env_vars).dispatcher
    addressed = dispatcher.name(name)
    invocation = Invocation(addressed, _payload(payload), new_request_id(), trace_id=trace_id(None))
    try:
        with contextlib.redirect_stdout(sys.stderr):
            outcome = dispatcher.invoke(invocation)
    except ResourceNotFoundException:
        target = f"{addressed.name}:{addressed.qualifier}" if addressed.qualifier else addressed.name
        find_function(dispatcher.fetcher, target)  # raises an error with the names of all functions
        raise
    click.echo(outcome.payload)
    if outcome.function_error:
        sys.exit(1)


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
