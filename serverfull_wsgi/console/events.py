"""The operators' console for events over HTTP: list events, show one, run a failed one again."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlencode

from werkzeug.routing import Rule

from serverfull_wsgi.errors import (
    InvalidParameterValueException,
    ResourceConflictException,
    ResourceNotFoundException,
    UnknownOperationException,
)
from serverfull_wsgi.protocols import EVENT_STATES, EventLog, EventQueue
from serverfull_wsgi.wsgi.requests import REQUEST_ID, ROUTING_ARGS
from serverfull_wsgi.wsgi.responses import send_json

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

PATH = "/serverfull/events"
PAGE_SIZE = 50  # events, unless the request has a limit
MAX_PAGE_SIZE = 500  # events: bounds the memory that one response takes
NO_LOG = (
    "This server's events are kept in memory or carried by a broker, without a log to list, redrive or purge. A "
    "broker's own tools list waiting events, and a failed event is in the function's on_failure or dead_letter target. "
    "SERVERFULL_EVENTS=sqlite:///... keeps a log."
)


def event_rules(queue: EventQueue) -> list[Rule]:
    """Return the routes of the events console. If ``queue`` has no log, each of them raises an error that explains it.

    Each endpoint is a WSGI application that reads the event's id from ``environ["wsgiorg.routing_args"]``.
    """
    events = _Events(queue) if isinstance(queue, EventLog) else None

    def rule(path: str, method: str, endpoint: WSGIApplication) -> Rule:
        return Rule(path, methods=[method], endpoint=endpoint)

    return [
        rule(PATH, "GET", events.list if events else _raise_no_log),
        rule(f"{PATH}/<id>", "GET", events.show if events else _raise_no_log),
        rule(f"{PATH}/<id>/redrive", "POST", events.redrive if events else _raise_no_log),
    ]


def _raise_no_log(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    raise UnknownOperationException(NO_LOG)


class _Events:
    """The endpoints of a log of events."""

    def __init__(self, log: EventLog) -> None:
        self._log = log

    def list(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Send one page of events: ``?state=failed&limit=50``. ``next`` is the path of the following page, or null."""
        query = {name: values[0] for name, values in parse_qs(environ.get("QUERY_STRING", "")).items()}
        state, limit = query.get("state", ""), _number(query, "limit", PAGE_SIZE)
        if state not in ("", *EVENT_STATES) or not limit or limit > MAX_PAGE_SIZE:
            raise InvalidParameterValueException(
                f"state is one of {', '.join(EVENT_STATES)}, limit is 1 to {MAX_PAGE_SIZE}."
            )
        events = self._log.events(state, limit, _number(query, "before", None))
        page = {name: value for name, value in query.items() if name in ("state", "limit")}
        following = urlencode({**page, "before": events[-1]["number"]}) if len(events) == limit else None
        body = {"events": events, "next": following and f"{PATH}?{following}"}
        return send_json("200 OK", body, _request_id(environ), start_response)

    def show(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Send one event with its payload, result and records."""
        event = self._log.event(_event_id(environ))
        if event is None:
            raise ResourceNotFoundException("There is no such event.")
        return send_json("200 OK", event, _request_id(environ), start_response)

    def redrive(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Run a failed event again, and send its id."""
        id = _event_id(environ)
        if not self._log.redrive(id):
            if self._log.event(id) is None:
                raise ResourceNotFoundException("There is no such event.")
            raise ResourceConflictException("Only an event that failed can be run again.")
        return send_json("202 Accepted", {"requestId": id}, _request_id(environ), start_response)


def _event_id(environ: WSGIEnvironment) -> str:
    return str(environ[ROUTING_ARGS][1]["id"])


def _request_id(environ: WSGIEnvironment) -> str:
    request_id: str = environ[REQUEST_ID]
    return request_id


def _number(query: dict[str, str], name: str, default: int | None) -> int | None:
    text = query.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and len(text) < 19):  # 18 digits fit into SQLite's integers
        raise InvalidParameterValueException(f"{name} must be a whole number.")
    return int(text)
