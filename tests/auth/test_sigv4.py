"""Who signed this request: what is accepted, what is refused and how, and that nothing forged gets in."""

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
from serverfull_wsgi.wsgi.requests import PAYLOAD_LIMIT
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
    ask,
    by_awscrt,
    by_botocore,
    by_requests_aws4auth,
    message,
    now,
)

HELLO = "/2015-03-31/functions/hello/invocations"
UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
MISMATCH = "The request signature we calculated does not match the signature you provided. "


def guarded(app=signed_site.plain, credentials=signed_site.KEYS, **options):
    return SigV4Middleware(app, credentials, REGION, **{"clock": NOON.timestamp, **options})


def code(answer):
    """What became of a request: who sent it, or the code of its refusal."""
    if answer.status == 200:
        return json.loads(answer.body)["principal"]
    return answer.headers["x-amzn-errortype"]


def is_accepted(answer, sent):
    said = json.loads(answer.body)
    return answer.status == 200 and said["principal"] in signed_site.KEYS and said["body"] == sent.body.hex()


# Whom it lets in

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
def test_what_it_signs_is_accepted(name, battery):
    signer, whole, ordinary = SIGNERS[name]
    middleware, forms = guarded(), Counter()
    for sent in random_signed(signer, share(whole, ordinary)):
        answer = ask(middleware, sent.environ())
        assert answer.status == 200, (sent, answer.body)
        assert is_accepted(answer, sent)
        forms["header" if "Authorization" in sent.headers else "query"] += 1
        forms["session token"] += TOKEN in sent.headers.values() or quote(TOKEN, safe="") in sent.target
    battery.record(f"SigV4, signed by {name}", accepted=forms["header"] + forms["query"], **forms)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """gunicorn in front of the plain application, by the clock on the wall."""
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


def test_what_is_signed_is_accepted_over_a_socket(server, battery):
    requests = Random(SEED + 1, expires=[3600, 604_800])
    count = share(500, 60)
    for _ in range(count):
        sent = requests.signed(requests.request(), when=now())
        answer = send(server, sent)
        assert answer.status == 200, (sent, answer.body)
        assert is_accepted(answer, sent)
    battery.record("SigV4, through gunicorn", accepted=count)


SERVERS = {
    "sync": ("--worker-class", "sync"),
    "gevent": ("--worker-class", "gevent"),
    "preload": ("--threads", "2", "--preload"),
    "waitress": None,
}


@pytest.mark.battery
@pytest.mark.parametrize("name", SERVERS)
def test_every_server_shows_what_was_signed(name, tmp_path):
    """Encoded colons and slashes above all."""
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
    """Flask, with the plain application below a path of it, behind signatures of its own."""
    site = flask.Flask(__name__)
    site.wsgi_app = DispatcherMiddleware(site.wsgi_app, {prefix: guarded()})
    return site


def test_what_is_signed_is_accepted_below_a_path_of_flask(battery):
    site, count = in_flask(), share(100, 40)
    for sent in random_signed(by_botocore, count, "/lambda"):
        answer = ask(site, sent.environ())
        assert answer.status == 200, (sent, answer.body)
        assert is_accepted(answer, sent)
    battery.record("SigV4, mounted in Flask", accepted=count)


# AWS's published vectors


def of_the_suite(vector, token=sigv4_vectors.TOKEN):
    keys = {sigv4_vectors.KEY: (sigv4_vectors.SECRET, token if "X-Amz-Security-Token" in vector.headers else "")}
    return SigV4Middleware(signed_site.plain, keys, "us-east-1", "service", clock=sigv4_vectors.WHEN.timestamp)


@pytest.mark.parametrize("name", sigv4_vectors.PASSED)
def test_a_published_vector_is_accepted(name):
    vector = sigv4_vectors.PASSED[name]
    assert code(ask(of_the_suite(vector), vector.sent.environ())) == sigv4_vectors.KEY


