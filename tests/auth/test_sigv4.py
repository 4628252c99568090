"""Signature Version 4: accepted and refused requests, and that no forged request is accepted."""

import contextlib
import hmac
import http.client
import io
import json
import logging
import random
import re
import socket
import sys
import threading
from collections import Counter
from datetime import datetime, timedelta, timezone
from functools import partial
from types import SimpleNamespace
from urllib.parse import quote, unquote_to_bytes

import flask
import pytest
from werkzeug.middleware.dispatcher import DispatcherMiddleware

from serverfull_wsgi import Credential, SigV4Middleware
from serverfull_wsgi.auth.sigv4 import signature
from tests.support import signed_site, sigv4_vectors
from tests.support.battery import SEED, share
from tests.support.servers import Server, free_port, gunicorn, running
from tests.support.signing import (
    KEY,
    NOON,
    REGION,
    SECRET,
    TEMPORARY,
    TOKEN,
    Random,
    Sent,
    by_awscrt,
    by_botocore,
    by_requests_aws4auth,
    call,
    message,
    now,
)

pytestmark = pytest.mark.quick

HELLO = "/2015-03-31/functions/hello/invocations"
UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
MISMATCH = "The request signature we calculated does not match the signature you provided. "


def guarded(app=signed_site.plain, credentials=signed_site.KEYS, **options):
    return SigV4Middleware(app, credentials, REGION, **{"clock": NOON.timestamp, **options})


def code(response):
    """Return the name of the request's principal, or the code of its error."""
    if response.status == 200:
        return json.loads(response.body)["principal"]
    return response.headers["x-amzn-errortype"]


def is_accepted(response, sent):
    seen = json.loads(response.body)
    return response.status == 200 and seen["principal"] in signed_site.KEYS and seen["body"] == sent.body.hex()


# Accepted requests

SIGNERS = {
    "botocore": (by_botocore, 10_000, 1_000),
    "awscrt": (by_awscrt, 2_000, 300),
    "requests-aws4auth": (by_requests_aws4auth, 2_000, 200),
}


def random_signed(signer, count, prefix=""):
    requests = Random(SEED)
    for _ in range(count):
        if signer is by_requests_aws4auth:
            yield signer(requests.request(prefix))
        else:
            yield requests.signed(requests.request(prefix), signer)


@pytest.mark.parametrize("name", SIGNERS)
def test_a_request_signed_by_a_client_library_is_accepted(name, battery):
    signer, whole, ordinary = SIGNERS[name]
    middleware, forms = guarded(), Counter()
    for sent in random_signed(signer, share(whole, ordinary)):
        response = call(middleware, sent.environ())
        assert response.status == 200, (sent, response.body)
        assert is_accepted(response, sent)
        forms["header" if "Authorization" in sent.headers else "query"] += 1
        forms["session token"] += TOKEN in sent.headers.values() or quote(TOKEN, safe="") in sent.target
    battery.record(f"SigV4, signed by {name}", accepted=forms["header"] + forms["query"], **forms)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """gunicorn with the signed application, which uses the real time."""
    with gunicorn(
        tmp_path_factory.mktemp("signed") / "log", "--threads", "4", application="tests.support.signed_site:app"
    ) as it:
        yield it


def send(server, sent):
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)) as connection:
        connection.putrequest(sent.method, sent.target, skip_host=True, skip_accept_encoding=True)
        headers = {"Host": sent.host, "Content-Length": str(len(sent.body)), **sent.headers}
        for name, value in headers.items():
            connection.putheader(name, value)
        connection.endheaders(sent.body)
        response = connection.getresponse()
        return SimpleNamespace(
            status=response.status, headers={k.lower(): v for k, v in response.getheaders()}, body=response.read()
        )


def test_a_signed_request_is_accepted_over_a_socket(server, battery):
    requests = Random(SEED + 1, expires=[3600, 604_800])
    count = share(500, 60)
    for _ in range(count):
        sent = requests.signed(requests.request(), when=now())
        response = send(server, sent)
        assert response.status == 200, (sent, response.body)
        assert is_accepted(response, sent)
    battery.record("SigV4, through gunicorn", accepted=count)


SERVERS = {
    "sync": ("--worker-class", "sync"),
    "gevent": ("--worker-class", "gevent"),
    "preload": ("--threads", "2", "--preload"),
    "waitress": None,
}


@pytest.mark.battery
@pytest.mark.parametrize("name", SERVERS)
def test_every_server_passes_on_the_path_that_was_signed(name, tmp_path):
    """Encoded colons and slashes are the difficult ones."""
    port, log = free_port(), tmp_path / "log"
    if SERVERS[name] is None:
        argv = ["-m", "waitress", f"--listen=127.0.0.1:{port}", "tests.support.signed_site:app"]
        serving = running(Server(argv, log, port=port))
    else:
        serving = gunicorn(log, *SERVERS[name], application="tests.support.signed_site:app")
    requests = Random(SEED + 3, expires=[3600])
    with serving as server:
        for label in ("hello%3A1", "a%2Fb", "%E6%BC%A2", "a%20b", "a+b", "%7Ea"):
            sent = fresh(f"/2015-03-31/functions/{label}/invocations?Qualifier=%24LATEST&a=%2B&a=")
            assert is_accepted(send(server, sent), sent), label
            assert send(server, sent.but(body=b"{ }")).status == 403
        for _ in range(share(100, 20)):
            sent = requests.signed(requests.request(), when=now())
            assert is_accepted(send(server, sent), sent), sent


def in_flask(prefix="/lambda"):
    """Return a Flask site that has the signed application mounted at ``prefix``."""
    site = flask.Flask(__name__)
    site.wsgi_app = DispatcherMiddleware(site.wsgi_app, {prefix: guarded()})
    return site


def test_a_signed_request_is_accepted_by_an_application_mounted_in_flask(battery):
    site, count = in_flask(), share(100, 40)
    for sent in random_signed(by_botocore, count, "/lambda"):
        response = call(site, sent.environ())
        assert response.status == 200, (sent, response.body)
        assert is_accepted(response, sent)
    battery.record("SigV4, mounted in Flask", accepted=count)


# AWS's published vectors


