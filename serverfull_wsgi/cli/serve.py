"""The command ``serverfull serve``."""

from __future__ import annotations

import click

from serverfull_wsgi.assembly.extras import needs_extra
from serverfull_wsgi.cli.application import APP, ENV_VARS, served_by
from serverfull_wsgi.errors import ConfigurationError
from serverfull_wsgi.servers.gunicorn.start import serve as serve_with_gunicorn
from serverfull_wsgi.settings.settings import Settings

SERVERS = ("gunicorn", "granian")
GRANIAN = "serverfull_wsgi.workers.GranianWorker"


@click.command(context_settings={"ignore_unknown_options": True, "allow_extra_args": True})
@APP
@ENV_VARS
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
def serve(ctx: click.Context, target: str | None, env_vars: str, api: str | None, server: str) -> None:
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
    serve_with_gunicorn(lambda: served_by(target, env_vars, api), Settings.from_environ(), options)


def _worker_class(server: str, options: list[str]) -> list[str]:
    """Return the options of gunicorn that select a ``--server``."""
    if server == "gunicorn":
        return []
    if any(option.startswith(("-k", "--worker-class")) for option in options):
        raise ConfigurationError(f"--server {server} has a worker class of its own; remove --worker-class or --server")
    with needs_extra(server, f"--server {server}"):
        from serverfull_wsgi.servers.gunicorn import granian  # noqa: F401  (to find out whether it is installed)
    return ["--worker-class", GRANIAN]
