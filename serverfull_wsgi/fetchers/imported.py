"""Functions named in a setting: ``hello=examples.hello.handler, other=package.module:function``."""

from __future__ import annotations

from collections.abc import Mapping

from serverfull_wsgi.domain import Function, FunctionLike
from serverfull_wsgi.errors import ConfigurationError, RuntimeFault
from serverfull_wsgi.fetchers.static import StaticFetcher
from serverfull_wsgi.handlers import load_handler

SETTING = "SERVERFULL_FUNCTIONS"


class ImportFetcher(StaticFetcher):
    """Serves what its entries name, imported at the start: what cannot be imported is found then, not by a caller.

    An entry's value is AWS's Handler form, ``package.module.attribute``, or ``package.module:attribute``. It names a
    handler, or a `Function` where more than the handler is to be said. ``setting`` is what error messages blame.

    Raises `ConfigurationError`.

    >>> [function.name for function in ImportFetcher({"dumps": "json:dumps"}).functions()]
    ['dumps']
    """

    def __init__(
        self, entries: Mapping[str, str], aliases: Mapping[str, str] | None = None, *, setting: str = SETTING
    ) -> None:
        functions: dict[str, FunctionLike] = {}
        wrong = []
        for name, target in entries.items():
            try:
                functions[name] = _load(name, target, setting)
            except ConfigurationError as error:
                wrong.append(str(error))
        if wrong:
            raise ConfigurationError("\n".join(wrong))
        super().__init__(functions, aliases)

    @classmethod
    def parse(cls, functions: str, aliases: str = "") -> ImportFetcher:
        """From the text of the settings SERVERFULL_FUNCTIONS and SERVERFULL_ALIASES."""
        return cls(parse_entries(functions, SETTING), parse_entries(aliases, "SERVERFULL_ALIASES"))


def parse_entries(text: str, setting: str) -> dict[str, str]:
    """``"a=b, c=d"`` as a mapping; commas and line ends part entries, a comma may be the last.

    Raises `ConfigurationError` for an entry without ``=`` and for a name that stands twice.
    """
    entries: dict[str, str] = {}
    for entry in filter(None, (part.strip() for part in text.replace("\n", ",").split(","))):
        name, equals, value = (part.strip() for part in entry.partition("="))
        if not (name and equals and value):
            raise ConfigurationError(f"{setting}: entry {entry!r} must have the form 'name=value'")
        if name in entries:
            raise ConfigurationError(f"{setting}: {name!r} stands there twice; each name can be given once")
        entries[name] = value
    return entries


def _load(name: str, target: str, setting: str) -> FunctionLike:
    entry = f"{setting}: entry '{name}={target}'"
    handler_string = target.replace(":", ".")
    try:
        found = load_handler(handler_string)
    except RuntimeFault as fault:
        raise ConfigurationError(f"{entry}: {fault}") from fault
    except (Exception, SystemExit) as error:
        raise ConfigurationError(f"{entry}: importing it raised {type(error).__name__}: {error}") from error
    if isinstance(found, Function):
        return found
    if callable(found):
        return Function(found, handler_string=handler_string)
    raise ConfigurationError(f"{entry}: that is no function but a {type(found).__name__}; name a callable")