@pytest.mark.parametrize("name", sigv4_vectors.REFUSED)
def test_a_published_vector_that_no_client_for_lambda_sends_is_refused(name):
    _, vector = sigv4_vectors.REFUSED[name]
    assert code(ask(of_the_suite(vector), vector.sent.environ())) == "InvalidSignatureException"


ALL = sigv4_vectors.PASSED | {name: vector for name, (_, vector) in sigv4_vectors.REFUSED.items()}
ENCODED = [name for name, vector in ALL.items() if re.fullmatch("[!-~]+", vector.target)]  # the signers take no others


@pytest.mark.parametrize(
    "sign", [by_botocore, partial(by_awscrt, use_double_uri_encode=False)], ids=["botocore", "awscrt"]
)
@pytest.mark.parametrize("name", ENCODED)
def test_the_vectors_are_as_the_signers_have_them(sign, name):
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
    assert code(ask(of_the_suite(sigv4_vectors.PASSED["get-vanilla"]), sent.environ())) == sigv4_vectors.KEY


def test_how_many_vectors_there_are(battery):
    rules = Counter(rule for rule, _ in sigv4_vectors.REFUSED.values()) + Counter(sigv4_vectors.NOT_HTTP.values())
    battery.record(
        "SigV4, AWS's vectors", passed=len(sigv4_vectors.PASSED) + 1, **{f"not sent ({n})": r for r, n in rules.items()}
    )
    assert len(sigv4_vectors.PASSED) + sum(rules.values()) == 31


# Nothing forged gets in

BLANKS = re.compile("[ \t\n\r\x0b\x0c]+")


