"""What can be said of the functions a fetcher has, for operators."""

from __future__ import annotations

from serverfull_wsgi.domain import Fetcher, Function, as_function
from serverfull_wsgi.errors import ConfigurationError, NotFoundError
from serverfull_wsgi.names import LATEST


def find(fetcher: Fetcher, target: str) -> Function:
    """The function ``target`` names. Raises `ConfigurationError`, which lists those there are."""
    name, _, qualifier = target.partition(":")
    try:
        return as_function(fetcher.fetch(name, qualifier or LATEST), name)
    except NotFoundError:
        raise ConfigurationError(f"there is no function {target!r}; {known(fetcher)}") from None


def known(fetcher: Fetcher) -> str:
    """What can be said of the functions a fetcher has."""
    try:
        names = [f.name if f.version == LATEST else f"{f.name}:{f.version}" for f in functions_of(fetcher)]
    except ConfigurationError as error:
        return str(error)
    return f"there are: {', '.join(names)}" if names else "there are none"


def functions_of(fetcher: Fetcher) -> list[Function]:
    """The functions of a fetcher that can list them. Raises `ConfigurationError` for one that cannot."""
    listing = getattr(fetcher, "functions", None)
    if not callable(listing):
        raise ConfigurationError(
            f"{type(fetcher).__name__} finds functions by name and has no functions() to list them"
        )
    return list(listing())


def refused_of(fetcher: Fetcher) -> dict[str, list[str]]:
    """The functions that a fetcher has and that cannot run, by name, with the lines that say why."""
    refused = getattr(fetcher, "refused", None)
    return dict(refused()) if callable(refused) else {}


def problems_of(fetcher: Fetcher) -> list[str]:
    """Every line in which a fetcher says what of it cannot run."""
    problems = getattr(fetcher, "problems", None)
    return list(problems()) if callable(problems) else []


def notes_of(fetcher: Fetcher) -> list[str]:
    """What a fetcher has to say of functions that do run."""
    notes = getattr(fetcher, "notes", None)
    return list(notes()) if callable(notes) else []
