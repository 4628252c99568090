"""Events: an upload is processed; a webhook hears of success, and a second function of failure.

    SERVERFULL_DATA_DIR=pipeline SERVERFULL_EVENTS_RETRY_DELAYS="1 2" gunicorn examples.event_pipeline:app --threads 8

Upload a text, and one that cannot be processed:

    curl --request POST --header 'X-Amz-Invocation-Type: Event' --data '{"name": "poem", "text": "one two three"}' http://localhost:8000/2015-03-31/functions/process/invocations

    curl --request POST --header 'X-Amz-Invocation-Type: Event' --data '{"name": "nothing"}' http://localhost:8000/2015-03-31/functions/process/invocations

The webhook here is a route of the same server, so that all can be seen in one place; in life it is somebody else's URL.
What both were told is at:

    curl http://localhost:8000/told

The failure comes after two retries. Kill the server with `kill -9` in between and start it again: nothing is lost.
"""

import json
import os
from pathlib import Path

from werkzeug.routing import Rule
from werkzeug.wrappers import Request, Response

from serverfull_wsgi import Application, EventConfig, Function, Settings, SqliteQueue, StaticFetcher
from serverfull_wsgi.assembly import create_queue

TOLD = os.environ.get("TOLD", "told.jsonl")  # a file, where a real pipeline has a database
WEBHOOK = os.environ.get("WEBHOOK", "http://localhost:8000/hook")


def process(event, context):
    """Counts the words of an upload."""
    return {"name": event["name"], "words": len(event["text"].split())}


def clean_up(event, context):
    """Gets the record of an upload that could not be processed."""
    tell("clean-up", event)


def tell(who, record):
    what = {"who": who, "upload": record["requestPayload"]["name"], "condition": record["requestContext"]["condition"]}
    if record["requestContext"]["condition"] == "Success":
        what["words"] = record["responsePayload"]["words"]
    with open(TOLD, "a") as file:
        file.write(json.dumps(what) + "\n")


def hook(environ, start_response):
    """A webhook: anything that answers with a 2xx has taken the record."""
    tell("webhook", json.loads(Request(environ).get_data()))
    return Response(status=204)(environ, start_response)


def told(environ, start_response):
    text = Path(TOLD).read_text() if os.path.exists(TOLD) else ""
    return Response(text, mimetype="application/jsonl")(environ, start_response)


settings = Settings.from_environ()
queue = create_queue(settings)
assert isinstance(queue, SqliteQueue), "this example is about durable events; leave SERVERFULL_EVENTS unset"
app = Application(
    StaticFetcher(
        {
            "process": Function(process, event_config=EventConfig(on_success=WEBHOOK, on_failure="clean-up")),
            "clean-up": clean_up,
        }
    ),
    queue=queue,
    admin=settings.admin,
    routes=[Rule("/hook", methods=["POST"], endpoint=hook), Rule("/told", methods=["GET"], endpoint=told)],
)
