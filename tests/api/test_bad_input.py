"""Every request, however malformed, gets a documented response that reveals nothing about the server."""

import http.client
import io
import json
import logging
import os
import random
import re
import socket
import sys
from contextlib import closing
from functools import partial
from urllib.parse import quote, unquote_to_bytes

import pytest
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st
from werkzeug.routing import Rule

import serverfull_wsgi
from serverfull_wsgi import Application, Function, MemoryQueue, SigV4Middleware, StaticFetcher
from serverfull_wsgi.errors import (
    ConfigurationError,
    ServiceError,
    ServiceException,
    TooManyRequestsException,
)
from serverfull_wsgi.fetchers.sam.fetcher import SamFetcher
from tests.conftest import aws_client
from tests.support import handlers
from tests.support.battery import SEED, share
from tests.support.servers import ROOT, gunicorn

STATUSES = {
    200,
    202,
    204,
    400,
    403,
    404,
    413,
    429,
}  # the statuses that a request can cause; a 500 is always a failure of the server
# tested in tests/api/management, tests/servers/test_slow_clients.py, tests/api/model and test_snap_start.py
ELSEWHERE = {
    "PreconditionFailedException",
    "RequestTimeoutException",
    "SerializationException",
    "SnapStartException",
    "SnapStartTimeoutException",
}
CODES = {
    error.code: error
    for error in ServiceError.__subclasses__()
    if error.code not in ELSEWHERE and error.__module__.endswith(".errors")
}
CONTROL = re.compile(r"[\x00-\x1f\x7f]")
UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
REVEALING = [
    "Traceback",
    'File "',
    ".py",
    str(ROOT),
    sys.prefix,
    os.path.dirname(serverfull_wsgi.__file__),
    os.getcwd(),
]
INVOCATIONS = "/2015-03-31/functions/{}/invocations"
HELLO = INVOCATIONS.format("hello")


def make(**options):
    names = ("hello", "echo", "describe", "broken", "nothing", "unserialisable")
    functions = {name: getattr(handlers, name) for name in names}
    functions |= {"hello:1": handlers.version_one, "nowhere": "no_such_module.handler"}
    return Application(StaticFetcher(functions, aliases={"hello:prod": "1"}), **options)


@pytest.fixture(scope="module")
def application():
    silent = logging.Logger("silent", logging.CRITICAL + 1)  # the functions fail thousands of times
    application = make(logger=silent)
    yield application
    application.close()


@pytest.fixture(scope="module")
def sync(tmp_path_factory):
    with gunicorn(tmp_path_factory.mktemp("sync") / "log", "--worker-class", "sync") as server:
        yield server


@pytest.fixture(params=["gthread", "sync"])
def server(request):
    return request.getfixturevalue(request.param)


class Response:
    """A response: status, headers as a list, body."""

    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    def get(self, name):
        return next((value for key, value in self.headers if key.lower() == name.lower()), None)

    @property
    def code(self):
        return self.get("x-amzn-ErrorType")

    @property
    def text(self):
        return "\n".join([*(f"{name}: {value}" for name, value in self.headers), self.body.decode("latin-1")])


def request(path=HELLO, body=b"", method="POST", **changes):
    """Return a WSGI environ with the keys that PEP 3333 requires. A change to None removes a key."""
    environ = {
        "REQUEST_METHOD": method,
        "PATH_INFO": path,
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "8080",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "CONTENT_LENGTH": str(len(body)) if body else None,
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(body),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
        **changes,
    }
    return {key: value for key, value in environ.items() if value is not None}


def call(application, environ):
    started = []
    body = b"".join(application(environ, lambda status, headers, exc_info=None: started.append((status, headers))))
    status, headers = started[-1]
    return Response(int(status[:3]), headers, body)


def check_response(response, method="POST"):
    """Assert the properties that every response has."""
    assert response.status in STATUSES, response.text
    check_headers(response)
    if method != "HEAD" and response.status != 204:
        assert int(response.get("Content-Length")) == len(response.body)
    if response.status >= 400:
        check_error(response, method)


def check_headers(response):
    for name, value in response.headers:
        assert not CONTROL.search(name + value), response.headers
        value.encode("latin-1")
    assert UUID.fullmatch(response.get("x-amzn-RequestId") or "") or response.body in (b".", b""), response.text


def check_error(response, method="POST"):
    error = CODES[response.code]
    assert response.status == error.status
    assert UUID.fullmatch(response.get("x-amzn-RequestId"))
    assert response.get("Content-Type") == "application/json"
    if method == "HEAD":
        assert response.body == b""
    else:
        assert isinstance(json.loads(response.body)[error.message_key], str)
    assert not [text for text in REVEALING if text in response.text], response.text


# E1: malformed requests


class Trickle(io.BytesIO):
    """An input that returns a few bytes at a time, as on a slow network."""

    def read(self, size=-1):
        return super().read(min(size, 7) if size > 0 else size)


