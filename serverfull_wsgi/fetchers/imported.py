"""Functions named in a setting: ``hello=examples.hello.handler, other=package.module:function``."""

from __future__ import annotations

import re
from collections.abc import Mapping

from serverfull_wsgi.domain import Function, FunctionLike
from serverfull_wsgi.errors import ConfigurationError, RuntimeFault
from serverfull_wsgi.fetchers.static import StaticFetcher
from serverfull_wsgi.handlers import load_handler

SETTING = "SERVERFULL_FUNCTIONS"
ALIASES = "SERVERFULL_ALIASES"
FORMS = {SETTING: "name=package.module.handler", ALIASES: "name:alias=version"}

_part = re.compile(r"[^\s;=.:/]+")  # of an import string; a list with another separator than commas has none


class ImportFetcher(StaticFetcher):
    """Serve functions named by import strings. They are imported at once, so that errors show before the first call.

    Args:
        entries: import strings by function name, ``"package.module.attribute"`` (AWS's Handler form) or
            ``"package.module:attribute"``. The attribute is a handler, or a `Function` with a timeout and more.
        aliases: versions by ``"name:alias"``, such as ``{"hello:prod": "1"}``.
        setting: the setting's name in error messages.

    Raises:
        ConfigurationError: if an entry cannot be imported or is not callable, with a line for each; and as
            `StaticFetcher`.

    >>> [function.name for function in ImportFetcher({"dumps": "json:dumps"}).functions()]
    ['dumps']
    """

    def __init__(
        self, entries: Mapping[str, str], aliases: Mapping[str, str] | None = None, *, setting: str = SETTING
    ) -> None:
        functions: dict[str, FunctionLike] = {}
        errors = []
        for name, target in entries.items():
            try:
                functions[name] = _load(name, target, setting)
            except ConfigurationError as error:
                errors.append(str(error))
        if errors:
            raise ConfigurationError("\n".join(errors))
        super().__init__(functions, aliases)

    @classmethod
    def parse(cls, functions: str, aliases: str = "") -> ImportFetcher:
        """Return a fetcher for the texts of the settings SERVERFULL_FUNCTIONS and SERVERFULL_ALIASES."""
        return cls(parse_entries(functions, SETTING), parse_entries(aliases, ALIASES))


def parse_entries(text: str, setting: str) -> dict[str, str]:
    """Return ``"a=b, c=d"`` as a dictionary. Commas and line ends separate entries; the last may end with a comma.

    Raises `ConfigurationError` for an entry without ``=`` and for a name that is given twice.
    """
    entries: dict[str, str] = {}
    for entry in filter(None, (part.strip() for part in text.replace("\n", ",").split(","))):
        name, equals, value = (part.strip() for part in entry.partition("="))
        if not (name and equals and value):
            form = FORMS.get(setting, "name=value")
            raise ConfigurationError(f"{setting}: entry {entry!r} must have the form {form!r}")
        if name in entries:
            raise ConfigurationError(f"{setting}: {name!r} is given twice; remove one of the entries")
        entries[name] = value
    return entries


def _load(name: str, target: str, setting: str) -> FunctionLike:
    entry = f"{setting}: entry '{name}={target}'"
    handler_string = target.replace(":", ".")
    if "." not in handler_string or not all(map(_part.fullmatch, handler_string.replace("/", ".").split("."))):
        raise ConfigurationError(
            f"{entry}: {target!r} does not name a module and a function; write module.function, and a comma between "
            "entries"
        )
    try:
        handler = load_handler(handler_string)
    except RuntimeFault as fault:
        raise ConfigurationError(f"{entry}: {fault}") from fault
    except (Exception, SystemExit) as error:
        raise ConfigurationError(f"{entry}: the import raised {type(error).__name__}: {error}") from error
    if isinstance(handler, Function):
        return handler
    if callable(handler):
        return Function(handler, handler_string=handler_string)
    raise ConfigurationError(f"{entry}: a value of type {type(handler).__name__} cannot be called; name a function")