def meaning(sent):
    """What a request says, in a form that is the same for requests that AWS's rules hold for equal, and for no others.

    Equal are: names of headers in another case, or with ``_`` for ``-`` (WSGI has one name for both); more or fewer
    blanks where a header's value has some, or around the commas of Authorization; parameters in another order or
    spelling (``%7E`` and ``~``, ``+`` and ``%20``, ``a`` and ``a=``); no path and ``/``.
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
    """Changes a signed request a byte at a time, everywhere, and in other ways that come to mind."""

    CHARACTERS = [chr(number) for number in (*range(0x20, 0x7F), *range(0x80, 0x100))]

    def __init__(self, seed):
        self._random = random.Random(seed)

    def of(self, sent):
        """(what was changed, the changed request), for every byte of what is signed."""
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
        assert is_accepted(ask(middleware, sent.environ()), sent)
        for part, forged in forger.of(sent):
            answer = ask(middleware, forged.environ())
            if meaning(forged) == meaning(sent):
                equal[part] += 1
                assert is_accepted(answer, forged), (sent, forged, answer.body)
            else:
                refused[part] += 1
                assert answer.status in (400, 403), (part, sent, forged)
                assert answer.headers["x-amzn-errortype"].endswith("Exception")
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


def test_whatever_comes_the_answer_is_a_documented_one(battery, caplog):
    """A signed request of which one thing or more was replaced, doubled, cut or spoilt."""
    caplog.set_level(logging.CRITICAL)
    middleware, requests, choose = guarded(), Random(SEED + 4), random.Random(SEED)
    statuses = Counter()
    for _ in range(share(20_000, 1_500)):
        environ = requests.signed(requests.request()).environ()
        for key in choose.sample(KEYS_OF_ENVIRON, choose.choice([1, 1, 2, 4])):
            text, odd = environ.get(key, ""), choose.choice(ODD)
            at = choose.randrange(len(text) + 1)
            environ[key] = choose.choice([odd, text[:at] + odd + text[at:], text[:at], text + text, f"{text},{text}"])
        answer = ask(middleware, environ)
        statuses[answer.status] += 1
        assert answer.status in (200, 400, 403, 413), (environ, answer.body)
        if answer.status != 200:
            assert UUID.fullmatch(answer.headers["x-amzn-requestid"])
            assert "\n" not in message(answer)
    battery.record("SigV4, spoilt", wrong=0, **{str(status): count for status, count in statuses.items()})


# When


def by_the_clock(seconds, **options):
    """What becomes of a request that arrives so many seconds after it was signed."""
    sent = by_botocore(Sent("POST", HELLO), **options)
    clock = options.get("when", NOON) + timedelta(seconds=seconds)
    return ask(guarded(clock=clock.timestamp), sent.environ())


@pytest.mark.parametrize("seconds", [0, 299, 300, -299, -300])
def test_a_signature_is_good_for_five_minutes_either_way(seconds):
    assert code(by_the_clock(seconds)) == KEY


@pytest.mark.parametrize("seconds", [301, 302, 3600, 86_400, 10**9])
def test_an_older_one_has_expired(seconds):
    answer = by_the_clock(seconds)
    assert (answer.status, code(answer)) == (403, "InvalidSignatureException")
    assert message(answer).startswith("Signature expired: 20261124T120000Z is now earlier than 20")
    assert message(answer).endswith(" - 5 min.)")


def test_what_is_said_of_an_expired_signature_is_what_aws_says():
    assert message(by_the_clock(301)) == (
        "Signature expired: 20261124T120000Z is now earlier than 20261124T120001Z (20261124T120501Z - 5 min.)"
    )


def test_what_is_said_of_a_future_signature_is_what_aws_says():
    answer = by_the_clock(-301)
    assert (answer.status, code(answer)) == (403, "InvalidSignatureException")
    assert message(answer) == (
        "Signature not yet current: 20261124T120000Z is still later than 20261124T115959Z (20261124T115459Z + 5 min.)"
    )


@pytest.mark.parametrize("expires", [1, 3600, 604_800])
@pytest.mark.parametrize(
    ("late", "accepted"), [(0, True), (-1, True), (1, False)], ids=["at its end", "a second before", "a second after"]
)
def test_a_presigned_request_is_good_for_as_long_as_it_says(expires, late, accepted):
    assert (code(by_the_clock(expires + late, expires=expires)) == KEY) is accepted


@pytest.mark.parametrize(("seconds", "accepted"), [(-300, True), (-301, False)])
def test_a_presigned_request_is_no_good_before_its_time(seconds, accepted):
    assert (code(by_the_clock(seconds, expires=3600)) == KEY) is accepted


@pytest.mark.parametrize("expires", [604_801, 1_000_000, 10**12, -1])
def test_a_presigned_request_for_more_than_a_week_is_refused(expires):
    assert code(by_the_clock(0, expires=expires)) == "IncompleteSignatureException"


BEFORE_MIDNIGHT = datetime(2026, 11, 24, 23, 59, 59, tzinfo=timezone.utc)


@pytest.mark.parametrize("seconds", [0, 1, 2, 300])
def test_a_signature_of_yesterday_is_good_after_midnight(seconds):
    assert code(by_the_clock(seconds, when=BEFORE_MIDNIGHT)) == KEY


@pytest.mark.parametrize("seconds", [-1, -300])
def test_a_signature_of_tomorrow_is_good_before_midnight(seconds):
    assert code(by_the_clock(seconds, when=BEFORE_MIDNIGHT + timedelta(seconds=1))) == KEY


@pytest.mark.parametrize("day", ["20261123", "20261125", "20251124", "2026112"])
def test_the_day_of_the_scope_is_the_day_of_the_date(day):
    sent = by_botocore(Sent("POST", HELLO))
    sent.headers["Authorization"] = sent.headers["Authorization"].replace("/20261124/", f"/{day}/")
    answer = ask(guarded(), sent.environ())
    assert code(answer) == "InvalidSignatureException"
    assert f"'{day}' != '20261124', from '20261124T120000Z'." in message(answer)


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
def test_what_is_no_date_is_refused(date):
    sent = by_botocore(Sent("POST", HELLO))
    sent.headers["X-Amz-Date"] = date
    assert code(ask(guarded(), sent.environ())) in ("IncompleteSignatureException", "InvalidSignatureException")


# What is refused, and how


def header(**changes):
    """A good Authorization with some of its parameters changed; None takes one out."""
    sent = by_botocore(Sent("POST", HELLO))
    algorithm, _, rest = sent.headers["Authorization"].partition(" ")
    fields = dict(part.split("=", 1) for part in rest.split(", ")) | changes
    parts = ", ".join(f"{name}={value}" for name, value in fields.items() if value is not None)
    return sent.but(headers={**sent.headers, "Authorization": f"{algorithm} {parts}"})


def with_headers(**headers):
    """A good request to which headers were added after it was signed."""
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
    "a date in the query and no more": (Sent("POST", f"{HELLO}?X-Amz-Date=1"), "MissingAuthenticationTokenException"),
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
    "a signed header that is not there": (header(SignedHeaders="host;range;x-amz-date"), "InvalidSignatureException"),
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
def test_it_is_refused_as_aws_refuses(name, caplog):
    sent, expected = REFUSED[name]
    called = []
    middleware = guarded(lambda *_: called.append(_))
    with caplog.at_level(logging.DEBUG):
        answer = ask(middleware, sent.environ())
    assert (answer.status, answer.headers["x-amzn-errortype"]) == (403, expected)
    assert answer.headers["content-type"] == "application/json"
    assert int(answer.headers["content-length"]) == len(answer.body)
    assert UUID.fullmatch(answer.headers["x-amzn-requestid"])
    assert list(json.loads(answer.body)) == ["message"]
    assert called == []
    tells_no_secret(sent, answer, caplog)


def tells_no_secret(sent, answer, caplog):
    """Neither in the log nor in the answer: secrets, tokens, signatures, hashes, canonical requests."""
    told = "\n".join([caplog.text, str([vars(record) for record in caplog.records]), answer.body.decode()])
    assert SECRET not in told
    assert TOKEN not in told
    assert not re.search("[0-9a-f]{64}", told)
    assert "aws4_request\n" not in told


def test_an_unknown_key_and_a_wrong_signature_are_told_the_same():
    answers = [ask(guarded(), signed(**wrong).environ()) for wrong in ({"key": "AKIDEVE"}, {"secret": "wrong"})]
    for answer in answers:
        del answer.headers["x-amzn-requestid"]
    assert answers[0] == answers[1]
    assert message(answers[0]).startswith(MISMATCH)


class Counting:
    """The standard library's hmac, counting what it is asked for."""

    compare_digest = staticmethod(hmac.compare_digest)

    def __init__(self):
        self.calls = 0

    def digest(self, key, text, kind):
        self.calls += 1
        return hmac.digest(key, text, kind)