def of_the_suite(vector, token=sigv4_vectors.TOKEN):
    keys = {sigv4_vectors.KEY: (sigv4_vectors.SECRET, token if "X-Amz-Security-Token" in vector.headers else "")}
    return SigV4Middleware(signed_site.plain, keys, "us-east-1", "service", clock=sigv4_vectors.WHEN.timestamp)


@pytest.mark.parametrize("name", sigv4_vectors.PASSED)
def test_a_published_vector_is_accepted(name):
    vector = sigv4_vectors.PASSED[name]
    assert code(call(of_the_suite(vector), vector.sent.environ())) == sigv4_vectors.KEY


@pytest.mark.parametrize("name", sigv4_vectors.REFUSED)
def test_a_published_vector_that_no_client_for_lambda_sends_is_refused(name):
    _, vector = sigv4_vectors.REFUSED[name]
    assert code(call(of_the_suite(vector), vector.sent.environ())) == "InvalidSignatureException"


ALL = sigv4_vectors.PASSED | {name: vector for name, (_, vector) in sigv4_vectors.REFUSED.items()}
ENCODED = [
    name for name, vector in ALL.items() if re.fullmatch("[!-~]+", vector.target)
]  # the signers accept no others


@pytest.mark.parametrize(
    "sign", [by_botocore, partial(by_awscrt, use_double_uri_encode=False)], ids=["botocore", "awscrt"]
)
@pytest.mark.parametrize("name", ENCODED)
def test_the_signers_make_the_same_signature_as_the_vector(sign, name):
    vector = ALL[name]
    sent = vector.unsigned
    token = sent.headers.pop("X-Amz-Security-Token", None) if "x-amz-security-token" in vector.signed else None
    sent.headers.pop("X-Amz-Security-Token", None)
    signed = sign(sent, sigv4_vectors.KEY, sigv4_vectors.SECRET, token, when=sigv4_vectors.WHEN, service="service")
    assert signed.headers["Authorization"] == vector.sent.headers["Authorization"]


def test_the_published_presigned_vector_is_accepted():
    sent = by_botocore(
        sigv4_vectors.PASSED["get-vanilla"].unsigned,
        sigv4_vectors.KEY,
        sigv4_vectors.SECRET,
        when=sigv4_vectors.WHEN,
        expires=3600,
        service="service",
    )
    assert sent.target.endswith(f"X-Amz-Signature={sigv4_vectors.PRESIGNED}")
    assert code(call(of_the_suite(sigv4_vectors.PASSED["get-vanilla"]), sent.environ())) == sigv4_vectors.KEY


def test_every_published_vector_is_accepted_refused_or_listed_as_not_http(battery):
    rules = Counter(rule for rule, _ in sigv4_vectors.REFUSED.values()) + Counter(sigv4_vectors.NOT_HTTP.values())
    battery.record(
        "SigV4, AWS's vectors", passed=len(sigv4_vectors.PASSED) + 1, **{f"not sent ({n})": r for r, n in rules.items()}
    )
    assert len(sigv4_vectors.PASSED) + sum(rules.values()) == 31


# Forged requests

BLANKS = re.compile("[ \t\n\r\x0b\x0c]+")


def meaning(sent):
    """Return a request in a form that is equal only for requests between which AWS's rules make no difference.

    These make no difference: names of headers in another case, or with ``_`` for ``-`` (WSGI has one name for both);
    the number of blanks inside a header's value or around the commas of Authorization; the order and spelling of
    parameters (``%7E`` and ``~``, ``+`` and ``%20``, ``a`` and ``a=``); an empty path and ``/``.
    """
    path, _, query = sent.target.partition("?")
    pairs = [pair.partition("=") for pair in query.split("&")] if query else []
    headers = {}
    for name, value in sent.headers.items():
        words = BLANKS.sub(" ", value).strip(" ")
        if name.lower() == "authorization":
            words = re.sub(" ?, ?", ",", words)
        headers[name.lower().replace("_", "-")] = words
    return (
        sent.method,
        path or "/",
        sorted((spelt(name), spelt(value)) for name, _, value in pairs),
        headers,
        BLANKS.sub(" ", sent.host).strip(" "),
        sent.body,
    )


def spelt(text):
    return unquote_to_bytes(text.replace("+", " ").encode("latin-1"))


class Forger:
    """Changes of a signed request: every byte of it, one at a time, and some larger ones."""

    CHARACTERS = [chr(number) for number in (*range(0x20, 0x7F), *range(0x80, 0x100))]

    def __init__(self, seed):
        self._random = random.Random(seed)

    def of(self, sent):
        """Yield (changed part, changed request) for every byte that is signed."""
        for part in ("method", "target", "host"):
            yield from ((part, sent.but(**{part: text})) for text in self._changed(getattr(sent, part)))
        for index in range(len(sent.body)):
            body = bytearray(sent.body)
            body[index] ^= self._random.randrange(1, 256)
            yield "body", sent.but(body=bytes(body))
        for name, value in sent.headers.items():
            if name.lower() in ("user-agent", "x-amzn-trace-id"):
                continue
            for text in self._changed(value):
                yield name.lower(), sent.but(headers={**sent.headers, name: text})
            for text in self._changed(name):
                yield (
                    "names",
                    sent.but(headers={text if key == name else key: sent.headers[key] for key in sent.headers}),
                )
        yield from self._otherwise(sent)

    def _changed(self, text):
        for index, character in enumerate(text):
            other = self._random.choice(self.CHARACTERS)
            instead = self._random.choice([other, other, "", character * 2, character.swapcase()])
            if instead == character:
                instead = ""
            yield text[:index] + instead + text[index + 1 :]

    def _otherwise(self, sent):
        path, question, query = sent.target.partition("?")
        more = "&" if question else "?"
        yield "body", sent.but(body=sent.body + b" ")
        yield "body", sent.but(body=b"" if sent.body else b"{}")
        for pair in ("Qualifier=2", "X-Amz-Signature=0", "X-Amz-Expires=1", "x-amz-date=1", "=", ""):
            yield "target", sent.but(target=f"{sent.target}{more}{pair}")
        for change in (f"/{path}", f"{path}/", f"/x/..{path}", f"/.{path}", path.replace("/", "%2F"), quote(path)):
            yield "target", sent.but(target=f"{change}{question}{query}")
        for pair in query.split("&") if query else []:
            yield "target", sent.but(target=f"{sent.target}&{pair}")
            rest = "&".join(other for other in query.split("&") if other != pair)
            yield "target", sent.but(target=f"{path}?{rest}")
        for name, value in sent.headers.items():
            if name.lower() not in ("user-agent", "x-amzn-trace-id"):
                yield "names", sent.but(headers={key: sent.headers[key] for key in sent.headers if key != name})
                yield name.lower(), sent.but(headers={**sent.headers, name: f"{value},{value}"})
        for name in ("X-Amz-Invocation-Type", "X-Amz-Security-Token", "X-Amz-Content-Sha256", "X-Amz-Date"):
            if name.lower() not in {key.lower() for key in sent.headers}:
                yield "names", sent.but(headers={**sent.headers, name: "Event"})


