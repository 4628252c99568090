"""Fields of `Settings`: their declaration, and the readers that turn a variable's text into a value."""

from __future__ import annotations

import logging
import re
import signal
from collections.abc import Callable, Mapping
from dataclasses import field
from functools import partial
from ipaddress import ip_network
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn, TypeVar

if TYPE_CHECKING:
    from serverfull_wsgi.settings.mapping_env import MappingEnv
    from serverfull_wsgi.settings.plain_env import PlainEnv

    Env = MappingEnv | PlainEnv

PREFIX = "SERVERFULL_"
T = TypeVar("T")


# Read the variable of this name (without prefix); return the default if it is not given. A bad value is noted in the
# environment, which raises all of them together.
Reader = Callable[["Env", str, Any], Any]


class Setting(NamedTuple):
    """One setting, as a field of `Settings` carries it in its metadata.

    Args:
        default: the value if the variable is not given.
        read: reads and checks the variable's text.
        text: the documentation, in Markdown.
        name: the variable's name without prefix.
        shown: the default as the documentation shows it; empty if the value itself is good to read.
        switch: a second variable that ``read`` reads, with its default and its documentation.
    """

    default: Any
    read: Reader
    text: str
    name: str
    shown: str = ""
    switch: tuple[str, str, str] | None = None

    def variable(self, given: Mapping[str, str], *other_names: str) -> str | None:
        """Return the variable to read, without prefix: ``name`` or an old name. None if the setting is not given."""
        if name := next((name for name in (self.name, *other_names) if PREFIX + name in given), None):
            return name
        return self.name if self.switch and PREFIX + self.switch[0] in given else None

    @property
    def names(self) -> list[str]:
        """Return the names of the variables that make this setting, without prefix."""
        return [self.switch[0], self.name] if self.switch else [self.name]


def setting(name: str, default: T, read: Reader, text: str, **more: Any) -> T:
    """Declare a field of `Settings`. See `Setting` for the arguments."""
    return field(default=default, metadata={"setting": Setting(default, read, text, name, **more)})


def text(env: Env, name: str, default: Any) -> Any:
    """Read any text."""
    return env.str(name, default)


def switch(env: Env, name: str, default: Any) -> Any:
    """Read a boolean: true, yes, on, 1, or their opposites."""
    return _parsed(env, "bool", name, default, "Must be true, yes, on, 1, or false, no, off, 0.")


def integer(env: Env, name: str, default: Any) -> Any:
    """Read an integer."""
    return _parsed(env, "int", name, default, "Must be an integer.")


def choice(*choices: str) -> Reader:
    """Make a reader of one of these words, in any case; it returns the word as it is written here."""

    def read(env: Env, name: str, default: Any) -> Any:
        key = PREFIX + name
        if key in env.given:
            given = env.given[key]
            env.given[key] = next((choice for choice in choices if choice.lower() == given.lower()), given)
        return env.str(name, default, validate=check)

    def check(text: str) -> None:
        if text not in choices:
            _refuse(f"Must be one of: {', '.join(choices)}.")

    return read


def matching(pattern: str, rule: str) -> Reader:
    """Make a reader of a text that matches ``pattern``; ``rule`` is the error message for any other text."""

    def check(text: str) -> None:
        if not re.match(pattern, text):
            _refuse(rule)

    return lambda env, name, default: env.str(name, default, validate=check)


def at_least(least: float, kind: str = "int") -> Reader:
    """Make a reader of a number, ``int`` or ``float``, that is not below ``least``."""

    def check(value: float) -> None:
        if value < least:
            _refuse(f"Must be {least} or more.")

    rule = f"Must be {'an integer' if kind == 'int' else 'a number'}, {least} or more."
    return lambda env, name, default: _parsed(env, kind, name, default, rule, validate=check)


def _parsed(env: Env, kind: str, name: str, default: Any, rule: str, **more: Any) -> Any:
    """Read a value of a type of environs; ``rule`` is the error message for a text that is not of this type."""
    return getattr(env, kind)(name, default, error_messages={"invalid": rule}, **more)


def level(env: Env, name: str, default: Any) -> Any:
    """Read a level of `logging`, by name or number."""
    given = env.str(name, "", validate=_check_level)
    return _level_number(given) if given else default


def stats_output(env: Env, name: str, default: Any) -> Any:
    """Read the protocol for metrics. NULLSTAT is the Go original's word for NULL."""
    output = choice("NULL", "NULLSTAT", "STATSD", "DATADOG")(env, name, default)
    return "NULL" if output == "NULLSTAT" else output


def address(env: Env, name: str, default: Any) -> Any:
    """Read ``HOST:PORT`` as a pair of host and port."""
    given = env.str(name, "{}:{}".format(*default), validate=_address_check("localhost:8125"))
    return parse_address(given) if given else default


def address_text(env: Env, name: str, default: Any) -> Any:
    """Read ``HOST:PORT`` and return the text."""
    return env.str(name, default, validate=_address_check("127.0.0.1:8080"))


def tags(env: Env, name: str, default: Any) -> Any:
    """Read tags that are separated by commas or spaces."""
    return _words(env.str(name, "", validate=_check_ascii))


def modules(env: Env, name: str, default: Any) -> Any:
    """Read module names that are separated by commas or spaces."""
    return _words(env.str(name, "", validate=_check_modules)) or default


def origins(env: Env, name: str, default: Any) -> Any:
    """Read origins of web pages that are separated by commas or spaces."""
    return _words(env.str(name, "", validate=_check_origins)) or default


