"""Mock integrations: their answers, and the mocks that refuse their requests."""

import pytest
from werkzeug.test import Client

from serverfull_wsgi import Application, StaticFetcher
from serverfull_wsgi.gateway.access import Access
from serverfull_wsgi.gateway.formats import Route, rest_v1
from serverfull_wsgi.gateway.front import SiteServer
from serverfull_wsgi.gateway.gateway import Gateway
from serverfull_wsgi.gateway.sites import Endpoint, FixedAnswer, rest_api
from serverfull_wsgi.gateway.sources.mocks import NotStatic, as_openapi, mock_answer

pytestmark = pytest.mark.quick

HEADER = "method.response.header."


def request(template):
    return {"requestTemplates": {"application/json": template}}


def responses(**by_status):
    return {"responses": {name.lstrip("_"): members for name, members in by_status.items()}}


BODY = {"responseTemplates": {"application/json": '{"message": "Go ahead"}'}}
ANSWERS = [  # integration, answer
    (responses(default={}), FixedAnswer()),
    (responses(default={"statusCode": 201}), FixedAnswer(201)),
    ({**request('{"statusCode": 200}'), **responses(default={"statusCode": "204"})}, FixedAnswer(204)),
    (
        {**request("{ statusCode: 404 }"), **responses(default={}, _404={"statusCode": "404", **BODY})},
        FixedAnswer(404, body=b'{"message": "Go ahead"}'),
    ),
    (
        {
            **request('{"message": "x", "statusCode" : "503"}\n'),
            **responses(default={}, **{"_5\\d{2}": {"statusCode": 500}}),
        },
        FixedAnswer(500),
    ),
    (
        responses(default={"responseTemplates": {"text/html": "<a href='#top'>5 $</a>"}}),
        FixedAnswer(body=b"<a href='#top'>5 $</a>", content_type="text/html"),
    ),
    (
        responses(default={"responseTemplates": {"text/xml": "<a/>", "application/json": None}}),
        FixedAnswer(),
    ),
    (
        responses(default={"responseParameters": {f"{HEADER}A": "'a''b'", f"{HEADER}B": "''", "other": "x"}}),
        FixedAnswer(headers=(("A", "a''b"), ("B", ""))),
    ),
    (
        responses(default={"responseParameters": {f"{HEADER}A B": "'1'", HEADER: "'1'", f"{HEADER}C": "'1\r\nD: 2'"}}),
        FixedAnswer(),
    ),
]  # fmt: skip


@pytest.mark.parametrize(("integration", "answer"), ANSWERS)
def test_a_mock_gives_the_answer_of_its_template(integration, answer):
    assert mock_answer(integration) == answer


NOT_STATIC = [
    {},
    responses(_200={}),
    {**request('{"statusCode": 404}'), **responses(_200={})},
    {**request("{}"), **responses(default={})},
    {**request("#if($input.params('a') == 'b') {\"statusCode\": 200} #end"), **responses(default={})},
    {**request('{"statusCode": $context.status}'), **responses(default={})},
    responses(default={"statusCode": "soon"}),
    responses(default={"statusCode": 100}),
    responses(default={"statusCode": True}),
    responses(default={"responseTemplates": {"application/json": '{"id": "$context.requestId"}'}}),
    responses(default={"responseTemplates": {"application/json": "#set ($a = 1)"}}),
    responses(default={"responseTemplates": {"application/json": "## a comment"}}),
    responses(default={"responseTemplates": {"application/json": "${a}"}}),
    responses(default={"responseParameters": {f"{HEADER}A": "integration.response.header.A"}}),
    responses(default={"responseParameters": {f"{HEADER}A": "context.requestId"}}),
    responses(default={"responseParameters": {f"{HEADER}A": 5}}),
    {"requestTemplates": 5, "responses": []},
]


@pytest.mark.parametrize("integration", NOT_STATIC)
def test_a_mock_whose_answer_depends_on_the_request_is_not_static(integration):
    with pytest.raises(NotStatic):
        mock_answer(integration)


def test_an_integration_of_cloudformation_has_the_same_answers():
    answers = [
        {"StatusCode": "200", "ResponseTemplates": {"application/json": "{}"}},
        {"StatusCode": "404", "SelectionPattern": "4\\d\\d", "ResponseParameters": {f"{HEADER}A": "'1'"}},
    ]
    integration = {"RequestTemplates": {"application/json": "{ statusCode: 404 }"}, "IntegrationResponses": answers}
    assert mock_answer(as_openapi(integration)) == FixedAnswer(404, (("A", "1"),))
    assert mock_answer(as_openapi({"IntegrationResponses": answers})) == FixedAnswer(200, body=b"{}")


def test_a_mock_is_for_callers_that_meet_the_conditions_of_its_route():
    application = Application(StaticFetcher({}))
    fixed = FixedAnswer(201, (("A", "1"), ("Content-Type", "text/plain")), b"made")
    endpoints = {
        "GET /open": Endpoint(Route("GET /open"), rest_v1, fixed=fixed),
        "GET /keyed": Endpoint(Route("GET /keyed"), rest_v1, access=Access(needs_api_key=True), fixed=fixed),
        "GET /refused": Endpoint(Route("GET /refused"), rest_v1, access=Access("something"), fixed=fixed),
    }
    client = Client(SiteServer(Gateway(application.dispatcher), root=rest_api(("shop",), endpoints)))
    response = client.get("/open")
    assert (response.status_code, response.text, response.headers["A"]) == (201, "made", "1")
    assert response.headers["Content-Type"] == "text/plain"
    assert {"x-amzn-RequestId", "x-amz-apigw-id"} <= set(response.headers.keys())
    assert client.get("/keyed").status_code == 403
    assert client.get("/refused").status_code == 500
    application.close()