def test_no_forged_request_is_accepted(battery):
    middleware, requests, forger = guarded(), Random(SEED + 2), Forger(SEED)
    refused, equal = Counter(), Counter()
    for number in range(share(80, 8)):
        sign = by_awscrt if number % 3 == 2 else by_botocore
        request = requests.request()
        request.body = request.body[:30]
        sent = requests.signed(request, sign)
        assert is_accepted(call(middleware, sent.environ()), sent)
        for part, forged in forger.of(sent):
            response = call(middleware, forged.environ())
            if meaning(forged) == meaning(sent):
                equal[part] += 1
                assert is_accepted(response, forged), (sent, forged, response.body)
            else:
                refused[part] += 1
                assert response.status in (400, 403), (part, sent, forged)
                assert response.headers["x-amzn-errortype"].endswith("Exception")
    battery.record(
        "SigV4, forged", accepted=0, refused=refused.total(), equal=equal.total(), **refused, equals=dict(equal)
    )
    assert refused.total() >= share(20_000, 2_000)


ODD = [
    *"% %z %ff %00 + & = && == ; # ? / // /../ * , ,, : :: \x00 \r\n \x7f \xe9 \xff \u6f22 \ud800".split(" "),
    *(
        "",
        " ",
        "\t",
        "0",
        "-1",
        "9" * 5000,
        "a" * 70_000,
        "AWS4-HMAC-SHA256",
        "Credential=",
        "Signature=,SignedHeaders=,",
    ),
    *(
        "20261124T120000Z",
        "99999999T999999Z",
        "UNSIGNED-PAYLOAD",
        "X-Amz-Signature=1",
        "X-Amz-Expires=\u0661",
        "aws4_request",
    ),
]
KEYS_OF_ENVIRON = (
    "HTTP_AUTHORIZATION HTTP_X_AMZ_DATE HTTP_X_AMZ_SECURITY_TOKEN HTTP_X_AMZ_CONTENT_SHA256 HTTP_X_AMZ_ HTTP_HOST "
    "HTTP_ QUERY_STRING PATH_INFO SCRIPT_NAME RAW_URI REQUEST_URI REQUEST_METHOD CONTENT_LENGTH CONTENT_TYPE"
).split()


def test_a_damaged_request_gets_a_documented_response(battery, caplog):
    """One or more parts of a signed request are replaced, doubled, cut or mixed with odd text."""
    caplog.set_level(logging.CRITICAL)
    middleware, requests, choose = guarded(), Random(SEED + 4), random.Random(SEED)
    statuses = Counter()
    for _ in range(share(20_000, 1_500)):
        environ = requests.signed(requests.request()).environ()
        for key in choose.sample(KEYS_OF_ENVIRON, choose.choice([1, 1, 2, 4])):
            text, odd = environ.get(key, ""), choose.choice(ODD)
            at = choose.randrange(len(text) + 1)
            environ[key] = choose.choice([odd, text[:at] + odd + text[at:], text[:at], text + text, f"{text},{text}"])
        response = call(middleware, environ)
        statuses[response.status] += 1
        assert response.status in (200, 400, 403, 413), (environ, response.body)
        if response.status != 200:
            assert UUID.fullmatch(response.headers["x-amzn-requestid"])
            assert "\n" not in message(response)
    battery.record("SigV4, damaged", wrong=0, **{str(status): count for status, count in statuses.items()})


# Time


def sent_after(seconds, **options):
    """Return the response to a request that arrives ``seconds`` after it was signed."""
    sent = by_botocore(Sent("POST", HELLO), **options)
    clock = options.get("when", NOON) + timedelta(seconds=seconds)
    return call(guarded(clock=clock.timestamp), sent.environ())


@pytest.mark.parametrize("seconds", [0, 299, 300, -299, -300])
def test_a_signature_is_valid_five_minutes_before_and_after_its_date(seconds):
    assert code(sent_after(seconds)) == KEY


@pytest.mark.parametrize("seconds", [301, 302, 3600, 86_400, 10**9])
def test_an_older_signature_has_expired(seconds):
    response = sent_after(seconds)
    assert (response.status, code(response)) == (403, "InvalidSignatureException")
    assert message(response).startswith("Signature expired: 20261124T120000Z is now earlier than 20")
    assert message(response).endswith(" - 5 min.)")


def test_the_message_about_an_expired_signature_is_that_of_aws():
    assert message(sent_after(301)) == (
        "Signature expired: 20261124T120000Z is now earlier than 20261124T120001Z (20261124T120501Z - 5 min.)"
    )


def test_the_message_about_a_future_signature_is_that_of_aws():
    response = sent_after(-301)
    assert (response.status, code(response)) == (403, "InvalidSignatureException")
    assert message(response) == (
        "Signature not yet current: 20261124T120000Z is still later than 20261124T115959Z (20261124T115459Z + 5 min.)"
    )


@pytest.mark.parametrize("expires", [1, 3600, 604_800])
@pytest.mark.parametrize(
    ("late", "accepted"), [(0, True), (-1, True), (1, False)], ids=["at its end", "a second before", "a second after"]
)
def test_a_presigned_request_is_valid_until_it_expires(expires, late, accepted):
    assert (code(sent_after(expires + late, expires=expires)) == KEY) is accepted


@pytest.mark.parametrize(("seconds", "accepted"), [(-300, True), (-301, False)])
def test_a_presigned_request_is_not_valid_before_its_date(seconds, accepted):
    assert (code(sent_after(seconds, expires=3600)) == KEY) is accepted


@pytest.mark.parametrize("expires", [604_801, 1_000_000, 10**12, -1])
def test_a_presigned_request_for_more_than_a_week_is_refused(expires):
    assert code(sent_after(0, expires=expires)) == "IncompleteSignatureException"