class Mutator:
    """Valid requests with random damage. Equal seeds give equal requests."""

    LABELS = (
        "hello hello:1 hello:prod hello:$LATEST hello%3A1 hello%3Aprod function:hello echo describe broken nothing "
        "unserialisable nowhere unknown hello%2F1 hello%252F 123456789012:function:hello h%65llo caf%C3%A9 %ff %00 "
        "arn:aws:lambda:us-east-1:123456789012:function:hello arn:aws:lambda:us-east-1:999999999999:function:hello "
        "arn%3Aaws%3Alambda%3Aeu-west-1%3A123456789012%3Afunction%3Ahello arn:aws:s3:::bucket "
        "arn:aws:lambda:::function:x"
    ).split()
    TARGETS = (
        *[INVOCATIONS] * 10,
        "/2014-11-13/functions/{}/invoke-async",
        "/2014-11-13/functions/{}/invoke-async/",
        "/healthcheck",
        "/2015-03-31/functions/{}",
        "/2015-03-31/functions/",
        "/",
    )
    SNIPPETS = (
        *"%2F %2f %252F %3A %00 %0d%0a %ff %C3%A9 %ED%A0%80 % %z %u0041 // /../ /./ .. ; ? # : $ $LATEST".split(),
        *"arn: @ \\ * + ~ ' \" < { \xe9 \xff \x80 invocations functions".split(),
        " ",
        "A" * 300,
    )
    CONTROLS = ("\r\n", "\n", "\r", "\x00", "\x0b", "\x1b", "\x7f", "\r\nX-Injected: yes")
    METHODS = ("GET", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "BREW", "POSTPOST")
    ODD_METHODS = ("post", "", "P\x00ST", "\xe9", "P" * 500)
    QUERIES = (
        "Qualifier=1 Qualifier=prod Qualifier=$LATEST Qualifier=%24LATEST Qualifier= Qualifier Qualifier=a&Qualifier=b "
        "qualifier=1 Qualifier=%ff Qualifier=%00%0d%0a &&&=== Qualifier=1;Qualifier=2 a=b Qualifier=no+such"
    ).split()
    HEADERS = {
        "X-Amz-Invocation-Type": ("Event", "DryRun", "RequestResponse", "event", "Error", "Stream", "None", ""),
        "X-Amz-Log-Type": ("Tail", "None", "tail", "All", ""),
        "X-Amz-Client-Context": (
            "e30=",
            "e30",
            "eyJjdXN0b20iOnsiYSI6MX19",
            "W10=",
            "bnVsbA==",
            "!!!",
            "eyJjbGllbnQiOjV9",
        ),
        "X-Amzn-Trace-Id": (
            "Root=1-64f7ba59-40378aa81e4eecc34002f96a;Parent=53995c3f42cd8ad8;Sampled=1",
            "Root=1-64f7ba59-40378aa81e4eecc34002f96a;Lineage=a87bd80c:0|68fd508a:5",
            "Root=2-x;;;Sampled=7;=;Root",
            ";" * 300,
        ),
        "X-Error-Type": ("ValueError", "Nothing", ""),
        "X-Amz-Tenant-Id": ("blue",),
        "Content-Type": ("application/json", "text/plain; charset=utf-16", "multipart/form-data; boundary=x", "\xff"),
        "Authorization": ("AWS4-HMAC-SHA256 Credential=key/20261124/us-east-1/lambda/aws4_request", "Bearer x"),
        "Accept-Encoding": ("identity", "gzip, br"),
        "X-Forwarded-Prefix": ("/2015-03-31", "/"),
        "X-Http-Method-Override": ("GET",),
        "Host": ("lambda.us-east-1.amazonaws.com", "localhost:99999", "[::1"),
    }
    BODIES = (
        b"",
        b"{}",
        b'{"message": "boom"}',
        b"null",
        b'"text"',
        b"[1, 2",
        b"NaN",
        b"-Infinity",
        b"1e999",
        b'{"a": 1, "a": 2}',
        b"\xff\xfe{\x00}\x00",
        b"\xef\xbb\xbf{}",
        b'"\\ud800"',
        b'"\xed\xa0\x80"',
        b"[" * 3000,
        b"9" * 5000,
        b"\x00",
        b"a=b&c=d",
        b"PK\x03\x04",
    )
    LENGTHS = (
        "",
        "0",
        "-1",
        "+2",
        " 2",
        "2 ",
        "1e3",
        "0x2",
        "2,2",
        "\xb2",
        "1" * 25,
        "9" * 5000,
        "0" * 30 + "2",
        "7000000",
    )
    RAW = (
        "/",
        "*",
        "",
        "http://[",
        "http://[::1",
        "http://localhost:99999999/",
        "https:///",
        "//",
        "?",
        "%",
        "http://a b/",
    )

    def __init__(self, number):
        self.random = random.Random(number)

    def maybe(self, chance):
        return self.random.random() < chance

    def text(self, text, snippets):
        """Return ``text``, in most cases with an insertion, a deletion or a repetition."""
        for _ in range(self.random.choice((0, 0, 1, 1, 2, 4))):
            at, to = sorted(self.random.choices(range(len(text) + 1), k=2))
            text = self.random.choice(
                (
                    text[:at] + self.random.choice(snippets) + text[at:],
                    text[:at] + text[at + 1 :],
                    text[:at] + text[at : at + 20] + text[at:],
                    text[:at] + quote(text[at:to], safe="") + text[to:] if text.isascii() else text,
                    text[:at] + self.random.choice(snippets) + text[to:],
                )
            )
        return text

    def body(self):
        body = bytearray(self.random.choice(self.BODIES) if self.maybe(0.5) else b'{"message": "boom"}')
        for _ in range(self.random.choice((0, 0, 0, 0, 1, 3)) if body else 0):
            body[self.random.randrange(len(body))] = self.random.randrange(256)
        return bytes(body)

    def target(self, snippets=SNIPPETS):
        label = self.random.choice(self.LABELS[: self.random.choice((9, len(self.LABELS)))])
        label = self.text(label, snippets) if self.maybe(0.2) else label
        target = self.random.choice(self.TARGETS).format(label)
        return self.text(target, snippets) if self.maybe(0.2) else target

    def query(self, snippets=SNIPPETS):
        return self.text(self.random.choice(self.QUERIES), snippets) if self.maybe(0.4) else ""

    def headers(self, snippets):
        names = self.random.sample(list(self.HEADERS), self.random.choice((0, 1, 1, 2, 3, 6)))
        values = {name: self.random.choice(self.HEADERS[name]) for name in names}
        return {name: self.text(value, snippets) if self.maybe(0.3) else value for name, value in values.items()}

    def environ(self):
        """Return a WSGI environ as any server may make it."""
        odd = self.SNIPPETS + self.CONTROLS
        target, query, body = self.target(odd), self.query(odd), self.body()
        environ = request(unquote_to_bytes(target.encode("latin-1")).decode("latin-1"), body, self.method())
        environ.update((_key(name), value) for name, value in self.headers(odd).items())
        if query or self.maybe(0.5):
            environ["QUERY_STRING"] = query
        self._mount(environ)
        self._raw(environ, f"{target}?{query}" if query else target)
        self._length(environ, body)
        return environ

    def method(self):
        return self.random.choice(self.METHODS + self.ODD_METHODS) if self.maybe(0.15) else "POST"

    def _mount(self, environ):
        if self.maybe(0.5):
            environ["SCRIPT_NAME"] = self.random.choice(
                ("", "", "", "/a", "/a lambda", "/2015-03-31", "/\xff", "/a/b/c")
            )
        if self.maybe(0.02):
            environ["PATH_INFO"] = ""
        if self.maybe(0.02):
            del environ["PATH_INFO"]

    def _raw(self, environ, target):
        raw = self.random.choice((target, target, None, "http://localhost" + target, self.text(target, self.SNIPPETS)))
        if self.maybe(0.05):
            raw = self.random.choice(self.RAW)
        if raw is not None:
            environ[self.random.choice(("RAW_URI", "REQUEST_URI"))] = environ.get("SCRIPT_NAME", "") + raw

    def _length(self, environ, body):
        environ["wsgi.input"] = self.random.choice((io.BytesIO, Trickle))(body)
        if self.maybe(0.3):
            environ["wsgi.input_terminated"] = True
        if self.maybe(0.15):
            environ.pop("CONTENT_LENGTH", None)
            environ["HTTP_TRANSFER_ENCODING"] = "chunked"
        elif self.maybe(0.15):
            environ["CONTENT_LENGTH"] = self.random.choice(self.LENGTHS)

    def wire(self):
        """Return the bytes of a request with valid HTTP/1.1 framing, and its method."""
        printable = [snippet for snippet in self.SNIPPETS if snippet.isascii() and snippet != " "]
        target, query, body = self.target(printable), self.query(printable), self.body()
        target = "/" + target.lstrip("/") if self.maybe(0.9) else "http://localhost/" + target.lstrip("/")
        method = self.random.choice(self.METHODS) if self.maybe(0.1) else "POST"
        headers = {"Host": "localhost", **self.headers(self.SNIPPETS)}
        if self.maybe(0.3):
            headers["Transfer-Encoding"], body = "chunked", self._chunked(body)
        else:
            headers["Content-Length"] = str(len(body))
        head = [f"{method} {target}{'?' if query else ''}{query} HTTP/1.1", *map(": ".join, headers.items()), "", ""]
        return "\r\n".join(head).encode("latin-1") + body, method

    def _chunked(self, body):
        at = self.random.randrange(len(body) + 1)
        return b"".join(chunk(piece) for piece in (body[:at], body[at:]) if piece) + b"0\r\n\r\n"


