"""Keys: the secret behind an access key id, and a file of them in the format that AWS's own tools read."""

from __future__ import annotations

import configparser
import logging
import os
import re
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from serverfull_wsgi.auth.principal import ACTIONS, EVENT, EVERYTHING, INVOKE, Principal
from serverfull_wsgi.errors import ConfigurationError
from serverfull_wsgi.telemetry.scope import LOGGER

SETTING = "SERVERFULL_CREDENTIALS_FILE"
ID, SECRET, TOKEN = "aws_access_key_id", "aws_secret_access_key", "aws_session_token"
PREFIX = "serverfull_"
_GRAIN = 100_000_000  # ns, within which two changes of a file may bear the same time


@dataclass(frozen=True)
class Credential:
    """What belongs to an access key id: the secret its holder signs with, and what they may do.

    ``session_token`` has to come with each request where there is one. ``name`` is how the logs call the holder, the
    access key id if empty. ``functions`` and ``actions`` are as a `Principal` has them. Without ``actions`` that is
    everything, but for a key of some functions only: that does not operate the server unless told.

    Raises `ConfigurationError`.
    """

    secret: str = field(repr=False)
    session_token: str | None = field(default=None, repr=False)
    name: str = ""
    functions: Iterable[str] = EVERYTHING
    actions: Iterable[str] | None = None

    def __post_init__(self) -> None:
        if not self.secret:
            raise ConfigurationError("a credential needs a secret that is not empty")
        if isinstance(self.functions, str) or isinstance(self.actions, str):
            raise ConfigurationError("functions and actions are lists, also where they have but one member")
        if unknown := sorted(set(self.actions or ()) - set(ACTIONS)):
            raise ConfigurationError(f"{unknown[0]!r} is not an action; there are: {', '.join(ACTIONS)}")

    def principal(self, access_key_id: str, users: str) -> Principal:
        """Who holds this; ``users`` is what their ARN begins with."""
        name = self.name or access_key_id
        functions = tuple(self.functions)
        actions = (ACTIONS if functions == EVERYTHING else (INVOKE, EVENT)) if self.actions is None else self.actions
        return Principal(name, users + name, access_key_id, functions, frozenset(actions))


Found = Credential | str | tuple[str, str] | None  # a secret may do, or a secret and its session token
Credentials = Mapping[str, Found] | Callable[[str], Found]


class CredentialsFile:
    """The keys of a file in the format of AWS's shared credentials file, read again whenever it changes.

    To call one with an access key id gives its `Credential`, or None. Beside AWS's own, a profile may have
    ``serverfull_functions`` and ``serverfull_actions``. A change that cannot be read is logged, and the keys read
    before it stay in force; replace the file in one step (``mv``), so that none is read half written.

    Raises `ConfigurationError`, also for a file that its group or others may write.
    """

    def __init__(self, path: str | os.PathLike[str], *, logger: logging.Logger = LOGGER) -> None:
        self._path = os.path.abspath(os.path.expanduser(path))
        self._logger = logger
        self._complaint, self._readable = "", False  # what was told of it already
        self._stamp = self._changed()
        self._credentials = self._read()

    def __call__(self, access_key_id: str) -> Credential | None:
        stamp = self._changed()
        if stamp is None or stamp != self._stamp:
            self._read_again()
            self._stamp = stamp
        return self._credentials.get(access_key_id)

    def _changed(self) -> tuple[int, ...] | None:
        """What differs whenever the file does; None for as long as that could not be told."""
        try:
            status = os.stat(self._path)
        except OSError:
            return ()
        if abs(time.time_ns() - status.st_ctime_ns) < _GRAIN:
            return None
        return status.st_ino, status.st_size, status.st_mode, status.st_mtime_ns, status.st_ctime_ns

    def _read_again(self) -> None:
        try:
            self._credentials, self._complaint = self._read(), ""
        except ConfigurationError as error:
            if str(error) != self._complaint:
                self._complaint = str(error)
                self._logger.error("%s; the keys read before stay in force", error)

    def _read(self) -> dict[str, Credential]:
        try:
            with open(self._path, "rb") as file:
                self._check(os.fstat(file.fileno()).st_mode)
                return parse(file.read().decode())
        except OSError as error:
            raise self._refusal(error.strerror or "it cannot be read") from None
        except UnicodeDecodeError:
            raise self._refusal("it is not UTF-8") from None
        except ConfigurationError as error:
            raise self._refusal(str(error)) from None

    def _check(self, mode: int) -> None:
        if mode & 0o022:
            raise ConfigurationError("its group or others may write it, and so make keys; chmod go-w it")
        was, self._readable = self._readable, bool(mode & 0o004)
        if self._readable and not was:
            self._logger.warning("%s %s: others may read it, and so sign with its keys; chmod o-r it", SETTING, self)

    def _refusal(self, reason: str) -> ConfigurationError:
        return ConfigurationError(f"{SETTING} {self}: {reason}")

    def __str__(self) -> str:
        return self._path