BEFORE_MIDNIGHT = datetime(2026, 11, 24, 23, 59, 59, tzinfo=timezone.utc)


@pytest.mark.parametrize("seconds", [0, 1, 2, 300])
def test_a_signature_of_the_day_before_is_valid_after_midnight(seconds):
    assert code(sent_after(seconds, when=BEFORE_MIDNIGHT)) == KEY


@pytest.mark.parametrize("seconds", [-1, -300])
def test_a_signature_of_the_next_day_is_valid_before_midnight(seconds):
    assert code(sent_after(seconds, when=BEFORE_MIDNIGHT + timedelta(seconds=1))) == KEY


@pytest.mark.parametrize("day", ["20261123", "20261125", "20251124", "2026112"])
def test_the_day_of_the_scope_must_be_the_day_of_the_date(day):
    sent = by_botocore(Sent("POST", HELLO))
    sent.headers["Authorization"] = sent.headers["Authorization"].replace("/20261124/", f"/{day}/")
    response = call(guarded(), sent.environ())
    assert code(response) == "InvalidSignatureException"
    assert f"'{day}' != '20261124', from '20261124T120000Z'." in message(response)


@pytest.mark.parametrize(
    "date",
    [
        "",
        "20261124",
        "2026-11-24T12:00:00Z",
        "20261324T120000Z",
        "20261124T120060Z",
        "20261124T120000",
        "00000101T000000Z",
        "Tue, 24 Nov 2026 12:00:00 GMT",
        "\u0662" * 8 + "T120000Z",
        "20261124T120000Z,20261124T120000Z",
    ],
)
def test_a_date_that_is_not_valid_is_refused(date):
    sent = by_botocore(Sent("POST", HELLO))
    sent.headers["X-Amz-Date"] = date
    assert code(call(guarded(), sent.environ())) in ("IncompleteSignatureException", "InvalidSignatureException")


# Refused requests


def header(**changes):
    """Return a valid request with changed parameters of its Authorization. None removes a parameter."""
    sent = by_botocore(Sent("POST", HELLO))
    algorithm, _, rest = sent.headers["Authorization"].partition(" ")
    fields = dict(part.split("=", 1) for part in rest.split(", ")) | changes
    parts = ", ".join(f"{name}={value}" for name, value in fields.items() if value is not None)
    return sent.but(headers={**sent.headers, "Authorization": f"{algorithm} {parts}"})


def with_headers(**headers):
    """Return a valid request with headers that were added after it was signed."""
    sent = by_botocore(Sent("POST", HELLO))
    return sent.but(headers={**sent.headers, **{name.replace("_", "-"): value for name, value in headers.items()}})


def signed(headers=None, body=b"", **options):
    return by_botocore(Sent("POST", HELLO, headers or {}, body), **options)


def presigned(change=lambda target: target, **options):
    sent = by_botocore(Sent("POST", HELLO), expires=60, **options)
    return sent.but(target=change(sent.target))


def without(sent, *names):
    return sent.but(headers={name: value for name, value in sent.headers.items() if name not in names})


