"""Mock mode: functions that return made-up results and do not run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from serverfull_wsgi.domain import UNSET, Function, as_function
from serverfull_wsgi.errors import UnknownRequestMockError
from serverfull_wsgi.fetchers.abilities import configured_functions, is_reporting
from serverfull_wsgi.fetchers.mock_values import json_ready, return_annotation, zero
from serverfull_wsgi.names import LATEST
from serverfull_wsgi.protocols import Fetcher, RoutingFetcher, is_listable

MakeValue = Callable[[Any], Any]  # from a return annotation to a value of that type


class MockingFetcher:
    """Serve the functions of another fetcher with results made from their return annotations.

    The handlers do not run. The result of a function is its own ``mock`` if it has one. It is null if the handler has
    no return annotation, or is known by a Handler string only.

    The other fetcher's optional abilities, such as ``functions()``, are this fetcher's too.

    Args:
        fetcher: the fetcher to imitate.
        make: makes a value of a type. The default makes empty values; `RandomValues` makes random ones.

    >>> class Static:
    ...     def fetch(self, name: str, qualifier: str = "$LATEST") -> Function:
    ...         def handler(event: object, context: object) -> dict[str, int]: ...
    ...         return Function(handler, name=name)
    >>> MockingFetcher(Static()).fetch("count").handler({}, None)
    {}
    """

    def __init__(self, fetcher: Fetcher, make: MakeValue = zero) -> None:
        self._fetcher = fetcher
        self._make = make
        # Attributes, because from Python 3.12 on isinstance() with a protocol does not see methods of __getattr__
        if is_listable(fetcher):
            self.functions = lambda: [self._mocked(function) for function in fetcher.functions()]
            self.configured_functions = lambda: [self._mocked(function) for function in configured_functions(fetcher)]
        if isinstance(fetcher, RoutingFetcher):
            self.fetch_for = lambda name, qualifier, request_id: self._mocked(
                as_function(fetcher.fetch_for(name, qualifier, request_id), name)
            )
        if is_reporting(fetcher):
            self.refused, self.problems, self.notes = fetcher.refused, fetcher.problems, fetcher.notes

    def fetch(self, name: str, qualifier: str = LATEST) -> Function:
        """Return the function with a handler that returns a made-up result. Raises as the other fetcher does."""
        return self._mocked(as_function(self._fetcher.fetch(name, qualifier), name))

    def __getattr__(self, name: str) -> Any:
        """Return any other attribute of the other fetcher, such as ``aliases``."""
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self._fetcher, name)

    def _mocked(self, function: Function) -> Function:
        # A mock takes no place of the reserved concurrency, so that it needs no data directory, and has no environment.
        handler = lambda event, context: self._result(function)  # noqa: E731
        return replace(function, handler=handler, is_mocked=True, reserved=None, provisioned=None)

    def _result(self, function: Function) -> Any:
        if function.mock is not UNSET:
            return json_ready(function.mock() if callable(function.mock) else function.mock)
        return json_ready(self._make(return_annotation(function.source)))


def failing(function: Function, name: str) -> Function:
    """Return ``function`` with a handler that raises the documented error of this name, in any case of letters.

    Raises `UnknownRequestMockError`, which lists the errors that the function documents.
    """
    documented = {_name(error).lower(): error for error in function.errors}
    error = documented.get(name.lower())
    if error is None:
        raise UnknownRequestMockError(name, sorted(_name(error) for error in function.errors))

    def handler(event: Any, context: Any) -> Any:
        if isinstance(error, BaseException):
            raise error.with_traceback(None)  # else the instance collects the frames of every raise
        raise _instance(error)

    return replace(function, handler=handler, is_mocked=True)


def _name(error: BaseException | type[BaseException]) -> str:
    return error.__name__ if isinstance(error, type) else type(error).__name__


def _instance(error: type[BaseException]) -> BaseException:
    """Return an exception of this class, made without ``__init__`` if that requires arguments."""
    try:
        return error()
    except Exception:
        return error.__new__(error)
