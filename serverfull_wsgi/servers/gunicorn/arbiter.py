"""gunicorn's arbiter (its master process), with defaults for functions and with the signals of the settings."""

from __future__ import annotations

import difflib
import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from gunicorn.app.base import Application as GunicornApplication
from gunicorn.app.base import BaseApplication, get_default_config_file
from gunicorn.arbiter import Arbiter
from gunicorn.errors import AppImportError
from gunicorn.util import load_class
from gunicorn.workers.base import Worker

from serverfull_wsgi.api.wrapped import applications_in
from serverfull_wsgi.assembly.fetchers import TEMPLATES
from serverfull_wsgi.auth.unsigned_deploys import UnsignedDeploys
from serverfull_wsgi.errors import ConfigurationError
from serverfull_wsgi.servers.gunicorn.hooks import drain_warnings, log_urls, post_worker_init, worker_exit
from serverfull_wsgi.servers.gunicorn.json_logger import JsonLogger
from serverfull_wsgi.servers.gunicorn.reloading import BrokenApplication, FileWatcher, Loads, paths_of
from serverfull_wsgi.settings.fields import parse_address
from serverfull_wsgi.settings.settings import Settings
from serverfull_wsgi.telemetry.scope import LOGGER

GRANIAN = "serverfull_wsgi.workers.GranianWorker"
THREADED = ("gthread", "serverfull_wsgi.workers.ThreadWorker", GRANIAN)
# Calls at the same time. A thread is made only if all others are busy, so more threads cost idle servers nothing. This
# is the default number of isolated environments (SERVERFULL_MAX_CONCURRENCY), so that all of them can work.
THREADS = 64
# In bytes. API Gateway accepts 10,240 for the request line and all headers together; 8,190 is gunicorn's largest line.
HEAD_LIMITS = {"limit_request_line": 8190, "limit_request_field_size": 10_240}

OWN_OPTIONS = ("--app", "--env-vars", "--api", "--server")

if TYPE_CHECKING:
    from types import FrameType

    from _typeshed.wsgi import WSGIApplication


class _Draining(BaseApplication):  # type: ignore[misc]  # gunicorn has no types
    """The last class whose `run` gunicorn's applications call: it runs the arbiter."""

    settings: Settings

    def run(self) -> None:
        self._arbiter = _DrainingArbiter(self, self.settings.signals)
        self._arbiter.run()