def _key(header):
    key = header.upper().replace("-", "_")
    return key if key == "CONTENT_TYPE" else f"HTTP_{key}"


def chunk(data):
    return b"%x\r\n%s\r\n" % (len(data), data)


def healthy(application):
    return call(application, request("/healthcheck", method="GET")).body == b"."


def test_malformed_requests_get_documented_responses(application, battery):
    mutator, statuses, count = Mutator(SEED), {}, share(100_000, 4_000)
    for number in range(count):
        environ = mutator.environ()
        shown = {key: value for key, value in environ.items() if not key.startswith("wsgi.")}
        response = call(application, environ)
        try:
            check_response(response, environ["REQUEST_METHOD"])
        except Exception as error:
            raise AssertionError(f"request {number} of seed {SEED}: {shown}\n{response.text}") from error
        statuses[response.status] = statuses.get(response.status, 0) + 1
        if number % 1000 == 999:
            assert healthy(application)
    battery.record("E1 mutated", requests=count, statuses=dict(sorted(statuses.items())), wrong=0)
    assert STATUSES - {403, 429} <= statuses.keys()  # the mutator makes requests that succeed and requests that fail


_text = st.text(st.characters(max_codepoint=255), max_size=60)
_words = st.sampled_from([*Mutator.LABELS, *Mutator.SNIPPETS, *Mutator.CONTROLS, *Mutator.RAW])
_label = st.lists(_words | _text, max_size=4).map("".join)
_path = st.builds(str.format, st.sampled_from(Mutator.TARGETS), st.sampled_from(Mutator.LABELS) | _label) | _label
_changes = {
    "path": _path,
    "method": st.sampled_from(Mutator.METHODS) | _text,
    "body": st.sampled_from(Mutator.BODIES) | st.binary(max_size=200),
    "RAW_URI": _path,
    "REQUEST_URI": _path,
    "SCRIPT_NAME": _label,
    "QUERY_STRING": st.sampled_from(Mutator.QUERIES) | _label,
    "CONTENT_LENGTH": st.sampled_from(Mutator.LENGTHS) | _text | st.integers().map(str),
    "wsgi.input_terminated": st.booleans(),
    **{_key(name): st.sampled_from(values) | _label for name, values in Mutator.HEADERS.items()},
}
_environs = st.lists(st.one_of([st.tuples(st.just(key), values) for key, values in _changes.items()]), max_size=6).map(
    dict
)
_examples = []


