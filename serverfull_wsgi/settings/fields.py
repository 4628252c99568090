"""How the text of a setting is read: what it may be, and what it becomes."""

from __future__ import annotations

import re
import signal
from collections.abc import Callable, Mapping
from typing import Any

from environs import Env, ValidationError, validate

PREFIX = "SERVERFULL_"


class MappingEnv(Env):
    """environs over any mapping; an empty value is one that was not given."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        super().__init__(eager=False, prefix=PREFIX)
        self.given = {name: str(value) for name, value in values.items() if str(value).strip()}

    def _get_value(self, env_key: str, default: Any) -> Any:
        return self.given.get(env_key, default)

    def first_of(self, *names: str) -> str:
        """The first of these names that is given, else the first of all: for settings that have two names."""
        return next((name for name in names if PREFIX + name in self.given), names[0])


Reader = Callable[[MappingEnv, Any], Any]


def choice(name: str, *choices: str) -> Reader:
    """One of some words, in any case; read as it is written here."""

    def read(env: MappingEnv, default: Any) -> Any:
        key = PREFIX + name
        if key in env.given:
            given = env.given[key]
            env.given[key] = next((choice for choice in choices if choice.lower() == given.lower()), given)
        return env.str(name, default, validate=validate.OneOf(choices, error="Must be one of: {choices}."))

    return read


def matching(name: str, pattern: str, rule: str) -> Reader:
    """A text of a pattern; ``rule`` is what is told of one that is not."""
    return lambda env, default: env.str(name, default, validate=validate.Regexp(re.compile(pattern), error=rule))


def at_least(name: str, least: float, kind: str = "int") -> Reader:
    """A number, ``int`` or ``float``, that is not below ``least``."""
    rule = validate.Range(min=least, error="Must be {min} or more.")
    return lambda env, default: getattr(env, kind)(name, default, validate=rule)


def level(env: MappingEnv, default: Any) -> Any:
    """A level of `logging`, by name or number."""
    return env.log_level(env.first_of("RUNTIME_LOGGER_LEVEL", "RUNTIME_LOGGING_LEVEL"), default)


def stats_output(env: MappingEnv, default: Any) -> Any:
    """Where metrics go; NULLSTAT is the Go original's word for nowhere."""
    output = choice("RUNTIME_STATS_OUTPUT", "NULL", "NULLSTAT", "STATSD", "DATADOG")(env, default)
    return "NULL" if output == "NULLSTAT" else output


def stats_address(env: MappingEnv, default: Any) -> Any:
    """The collector of metrics, as host and port."""
    name = env.first_of("RUNTIME_STATS_ADDRESS", "RUNTIME_STATS_DATADOG_ADDRESS")
    text = env.str(name, "{}:{}".format(*default), validate=is_address)
    return parse_address(text) if text else default


def stats_tags(env: MappingEnv, default: Any) -> Any:
    """Tags, parted by commas or blanks."""
    text = env.str(env.first_of("RUNTIME_STATS_TAGS", "RUNTIME_STATS_DATADOG_TAGS"), "", validate=_is_ascii)
    return tuple(filter(None, re.split(r"[,\s]+", text or "")))


def modules(env: MappingEnv, default: Any) -> Any:
    """Names of modules, parted by commas or blanks."""
    text = env.str("ZYGOTE_PRELOAD", "", validate=_are_modules)
    return tuple(filter(None, re.split(r"[,\s]+", text or ""))) or default


def _are_modules(text: str) -> None:
    for name in filter(None, re.split(r"[,\s]+", text)):
        if not all(part.isidentifier() for part in name.split(".")):
            raise ValidationError(f"Must be names of modules parted by commas; {name!r} is none.")


def signals(env: MappingEnv, default: Any) -> Any:
    """Numbers of signals, parted by blanks; none where none are to be installed."""
    if choice("RUNTIME_SIGNALS_INSTALLED", "OS", "NONE")(env, "OS") == "NONE":
        return ()
    text = env.str(
        "RUNTIME_SIGNALS_OS_SIGNALS", " ".join(str(int(number)) for number in default), validate=_are_signals
    )
    return tuple(int(number) for number in (text or "").split())


def delays(name: str, least: int) -> Reader:
    """``least`` or more numbers of seconds, parted by blanks."""

    def check(text: str) -> None:
        words = text.split()
        if len(words) < least or not all(re.fullmatch(r"\d{1,6}(\.\d+)?", word) for word in words):
            raise ValidationError(f"Must be {least} or more numbers of seconds, parted by blanks.")

    def read(env: MappingEnv, default: Any) -> Any:
        text = env.str(name, " ".join(map(str, default)), validate=check)
        return tuple(float(word) for word in (text or "").split()) if env.given.get(PREFIX + name) else default

    return read


def is_address(text: str) -> None:
    """Raises `ValidationError` for what is not ``HOST:PORT``."""
    try:
        parse_address(text)
    except ValueError:
        raise ValidationError("Must be HOST:PORT, such as localhost:8125.") from None


def parse_address(text: str) -> tuple[str, int]:
    """``HOST:PORT`` as a pair; the host may be missing, or an IPv6 address in brackets.

    >>> parse_address("[::1]:8125")
    ('::1', 8125)

    Raises ValueError.
    """
    host, _, port = text.rpartition(":")
    if not 0 <= int(port) <= 65535:
        raise ValueError(f"port {port} is not in 0..65535")
    return host.strip("[]"), int(port)


def _is_ascii(text: str) -> None:
    if not text.isascii():
        raise ValidationError("Must be ASCII, as statsd's protocol is.")


def _are_signals(text: str) -> None:
    for number in text.split():
        if not number.isdigit() or int(number) not in set(signal.Signals):
            raise ValidationError(f"Must be signal numbers parted by blanks; {number} is none.")
