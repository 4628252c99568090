"""Where what became of an event is sent: a function here, a webhook, or SQS, SNS and EventBridge (extra ``aws``).

A sender raises for whatever was not accepted; the record is then kept, and sent again.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

from serverfull_wsgi.domain import Outcome, Send
from serverfull_wsgi.errors import InvalidRequestContentException
from serverfull_wsgi.event_config import EventConfig
from serverfull_wsgi.events.retry_policy import SUCCESS
from serverfull_wsgi.events.webhook import TIMEOUT, post
from serverfull_wsgi.names import LATEST, FunctionName
from serverfull_wsgi.payloads import parse_payload
from serverfull_wsgi.telemetry.metrics import Metrics
from serverfull_wsgi.timestamps import timestamp

DEAD_LETTER = "dead_letter"


class Ended(NamedTuple):
    """An event that has come to its end: what its record tells."""

    request_id: str
    function: FunctionName
    payload: bytes
    condition: str
    invoke_count: int
    wall: float  # seconds since 1970
    outcome: Outcome | None = None  # None: it never ran, or what it came to is not known


Record = tuple[str, str, str, bytes]  # kind, target, attributes, body


def records(ended: Ended, config: EventConfig) -> list[Record]:
    """What is to be delivered."""
    found = []
    kind = "on_success" if ended.condition == SUCCESS else "on_failure"
    if target := getattr(config, kind):
        found.append((kind, target, "{}", invocation_record(ended)))
    if config.dead_letter and ended.condition != SUCCESS:
        found.append((DEAD_LETTER, config.dead_letter, json.dumps(_attributes(ended)), ended.payload or b"{}"))
    return found


def invocation_record(ended: Ended) -> bytes:
    """AWS's record of an asynchronous invocation; payload and result stand in it as they were written."""
    members = {
        "version": '"1.0"',
        "timestamp": json.dumps(timestamp(ended.wall)),
        "requestContext": _compact(
            {
                "requestId": ended.request_id,
                "functionArn": ended.function.qualified_arn,
                "condition": ended.condition,
                "approximateInvokeCount": ended.invoke_count,
            }
        ),
        "requestPayload": _json_or_text(ended.payload or b"{}"),
    }
    if ended.outcome is not None:
        context = {"statusCode": 200, "executedVersion": ended.outcome.executed_version or LATEST}
        if ended.outcome.function_error:
            context["functionError"] = ended.outcome.function_error
        members |= {"responseContext": _compact(context), "responsePayload": _json_or_text(ended.outcome.payload)}
    return ("{" + ",".join(f'"{name}":{text}' for name, text in members.items()) + "}").encode()


def error_message(outcome: Outcome) -> str:
    """The message of a function error, or its whole body where it has none."""
    try:
        message = json.loads(outcome.payload)["errorMessage"]
    except (ValueError, LookupError, TypeError):
        message = outcome.payload.decode(errors="replace")
    return str(message)[:1024]


def _attributes(ended: Ended) -> dict[str, str]:
    message = error_message(ended.outcome) if ended.outcome else ended.condition
    return {"RequestID": ended.request_id, "ErrorCode": "200", "ErrorMessage": message}


