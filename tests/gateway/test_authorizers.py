"""API keys and Lambda authorizers: who may call a route, and what the function learns about the caller."""

import threading
from urllib.parse import unquote

import pytest
from werkzeug.test import Client, TestResponse, create_environ, run_wsgi_app

from serverfull_wsgi import Application, Function, Outcome, StaticFetcher
from serverfull_wsgi.front import Front
from serverfull_wsgi.gateway.access import FACTS, Access, LambdaAuthorizer
from serverfull_wsgi.gateway.authorizers import Authorizers
from serverfull_wsgi.gateway.formats import HttpRequest, RequestContext, Route, Stage, http_v1, http_v2, rest_v1
from serverfull_wsgi.gateway.front import SiteServer
from serverfull_wsgi.gateway.gateway import Gateway
from serverfull_wsgi.gateway.policies import Decision, evaluate, matches
from serverfull_wsgi.gateway.refused import Refused
from serverfull_wsgi.gateway.sites import Endpoint, http_api, rest_api

pytestmark = pytest.mark.quick

HEADER = (("header", "Authorization"),)


class Api:
    """An API with one authorizer for all its routes, and the events that the authorizer received."""

    def __init__(self, kind, authorizer=None, answer=None, keys=(), needs_api_key=False, key="GET /pets"):
        self.events, self.answer, self.time, self.echo = [], answer, 0.0, lambda event: None
        is_rest = kind == "REST"
        format = {"REST": rest_v1, "H1": http_v1, "H2": http_v2}[kind]
        stage = Stage("Prod" if is_rest else "$default", "shop")
        endpoints = {
            key: Endpoint(Route(key, "echo", stage), format, access=Access("", authorizer, needs_api_key))
            for key in (key, "GET /cats", "POST /pets/{id}")
        }
        site = rest_api(("shop",), endpoints) if is_rest else http_api(("shop",), endpoints)
        self.application = Application(StaticFetcher({"echo": self.show, "auth": self.run}))
        dispatcher = self.application.dispatcher
        authorizers = Authorizers(dispatcher, keys, lambda: self.time)
        server = SiteServer(Gateway(dispatcher, authorizers), self.application.start, root=site)
        self.client = Client(server, use_cookies=False)

    def run(self, event, context):
        self.events.append(event)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer(event) if callable(self.answer) else self.answer

    def show(self, event, context):
        self.echo(event)
        return {"statusCode": 200, "body": repr(event["requestContext"])}

    def get(self, path="/pets", **headers):
        return self.client.get(path, headers={name.replace("_", "-"): value for name, value in headers.items()})


def policy(effect="Allow", resource="*", **more):
    statement = {"Effect": effect, "Action": "execute-api:Invoke", "Resource": resource, **more}
    return {"principalId": "ada", "policyDocument": {"Version": "2012-10-17", "Statement": [statement]}}


def nested(levels):
    return [nested(levels - 1)] if levels else 1


def token(**more):
    return LambdaAuthorizer("auth", True, "TOKEN", sources=HEADER, **more)


# API keys


@pytest.mark.parametrize(
    ("keys", "sent", "status"),
    [(["a", "key"], "key", 200), (["a", "key"], "ke", 403), (["a"], "", 403), ([], "key", 403), (["ä"], "x", 403)],
)
def test_a_route_that_needs_a_key_accepts_the_keys_that_are_set(keys, sent, status):
    response = Api("REST", keys=keys, needs_api_key=True).get(X_Api_Key=sent)
    assert response.status_code == status
    if status == 403:
        assert response.json == {"message": "Forbidden"}
        assert response.headers["x-amzn-ErrorType"] == "ForbiddenException"


def test_the_event_has_the_key():
    response = Api("REST", keys=["key"], needs_api_key=True).get(X_Api_Key="key")
    assert "'apiKey': 'key'" in response.text


# Events of authorizers


def test_a_token_authorizer_receives_the_token_and_the_method():
    api = Api("REST", token(), policy())
    api.get(Authorization="secret")
    arn = "arn:aws:execute-api:us-east-1:123456789012:shop/Prod/GET/pets"
    assert api.events == [{"type": "TOKEN", "authorizationToken": "secret", "methodArn": arn}]


def test_a_request_authorizer_of_a_rest_api_receives_the_event_without_its_body():
    api = Api("REST", LambdaAuthorizer("auth", True, sources=(("querystring", "q"),)), policy())
    api.client.post("/pets/7?q=1", data=b"body")
    (event,) = api.events
    assert list(event)[:3] == ["type", "methodArn", "resource"]
    assert (event["type"], event["pathParameters"], event["httpMethod"]) == ("REQUEST", {"id": "7"}, "POST")
    assert not {"body", "isBase64Encoded"} & set(event)


