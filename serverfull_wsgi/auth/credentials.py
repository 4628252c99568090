"""Credentials: the secret of an access key id, and files of keys in the format of AWS's own tools."""

from __future__ import annotations

import configparser
import logging
import os
import re
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import sha256

from serverfull_wsgi.auth.principal import ACTIONS, DEFAULT_ACTIONS, EVENT, EVERYTHING, INVOKE, Principal
from serverfull_wsgi.errors import ConfigurationError
from serverfull_wsgi.telemetry.scope import LOGGER

SETTING = "SERVERFULL_CREDENTIALS_FILE"
ID, SECRET, TOKEN = "aws_access_key_id", "aws_secret_access_key", "aws_session_token"
PREFIX = "serverfull_"  # of the members of a profile that AWS's tools ignore
_MTIME_GRAIN = 100_000_000  # ns: two changes within this time may have the same time in the file system


@dataclass(frozen=True)
class Credential:
    """The secret and the permissions of an access key id.

    Args:
        secret: the secret that signs requests.
        session_token: the token that each request must contain; None for a key without one.
        name: the holder's name in logs; the access key id if empty.
        functions: patterns of function names, as `Principal` has them.
        actions: the permitted actions. None means ``invoke``, ``event`` and ``operate``, and for a key of some
            functions ``invoke`` and ``event`` only. ``read`` and ``deploy`` must be listed.

    Raises:
        ConfigurationError: for an empty secret, an unknown action, or one text in the place of a list.
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
            raise ConfigurationError("functions and actions must be lists, even for a single member")
        if unknown := sorted(set(self.actions or ()) - set(ACTIONS)):
            raise ConfigurationError(f"{unknown[0]!r} is not an action; there are: {', '.join(ACTIONS)}")

    def principal(self, access_key_id: str, users: str) -> Principal:
        """Return the holder of this key. ``users`` is the start of its ARN, up to the name."""
        name = self.name or access_key_id
        functions = tuple(self.functions)
        actions = self.actions
        if actions is None:
            actions = DEFAULT_ACTIONS if functions == EVERYTHING else (INVOKE, EVENT)
        return Principal(name, users + name, access_key_id, functions, frozenset(actions))


CredentialLike = Credential | str | tuple[str, str] | None  # or a secret, or a secret and its session token
Credentials = Mapping[str, CredentialLike] | Callable[[str], CredentialLike]


# A value that differs for every version of a file; empty if there is no file. None for a file that has changed just
# now: a second change could then have the same times and the same size, so the file is read again.
Stamp = tuple[int, ...] | None
_Keys = Mapping[str, Credential]


def _stamp(status: os.stat_result) -> Stamp:
    if abs(time.time_ns() - status.st_ctime_ns) < _MTIME_GRAIN:
        return None
    return status.st_ino, status.st_size, status.st_mode, status.st_mtime_ns, status.st_ctime_ns


class CredentialsFile:
    """The keys of a file in the format of AWS's shared credentials file. A changed file is read again.

    Call it with an access key id. It returns the `Credential`, or None for an unknown key. Beside AWS's members a
    profile may have ``serverfull_functions`` and ``serverfull_actions``. One thread reads a changed file, and
    the others use the keys read before. If a changed file is not valid, the error is logged once, and the keys
    read before stay in force. Replace the file in one step (``mv``), so that no half-written file is read.

    Raises:
        ConfigurationError: for a file that cannot be read or is not valid, or that its group or others may write.
    """

    def __init__(self, path: str | os.PathLike[str], *, logger: logging.Logger = LOGGER) -> None:
        self._path = os.path.abspath(os.path.expanduser(path))
        self._logger = logger
        self._logged_error, self._warned_of_mode = "", False  # each is logged once
        self._parsed: tuple[bytes, _Keys | str] = b"", {}  # the digest of a file's content, and its keys or its mistake
        stamp, result = self._read()
        if isinstance(result, str):
            raise ConfigurationError(result)
        self._current: tuple[Stamp, _Keys] = stamp, result  # of the file that was read last; replaced together

    def __call__(self, access_key_id: str) -> Credential | None:
        stamp, keys = self._current
        if stamp is None or stamp != self._stamp_of_path():
            keys = self._reload()
        return keys.get(access_key_id)

    @cached_property
    def _reading(self) -> threading.Lock:
        return threading.Lock()  # made at the first change: until then gevent may replace the class

    def _reload(self) -> _Keys:
        """Read the file, unless another thread does, and return the keys in force."""
        if self._reading.acquire(blocking=False):
            try:
                stamp, result = self._read()
                if isinstance(result, str):
                    self._current = stamp, self._current[1]
                    self._log_once(result)
                else:
                    self._current, self._logged_error = (stamp, result), ""
            finally:
                self._reading.release()
        return self._current[1]

    def _log_once(self, error: str) -> None:
        if error != self._logged_error:
            self._logged_error = error
            self._logger.error("%s; the keys read before stay in force", error)

    def _stamp_of_path(self) -> Stamp:
        try:
            return _stamp(os.stat(self._path))
        except OSError:
            return ()

    def _read(self) -> tuple[Stamp, _Keys | str]:
        """Return the stamp of the file that was read, and its keys or the text of an error."""
        stamp = self._stamp_of_path()
        try:
            with open(self._path, "rb") as file:
                status = os.fstat(file.fileno())
                stamp = _stamp(status)
                self._check_mode(status.st_mode)
                result = self._parse(file.read())
        except OSError as error:
            result = f"{error.strerror or 'it cannot be read'}; name a file of keys that this process may read"
        except ConfigurationError as error:
            result = str(error)
        return stamp, f"{SETTING} {self}: {result}" if isinstance(result, str) else result

    def _parse(self, content: bytes) -> _Keys | str:
        """Return the keys in a file's content, or its mistake. Equal content is parsed once: 10,000 keys take 0.5 s."""
        digest = sha256(content).digest()
        if digest != self._parsed[0]:
            try:
                self._parsed = digest, parse(content.decode())
            except UnicodeDecodeError:
                self._parsed = digest, "it is not UTF-8"
            except ConfigurationError as error:
                self._parsed = digest, str(error)
        return self._parsed[1]

    def _check_mode(self, mode: int) -> None:
        if mode & 0o022:
            raise ConfigurationError("its group or others may write to it and add keys; run chmod go-w")
        is_readable = bool(mode & 0o004)
        if is_readable and not self._warned_of_mode:
            self._logger.warning("%s %s: other users may read it and sign with its keys; run chmod o-r", SETTING, self)
        self._warned_of_mode = is_readable

    def __str__(self) -> str:
        return self._path