@pytest.mark.parametrize("wrong", [{"key": "AKIDEVE"}, {"secret": "wrong"}, {}], ids=["key", "signature", "nothing"])
def test_an_unknown_key_costs_what_a_wrong_signature_does(monkeypatch, wrong):
    """The same work, counted in hashes."""
    sent, counting = signed(**wrong), Counting()
    monkeypatch.setattr(signature, "hmac", counting)
    ask(guarded(), sent.environ())
    assert counting.calls == 5


def test_the_log_says_why_and_with_which_request_id(caplog):
    with caplog.at_level(logging.INFO):
        answers = [ask(guarded(), signed(**wrong).environ()) for wrong in ({"key": "AKIDEVE"}, {"secret": "wrong"})]
    assert [record.getMessage() for record in caplog.records] == [
        "request refused: InvalidSignatureException: key AKIDEVE: the key is unknown",
        "request refused: InvalidSignatureException: key AKIDADA: the signature differs",
    ]
    assert [record.request_id for record in caplog.records] == [a.headers["x-amzn-requestid"] for a in answers]


@pytest.mark.parametrize(
    "name", ["X-Amzn-Trace-Id", "User-Agent", "Expect", "Connection", "Transfer-Encoding", "Accept"]
)
def test_headers_that_sdks_never_sign_may_come_on_the_way(name):
    assert code(ask(guarded(), with_headers(**{name: "anything"}).environ())) == KEY


