"""Requests signed by the libraries that clients use: botocore, AWS's C library (awscrt) and requests-aws4auth."""

import contextlib
import io
import json
import random
import sys
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from types import SimpleNamespace
from urllib.parse import quote, unquote_to_bytes

import awscrt.auth
import awscrt.http
import botocore.auth
import requests
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from requests_aws4auth import AWS4Auth

KEY, SECRET, TOKEN = "AKIDADA", "s3cr3t/+%=x", "IQoJb3JpZ2lu/+=="
TEMPORARY = "ASIAADA"  # a key that needs the token
NOON = datetime(2026, 11, 24, 12, 0, 0, tzinfo=timezone.utc)
REGION = "us-east-1"


@dataclass
class Sent:
    """A request over HTTP: its request line, headers and body."""

    method: str
    target: str  # path and query, percent-encoded
    headers: dict = field(default_factory=dict)
    body: bytes = b""
    host: str = "127.0.0.1:8080"

    @property
    def url(self):
        return f"http://{self.host}{self.target}"

    def but(self, **changes):
        return replace(self, **{"headers": dict(self.headers), **changes})

    def environ(self, mount="", **changes):
        """Return the WSGI environ of a server that passes on the raw path. ``mount`` is the prefix in SCRIPT_NAME.

        ``changes`` replaces keys of the environ; None removes one.
        """
        path, _, query = self.target.partition("?")
        info = unquote_to_bytes(path.encode("latin-1")).decode("latin-1")
        environ = {
            "REQUEST_METHOD": self.method,
            "SCRIPT_NAME": mount,
            "PATH_INFO": info.removeprefix(mount),
            "QUERY_STRING": query,
            "RAW_URI": self.target,
            "SERVER_NAME": "127.0.0.1",
            "SERVER_PORT": "8080",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "CONTENT_LENGTH": str(len(self.body)),
            "HTTP_HOST": self.host,
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": "http",
            "wsgi.input": io.BytesIO(self.body),
            "wsgi.errors": sys.stderr,
            "wsgi.multithread": True,
            "wsgi.multiprocess": False,
            "wsgi.run_once": False,
        }
        for name, value in self.headers.items():
            key = name.upper().replace("-", "_")
            environ[key if key in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{key}"] = value
        environ.update(changes)
        return {key: value for key, value in environ.items() if value is not None}


@contextlib.contextmanager
def _at(when):
    """Make botocore sign at the time ``when``."""
    now = botocore.auth.get_current_datetime
    botocore.auth.get_current_datetime = lambda *_, **__: when.replace(tzinfo=None)
    try:
        yield
    finally:
        botocore.auth.get_current_datetime = now


def by_botocore(sent, key=KEY, secret=SECRET, token=None, *, when=NOON, expires=None, region=REGION, service="lambda"):
    """Return ``sent`` with a signature of botocore.

    With ``expires``, in seconds, the signature is in the query and the request has no body: botocore would turn the
    body into parameters.
    """
    sent = sent if expires is None else sent.but(body=b"")
    request = AWSRequest(method=sent.method, url=sent.url, data=sent.body, headers=sent.headers)
    credentials = Credentials(key, secret, token)
    if expires is None:
        signer = botocore.auth.SigV4Auth(credentials, service, region)
    else:
        signer = botocore.auth.SigV4QueryAuth(credentials, service, region, expires=expires)
    with _at(when):
        signer.add_auth(request)
    return _of(sent, request.url, request.headers.items())


def by_awscrt(sent, key=KEY, secret=SECRET, token=None, *, when=NOON, expires=None, service="lambda", **config):
    """Return ``sent`` with a signature of AWS's C library."""
    headers = awscrt.http.HttpHeaders([("Host", sent.host), *sent.headers.items()])
    body = io.BytesIO(sent.body) if sent.body else None
    request = awscrt.http.HttpRequest(sent.method, sent.target, headers, body)
    kind = awscrt.auth.AwsSignatureType
    config = awscrt.auth.AwsSigningConfig(
        signature_type=kind.HTTP_REQUEST_HEADERS if expires is None else kind.HTTP_REQUEST_QUERY_PARAMS,
        credentials_provider=awscrt.auth.AwsCredentialsProvider.new_static(key, secret, token),
        region=REGION,
        service=service,
        date=when,
        expiration_in_seconds=expires,
        **config,
    )
    signed = awscrt.auth.aws_sign_request(request, config).result(30)
    return _of(sent, f"http://{sent.host}{signed.path}", signed.headers)


def by_requests_aws4auth(sent, key=KEY, secret=SECRET, token=None, *, when=NOON):
    """Return ``sent`` with a signature of requests-aws4auth, in the header only and without a client context."""
    auth = AWS4Auth(key, secret, REGION, "lambda", session_token=token)
    headers = {name: value.strip() for name, value in sent.headers.items() if name != "X-Amz-Client-Context"}
    headers = {**headers, "X-Amz-Date": f"{when:%Y%m%dT%H%M%SZ}"}
    request = requests.Request(sent.method, sent.url, headers, data=sent.body or None, auth=auth).prepare()
    return _of(sent, request.url, request.headers.items())


def _of(sent, url, headers):
    target = url.removeprefix(f"http://{sent.host}")
    named = {_text(name): _text(value) for name, value in headers}
    return sent.but(target=target, headers={name: named[name] for name in named if name.lower() != "host"})


def _text(value):
    return value.decode("latin-1") if isinstance(value, bytes) else value


def call(application, environ):
    """Return the response of a WSGI application: status, headers by name in lower case, body."""
    started = []
    pieces = application(environ, lambda status, headers, exc_info=None: started.append((status, headers)))
    body = b"".join(pieces)
    getattr(pieces, "close", lambda: None)()
    status, headers = started[-1]
    return SimpleNamespace(status=int(status[:3]), headers={k.lower(): v for k, v in headers}, body=body)


def message(response):
    """Return the message of an error response."""
    members = json.loads(response.body)
    return members.get("message") or members.get("Message")


def now():
    return datetime.now(timezone.utc)


class Random:
    """Requests as an SDK for Lambda may send them. Equal seeds give equal requests."""

    NAMES = (
        "hello hello:1 hello:prod hello:$LATEST function:hello 123456789012:function:hello with.dot a-b_c "
        "arn:aws:lambda:us-east-1:123456789012:function:hello arn:aws:lambda:eu-west-1:123456789012:function:x:prod "
        "naïve 漢字 a/b a%b a~b x@y a+b"
    ).split()
    WORDS = ["", "1", "prod", "$LATEST", "a b", "a+b", "é", "漢", "~-_.", "a=b&c", "/", "%41", "*'()!", ",;:", "X" * 80]
    NAMES_OF_QUERY = [
        "Qualifier",
        "Qualifier",
        "Marker",
        "a",
        "A",
        "a-",
        "",
        "é",
        "x y",
        "X-Amz-Other",
        "FunctionVersion",
    ]
    HEADERS = {
        "X-Amz-Invocation-Type": ["Event", "DryRun", "RequestResponse"],
        "X-Amz-Log-Type": ["Tail", "None"],
        "X-Amz-Client-Context": ["e30=", "eyJjdXN0b20iOnsiYSI6MX19"],
        "X-Amz-Source-Arn": ["arn:aws:s3:::a  bucket", "  padded "],
        "X-Amzn-Trace-Id": ["Root=1-64f7ba59-40378aa81e4eecc34002f96a;Sampled=1"],
        "Content-Type": ["application/json", "application/x-www-form-urlencoded; charset=utf-8"],
        "User-Agent": ["Boto3/1.44"],
        "amz-sdk-request": ["attempt=1"],
    }

    def __init__(self, seed, expires=(1, 60, 3600, 604_800)):
        self._random = random.Random(seed)
        self._expires = expires

    def request(self, prefix=""):
        choice = self._random.choice
        safe = choice(["", "", ":", ":$"])  # boto3 encodes the colons of a name, other SDKs do not
        path = f"{prefix}/2015-03-31/functions/{quote(choice(self.NAMES), safe='-_.~' + safe)}/invocations"
        if self._random.random() < 0.1:
            path = prefix + choice(
                ["/2015-03-31/functions/", "/2018-10-31/layers", "/", "/2014-11-13/functions/a/invoke-async/"]
            )
        pairs = [(choice(self.NAMES_OF_QUERY), choice(self.WORDS)) for _ in range(choice([0, 0, 1, 1, 2, 5]))]
        query = "&".join(f"{quote(name, safe='-_.~')}={quote(value, safe='-_.~')}" for name, value in pairs)
        names = self._random.sample(list(self.HEADERS), choice([0, 1, 2, 4]))
        return Sent(
            choice(["POST"] * 8 + ["GET", "PUT", "DELETE"]),
            f"{path}?{query}" if query else path,
            {name: choice(self.HEADERS[name]) for name in names},
            self._random.randbytes(choice([0, 0, 2, 30, 2000])),
            choice(["127.0.0.1:8080", "localhost:8080", "lambda.us-east-1.amazonaws.com"]),
        )

    def signed(self, request, sign=by_botocore, **options):
        """Return ``request`` with a signature in the header or, for one in four, in the query. 30 % use the token."""
        if self._random.random() < 0.3:
            options |= {"key": TEMPORARY, "token": TOKEN}
        if self._random.random() < 0.25:
            options["expires"] = self._random.choice(self._expires)
        return sign(request, **options)
