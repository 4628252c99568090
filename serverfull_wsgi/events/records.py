"""Records of ended events: AWS's invocation record for a destination, and the event itself for a dead-letter target."""

from __future__ import annotations

import json
from functools import lru_cache
from typing import Any, NamedTuple

from serverfull_wsgi.domain import Outcome
from serverfull_wsgi.errors import InvalidRequestContentException
from serverfull_wsgi.event_config import EventConfig
from serverfull_wsgi.events.retry_policy import SUCCESS
from serverfull_wsgi.names import LATEST, FunctionName
from serverfull_wsgi.payloads import parse_payload
from serverfull_wsgi.timestamps import timestamp

DEAD_LETTER = "dead_letter"
ERROR_LENGTH = 1024  # AWS: "ErrorMessage (String): the first 1 KB of the error message"


class EndedEvent(NamedTuple):
    """An event that has ended, with the facts that its record states."""

    request_id: str
    function: FunctionName
    payload: bytes
    condition: str
    invoke_count: int
    ended_at: float  # seconds since 1970
    outcome: Outcome | None = None  # None if the event never ran, or its worker died


class DestinationRecord(NamedTuple):
    """A record to deliver."""

    kind: str  # on_success, on_failure or dead_letter
    target: str
    attributes: str  # JSON object of texts: the message attributes of a dead letter
    body: bytes


def destination_records(event: EndedEvent, config: EventConfig) -> list[DestinationRecord]:
    """Return the records that ``config`` requests for an ended event."""
    records = []
    kind = "on_success" if event.condition == SUCCESS else "on_failure"
    if target := getattr(config, kind):
        records.append(DestinationRecord(kind, target, "{}", invocation_record(event)))
    if config.dead_letter and event.condition != SUCCESS:
        attributes = json.dumps(_dead_letter_attributes(event))
        records.append(DestinationRecord(DEAD_LETTER, config.dead_letter, attributes, event.payload or b"{}"))
    return records


def invocation_record(event: EndedEvent) -> bytes:
    """Return AWS's record of an asynchronous invocation, as JSON.

    Payload and result keep the spelling in which they were written. A payload that is not JSON becomes a JSON string.
    """
    members = {
        "version": '"1.0"',
        "timestamp": json.dumps(timestamp(event.ended_at)),
        "requestContext": _compact(
            {
                "requestId": event.request_id,
                "functionArn": event.function.qualified_arn,
                "condition": event.condition,
                "approximateInvokeCount": event.invoke_count,
            }
        ),
        "requestPayload": _json_or_text(event.payload or b"{}"),
    }
    if event.outcome is not None:
        context = {"statusCode": 200, "executedVersion": event.outcome.executed_version or LATEST}
        if event.outcome.function_error:
            context["functionError"] = event.outcome.function_error
        members |= {"responseContext": _compact(context), "responsePayload": _json_or_text(event.outcome.payload)}
    return ("{" + ",".join(f'"{name}":{text}' for name, text in members.items()) + "}").encode()


def error_message(outcome: Outcome) -> str:
    """Return the ``errorMessage`` of a function error, or its whole payload if there is none; at most 1,024 letters."""
    try:
        message = json.loads(outcome.payload)["errorMessage"]
    except (ValueError, LookupError, TypeError):
        message = outcome.payload.decode(errors="replace")
    return str(message)[:ERROR_LENGTH]


def error_text(outcome: Outcome) -> str:
    """Return the type and message of a function error, for people, or its whole payload; at most 1,024 letters."""
    message = error_message(outcome)
    try:
        kind = json.loads(outcome.payload)["errorType"]
    except (ValueError, LookupError, TypeError):
        return message
    return f"{kind}: {message}"[:ERROR_LENGTH] if kind else message


@lru_cache(maxsize=1024)
def function_name(arn: str) -> FunctionName:
    """Return the name of an event's function from its ARN, which always has region and account."""
    return FunctionName.parse(arn)


def _dead_letter_attributes(event: EndedEvent) -> dict[str, str]:
    message = error_message(event.outcome) if event.outcome else event.condition
    return {"RequestID": event.request_id, "ErrorCode": "200", "ErrorMessage": message}


def _compact(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"))


def _json_or_text(payload: bytes) -> str:
    try:
        parse_payload(payload)
    except InvalidRequestContentException:
        return json.dumps(payload.decode(errors="replace"))
    return payload.decode()