def test_a_date_that_is_not_the_signatures_own_means_nothing():
    assert code(ask(guarded(), with_headers(Date="Tue, 24 Nov 2020 12:00:00 GMT").environ())) == KEY


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
    ids=["secrets", "pairs", "credentials", "a callable", "one that raises", "one that makes credentials"],
)
def test_credentials_may_be(credentials):
    middleware = guarded(credentials=credentials)
    assert code(ask(middleware, signed().environ())) == KEY
    assert code(ask(middleware, signed(key="AKIDEVE").environ())) == "InvalidSignatureException"


def test_a_mapping_may_change():
    keys = {}
    middleware = guarded(credentials=keys)
    assert code(ask(middleware, signed().environ())) == "InvalidSignatureException"
    keys[KEY] = SECRET
    assert code(ask(middleware, signed().environ())) == KEY


def test_credentials_that_fail_are_a_failure_of_ours_and_nobody_gets_in(caplog):
    def fails(key):
        raise RuntimeError("no database")

    answer = ask(guarded(credentials=fails), signed().environ())
    assert (answer.status, answer.headers["x-amzn-errortype"]) == (500, "ServiceException")
    assert "no database" not in answer.body.decode()
    assert "no database" in caplog.text


def test_credentials_that_exit_end_their_request_and_no_more():
    """An uncaught ``sys.exit(3)`` would stop gunicorn's master."""

    def leaves(key):
        sys.exit(3)

    assert ask(guarded(credentials=leaves), signed().environ()).status == 500


@pytest.mark.parametrize("secret", ["", ("", TOKEN)])
def test_an_empty_secret_is_nobodys(secret):
    answer = ask(guarded(credentials={KEY: secret}), by_awscrt(Sent("POST", HELLO), secret="x").environ())
    assert answer.status == 500


def test_the_principal_is_there_for_any_application():
    found = []

    def application(environ, start_response):
        found.append(environ["serverfull.principal"])
        start_response("200 OK", [])
        return []

    keys = {KEY: Credential(SECRET, name="ada")}
    ask(guarded(application, keys, account_id="111122223333"), signed().environ())
    (principal,) = found
    assert (str(principal), principal.access_key_id) == ("ada", KEY)
    assert principal.arn == "arn:aws:iam::111122223333:user/ada"
    assert SECRET not in repr(principal)
    assert SECRET not in repr(keys)


# The path as it was sent


def test_where_the_server_hides_the_path_a_plain_one_is_enough():
    assert code(ask(guarded(), signed().environ(RAW_URI=None))) == KEY


@pytest.mark.parametrize("label", ["hello%3A1", "hello:1", "a%20b", "%E6%BC%A2", "a%2Fb", "%68ello"])
def test_where_the_server_hides_the_path_any_other_is_refused_and_the_operator_told_once(label, caplog):
    middleware = guarded()
    sent = by_botocore(Sent("POST", f"/2015-03-31/functions/{label}/invocations"))
    answers = [ask(middleware, sent.environ(RAW_URI=None)) for _ in range(2)]
    assert [code(answer) for answer in answers] == ["InvalidSignatureException"] * 2
    told = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    if label not in ("a%2Fb", "%68ello"):  # which look plain, and whose signature then differs
        assert len(told) == 1
        assert told[0].startswith("cannot verify a signature: this WSGI server does not pass on the path")


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
def test_the_path_is_verified_as_it_was_sent_wherever_the_application_is_mounted(label, shown, mount):
    sent = by_botocore(Sent("POST", f"{mount}/2015-03-31/functions/{label}/invocations?Qualifier=%24LATEST"))
    environ = sent.environ(mount.replace("%20", " "), **shown(sent.target))
    assert code(ask(guarded(), environ)) == KEY


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
def test_what_was_signed_is_what_is_called(changed):
    assert code(ask(guarded(), signed().environ(**changed))) == "InvalidSignatureException"