def parse(text: str) -> dict[str, Credential]:
    """Return the credentials in a file's text by access key id. Profiles without a key are skipped.

    >>> parse("[ada]\\naws_access_key_id = AKID\\naws_secret_access_key = xyz\\nserverfull_actions = invoke")
    {'AKID': Credential(name='ada', functions=('*',), actions=('invoke',))}

    Raises `ConfigurationError`. Its message contains no line of the file, since a line may contain a secret.
    """
    parser = configparser.RawConfigParser(default_section="")
    try:
        parser.read_string(text)
    except configparser.DuplicateSectionError as error:
        raise ConfigurationError(f"profile {error.section!r} occurs twice") from None
    except configparser.DuplicateOptionError as error:
        raise ConfigurationError(f"profile {error.section!r} has {error.option!r} twice") from None
    except configparser.Error as error:
        raise ConfigurationError(f"line {_line_of(error)} is neither '[profile]' nor 'name = value'") from None
    credentials: dict[str, Credential] = {}
    for profile in parser.sections():
        values = dict(parser[profile])
        if ID in values or SECRET in values:
            key = _access_key_id(profile, values)
            if key in credentials:
                raise ConfigurationError(f"profiles {credentials[key].name!r} and {profile!r} have the same {ID}")
            credentials[key] = _credential(profile, values)
    if not credentials:
        raise ConfigurationError(f"no profile has {ID} and {SECRET}")
    return credentials


def _line_of(error: configparser.Error) -> object:
    numbers = getattr(error, "errors", None) or [(getattr(error, "lineno", "?"), "")]
    return numbers[0][0]


def _access_key_id(profile: str, values: Mapping[str, str]) -> str:
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
    """Return a list separated by commas or blanks. An empty list is an error: a key without permissions is useless."""
    if (text := values.get(PREFIX + name)) is None:
        return None
    members = tuple(filter(None, re.split(r"[,\s]+", text)))
    if not members:
        raise ConfigurationError(f"{PREFIX}{name} is empty; remove the profile, or this line")
    return members
