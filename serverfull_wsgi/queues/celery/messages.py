"""What travels to a broker and back: an event, or a record to deliver, as JSON that any later version can read.

Times are seconds since 1970, since no two machines share another clock.
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
    """A message of another version, or of somebody else."""


@dataclass(frozen=True)
class CarriedEvent:
    """An event on its way to the next try, which is ``due`` then and not before."""

    request_id: str
    function: str  # ARN as addressed
    payload: bytes
    trace_id: str
    config: EventConfig
    accepted: float
    due: float = 0.0
    principal: str | None = None
    client_context: dict[str, Any] | None = None
    counts: Counts = field(default_factory=Counts)
    error: str = ""  # of the last try

    @classmethod
    def of(cls, invocation: Invocation, config: EventConfig) -> CarriedEvent:
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
    def read(cls, message: Mapping[str, Any]) -> CarriedEvent:
        """Raises `UnreadableMessage`."""
        values = _values(message)
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
            raise UnreadableMessage(f"it is no event: {error}") from error

    def write(self) -> dict[str, Any]:
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
        """Seconds since it was accepted, by the wall clocks of two machines."""
        return max(0.0, time.time() - self.accepted)

    def again(self, counts: Counts, delay: float = 0.0, error: str = "") -> CarriedEvent:
        """The same event for its next try."""
        return replace(self, counts=counts, due=time.time() + delay, error=error)

    def lost(self, times: int) -> CarriedEvent:
        """The same event after so many deliveries whose worker was lost."""
        return replace(self, counts=self.counts._replace(lost=self.counts.lost + times))


@dataclass(frozen=True)
class CarriedRecord:
    """A record on its way to its destination; ``tries`` counts those that were not accepted."""

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
    def of(cls, record: DestinationRecord, event: CarriedEvent) -> CarriedRecord:
        kind, target, attributes, body = record
        return cls(kind, target, json.loads(attributes), body, event.request_id, event.function, event.trace_id)

    @classmethod
    def read(cls, message: Mapping[str, Any]) -> CarriedRecord:
        """Raises `UnreadableMessage`."""
        values = _values(message)
        try:
            return cls(**{**values, "body": values["body"].encode()})
        except (KeyError, TypeError, AttributeError) as error:
            raise UnreadableMessage(f"it is no record: {error}") from error

    def write(self) -> dict[str, Any]:
        return {**asdict(self), "version": VERSION, "body": self.body.decode()}

    @property
    def id(self) -> str:
        """The same each time it is sent."""
        return f"{self.request_id}-{self.kind}"

    def again(self, delay: float) -> CarriedRecord:
        """The same record for its next try, after one that was not accepted."""
        return replace(self, tries=self.tries + 1, due=time.time() + delay)

    @property
    def parcel(self) -> Delivery:
        return Delivery(
            self.kind, self.target, self.body, self.attributes, self.request_id, self.function, self.trace_id, self.id
        )


Carried = CarriedEvent | CarriedRecord


def _values(message: Mapping[str, Any]) -> dict[str, Any]:
    version = message.get("version")
    if version != VERSION:
        raise UnreadableMessage(f"it is of version {version}, and this one reads version {VERSION}")
    return {name: value for name, value in message.items() if name != "version"}
