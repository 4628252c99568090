"""Messages in a broker: an event, or a record to deliver, as JSON that later versions can read.

Times are seconds since 1970, since machines share no other clock. The names of the fields are part of the format.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from serverfull_wsgi.domain import Invocation
from serverfull_wsgi.event_config import EventConfig
from serverfull_wsgi.events.destinations import Delivery
from serverfull_wsgi.events.records import DestinationRecord
from serverfull_wsgi.events.retry_policy import Counts

VERSION = 1


class UnreadableMessage(ValueError):
    """A message of another version or of another program."""


@dataclass(frozen=True)
class EventMessage:
    """An event that waits for its next run, which is due at ``due`` and not before."""

    request_id: str
    function: str  # ARN as the caller addressed it
    payload: bytes
    trace_id: str
    config: EventConfig
    accepted: float
    due: float = 0.0
    principal: str | None = None
    client_context: dict[str, Any] | None = None
    counts: Counts = field(default_factory=Counts)
    error: str = ""  # of the last run

    @classmethod
    def of(cls, invocation: Invocation, config: EventConfig) -> EventMessage:
        """Return the message of an event that is accepted now."""
        return cls(
            invocation.request_id,
            invocation.function_name.arn,
            invocation.payload,
            invocation.trace_id,
            config,
            accepted=time.time(),
            principal=invocation.principal,
            client_context=invocation.client_context,
        )

    @classmethod
    def from_json(cls, message: Mapping[str, Any]) -> EventMessage:
        """Return the message of parsed JSON.

        Raises:
            UnreadableMessage: if it is not an event of this version.
        """
        values = _without_version(message)
        try:
            return cls(
                **{
                    **values,
                    "payload": values["payload"].encode(),
                    "config": EventConfig(**values["config"]),
                    "counts": Counts(**values["counts"]),
                }
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise UnreadableMessage(f"the message is not an event: {error}") from error

    def to_json(self) -> dict[str, Any]:
        """Return the message as values that JSON can express."""
        return {
            **asdict(self),
            "version": VERSION,
            "payload": self.payload.decode(),
            "counts": self.counts._asdict(),
        }

    @property
    def id(self) -> str:
        return self.request_id

    def age(self) -> float:
        """Return the seconds since the event was accepted, by the wall clocks of two machines."""
        return max(0.0, time.time() - self.accepted)

    def seconds_until_due(self) -> float:
        return self.due - time.time()

    def retried(self, counts: Counts, delay: float = 0.0, error: str = "") -> EventMessage:
        """Return the event for its next run, ``delay`` seconds from now."""
        return replace(self, counts=counts, due=time.time() + delay, error=error)

    def with_lost_leases(self, leases: int) -> EventMessage:
        """Return the event with ``leases`` more lost leases: deliveries to a worker that died."""
        return replace(self, counts=self.counts._replace(lost=self.counts.lost + leases))


@dataclass(frozen=True)
class RecordMessage:
    """A record that waits for its delivery; ``tries`` counts the deliveries that failed."""

    kind: str
    target: str
    attributes: dict[str, str]
    body: bytes
    request_id: str
    function: str
    trace_id: str
    due: float = 0.0
    tries: int = 0

    @classmethod
    def of(cls, record: DestinationRecord, event: EventMessage) -> RecordMessage:
        """Return the message of a record of ``event``."""
        attributes = json.loads(record.attributes)
        return cls(
            record.kind, record.target, attributes, record.body, event.request_id, event.function, event.trace_id
        )

    @classmethod
    def from_json(cls, message: Mapping[str, Any]) -> RecordMessage:
        """Return the message of parsed JSON.

        Raises:
            UnreadableMessage: if it is not a record of this version.
        """
        values = _without_version(message)
        try:
            return cls(**{**values, "body": values["body"].encode()})
        except (KeyError, TypeError, AttributeError) as error:
            raise UnreadableMessage(f"the message is not a record: {error}") from error

    def to_json(self) -> dict[str, Any]:
        """Return the message as values that JSON can express."""
        return {**asdict(self), "version": VERSION, "body": self.body.decode()}

    @property
    def id(self) -> str:
        """Return the delivery id, equal each time the record is sent."""
        return f"{self.request_id}-{self.kind}"

    def seconds_until_due(self) -> float:
        return self.due - time.time()

    def retried(self, delay: float) -> RecordMessage:
        """Return the record for its next delivery, ``delay`` seconds from now, after one that failed."""
        return replace(self, tries=self.tries + 1, due=time.time() + delay)

    @property
    def delivery(self) -> Delivery:
        return Delivery(
            self.kind, self.target, self.body, self.attributes, self.request_id, self.function, self.trace_id, self.id
        )


Message = EventMessage | RecordMessage


def _without_version(message: Mapping[str, Any]) -> dict[str, Any]:
    version = message.get("version")
    if version != VERSION:
        raise UnreadableMessage(f"the message has version {version}; this program reads version {VERSION}")
    return {name: value for name, value in message.items() if name != "version"}
