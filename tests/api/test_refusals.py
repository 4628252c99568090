"""Log lines of refused requests."""

import json
import logging
import re
import subprocess
import sys
from contextlib import closing

import pytest
from botocore.exceptions import ClientError

from serverfull_wsgi import (
    Application,
    Credential,
    ServiceException,
    SigV4Middleware,
)
from tests.conftest import aws_client
from tests.support import site
from tests.support.hosts import InProcess
from tests.support.servers import ROOT, clean_environ, serving
from tests.support.signing import KEY, REGION, SECRET, Sent, by_botocore, call, now

PATH = "/2015-03-31/functions/{}/invocations"
UNKNOWN = "Function not found: arn:aws:lambda:us-east-1:123456789012:function:unknown:$LATEST"


def refusals(caplog):
    return [record for record in caplog.records if record.getMessage().startswith("request refused: ")]


def fields(record):
    return {name: getattr(record, name, None) for name in ("request_id", "function_name", "principal")}


@pytest.mark.quick
@pytest.mark.parametrize(
    ("method", "target", "body", "headers", "function", "line"),
    [
        ("POST", PATH.format("unknown"), b"{}", {}, "unknown", f"ResourceNotFoundException: {UNKNOWN}"),
        ("POST", PATH.format("hello%3Aunknown"), b"{}", {}, "hello:unknown", "ResourceNotFoundException: Function not"),
        ("POST", PATH.format("hello"), b"{", {}, "hello", "InvalidRequestContentException: Could not parse request"),
        ("POST", PATH.format("hello"), b"{}", {"X-Amz-Log-Type": "x"}, "hello", "ValidationException: 1 validation"),
        ("POST", PATH.format("hello"), b"{}", {"Origin": "null"}, "hello", "AccessDeniedException: A web page of"),
        ("POST", PATH.format("hello"), b"0" * 6_291_457, {}, "hello", "RequestEntityTooLargeException: Request must"),
        ("POST", PATH.format("pending"), b"{}", {}, "pending", "ResourceConflictException: The function is pending"),
        (
            "POST",
            PATH.format("reserved"),
            b"{}",
            {},
            "reserved",
            "TooManyRequestsException: Rate Exceeded. ReservedFunctionConcurrentInvocationLimitExceeded",
        ),
        ("POST", PATH.format("outdated"), b"{}", {}, "outdated", "InvalidRuntimeException: No such runtime"),
        ("POST", PATH.format("a%2Fb"), b"{}", {}, "a%2Fb", "ValidationException: 1 validation"),
        ("POST", PATH.format("a%20b%0A"), b"{}", {}, "a%20b%0A", "ValidationException: 1 validation"),
        ("POST", "/2014-11-13/functions/unknown/invoke-async/", b"{}", {}, "unknown", "ResourceNotFoundException: "),
        ("GET", "/2015-03-31/nowhere", b"", {}, None, "UnknownOperationException: No operation"),
        ("POST", "/2015-03-31/functions", b"{}", {}, None, "AccessDeniedException: To change functions, sign"),
    ],
)
def test_each_refusal_is_one_line_with_id_function_code_and_reason(
    caplog, method, target, body, headers, function, line
):
    with caplog.at_level(logging.INFO):
        response = InProcess(site.application).request(method, target, body, headers)
    (record,) = [record for record in caplog.records if hasattr(record, "request_id")]
    assert record.levelname == "INFO"
    assert record.getMessage().startswith(f"request refused: {line}")
    assert fields(record) == {
        "request_id": response.headers["x-amzn-RequestId"],
        "function_name": function,
        "principal": None,
    }
    assert response.headers["x-amzn-ErrorType"] in line


@pytest.mark.quick
def test_a_refusal_with_a_signature_names_the_caller(caplog):
    ada = Credential(SECRET, name="ada", functions=["other"])
    middleware = SigV4Middleware(site.application, {KEY: ada}, REGION)
    with caplog.at_level(logging.INFO):
        call(middleware, by_botocore(Sent("POST", PATH.format("hello")), when=now()).environ())
        call(middleware, Sent("POST", PATH.format("hello")).environ())
    denied, unsigned = refusals(caplog)
    assert fields(denied) | {"request_id": ""} == {"request_id": "", "function_name": "hello", "principal": "ada"}
    assert unsigned.getMessage() == "request refused: MissingAuthenticationTokenException: Missing Authentication Token"
    assert unsigned.function_name == "hello"


@pytest.mark.quick
def test_a_failure_of_the_server_is_one_error_with_id_and_function(caplog):
    with caplog.at_level(logging.INFO):
        response = InProcess(site.application).request("POST", PATH.format("faulty"), b"{}")
    (record,) = [record for record in caplog.records if hasattr(record, "request_id")]
    assert (response.status, record.levelname) == (500, "ERROR")
    assert (record.request_id, record.function_name) == (response.headers["x-amzn-RequestId"], "faulty")


