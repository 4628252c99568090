"""Deployments without sockets: boto3 in front of an application in this process, with real signatures."""

import base64
import contextlib
import io
import random
import zipfile
from datetime import datetime, timezone
from urllib.parse import urlsplit

import boto3
from botocore.awsrequest import AWSResponse
from botocore.config import Config

from serverfull_wsgi import Application, Credential, SigV4Middleware, StaticFetcher
from serverfull_wsgi.errors import TooManyRequestsException
from serverfull_wsgi.fetchers.fallback import FallbackFetcher
from serverfull_wsgi.fetchers.registry import RegistryFetcher
from serverfull_wsgi.wsgi.bodies import PIECE, FileBody
from tests.api.model.calls import Raw
from tests.support.registry import ROLE, code, registry_in, zipped_paths
from tests.support.signing import Sent, call

KEYS = {
    "DEPLOYER": Credential("secret", name="deployer", actions=["deploy", "read", "invoke"]),
    "READER": Credential("secret", name="reader", actions=["read"]),
    "CALLER": Credential("secret", name="caller"),
    "LATEST": Credential("secret", functions=["hello:$LATEST"], actions=["deploy", "read"]),
    "OURS": Credential("secret", name="ours", functions=["our-*"], actions=["deploy", "read"]),
}
URL = "http://localhost:8080"
_session = boto3.Session()  # it keeps the model, which takes 0.1 s to read


def signed(application):
    """Return an application as a server with the keys above has it."""
    return SigV4Middleware(application, KEYS, "us-east-1", deploys=True)


def deployable(path, **options):
    """Return an application with a registry in ``path``; see `served`."""
    return served(registry_in(path), **options)


@contextlib.contextmanager
def served(registry, fetcher=None, binds=(("127.0.0.1", 8080),), **options):
    """Return an application with this registry, on a server that listens on ``binds``."""
    both = FallbackFetcher(fetcher or StaticFetcher({}), RegistryFetcher(registry))
    application = Application(both, registry=registry, **options)
    if binds:
        application.warn_if_exposed(binds)
    try:
        yield application
    finally:
        application.close()


@contextlib.contextmanager
def client(application, key="DEPLOYER", url=URL, **environ):
    """Return boto3's client for an application, which boto3 calls in this process.

    ``environ`` has keys of the WSGI environ that each request shall have.
    """
    aws = _session.client(
        "lambda",
        endpoint_url=url,
        region_name="us-east-1",
        aws_access_key_id=key,
        aws_secret_access_key="secret",
        config=Config(retries={"total_max_attempts": 1}, parameter_validation=False),
    )

    def send(request, **_):
        response = call(application, sent(request).environ(**{"REMOTE_ADDR": "127.0.0.1", **environ}))
        return AWSResponse(request.url, response.status, response.headers, Raw(response.body))

    aws.meta.events.register("before-send.lambda", send)
    with contextlib.closing(aws):
        yield aws


def sent(request):
    """Return a request of botocore as the server receives it."""
    parts = urlsplit(request.url)
    headers = {name: value.decode() if isinstance(value, bytes) else value for name, value in request.headers.items()}
    body = request.body or b""
    target = f"{parts.path}?{parts.query}" if parts.query else parts.path
    return Sent(request.method, target, headers, body.encode() if isinstance(body, str) else body, parts.netloc)


def get(application, url, method="GET"):
    """Return the response of an application to a plain request, without a signature."""
    parts = urlsplit(url)
    target = f"{parts.path}?{parts.query}" if parts.query else parts.path
    return call(application, Sent(method, target, host=parts.netloc).environ(REMOTE_ADDR="127.0.0.1"))


def signed_environ(environ, key="DEPLOYER"):
    """Return the environ of a request with fields of a signature, which is wrong. A limit is checked before it."""
    now = datetime.now(timezone.utc)
    scope = f"{key}/{now:%Y%m%d}/us-east-1/lambda/aws4_request"
    signature = f"AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host;x-amz-date, Signature={'0' * 64}"
    return {**environ, "HTTP_AUTHORIZATION": signature, "HTTP_X_AMZ_DATE": f"{now:%Y%m%dT%H%M%SZ}"}


@contextlib.contextmanager
def full_of_bodies():
    """Use all room for bodies in files. Yield the number of bytes that were free."""
    with FileBody() as body:
        size = 0
        with contextlib.suppress(TooManyRequestsException):
            while True:
                body.seek(size + PIECE - 1)
                body.write(b"a")
                size += PIECE
        yield size


def large_package():
    """Return a package in Base64 that is too large for the memory of a request."""
    files = {"app.py": "def handler(event, context): return 1", "data": random.Random(1).randbytes(5_000_000)}
    return base64.b64encode(zipped_paths(files).read()).decode()


def zip_that_states(size):
    """Return an archive that states ``size`` as the unzipped size of its file."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("zeros", bytes(1000))
        archive.infolist()[0].file_size = size
    return file.getvalue()


def create(aws, name="hello", text="one", zip=None, **members):
    """Create a function and return the answer of CreateFunction."""
    request = {"Runtime": "python3.11", "Role": ROLE, "Handler": "app.handler", **members}
    return aws.create_function(FunctionName=name, Code={"ZipFile": zip or code(text).read()}, **request)
