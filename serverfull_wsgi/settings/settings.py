"""The list of all settings, with their defaults and their documentation."""

from __future__ import annotations

import logging
import os
import re
import signal
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from serverfull_wsgi.errors import ConfigurationError
from serverfull_wsgi.names import DEFAULT_ACCOUNT_ID, DEFAULT_REGION
from serverfull_wsgi.settings import fields as read
from serverfull_wsgi.settings.aliases import notices, other_names
from serverfull_wsgi.settings.fields import PREFIX, Setting, setting
from serverfull_wsgi.settings.plain_env import NotPlain, PlainEnv

_BROKER = r"(amqp|redis)s?://"
_ROOT = ("root",)  # the value of `Settings.front` that serves one API under every path


@dataclass(frozen=True, kw_only=True, repr=False)  # a value may contain a password
class Settings:
    """All settings, with the defaults of a server that nothing configures.

    `from_environ` and `from_mapping` raise one `ConfigurationError` that names every bad value.
    """

    # Functions
    functions: str = setting(
        "FUNCTIONS", "", read.text, "`name=package.module.handler, name:1=…`, separated by commas or line breaks"
    )
    aliases: str = setting("ALIASES", "", read.text, "`name:alias=version, …`, separated by commas or line breaks")
    template: str = setting(
        "TEMPLATE",
        "",
        read.text,
        "a SAM or CloudFormation template",
        shown="`.aws-sam/build/template.yaml` or `template.{yaml,yml,json}`, if `SERVERFULL_FUNCTIONS` is not set",
    )
    template_parameters: str = setting(
        "TEMPLATE_PARAMETERS",
        "",
        read.text,
        "`Name=value, …` for the template's parameters, separated by commas or line breaks; "
        "put a value that contains commas in double quotes",
    )
    layers: str = setting(
        "LAYERS",
        "",
        read.text,
        "`ARN=path, …`: folders or zip archives for the layers at AWS that a template names, separated by commas or "
        "line breaks; an ARN without a version stands for every version",
    )
    template_strict: bool = setting(
        "TEMPLATE_STRICT",
        False,
        read.switch,
        "refuse a function of a template if one of its values is known at AWS only; without it the function starts "
        "with `unresolved:Name` in place of such a value, and a warning names the setting that gives the value",
    )
    region: str = setting(
        "REGION",
        DEFAULT_REGION,
        read.matching(r"[a-z]{2}(-[a-z]+)+-\d\Z", "Must be an AWS region, such as us-east-1."),
        "the region in the functions' ARNs, and the one region for which signatures are valid: callers sign for it",
        shown="`AWS_REGION`, else `us-east-1`",
    )
    account_id: str = setting(
        "ACCOUNT_ID",
        DEFAULT_ACCOUNT_ID,
        read.matching(r"\d{12}\Z", "Must be 12 digits."),
        "the account in the functions' ARNs",
    )

    # Deployment
    registry: str = setting(
        "REGISTRY",
        "",
        read.text,
        "the directory of the functions that clients deploy through AWS's management API, on a local disk of this "
        "machine; without it nothing can be deployed",
    )
    s3_endpoint: str = setting(
        "S3_ENDPOINT",
        "",
        read.matching(r"(https?://\S+)?\Z", "Must be an http(s) URL."),
        "the endpoint URL of S3, from which packages are copied that a deploy names by `S3Bucket` and `S3Key`",
        shown="AWS's own",
    )
    deploy_unsigned: bool = setting(
        "DEPLOY_UNSIGNED",
        False,
        read.switch,
        "let clients on this machine deploy without a signature; only for a server that listens on the loopback only, "
        "and not together with `SERVERFULL_CREDENTIALS_FILE`",
    )

    # Mock mode
    mock: bool = setting(
        "MOCK", False, read.switch, "mock mode: handlers do not run, results are made from their types"
    )
    mock_values: str = setting(
        "MOCK_VALUES",
        "zero",
        read.choice("zero", "random"),
        "`zero` or `random`; `random` needs `pip install 'serverfull-wsgi[mock]'`",
    )
    mock_seed: int | None = setting("MOCK_SEED", None, read.integer, "an integer that makes random values repeatable")

    # Isolated processes
    executor: str = setting(
        "EXECUTOR",
        "auto",
        read.choice("auto", "process"),
        "`auto`: functions with a code directory run in isolated processes; "
        "`process`: the functions of `SERVERFULL_FUNCTIONS` do so too",
    )
    sandbox: str = setting(
        "SANDBOX",
        "auto",
        read.choice("auto", "process", "namespaces", "root"),
        "isolation between these processes: `root` (namespaces, and a root directory of its own for each); "
        "`namespaces`; `process` (no namespaces); or `auto`: the first of these that the machine allows",
    )
    max_concurrency: int = setting(
        "MAX_CONCURRENCY",
        64,
        read.at_least(1),
        "isolated processes at the same time, in each server process; beyond it a call is answered with 429",
    )
    environment_idle: float = setting(
        "ENVIRONMENT_IDLE",
        300.0,
        read.at_least(0, "float"),
        "seconds without an invocation after which an isolated process ends",
    )
    zygote_preload: tuple[str, ...] = setting(
        "ZYGOTE_PRELOAD",
        (),
        read.modules,
        "modules that isolated processes have imported before they start, separated by commas",
    )
    node_modules: str = setting(
        "NODE_MODULES",
        "",
        read.text,
        "a folder in which `npm install` has made `node_modules`: Node.js functions find packages there after their "
        "own and those of layers, such as the AWS SDK, which AWS's runtimes bring",
    )
    python_modules: str = setting(
        "PYTHON_MODULES",
        "",
        read.text,
        "a folder in which `pip install --target` has installed packages: Python functions with a code directory find "
        "packages there after their own and those of layers, such as boto3, which AWS's runtimes bring",
    )
    python_transport: str = setting(
        "PYTHON_TRANSPORT",
        "socket",
        read.choice("socket", "http"),
        "the way between the server and isolated Python functions: `socket`, an inherited descriptor; or `http`, the "
        "client of AWS's package as it is. Handlers see no difference, and `socket` is faster",
    )
    network: str = setting(
        "NETWORK",
        "host",
        read.choice("host", "none"),
        "the network of isolated processes: `host`, the machine's; or `none`, a loopback interface of their own, which "
        "needs namespaces. `Function(network=…)` decides for one function",
    )
    mounts: str = setting(
        "MOUNTS",
        "",
        read.text,
        "`FOLDER:/mnt/NAME, FOLDER:/mnt/NAME:rw, …`: folders of this machine that functions share, separated by commas "
        "or line breaks; a function sees those that its `FileSystemConfigs` or `Function(mounts=…)` names. They need "
        "a root directory of its own (`SERVERFULL_SANDBOX`)",
    )
    environment_file: str = setting(
        "ENVIRONMENT_FILE",
        "",
        read.text,
        "a dotenv file with variables of all isolated functions, read at the start; a `$` in it stands for itself. "
        "A function's own variables win over the file",
    )

    # Events
    events: str = setting(
        "EVENTS",
        "",
        read.matching(
            rf"memory\Z|sqlite:///.+\Z|{_BROKER}.+\Z",
            "Must be memory, sqlite:///PATH, or the URL of a broker, amqp(s)://... or redis(s)://....",
        ),
        "where events are kept: `sqlite:///path/of/a.file` (`sqlite:////` before an absolute path), `memory`, "
        "or a broker: `amqp://…`, `amqps://…`, `redis://…` or `rediss://…`",
        shown="`events.sqlite3` in the data directory",
    )
    data_dir: str = setting(
        "DATA_DIR",
        ".serverfull",
        read.text,
        "the directory of `events.sqlite3` and its companion files, of unpacked archives and merged layers, and of "
        "the places of reserved concurrency; on a local disk",
    )
    events_workers: int = setting("EVENTS_WORKERS", 4, read.at_least(1), "threads that run events, in each process")
    events_queue_size: int = setting(
        "EVENTS_QUEUE_SIZE",
        1000,
        read.at_least(1),
        "events in memory: the number that may wait for a thread, in each process",
    )
    events_owner: str = setting(
        "EVENTS_OWNER",
        "",
        read.text,
        "events in SQLite: the name of the application that they belong to; "
        "a file with waiting events of another application is refused",
        shown="the working directory",
    )
    events_queue_name: str = setting(
        "EVENTS_QUEUE_NAME", "serverfull", read.text, "events in a broker: the name of the queue"
    )
    events_retention: float = setting(
        "EVENTS_RETENTION", 86_400.0, read.at_least(0, "float"), "seconds for which ended events can be listed"
    )
    events_max_bytes: int = setting(
        "EVENTS_MAX_BYTES",
        0,
        read.at_least(0),
        "events in SQLite: the size of the file in bytes at which events are refused with a 500, as on a full disk",
        shown="no limit",
    )
    events_lease: float = setting(
        "EVENTS_LEASE",
        30.0,
        read.at_least(1, "float"),
        "seconds after which an event runs again if its process hangs; "
        "the death of a process is noticed at once, except with Redis",
    )
    events_retry_delays: tuple[float, ...] = setting(
        "EVENTS_RETRY_DELAYS",
        (60.0, 120.0),
        read.delays(1),
        "seconds before the first and the second retry of a failed event",
    )
    events_throttle_delays: tuple[float, ...] = setting(
        "EVENTS_THROTTLE_DELAYS",
        (1.0, 300.0),
        read.delays(2),
        "seconds before a throttled event or an undelivered record is tried again: "
        "the first delay, which doubles each time, and the longest",
    )
    events_destinations_endpoint: str = setting(
        "EVENTS_DESTINATIONS_ENDPOINT",
        "",
        read.matching(r"(https?://\S+)?\Z", "Must be an http(s) URL."),
        "the endpoint URL of destinations in SQS, SNS and EventBridge",
        shown="AWS's own",
    )
    drain: float = setting(
        "DRAIN",
        25.0,
        read.at_least(0, "float"),
        "seconds that running events have to finish when the server stops; "
        "keep it below gunicorn's `--graceful-timeout` (30)",
    )
    application: str = setting(
        "APPLICATION",
        "",
        read.matching(r"([\w.]+(:\w+)?)?\Z", "Must be MODULE:APPLICATION."),
        "`MODULE:APPLICATION`, an application built in code; `celery -A serverfull_wsgi.celery worker` runs its events",
    )
    admin: bool = setting(
        "ADMIN",
        False,
        read.switch,
        "serve `/serverfull/events`, to callers with the action `operate` if requests are signed, else to every caller",
    )

    # Functions behind HTTP
    front: tuple[str, ...] = setting(
        "FRONT",
        (),
        read.words("hosts", "paths"),
        "`hosts`, `paths` or `hosts, paths`: serve the APIs and function URLs of the template, `SERVERFULL_ROUTES` and "
        "`SERVERFULL_ALB` under these forms of addresses, to every caller",
        shown="none",
    )
    front_api: str = setting(
        "FRONT_API", "", read.text, "the API that `serverfull serve --api` and `serverfull_wsgi.front:app` serve at `/`"
    )
    routes: str = setting(
        "ROUTES",
        "",
        read.text,
        "`GET /pets/{id}=pets, ANY /{proxy+}=web:prod, …`: routes to functions, separated by commas or line breaks",
    )
    load_balancers: str = setting(
        "ALB",
        "",
        read.text,
        "`name=function, name=function:alias:multi, …`: load balancers, each with its function",
    )
    api_keys: tuple[str, ...] = setting(
        "API_KEYS", (), read.secret_words, "the values of `X-Api-Key`, separated by commas, for routes that need a key"
    )
    api_keys_file: str = setting("API_KEYS_FILE", "", read.text, "a file with more of them, one in each line")
    front_timeout: float | None = setting(
        "FRONT_TIMEOUT",
        None,
        read.optional_seconds,
        "seconds after which an API answers in the place of a function; `0` for no limit",
        shown="29 for REST APIs, 30 for HTTP APIs",
    )
    trusted_proxies: tuple[str, ...] = setting(
        "TRUSTED_PROXIES",
        (),
        read.networks,
        "addresses and networks, such as `10.0.0.0/8`, separated by commas, of proxies whose `X-Forwarded-…` headers "
        "count for requests to APIs and function URLs",
    )

    # Security
    credentials_file: str = setting(
        "CREDENTIALS_FILE",
        "",
        read.text,
        "a file of the keys that may sign requests; without it, every request is allowed",
    )
    replay_guard: int = setting(
        "REPLAY_GUARD",
        0,
        read.at_least(0),
        "the number of signatures that each process remembers, so that each is valid for one request; `0` is off",
    )
    allowed_origins: tuple[str, ...] = setting(
        "ALLOWED_ORIGINS",
        (),
        read.origins,
        "origins such as `http://localhost:3000`, separated by commas, whose web pages may send requests without "
        "authentication; pages of this server's own origin always may",
    )
    allowed_hosts: tuple[str, ...] = setting(
        "ALLOWED_HOSTS",
        (),
        read.hosts,
        "names, separated by commas and without ports, under which a server that listens on the loopback only may be "
        "called without authentication; `localhost` and loopback addresses always are",
    )

    # Server, logs and metrics
    httpserver_address: str = setting(
        "RUNTIME_HTTPSERVER_ADDRESS",
        "127.0.0.1:8080",
        read.address_text,
        "the address of `serverfull serve` and `start_http`; `:8080` is every interface",
    )
    healthcheck: str = setting(
        "HEALTHCHECK",
        "/healthcheck",
        read.matching(r"/[!-~]*\Z", "Must be a path that begins with /."),
        "the path of the health check",
    )
    client_timeout: float = setting(
        "CLIENT_TIMEOUT",
        15.0,
        read.at_least(0.1, "float"),
        "seconds in which a client has to send the rest of its request or the next 64 KiB of it, and to read as much "
        "of its answer; with gunicorn's workers gthread and sync",
    )
    signals: tuple[int, ...] = setting(
        "RUNTIME_SIGNALS_OS_SIGNALS",
        (signal.SIGTERM, signal.SIGINT),
        read.signals,
        "the numbers of the signals on which `serverfull serve` finishes running calls before it ends",
        shown="`15 2`",
        switch=("RUNTIME_SIGNALS_INSTALLED", "`OS`", "`OS`, or `NONE`: every signal stops the server at once"),
    )
    logger_output: str = setting(
        "RUNTIME_LOGGER_OUTPUT",
        "STDOUT",
        read.choice("STDOUT", "STDERR", "NULL"),
        "`STDOUT`, `STDERR` or `NULL`",
    )
    logger_level: int = setting(
        "RUNTIME_LOGGER_LEVEL",
        logging.INFO,
        read.level,
        "a level of Python's `logging`, by name or number",
        shown="`INFO`",
    )
    logger_format: str = setting("RUNTIME_LOGGER_FORMAT", "TEXT", read.choice("TEXT", "JSON"), "`TEXT` or `JSON`")
    stats_output: str = setting(
        "RUNTIME_STATS_OUTPUT",
        "NULL",
        read.stats_output,
        "`NULL` (or `NULLSTAT`), `STATSD`, or `DATADOG`, which adds tags",
    )
    stats_address: tuple[str, int] = setting(
        "RUNTIME_STATS_ADDRESS",
        ("localhost", 8125),
        read.address,
        "the address of the metrics collector, over UDP",
        shown="`localhost:8125`",
    )
    stats_prefix: str = setting(
        "RUNTIME_STATS_PREFIX",
        "serverfull",
        read.matching(r"[A-Za-z0-9_.-]*\Z", "Must be letters, digits, '_', '.', '-'."),
        "the first part of every metric name",
    )
    stats_tags: tuple[str, ...] = setting(
        "RUNTIME_STATS_TAGS",
        (),
        read.tags,
        "tags of every metric, separated by commas or spaces: `env:prod,team:a`",
    )

    env_vars: str = ""  # the file of the option --env-vars
    # Not settings
    notices: tuple[str, ...] = ()  # warnings about variables, for the log
    creates_files: bool = True  # False for a command that only looks: archives are then unpacked for a moment

    @property
    def has_broker(self) -> bool:
        """Return whether a broker keeps the events, which Celery's workers then run."""
        return re.match(_BROKER, self.events) is not None

    @property
    def is_front_at_root(self) -> bool:
        """Return whether one API is served under every path, in the place of the Lambda API."""
        return self.front == _ROOT

    def at_root(self, api: str = "") -> Settings:
        """Return settings that serve one API under every path; ``api`` is its name, empty for SERVERFULL_FRONT_API."""
        return replace(self, front=_ROOT, front_api=api or self.front_api)

    @classmethod
    def from_environ(cls) -> Settings:
        """Return the settings of the process's environment. Raises `ConfigurationError`."""
        return cls.from_mapping(os.environ)

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> Settings:
        """Return the settings of a mapping that uses the environment variables' names.

        >>> Settings.from_mapping({"SERVERFULL_REGION": "eu-west-1"}).region
        'eu-west-1'

        Raises `ConfigurationError`.
        """
        given = {name: str(value) for name, value in values.items() if str(value).strip()}
        settings: dict[str, Any] = {}
        unread = {}  # by field, the variables that environs reads
        plain = PlainEnv(given)
        for field, it in SETTINGS.items():
            if variable := it.variable(given, *other_names(it.name)):
                try:
                    settings[field] = it.read(plain, variable, it.default)
                except NotPlain:
                    unread[field] = variable
        if unread:
            settings |= _read_by_environs(unread, given)
        if f"{PREFIX}REGION" not in given and (region := given.get("AWS_REGION")):
            settings["region"] = region
        return cls(**settings, notices=tuple(notices(given, NAMES)))


