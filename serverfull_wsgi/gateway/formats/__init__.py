"""Events and answers of functions behind HTTP: one module of pure functions for each kind.

    =============  =======================================  ================================================
    module         kind                                     the same shape as
    =============  =======================================  ================================================
    function_url   function URL                             HTTP API, payload 2.0
    rest_v1        REST API of API Gateway                  payload 1.0
    http_v1        HTTP API of API Gateway, payload 1.0     REST API, with other rules for paths and bodies
    http_v2        HTTP API of API Gateway, payload 2.0     (SAM's default)
    alb            target group of a load balancer          its own; with or without multi-value headers
    =============  =======================================  ================================================

Each module has the same three functions::

    event(request, route, context)             -> dict      the event that AWS would build
    answer(outcome, request, route, context)   -> Answer    the answer that AWS would send for a function's outcome
    refuse(refusal, request, context)          -> Answer    the answer that AWS would send instead of running a function

The inputs are values. `HttpRequest` is the request as the client sent it, except that its path has no stage. `Route`
is the matched route, with its `Stage`; a load balancer has a `alb.TargetGroup` instead. `RequestContext` has the facts
that AWS adds to a request: ids, time, and the `Caller` that an authorizer identified. All of them have defaults, so a
test of a handler gives the parts that matter to it.

No input makes `event` raise. Each event can be written as JSON, and reading that gives an equal event. A handler may
change its event, so no two events share an object. No outcome makes `answer` raise: a result that the
kind does not accept becomes the answer of a failed function, with a `Reason` for the log.

An answer is whole. Its headers are built without its body (`answers.head`), so a streamed result can give its head
first, and then an iterator in the place of the bytes.

The facts behind the rules are recordings of AWS, then AWS's sources, then its documentation. A rule that is only
inferred has a comment.
"""

from __future__ import annotations

from serverfull_wsgi.gateway.formats import alb, function_url, http_v1, http_v2, rest_v1
from serverfull_wsgi.gateway.formats.alb import TargetGroup
from serverfull_wsgi.gateway.formats.answers import Answer, Reason, Refusal
from serverfull_wsgi.gateway.formats.inputs import Caller, HttpRequest, IamIdentity, RequestContext, Route, Stage

__all__ = [
    "Answer",
    "Caller",
    "HttpRequest",
    "IamIdentity",
    "Reason",
    "Refusal",
    "RequestContext",
    "Route",
    "Stage",
    "TargetGroup",
    "alb",
    "function_url",
    "http_v1",
    "http_v2",
    "rest_v1",
]