@pytest.mark.battery
@seed(SEED)
@settings(
    max_examples=share(10_000, 200),
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)
@given(_environs)
def test_any_request_gets_a_documented_response(application, given):
    environ = request(**given)
    response = call(application, environ)
    _examples.append(response.status)
    check_response(response, environ["REQUEST_METHOD"])


def test_the_health_check_works_after_all_these_requests(application, battery):
    battery.record("E1 hypothesis", examples=len(_examples), statuses={s: _examples.count(s) for s in set(_examples)})
    assert healthy(application)


class Wire:
    """A client that sends bytes as they are, over one connection after another."""

    def __init__(self, server):
        self._port = server.port
        self._socket = None

    def send(self, data, method="POST", *, end=False):
        """Return the response to ``data``. ``end`` shuts the sending side, as a client does that disconnects."""
        if self._socket is None:
            self._socket = socket.create_connection(("127.0.0.1", self._port), timeout=30)
        self._socket.sendall(data)
        if end:
            self._socket.shutdown(socket.SHUT_WR)
        with http.client.HTTPResponse(self._socket, method=method) as received:
            received.begin()
            response = Response(received.status, received.getheaders(), received.read())
            if received.will_close or end:
                self.close()
        return response

    def close(self):
        if self._socket is not None:
            self._socket.close()
            self._socket = None


@pytest.fixture
def wire(server):
    with closing(Wire(server)) as wire:
        yield wire


def test_malformed_requests_over_a_socket_get_documented_responses(gthread, battery):
    mutator, statuses, count = Mutator(SEED), {}, share(10_000, 400)
    with closing(Wire(gthread)) as wire:
        for number in range(count):
            data, method = mutator.wire()
            response = wire.send(data, method)
            try:
                check_response(response, method)
            except Exception as error:
                raise AssertionError(f"request {number} of seed {SEED}: {data}\n{response.text}") from error
            statuses[response.status] = statuses.get(response.status, 0) + 1
            if number % 100 == 99:
                assert wire.send(b"GET /healthcheck HTTP/1.1\r\nHost: x\r\n\r\n", "GET").body == b"."
    battery.record("E1 over gunicorn", requests=count, statuses=dict(sorted(statuses.items())), wrong=0)


@pytest.mark.parametrize("target", ["http://[", "http://[::1/2015-03-31", "http://[v1.x]\xff/"])
def test_a_request_target_that_is_not_a_url_is_a_path(application, target):
    response = call(application, request("/nowhere", RAW_URI=target))
    assert (response.status, response.code) == (404, "UnknownOperationException")


def test_without_the_raw_target_a_path_is_decoded_once(application):
    response = call(application, request("/2014-11-13/functions/hell%6F/invoke-async", b"{}"))
    assert (response.status, response.code) == (400, "ValidationException")


# E3: control characters in the parts of a request that reach a header

