"""The rules of events by kind, as a table for each member."""

import base64

import pytest

from serverfull_wsgi.gateway.formats import Caller, HttpRequest, IamIdentity, Route, Stage, rest_v1
from tests.gateway.formats.kinds import CONTEXT, HOST, KINDS, TRACE, absent, event, request

pytestmark = pytest.mark.quick

V1 = (
    "resource path httpMethod headers multiValueHeaders queryStringParameters multiValueQueryStringParameters "
    "pathParameters stageVariables requestContext body isBase64Encoded"
)
V2 = "version routeKey rawPath rawQueryString cookies headers queryStringParameters requestContext"
ALB = "requestContext httpMethod path queryStringParameters headers body isBase64Encoded"
FULL = request("POST", "/a/b", "q=1", {"Cookie": "a=1", "Content-Type": "text/plain"}, b"text")
EVENT_KEYS = {
    "REST": V1,
    "H1": f"version {V1}",
    "H2": f"{V2} pathParameters body isBase64Encoded stageVariables",
    "URL": f"{V2} body isBase64Encoded",
    "ALB": ALB,
    "ALB+": ALB.replace("headers", "multiValueHeaders").replace("query", "multiValueQuery"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_the_members_are_in_the_order_of_aws(kind):
    assert " ".join(event(kind, FULL, variables={"v": "1"})) == EVENT_KEYS[kind]


CONTEXT_KEYS = {
    "REST": "accountId apiId deploymentId domainName domainPrefix extendedRequestId httpMethod identity path protocol "
    "requestId requestTime requestTimeEpoch resourceId resourcePath stage",
    "H1": "accountId apiId authorizer domainName domainPrefix extendedRequestId httpMethod identity path protocol "
    "requestId requestTime requestTimeEpoch resourceId resourcePath stage",
    "H2": "accountId apiId domainName domainPrefix http requestId routeKey stage time timeEpoch",
    "URL": "accountId apiId domainName domainPrefix http requestId routeKey stage time timeEpoch",
    "ALB": "elb",
    "ALB+": "elb",
}


@pytest.mark.parametrize("kind", KINDS)
def test_the_request_context_has_the_members_of_aws(kind):
    assert " ".join(event(kind)["requestContext"]) == CONTEXT_KEYS[kind]


# Nothing there


@pytest.mark.parametrize("kind", ["REST", "H1"])
def test_payload_1_0_writes_null_for_missing_parts(kind):
    members = event(kind, key="GET /")
    names = "queryStringParameters multiValueQueryStringParameters pathParameters stageVariables body".split()
    assert [members[name] for name in names] == [None] * 5
    assert members["isBase64Encoded"] is False


@pytest.mark.parametrize("kind", ["H2", "URL"])
def test_payload_2_0_leaves_missing_parts_out(kind):
    members = event(kind, key="GET /")
    assert absent(members, "queryStringParameters", "pathParameters", "stageVariables", "body", "cookies")
    assert members["rawQueryString"] == ""
    assert members["isBase64Encoded"] is False


@pytest.mark.parametrize(
    ("kind", "query"), [("ALB", "queryStringParameters"), ("ALB+", "multiValueQueryStringParameters")]
)
def test_a_load_balancer_writes_empty_parts(kind, query):
    members = event(kind)
    assert (members[query], members["body"], members["isBase64Encoded"]) == ({}, "", False)


# Paths

PATHS = [  # kind, stage, path sent, path of the event, path of its context
    ("REST", "live", "/a%20b", "/a%20b", "/live/a%20b"),
    ("REST", "", "/a", "/a", "/Prod/a"),
    ("REST", "live", "//p", "/p", "/live//p"),
    ("REST", "live", "/p/", "/p/", "/live/p/"),
    ("REST", "live", "/p//x", "/p//x", "/live/p//x"),
    ("H1", "", "/a%20b", "/a%20b", "/a b"),
    ("H1", "dev", "/a%20b", "/dev/a%20b", "/dev/a b"),
    ("H2", "", "/a%20b%2Fc", "/a b/c", "/a b/c"),
    ("H2", "dev", "/a%20b", "/dev/a b", "/dev/a b"),
    ("URL", "", "/a%20b", "/a%20b", "/a b"),
    ("URL", "", "/a%Ft", "/a%Ft", "/a%Ft"),
    ("URL", "ignored", "/a", "/a", "/a"),
]


@pytest.mark.parametrize(("kind", "stage", "sent", "path", "in_context"), PATHS)
def test_the_path(kind, stage, sent, path, in_context):
    members = event(kind, request(path=sent), name=stage)
    context = members["requestContext"]
    assert members.get("path", members.get("rawPath")) == path
    assert context.get("http", context)["path"] == in_context


@pytest.mark.parametrize(("kind", "path"), [("REST", "/a"), ("H1", "/a"), ("H2", "/a")])
def test_a_custom_domain_has_no_stage_in_its_paths(kind, path):
    members = event(kind, request(path="/a"), name="live", is_in_path=False)
    context = members["requestContext"]
    assert members.get("path", members.get("rawPath")) == context.get("http", context)["path"] == path
    assert context["stage"] == "live"


PARAMETERS = [  # kind, route, path, path parameters
    ("REST", "GET /pets/{id}", "/pets/a%20b", {"id": "a%20b"}),
    ("H1", "GET /pets/{id}", "/pets/a%20b", {"id": "a b"}),
    ("H2", "GET /pets/{id}", "/pets/a%20b", {"id": "a b"}),
    ("H2", "ANY /{proxy+}", "/a/b%2Fc", {"proxy": "a/b/c"}),
    ("REST", "ANY /{proxy+}", "/a/b%2Fc", {"proxy": "a/b%2Fc"}),
    ("REST", "ANY /{proxy+}", "/p/", {"proxy": "p"}),
    ("REST", "ANY /{proxy+}", "//p", {"proxy": "p"}),
    ("REST", "ANY /{proxy+}", "/p//x", {"proxy": "p//x"}),
    ("H2", "GET /{a}/{b}", "/1/2", {"a": "1", "b": "2"}),
    ("REST", "GET /pets/{id}/toys/{toy+}", "/pets/7/toys/a/b", {"id": "7", "toy": "a/b"}),
    ("H2", "$default", "/a", None),
    ("URL", "GET /pets/{id}", "/pets/7", None),
]


@pytest.mark.parametrize(("kind", "key", "path", "parameters"), PARAMETERS)
def test_the_path_parameters(kind, key, path, parameters):
    assert event(kind, request(path=path), key).get("pathParameters") == parameters


@pytest.mark.parametrize("key", ["GET /pets/{id}", "ANY /{proxy+}", "$default"])
def test_the_route_key_is_the_template_with_its_braces(key):
    members = event("H2", key=key)
    assert members["routeKey"] == members["requestContext"]["routeKey"] == key
    assert event("H1", key=key)["requestContext"]["resourceId"] == key


# The query

QUERIES = [  # query, single of REST and H1, multiple of them, of H2 and URL, of ALB
    ("a=1&a=2", {"a": "2"}, {"a": ["1", "2"]}, {"a": "1,2"}, {"a": "2"}),
    ("a=x%20y+z", {"a": "x y z"}, {"a": ["x y z"]}, {"a": "x y z"}, {"a": "x%20y+z"}),
    ("a=", {"a": ""}, {"a": [""]}, {"a": ""}, {"a": ""}),
    ("a", {"a": ""}, {"a": [""]}, {"a": ""}, {"a": ""}),
    ("q=1,2", {"q": "1,2"}, {"q": ["1,2"]}, {"q": "1,2"}, {"q": "1,2"}),
    ("a=b=c", {"a": "b=c"}, {"a": ["b=c"]}, {"a": "b=c"}, {"a": "b=c"}),
    ("%61=1&a=2", {"a": "2"}, {"a": ["1", "2"]}, {"a": "1,2"}, {"%61": "1", "a": "2"}),
    ("&a=1&&", {"a": "1"}, {"a": ["1"]}, {"a": "1"}, {"a": "1"}),
    ("a=%FF", {"a": "\ufffd"}, {"a": ["\ufffd"]}, {"a": "\ufffd"}, {"a": "%FF"}),
]


@pytest.mark.parametrize(("query", "single", "multiple", "joined", "encoded"), QUERIES)
def test_the_query(query, single, multiple, joined, encoded):
    sent = request(query=query)
    for kind in ("REST", "H1"):
        members = event(kind, sent)
        assert members["queryStringParameters"] == single
        assert members["multiValueQueryStringParameters"] == multiple
    for kind in ("H2", "URL"):
        members = event(kind, sent)
        assert (members["queryStringParameters"], members["rawQueryString"]) == (joined, query)
    assert event("ALB", sent)["queryStringParameters"] == encoded


# Headers


def headers(kind, sent, **more):
    members = event(kind, sent, **more)
    return members["headers"] if kind != "ALB+" else members["multiValueHeaders"]


NAMES = [  # kind, header sent, name in the event
    ("REST", "tEsT-HEADeR", "tEsT-HEADeR"),
    ("REST", "user-agent", "User-Agent"),
    ("REST", "authorization", "Authorization"),
    ("REST", "x-amzn-trace-id", "X-Amzn-Trace-Id"),
    ("H1", "tEsT-HEADeR", "Test-Header"),
    ("H2", "tEsT-HEADeR", "test-header"),
    ("URL", "tEsT-HEADeR", "test-header"),
    ("ALB", "tEsT-HEADeR", "test-header"),
    ("ALB+", "tEsT-HEADeR", "test-header"),
]


@pytest.mark.parametrize(("kind", "sent", "name"), NAMES)
def test_the_name_of_a_header(kind, sent, name):
    assert name in headers(kind, request(headers={sent: "value"}))


REPEATED = [  # kind, single value, list of values
    ("REST", "2", ["1", "2"]),
    ("H1", "2", ["1", "2"]),
    ("H2", "1,2", None),
    ("URL", "1,2", None),
    ("ALB", "2", None),
    ("ALB+", None, ["1", "2"]),
]


@pytest.mark.parametrize(("kind", "single", "several"), REPEATED)
def test_a_repeated_header(kind, single, several):
    members = event(kind, request(headers=[("x-a", "1"), ("X-A", "2")]))
    found = {name: values for name, values in members.items() if name in ("headers", "multiValueHeaders")}
    lower = {name: {key.lower(): value for key, value in values.items()} for name, values in found.items()}
    assert lower.get("headers", {}).get("x-a") == single
    assert lower.get("multiValueHeaders", {}).get("x-a") == several


COOKIES = {  # kind: whether it has `cookies`, and the header
    "REST": (False, "Cookie"),
    "H1": (False, "Cookie"),
    "H2": (True, None),
    "URL": (True, "cookie"),
    "ALB": (False, "cookie"),
}


@pytest.mark.parametrize("kind", COOKIES)
def test_the_cookies(kind):
    members = event(kind, request(headers={"Cookie": "session=abc123; theme=dark"}))
    has_cookies, name = COOKIES[kind]
    assert members.get("cookies") == (["session=abc123", "theme=dark"] if has_cookies else None)
    found = {key: value for key, value in members["headers"].items() if key.lower() == "cookie"}
    assert found == ({name: "session=abc123; theme=dark"} if name else {})


@pytest.mark.parametrize("kind", ["H2", "URL"])
def test_two_headers_with_cookies_are_one(kind):
    assert event(kind, request(headers=[("Cookie", "a=1"), ("cookie", "b=2")]))["cookies"] == ["a=1", "b=2"]


LENGTHS = [  # kind, without a body, with one of 4 bytes
    ("REST", None, None),
    ("H1", "0", "4"),
    ("H2", "0", "4"),
    ("URL", None, "4"),
    ("ALB", None, "4"),
]


@pytest.mark.parametrize(("kind", "without", "with_body"), LENGTHS)
def test_the_content_length(kind, without, with_body):
    for body, expected in ((b"", without), (b"text", with_body)):
        lower = {name.lower(): value for name, value in headers(kind, request("POST", body=body)).items()}
        assert lower.get("content-length") == expected


REST_DROPS = (
    "Connection Content-Length Content-MD5 Expect Max-Forwards Proxy-Authenticate Server TE Trailer Transfer-Encoding "
    "Upgrade WWW-Authenticate"
).split()
DROPPED = [*(("REST", name) for name in REST_DROPS)] + [
    (kind, name) for kind in ("H1", "H2", "URL") for name in ("Connection", "Transfer-Encoding")
]


@pytest.mark.parametrize(("kind", "name"), DROPPED)
def test_a_header_that_the_event_does_not_have(kind, name):
    members = event(kind, request(headers={name: "value"}))
    assert name.lower() not in {key.lower() for key in members["headers"]}
    assert name.lower() not in {key.lower() for key in members.get("multiValueHeaders", {})}


def test_a_load_balancer_keeps_connection():
    assert headers("ALB", request(headers={"Connection": "keep-alive"}))["connection"] == "keep-alive"


@pytest.mark.parametrize("kind", ["REST", "H1", "H2", "URL", "ALB"])
def test_the_headers_that_aws_adds(kind):
    lower = {name.lower(): value for name, value in headers(kind, request(scheme="http", port=8080)).items()}
    assert lower.pop("content-length", "0") == "0"
    assert lower == {
        "host": HOST,
        "x-amzn-trace-id": TRACE,
        "x-forwarded-for": "192.0.2.7",
        "x-forwarded-port": "8080",
        "x-forwarded-proto": "http",
    }


def test_a_function_url_adds_the_cipher_of_a_request_with_tls():
    assert headers("URL", request())["x-amzn-tls-version"] == "TLSv1.3"
    assert headers("URL", request())["x-amzn-tls-cipher-suite"] == "TLS_AES_128_GCM_SHA256"


@pytest.mark.parametrize("kind", ["REST", "H1", "H2", "URL", "ALB"])
def test_the_client_is_added_to_addresses_and_its_trace_is_kept(kind):
    sent = request(headers={"X-Forwarded-For": "198.51.100.1", "X-Amzn-Trace-Id": "Root=1-a-b;Sampled=1"})
    lower = {name.lower(): value for name, value in headers(kind, sent).items()}
    assert lower["x-forwarded-for"] == "198.51.100.1, 192.0.2.7"
    assert lower["x-amzn-trace-id"] == "Root=1-a-b;Sampled=1"


@pytest.mark.parametrize("kind", ["REST", "H1", "H2", "URL"])
def test_the_last_of_two_hosts_counts(kind):
    sent = request(headers={"host": "shop.example.com"})
    assert event(kind, sent)["requestContext"]["domainName"] == "shop.example.com"
    assert {name.lower(): value for name, value in headers(kind, sent).items()}["host"] == "shop.example.com"


# The request context

IDS = {"REST": CONTEXT.request_id, "URL": CONTEXT.request_id} | dict.fromkeys(["H1", "H2"], CONTEXT.extended_request_id)


@pytest.mark.parametrize("kind", IDS)
def test_the_request_id(kind):
    assert event(kind)["requestContext"]["requestId"] == IDS[kind]


@pytest.mark.parametrize("kind", ["REST", "H1"])
def test_the_extended_request_id(kind):
    assert event(kind)["requestContext"]["extendedRequestId"] == CONTEXT.extended_request_id


@pytest.mark.parametrize("kind", IDS)
def test_time_is_text_in_utc_and_milliseconds(kind):
    context = event(kind)["requestContext"]
    assert context.get("time", context.get("requestTime")) == "10/Jul/2026:19:19:04 +0000"
    assert context.get("timeEpoch", context.get("requestTimeEpoch")) == 1783711144836


@pytest.mark.parametrize("kind", IDS)
@pytest.mark.parametrize(
    ("host", "domain", "prefix"),
    [(HOST, HOST, "abcdefghij"), ("localhost:3000", "localhost:3000", "localhost"), ("", "localhost", "localhost")],
)
def test_the_domain_is_the_host_of_the_request(kind, host, domain, prefix):
    sent = HttpRequest(headers=[("Host", host)] if host else [])
    context = event(kind, sent)["requestContext"]
    assert (context["domainName"], context["domainPrefix"], context["apiId"]) == (domain, prefix, prefix)


@pytest.mark.parametrize("kind", IDS)
def test_a_host_and_an_api_id_can_be_given(kind):
    context = event(kind, request(host="api.example.com"), api_id="Shop")["requestContext"]
    assert (context["domainName"], context["domainPrefix"], context["apiId"]) == ("api.example.com", "api", "Shop")


AGENTS = [("REST", None), ("H1", ""), ("H2", ""), ("URL", "")]


@pytest.mark.parametrize(("kind", "without"), AGENTS)
def test_the_user_agent(kind, without):
    for sent, expected in ((request(), without), (request(headers={"user-agent": "curl/8"}), "curl/8")):
        context = event(kind, sent)["requestContext"]
        found = context["identity"] if "identity" in context else context["http"]
        assert (found["userAgent"], found["sourceIp"]) == (expected, "192.0.2.7")


def test_an_operation_of_openapi_is_in_the_context_of_a_rest_api():
    members = rest_v1.event(request(), Route("GET /", operation_name="HelloWorld"))
    assert members["requestContext"]["operationName"] == "HelloWorld"


@pytest.mark.parametrize("kind", ["REST", "H1", "H2"])
def test_the_stage_and_its_variables(kind):
    members = event(kind, name="dev", variables={"table": "pets"})
    assert members["requestContext"]["stage"] == "dev"
    assert members["stageVariables"] == {"table": "pets"}


def test_a_function_url_has_one_stage_and_one_route():
    members = event("URL", key="GET /x", name="dev")
    assert (members["routeKey"], members["requestContext"]["stage"]) == ("$default", "$default")


# Callers

IAM = IamIdentity("AKIDEXAMPLE", "111122223333", "AIDACALLER", "arn:aws:iam::111122223333:user/ada", "AIDAUSER")
IAM_MEMBERS = {
    "accessKey": "AKIDEXAMPLE",
    "accountId": "111122223333",
    "callerId": "AIDACALLER",
    "cognitoIdentity": None,
    "principalOrgId": None,
    "userArn": "arn:aws:iam::111122223333:user/ada",
    "userId": "AIDAUSER",
}
LAMBDA = Caller(lambda_context={"team": "a", "size": 3, "ratio": 0.5, "admin": True}, principal_id="ada")
AS_TEXT = {"team": "a", "size": "3", "ratio": "0.5", "admin": "true", "principalId": "ada"}
CLAIMS = Caller(claims={"sub": "ada"}, scopes=["read"])
AUTHORIZERS = [  # kind, caller, requestContext.authorizer
    ("REST", Caller(), "absent"),
    ("REST", LAMBDA, AS_TEXT),
    ("REST", CLAIMS, {"claims": {"sub": "ada"}}),
    ("REST", Caller(iam=IAM), "absent"),
    ("H1", Caller(), {"claims": None, "scopes": None}),
    ("H1", LAMBDA, AS_TEXT),
    ("H1", CLAIMS, {"claims": {"sub": "ada"}, "scopes": ["read"]}),
    ("H2", Caller(), "absent"),
    ("H2", LAMBDA, {"lambda": {"team": "a", "size": 3, "ratio": 0.5, "admin": True}}),
    ("H2", CLAIMS, {"jwt": {"claims": {"sub": "ada"}, "scopes": ["read"]}}),
    ("H2", Caller(claims={"sub": "ada"}), {"jwt": {"claims": {"sub": "ada"}, "scopes": None}}),
    ("H2", Caller(iam=IAM), {"iam": IAM_MEMBERS}),
    ("URL", Caller(), "absent"),
    ("URL", Caller(iam=IAM), {"iam": IAM_MEMBERS}),
]


@pytest.mark.parametrize(("kind", "caller", "authorizer"), AUTHORIZERS)
def test_the_authorizer(kind, caller, authorizer):
    assert event(kind, caller=caller)["requestContext"].get("authorizer", "absent") == authorizer


def test_a_signed_request_has_its_account_and_identity():
    assert event("URL", caller=Caller(iam=IAM))["requestContext"]["accountId"] == "123456789012"
    identity = event("REST", caller=Caller(iam=IAM))["requestContext"]["identity"]
    assert identity["accessKey"] == "AKIDEXAMPLE"
    assert (identity["caller"], identity["user"], identity["userArn"]) == ("AIDACALLER", "AIDAUSER", IAM.user_arn)


def test_an_api_key_is_in_the_identity_of_a_rest_api():
    identity = event("REST", caller=Caller(api_key="secret", api_key_id="1"))["requestContext"]["identity"]
    assert (identity["apiKey"], identity["apiKeyId"]) == ("secret", "1")
    assert absent(event("REST")["requestContext"]["identity"], "apiKey", "apiKeyId")


# Bodies

TEXT = [
    "text/plain",
    "Text/Plain ;x=y",
    "text/html; charset=utf-8",
    "application/json",
    "application/xml",
    "application/javascript",
]
BINARY = [
    None,
    "application/x-www-form-urlencoded",
    "multipart/form-data; boundary=x",
    "image/png",
    "application/ld+json",
]


@pytest.mark.parametrize("kind", ["H1", "H2", "URL", "ALB", "ALB+"])
@pytest.mark.parametrize(("type", "is_text"), [*((type, True) for type in TEXT), *((type, False) for type in BINARY)])
def test_a_body_is_base64_unless_its_type_is_text(kind, type, is_text):
    members = event(kind, request("POST", headers={"Content-Type": type} if type else {}, body="ƛ".encode()))
    expected = "ƛ" if is_text else base64.b64encode("ƛ".encode()).decode()
    assert (members["body"], members["isBase64Encoded"]) == (expected, not is_text)


REST_BODIES = [  # binary media types, content type, whether the body is base64
    ([], "image/png", False),
    (["image/png"], "image/png", True),
    (["image/png"], "IMAGE/PNG; q=1", True),
    (["image/*"], "image/gif", True),
    (["image/*"], "text/plain", False),
    (["*/*"], "text/plain", True),
    (["*/*"], None, True),
    (["image/png", "text/csv"], "text/csv", True),
]


@pytest.mark.parametrize(("types", "type", "is_base64"), REST_BODIES)
def test_the_body_of_a_rest_api_is_base64_if_its_type_is_binary(types, type, is_base64):
    sent = request("POST", headers={"Content-Type": type} if type else {}, body=b"\x00ab")
    members = event("REST", sent, binary_media_types=types)
    assert (members["body"], members["isBase64Encoded"]) == ("AGFi" if is_base64 else "\x00ab", is_base64)


def test_no_body_is_never_base64():
    sent = request(headers={"Content-Type": "image/png", "Content-Encoding": "gzip"})
    assert [event(kind, sent, binary_media_types=["*/*"])["isBase64Encoded"] for kind in KINDS] == [False] * 6


@pytest.mark.parametrize("kind", ["REST", "H1", "H2", "URL", "ALB"])
def test_invalid_bytes_of_a_text_are_replaced(kind):
    sent = request("POST", headers={"Content-Type": "text/plain"}, body=b"a\xffb")
    assert event(kind, sent)["body"] == "a\ufffdb"


@pytest.mark.parametrize("kind", ["ALB", "ALB+"])
def test_a_load_balancer_passes_an_encoded_body_as_base64(kind):
    sent = request("POST", headers={"Content-Type": "text/plain", "Content-Encoding": "gzip"}, body=b"abc")
    assert (event(kind, sent)["body"], event(kind, sent)["isBase64Encoded"]) == ("YWJj", True)


def test_the_default_inputs_give_repeatable_events():
    for kind in KINDS.values():
        assert kind.event(HttpRequest()) == kind.event(HttpRequest())
    assert Stage().prefix("dev") == "/dev"