@pytest.mark.parametrize(("kind", "payload"), [("H1", "1.0"), ("H2", "2.0")])
def test_a_request_authorizer_of_an_http_api_receives_its_identity_sources(kind, payload):
    authorizer = LambdaAuthorizer("auth", False, payload=payload, sources=(*HEADER, ("querystring", "q")))
    api = Api(kind, authorizer, policy())
    assert api.get("/pets?q=1", Authorization="a").status_code == 200
    (event,) = api.events
    assert (event["version"], event["type"]) == (payload, "REQUEST")
    if payload == "1.0":
        assert (event["identitySource"], event["authorizationToken"]) == ("a,1", "a,1")
    else:
        assert (event["identitySource"], event["routeKey"]) == (["a", "1"], "GET /pets")
        assert event["routeArn"].endswith(":shop/$default/GET/pets")


# Decisions

DENIED = '{"Message":"User is not authorized to access this resource"}'
DENIED_EXPLICITLY = '{"Message":"User is not authorized to access this resource with an explicit deny"}'
UNAUTHORIZED = '{"message":"Unauthorized"}'
FAILED = '{"message":null}'
ANSWERS = [  # the authorizer's answer, status and body of a REST API
    (policy(), 200, None),
    (policy("Deny"), 403, DENIED_EXPLICITLY),
    (policy(resource="arn:aws:execute-api:*:*:shop/Prod/GET/cats"), 403, DENIED),
    (policy(resource="arn:aws:execute-api:*:*:shop/Prod/GET/pets"), 200, None),
    (policy(resource=["other", "arn:*/GET/pets"]), 200, None),
    (policy(Condition={"IpAddress": {}}), 403, DENIED),
    (policy("Deny", "other", Condition={}), 403, DENIED_EXPLICITLY),
    (policy(Action="s3:*"), 403, DENIED),
    (policy(Action="EXECUTE-API:invoke"), 200, None),
    ({**policy(), "context": {"a": 1, "b": True}}, 200, None),
    ({**policy(), "context": {"a": []}}, 500, FAILED),
    ({**policy(), "context": "x"}, 500, FAILED),
    ({**policy(), "principalId": ""}, 500, FAILED),
    ({"principalId": "ada"}, 500, FAILED),
    ({"principalId": "ada", "policyDocument": {}}, 500, FAILED),
    ({"principalId": "ada", "policyDocument": {"Statement": [{"Effect": "Maybe"}]}}, 500, FAILED),
    ({"isAuthorized": True}, 500, FAILED),
    ("Allow", 500, FAILED),
    (None, 500, FAILED),
    (Exception("Unauthorized"), 401, UNAUTHORIZED),
    (Exception("unauthorized"), 500, FAILED),
    (ValueError("boom"), 500, FAILED),
]


@pytest.mark.parametrize(("answer", "status", "body"), ANSWERS)
def test_a_rest_api_decides_by_the_policy(answer, status, body):
    response = Api("REST", token(), answer).get(Authorization="x")
    assert response.status_code == status
    assert body is None or response.text == body


SIMPLE = [
    ({"isAuthorized": True}, 200),
    ({"isAuthorized": True, "context": {"a": [1]}}, 200),
    ({"isAuthorized": False}, 403),
    ({"isAuthorized": "true"}, 500),
    ({"isAuthorized": 1}, 500),
    ({}, 500),
    (policy(), 500),
    (Exception("Unauthorized"), 500),
    ({"isAuthorized": True, "context": {"size": 1e400}}, 500),
    ({"isAuthorized": True, "context": {"a": nested(99)}}, 200),
]


@pytest.mark.parametrize(("answer", "status"), SIMPLE)
def test_an_http_api_decides_by_a_simple_answer(answer, status):
    authorizer = LambdaAuthorizer("auth", False, payload="2.0", is_simple=True, sources=HEADER)
    response = Api("H2", authorizer, answer).get(Authorization="x")
    assert response.status_code == status
    if status != 200:
        assert response.json == {"message": "Forbidden" if status == 403 else "Internal Server Error"}