TRACE = "Root=1-64f7ba59-40378aa81e4eecc34002f96a"
PLACES = {
    "trace id": lambda text: request(HTTP_X_AMZN_TRACE_ID=text),
    "trace id, after a valid one": lambda text: request(HTTP_X_AMZN_TRACE_ID=f"{TRACE};{text}"),
    "trace id, around a valid one": lambda text: request(HTTP_X_AMZN_TRACE_ID=f"{text}{TRACE}{text};Sampled=1{text}"),
    "trace id of an event": lambda text: request(
        HTTP_X_AMZN_TRACE_ID=f"{TRACE}{text}", HTTP_X_AMZ_INVOCATION_TYPE="Event"
    ),
    "client context": lambda text: request(HTTP_X_AMZ_CLIENT_CONTEXT=f"e30={text}"),
    "invocation type": lambda text: request(HTTP_X_AMZ_INVOCATION_TYPE=f"Event{text}"),
    "log type": lambda text: request(HTTP_X_AMZ_LOG_TYPE=f"Tail{text}"),
    "function name": lambda text: request(INVOCATIONS.format(f"hello{text}")),
    "function name, before the slash": lambda text: request(INVOCATIONS.format(f"{text}hello")),
    "function name of InvokeAsync": lambda text: request(f"/2014-11-13/functions/hello{text}/invoke-async/"),
    "function name, encoded": lambda text: request(
        INVOCATIONS.format(f"hello{text}"), RAW_URI=INVOCATIONS.format(quote(f"hello{text}", safe=""))
    ),
    "qualifier": lambda text: request(QUERY_STRING=f"Qualifier={quote(f'prod{text}')}"),
    "qualifier, not encoded": lambda text: request(QUERY_STRING=f"Qualifier=prod{text}"),
    "qualifier in the name": lambda text: request(INVOCATIONS.format(f"hello:prod{text}")),
    "path": lambda text: request(f"/{text}"),
    "method": lambda text: request(method=f"POST{text}"),
    "the function's error": lambda text: request(INVOCATIONS.format("broken"), json.dumps({"message": text}).encode()),
    "the function's log": lambda text: request(
        INVOCATIONS.format("printing"), json.dumps(text).encode(), HTTP_X_AMZ_LOG_TYPE="Tail"
    ),
    "mock error": lambda text: request(HTTP_X_AMZ_INVOCATION_TYPE="Error", HTTP_X_ERROR_TYPE=f"ValueError{text}"),
}
CONTROLS = [chr(number) for number in (*range(32), 127)] + ["\r\n", "\r\nX-Injected: yes", "\r\n\r\n<html>"]


def printing(event, context):
    print(event)


@pytest.fixture(scope="module")
def printing_application():
    """Return an application with a function that prints its event."""
    functions = {name: getattr(handlers, name) for name in ("hello", "broken")}
    application = Application(StaticFetcher({**functions, "hello:1": handlers.hello, "printing": printing}))
    yield application
    application.close()


@pytest.mark.parametrize("place", PLACES)
def test_no_control_character_reaches_a_header_from(place, printing_application):
    for text in CONTROLS:
        response = call(printing_application, PLACES[place](text))
        check_response(response)
        assert not response.get("X-Injected")


@pytest.mark.parametrize("text", CONTROLS[1:], ids=repr)  # Python itself refuses NUL in a class's name
def test_no_control_character_reaches_a_header_from_a_documented_error(text):
    odd = type(f"Odd{text}Error", (Exception,), {})
    fetcher = StaticFetcher({"hello": Function(handlers.hello, errors=[odd])})
    application = Application(fetcher, mock=True)
    response = call(application, request(HTTP_X_AMZ_INVOCATION_TYPE="Error", HTTP_X_ERROR_TYPE=odd.__name__))
    check_response(response)
    assert json.loads(response.body)["errorType"] == odd.__name__


@pytest.mark.parametrize("text", CONTROLS, ids=repr)
def test_no_control_character_reaches_a_header_from_a_handler_string(text):
    application = Application(StaticFetcher({"odd": f"no_such{text}module.handler{text}"}))
    response = call(application, request(INVOCATIONS.format("odd"), HTTP_X_AMZ_LOG_TYPE="Tail"))
    check_response(response)
    assert json.loads(response.body)["errorType"] == "Runtime.ImportModuleError"


@pytest.mark.parametrize("text", CONTROLS, ids=repr)
def test_no_function_has_a_version_with_a_control_character(text):
    with pytest.raises(ConfigurationError, match="version"):
        Function(handlers.hello, name="hello", version=f"1{text}")


def test_encoded_line_ends_inject_no_header_over_a_socket(wire):
    for label in ("hello%0d%0aX-Injected:%20yes", "%0D%0A%0D%0A", "hello:prod%0d", "hello%00", "hello%250d%250a"):
        data = f"POST {INVOCATIONS.format(label)}?Qualifier=%0d%0aX-Injected:%20yes HTTP/1.1\r\nHost: localhost\r\n"
        response = wire.send(f"{data}Content-Length: 0\r\n\r\n".encode())
        check_response(response)
        assert response.status == 400
        assert response.get("X-Injected") is None


# E5: body limits, and lengths that are not true

PAYLOAD_LIMIT, EVENT_LIMIT, INVOKE_ASYNC_LIMIT = 6_291_456, 1_048_576, 262_144  # bytes
LIMITS = {
    "call": (PAYLOAD_LIMIT, INVOCATIONS.format("length"), {}, 200),
    "Event": (EVENT_LIMIT, INVOCATIONS.format("length"), {"X-Amz-Invocation-Type": "Event"}, 202),
    "InvokeAsync": (INVOKE_ASYNC_LIMIT, "/2014-11-13/functions/length/invoke-async/", {}, 202),
}


def length(event, context):
    return len(event)


@pytest.fixture(scope="module")
def measuring():
    application = Application(StaticFetcher({"length": length}))
    yield application
    application.close()


@pytest.mark.parametrize("declared", [True, False], ids=["declared", "chunked"])
@pytest.mark.parametrize("operation", LIMITS)
@pytest.mark.parametrize("over", [-1, 0, 1])
def test_a_body_may_be_as_long_as_its_limit(measuring, operation, over, declared):
    limit, path, headers, accepted = LIMITS[operation]
    environ = request(path, b'"%s"' % (b"x" * (limit + over - 2)))
    environ.update((_key(name), value) for name, value in headers.items())
    if not declared:
        del environ["CONTENT_LENGTH"]
        environ["wsgi.input_terminated"] = True
    response = call(measuring, environ)
    check_response(response)
    assert response.status == (413 if over > 0 else accepted)
    if response.status == 200:
        assert json.loads(response.body) == limit + over - 2


