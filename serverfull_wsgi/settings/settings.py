"""Settings: what the environment variables ``SERVERFULL_*`` say, read once and checked as a whole."""

from __future__ import annotations

import difflib
import logging
import os
import re
import signal
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from environs import EnvValidationError

from serverfull_wsgi.errors import ConfigurationError
from serverfull_wsgi.settings.fields import (
    PREFIX,
    MappingEnv,
    Reader,
    at_least,
    choice,
    delays,
    is_address,
    level,
    matching,
    modules,
    signals,
    stats_address,
    stats_output,
    stats_tags,
)

# Settings of the Go original that have no meaning here, and why.
WITHOUT_MEANING = {
    "RUNTIME_STATS_DATADOG_PACKETSIZE": "an invocation's metrics are one datagram of their own",
    "RUNTIME_STATS_DATADOG_FLUSHINTERVAL": "metrics are sent when the invocation ends, nothing is held back",
    "RUNTIME_CONNSTATE_REPORTINTERVAL": "connections are the WSGI server's; gunicorn counts them with --statsd-host",
    "RUNTIME_CONNSTATE_NEWCOUNTER": "see RUNTIME_CONNSTATE_REPORTINTERVAL",
    "RUNTIME_CONNSTATE_NEWGAUGE": "see RUNTIME_CONNSTATE_REPORTINTERVAL",
    "RUNTIME_CONNSTATE_ACTIVEGAUGE": "see RUNTIME_CONNSTATE_REPORTINTERVAL",
    "RUNTIME_CONNSTATE_IDLEGAUGE": "see RUNTIME_CONNSTATE_REPORTINTERVAL",
    "RUNTIME_CONNSTATE_CLOSEDCOUNTER": "see RUNTIME_CONNSTATE_REPORTINTERVAL",
    "RUNTIME_CONNSTATE_HIJACKEDCOUNTER": "see RUNTIME_CONNSTATE_REPORTINTERVAL",
    "RUNTIME_EXPVAR_REPORTINTERVAL": "it reports Go's own memory statistics",
}


@dataclass(frozen=True)
class Settings:
    """Everything that can be set from outside, with the defaults of a server that nobody has configured.

    Raises `ConfigurationError` from `from_environ` and `from_mapping`, naming every bad value at once.
    """

    functions: str = ""
    aliases: str = ""
    template: str = ""
    template_parameters: str = ""
    region: str = "us-east-1"
    account_id: str = "123456789012"
    healthcheck: str = "/healthcheck"
    mock: bool = False
    mock_values: str = "zero"
    mock_seed: int | None = None
    event_workers: int = 4
    event_queue_size: int = 1000
    drain: float = 25.0  # seconds
    credentials_file: str = ""  # who may call; empty: whoever can reach the server
    replay_guard: int = 0  # signatures that are remembered, so that each is good once; 0: none
    executor: str = "auto"
    sandbox: str = "auto"
    max_concurrency: int = 64
    environment_idle: float = 300.0  # seconds
    zygote_preload: tuple[str, ...] = ()
    application: str = ""  # MODULE:APPLICATION, for Celery's workers; empty: as the settings say
    events: str = ""  # memory, sqlite:///PATH, or a broker's URL; empty: events.sqlite3 in the data directory
    data_dir: str = ".serverfull"
    events_application: str = ""  # whose events these are; empty: the working directory, or with a broker "serverfull"
    events_retention: float = 86_400.0  # seconds
    event_lease: float = 30.0  # seconds
    event_retry_delays: tuple[float, ...] = (60.0, 120.0)  # seconds
    event_throttle_delays: tuple[float, ...] = (1.0, 300.0)  # seconds: the first, and the longest
    destinations_endpoint: str = ""  # empty: AWS's own
    admin: bool = False
    httpserver_address: str = "127.0.0.1:8080"
    logger_output: str = "STDOUT"
    logger_level: int = logging.INFO
    logger_format: str = "TEXT"
    stats_output: str = "NULL"
    stats_address: tuple[str, int] = ("localhost", 8125)
    stats_prefix: str = "serverfull"
    stats_tags: tuple[str, ...] = ()
    signals: tuple[int, ...] = (signal.SIGTERM, signal.SIGINT)
    notices: tuple[str, ...] = ()  # what deserves a line in the log at the start

    @property
    def are_events_carried(self) -> bool:
        """Whether events are a broker's, and run by Celery's workers."""
        return re.match(r"(amqp|redis)s?://", self.events) is not None

    @classmethod
    def from_environ(cls) -> Settings:
        """From the process's environment."""
        return cls.from_mapping(os.environ)

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> Settings:
        """From a mapping with the names the environment variables have.

        >>> Settings.from_mapping({"SERVERFULL_REGION": "eu-west-1"}).region
        'eu-west-1'
        """
        env = MappingEnv(values)
        found: dict[str, Any] = {}
        for setting in fields(cls):
            if reader := _READERS.get(setting.name):
                found[setting.name] = reader(env, setting.default)
        if "SERVERFULL_REGION" not in env.given and (region := env.given.get("AWS_REGION")):
            found["region"] = region
        try:
            env.seal()
        except EnvValidationError as error:
            raise ConfigurationError(_explained(error.error_messages, env.given)) from None
        return cls(**found, notices=_notices(env.given))