SETTINGS: dict[str, Setting] = {field.name: field.metadata["setting"] for field in fields(Settings) if field.metadata}
NAMES = [name for it in SETTINGS.values() for name in it.names]


def is_process_variable(name: str, value: str) -> bool:
    """Return whether the process has an environment variable of this name and value."""
    return os.environ.get(name) == value


def _read_by_environs(variables: Mapping[str, str], given: dict[str, str]) -> dict[str, Any]:
    """Return the values of ``variables``, names without prefix by the settings' fields. Raises `ConfigurationError`."""
    from serverfull_wsgi.settings.mapping_env import MappingEnv  # imports environs

    env = MappingEnv(given)
    settings = {field: SETTINGS[field].read(env, name, SETTINGS[field].default) for field, name in variables.items()}
    if problems := env.problems():
        raise ConfigurationError(_message(problems, given))
    return settings


def _message(errors: Any, given: Mapping[str, str]) -> str:
    lines = [f"{name}={_public(given.get(name, ''))!r}: {' '.join(rules)}" for name, rules in sorted(errors.items())]
    return "\n".join(lines)


def _public(value: str) -> str:
    """Return ``value`` without the text before an ``@``, which is a password in a broker's URL.

    >>> _public("amq://guest:secret@10.0.0.7/")
    '…@10.0.0.7/'
    """
    return re.sub(r"\S*@", "…@", value)
