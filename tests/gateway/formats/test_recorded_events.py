"""Whole events, as recorded on AWS in July 2026; hosts, addresses and accounts are replaced."""

import json

import pytest

from serverfull_wsgi.gateway.formats import (
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
from tests.gateway.formats.kinds import TRACE, request

pytestmark = pytest.mark.quick

QUERY = "repeat=one&repeat=two&redirect=https%3A%2F%2Fexample.com%2Fa%2Fb&literalPlus=a+b&encodedPlus=a%2Bb&empty="
BODY = '{"message":"hello from the public internet","unicode":"lambda-λ"}'
SENT = request(
    "POST",
    "/capture/space%20value",
    QUERY,
    [
        ("User-Agent", "curl/8.7.1"),
        ("accept", "*/*"),
        ("content-length", "66"),
        ("content-type", "application/json"),
        ("cookie", "session=abc123; theme=dark"),
        ("x-probe", "first"),
        ("x-probe", "second"),
    ],
    BODY.encode(),
)
HOST = "abcdefghij.execute-api.eu-west-1.amazonaws.com"
LOWER = {
    "accept": "*/*",
    "content-length": "66",
    "content-type": "application/json",
    "host": HOST,
    "user-agent": "curl/8.7.1",
    "x-amzn-trace-id": TRACE,
    "x-forwarded-for": "192.0.2.7",
    "x-forwarded-port": "443",
    "x-forwarded-proto": "https",
    "x-probe": "first,second",
}
DECODED = {
    "empty": "",
    "encodedPlus": "a+b",
    "literalPlus": "a b",
    "redirect": "https://example.com/a/b",
    "repeat": "one,two",
}
CONTEXT = RequestContext("7c2af7db-31f3-42b5-8a6d-9ffc74e3b9e0", "ATfSdF7nPHcErRA=", TRACE, 1783711144.836)
LIVE = Stage("live", account_id="111122223333", deployment_id="abc123", binary_media_types=["image/*"])


def lists(values, **several):
    return {**{name: [value] for name, value in values.items()}, **several}


def test_the_event_of_a_rest_api():
    headers = {
        "Host": HOST,
        "User-Agent": "curl/8.7.1",
        "X-Amzn-Trace-Id": TRACE,
        "X-Forwarded-For": "192.0.2.7",
        "X-Forwarded-Port": "443",
        "X-Forwarded-Proto": "https",
        "accept": "*/*",
        "content-type": "application/json",
        "cookie": "session=abc123; theme=dark",
        "x-probe": "second",
    }
    assert rest_v1.event(SENT, Route("ANY /{proxy+}", stage=LIVE, resource_id="al6gqb"), CONTEXT) == {
        "resource": "/{proxy+}",
        "path": "/capture/space%20value",
        "httpMethod": "POST",
        "headers": headers,
        "multiValueHeaders": {**lists(headers), "x-probe": ["first", "second"]},
        "queryStringParameters": {**DECODED, "repeat": "two"},
        "multiValueQueryStringParameters": lists(DECODED, repeat=["one", "two"]),
        "pathParameters": {"proxy": "capture/space%20value"},
        "stageVariables": None,
        "requestContext": {
            "accountId": "111122223333",
            "apiId": "abcdefghij",
            "deploymentId": "abc123",
            "domainName": HOST,
            "domainPrefix": "abcdefghij",
            "extendedRequestId": "ATfSdF7nPHcErRA=",
            "httpMethod": "POST",
            "identity": {
                "accessKey": None,
                "accountId": None,
                "caller": None,
                "cognitoAuthenticationProvider": None,
                "cognitoAuthenticationType": None,
                "cognitoIdentityId": None,
                "cognitoIdentityPoolId": None,
                "principalOrgId": None,
                "sourceIp": "192.0.2.7",
                "user": None,
                "userAgent": "curl/8.7.1",
                "userArn": None,
            },
            "path": "/live/capture/space%20value",
            "protocol": "HTTP/1.1",
            "requestId": "7c2af7db-31f3-42b5-8a6d-9ffc74e3b9e0",
            "requestTime": "10/Jul/2026:19:19:04 +0000",
            "requestTimeEpoch": 1783711144836,
            "resourceId": "al6gqb",
            "resourcePath": "/{proxy+}",
            "stage": "live",
        },
        "body": BODY,
        "isBase64Encoded": False,
    }


def test_the_event_of_an_http_api_with_payload_2_0():
    assert http_v2.event(SENT, Route("$default", stage=Stage(account_id="111122223333")), CONTEXT) == {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": "/capture/space value",
        "rawQueryString": QUERY,
        "cookies": ["session=abc123", "theme=dark"],
        "headers": LOWER,
        "queryStringParameters": DECODED,
        "requestContext": {
            "accountId": "111122223333",
            "apiId": "abcdefghij",
            "domainName": HOST,
            "domainPrefix": "abcdefghij",
            "http": {
                "method": "POST",
                "path": "/capture/space value",
                "protocol": "HTTP/1.1",
                "sourceIp": "192.0.2.7",
                "userAgent": "curl/8.7.1",
            },
            "requestId": "ATfSdF7nPHcErRA=",
            "routeKey": "$default",
            "stage": "$default",
            "time": "10/Jul/2026:19:19:04 +0000",
            "timeEpoch": 1783711144836,
        },
        "body": BODY,
        "isBase64Encoded": False,
    }


def test_the_event_of_a_function_url():
    members = function_url.event(SENT, Route(), CONTEXT)
    assert members == {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": "/capture/space%20value",
        "rawQueryString": QUERY,
        "cookies": ["session=abc123", "theme=dark"],
        "headers": {
            **LOWER,
            "cookie": "session=abc123; theme=dark",
            "x-amzn-tls-cipher-suite": "TLS_AES_128_GCM_SHA256",
            "x-amzn-tls-version": "TLSv1.3",
        },
        "queryStringParameters": DECODED,
        "requestContext": {
            "accountId": "anonymous",
            "apiId": "abcdefghij",
            "domainName": HOST,
            "domainPrefix": "abcdefghij",
            "http": {
                "method": "POST",
                "path": "/capture/space value",
                "protocol": "HTTP/1.1",
                "sourceIp": "192.0.2.7",
                "userAgent": "curl/8.7.1",
            },
            "requestId": "7c2af7db-31f3-42b5-8a6d-9ffc74e3b9e0",
            "routeKey": "$default",
            "stage": "$default",
            "time": "10/Jul/2026:19:19:04 +0000",
            "timeEpoch": 1783711144836,
        },
        "body": BODY,
        "isBase64Encoded": False,
    }


def test_the_event_of_a_load_balancer_with_multi_value_headers():
    assert alb.event(SENT._replace(port=80, scheme="http"), TargetGroup("arn:group", True), CONTEXT) == {
        "requestContext": {"elb": {"targetGroupArn": "arn:group"}},
        "httpMethod": "POST",
        "path": "/capture/space%20value",
        "multiValueQueryStringParameters": {
            "empty": [""],
            "encodedPlus": ["a%2Bb"],
            "literalPlus": ["a+b"],
            "redirect": ["https%3A%2F%2Fexample.com%2Fa%2Fb"],
            "repeat": ["one", "two"],
        },
        "multiValueHeaders": {
            **lists(LOWER),
            "cookie": ["session=abc123; theme=dark"],
            "x-forwarded-port": ["80"],
            "x-forwarded-proto": ["http"],
            "x-probe": ["first", "second"],
        },
        "body": BODY,
        "isBase64Encoded": False,
    }


def test_the_event_of_an_http_api_with_payload_1_0():
    """Recorded in April 2025, from a client without a User-Agent."""
    sent = request("POST", "/products/%E2%98%95%20Coffee", "q=Hello+World&tag=C%23&tag=.NET%20Core")
    template = "/products/{productName}"
    headers = {
        "Content-Length": "0",
        "Host": HOST,
        "X-Amzn-Trace-Id": TRACE,
        "X-Forwarded-For": "192.0.2.7",
        "X-Forwarded-Port": "443",
        "X-Forwarded-Proto": "https",
    }
    members = http_v1.event(sent, Route(f"POST {template}"), CONTEXT)
    context = members.pop("requestContext")
    assert members == {
        "version": "1.0",
        "resource": template,
        "path": "/products/%E2%98%95%20Coffee",
        "httpMethod": "POST",
        "headers": headers,
        "multiValueHeaders": lists(headers),
        "queryStringParameters": {"q": "Hello World", "tag": ".NET Core"},
        "multiValueQueryStringParameters": {"q": ["Hello World"], "tag": ["C#", ".NET Core"]},
        "pathParameters": {"productName": "☕ Coffee"},
        "stageVariables": None,
        "body": None,
        "isBase64Encoded": False,
    }
    assert context.pop("identity")["userAgent"] == ""
    assert context == {
        "accountId": "123456789012",
        "apiId": "abcdefghij",
        "authorizer": {"claims": None, "scopes": None},
        "domainName": HOST,
        "domainPrefix": "abcdefghij",
        "extendedRequestId": "ATfSdF7nPHcErRA=",
        "httpMethod": "POST",
        "path": "/products/☕ Coffee",
        "protocol": "HTTP/1.1",
        "requestId": "ATfSdF7nPHcErRA=",
        "requestTime": "10/Jul/2026:19:19:04 +0000",
        "requestTimeEpoch": 1783711144836,
        "resourceId": f"POST {template}",
        "resourcePath": template,
        "stage": "$default",
    }


SENT_AND_HTTP_API = [
    ("/capture/plain", "/capture/plain"),
    ("/capture/space%20value", "/capture/space value"),
    ("/capture/question%3Fvalue", "/capture/question"),
    ("/capture/hash%23value", "/capture/hash#value"),
    ("/capture/slash%2Fvalue", "/capture/slash/value"),
    ("/capture/unicode-%CE%BB-%E4%B8%96%E7%95%8C", "/capture/unicode-λ-世界"),
    ("/capture/literal%252Fvalue", "/capture/literal/value"),
    ("/capture/literal%253Fvalue", "/capture/literal?value"),
    ("/capture/literal%2525value", "/capture/literal%value"),
]


@pytest.mark.parametrize(("sent", "decoded"), SENT_AND_HTTP_API)
def test_an_http_api_decodes_a_path_twice_and_other_kinds_pass_it_on(sent, decoded):
    assert http_v2.is_valid_path(sent)
    event = http_v2.event(request(path=sent))
    assert event["rawPath"] == event["requestContext"]["http"]["path"] == decoded
    assert function_url.event(request(path=sent))["rawPath"] == sent
    assert rest_v1.event(request(path=sent))["path"] == sent
    assert alb.event(request(path=sent))["path"] == sent


@pytest.mark.parametrize("path", ["/capture/percent%25done", "/capture/%Ft", "/%", "/%2"])
def test_an_http_api_refuses_a_path_with_a_broken_escape(path):
    assert not http_v2.is_valid_path(path)
    assert json.dumps(http_v2.event(request(path=path)))


@pytest.mark.parametrize(
    ("sent", "parameter"),
    [
        ("/test-path", "test-path"),
        ("/test-path/", "test-path"),
        ("/test-path/api/user/test%2Balias@gmail.com/plus/test+alias@gmail.com",) * 2,
    ],
)
def test_a_rest_api_passes_the_path_on_and_takes_the_last_slash_off_the_parameter(sent, parameter):
    members = rest_v1.event(request(path=sent), Route("ANY /{proxy+}", stage=Stage("test")))
    assert members["path"] == sent
    assert members["requestContext"]["path"] == f"/test{sent}"
    assert members["pathParameters"] == {"proxy": parameter.removeprefix("/")}


def test_a_rest_api_decodes_the_query_once():
    query = (
        "dateTimeOffset=2023-06-12T18:05:10.123456+00:00&email=test%2Balias@gmail.com&plus=test+alias@gmail.com"
        "&url=https://www.google.com/&whitespace=foo%20bar&zhash=abort/"
    )
    assert rest_v1.event(request(query=query))["queryStringParameters"] == {
        "dateTimeOffset": "2023-06-12T18:05:10.123456 00:00",
        "email": "test+alias@gmail.com",
        "plus": "test alias@gmail.com",
        "url": "https://www.google.com/",
        "whitespace": "foo bar",
        "zhash": "abort/",
    }