def test_a_body_over_its_limit_is_refused_by_its_length_alone(measuring):
    environ = request(CONTENT_LENGTH=str(PAYLOAD_LIMIT + 1))
    environ["wsgi.input"] = io.BytesIO()
    assert call(measuring, environ).status == 413


def test_without_a_length_there_is_no_body(application):
    environ = request(INVOCATIONS.format("echo"))
    environ["wsgi.input"] = io.BytesIO(b"never read: the server does not know its end")
    assert call(application, environ).body == b"{}"


@pytest.mark.parametrize(
    "declared",
    ["-1", "-0", "+2", " 2", "2 ", "2.0", "1e1", "0x2", "two", "2,2", "\xb2", "\xbd", "NaN", "-" + "9" * 5000],
)
def test_a_content_length_that_is_not_a_number_is_refused(application, declared):
    response = call(application, request(body=b"{}", CONTENT_LENGTH=declared))
    check_response(response)
    assert (response.status, response.code) == (400, "InvalidRequestContentException")


@pytest.mark.parametrize("digits", [8, 19, 20, 21, 100, 4300, 5000, 100_000])
def test_a_content_length_of_many_digits_is_too_large(application, digits):
    response = call(application, request(body=b"{}", CONTENT_LENGTH="9" * digits))
    check_response(response)
    assert response.status == 413


@pytest.mark.parametrize("zeros", [1, 19, 20, 30, 5000])
def test_leading_zeros_of_a_content_length_are_ignored(application, zeros):
    response = call(application, request(INVOCATIONS.format("echo"), b'"text"', CONTENT_LENGTH="0" * zeros + "6"))
    assert response.body == b'"text"'


def test_a_chunked_body_in_small_pieces_is_read_whole(application):
    environ = request(INVOCATIONS.format("echo"), **{"wsgi.input_terminated": True})
    environ["wsgi.input"] = Trickle(b'"longer than a piece"')
    assert call(application, environ).body == b'"longer than a piece"'


def test_bytes_after_the_content_length_are_not_read(application):
    response = call(application, request(INVOCATIONS.format("echo"), b"12345", CONTENT_LENGTH="3"))
    assert response.body == b"123"


def test_a_body_shorter_than_its_content_length_is_refused(application):
    response = call(application, request(INVOCATIONS.format("echo"), b"12345", CONTENT_LENGTH="9"))
    check_response(response)
    assert (response.status, response.code) == (400, "InvalidRequestContentException")


class Generous:
    """The input of a faulty server: every read returns the same piece, of any size."""

    def __init__(self, piece):
        self._piece = piece

    def read(self, size):
        return self._piece


@pytest.mark.parametrize("piece", [b'"text" and the next request', b'"text'], ids=["at once", "after a piece"])
def test_an_input_that_returns_too_many_bytes_is_cut(application, piece):
    environ = request(INVOCATIONS.format("echo"), CONTENT_LENGTH="6")
    environ["wsgi.input"] = Generous(piece)
    assert call(application, environ).body == (piece * 2)[:6]


class Broken(io.BytesIO):
    """The input of a client that disconnected."""

    def read(self, size=-1):
        raise ConnectionResetError(104, "Connection reset by peer")


@pytest.mark.parametrize("declared", ["5", None, str(PAYLOAD_LIMIT + 1)], ids=["declared", "chunked", "too long"])
def test_a_client_that_disconnects_is_not_a_failure_of_the_server(declared, caplog):
    environ = request(CONTENT_LENGTH=declared, **{"wsgi.input_terminated": True, "wsgi.input": Broken()})
    check_response(call(make(), environ))
    assert not [record for record in caplog.records if record.exc_info]


def head(path, *headers):
    return "\r\n".join([f"POST {path} HTTP/1.1", "Host: localhost", *headers, "", ""]).encode()


def test_a_chunked_body_is_the_event(wire):
    data = (
        head(INVOCATIONS.format("echo"), "Transfer-Encoding: chunked") + chunk(b'{"a":') + chunk(b" 1}") + b"0\r\n\r\n"
    )
    assert json.loads(wire.send(data).body) == {"a": 1}


def test_a_post_without_any_body_has_an_empty_event(wire):
    assert wire.send(head(INVOCATIONS.format("echo"))).body == b"{}"


def test_a_body_that_ends_early_is_refused(wire):
    response = wire.send(head(INVOCATIONS.format("echo"), "Content-Length: 9") + b"12345", end=True)
    check_response(response)
    assert (response.status, response.code) == (400, "InvalidRequestContentException")


BREAKS = {
    "in a piece": b"5\r\n12",
    "after a piece": b"5\r\n12345",
    "before the last": b"",
    "in the trailers": b"0\r\nX-Sum: 1",
    "with no size": b"zz\r\n12345\r\n",
    "with a false size": b"5\r\n1234567\r\n",
}


@pytest.mark.parametrize("rest", BREAKS.values(), ids=BREAKS)
def test_a_chunked_body_that_breaks_off_is_refused(wire, rest):
    data = head(INVOCATIONS.format("echo"), "Transfer-Encoding: chunked") + chunk(b"1") + rest
    response = wire.send(data, end=True)
    check_response(response)
    assert (response.status, response.code) == (400, "InvalidRequestContentException")


