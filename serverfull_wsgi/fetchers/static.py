"""Functions that are known when the process starts."""

from __future__ import annotations

import re
from collections.abc import Mapping

from serverfull_wsgi.domain import Function, FunctionLike
from serverfull_wsgi.errors import ConfigurationError, NotFoundError
from serverfull_wsgi.names import LATEST

NAME = re.compile(r"[a-zA-Z0-9-_.]{1,64}", re.ASCII)
_VERSION = re.compile(r"[0-9]{1,20}", re.ASCII)
ALIAS = re.compile(r"(?!^[0-9]+$)[a-zA-Z0-9-_]{1,128}", re.ASCII)


class StaticFetcher:
    """Serves a fixed set of functions; a change takes a new deployment.

    A key is a function's name, or ``name:version`` for one of its versions beside the ``$LATEST`` that the bare name
    stands for. ``aliases`` point from ``name:alias`` to a version.

    Raises `ConfigurationError` for a name, version or alias that AWS would not take, and for one that leads nowhere.

    >>> hello = lambda event, context: "Hello!"
    >>> fetcher = StaticFetcher({"hello": hello, "hello:1": hello}, aliases={"hello:prod": "1"})
    >>> fetcher.fetch("hello", "prod").version
    '1'
    """

    def __init__(self, functions: Mapping[str, FunctionLike], aliases: Mapping[str, str] | None = None) -> None:
        self._functions: dict[tuple[str, str], Function] = {}
        for key, handler in functions.items():
            name, version = _split(key)
            self._functions[name, version] = Function.of(handler, name, version)
        for name, version in list(self._functions):
            if (name, LATEST) not in self._functions:
                raise ConfigurationError(f"function '{name}:{version}': a version needs its function; add '{name}'")
        self._aliases = dict(self._alias(alias, version) for alias, version in (aliases or {}).items())

    def _alias(self, key: str, version: str) -> tuple[tuple[str, str], Function]:
        name, _, alias = key.partition(":")
        if not ALIAS.fullmatch(alias):
            raise ConfigurationError(
                f"alias {key!r} must be 'function:alias', the alias of letters, digits, - and _, and not a number"
            )
        try:
            return (name, alias), self._functions[name, version]
        except KeyError:
            raise ConfigurationError(
                f"alias {key!r} points to version {version!r} of {name!r}, which is not there; known are "
                f"{', '.join(sorted(':'.join(known) for known in self._functions)) or 'no functions'}"
            ) from None

    def fetch(self, name: str, qualifier: str = LATEST) -> Function:
        function = self._functions.get((name, qualifier)) or self._aliases.get((name, qualifier))
        if function is None:
            raise NotFoundError(name if qualifier == LATEST else f"{name}:{qualifier}")
        return function

    def functions(self) -> list[Function]:
        """Every version of every function."""
        return list(self._functions.values())

    def aliases(self) -> dict[str, str]:
        """The version each ``name:alias`` points to."""
        return {":".join(alias): function.version for alias, function in self._aliases.items()}


def _split(key: str) -> tuple[str, str]:
    name, colon, version = key.partition(":")
    if not NAME.fullmatch(name):
        raise ConfigurationError(f"function {key!r}: a name is 1 to 64 letters, digits, '-', '_' and '.'")
    if not colon or version == LATEST:
        return name, LATEST
    if not _VERSION.fullmatch(version):
        raise ConfigurationError(f"function {key!r}: a version is a number, as in '{name}:1'; aliases are set apart")
    return name, version