class Server(GunicornApplication, _Draining):  # type: ignore[misc]
    """gunicorn for the application that ``load`` returns.

    The order of precedence is gunicorn's own, the strongest first: ``options``, GUNICORN_CMD_ARGS, the configuration
    file, the defaults of this module. A reload (SIGHUP) starts new workers, and each calls ``load`` again.
    """

    def __init__(self, load: Callable[[], WSGIApplication], settings: Settings, options: Sequence[str]) -> None:
        self._load = load
        self.settings = settings
        self._options = list(options)
        self._loads = Loads()
        super().__init__("%(prog)s [OPTIONS]", prog="serverfull serve")

    def load_config(self) -> None:
        parser = self.cfg.parser()
        arguments, unknown = parser.parse_known_args(self._options)
        from_environ, unknown_of_environ = parser.parse_known_args(self.cfg.get_cmd_args_from_env())
        for option in (*unknown, *unknown_of_environ):
            parser.error(self._unknown_option(option.partition("=")[0]))
        for name, value in self._defaults().items():
            self.cfg.set(name, value)
        if arguments.args:
            raise ConfigurationError(
                f"serverfull serve does not take the argument {arguments.args[0]!r}; "
                "--app MODULE:APPLICATION names an application, and SERVERFULL_TEMPLATE=FILE names a template"
            )
        self.chdir()
        if file := arguments.config or from_environ.config or get_default_config_file():
            self.load_config_from_file(file)
        for values in (vars(from_environ), vars(arguments)):
            for name, value in values.items():
                if value is not None and name != "args":
                    self.cfg.set(name, value)
        if (
            self.cfg.settings["worker_class"].get() not in THREADED
            and arguments.threads is from_environ.threads is None
        ):
            self.cfg.set("threads", 1)  # gunicorn turns sync into gthread if there is more than one thread
        if self.cfg.settings["worker_class"].get() == GRANIAN:  # which refuses these options, and has larger limits
            for name in (name for name, limit in HEAD_LIMITS.items() if self.cfg.settings[name].get() == limit):
                self.cfg.set(name, self.cfg.settings[name].default)
        self._check_address()
        self._check_worker_class()
        self._add_hooks()
        self.chdir()

    def _unknown_option(self, option: str) -> str:
        names = [name for setting in self.cfg.settings.values() for name in setting.cli or ()]
        similar = difflib.get_close_matches(option, [*names, *OWN_OPTIONS], n=1)
        hint = f"did you mean {similar[0]}?" if similar else "'serverfull serve --help' lists the most used options"
        return f"there is no option {option}; {hint}"

    def _check_address(self) -> None:
        """Raise `ConfigurationError` if an address has no valid port. gunicorn would print a stack trace."""
        try:
            addresses = self.cfg.address
        except RuntimeError as error:
            raise ConfigurationError(f"the address of --bind: {error} Use HOST:PORT or unix:PATH") from error
        for address in addresses:
            if isinstance(address, tuple) and not 0 <= address[1] <= 65535:
                raise ConfigurationError(f"the address of --bind: {address[1]} is not a port; use 0 to 65535")
        UnsignedDeploys(self.settings.deploy_unsigned).listen_on(addresses)  # refused here without a stack trace too

    def _check_worker_class(self) -> None:
        """Raise `ConfigurationError` if the worker class cannot be imported. gunicorn would print a stack trace."""
        name = self.cfg.settings["worker_class"].get()
        try:
            load_class(name)
        except (RuntimeError, AttributeError) as error:  # `load_class` turns each error into a RuntimeError
            reason = error.__context__ or error
            is_gevent = "gevent" in str(name)
            cure = "pip install 'serverfull-wsgi[gevent]'" if is_gevent else "name another, such as gthread or sync"
            raise ConfigurationError(f"the worker class {name!r} cannot be imported: {reason}; {cure}") from error

    def _add_hooks(self) -> None:
        """Run the hooks of this package before the hooks of a configuration file, which would replace them."""
        users_init, users_exit = self.cfg.post_worker_init, self.cfg.worker_exit

        def run_init(worker: Worker) -> None:
            self._ignore_interrupts()
            self._arbiter.send_early_stops()
            if worker.age == 1 or self.cfg.reload:
                log_urls(worker.wsgi, worker.sockets)
            post_worker_init(worker)
            worker.client_timeout = self.settings.client_timeout
            if users_init is not post_worker_init:
                users_init(worker)
            if self.cfg.reload and not self.cfg.preload_app:
                FileWatcher(self._watched_paths(worker.wsgi), self._loads).start()

        def run_exit(server: Arbiter, worker: Worker) -> None:
            worker_exit(server, worker)
            if users_exit is not worker_exit:
                users_exit(server, worker)

        self.cfg.set("post_worker_init", run_init)
        self.cfg.set("worker_exit", run_exit)

    def _defaults(self) -> dict[str, Any]:
        host, port = parse_address(self.settings.httpserver_address)
        return {
            "bind": [f"[{host}]:{port}" if ":" in host else f"{host}:{port}"],
            "worker_class": "gthread",
            "workers": 1,  # limits are per process, so with one process they are the server's
            "threads": THREADS,
            **({"logger_class": JsonLogger} if self.settings.logger_format == "JSON" else {}),
            **HEAD_LIMITS,
            "control_socket_disable": True,  # gunicorn would make a socket in the user's home directory
        }

    def load(self) -> WSGIApplication:
        if self.cfg.reload and not self.cfg.preload_app:
            return self._load_or_explain()
        try:
            application = self._load()
            if not self.cfg.preload_app:
                _start(application, self.cfg.workers)
            return application
        except ConfigurationError as error:
            raise AppImportError(f"serverfull cannot start:\n{error}") from error

    def _load_or_explain(self) -> WSGIApplication:
        """Return the application, or a `BrokenApplication` if its code cannot be loaded: its author is at work."""
        self._loads.begin()
        try:
            application = self._load()
            _start(application, self.cfg.workers)
            return application
        except (Exception, SystemExit) as error:
            broken = BrokenApplication(error)
            message = "cannot load the application; requests are answered with 500 until its files change:\n%s"
            LOGGER.error(message, broken.reason)
            return broken

    def _watched_paths(self, wsgi: WSGIApplication) -> list[str]:
        if isinstance(wsgi, BrokenApplication):
            return [*wsgi.paths, *([self.settings.template] if self.settings.template else TEMPLATES)]
        return [path for application in applications_in(wsgi) for path in paths_of(application)]

    def run(self) -> None:
        """Run gunicorn, as its options require. To check the application, gunicorn would open the event store."""
        if self.cfg.check_config:
            raise ConfigurationError("serverfull serve does not take --check-config; run 'serverfull check'")
        if self.cfg.print_config:
            sys.stdout.write(f"{self.cfg}\n")
            return
        super().run()

    def _ignore_interrupts(self) -> None:
        """Ignore SIGINT in a worker. Ctrl-C sends it to all processes, but only the arbiter stops the workers."""
        if signal.SIGINT in self.settings.signals and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, signal.SIG_IGN)


