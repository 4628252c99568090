"""Commands for operators of events: ``serverfull worker`` and ``serverfull events …``."""

from __future__ import annotations

import json
import signal
import threading
from collections.abc import Callable
from contextlib import closing
from typing import Any

import click

from serverfull_wsgi.api.application import Application
from serverfull_wsgi.assembly import store_path
from serverfull_wsgi.errors import ConfigurationError
from serverfull_wsgi.queues.sqlite import admin
from serverfull_wsgi.queues.sqlite.queue import SqliteQueue
from serverfull_wsgi.queues.sqlite.store import Store
from serverfull_wsgi.settings.settings import Settings
from serverfull_wsgi.telemetry.scope import LOGGER

PAGE = 500  # events in one transaction of long work


def run_worker(application: Application, settings: Settings) -> None:
    """Runs the events of an application until a signal, and then lets what runs come to its end.

    Raises `ConfigurationError` where events are kept in memory, which no other process can reach, or by a broker.
    """
    queue = application.queue
    if command := getattr(queue, "is_run_by", ""):
        raise ConfigurationError(f"the events of {queue} are run by Celery's workers: {command}")
    if not isinstance(queue, SqliteQueue):
        raise ConfigurationError(
            "a worker needs events that processes can share: this application keeps them in memory "
            "(SERVERFULL_EVENTS=memory, or an Application without queue=SqliteQueue(...))"
        )
    stopped = threading.Event()
    for number in {signal.SIGTERM, signal.SIGINT, *settings.signals}:
        signal.signal(number, lambda *_: stopped.set())
    application.start()
    queue.work()
    LOGGER.info("running the events of %s", queue.path)
    while not stopped.wait(3600.0):
        pass
    application.close()


@click.group()
def events() -> None:
    """Look after events: list them, show one, run failed ones again, remove those that ended."""


@events.command(name="list")
@click.option("--state", type=click.Choice(admin.STATES), default=None, help="Only those in this state.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=50, show_default=True, help="How many.")
@click.option("--before", type=int, default=None, help="Only those before this number: the next page.")
def list_(state: str | None, limit: int, before: int | None) -> None:
    """List events, the latest first: number, request id, state, attempts, time of acceptance, function."""
    with closing(_store()) as store:
        found = store.read(lambda db: admin.events(db, state or "", limit, before))
    for one in found:
        function = one["function"].rpartition(":function:")[2]
        words = (one["number"], one["requestId"], one["state"], one["attempts"], one["acceptedAt"], function)
        click.echo("\t".join(map(str, words)))
    if len(found) == limit:
        click.echo(f"more: --before {found[-1]['number']}", err=True)


@events.command()
@click.argument("request_id")
def show(request_id: str) -> None:
    """Show everything of one event, as JSON."""
    with closing(_store()) as store:
        found = store.read(lambda db: admin.event(db, request_id, store.now()))
    if found is None:
        raise ConfigurationError(f"there is no event {request_id}")
    click.echo(json.dumps(found, indent=2, ensure_ascii=False))


@events.command()
@click.argument("request_id", required=False)
@click.option("--failed", is_flag=True, help="All that failed.")
def redrive(request_id: str | None, failed: bool) -> None:
    """Run an event that failed again, or all of them, with attempts and age anew."""
    if failed == (request_id is not None):
        raise ConfigurationError("name one event, or say --failed")
    with closing(_store()) as store:
        if request_id is not None:
            if not store.write(lambda db: admin.redrive(db, request_id, store.now())):
                raise ConfigurationError(f"there is no event {request_id} that failed")
            done = 1
        else:
            upto = store.read(admin.latest)
            done = _in_pages(store, lambda db: admin.redrive_failed(db, upto, store.now(), PAGE), "to be run again")
    click.echo(f"{done} to be run again")


@events.command()
@click.option("--state", type=click.Choice(admin.STATES[2:]), default=None, help="Only those in this state.")
@click.confirmation_option(prompt="Remove events that ended, and what is known of them?")
def purge(state: str | None) -> None:
    """Remove events that ended; those with a record that is still to be delivered stay."""
    with closing(_store()) as store:
        upto = store.read(admin.latest)
        done = _in_pages(store, lambda db: admin.purge(db, state or "", upto, PAGE), "removed")
    click.echo(f"{done} removed")


def _in_pages(store: Store, page: Callable[[Any], int], what: str) -> int:
    """Long work in short transactions, since a server waits for each; tells how far it is."""
    done = 0
    while (count := store.write(page)) > 0:
        done += count
        click.echo(f"{done} {what} ...", err=True)
    return done


def _store() -> Store:
    """The store of the settings. Raises `ConfigurationError` also for one that is not there: looking makes none."""
    path = store_path(Settings.from_environ())
    if not path.exists():
        raise ConfigurationError(f"there is no event store {path}; is SERVERFULL_DATA_DIR what the server has?")
    return Store(path)