# Bodies


class Endless(io.RawIOBase):
    """A body without end that notes how much of it was asked for."""

    def __init__(self):
        self.most, self.given = 0, 0

    def read(self, size=-1):
        assert size >= 0, "all of it was asked for"
        self.most, self.given = max(self.most, size), self.given + size
        return b"x" * size


@pytest.mark.parametrize("length", [str(10**9), None], ids=["declared", "chunked"])
def test_no_more_of_a_body_is_kept_than_its_limit(length):
    body = Endless()
    environ = signed().environ(**{"wsgi.input": body, "wsgi.input_terminated": True, "CONTENT_LENGTH": length})
    answer = ask(guarded(body_limit=1000), environ)
    assert (answer.status, code(answer)) == (413, "RequestEntityTooLargeException")
    assert message(answer) == "Request must be smaller than 1000 bytes for the InvokeFunction operation"
    assert body.most <= 64 * 1024  # at a time; what is beyond the limit is thrown away
    assert body.given < 17 * 1024 * 1024


@pytest.mark.parametrize(("size", "status"), [(999, 200), (1000, 200), (1001, 413)])
@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_may_be_as_long_as_its_limit(size, status, chunked):
    sent = signed(body=b"x" * size)
    changes = {"CONTENT_LENGTH": None, "wsgi.input_terminated": True} if chunked else {}
    assert ask(guarded(body_limit=1000), sent.environ(**changes)).status == status


def test_the_limit_is_lambdas_unless_told():
    assert guarded()._body_limit == PAYLOAD_LIMIT == 6_291_456


class Once(io.BytesIO):
    """A body that must not be read again once it came to its end, as of servers whose clients keep the connection."""

    def __init__(self, body):
        super().__init__(body)
        self._left = len(body)

    def read(self, size=-1):
        assert 0 <= size <= self._left, "this would wait for the client for ever"
        self._left -= size
        return super().read(size)


@pytest.mark.parametrize("options", [{}, {"secret": "wrong"}, {"region": "eu-west-1"}], ids=["right", "wrong", "early"])
@pytest.mark.parametrize("size", [0, 1, 100_000])
def test_a_body_is_read_to_its_end_and_no_further(options, size):
    sent = signed(body=b"x" * size, **options)
    answer = ask(guarded(), sent.environ(**{"wsgi.input": Once(sent.body)}))
    assert answer.status == (403 if options else 200)


def test_a_body_shorter_than_its_length_is_refused():
    answer = ask(guarded(), signed(body=b"{}").environ(CONTENT_LENGTH="9"))
    assert (answer.status, code(answer)) == (400, "InvalidRequestContentException")


def test_only_what_the_length_says_is_believed_and_passed_on():
    sent = signed(body=b"{}")
    answer = ask(guarded(), sent.environ(**{"wsgi.input": io.BytesIO(b"{} and more")}))
    assert is_accepted(answer, sent)


# Paths that are open


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_the_health_check_is_open(method):
    assert ask(guarded(), Sent(method, "/healthcheck").environ()).status == 200


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
def test_everything_else_is_not(method, target):
    assert code(ask(guarded(), Sent(method, target).environ())) == "MissingAuthenticationTokenException"


def test_other_paths_may_be_named_open_and_then_the_health_check_is_not():
    middleware = guarded(open_paths=["/about", "/status"])
    assert [ask(middleware, Sent("GET", path).environ()).status for path in ("/about", "/status")] == [200, 200]
    assert ask(middleware, Sent("GET", "/healthcheck").environ()).status == 403


# Signatures that are sent again