def test_a_context_that_is_nested_too_deeply_is_refused_by_its_own_reason(caplog):
    authorizer = LambdaAuthorizer("auth", False, payload="2.0", is_simple=True)
    response = Api("H2", authorizer, {"isAuthorized": True, "context": {"a": nested(600)}}).get()
    assert response.status_code == 500
    assert "the authorizer's context is nested more than 100 levels deep" in caplog.text


def test_the_function_receives_the_authorizers_context():
    answer = {**policy(), "context": {"team": "a", "size": 3, "on": True}}
    text = Api("REST", token(), answer).get(Authorization="x").text
    assert "'authorizer': {'team': 'a', 'size': '3', 'on': 'true', 'principalId': 'ada'}" in text
    simple = LambdaAuthorizer("auth", False, payload="2.0", is_simple=True)
    text = Api("H2", simple, {"isAuthorized": True, "context": {"size": 3}}).get().text
    assert "'authorizer': {'lambda': {'size': 3}}" in text


@pytest.mark.parametrize(
    ("authorizer", "headers"),
    [
        (token(), {}),
        (token(), {"Authorization": ""}),
        (token(validation="^Bearer .+"), {"Authorization": "Basic x"}),
        (LambdaAuthorizer("auth", True, sources=(*HEADER, ("querystring", "q"))), {"Authorization": "x"}),
        (LambdaAuthorizer("auth", True, sources=(("stageVariables", "v"),)), {"Authorization": "x"}),
        (LambdaAuthorizer("auth", True, sources=(("elsewhere", "v"),)), {"Authorization": "x"}),
    ],
)
def test_a_missing_identity_is_refused_without_the_authorizer(authorizer, headers):
    api = Api("REST", authorizer, policy())
    response = api.get(**headers)
    assert (response.status_code, response.json, api.events) == (401, {"message": "Unauthorized"}, [])


@pytest.mark.parametrize("name", sorted(FACTS))
def test_each_fact_of_a_request_may_be_its_identity(name):
    authorizer = LambdaAuthorizer("auth", False, payload="2.0", sources=(("context", name),))
    api = Api("H2", authorizer, policy())
    assert api.get(User_Agent="agent").status_code == 200
    assert len(api.events[0]["identitySource"][0]) > 0


def test_a_stage_variable_may_be_an_identity():
    events = []

    def run(event, context):
        events.append(event)
        return policy()

    application = Application(StaticFetcher({"auth": run}))
    authorizer = LambdaAuthorizer("auth", False, payload="2.0", sources=(("stageVariables", "v"),))
    route = Route("GET /", "echo", Stage("$default", "shop", variables={"v": "1"}))
    Authorizers(application.dispatcher).authorize(authorizer, HttpRequest(), route, RequestContext())
    assert [event["identitySource"] for event in events] == [["1"]]
    application.close()


def test_an_authorizer_that_does_not_exist_lets_nobody_in():
    authorizer = LambdaAuthorizer("nobody", True, sources=HEADER)
    assert Api("REST", authorizer, policy()).get(Authorization="x").status_code == 500


# The cache


def test_a_result_is_used_again_for_the_same_identity_while_it_is_fresh():
    api = Api("REST", token(ttl=300), policy())
    for _ in range(3):
        assert api.get(Authorization="x").status_code == 200
    api.get(Authorization="y")
    assert len(api.events) == 2
    api.time = 300
    api.get(Authorization="x")
    assert len(api.events) == 3


def test_a_cached_policy_is_evaluated_for_each_route():
    api = Api("REST", token(ttl=300), policy(resource="arn:*/GET/pets"))
    assert [api.get(path, Authorization="x").status_code for path in ("/pets", "/cats")] == [200, 403]
    assert len(api.events) == 1


def test_a_handler_that_changes_its_event_does_not_change_a_cached_result():
    answer = {"isAuthorized": True, "context": {"teams": ["a"]}}
    api = Api("H2", LambdaAuthorizer("auth", False, payload="2.0", is_simple=True, sources=HEADER, ttl=300), answer)
    api.echo = lambda event: event["requestContext"]["authorizer"]["lambda"]["teams"].append("b")
    texts = [api.get(Authorization="x").text for _ in range(2)]
    assert ["'teams': ['a', 'b']" in text for text in texts] == [True, True]


def test_nothing_is_cached_without_a_time_or_without_an_identity():
    for authorizer in (token(), LambdaAuthorizer("auth", True, ttl=300)):
        api = Api("REST", authorizer, policy())
        api.get(Authorization="x")
        api.get(Authorization="x")
        assert len(api.events) == 2