@pytest.mark.quick
@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize(
    "sent",
    [
        Sent("POST", PATH.format("x" * 60_000)),
        Sent("POST", PATH.format("hello") + "?Qualifier=" + "x" * 60_000),
        Sent("POST", "/" + "x" * 60_000),
        Sent("POST", PATH.format("hello"), {"X-Amz-Invocation-Type": "x" * 60_000}),
        Sent("POST", PATH.format("hello"), {"X-Amz-Log-Type": "x" * 60_000}),
        Sent("POST", PATH.format("hello"), {"Origin": "http://" + "x" * 60_000}),
        Sent("POST", PATH.format("hello"), host="x" * 60_000),
        *(
            Sent(
                "POST",
                PATH.format("hello"),
                {
                    "X-Amz-Date": "20261124T120000Z",
                    "Authorization": "AWS4-HMAC-SHA256 Credential="
                    + "/".join("x" * 60_000 if place == part else "x" for part in range(5))
                    + ", SignedHeaders=host;x-amz-date, Signature=0",
                },
            )
            for place in range(5)
        ),
        Sent("POST", PATH.format("hello"), {"Authorization": "x" * 60_000}),
        Sent("POST", PATH.format("hello"), {f"X-Amz-{number}": "" for number in range(5_000)}),
    ],
)
def test_a_request_adds_little_to_the_log(caplog, sent, signed):
    application = SigV4Middleware(site.application, {KEY: SECRET}, REGION) if signed else site.application
    with caplog.at_level(logging.INFO):
        call(application, sent.environ())
    for record in refusals(caplog):
        assert len(record.getMessage()) < 1_100
        assert max(map(len, re.findall("x+", record.getMessage())), default=0) <= 200
        assert all(len(str(value)) <= 200 for value in fields(record).values())
    assert len(refusals(caplog)) <= 1


@pytest.mark.quick
@pytest.mark.parametrize(
    ("sent", "end"),
    [
        (Sent("POST", PATH.format("hello"), {"Origin": "http://" + "x" * 900}), "…' may not send unauthenticated"),
        (Sent("POST", PATH.format("hello"), host="x" * 900), "or name the host in SERVERFULL_ALLOWED_HOSTS."),
        (Sent("POST", PATH.format("x" * 900)), "…' at 'functionName' failed to satisfy constraint: Member must have"),
        (Sent("POST", PATH.format("hello"), {"X-Amz-Log-Type": "x" * 900}), "satisfy enum value set: [None, Tail]"),
    ],
)
def test_the_servers_own_words_of_a_refusal_are_logged_whole(caplog, sent, end):
    with caplog.at_level(logging.INFO):
        call(site.application, sent.environ())
    (record,) = refusals(caplog)
    assert end in record.getMessage()


@pytest.mark.quick
def test_a_refusal_of_ones_own_fetcher_is_logged_by_ones_own_logger(caplog):
    class Raising:
        def fetch(self, name, qualifier="$LATEST"):
            raise ServiceException("the database is down")

    application = Application(Raising(), logger=logging.getLogger("mine"))
    with caplog.at_level(logging.INFO):
        InProcess(application).request("POST", PATH.format("hello"))
        InProcess(application).request("POST", "/2014-11-13/functions/hello/invoke-async/")
    assert [record.name for record in refusals(caplog)] == ["mine", "mine"]


@pytest.mark.parametrize("form", ["TEXT", "JSON"])
def test_a_server_writes_the_line(tmp_path, form):
    environ = {"SERVERFULL_FUNCTIONS": "hello=tests.support.handlers.hello", "SERVERFULL_RUNTIME_LOGGER_FORMAT": form}
    with serving(tmp_path / "log", **environ) as server, closing(aws_client(server.url)) as client:
        with pytest.raises(ClientError) as caught:
            client.invoke(FunctionName="unknown")
        request_id = caught.value.response["ResponseMetadata"]["RequestId"]
    (line,) = [line for line in server.output().splitlines() if "request refused" in line]
    if form == "JSON":
        members = json.loads(line)
        assert (members["request_id"], members["function_name"]) == (request_id, "unknown")
    else:
        expected = f"[INFO] request refused: ResourceNotFoundException: {UNKNOWN} function_name=unknown"
        assert line.endswith(f"{expected} request_id={request_id}")


def test_with_the_output_null_no_record_is_made_of_invocations_and_refusals():
    code = """
import logging
from serverfull_wsgi import Settings, create_app
from tests.support.hosts import InProcess
functions = {"SERVERFULL_FUNCTIONS": "hello=tests.support.handlers.hello", "SERVERFULL_EVENTS": "memory"}
application = create_app(Settings.from_mapping({**functions, "SERVERFULL_RUNTIME_LOGGER_OUTPUT": "NULL"}))
application.start()
made = []
class Record(logging.LogRecord):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        made.append(self)
logging.setLogRecordFactory(Record)
host = InProcess(application)
assert host.request("POST", "/2015-03-31/functions/hello/invocations", b"{}").status == 200
assert host.request("POST", "/2015-03-31/functions/other/invocations", b"{}").status == 404
assert made == [], [record.getMessage() for record in made]
logging.getLogger("serverfull_wsgi").addFilter(lambda record: True)  # an operator's own
assert host.request("POST", "/2015-03-31/functions/other/invocations", b"{}").status == 404
assert len(made) == 1
application.close()
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=clean_environ(), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
