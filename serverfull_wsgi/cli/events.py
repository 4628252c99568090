"""The commands ``serverfull events …``, for operators."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import closing
from functools import partial

import click

from serverfull_wsgi.assembly.queues import store_path
from serverfull_wsgi.errors import ConfigurationError
from serverfull_wsgi.protocols import EVENT_STATES
from serverfull_wsgi.queues.sqlite import admin
from serverfull_wsgi.queues.sqlite.store import Store
from serverfull_wsgi.settings.settings import Settings

COLUMNS = ("NUMBER", "REQUEST ID", "STATE", "ATTEMPTS", "ACCEPTED", "FUNCTION")


@click.group()
def events() -> None:
    """List, show, redrive or purge events."""


@events.command(name="list")
@click.option("--state", type=click.Choice(EVENT_STATES), default=None, help="Only events in this state.")
@click.option(
    "--limit", type=click.IntRange(1, 10_000), default=50, show_default=True, help="Maximum number of events."
)
@click.option("--before", type=int, default=None, help="Only events with a lower number: the next page.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list, as the events console has it.")
def list_(state: str | None, limit: int, before: int | None, as_json: bool) -> None:
    """List events, the latest first.

    Tabs separate the columns. ACCEPTED is the time of acceptance.
    """
    with closing(_store()) as store:
        rows = store.read(lambda db: admin.events(db, state or "", limit, before))
    click.echo(json.dumps(rows, indent=2, ensure_ascii=False) if as_json else "\t".join(COLUMNS))
    for row in rows if not as_json else ():
        function = row["function"].rpartition(":function:")[2]
        columns = (row["number"], row["requestId"], row["state"], row["attempts"], row["acceptedAt"], function)
        click.echo("\t".join(map(str, columns)))
    if len(rows) == limit:
        click.echo(f"more: --before {rows[-1]['number']}", err=True)


@events.command()
@click.argument("request_id")
def show(request_id: str) -> None:
    """Show all details of one event, as JSON."""
    with closing(_store()) as store:
        event = store.read(lambda db: admin.event(db, request_id, store.now()))
    if event is None:
        raise ConfigurationError(f"there is no event {request_id}")
    click.echo(json.dumps(event, indent=2, ensure_ascii=False))


@events.command()
@click.argument("request_id", required=False)
@click.option("--failed", is_flag=True, help="Redrive all failed events.")
def redrive(request_id: str | None, failed: bool) -> None:
    """Run failed events again.

    Name one event or give --failed. The attempts and the age of the events start at zero.
    """
    if failed == (request_id is not None):
        raise ConfigurationError("give either a request id or --failed")
    with closing(_store()) as store:
        if request_id is not None:
            if not store.write(lambda db: admin.redrive(db, request_id, store.now())):
                raise ConfigurationError(f"there is no failed event {request_id}")
            count = 1
        else:
            upto = store.read(admin.latest_number)
            count = admin.change_all(
                store, lambda db, after: admin.redrive_failed(db, after, upto, store.now()), _progress("redriven")
            )
    click.echo(f"{count} redriven")


@events.command()
@click.option("--state", type=click.Choice(EVENT_STATES[2:]), default=None, help="Only events in this state.")
@click.option("--yes", is_flag=True, help="Confirm the action without prompting.")
def purge(state: str | None, yes: bool) -> None:
    """Remove ended events.

    An event with a record that is still to be delivered stays.
    """
    with closing(_store()) as store:
        yes or click.confirm("Remove ended events and their history?", abort=True)
        upto = store.read(admin.latest_number)
        count = 0
        for ended in [state] if state else EVENT_STATES[2:]:
            page = partial(admin.purge, last=upto, state=ended)
            count += admin.change_all(store, page, _progress("removed", count))
    click.echo(f"{count} removed")


def _progress(verb: str, before: int = 0) -> Callable[[int], None]:
    """Return a function that prints how many events were changed so far; ``before`` were changed already."""
    return lambda count: click.echo(f"{before + count} {verb} ...", err=True)


def _store() -> Store:
    """Open the store that the settings name. Raises `ConfigurationError` if it does not exist: it is not created."""
    path = store_path(Settings.from_environ())
    if not path.exists():
        raise ConfigurationError(f"there is no event store {path}; does SERVERFULL_DATA_DIR equal the server's?")
    return Store(path)