def test_bytes_after_a_malformed_body_are_not_a_request(server):
    """If the server read on, it would run bytes that a proxy took for a part of the body (request smuggling)."""
    broken = head(INVOCATIONS.format("echo"), "Transfer-Encoding: chunked") + b"zz\r\n"
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
        connection.sendall(broken + head(INVOCATIONS.format("echo"), "Content-Length: 1") + b"1")
        connection.shutdown(socket.SHUT_WR)
        responses = b"".join(iter(lambda: connection.recv(65536), b""))
    assert responses.startswith(b"HTTP/1.1 400")
    assert responses.count(b"HTTP/1.1") == 1


@pytest.mark.parametrize("size", [PAYLOAD_LIMIT + 1, 7_000_000, 15_000_000])
@pytest.mark.parametrize("how", ["declared", "chunked"])
def test_a_client_that_sends_too_much_can_read_the_error(wire, how, size):
    body = b"x" * size
    if how == "chunked":
        data = head(INVOCATIONS.format("echo"), "Transfer-Encoding: chunked") + chunk(body) + b"0\r\n\r\n"
    else:
        data = head(INVOCATIONS.format("echo"), f"Content-Length: {size}") + body
    response = wire.send(data)
    check_response(response)
    assert response.status == 413


@pytest.mark.parametrize(("kind", "size"), [("RequestResponse", 7_000_000), ("Event", EVENT_LIMIT + 1)])
def test_boto3_reads_the_error_of_a_too_large_payload(server, kind, size):
    with closing(aws_client(server.url)) as client:
        with pytest.raises(client.exceptions.ClientError) as caught:
            client.invoke(FunctionName="echo", InvocationType=kind, Payload=b'"%s"' % (b"x" * (size - 2)))
    response = caught.value.response
    assert response["ResponseMetadata"]["HTTPStatusCode"] == 413
    assert response["Error"]["Code"] == "RequestEntityTooLargeException"
    assert response["ResponseMetadata"]["RetryAttempts"] == 0


def test_a_payload_at_the_limit_comes_back_whole(server):
    payload = b'"%s"' % (b"x" * (PAYLOAD_LIMIT - 2))
    with closing(aws_client(server.url)) as client:
        assert client.invoke(FunctionName="echo", Payload=payload)["Payload"].read() == payload


# E7: errors reveal nothing

CANARIES = ["canary-in-the-environment", "canary-in-a-local", "canary-in-the-message", "canary-in-the-cause"]


def fails(*args, **kwargs):
    """Raise an exception with secrets in its text and its cause."""
    secret = f"{CANARIES[1]} {os.environ['CANARY']}"
    try:
        raise OSError(2, CANARIES[3], str(ROOT / "secret.py"))
    except OSError as error:
        raise RuntimeError(f"{CANARIES[2]} {secret} {socket.gethostname()} {ROOT}") from error


class Failing:
    """A part in which every method fails."""

    fetch = execute = put = staticmethod(fails)

    def start(self, *_, **__):
        pass

    def close(self):
        pass


class Exiting:
    """A fetcher that calls sys.exit."""

    def fetch(self, name, qualifier="$LATEST"):
        sys.exit(3)


class Full(Failing):
    @staticmethod
    def execute(function, invocation):
        raise TooManyRequestsException()


class Refusing(Failing):
    @staticmethod
    def put(invocation, config, dedupe=""):
        raise ServiceException("The server is stopping and takes no more events; send this one again.")


class Ended(Failing):
    """A queue with a log of one event, which succeeded."""

    def events(self, state="", limit=50, before=None):
        return []

    def event(self, request_id):
        return {} if request_id == "ended" else None

    def redrive(self, request_id):
        return False


def _with_event_log():
    return _static(queue=Ended(), admin=True)


def _static(**options):
    return Application(StaticFetcher({"hello": Function(handlers.hello, errors=[KeyError])}), **options)


def _template():
    return Application(SamFetcher(str(ROOT / "tests/templates/image.yaml")))


def _closed():
    queue = MemoryQueue()
    application = _static(queue=queue)
    call(application, request(HTTP_X_AMZ_INVOCATION_TYPE="Event"))
    application.close()
    return application


def _unknown_runtime():
    return Application(StaticFetcher({"hello": Function("app.handler", code=str(ROOT), runtime="ruby3.4")}))


def _event(**changes):
    return request(HTTP_X_AMZ_INVOCATION_TYPE="Event", **changes)


def _guarded():
    keys = {"AKID": ("xyz", "a token")}
    return _static(authentication=partial(SigV4Middleware, credentials=keys, region="us-east-1", clock=lambda: 0))


RIGHT = "798a8978810fe2d44bf9e68bd2035dd0c78d95b102948b4bcf4ced7182d713b0"


def _signed(signature=RIGHT):
    """Return a request signed at the start of 1970 with the key AKID, but without its session token."""
    scope = "AKID/19700101/us-east-1/lambda/aws4_request"
    authorization = f"AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host;x-amz-date, Signature={signature}"
    host = {"HTTP_HOST": "localhost", "HTTP_X_AMZ_DATE": "19700101T000000Z"}
    return request(HTTP_AUTHORIZATION=authorization, RAW_URI=HELLO, **host)


