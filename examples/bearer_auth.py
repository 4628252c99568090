"""A token that callers must bring: WSGI middleware around the application, as any other could be.

Run it, with ``pip install serverfull-wsgi``, from the directory that holds ``examples``:

    INVOKE_TOKEN=change-me SERVERFULL_FUNCTIONS=hello=examples.hello.handler \
        gunicorn --threads 8 examples.bearer_auth:app

Call it:

    curl -H 'Authorization: Bearer change-me' http://localhost:8000/2015-03-31/functions/hello/invocations -d '{}'
    curl http://localhost:8000/2015-03-31/functions/hello/invocations -d '{}'
    {"message":"Bring the token: Authorization: Bearer TOKEN"}
    curl http://localhost:8000/healthcheck
    .

boto3 sends the token when it is kept from signing, which takes the same header:

    client = boto3.client("lambda", "us-east-1", endpoint_url="http://localhost:8000",
                          config=Config(signature_version=botocore.UNSIGNED))
    client.meta.events.register(
        "before-sign.lambda",
        lambda request, **_: request.headers.add_header("Authorization", "Bearer change-me"))

A token travels in the clear: beyond one machine, put TLS in front.
"""

import hmac
import os

from serverfull_wsgi import ConfigurationError, Settings, create_app

BODY = b'{"message":"Bring the token: Authorization: Bearer TOKEN"}\n'
HEADERS = [
    ("Content-Type", "application/json"),
    ("Content-Length", str(len(BODY))),
    ("WWW-Authenticate", "Bearer"),
    ("x-amzn-ErrorType", "UnauthorizedException"),  # the error's code in AWS clients
]


class BearerAuth:
    """Lets through what carries the token, and the health check; the rest gets a 401 and goes no further."""

    def __init__(self, app, token, healthcheck="/healthcheck"):
        if not token:
            raise ConfigurationError("INVOKE_TOKEN is not set; set it to the secret that callers must bring")
        self.app, self.token, self.healthcheck = app, token.encode(), healthcheck

    def __call__(self, environ, start_response):
        if environ.get("PATH_INFO") == self.healthcheck:
            return self.app(environ, start_response)
        if self.knows(environ.get("HTTP_AUTHORIZATION", "")):
            environ["serverfull.principal"] = "the bearer"  # who called, for the logs; and that somebody asked
            return self.app(environ, start_response)
        discard(environ)
        start_response("401 Unauthorized", HEADERS)
        return [BODY]

    def knows(self, authorization):
        scheme, _, token = authorization.partition(" ")
        # In the same time however much of it is right; as bytes, since compare_digest takes no text beyond ASCII.
        return scheme.lower() == "bearer" and hmac.compare_digest(token.strip().encode("latin-1"), self.token)


def discard(environ):
    """Takes what the client is sending, up to the largest payload: one that cannot finish never reads its answer."""
    left = min(int(environ.get("CONTENT_LENGTH") or 0), 6_291_456)
    while left > 0 and (piece := environ["wsgi.input"].read(min(left, 65_536))):
        left -= len(piece)


settings = Settings.from_environ()
app = BearerAuth(create_app(settings), os.environ.get("INVOKE_TOKEN", ""), settings.healthcheck)
