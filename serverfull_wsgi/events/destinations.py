"""Delivery of records to destinations: a function of this server, a webhook, or SQS, SNS and EventBridge.

The three AWS services need boto3 (extra ``aws``). If a delivery fails, the queue keeps the record and delivers it again
later.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from serverfull_wsgi.event_config import masked_target
from serverfull_wsgi.events.records import DEAD_LETTER, ERROR_LENGTH, function_name
from serverfull_wsgi.protocols import Send

if TYPE_CHECKING:
    from serverfull_wsgi.telemetry.metrics import Metrics

WEBHOOK = ("http://", "https://")
TIMEOUT = 10.0  # seconds to connect, and again for all that follows: a destination that hangs blocks a worker thread


class Delivery(NamedTuple):
    """A record on its way to its destination."""

    kind: str  # on_success, on_failure or dead_letter
    target: str
    body: bytes
    attributes: dict[str, str]  # of a dead letter: RequestID, ErrorCode, ErrorMessage
    request_id: str
    function: str  # ARN of the function whose event ended
    trace_id: str
    id: str  # equal each time the record is sent, so that a receiver can ignore repetitions


class DestinationClient:
    """A client of all destinations.

    Args:
        send: accepts an event for a function of this server.
        endpoint: URL of a service that stands in for AWS's, for boto3; None for AWS's own.
        logger: gets a line for each delivery that failed.
        metrics: counts the deliveries that failed; None for no metrics.
    """

    def __init__(self, send: Send, endpoint: str | None, logger: logging.Logger, metrics: Metrics | None) -> None:
        self._send, self._endpoint = send, endpoint
        self._logger, self._metrics = logger, metrics
        self._client = lru_cache(maxsize=64)(self._make_client)  # a boto3 client takes tens of milliseconds to make

    def deliver(self, delivery: Delivery) -> str:
        """Send a record to its target and return an error's text; empty if the target accepted the record."""
        try:
            self._transport(delivery.target)(delivery)
        except Exception as error:  # of a socket, boto3, or the queue of a function
            text = _text_of(error, delivery.target)
            target = masked_target(delivery.target)
            self._logger.error(
                "cannot deliver record %s to %s %s, will retry: %s", delivery.id, delivery.kind, target, text
            )
            self._count_failure(delivery)
            return text
        return ""

    def _count_failure(self, delivery: Delivery) -> None:
        if self._metrics:
            metric = "DeadLetterErrors" if delivery.kind == DEAD_LETTER else "DestinationDeliveryFailures"
            self._metrics.count(function_name(delivery.function).name, metric)

    def _transport(self, target: str) -> Callable[[Delivery], None]:
        if target.startswith(WEBHOOK):
            return _send_to_webhook
        service = target.split(":")[2] if target.startswith("arn:") else ""
        services = {"sqs": self._send_to_sqs, "sns": self._send_to_sns, "events": self._send_to_bus}
        return services.get(service, self._send_to_function)

    def _send_to_function(self, delivery: Delivery) -> None:
        self._send(delivery.target, delivery.body, delivery.trace_id, delivery.id)

    def _send_to_sqs(self, delivery: Delivery) -> None:
        _, _, _, region, account, name = delivery.target.split(":")
        client = self._client("sqs", region)
        url = client.get_queue_url(QueueName=name, QueueOwnerAWSAccountId=account)["QueueUrl"]
        is_fifo = name.endswith(".fifo")
        fifo = {"MessageGroupId": delivery.function, "MessageDeduplicationId": delivery.id} if is_fifo else {}
        client.send_message(
            QueueUrl=url, MessageBody=delivery.body.decode(), MessageAttributes=_message_attributes(delivery), **fifo
        )

    def _send_to_sns(self, delivery: Delivery) -> None:
        client = self._client("sns", delivery.target.split(":")[3])
        client.publish(
            TopicArn=delivery.target, Message=delivery.body.decode(), MessageAttributes=_message_attributes(delivery)
        )

    def _send_to_bus(self, delivery: Delivery) -> None:
        client = self._client("events", delivery.target.split(":")[3])
        result = "Success" if delivery.kind == "on_success" else "Failure"
        entry = {
            "Source": "lambda",
            "DetailType": f"Lambda Function Invocation Result - {result}",
            "Detail": delivery.body.decode(),
            "EventBusName": delivery.target,
            "Resources": [delivery.function],
        }
        response = client.put_events(Entries=[entry])
        if response["FailedEntryCount"]:
            raise RuntimeError(f"EventBridge refused the record: {response['Entries'][0].get('ErrorMessage')}")

    def _make_client(self, service: str, region: str) -> Any:
        try:
            import boto3
            from botocore.config import Config
        except ImportError as error:
            raise RuntimeError(f"a destination in {service} needs boto3: pip install 'serverfull-wsgi[aws]'") from error
        # One attempt, since the queue retries. Connecting, looking up a queue's URL and sending share the time.
        config = Config(connect_timeout=TIMEOUT / 2, read_timeout=TIMEOUT, retries={"total_max_attempts": 1})
        return boto3.client(service, region_name=region, endpoint_url=self._endpoint, config=config)


def _text_of(error: Exception, target: str) -> str:
    """Return an error's text. Python's texts for URLs that are not valid quote parts of the URL, such as a password."""
    if target.startswith(WEBHOOK):
        from serverfull_wsgi.events.webhook import is_invalid_url

        if is_invalid_url(error):
            return f"{type(error).__name__}: the URL of the webhook is not valid"
    return f"{type(error).__name__}: {error}"[:ERROR_LENGTH]


def _message_attributes(delivery: Delivery) -> dict[str, Any]:
    return {
        name: {"DataType": "Number" if name == "ErrorCode" else "String", "StringValue": value or "-"}
        for name, value in delivery.attributes.items()
    }


def _send_to_webhook(delivery: Delivery) -> None:
    from serverfull_wsgi.events.webhook import post

    headers = {
        "Content-Type": "application/json",
        "User-Agent": "serverfull-wsgi",
        "X-Serverfull-Request-Id": delivery.request_id,
        "X-Serverfull-Delivery-Id": delivery.id,
    }
    status = post(delivery.target, delivery.body, headers, TIMEOUT)
    if not 200 <= status < 300:
        raise RuntimeError(f"the webhook returned status {status}")