def _error(name):
    return request(HTTP_X_AMZ_INVOCATION_TYPE="Error", HTTP_X_ERROR_TYPE=name)


ERRORS = [
    ("ValidationException", _static, lambda: request(INVOCATIONS.format("a b"))),
    ("ValidationException", _static, lambda: request(HTTP_X_AMZ_INVOCATION_TYPE="Stream", HTTP_X_AMZ_LOG_TYPE="All")),
    ("InvalidParameterValueException", _static, lambda: request(INVOCATIONS.format("a:1"), QUERY_STRING="Qualifier=2")),
    ("InvalidParameterValueException", _static, lambda: _error("KeyError")),
    ("InvalidRequestContentException", _static, lambda: request(body=b"{")),
    ("InvalidRequestContentException", _static, lambda: request(body=b"\xff")),
    ("InvalidRequestContentException", _static, lambda: request(body=b"[" * 100_000)),
    ("InvalidRequestContentException", _static, lambda: request(HTTP_X_AMZ_CLIENT_CONTEXT="no")),
    ("InvalidRequestContentException", _static, lambda: request(CONTENT_LENGTH="no")),
    ("MissingAuthenticationTokenException", _guarded, request),
    ("IncompleteSignatureException", _guarded, lambda: request(HTTP_AUTHORIZATION="Bearer token")),
    ("InvalidSignatureException", _guarded, lambda: _signed("0" * 64)),
    ("UnrecognizedClientException", _guarded, _signed),
    ("AccessDeniedException", _static, lambda: request(INVOCATIONS.format("999999999999:function:hello"))),
    ("ResourceNotFoundException", _static, lambda: request(INVOCATIONS.format("unknown"))),
    ("ResourceNotFoundException", _static, lambda: request(INVOCATIONS.format("hello:unknown"))),
    (
        "ResourceNotFoundException",
        _static,
        lambda: request(INVOCATIONS.format("eu-west-1:123456789012:function:hello")),
    ),
    ("UnknownOperationException", _static, lambda: request("/etc/passwd", method="GET")),
    ("ResourceNotFoundException", _with_event_log, lambda: request("/serverfull/events/none", method="GET")),
    ("ResourceConflictException", _with_event_log, lambda: request("/serverfull/events/ended/redrive")),
    (
        "InvalidParameterValueException",
        _with_event_log,
        lambda: request("/serverfull/events", method="GET", QUERY_STRING="state=lost&before=x"),
    ),
    ("UnknownRequestMockError", lambda: _static(mock=True), lambda: _error("Nothing")),
    ("ResourceConflictException", _template, lambda: request(INVOCATIONS.format("plain"))),
    ("InvalidRuntimeException", _unknown_runtime, request),
    ("RequestEntityTooLargeException", _static, lambda: request(CONTENT_LENGTH=str(PAYLOAD_LIMIT + 1))),
    ("RequestEntityTooLargeException", _static, lambda: _event(CONTENT_LENGTH=str(EVENT_LIMIT + 1))),
    ("TooManyRequestsException", lambda: _static(executor=Full()), request),
    ("ServiceException", lambda: Application(Failing()), request),
    ("ServiceException", lambda: Application(Failing()), _event),
    ("ServiceException", lambda: Application(Failing(), mock=True), lambda: _error("KeyError")),
    ("ServiceException", lambda: Application(Exiting()), request),
    ("ServiceException", lambda: _static(executor=Failing()), request),
    ("ServiceException", lambda: _static(queue=Failing()), _event),
    ("ServiceException", lambda: _static(queue=Refusing()), _event),
    ("ServiceException", _closed, _event),
    ("ServiceException", lambda: _static(routes=[Rule("/mine", endpoint=fails)]), lambda: request("/mine")),
]


@pytest.mark.parametrize(
    ("code", "build", "make_request"), ERRORS, ids=[f"{n}-{row[0]}" for n, row in enumerate(ERRORS)]
)
def test_an_error_reveals_nothing_about_the_server(code, build, make_request, monkeypatch):
    monkeypatch.setenv("CANARY", CANARIES[0])
    application = build()
    response = call(application, make_request())
    application.close()
    assert response.code == code
    check_headers(response)
    check_error(response)
    assert not [text for text in (*CANARIES, socket.gethostname()) if text in response.text]


def test_every_error_of_a_request_is_tested(battery):
    tested = {row[0] for row in ERRORS}
    battery.record("E7", errors=len(ERRORS), kinds=len(tested))
    assert tested == CODES.keys()


def test_a_service_exception_is_logged_with_its_cause_and_the_request_id(monkeypatch, caplog):
    monkeypatch.setenv("CANARY", CANARIES[0])
    response = call(Application(Failing()), request())
    record = next(record for record in caplog.records if record.exc_info)
    assert record.request_id == response.get("x-amzn-RequestId")
    assert CANARIES[2] in str(record.exc_info[1])


def test_a_stack_trace_shows_the_functions_code_and_not_ours():
    application = Application(StaticFetcher({"broken": handlers.broken}))
    response = call(application, request(INVOCATIONS.format("broken")))
    trace = json.loads(response.body)["stackTrace"]
    assert len(trace) == 1
    assert "handlers.py" in trace[0]
    assert os.path.dirname(serverfull_wsgi.__file__) not in response.text
