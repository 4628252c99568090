"""The commands ``serverfull rollback`` and ``serverfull registry …``, for operators."""

from __future__ import annotations

import json
import os

import click

from serverfull_wsgi.assembly.registries import create_registry
from serverfull_wsgi.assembly.telemetry import configure_logging
from serverfull_wsgi.errors import ConfigurationError
from serverfull_wsgi.fetchers.static import StaticFetcher
from serverfull_wsgi.registry.registry import Registry
from serverfull_wsgi.settings.settings import Settings

COLUMNS = ("REVISION", "TIME", "OPERATION", "BY")


@click.command()
@click.argument("name")
@click.option(
    "--to", "revision", type=int, default=None, help="The number of a revision; else the one before the last."
)
@click.option("--list", "list_", is_flag=True, help="List the revisions, and change nothing.")
@click.option("--json", "as_json", is_flag=True, help="With --list: print a JSON list, with all RevisionIds.")
def rollback(name: str, revision: int | None, list_: bool, as_json: bool) -> None:
    """Return a deployed function to an earlier revision.

    Restores the code, the configuration, the aliases, the tags and the reserved concurrency, and deleted versions.
    Running calls finish on the code they started with. The registry keeps the last 20 revisions.
    """
    opened = _open()
    if list_ or as_json:
        _print_history(opened, name, as_json)
        return
    opened.roll_back(name, revision, f"uid {os.getuid()}")
    click.echo(f"{name} is now at revision {opened.get(name)['revision']}")


def _print_history(opened: Registry, name: str, as_json: bool) -> None:
    """Print the revisions of a function, the latest first."""
    lines = [
        {key: value for key, value in revision.items() if key != "before"}
        for revision in reversed(opened.history(name))
    ]
    click.echo(json.dumps(lines, indent=2, ensure_ascii=False) if as_json else "\t".join(COLUMNS))
    for line in lines if not as_json else ():
        click.echo("\t".join(str(line[key]) for key in ("revision", "time", "what", "by")))


@click.group()
def registry() -> None:
    """Maintain the registry of deployed functions."""


@registry.command()
@click.option("--yes", is_flag=True, help="Confirm the action without prompting.")
def prune(yes: bool) -> None:
    """Remove unused packages, and unpacked copies in the data directory.

    Packages that a version or one of the last 20 revisions of a function needs stay, and so do packages that were
    written in the last hour. An unpacked copy is removed by the first prune a day after the prune that found it unused.
    A server may run meanwhile.
    """
    opened = _open()
    yes or click.confirm("Remove the packages that no version and no revision needs?", abort=True)
    pruned = opened.prune()
    sizes = pruned.packages.values()
    click.echo(f"{len(sizes)} removed, {sum(sizes):,} bytes; {pruned.unpacked} unpacked copies removed")


def _open() -> Registry:
    """Return the registry of the settings. Raises `ConfigurationError` if it does not exist: it is not created."""
    settings = Settings.from_environ()
    configure_logging(settings)
    if not settings.registry:
        raise ConfigurationError("SERVERFULL_REGISTRY is not set: name the directory of the server's registry")
    if not os.path.isdir(settings.registry):
        raise ConfigurationError(
            f"SERVERFULL_REGISTRY={settings.registry}: there is no such directory; is it the server's?"
        )
    return create_registry(settings, StaticFetcher({}))