_READERS: dict[str, Reader] = {
    "functions": lambda env, default: env.str("FUNCTIONS", default),
    "aliases": lambda env, default: env.str("ALIASES", default),
    "template": lambda env, default: env.str("TEMPLATE", default),
    "template_parameters": lambda env, default: env.str("TEMPLATE_PARAMETERS", default),
    "region": matching("REGION", r"[a-z]{2}(-[a-z]+)+-\d\Z", "Must be an AWS region, such as us-east-1."),
    "account_id": matching("ACCOUNT_ID", r"\d{12}\Z", "Must be 12 digits."),
    "healthcheck": matching("HEALTHCHECK", r"/[!-~]*\Z", "Must be a path that begins with /."),
    "mock": lambda env, default: env.bool("MOCK", default),
    "mock_values": choice("MOCK_VALUES", "zero", "random"),
    "mock_seed": lambda env, default: env.int("MOCK_SEED", default),
    "event_workers": at_least("EVENT_WORKERS", 1),
    "event_queue_size": at_least("EVENT_QUEUE_SIZE", 1),
    "drain": at_least("DRAIN", 0, "float"),
    "credentials_file": lambda env, default: env.str("CREDENTIALS_FILE", default),
    "replay_guard": at_least("REPLAY_GUARD", 0),
    "executor": choice("EXECUTOR", "auto", "process"),
    "sandbox": choice("SANDBOX", "auto", "process", "namespaces"),
    "max_concurrency": at_least("MAX_CONCURRENCY", 1),
    "environment_idle": at_least("ENVIRONMENT_IDLE", 0, "float"),
    "zygote_preload": modules,
    "events": matching(
        "EVENTS",
        r"memory\Z|sqlite:///.+\Z|(amqps?|rediss?)://.+\Z",
        "Must be memory, sqlite:///PATH, or the URL of a broker, amqp(s)://... or redis(s)://....",
    ),
    "application": matching("APPLICATION", r"([\w.]+(:\w+)?)?\Z", "Must be MODULE:APPLICATION."),
    "data_dir": lambda env, default: env.str("DATA_DIR", default),
    "events_application": lambda env, default: env.str("EVENTS_APPLICATION", default),
    "events_retention": at_least("EVENTS_RETENTION", 0, "float"),
    "event_lease": at_least("EVENT_LEASE", 1, "float"),
    "event_retry_delays": delays("EVENT_RETRY_DELAYS", 1),
    "event_throttle_delays": delays("EVENT_THROTTLE_DELAYS", 2),
    "destinations_endpoint": matching("DESTINATIONS_ENDPOINT", r"(https?://\S+)?\Z", "Must be an http(s) URL."),
    "admin": lambda env, default: env.bool("ADMIN", default),
    "httpserver_address": lambda env, default: env.str("RUNTIME_HTTPSERVER_ADDRESS", default, validate=is_address),
    "logger_output": choice("RUNTIME_LOGGER_OUTPUT", "STDOUT", "STDERR", "NULL"),
    "logger_level": level,
    "logger_format": choice("RUNTIME_LOGGER_FORMAT", "TEXT", "JSON"),
    "stats_output": stats_output,
    "stats_address": stats_address,
    "stats_prefix": matching("RUNTIME_STATS_PREFIX", r"[A-Za-z0-9_.-]*\Z", "Must be letters, digits, '_', '.', '-'."),
    "stats_tags": stats_tags,
    "signals": signals,
}

NAMES = (
    "FUNCTIONS ALIASES TEMPLATE TEMPLATE_PARAMETERS REGION ACCOUNT_ID HEALTHCHECK "
    "MOCK MOCK_VALUES MOCK_SEED EVENT_WORKERS EVENT_QUEUE_SIZE DRAIN "
    "CREDENTIALS_FILE REPLAY_GUARD "
    "EXECUTOR SANDBOX MAX_CONCURRENCY ENVIRONMENT_IDLE ZYGOTE_PRELOAD "
    "EVENTS DATA_DIR EVENTS_APPLICATION EVENTS_RETENTION EVENT_LEASE EVENT_RETRY_DELAYS EVENT_THROTTLE_DELAYS "
    "DESTINATIONS_ENDPOINT ADMIN APPLICATION "
    "RUNTIME_HTTPSERVER_ADDRESS RUNTIME_LOGGER_OUTPUT RUNTIME_LOGGER_LEVEL RUNTIME_LOGGING_LEVEL RUNTIME_LOGGER_FORMAT "
    "RUNTIME_STATS_OUTPUT RUNTIME_STATS_ADDRESS RUNTIME_STATS_DATADOG_ADDRESS RUNTIME_STATS_PREFIX RUNTIME_STATS_TAGS "
    "RUNTIME_STATS_DATADOG_TAGS RUNTIME_SIGNALS_INSTALLED RUNTIME_SIGNALS_OS_SIGNALS"
).split()


def _explained(errors: Any, given: Mapping[str, str]) -> str:
    lines = [f"{name}={_public(given.get(name, ''))!r}: {' '.join(rules)}" for name, rules in sorted(errors.items())]
    return "\n".join(lines)


def _public(value: str) -> str:
    """``value`` without what stands before an ``@``: in a broker's URL, that is a password.

    >>> _public("amq://guest:secret@10.0.0.7/")
    '…@10.0.0.7/'
    """
    return re.sub(r"\S*@", "…@", value)


def _notices(given: Mapping[str, str]) -> tuple[str, ...]:
    """What was set and will not do what whoever set it may think."""
    notices = []
    for key in sorted(name for name in given if name.startswith(PREFIX)):
        name = key.removeprefix(PREFIX)
        if reason := WITHOUT_MEANING.get(name):
            notices.append(f"{key} has no meaning here: {reason}")
        elif name not in NAMES:
            close = difflib.get_close_matches(name, NAMES, n=1)
            hint = f"; did you mean {PREFIX}{close[0]}?" if close else ""
            notices.append(f"{key} is not a setting{hint}")
    if f"{PREFIX}REPLAY_GUARD" in given and f"{PREFIX}CREDENTIALS_FILE" not in given:
        notices.append(f"{PREFIX}REPLAY_GUARD has no effect without {PREFIX}CREDENTIALS_FILE")
    return tuple(notices)
