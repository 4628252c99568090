"""Calls of boto3 without a network, and strategies for their parameters and results."""

import io
import json
import string
from datetime import datetime, timezone
from urllib.parse import parse_qs, urlsplit

import boto3
from botocore import UNSIGNED, xform_name
from botocore.awsrequest import AWSResponse
from botocore.config import Config
from botocore.session import Session
from hypothesis import strategies as st

from serverfull_wsgi.api.model import recorded
from serverfull_wsgi.api.model.service import FILE, load
from serverfull_wsgi.api.model.validation import compiled

SERVICE = load()
HEADER_TEXT = st.text(string.ascii_letters + string.digits + string.punctuation, min_size=1, max_size=20)


def aws_client(folder):
    """Return boto3's Lambda client, made from the model in lambda.json instead of the one that botocore brings along.

    So these tests hold beside any version of botocore. `tools/build_model.py --check` compares the two models.
    """
    data = folder / "lambda/2015-03-31"
    data.mkdir(parents=True)
    (data / "service-2.json").write_bytes(FILE.read_bytes())
    (data / "paginators-1.json").write_text(json.dumps({"pagination": json.loads(FILE.read_text())["pagination"]}))
    session = Session()
    session.set_config_variable("data_path", str(folder))
    return boto3.Session(botocore_session=session, region_name="us-east-1").client(
        "lambda",
        endpoint_url="http://lambda.invalid",
        config=Config(signature_version=UNSIGNED, retries={"total_max_attempts": 1}),
    )


class Raw(io.BytesIO):
    """A body as botocore reads it from a connection."""

    def stream(self, amount=1024, decode_content=None):
        yield from iter(lambda: self.read(amount), b"")


class Network:
    """A hook in the place of the network: `answer(request)` gets each request, and returns status, headers, body."""

    def __init__(self, client):
        self.answer = None
        client.meta.events.register("before-send.lambda", self._send)

    def _send(self, request, **_):
        status, headers, body = self.answer(request)
        return AWSResponse(request.url, status, {name.lower(): value for name, value in headers}, Raw(body))


def call(client, operation, parameters):
    return getattr(client, xform_name(operation.name))(**parameters)


def parts(request):
    """Return the path, the query parameters, the headers and the body of a request."""
    url = urlsplit(request.url)
    headers = {
        name.lower(): value.decode() if isinstance(value, bytes) else value for name, value in request.headers.items()
    }
    body = request.body or b""
    return (
        url.path,
        parse_qs(url.query, keep_blank_values=True),
        headers,
        body.encode() if isinstance(body, str) else body,
    )


def parameters(operation):
    """Return a strategy for valid parameters of an operation, as boto3 takes them."""
    return st.fixed_dictionaries(
        {m.name: member(m, operation) for m in operation.input.members.values() if is_always_sent(m)},
        optional={m.name: member(m, operation) for m in operation.input.members.values() if not is_always_sent(m)},
    )


def is_always_sent(member):
    return member.is_required or member.name == "ClientToken"  # boto3 makes a ClientToken if there is none


def member(member, operation):
    shape = member.shape
    if member.location == "header" and not (shape.enum or shape.pattern):
        return HEADER_TEXT
    if member.location == "uri":
        return value(shape).filter(bool)
    if member.name == operation.input.payload:  # an empty payload is the same as an absent one
        return value(shape).filter(bool)
    if shape.type == "timestamp" and member.location == "body":
        return value(shape).map(lambda time: time.replace(microsecond=0))  # botocore sends whole seconds
    if member.location == "querystring" and shape.element:
        return st.lists(value(shape.element), min_size=1, max_size=3)
    return value(shape)


def value(shape):
    """Return a strategy for values that keep all constraints of a shape."""
    least, most = shape.minimum, shape.maximum
    if shape.enum:
        return st.sampled_from(shape.enum)
    if shape.type == "string":
        return text(shape)
    if shape.type in ("integer", "long"):
        return st.integers(-(2**31) if least is None else least, 2**31 - 1 if most is None else most)
    if shape.type == "double":
        return st.floats(least, most, allow_nan=False, allow_infinity=False)
    if shape.type == "boolean":
        return st.booleans()
    if shape.type == "timestamp":
        return st.datetimes(datetime(1970, 1, 1), datetime(2100, 1, 1), timezones=st.just(timezone.utc))
    if shape.type == "blob":
        return st.binary(max_size=40)
    if shape.type == "list":
        return st.lists(value(shape.element), min_size=least or 0, max_size=min(most or 3, (least or 0) + 2))
    if shape.type == "map":
        return st.dictionaries(
            value(shape.key), value(shape.element), min_size=least or 0, max_size=min(most or 3, (least or 0) + 2)
        )
    return structure(shape, value)


def structure(shape, value):
    members = shape.members.values()
    return st.fixed_dictionaries(
        {m.name: st.deferred(lambda m=m: value(m.shape)) for m in members if m.is_required},
        optional={m.name: st.deferred(lambda m=m: value(m.shape)) for m in members if not m.is_required},
    )


def text(shape):
    least, most = int(shape.minimum or 0), int(shape.maximum or 40)
    if shape.pattern is None:
        return st.text(min_size=least, max_size=max(least, min(most, 40)))
    return st.from_regex(compiled(shape.pattern), fullmatch=True).filter(
        lambda it: least <= len(it) <= most and not recorded.breaks_name_pattern(shape.pattern, it)
    )


def results(operation):
    """Return a strategy for results of an operation. A result need not keep the constraints of its shape."""
    if operation.output is None:
        return st.just({})
    members = {m.name: result_member(m, operation) for m in operation.output.members.values()}
    return st.fixed_dictionaries({}, optional=members)


def result_member(member, operation):
    if member.location == "statusCode":
        return st.sampled_from([200, 202])  # a 204 has no body
    if member.location == "header":
        return HEADER_TEXT
    if member.name == operation.output.payload:
        return st.binary(min_size=1, max_size=40)
    return result(member.shape)


def result(shape):
    if shape.type == "string":
        return st.sampled_from(shape.enum) if shape.enum else st.text(max_size=20)
    if shape.type == "list":
        return st.lists(result(shape.element), max_size=2)
    if shape.type == "map":
        return st.dictionaries(result(shape.key), result(shape.element), max_size=2)
    return structure(shape, result) if shape.type == "structure" else value(shape)