def test_two_apis_and_two_stages_share_no_result():
    calls = []

    def run(event, context):
        calls.append(event["routeArn"])
        return {"isAuthorized": ":shop/$default/" in event["routeArn"]}

    application = Application(StaticFetcher({"auth": run}))
    authorizers = Authorizers(application.dispatcher)
    authorizer = LambdaAuthorizer("auth", False, payload="2.0", is_simple=True, sources=HEADER, ttl=300)
    request = HttpRequest(headers=[("Authorization", "x")])
    for stage in (Stage("$default", "shop"), Stage("$default", "bank"), Stage("dev", "shop")):
        route = Route("GET /", "echo", stage)
        if len(calls) == 0:
            authorizers.authorize(authorizer, request, route, RequestContext())
        else:
            with pytest.raises(Refused):
                authorizers.authorize(authorizer, request, route, RequestContext())
    assert len(calls) == 3


# Paths that a policy names


@pytest.mark.parametrize("path", ["/pets", "/%70ets", "/pets/", "//pets"])
def test_a_policy_holds_for_each_spelling_of_a_path(path):
    api = Api("REST", token(), policy(resource="*"))
    api.answer["policyDocument"]["Statement"].append(
        {"Effect": "Deny", "Action": "*", "Resource": "arn:aws:execute-api:*:*:shop/Prod/GET/pets"}
    )
    assert api.client.get(f"http://localhost{path}", headers={"Authorization": "x"}).status_code == 403


@pytest.mark.parametrize(
    "path", ["/admin/x", "/%61dmin/x", "/%2561dmin/x", "/admin%2Fx", "/admin%252Fx", "/admin/x%3Fy"]
)
def test_a_policy_of_an_http_api_sees_the_path_that_the_function_sees(path):
    api = Api("H2", LambdaAuthorizer("auth", False, sources=HEADER), policy(resource="*"), key="ANY /{proxy+}")
    api.answer["policyDocument"]["Statement"].append(
        {"Effect": "Deny", "Action": "*", "Resource": "arn:aws:execute-api:*:*:shop/$default/GET/admin/x"}
    )
    assert api.client.get(f"http://localhost{path}", headers={"Authorization": "x"}).status_code == 403
    assert api.get("/other", Authorization="x").status_code == 200


@pytest.mark.parametrize(
    "path", ["/open/../admin", "/open/%2e%2e/admin", "/open/x%5C..%5C..%5Cadmin", "/open/x/.././../admin/", "/./admin"]
)
@pytest.mark.parametrize("kind", ["REST", "H2"])
def test_a_policy_holds_for_a_path_whose_dots_a_function_may_resolve(kind, path):
    allowed = policy(resource=["arn:*/GET/open/*", "arn:*/GET/."])
    api = Api(kind, LambdaAuthorizer("auth", kind == "REST", sources=HEADER), allowed, key="ANY /{proxy+}")
    assert get_raw(api, path).status_code == 403
    assert get_raw(api, "/open/../open/x").status_code == 200
    assert get_raw(api, "/open/a//b").status_code == 200


@pytest.mark.parametrize("path", ["/a/admin", "/a//admin", "/a/./admin", "/a/admin/", "/a/x/../admin", "/a/admin%23"])
@pytest.mark.parametrize("kind", ["REST", "H2"])
def test_an_explicit_deny_holds_for_each_form_of_a_path(kind, path):
    api = Api(kind, LambdaAuthorizer("auth", kind == "REST", sources=HEADER), policy(), key="ANY /{proxy+}")
    statement = {"Effect": "Deny", "Action": "*", "Resource": "arn:*/GET/a/admin"}
    api.answer["policyDocument"]["Statement"].append(statement)
    assert get_raw(api, path).status_code == 403
    assert get_raw(api, "/a//b/").status_code == 200


@pytest.mark.parametrize("path", ["/*", "/%2A", "/????", "/%3F%3F%3F%3F"])
@pytest.mark.parametrize("kind", ["REST", "H2"])
def test_a_path_that_looks_like_a_pattern_allows_itself_only(kind, path):
    authorizer = LambdaAuthorizer("auth", kind == "REST", sources=HEADER, ttl=300)
    api = Api(kind, authorizer, lambda event: policy(resource=event["methodArn"]), key="ANY /{proxy+}")
    assert [get_raw(api, each).status_code for each in (path, "/pets")] == [200, 403]
    assert len(api.events) == 1


