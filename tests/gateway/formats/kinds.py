"""The five kinds and both modes of the load balancer, with one way to call them all."""

import json

from serverfull_wsgi import Outcome
from serverfull_wsgi.gateway.formats import (
    HttpRequest,
    RequestContext,
    Route,
    Stage,
    TargetGroup,
    alb,
    function_url,
    http_v1,
    http_v2,
    rest_v1,
)

HOST = "abcdefghij.execute-api.eu-west-1.amazonaws.com"
TRACE = "Root=1-6a5145a8-536f3e792f6be9b44c1f46fa"
CONTEXT = RequestContext("7c2af7db-31f3-42b5-8a6d-9ffc74e3b9e0", "ATfSdF7nPHcErRA=", TRACE, 1783711144.836)
KINDS = {"REST": rest_v1, "H1": http_v1, "H2": http_v2, "URL": function_url, "ALB": alb, "ALB+": alb}
MULTI = TargetGroup(has_multi_value_headers=True)


def request(method="GET", path="/", query="", headers=(), body=b"", **more):
    """A request to a host of AWS; headers as pairs, or as a dict."""
    pairs = list(headers.items()) if isinstance(headers, dict) else list(headers)
    return HttpRequest(method, path, query, [("Host", HOST), *pairs], body, "192.0.2.7", **more)


def event(kind, sent=None, key="ANY /{proxy+}", caller=None, **stage):
    """The event of a kind, with the route's key and the facts of its stage."""
    context = CONTEXT if caller is None else CONTEXT._replace(caller=caller)
    return KINDS[kind].event(sent or request(), route(kind, key, **stage), context)


def answer(kind, result, sent=None, **stage):
    """The answer to a result: a value, the bytes of a payload, or an outcome."""
    payload = result if isinstance(result, bytes) else json.dumps(result).encode()
    return KINDS[kind].answer(Outcome(payload), sent or request(), route(kind, **stage), CONTEXT)


def route(kind, key="ANY /{proxy+}", **stage):
    if kind.startswith("ALB"):
        return MULTI if kind == "ALB+" else TargetGroup()
    return Route(key, stage=Stage(**stage))


def absent(members, *names):
    """Whether none of these names is there, as opposed to null."""
    return not set(names) & set(members)
