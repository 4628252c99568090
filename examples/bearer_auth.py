"""A bearer token in front of the functions: a WSGI middleware around the application.

Run it, after ``pip install .`` in a checkout, from the checkout's directory:

    INVOKE_TOKEN=change-me SERVERFULL_FUNCTIONS=hello=examples.hello.handler \
        gunicorn --threads 8 examples.bearer_auth:app

Call it:

    curl -H 'Authorization: Bearer change-me' http://localhost:8000/2015-03-31/functions/hello/invocations -d '{}'
    curl http://localhost:8000/2015-03-31/functions/hello/invocations -d '{}'
    {"message":"Send the token: Authorization: Bearer TOKEN"}
    curl http://localhost:8000/healthcheck
    .

boto3 can send the token if it does not sign requests, since a signature uses the same header:

    client = boto3.client("lambda", "us-east-1", endpoint_url="http://localhost:8000",
                          config=Config(signature_version=botocore.UNSIGNED))
    client.meta.events.register(
        "before-sign.lambda",
        lambda request, **_: request.headers.add_header("Authorization", "Bearer change-me"))

A token is sent unencrypted. Put TLS in front if callers are on other machines.
"""

import hmac
import os

from serverfull_wsgi import ConfigurationError, Settings, create_app

BODY = b'{"message":"Send the token: Authorization: Bearer TOKEN"}\n'
HEADERS = [
    ("Content-Type", "application/json"),
    ("Content-Length", str(len(BODY))),
    ("WWW-Authenticate", "Bearer"),
    ("x-amzn-ErrorType", "UnauthorizedException"),  # AWS clients take the error's code from this header
]


class BearerAuth:
    """A middleware that answers each request without the token with a 401, except the health check."""

    def __init__(self, app, token, healthcheck="/healthcheck"):
        if not token:
            raise ConfigurationError("INVOKE_TOKEN is not set; set it to the secret that callers have to send")
        self.app, self.token, self.healthcheck = app, token.encode(), healthcheck

    def __call__(self, environ, start_response):
        if environ.get("PATH_INFO") == self.healthcheck:
            return self.app(environ, start_response)
        if self.is_valid(environ.get("HTTP_AUTHORIZATION", "")):
            environ["serverfull.principal"] = "the bearer"  # for the log; it also stops the warning about open access
            return self.app(environ, start_response)
        discard(environ)
        start_response("401 Unauthorized", HEADERS)
        return [BODY]

    def is_valid(self, authorization):
        scheme, _, token = authorization.partition(" ")
        # compare_digest takes the same time for each wrong token. It refuses text beyond ASCII, so compare bytes.
        return scheme.lower() == "bearer" and hmac.compare_digest(token.strip().encode("latin-1"), self.token)


def discard(environ):
    """Read the request body, up to the largest payload: many clients read no response before they have sent it all."""
    left = min(int(environ.get("CONTENT_LENGTH") or 0), 6_291_456)
    while left > 0 and (piece := environ["wsgi.input"].read(min(left, 65_536))):
        left -= len(piece)


settings = Settings.from_environ()
app = BearerAuth(create_app(settings), os.environ.get("INVOKE_TOKEN", ""), settings.healthcheck)
