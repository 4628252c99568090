"""Events: a function processes an upload. A webhook receives each success, a second function each failure.

    SERVERFULL_DATA_DIR=pipeline SERVERFULL_EVENTS_RETRY_DELAYS="1 2" gunicorn examples.event_pipeline:app --threads 8

Upload a text, and an upload that cannot be processed:

    curl --request POST --header 'X-Amz-Invocation-Type: Event' --data '{"name": "poem", "text": "one two three"}' http://localhost:8000/2015-03-31/functions/process/invocations

    curl --request POST --header 'X-Amz-Invocation-Type: Event' --data '{"name": "nothing"}' http://localhost:8000/2015-03-31/functions/process/invocations

Here the webhook is a route of the same server, so one program shows everything. Usually it is a URL of another server.
The records that both received are at:

    curl http://localhost:8000/records

The failure arrives after two retries. Kill the server with ``kill -9`` in between and start it again: no event is lost.
"""

import json
import os
from pathlib import Path

from werkzeug.routing import Rule
from werkzeug.wrappers import Request, Response

from serverfull_wsgi import Application, EventConfig, Function, Settings, SqliteQueue, StaticFetcher
from serverfull_wsgi.assembly.queues import create_queue

RECORDS = os.environ.get("RECORDS", "records.jsonl")  # a real pipeline has a database instead
WEBHOOK = os.environ.get("WEBHOOK", "http://localhost:8000/hook")


def process(event, context):
    """Count the words of an upload."""
    return {"name": event["name"], "words": len(event["text"].split())}


def clean_up(event, context):
    """Receive the record of an upload that could not be processed."""
    keep("clean-up", event)


def keep(receiver, record):
    condition = record["requestContext"]["condition"]
    line = {"receiver": receiver, "upload": record["requestPayload"]["name"], "condition": condition}
    if condition == "Success":
        line["words"] = record["responsePayload"]["words"]
    with open(RECORDS, "a") as file:
        file.write(json.dumps(line) + "\n")


def hook(environ, start_response):
    """Receive a record as a webhook. An answer with a 2xx accepts the record."""
    keep("webhook", json.loads(Request(environ).get_data()))
    return Response(status=204)(environ, start_response)


def records(environ, start_response):
    text = Path(RECORDS).read_text() if os.path.exists(RECORDS) else ""
    return Response(text, mimetype="application/jsonl")(environ, start_response)


settings = Settings.from_environ()
queue = create_queue(settings)
assert isinstance(queue, SqliteQueue), "this example needs durable events: leave SERVERFULL_EVENTS unset"
app = Application(
    StaticFetcher(
        {
            "process": Function(process, event_config=EventConfig(on_success=WEBHOOK, on_failure="clean-up")),
            "clean-up": clean_up,
        }
    ),
    queue=queue,
    admin=settings.admin,
    routes=[Rule("/hook", methods=["POST"], endpoint=hook), Rule("/records", methods=["GET"], endpoint=records)],
)