def _start(wsgi: WSGIApplication, workers: int) -> None:
    for application in applications_in(wsgi):
        application.expect_processes(workers)
        application.start()


class _DrainingArbiter(Arbiter):  # type: ignore[misc]
    """An arbiter that finishes running calls on the configured signals. Other SIGTERM and SIGINT stop it at once.

    Its workers get each signal. A worker of gunicorn alone has the arbiter's signal handlers until it sets its own. A
    stop in that time is lost, and the arbiter waits for the worker until the graceful timeout ends.
    """

    def __init__(self, server: _Draining, signals: Sequence[int]) -> None:
        super().__init__(server)
        self._early_stops: list[int] = []  # signals that a worker got before it had its own handlers
        for line in drain_warnings(server.settings, server.cfg.graceful_timeout):
            LOGGER.warning("%s", line)
        self._draining = {signal.Signals(number) for number in signals}
        for number in {signal.SIGTERM, signal.SIGINT} | self._draining:
            name = self.SIG_NAMES[number]
            setattr(self, f"handle_{name}", self._drain if number in self._draining else self.handle_quit)

    def start(self) -> None:
        try:
            super().start()
        except SystemExit:  # gunicorn has logged that it cannot listen
            self.log.error(
                "name an address of this machine with --bind HOST:PORT, and a port above 1023 that is not in use"
            )
            raise
        except ValueError as error:  # a file for TLS
            raise ConfigurationError(f"{error}; correct --certfile and --keyfile") from None

    def init_signals(self) -> None:
        super().init_signals()
        for number in self._draining:
            signal.signal(number, self.signal)

    def signal(self, sig: int, frame: FrameType | None) -> None:
        if os.getpid() == self.pid:
            super().signal(sig, frame)
        elif sig in (signal.SIGTERM, signal.SIGQUIT):  # the arbiter's orders to its workers
            self._early_stops.append(sig)

    def send_early_stops(self) -> None:
        """Send the signals again that this worker process got before it had its own handlers."""
        for number in self._early_stops:
            os.kill(os.getpid(), number)

    def _drain(self) -> None:
        raise StopIteration  # gunicorn's own SIGTERM handler does the same