def _compact(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"))


def _json_or_text(payload: bytes) -> str:
    try:
        parse_payload(payload)
    except InvalidRequestContentException:
        return json.dumps(payload.decode(errors="replace"))
    return payload.decode()


class Delivery(NamedTuple):
    """A record on its way."""

    kind: str
    target: str
    body: bytes
    attributes: dict[str, str]  # of a dead letter: RequestID, ErrorCode, ErrorMessage
    request_id: str
    function: str  # ARN of the function whose event this was
    trace_id: str
    key: str  # the same each time it is sent

    def sent(self, send: Sender, logger: logging.Logger, metrics: Metrics | None) -> str:
        """Sends it, and says what went wrong; empty where it was accepted."""
        try:
            send(self)
        except Exception as error:  # of whatever a socket, boto3 or a function's queue may raise
            text = f"{type(error).__name__}: {error}"[:1024]
            logger.error("%s %s did not take a record: %s", self.kind, self.target, text)
            if metrics:
                name = FunctionName.parse(self.function, region="us-east-1", account_id="0" * 12).name
                metrics.count(name, "DeadLetterErrors" if self.kind == DEAD_LETTER else "DestinationDeliveryFailures")
            return text
        return ""


Sender = Callable[[Delivery], None]


class DestinationClient:
    """Sends a parcel where its target says. ``endpoint`` takes the place of AWS's own, for boto3.

    Raises whatever kept it from being accepted.
    """

    def __init__(self, send: Send, endpoint: str | None = None) -> None:
        self._send = send
        self._client = lru_cache(maxsize=64)(self._make_client)
        self._endpoint = endpoint

    def __call__(self, parcel: Delivery) -> None:
        service = parcel.target.split(":")[2] if parcel.target.startswith("arn:") else ""
        aws: dict[str, Sender] = {"sqs": self._to_sqs, "sns": self._to_sns, "events": self._to_bus}
        if parcel.target.startswith(("http://", "https://")):
            _to_webhook(parcel)
        elif service in aws:
            aws[service](parcel)
        else:
            self._send(parcel.target, parcel.body, parcel.trace_id, parcel.key)

    def _make_client(self, service: str, region: str) -> Any:
        try:
            import boto3
            from botocore.config import Config
        except ImportError as error:
            raise RuntimeError(f"a destination in {service} needs boto3: pip install 'serverfull-wsgi[aws]'") from error
        config = Config(connect_timeout=TIMEOUT / 2, read_timeout=TIMEOUT, retries={"total_max_attempts": 1})
        return boto3.client(service, region_name=region, endpoint_url=self._endpoint, config=config)

    def _to_sqs(self, parcel: Delivery) -> None:
        _, _, _, region, account, name = parcel.target.split(":")
        client = self._client("sqs", region)
        url = client.get_queue_url(QueueName=name, QueueOwnerAWSAccountId=account)["QueueUrl"]
        fifo = (
            {"MessageGroupId": parcel.function, "MessageDeduplicationId": parcel.key} if name.endswith(".fifo") else {}
        )
        client.send_message(
            QueueUrl=url, MessageBody=parcel.body.decode(), MessageAttributes=_message_attributes(parcel), **fifo
        )

    def _to_sns(self, parcel: Delivery) -> None:
        client = self._client("sns", parcel.target.split(":")[3])
        client.publish(
            TopicArn=parcel.target, Message=parcel.body.decode(), MessageAttributes=_message_attributes(parcel)
        )

    def _to_bus(self, parcel: Delivery) -> None:
        client = self._client("events", parcel.target.split(":")[3])
        how = "Success" if parcel.kind == "on_success" else "Failure"
        entry = {
            "Source": "lambda",
            "DetailType": f"Lambda Function Invocation Result - {how}",
            "Detail": parcel.body.decode(),
            "EventBusName": parcel.target,
            "Resources": [parcel.function],
        }
        answer = client.put_events(Entries=[entry])
        if answer["FailedEntryCount"]:
            raise RuntimeError(f"EventBridge refused it: {answer['Entries'][0].get('ErrorMessage')}")


def _message_attributes(parcel: Delivery) -> dict[str, Any]:
    return {
        name: {"DataType": "Number" if name == "ErrorCode" else "String", "StringValue": value or "-"}
        for name, value in parcel.attributes.items()
    }


def _to_webhook(parcel: Delivery) -> None:
    headers = {
        "Content-Type": "application/json",
        "User-Agent": "serverfull-wsgi",
        "X-Serverfull-Request-Id": parcel.request_id,
        "X-Serverfull-Delivery-Id": parcel.key,
    }
    status = post(parcel.target, parcel.body, headers)
    if not 200 <= status < 300:
        raise RuntimeError(f"it answered {status}")
