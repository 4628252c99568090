"""The operator's view of events over HTTP: list them, look at one, run a failed one again."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlencode

from werkzeug.routing import Rule

from serverfull_wsgi.domain import EventLog
from serverfull_wsgi.errors import (
    InvalidParameterValueException,
    ResourceConflictException,
    ResourceNotFoundException,
    UnknownOperationException,
)
from serverfull_wsgi.wsgi.requests import REQUEST_ID, ROUTING_ARGS

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

PATH = "/serverfull/events"
STATES = ("", "queued", "running", "succeeded", "failed")
MOST = 500  # events on a page
NO_LOG = (
    "This server's events are kept in memory or carried by a broker, without a log of them to look at, redrive or "
    "purge. A broker's own tools show what waits, and what failed is where the function's on_failure or dead_letter "
    "says; SERVERFULL_EVENTS=sqlite:///... keeps a log."
)


def event_rules(log: EventLog) -> list[Rule]:
    """The routes of a log of events."""
    view = _Events(log)
    return [
        Rule(PATH, methods=["GET"], endpoint=view.list),
        Rule(f"{PATH}/<id>", methods=["GET"], endpoint=view.show),
        Rule(f"{PATH}/<id>/redrive", methods=["POST"], endpoint=view.redrive),
    ]


def no_event_rules() -> list[Rule]:
    """The same routes where the queue keeps no log: each says so."""
    return [
        Rule(path, methods=methods, endpoint=_no_log)
        for path, methods in ((PATH, ["GET"]), (f"{PATH}/<id>", ["GET"]), (f"{PATH}/<id>/redrive", ["POST"]))
    ]


def _no_log(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    raise UnknownOperationException(NO_LOG)


class _Events:
    """Endpoints; each is a WSGI application that finds its values in ``environ["wsgiorg.routing_args"]``."""

    def __init__(self, log: EventLog) -> None:
        self._log = log

    def list(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """``?state=failed&limit=50``; ``next`` in the answer is the path of the page after this one, or null."""
        query = {name: values[0] for name, values in parse_qs(environ.get("QUERY_STRING", "")).items()}
        state, limit = query.get("state", ""), _number(query, "limit", 50)
        if state not in STATES or not limit or limit > MOST:
            raise InvalidParameterValueException(f"state is one of {', '.join(STATES[1:])}, limit is 1 to {MOST}.")
        found = self._log.events(state, limit, _number(query, "before", None))
        page = {name: value for name, value in query.items() if name in ("state", "limit")}
        following = urlencode({**page, "before": found[-1]["number"]}) if len(found) == limit else None
        answer = {"events": found, "next": following and f"{PATH}?{following}"}
        return _answer(environ, start_response, "200 OK", answer)

    def show(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        found = self._log.event(_id(environ))
        if found is None:
            raise ResourceNotFoundException("There is no such event.")
        return _answer(environ, start_response, "200 OK", found)

    def redrive(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        id = _id(environ)
        if not self._log.redrive(id):
            if self._log.event(id) is None:
                raise ResourceNotFoundException("There is no such event.")
            raise ResourceConflictException("Only an event that failed can be run again.")
        return _answer(environ, start_response, "202 Accepted", {"requestId": id})


def _id(environ: WSGIEnvironment) -> str:
    return str(environ[ROUTING_ARGS][1]["id"])


def _number(query: dict[str, str], name: str, default: int | None) -> int | None:
    text = query.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise InvalidParameterValueException(f"{name} must be a whole number.")
    return int(text)


def _answer(environ: WSGIEnvironment, start_response: StartResponse, status: str, body: Any) -> Iterable[bytes]:
    text = json.dumps(body).encode()
    headers = [("Content-Type", "application/json"), ("Content-Length", str(len(text)))]
    start_response(status, [*headers, ("x-amzn-RequestId", environ[REQUEST_ID].request_id)])
    return [text]