def parse(text: str) -> dict[str, Credential]:
    """The credentials of a file's text by their access key ids; profiles without a key are left out.

    >>> parse("[ada]\\naws_access_key_id = AKID\\naws_secret_access_key = xyz\\nserverfull_actions = invoke")
    {'AKID': Credential(name='ada', functions=('*',), actions=('invoke',))}

    Raises `ConfigurationError`, which never shows a line of the file: it may be one with a secret.
    """
    parser = configparser.RawConfigParser(default_section="")
    try:
        parser.read_string(text)
    except configparser.DuplicateSectionError as error:
        raise ConfigurationError(f"profile {error.section!r} stands there twice") from None
    except configparser.DuplicateOptionError as error:
        raise ConfigurationError(f"profile {error.section!r} says {error.option!r} twice") from None
    except configparser.Error as error:
        raise ConfigurationError(f"line {_line_of(error)} is neither '[profile]' nor 'name = value'") from None
    credentials: dict[str, Credential] = {}
    for profile in parser.sections():
        values = dict(parser[profile])
        if ID in values or SECRET in values:
            key = _key(profile, values)
            if key in credentials:
                raise ConfigurationError(f"profiles {credentials[key].name!r} and {profile!r} have the same {ID}")
            credentials[key] = _credential(profile, values)
    if not credentials:
        raise ConfigurationError(f"no profile in it has {ID} and {SECRET}")
    return credentials


def _line_of(error: configparser.Error) -> object:
    numbers = getattr(error, "errors", None) or [(getattr(error, "lineno", "?"), "")]
    return numbers[0][0]


def _key(profile: str, values: Mapping[str, str]) -> str:
    for name in (ID, SECRET):
        if not values.get(name) or "\n" in values[name]:
            raise ConfigurationError(f"profile {profile!r} needs {name}, on one line")
    if not re.fullmatch(r"[!-+\-.0-~]+", values[ID]):
        raise ConfigurationError(f"profile {profile!r}: {ID} must be letters and digits")
    return values[ID]


def _credential(profile: str, values: Mapping[str, str]) -> Credential:
    for name in values:
        if name.startswith(PREFIX) and name not in (f"{PREFIX}functions", f"{PREFIX}actions"):
            raise ConfigurationError(
                f"profile {profile!r}: {name} is not known; did you mean {PREFIX}functions or _actions?"
            )
    try:
        return Credential(
            values[SECRET],
            values.get(TOKEN),
            profile,
            _listed(values, "functions") or EVERYTHING,
            _listed(values, "actions"),
        )
    except ConfigurationError as error:
        raise ConfigurationError(f"profile {profile!r}: {error}") from None


def _listed(values: Mapping[str, str], name: str) -> tuple[str, ...] | None:
    """A list parted by commas or blanks. An empty one is a mistake: a key that may do nothing is better taken out."""
    if (text := values.get(PREFIX + name)) is None:
        return None
    found = tuple(filter(None, re.split(r"[,\s]+", text)))
    if not found:
        raise ConfigurationError(f"{PREFIX}{name} names none; take the key out, or the line")
    return found