SCOPE = "20261124/us-east-1/lambda/aws4_request"
TWICE = by_botocore(Sent("POST", HELLO)).headers["Authorization"]
REFUSED = {
    "no signature": (Sent("POST", HELLO), "MissingAuthenticationTokenException"),
    "no signature, but a token": (
        Sent("POST", HELLO, {"X-Amz-Security-Token": TOKEN}),
        "MissingAuthenticationTokenException",
    ),
    "only a date in the query": (Sent("POST", f"{HELLO}?X-Amz-Date=1"), "MissingAuthenticationTokenException"),
    "an empty Authorization": (Sent("POST", HELLO, {"Authorization": ""}), "IncompleteSignatureException"),
    "another scheme": (Sent("POST", HELLO, {"Authorization": "Bearer abc"}), "IncompleteSignatureException"),
    "basic": (Sent("POST", HELLO, {"Authorization": "Basic QUtJRDpzZWNyZXQ="}), "IncompleteSignatureException"),
    "no credential": (header(Credential=None), "IncompleteSignatureException"),
    "no signed headers": (header(SignedHeaders=None), "IncompleteSignatureException"),
    "no signature in it": (header(Signature=None), "IncompleteSignatureException"),
    "an empty signature": (header(Signature=""), "IncompleteSignatureException"),
    "a parameter too many": (header(Extra="1"), "IncompleteSignatureException"),
    "a credential of four parts": (
        header(Credential=f"{KEY}/20261124/us-east-1/lambda"),
        "IncompleteSignatureException",
    ),
    "a credential of six parts": (header(Credential=f"a/{KEY}/{SCOPE}"), "IncompleteSignatureException"),
    "no key id": (header(Credential=f"/{SCOPE}"), "IncompleteSignatureException"),
    "Authorization twice": (with_headers(Authorization=f"{TWICE},{TWICE}"), "IncompleteSignatureException"),
    "no date": (without(signed(), "X-Amz-Date"), "IncompleteSignatureException"),
    "another algorithm": (
        with_headers(Authorization=TWICE.replace("AWS4-HMAC-SHA256", "AWS4-ECDSA-P256-SHA256")),
        "IncompleteSignatureException",
    ),
    "header and query": (
        presigned().but(headers=signed().headers),
        "IncompleteSignatureException",
    ),
    "presigned, a parameter missing": (
        presigned(lambda target: re.sub("X-Amz-Expires=60&", "", target)),
        "IncompleteSignatureException",
    ),
    "presigned, a parameter twice": (
        presigned(lambda target: f"{target}&X-Amz-Expires=60"),
        "IncompleteSignatureException",
    ),
    "presigned, another algorithm": (
        presigned(lambda target: target.replace("AWS4-HMAC-SHA256", "AWS4-HMAC-SHA1")),
        "IncompleteSignatureException",
    ),
    "presigned, an encoded name": (
        presigned(lambda target: f"{target}&X-Amz%2DSignature=0"),
        "IncompleteSignatureException",
    ),
    "another region": (signed(region="eu-west-1"), "InvalidSignatureException"),
    "another service": (signed(service="s3"), "InvalidSignatureException"),
    "another terminator": (header(Credential=f"{KEY}/{SCOPE[:-1]}"), "InvalidSignatureException"),
    "a wrong secret": (signed(secret="wrong"), "InvalidSignatureException"),
    "an unknown key": (signed(key="AKIDEVE"), "InvalidSignatureException"),
    "a signature in capitals": (
        with_headers(Authorization=TWICE[:-64] + TWICE[-64:].upper()),
        "InvalidSignatureException",
    ),
    "a signature that is not ASCII": (header(Signature="\xe9" * 64), "InvalidSignatureException"),
    "an unsigned host": (header(SignedHeaders="x-amz-date"), "InvalidSignatureException"),
    "an unsigned date": (header(SignedHeaders="host"), "InvalidSignatureException"),
    "signed headers in disorder": (header(SignedHeaders="x-amz-date;host"), "InvalidSignatureException"),
    "a signed header twice": (header(SignedHeaders="host;host;x-amz-date"), "InvalidSignatureException"),
    "a signed header in capitals": (header(SignedHeaders="Host;x-amz-date"), "InvalidSignatureException"),
    "a signed header that is missing": (header(SignedHeaders="host;range;x-amz-date"), "InvalidSignatureException"),
    "an added x-amz header": (with_headers(X_Amz_Invocation_Type="Event"), "InvalidSignatureException"),
    "an added x-amz header, presigned": (
        presigned().but(headers={"X-Amz-Invocation-Type": "Event"}),
        "InvalidSignatureException",
    ),
    "an added session token": (with_headers(X_Amz_Security_Token=TOKEN), "InvalidSignatureException"),
    "a removed header": (without(signed({"X-Amz-Log-Type": "Tail"}), "X-Amz-Log-Type"), "InvalidSignatureException"),
    "an unsigned payload": (signed({"X-Amz-Content-SHA256": "UNSIGNED-PAYLOAD"}), "InvalidSignatureException"),
    "a streamed payload": (
        signed({"X-Amz-Content-SHA256": "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"}),
        "InvalidSignatureException",
    ),
    "a streamed payload without a signature": (
        signed({"X-Amz-Content-SHA256": "STREAMING-UNSIGNED-PAYLOAD-TRAILER"}),
        "InvalidSignatureException",
    ),
    "a hash of another body": (signed({"X-Amz-Content-SHA256": "0" * 64}), "InvalidSignatureException"),
    "another body": (signed(body=b"{}").but(body=b"{ }"), "InvalidSignatureException"),
    "a key's token missing": (signed(key=TEMPORARY), "UnrecognizedClientException"),
    "another token": (signed(key=TEMPORARY, token="another"), "UnrecognizedClientException"),
    "a token for a key without": (signed(token=TOKEN), "UnrecognizedClientException"),
    "presigned, a key's token missing": (presigned(key=TEMPORARY), "UnrecognizedClientException"),
    "presigned, another token": (presigned(key=TEMPORARY, token="another"), "UnrecognizedClientException"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_request_is_refused_with_the_error_of_aws(name, caplog):
    sent, expected = REFUSED[name]
    called = []
    middleware = guarded(lambda *_: called.append(_))
    with caplog.at_level(logging.DEBUG):
        response = call(middleware, sent.environ())
    assert (response.status, response.headers["x-amzn-errortype"]) == (403, expected)
    assert response.headers["content-type"] == "application/json"
    assert int(response.headers["content-length"]) == len(response.body)
    assert UUID.fullmatch(response.headers["x-amzn-requestid"])
    assert list(json.loads(response.body)) == ["message"]
    assert called == []
    assert_no_secret_is_shown(sent, response, caplog)


def assert_no_secret_is_shown(sent, response, caplog):
    """Neither the log nor the response contains a secret, token, signature, hash or canonical request."""
    shown = "\n".join([caplog.text, str([vars(record) for record in caplog.records]), response.body.decode()])
    assert SECRET not in shown
    assert TOKEN not in shown
    assert not re.search("[0-9a-f]{64}", shown)
    assert "aws4_request\n" not in shown


def test_an_unknown_key_and_a_wrong_signature_get_the_same_response():
    responses = [call(guarded(), signed(**wrong).environ()) for wrong in ({"key": "AKIDEVE"}, {"secret": "wrong"})]
    for response in responses:
        del response.headers["x-amzn-requestid"]
    assert responses[0] == responses[1]
    assert message(responses[0]).startswith(MISMATCH)


class Counting:
    """The standard library's hmac, with a count of its digests."""

    compare_digest = staticmethod(hmac.compare_digest)

    def __init__(self):
        self.calls = 0

    def digest(self, key, text, kind):
        self.calls += 1
        return hmac.digest(key, text, kind)


@pytest.mark.parametrize("wrong", [{"key": "AKIDEVE"}, {"secret": "wrong"}, {}], ids=["key", "signature", "nothing"])
def test_an_unknown_key_takes_as_many_hashes_as_a_wrong_signature(monkeypatch, wrong):
    sent, counting = signed(**wrong), Counting()
    monkeypatch.setattr(signature, "hmac", counting)
    call(guarded(), sent.environ())
    assert counting.calls == 5


def test_the_log_has_the_reason_and_the_request_id(caplog):
    with caplog.at_level(logging.INFO):
        responses = [call(guarded(), signed(**wrong).environ()) for wrong in ({"key": "AKIDEVE"}, {"secret": "wrong"})]
    assert [record.getMessage() for record in caplog.records] == [
        "request refused: InvalidSignatureException: key AKIDEVE: the key is unknown",
        "request refused: InvalidSignatureException: key AKIDADA: the signature differs",
    ]
    assert [record.request_id for record in caplog.records] == [a.headers["x-amzn-requestid"] for a in responses]


@pytest.mark.parametrize(
    "name", ["X-Amzn-Trace-Id", "User-Agent", "Expect", "Connection", "Transfer-Encoding", "Accept"]
)
def test_headers_that_sdks_never_sign_may_be_added_by_proxies(name):
    assert code(call(guarded(), with_headers(**{name: "anything"}).environ())) == KEY


def test_the_header_date_is_ignored():
    assert code(call(guarded(), with_headers(Date="Tue, 24 Nov 2020 12:00:00 GMT").environ())) == KEY


# Credentials


@pytest.mark.parametrize(
    "credentials",
    [
        {KEY: SECRET},
        {KEY: (SECRET, None)},
        {KEY: Credential(SECRET, name=KEY)},
        {KEY: SECRET}.get,
        {KEY: SECRET}.__getitem__,
        lambda key: Credential(SECRET) if key == KEY else None,
    ],
    ids=[
        "secrets",
        "pairs",
        "credentials",
        "a callable",
        "a callable that raises",
        "a callable that makes credentials",
    ],
)
def test_credentials_may_be_a_mapping_or_a_callable(credentials):
    middleware = guarded(credentials=credentials)
    assert code(call(middleware, signed().environ())) == KEY
    assert code(call(middleware, signed(key="AKIDEVE").environ())) == "InvalidSignatureException"


def test_a_mapping_may_change():
    keys = {}
    middleware = guarded(credentials=keys)
    assert code(call(middleware, signed().environ())) == "InvalidSignatureException"
    keys[KEY] = SECRET
    assert code(call(middleware, signed().environ())) == KEY


def test_a_failure_of_the_credentials_is_a_500_and_accepts_no_request(caplog):
    def fails(key):
        raise RuntimeError("no database")

    response = call(guarded(credentials=fails), signed().environ())
    assert (response.status, response.headers["x-amzn-errortype"]) == (500, "ServiceException")
    assert "no database" not in response.body.decode()
    assert "no database" in caplog.text


def test_credentials_that_call_exit_end_only_their_request():
    """An uncaught ``sys.exit(3)`` would stop gunicorn's master."""

    def leaves(key):
        sys.exit(3)

    assert call(guarded(credentials=leaves), signed().environ()).status == 500


@pytest.mark.parametrize("secret", ["", ("", TOKEN)])
def test_an_empty_secret_accepts_no_request(secret):
    response = call(guarded(credentials={KEY: secret}), by_awscrt(Sent("POST", HELLO), secret="x").environ())
    assert response.status == 500


def test_any_application_finds_the_principal_in_the_environ():
    principals = []

    def application(environ, start_response):
        principals.append(environ["serverfull.principal"])
        start_response("200 OK", [])
        return []

    keys = {KEY: Credential(SECRET, name="ada")}
    call(guarded(application, keys, account_id="111122223333"), signed().environ())
    (principal,) = principals
    assert (str(principal), principal.access_key_id) == ("ada", KEY)
    assert principal.arn == "arn:aws:iam::111122223333:user/ada"
    assert SECRET not in repr(principal)
    assert SECRET not in repr(keys)


# The path as the client sent it


def test_without_the_raw_path_a_plain_path_is_verified():
    assert code(call(guarded(), signed().environ(RAW_URI=None))) == KEY


@pytest.mark.parametrize("label", ["hello%3A1", "hello:1", "%24default", "$default", "a%20b", "%E6%BC%A2", "a%252Fb"])
@pytest.mark.parametrize("mount", ["", "/lambda", "/a%20lambda/here"])
def test_without_the_raw_path_the_usual_encodings_of_a_path_are_verified(mount, label):
    sent = by_botocore(Sent("POST", f"{mount}/2015-03-31/functions/{label}/invocations"))
    assert code(call(guarded(), sent.environ(mount.replace("%20", " "), RAW_URI=None))) == KEY


@pytest.mark.parametrize("label", ["a%2Fb", "%68ello", "a%3ab", "hello%3A1:2"])
def test_without_the_raw_path_another_encoding_is_refused(label):
    sent = by_botocore(Sent("POST", f"/2015-03-31/functions/{label}/invocations"))
    assert code(call(guarded(), sent.environ(RAW_URI=None))) == "InvalidSignatureException"


def test_a_path_that_a_middleware_changed_is_refused_and_logged_once(caplog):
    middleware = guarded()
    for _ in range(2):
        response = call(middleware, signed().environ(RAW_URI="/2015-03-31/functions/other/invocations"))
        assert code(response) == "InvalidSignatureException"
    (line,) = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert line.startswith("cannot verify a signature: a proxy or a middleware changed the path")


@pytest.mark.parametrize("label", ["hello%3A1", "hello:1", "a%20b", "a%2Fb", "%68ello", "%E6%BC%A2"])
@pytest.mark.parametrize(
    "shown",
    [
        lambda target: {"RAW_URI": target},
        lambda target: {"RAW_URI": None, "REQUEST_URI": target},
        lambda target: {"RAW_URI": f"http://127.0.0.1:8080{target}"},
        lambda target: {"RAW_URI": f"HTTPS://127.0.0.1:8080{target}"},
    ],
    ids=["RAW_URI", "REQUEST_URI", "a whole URL", "in capitals"],
)
@pytest.mark.parametrize("mount", ["", "/lambda", "/a%20lambda/here"])
def test_the_sent_path_is_verified_below_any_mount(label, shown, mount):
    sent = by_botocore(Sent("POST", f"{mount}/2015-03-31/functions/{label}/invocations?Qualifier=%24LATEST"))
    environ = sent.environ(mount.replace("%20", " "), **shown(sent.target))
    assert code(call(guarded(), environ)) == KEY


@pytest.mark.parametrize(
    "changed",
    [
        {"PATH_INFO": "/2015-03-31/functions/other/invocations"},
        {"SCRIPT_NAME": "/lambda"},
        {"RAW_URI": "/2015-03-31/functions/other/invocations"},
        {"RAW_URI": HELLO + "%2F"},
        {"RAW_URI": HELLO + "#fragment"},
        {"RAW_URI": "//evil" + HELLO},
        {"PATH_INFO": "\u6f22"},
        {"QUERY_STRING": "Qualifier=\u6f22"},
    ],
)
def test_a_path_that_differs_from_the_signed_one_is_refused(changed):
    assert code(call(guarded(), signed().environ(**changed))) == "InvalidSignatureException"


# Bodies


class Endless(io.RawIOBase):
    """An endless body that records how many bytes were read."""

    def __init__(self):
        self.largest_read, self.total = 0, 0

    def read(self, size=-1):
        assert size >= 0, "a read without a size"
        self.largest_read, self.total = max(self.largest_read, size), self.total + size
        return b"x" * size


@pytest.mark.parametrize("length", [str(10**9), None], ids=["declared", "chunked"])
def test_a_body_over_the_limit_is_not_kept_in_memory(length):
    body = Endless()
    environ = signed().environ(**{"wsgi.input": body, "wsgi.input_terminated": True, "CONTENT_LENGTH": length})
    response = call(guarded(body_limit=1000), environ)
    assert (response.status, code(response)) == (413, "RequestEntityTooLargeException")
    assert message(response) == "Request must be smaller than 1000 bytes for the InvokeFunction operation"
    assert body.largest_read <= 64 * 1024  # at a time; the rest is dropped
    assert body.total < 17 * 1024 * 1024


@pytest.mark.parametrize(("size", "status"), [(999, 200), (1000, 200), (1001, 413)])
@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_may_be_as_long_as_the_limit(size, status, chunked):
    sent = signed(body=b"x" * size)
    changes = {"CONTENT_LENGTH": None, "wsgi.input_terminated": True} if chunked else {}
    assert call(guarded(body_limit=1000), sent.environ(**changes)).status == status


@pytest.mark.parametrize(("size", "status"), [(6_291_456, 200), (6_291_457, 413)])
def test_the_default_limit_is_that_of_lambda(size, status):
    assert call(guarded(), signed(body=b"x" * size).environ()).status == status


class Once(io.BytesIO):
    """A body that must not be read beyond its end: a read from a kept connection would wait for the next request."""

    def __init__(self, body):
        super().__init__(body)
        self._left = len(body)

    def read(self, size=-1):
        assert 0 <= size <= self._left, "this read would wait for the client"
        self._left -= size
        return super().read(size)


@pytest.mark.parametrize("options", [{}, {"secret": "wrong"}, {"region": "eu-west-1"}], ids=["right", "wrong", "early"])
@pytest.mark.parametrize("size", [0, 1, 100_000])
def test_a_body_is_read_to_its_end_and_not_beyond(options, size):
    sent = signed(body=b"x" * size, **options)
    response = call(guarded(), sent.environ(**{"wsgi.input": Once(sent.body)}))
    assert response.status == (403 if options else 200)


def test_a_body_shorter_than_its_length_is_refused():
    response = call(guarded(), signed(body=b"{}").environ(CONTENT_LENGTH="9"))
    assert (response.status, code(response)) == (400, "InvalidRequestContentException")


def test_bytes_after_the_content_length_are_ignored():
    sent = signed(body=b"{}")
    response = call(guarded(), sent.environ(**{"wsgi.input": io.BytesIO(b"{} and more")}))
    assert is_accepted(response, sent)


# Open paths


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_the_health_check_is_open(method):
    assert call(guarded(), Sent(method, "/healthcheck").environ()).status == 200


@pytest.mark.parametrize(
    ("method", "target"),
    [
        ("POST", "/healthcheck"),
        ("GET", "/"),
        ("GET", "/healthcheck/"),
        ("GET", "/healthcheck/x"),
        ("GET", "//healthcheck"),
        ("GET", "/Healthcheck"),
        ("GET", f"{HELLO}?/healthcheck"),
        ("OPTIONS", HELLO),
        ("GET", "/lambda/healthcheck"),
    ],
)
def test_every_other_path_needs_a_signature(method, target):
    assert code(call(guarded(), Sent(method, target).environ())) == "MissingAuthenticationTokenException"


def test_other_open_paths_replace_the_health_check():
    middleware = guarded(open_paths=["/about", "/status"])
    assert [call(middleware, Sent("GET", path).environ()).status for path in ("/about", "/status")] == [200, 200]
    assert call(middleware, Sent("GET", "/healthcheck").environ()).status == 403


# The replay guard


def test_without_a_replay_guard_a_request_may_be_sent_again():
    middleware, sent = guarded(), signed()
    assert [call(middleware, sent.environ()).status for _ in range(3)] == [200] * 3


@pytest.mark.parametrize("make", [signed, partial(presigned, token=None)], ids=["header", "presigned"])
def test_a_replay_guard_accepts_a_signature_once(make):
    middleware, sent = guarded(replay_guard=10), make()
    responses = [call(middleware, sent.environ()) for _ in range(3)]
    assert [code(response) for response in responses] == [KEY] + ["InvalidSignatureException"] * 2
    assert message(responses[1]) == "The signature was used already; sign the request again."


def test_a_replay_guard_recognises_a_request_in_another_spelling():
    middleware = guarded(replay_guard=10)
    sent = by_botocore(Sent("POST", f"{HELLO}?Qualifier=a-b"))
    assert code(call(middleware, sent.environ())) == KEY
    again = sent.but(target=f"{HELLO}?Qualifier=a%2db")
    assert code(call(guarded(), again.environ())) == KEY
    assert code(call(middleware, again.environ())) == "InvalidSignatureException"


def test_a_replay_guard_forgets_only_expired_signatures():
    clock = SimpleNamespace(now=NOON)
    middleware = guarded(replay_guard=2, clock=lambda: clock.now.timestamp())

    def send_one(number):
        return call(middleware, signed({"X-Amz-Number": str(number)}, when=clock.now).environ())

    assert [send_one(number).status for number in range(3)] == [200, 200, 429]
    clock.now += timedelta(seconds=300)
    assert send_one(3).status == 429
    clock.now += timedelta(seconds=1)
    assert [send_one(number).status for number in range(4, 7)] == [200, 200, 429]


def test_a_replay_guard_does_not_remember_wrong_signatures():
    middleware = guarded(replay_guard=1)
    assert [call(middleware, signed(secret="wrong").environ()).status for _ in range(3)] == [403] * 3
    assert call(middleware, signed().environ()).status == 200


def test_a_replay_guard_accepts_one_of_many_simultaneous_requests():
    middleware, sent = guarded(replay_guard=100), signed()
    start, statuses = threading.Barrier(8), []

    def send_it():
        start.wait()
        statuses.append(call(middleware, sent.environ()).status)

    threads = [threading.Thread(target=send_it) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(statuses) == [200] + [403] * 7


SECRET_OF = {KEY: SECRET, **{f"AKID{number}": f"secret-{number}" for number in range(5)}}


def numbered(number, key="AKIDADA", name="hello", **options):
    target = f"/2015-03-31/functions/{name}/invocations"
    return by_botocore(Sent("POST", target, {"X-Amz-Number": str(number)}), key, SECRET_OF[key], **options)


def test_a_key_that_fills_the_replay_guard_does_not_lock_out_the_others():
    middleware = guarded(credentials=SECRET_OF, replay_guard=12)

    def accepted(key):
        return [call(middleware, numbered(n, key).environ()).status for n in range(20)].count(200)

    assert accepted("AKID0") == 12  # one key may use the whole guard
    assert accepted(KEY) == 6
    assert accepted("AKID1") == 4
    assert accepted("AKID0") == 0


def test_a_replay_guard_smaller_than_the_number_of_keys_accepts_one_request_of_each():
    middleware = guarded(credentials=SECRET_OF, replay_guard=2)
    statuses = [[call(middleware, numbered(n, key).environ()).status for n in range(2)] for key in SECRET_OF]
    assert statuses == [[200, 200]] + [[200, 429]] * 5


@pytest.mark.parametrize(
    "refused",
    [
        numbered(1, name="other"),
        numbered(1, name="hello:2"),
        numbered(1, name="arn:aws:lambda:us-east-1:123456789012:function:other"),
        by_botocore(Sent("POST", "/2015-03-31/functions/hello/invocations?Qualifier=2")),
        by_botocore(Sent("POST", "/2015-03-31/functions/hello/invocations", {"X-Amz-Invocation-Type": "Event"})),
        by_botocore(Sent("POST", "/2014-11-13/functions/hello/invoke-async/")),
        by_botocore(Sent("GET", "/serverfull/events")),
    ],
)
def test_a_request_that_the_key_may_not_make_does_not_count_in_the_replay_guard(refused):
    called = []
    ada = Credential(SECRET, functions=["hello:$LATEST"], actions=["invoke"])
    middleware = guarded(lambda *_: called.append(_), credentials={KEY: ada}, replay_guard=1)
    responses = [call(middleware, refused.environ()) for _ in range(3)]
    assert [code(response) for response in responses] == ["AccessDeniedException"] * 3
    assert called == []
    assert call(guarded(credentials={KEY: ada}, replay_guard=1), numbered(1).environ()).status == 200


@pytest.mark.parametrize(("expires", "accepted"), [(3600, True), (3601, False), (604_800, False)])
def test_with_a_replay_guard_a_presigned_request_is_valid_for_an_hour_at_most(expires, accepted):
    sent = by_botocore(Sent("POST", HELLO), when=NOON, expires=expires)
    assert call(guarded(), sent.environ()).status == 200
    response = call(guarded(replay_guard=10), sent.environ())
    assert (response.status == 200) is accepted
    if not accepted:
        assert code(response) == "IncompleteSignatureException"
        assert message(response) == (
            "X-Amz-Expires must be at most 3600 seconds, since this server accepts each signature once."
        )


def test_a_replay_guard_remembers_a_presigned_request_until_it_expires():
    clock = SimpleNamespace(now=NOON)
    middleware = guarded(replay_guard=1, clock=lambda: clock.now.timestamp())
    sent = by_botocore(Sent("POST", HELLO), when=NOON, expires=3600)
    assert call(middleware, sent.environ()).status == 200
    clock.now += timedelta(seconds=3600)
    assert code(call(middleware, sent.environ())) == "InvalidSignatureException"
    assert message(call(middleware, sent.environ())) == "The signature was used already; sign the request again."


# Over a socket, byte by byte


def wire(server, sent, *more, chunked=False, target=None):
    """Send a request byte by byte, as client libraries do not, and return the response."""
    lines = [f"{sent.method} {target or sent.target} HTTP/1.1", f"Host: {sent.host}"]
    lines += [f"{name}: {value}" for name, value in sent.headers.items()]
    if chunked:
        lines.append("Transfer-Encoding: chunked")
        body = b"".join(b"%x\r\n%s\r\n" % (1, sent.body[i : i + 1]) for i in range(len(sent.body))) + b"0\r\n\r\n"
    else:
        lines.append(f"Content-Length: {len(sent.body)}")
        body = sent.body
    head = "\r\n".join([*lines, *more, "Connection: close", "", ""]).encode("latin-1")
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
        connection.sendall(head + body)
        response = http.client.HTTPResponse(connection)
        response.begin()
        return SimpleNamespace(
            status=response.status, headers={k.lower(): v for k, v in response.getheaders()}, body=response.read()
        )


def fresh(target=HELLO, **options):
    return by_botocore(Sent("POST", target, {}, b"{}"), when=now(), **options)


def test_a_valid_request_is_accepted_over_the_wire(server):
    assert code(wire(server, fresh())) == KEY


def test_a_chunked_body_is_verified_like_any_other(server):
    sent = fresh()
    assert wire(server, sent, chunked=True).status == 200
    assert wire(server, sent.but(body=b"{ }"), chunked=True).status == 403


@pytest.mark.parametrize(
    "more",
    [
        "Authorization: AWS4-HMAC-SHA256 Credential=a/b/c/d/e, SignedHeaders=host, Signature=0",
        "authorization: ",
        "X-Amz-Date: 20261124T120000Z",
        "x-amz-date: ",
        "Host: elsewhere",
        "X-Amz-Invocation-Type: Event",
        "X-Amz-Security-Token: token",
    ],
)
def test_a_header_added_by_a_proxy_is_refused(server, more):
    assert wire(server, fresh(), more).status in (400, 403)


def test_a_header_with_underscores_does_not_replace_one_with_hyphens(server):
    """gunicorn drops it. If it passed the header on, the header would need a signature."""
    sent = fresh()
    assert code(wire(server, sent, "X_Amz_Invocation_Type: Event")) in (KEY, "InvalidSignatureException")


@pytest.mark.parametrize(
    "target",
    ["/.{}", "//{}", "/x/..{}", "{}/", "{}?", "{}?&", "{}#x", "{}?Qualifier=1", "http://127.0.0.1:8080{}?a", "{}%20"],
)
def test_another_target_is_refused_over_the_wire(server, target):
    response = wire(server, fresh(), target=target.format(HELLO))
    assert response.status in (400, 403) or target == "{}?"  # an empty query is the same as no query


def test_the_request_line_may_contain_a_whole_url(server):
    assert code(wire(server, fresh(), target=f"http://127.0.0.1:8080{HELLO}")) == KEY


def test_a_client_that_sends_a_large_unsigned_body_can_read_the_error(server):
    """A client sends the whole body before it reads. It would not see a response to a connection closed early."""
    assert wire(server, Sent("POST", HELLO, {}, b"x" * 6_000_000)).status == 403
