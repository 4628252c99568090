"""The command ``serverfull``: its group of commands, and ``serverfull lambda``."""

from __future__ import annotations

import os
import sys
from typing import Any

import click

from serverfull_wsgi.cli.application import APP, application_of
from serverfull_wsgi.cli.check import check
from serverfull_wsgi.cli.events import events
from serverfull_wsgi.cli.functions import functions
from serverfull_wsgi.cli.invoke import invoke
from serverfull_wsgi.cli.registry import registry, rollback
from serverfull_wsgi.cli.serve import serve
from serverfull_wsgi.cli.worker import worker
from serverfull_wsgi.errors import ConfigurationError, ServiceError
from serverfull_wsgi.servers.native.bootstrap import start_lambda
from serverfull_wsgi.storage.group_commit import StoreError

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


@click.group(cls=_ErrorReportingGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="serverfull-wsgi")
def main() -> None:
    """Serve AWS Lambda functions on your own machine."""


@main.command(name="lambda")
@APP
@click.argument("name", metavar="TARGET")
def lambda_(target: str | None, name: str) -> None:
    """Run one function natively on AWS Lambda.

    TARGET is a function's name, or NAME:QUALIFIER. It runs under AWS's own runtime client, awslambdaric.
    """
    start_lambda(application_of(target, quiet=True).dispatcher.fetcher if target else None, name)


for command in (serve, check, functions, invoke, worker, events, rollback, registry):
    main.add_command(command)