def test_a_method_that_looks_like_a_pattern_allows_itself_only():
    authorizer = LambdaAuthorizer("auth", False, sources=HEADER, ttl=300)
    api = Api("H2", authorizer, lambda event: policy(resource=event["methodArn"]), key="$default")
    assert [get_raw(api, "/pets", method).status_code for method in ("***", "PUT")] == [200, 403]


def get_raw(api, path, method="GET"):
    """Send a request with a raw path, which the client would change."""
    environ = create_environ("/", method=method, headers={"Authorization": "x"})
    environ |= {"RAW_URI": path, "REQUEST_URI": path, "PATH_INFO": unquote(path, "latin-1")}
    return TestResponse(*run_wsgi_app(api.client.application, environ), request=None)


def test_an_expression_without_an_identity_source_has_nothing_to_match():
    api = Api("REST", LambdaAuthorizer("auth", True, validation="x"), policy())
    assert api.get(Authorization="y").status_code == 200


def test_statements_of_a_policy():
    allow = {"Effect": "Allow", "Action": "*", "Resource": "*"}
    assert evaluate({"Statement": allow}, "arn") is Decision.ALLOW
    assert evaluate({"Statement": [allow, {**allow, "Effect": "Deny"}]}, "arn") is Decision.EXPLICIT_DENY
    assert evaluate({"Statement": [{"Effect": "Deny", "NotAction": "x", "Resource": "*"}]}, "arn") is not Decision.ALLOW
    for bad in ({}, {"Statement": []}, {"Statement": ["x"]}, {"Statement": [{"Effect": "Allow", "Action": 1}]}):
        with pytest.raises(ValueError, match="must"):
            evaluate(bad, "arn")


def test_a_pattern_takes_steps_that_grow_with_the_text_only():
    assert not matches("*a" * 30 + "b", "a" * 5_000)


# The gateway's time-out


class Hanging:
    """An executor of functions that run in processes of their own until they are released."""

    def __init__(self):
        self.released = threading.Event()

    def is_isolated(self, function):
        return True

    def execute(self, function, invocation):
        self.released.wait(10)
        return Outcome(b"{}")


def test_calls_with_a_limit_of_time_use_one_thread_after_the_other():
    executor = Hanging()
    executor.released.set()
    application = Application(StaticFetcher({"echo": Function("app.handler", timeout=60)}), executor=executor)
    client = Client(Front(application, [Route("GET /pets", "echo")]))
    threads = []
    for _ in range(3):
        assert client.get("/pets").status_code == 200
        threads.append({thread for thread in threading.enumerate() if thread.name == "serverfull-gateway"})
    assert threads[0] == threads[1] == threads[2] != set()
    application.close()


class Recording:
    """An executor of functions in processes of their own. It notes the threads that run them."""

    def __init__(self):
        self.threads = []

    def is_isolated(self, function):
        return True

    def execute(self, function, invocation):
        self.threads.append(threading.current_thread())
        return Outcome(b"{}")


@pytest.mark.parametrize(("timeout", "is_limited"), [(None, True), (20, True), (0, False)])
def test_an_api_waits_in_the_thread_of_the_request_if_the_timeout_is_switched_off(timeout, is_limited):
    executor = Recording()
    application = Application(StaticFetcher({"echo": Function("app.handler", timeout=60)}), executor=executor)
    client = Client(Front(application, [Route("GET /pets", "echo")], timeout=timeout))
    assert client.get("/pets").status_code == 200
    assert (executor.threads != [threading.current_thread()]) is is_limited
    application.close()


@pytest.mark.parametrize(("is_rest", "message"), [(True, None), (False, "Internal Server Error")])
def test_an_authorizer_that_takes_too_long_is_a_failed_one(is_rest, message, caplog):
    executor = Hanging()
    functions = {name: Function("app.handler", timeout=60) for name in ("auth", "echo")}
    application = Application(StaticFetcher(functions), executor=executor)
    authorizer = LambdaAuthorizer("auth", is_rest, sources=HEADER)
    format, api = (rest_v1, rest_api) if is_rest else (http_v2, http_api)
    endpoint = Endpoint(Route("GET /pets", "echo"), format, access=Access("", authorizer))
    gateway = Gateway(application.dispatcher, timeout=0.01)
    client = Client(SiteServer(gateway, application.start, root=api(("shop",), {"GET /pets": endpoint})))
    response = client.get("/pets", headers={"Authorization": "x"})
    executor.released.set()
    assert (response.status_code, response.json) == (500, {"message": message})
    assert "the authorizer had no result after 0.01 s" in caplog.text
    application.close()