def hosts(env: Env, name: str, default: Any) -> Any:
    """Read names of hosts, without ports, that are separated by commas or spaces. Brackets of IPv6 are removed."""
    return tuple(host.strip("[]") for host in _words(env.str(name, "", validate=_check_hosts))) or default


def words(*choices: str) -> Reader:
    """Make a reader of some of these words, separated by commas or spaces."""

    def check(text: str) -> None:
        if unknown := set(_words(text)) - set(choices):
            _refuse(f"Must be among {', '.join(choices)}, not {min(unknown)!r}.")

    return lambda env, name, default: _words(env.str(name, "", validate=check)) or default


def secret_words(env: Env, name: str, default: Any) -> Any:
    """Read secrets that are separated by commas or spaces. No message has their text."""
    return _words(env.str(name, "")) or default


def networks(env: Env, name: str, default: Any) -> Any:
    """Read IP addresses and networks that are separated by commas or spaces."""
    return _words(env.str(name, "", validate=_check_networks)) or default


def optional_seconds(env: Env, name: str, default: Any) -> Any:
    """Read a number of seconds, 0 or more; None if it is not given."""
    return at_least(0, "float")(env, name, default) if PREFIX + name in env.given else default


def signals(env: Env, name: str, default: Any) -> Any:
    """Read signal numbers that are separated by spaces; return none of them if ``SIGNALS_INSTALLED`` is NONE."""
    if choice("OS", "NONE")(env, "RUNTIME_SIGNALS_INSTALLED", "OS") == "NONE":
        return ()
    given = env.str(name, " ".join(str(int(number)) for number in default), validate=_check_signals)
    return tuple(int(number) for number in (given or "").split())


def delays(least: int) -> Reader:
    """Make a reader of ``least`` or more numbers of seconds that are separated by spaces."""

    def check(text: str) -> None:
        words = text.split()
        if len(words) < least or not all(re.fullmatch(r"\d{1,6}(\.\d+)?", word) for word in words):
            count = "one number" if least == 1 else f"{least} numbers"
            _refuse(f"Must be at least {count} of seconds, separated by spaces.")

    def read(env: Env, name: str, default: Any) -> Any:
        given = env.str(name, " ".join(map(str, default)), validate=check)
        return tuple(float(word) for word in (given or "").split()) if env.given.get(PREFIX + name) else default

    return read


def _refuse(rule: str) -> NoReturn:
    """Raise the error of a text that breaks ``rule``, for environs."""
    from environs import ValidationError  # a reader runs, so environs is imported

    raise ValidationError(rule) from None


def parse_address(text: str) -> tuple[str, int]:
    """Return ``HOST:PORT`` as a pair. The host may be missing, or an IPv6 address in brackets.

    >>> parse_address("[::1]:8125")
    ('::1', 8125)

    Raises ValueError.
    """
    host, colon, port = text.rpartition(":")
    if not colon:  # a number alone would be a port of all addresses of the machine
        raise ValueError(f"{text!r} has no colon")
    if not 0 <= int(port) <= 65535:
        raise ValueError(f"port {port} is not in 0..65535")
    return host.strip("[]"), int(port)


def _address_check(example: str) -> Callable[[str], None]:
    """Return a check that raises `ValidationError` if a text is not ``HOST:PORT``, such as ``example``."""

    def check(text: str) -> None:
        try:
            parse_address(text)
        except ValueError:
            _refuse(f"Must be HOST:PORT, such as {example}.")

    return check


def _level_number(text: str) -> int | None:
    number = int(text) if text.isdecimal() else logging.getLevelName(text.upper())
    return number if isinstance(number, int) else None


def _check_level(text: str) -> None:
    if _level_number(text) is None:
        _refuse("Must be DEBUG, INFO, WARNING, ERROR, CRITICAL, or a number.")


def _words(text: str | None) -> tuple[str, ...]:
    return tuple(filter(None, re.split(r"[,\s]+", text or "")))


def _check_ascii(text: str) -> None:
    if not text.isascii():
        _refuse("Must be ASCII, as statsd's protocol is.")


def _each_word(is_valid: Callable[[str], object], rule: str) -> Callable[[str], None]:
    """Return a check of words that are separated by commas or spaces. ``rule`` has a place for the refused word."""

    def check(text: str) -> None:
        for word in _words(text):
            if not is_valid(word):
                _refuse(rule.format(word))

    return check


def _is_module(name: str) -> bool:
    return all(part.isidentifier() for part in name.split("."))


_check_modules = _each_word(_is_module, "Must be module names separated by commas; {!r} is not a module name.")
_check_origins = _each_word(
    partial(re.fullmatch, r"[A-Za-z][A-Za-z0-9+.-]*://[^/?#@\s]+"),
    "Must be origins such as http://localhost:3000, separated by commas; {!r} is not an origin.",
)
_check_hosts = _each_word(
    partial(re.fullmatch, r"[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\]"),
    "Must be host names without ports, separated by commas; {!r} is not one.",
)


def _check_networks(text: str) -> None:
    for word in _words(text):
        try:
            ip_network(word)
        except ValueError as error:
            _refuse(f"Must be addresses and networks such as 10.0.0.0/8: {error}.")


def _check_signals(text: str) -> None:
    for number in text.split():
        if not number.isdigit() or int(number) not in set(signal.Signals):
            _refuse(f"Must be signal numbers separated by spaces; {number!r} is not a signal number.")
