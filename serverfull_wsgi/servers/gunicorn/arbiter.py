"""gunicorn's master process with defaults that suit functions, and with the signals of the settings."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Sequence
from typing import Any

from gunicorn.app.base import Application as GunicornApplication
from gunicorn.app.base import get_default_config_file
from gunicorn.arbiter import Arbiter
from gunicorn.errors import AppImportError
from gunicorn.workers.base import Worker

from serverfull_wsgi.api.application import Application
from serverfull_wsgi.errors import ConfigurationError
from serverfull_wsgi.servers.gunicorn.hooks import post_worker_init, worker_exit
from serverfull_wsgi.settings.fields import parse_address
from serverfull_wsgi.settings.settings import Settings


class Server(GunicornApplication):  # type: ignore[misc]  # gunicorn has no types
    """gunicorn over the application that ``load`` returns.

    Precedence as gunicorn's own: its configuration file over our defaults, GUNICORN_CMD_ARGS over that, ``options``
    over all. A reload (SIGHUP) starts new workers, each of which calls ``load`` again.
    """

    def __init__(self, load: Callable[[], Application], settings: Settings, options: Sequence[str]) -> None:
        self._load = load
        self._settings = settings
        self._options = list(options)
        super().__init__("%(prog)s [OPTIONS]", prog="serverfull serve")

    def load_config(self) -> None:
        parser = self.cfg.parser()
        arguments = parser.parse_args(self._options)
        from_environ = parser.parse_args(self.cfg.get_cmd_args_from_env())
        for name, value in self._defaults().items():
            self.cfg.set(name, value)
        self.chdir()
        if file := arguments.config or from_environ.config or get_default_config_file():
            self.load_config_from_file(file)
        for given in (vars(from_environ), vars(arguments)):
            for name, value in given.items():
                if value is not None and name != "args":
                    self.cfg.set(name, value)
        if self.cfg.settings["worker_class"].get() != "gthread" and arguments.threads is from_environ.threads is None:
            self.cfg.set("threads", 1)  # our default is for gthread; gunicorn would make gthread of sync with threads
        self._add_hooks()
        self.chdir()

    def _add_hooks(self) -> None:
        """Ours run before those of a configuration file, which would otherwise take their place."""
        at_start, at_exit = self.cfg.post_worker_init, self.cfg.worker_exit

        def started(worker: Worker) -> None:
            self._ignore_interrupts()
            post_worker_init(worker)
            if at_start is not post_worker_init:
                at_start(worker)

        def ended(server: Arbiter, worker: Worker) -> None:
            worker_exit(server, worker)
            if at_exit is not worker_exit:
                at_exit(server, worker)

        self.cfg.set("post_worker_init", started)
        self.cfg.set("worker_exit", ended)

    def _defaults(self) -> dict[str, Any]:
        host, port = parse_address(self._settings.httpserver_address)
        return {
            "bind": [f"[{host}]:{port}" if ":" in host else f"{host}:{port}"],
            "worker_class": "gthread",
            "workers": 1,  # limits hold for a process, so one process makes them hold for the server
            "threads": 8,
            "control_socket_disable": True,  # a socket under the user's home that nobody asked for
        }

    def load(self) -> Application:
        try:
            application = self._load()
            if not self.cfg.preload_app:
                application.start()
            return application
        except ConfigurationError as error:
            raise AppImportError(f"serverfull: the settings cannot be served:\n{error}") from error

    def run(self) -> None:
        _DrainingArbiter(self, self._settings.signals).run()

    def _ignore_interrupts(self) -> None:
        """In a worker. Ctrl-C reaches all processes at once, and it is the master that tells workers to drain."""
        if signal.SIGINT in self._settings.signals and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, signal.SIG_IGN)


class _DrainingArbiter(Arbiter):  # type: ignore[misc]
    """Finishes what runs on the configured signals; a SIGTERM or SIGINT that is not among them stops at once."""

    def __init__(self, server: Server, signals: Sequence[int]) -> None:
        super().__init__(server)
        self._draining = {signal.Signals(number) for number in signals}
        for number in {signal.SIGTERM, signal.SIGINT} | self._draining:
            name = self.SIG_NAMES[number]
            setattr(self, f"handle_{name}", self._drain if number in self._draining else self.handle_quit)

    def init_signals(self) -> None:
        super().init_signals()
        for number in self._draining:
            signal.signal(number, self.signal)

    def _drain(self) -> None:
        raise StopIteration  # what gunicorn's own SIGTERM handler does
