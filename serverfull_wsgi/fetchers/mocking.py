"""Functions that answer without running: what mock mode serves."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from serverfull_wsgi.domain import UNSET, Fetcher, Function, as_function
from serverfull_wsgi.errors import UnknownRequestMockError
from serverfull_wsgi.fetchers.mock_values import json_ready, return_annotation, zero
from serverfull_wsgi.names import LATEST

MakeValue = Callable[[Any], Any]  # from a return annotation to a value of that type


class MockingFetcher:
    """Serves the functions of another fetcher with their results made up from their return annotations.

    ``make`` makes a value of a type: `values.zero` for empty ones, `values.Random` for random ones. A function's own
    ``mock`` goes before it. The handler never runs; one without an annotation, or known only by its Handler string,
    answers null.

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

    def fetch(self, name: str, qualifier: str = LATEST) -> Function:
        function = as_function(self._fetcher.fetch(name, qualifier), name)
        return replace(function, handler=lambda event, context: self._answer(function), is_mocked=True)

    def __getattr__(self, name: str) -> Any:
        """What else the fetcher can do, such as list its functions, it can do mocked."""
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self._fetcher, name)

    def _answer(self, function: Function) -> Any:
        if function.mock is not UNSET:
            return json_ready(function.mock() if callable(function.mock) else function.mock)
        return json_ready(self._make(return_annotation(function.source)))


def failing(function: Function, name: str) -> Function:
    """``function`` with a handler that raises the documented error of this name, whatever the name's case.

    Raises `UnknownRequestMockError`, which lists the errors the function documents.
    """
    documented = {_name(error).lower(): error for error in function.errors}
    error = documented.get(name.lower())
    if error is None:
        raise UnknownRequestMockError(name, sorted(_name(error) for error in function.errors))

    def handler(event: Any, context: Any) -> Any:
        if isinstance(error, BaseException):
            raise error.with_traceback(None)  # it would gather the frames of every time it was raised
        raise _instance(error)

    return replace(function, handler=handler, is_mocked=True)


def _name(error: BaseException | type[BaseException]) -> str:
    return error.__name__ if isinstance(error, type) else type(error).__name__


def _instance(error: type[BaseException]) -> BaseException:
    """An exception of this class; without calling ``__init__`` where that wants arguments nobody can guess."""
    try:
        return error()
    except Exception:
        return error.__new__(error)