def test_a_request_may_be_sent_again_unless_told_otherwise():
    middleware, sent = guarded(), signed()
    assert [ask(middleware, sent.environ()).status for _ in range(3)] == [200] * 3


@pytest.mark.parametrize("make", [signed, partial(presigned, token=None)], ids=["header", "presigned"])
def test_a_replay_guard_lets_a_signature_in_once(make):
    middleware, sent = guarded(replay_guard=10), make()
    answers = [ask(middleware, sent.environ()) for _ in range(3)]
    assert [code(answer) for answer in answers] == [KEY] + ["InvalidSignatureException"] * 2
    assert message(answers[1]) == "The signature was used already; sign the request again."


def test_a_replay_guard_knows_a_request_in_another_spelling():
    middleware = guarded(replay_guard=10)
    sent = by_botocore(Sent("POST", f"{HELLO}?Qualifier=a-b"))
    assert code(ask(middleware, sent.environ())) == KEY
    again = sent.but(target=f"{HELLO}?Qualifier=a%2db")
    assert code(ask(guarded(), again.environ())) == KEY
    assert code(ask(middleware, again.environ())) == "InvalidSignatureException"


def test_a_replay_guard_forgets_what_has_expired_and_never_what_has_not():
    clock = SimpleNamespace(now=NOON)
    middleware = guarded(replay_guard=2, clock=lambda: clock.now.timestamp())

    def send_one(number):
        return ask(middleware, signed({"X-Amz-Number": str(number)}, when=clock.now).environ())

    assert [send_one(number).status for number in range(3)] == [200, 200, 429]
    clock.now += timedelta(seconds=300)
    assert send_one(3).status == 429
    clock.now += timedelta(seconds=1)
    assert [send_one(number).status for number in range(4, 7)] == [200, 200, 429]


def test_a_wrong_signature_takes_no_place_in_the_guard():
    middleware = guarded(replay_guard=1)
    assert [ask(middleware, signed(secret="wrong").environ()).status for _ in range(3)] == [403] * 3
    assert ask(middleware, signed().environ()).status == 200


def test_of_many_at_once_the_guard_lets_one_in():
    middleware, sent = guarded(replay_guard=100), signed()
    start, statuses = threading.Barrier(8), []

    def send_it():
        start.wait()
        statuses.append(ask(middleware, sent.environ()).status)

    threads = [threading.Thread(target=send_it) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(statuses) == [200] + [403] * 7


# On the wire


def wire(server, sent, *more, chunked=False, target=None):
    """Sends a request line by line, as no client library would, and returns status and code."""
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


def test_a_request_that_is_right_gets_in_by_wire(server):
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
def test_a_header_added_on_the_way_is_refused(server, more):
    assert wire(server, fresh(), more).status in (400, 403)


def test_headers_with_underscores_do_not_stand_for_those_with_hyphens(server):
    """gunicorn drops them; were they passed on, they would have to be signed."""
    sent = fresh()
    assert code(wire(server, sent, "X_Amz_Invocation_Type: Event")) in (KEY, "InvalidSignatureException")


@pytest.mark.parametrize(
    "target",
    ["/.{}", "//{}", "/x/..{}", "{}/", "{}?", "{}?&", "{}#x", "{}?Qualifier=1", "http://127.0.0.1:8080{}?a", "{}%20"],
)
def test_another_target_is_refused_by_wire(server, target):
    answer = wire(server, fresh(), target=target.format(HELLO))
    assert answer.status in (400, 403) or target == "{}?"  # an empty query is none


def test_a_whole_url_may_stand_in_the_first_line(server):
    assert code(wire(server, fresh(), target=f"http://127.0.0.1:8080{HELLO}")) == KEY


def test_a_large_body_without_a_signature_gets_its_refusal(server):
    """It is sent before the answer is read: were it not taken, the connection would break under the client."""
    assert wire(server, Sent("POST", HELLO, {}, b"x" * 6_000_000)).status == 403
