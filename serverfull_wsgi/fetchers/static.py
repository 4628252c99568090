"""Functions that are known when the process starts."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

from serverfull_wsgi.domain import Function, FunctionLike
from serverfull_wsgi.errors import ConfigurationError, NotFoundError
from serverfull_wsgi.names import LATEST

# AWS's patterns of the parameters FunctionName, FunctionVersion and Name:
# https://docs.aws.amazon.com/lambda/latest/api/API_CreateFunction.html and API_CreateAlias.html
NAME = re.compile(r"[a-zA-Z0-9-_.]{1,64}", re.ASCII)
_VERSION = re.compile(r"[0-9]{1,20}", re.ASCII)
ALIAS = re.compile(r"(?!^[0-9]+$)[a-zA-Z0-9-_]{1,128}", re.ASCII)


class StaticFetcher:
    """Serve a fixed set of functions; a change takes a new deployment.

    Args:
        functions: handlers or `Function`s by name. The key ``"name:1"`` adds version 1 of a function.
        aliases: versions by ``"name:alias"``, such as ``{"hello:prod": "1"}``.

    Raises:
        ConfigurationError: for a name, version or alias that AWS would refuse, for an alias of an absent version, and
            for a version with another reserved concurrency than its function's.

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
            self._functions[name, version] = self._with_reserved_of_latest(name, version)
        self._aliases = dict(self._alias(alias, version) for alias, version in (aliases or {}).items())

    def _with_reserved_of_latest(self, name: str, version: str) -> Function:
        """Return the version with the reserved concurrency of its function, which all versions share."""
        function, reserved = self._functions[name, version], self._functions[name, LATEST].reserved
        if function.reserved not in (None, reserved):
            raise ConfigurationError(
                f"function '{name}:{version}': reserved={function.reserved} differs from reserved={reserved} of "
                f"'{name}'; all versions share the reserved concurrency, so set it on '{name}' only"
            )
        return function if function.reserved == reserved else replace(function, reserved=reserved)

    def _alias(self, key: str, version: str) -> tuple[tuple[str, str], Function]:
        name, _, alias = key.partition(":")
        if not ALIAS.fullmatch(alias):
            raise ConfigurationError(
                f"alias {key!r} must be 'function:alias', the alias of letters, digits, - and _, and not a number"
            )
        try:
            return (name, alias), self._functions[name, version]
        except KeyError:
            choices = ", ".join(sorted(":".join(key) for key in self._functions)) or "none"
            raise ConfigurationError(
                f"alias {key!r} points to version {version!r} of {name!r}, which does not exist; "
                f"the versions are: {choices}"
            ) from None

    def fetch(self, name: str, qualifier: str = LATEST) -> Function:
        """Return the function. ``qualifier`` is a version or an alias. Raises `NotFoundError` if there is none."""
        function = self._functions.get((name, qualifier)) or self._aliases.get((name, qualifier))
        if function is None:
            raise NotFoundError(name if qualifier == LATEST else f"{name}:{qualifier}")
        return function

    def functions(self) -> list[Function]:
        """Return every version of every function."""
        return list(self._functions.values())

    def aliases(self) -> dict[str, str]:
        """Return the version that each ``name:alias`` points to."""
        return {":".join(alias): function.version for alias, function in self._aliases.items()}


def _split(key: str) -> tuple[str, str]:
    name, colon, version = key.partition(":")
    if not NAME.fullmatch(name):
        raise ConfigurationError(f"function {key!r}: a name must be 1 to 64 letters, digits, '-', '_' and '.'")
    if not colon or version == LATEST:
        return name, LATEST
    if not _VERSION.fullmatch(version):
        raise ConfigurationError(
            f"function {key!r}: a version must be a number, as in '{name}:1'; an alias belongs to SERVERFULL_ALIASES"
        )
    return name, version
