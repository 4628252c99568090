"""Reserved concurrency: the most invocations of one function at the same time, over all processes of a machine."""

from __future__ import annotations

import logging

from serverfull_wsgi.domain import Function
from serverfull_wsgi.errors import (
    ConfigurationError,
    ServiceException,
    TooManyRequestsException,
    ZeroReservedConcurrency,
)
from serverfull_wsgi.storage.place_locks import Place, PlaceLocks

REASON = "ReservedFunctionConcurrentInvocationLimitExceeded"


class ReservedConcurrency:
    """The places of functions with a reserved concurrency. All versions of a function share its places.

    The limit is a value of the `Function` and is read at each call. So a changed limit holds from the next call on.

    Args:
        places: the places that the processes share.
        logger: receives a line if a place cannot be locked, and so a call fails.
    """

    def __init__(self, places: PlaceLocks, logger: logging.Logger) -> None:
        self._places, self._logger = places, logger

    def start(self) -> None:
        """Open the places, before processes start that shall keep them.

        Raises `ConfigurationError` if the file of the places cannot be opened.
        """
        try:
            self._places.open()
        except OSError as error:
            raise ConfigurationError(
                f"reserved concurrency needs a file that the server's processes share: {error}; make the data "
                "directory writable (SERVERFULL_DATA_DIR), or name another one"
            ) from error

    def acquire(self, function: Function) -> Place:
        """Return a place for one invocation of a function with a reserved concurrency. `release` gives it back.

        Raises:
            ZeroReservedConcurrency: if the reserved concurrency is 0.
            TooManyRequestsException: if so many invocations run already.
            ServiceException: if the file of the places cannot be opened or locked.
        """
        if not function.reserved:
            raise ZeroReservedConcurrency
        try:
            place = self._places.acquire(function.name, function.reserved)
        except OSError as error:
            self._logger.error("function %r: its call fails, no place can be locked: %s", function.name, error)
            raise ServiceException() from error
        if place is None:
            raise TooManyRequestsException(REASON)
        return place

    def release(self, place: Place) -> None:
        """Give a place back."""
        self._places.release(place)

    def close(self) -> None:
        """Close the file of the places once no invocation has a place."""
        self._places.close()
