"""The command ``serverfull functions``."""

from __future__ import annotations

import json
from typing import Any

import click

from serverfull_wsgi.cli.application import APP, application_of
from serverfull_wsgi.domain import Function
from serverfull_wsgi.fetchers.abilities import list_functions, reporting
from serverfull_wsgi.names import LATEST


@click.command()
@APP
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list, with all reasons why a function cannot run.")
def functions(target: str | None, as_json: bool) -> None:
    """List the functions.

    A function that cannot run has the reason in place of its description. Tabs separate the columns.
    """
    fetcher = application_of(target, quiet=True, creates_files=False).dispatcher.fetcher
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
