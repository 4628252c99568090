"""A server's output in JSON: each line is one object, also if a function or gunicorn wrote it."""

import json
from contextlib import closing

import pytest

from tests.conftest import aws_client
from tests.support.servers import serving

HANDLERS = """
import logging
import sys
import traceback

def prints(event, context):
    print("one", "two\\nthree")
    print()
    sys.stderr.write("to standard ")
    sys.stderr.write("error\\n")
    sys.stdout.buffer.write("bytes: é\\n".encode())
    print("no line end", end="")
    return context.aws_request_id

def logs(event, context):
    logging.error("failed: %s", 7)
    logging.getLogger("library").warning("careful", extra={"order": 17})
    try:
        1 / 0
    except ZeroDivisionError:
        logging.exception("caught")
    return context.aws_request_id

def raises(event, context):
    raise LookupError("missing")
"""


@pytest.fixture(scope="module", params=["auto", "process"])
def server(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("json")
    (folder / "handlers.py").write_text(HANDLERS)
    functions = ",".join(f"{name}=handlers.{name}" for name in ("prints", "logs", "raises"))
    environ = {
        "SERVERFULL_FUNCTIONS": functions,
        "SERVERFULL_RUNTIME_LOGGER_FORMAT": "JSON",
        "SERVERFULL_EXECUTOR": request.param,
        "PYTHONUNBUFFERED": "",
        "PYTHONPATH": str(folder),
    }
    with serving(folder / "log", **environ) as server, closing(aws_client(server.url)) as client:
        server.invoke = lambda name: json.load(client.invoke(FunctionName=name)["Payload"])
        yield server


def records(server):
    """Return all lines of the server's output, each of which must be an object in JSON."""
    lines = server.output().splitlines()
    found = [json.loads(line) for line in lines]
    assert all({"timestamp", "level", "logger", "message"} <= set(record) for record in found)
    return found


def of(server, name, request_id):
    found = [it for it in records(server) if it.get("function_name") == name and it.get("request_id") == request_id]
    return [(it["level"], it["message"]) for it in found if not it["message"].startswith("REPORT ")]


def test_each_printed_line_is_a_record_of_its_invocation(server):
    request_id = server.invoke("prints")
    lines = ["one two", "three", "to standard error", "bytes: é", "no line end"]
    assert of(server, "prints", request_id) == [("INFO", line) for line in lines]


def test_each_log_record_of_a_handler_is_a_record_of_the_same_level(server):
    request_id = server.invoke("logs")
    found = of(server, "logs", request_id)
    assert [level for level, _ in found] == ["ERROR", "WARNING", "ERROR"]
    assert [text.splitlines()[0].rpartition("\t")[2] for _, text in found] == ["failed: 7", "careful", "caught"]


def test_an_error_of_a_handler_is_a_record(server):
    assert server.invoke("raises")["errorType"] == "LookupError"
    assert [it["level"] for it in records(server) if "LookupError: missing" in it["message"]] == ["ERROR"]


def test_the_lines_of_gunicorn_are_records(server):
    loggers = {record["logger"] for record in records(server)}
    assert "gunicorn.error" in loggers
    assert any("Listening at" in record["message"] for record in records(server))
