"""All operations of AWS's model over HTTP: routing, refusals, limits and messages."""

import json

import pytest
from botocore import xform_name
from botocore.exceptions import ClientError

from serverfull_wsgi import Application, Function, StaticFetcher
from serverfull_wsgi.api.management.endpoints import ENDPOINTS, SERVED_ELSEWHERE, cure
from serverfull_wsgi.api.model.service import load
from serverfull_wsgi.wsgi.bodies import PIECE, PLACES
from tests.support import handlers, management
from tests.support.registry import ROLE
from tests.support.signing import Sent, call, message

pytestmark = pytest.mark.quick

OPERATIONS = load().operations
REFUSED = sorted(OPERATIONS.keys() - ENDPOINTS.keys() - SERVED_ELSEWHERE)
VALUES = {  # valid values of required members, where the name of the shape is not enough
    "FunctionName": "hello",
    "UUID": "0" * 8,
    "CodeSigningConfigArn": "arn:aws:lambda:us-east-1:123456789012:code-signing-config:csc-0123456789abcdefg",
}


@pytest.fixture(scope="module")
def application():
    hello = Function(handlers.hello, environment={}, memory_size=256, timeout=1.5, reserved=7)
    fetcher = StaticFetcher({"hello": hello, "hello:1": handlers.hello, "hello-2": handlers.hello}, {"hello:prod": "1"})
    with_application = Application(fetcher)
    yield with_application
    with_application.close()


@pytest.fixture(scope="module")
def aws(application):
    with management.client(application) as aws:
        yield aws


def test_each_operation_is_served_or_refused_with_an_alternative():
    assert ENDPOINTS.keys() <= OPERATIONS.keys()
    assert OPERATIONS.keys() >= SERVED_ELSEWHERE
    assert all(cure(name).endswith(".") for name in REFUSED)


@pytest.mark.parametrize("name", REFUSED)
def test_a_refusal_names_the_operation_and_what_to_use_instead(aws, name):
    required = {
        member.name: VALUES.get(member.name, 1 if member.shape.type in ("integer", "long") else "x")
        for member in OPERATIONS[name].input.members.values()
        if member.is_required and member.location != "body"
    }
    with pytest.raises(aws.exceptions.InvalidParameterValueException) as caught:
        getattr(aws, xform_name(name))(**required)
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400
    text = caught.value.response["Error"]["Message"]
    assert text.startswith(f"{name} is not supported by this server. ")
    assert text.removesuffix(cure(name)) != text


def test_functions_of_a_configuration_are_read_and_listed(aws):
    configuration = aws.get_function_configuration(FunctionName="hello")
    assert configuration["FunctionArn"] == "arn:aws:lambda:us-east-1:123456789012:function:hello"
    assert (configuration["Timeout"], configuration["MemorySize"], configuration["State"]) == (2, 256, "Active")
    assert configuration["Handler"] == "tests.support.handlers.hello"
    assert aws.get_function(FunctionName="hello")["Concurrency"] == {"ReservedConcurrentExecutions": 7}
    assert aws.get_function_concurrency(FunctionName="hello")["ReservedConcurrentExecutions"] == 7
    listed = aws.list_functions()["Functions"]
    assert [item["FunctionName"] for item in listed] == ["hello", "hello-2"]
    assert not {"State", "LastUpdateStatus", "Environment"} & listed[0].keys()
    every = aws.list_functions(FunctionVersion="ALL")["Functions"]
    assert [item["FunctionArn"].rpartition("function:")[2] for item in every] == [
        "hello:$LATEST",
        "hello:1",
        "hello-2:$LATEST",
    ]
    versions = aws.list_versions_by_function(FunctionName="hello")["Versions"]
    assert [item["Version"] for item in versions] == ["$LATEST", "1"]


def test_an_alias_of_a_configuration_is_read(aws):
    alias = aws.get_alias(FunctionName="hello", Name="prod")
    assert (alias["FunctionVersion"], alias["AliasArn"][-10:]) == ("1", "hello:prod")
    assert [it["Name"] for it in aws.list_aliases(FunctionName="hello")["Aliases"]] == ["prod"]
    assert aws.list_aliases(FunctionName="hello", FunctionVersion="2")["Aliases"] == []
    function = aws.get_function(FunctionName="hello", Qualifier="prod")
    assert function["Configuration"]["Version"] == "1"
    assert function["Configuration"]["FunctionArn"].endswith(":hello:prod")


NOT_FOUND, INVALID = "ResourceNotFoundException", "InvalidParameterValueException"
ARN = "arn:aws:lambda:us-east-1:123456789012:function"


@pytest.mark.parametrize(
    ("operation", "parameters", "code", "text"),
    [
        ("get_function", {"FunctionName": "absent"}, NOT_FOUND, f"Function not found: {ARN}:absent"),
        (
            "get_function_configuration",
            {"FunctionName": "hello", "Qualifier": "9"},
            NOT_FOUND,
            f"Function not found: {ARN}:hello:9",
        ),
        (
            "get_function",
            {"FunctionName": "hello:1", "Qualifier": "2"},
            INVALID,
            "The derived qualifier from the function name does not match the specified qualifier.",
        ),
        (
            "get_function",
            {"FunctionName": "arn:aws:lambda:eu-west-1:123456789012:function:hello"},
            NOT_FOUND,
            "Functions from 'eu-west-1' are not reachable in this region ('us-east-1')",
        ),
        (
            "get_function",
            {"FunctionName": "arn:aws:lambda:us-east-1:999999999999:function:hello"},
            "AccessDeniedException",
            "User: anonymous is not authorized to perform: lambda:GetFunction on resource: arn:aws:lambda:us-east-1:"
            "999999999999:function:hello because it belongs to another account than this server's (123456789012)",
        ),
        ("get_alias", {"FunctionName": "hello", "Name": "x"}, NOT_FOUND, f"Cannot find alias arn: {ARN}:hello:x"),
        ("get_policy", {"FunctionName": "hello"}, NOT_FOUND, "The resource you requested does not exist."),
        ("list_function_url_configs", {"FunctionName": "absent"}, NOT_FOUND, "Function does not exist"),
        (
            "get_function_concurrency",
            {"FunctionName": "hello:1"},
            INVALID,
            "This operation is permitted on Lambda functions only. Aliases and versions do not support this operation. "
            "Please specify either a function name or an unqualified function ARN.",
        ),
        (
            "list_tags",
            {"Resource": f"{ARN}:hello:1"},
            INVALID,
            "Tags on function aliases and versions are not supported. Please specify a function ARN.",
        ),
        ("list_functions", {"Marker": "x"}, INVALID, "The marker 'x' is not valid. Use the NextMarker of a response."),
    ],
)
def test_a_read_that_fails_has_the_message_of_aws(aws, operation, parameters, code, text):
    with pytest.raises(ClientError) as caught:
        getattr(aws, operation)(**parameters)
    error = caught.value.response["Error"]
    assert (error["Code"], error["Message"]) == (code, text)


def test_things_that_no_function_has_are_empty_and_not_missing(aws):
    assert aws.list_function_url_configs(FunctionName="hello")["FunctionUrlConfigs"] == []
    assert aws.list_event_source_mappings(FunctionName="hello")["EventSourceMappings"] == []
    assert "CodeSigningConfigArn" not in aws.get_function_code_signing_config(FunctionName="hello")
    assert "ReservedConcurrentExecutions" not in aws.get_function_concurrency(FunctionName="hello-2")
    assert aws.list_tags(Resource=f"{ARN}:hello")["Tags"] == {}
    assert aws.list_capacity_providers()["CapacityProviders"] == []
    assert aws.get_account_settings()["AccountUsage"] == {"TotalCodeSize": 0, "FunctionCount": 2}


def test_every_page_is_reached_by_its_marker(aws):
    pages = list(aws.get_paginator("list_functions").paginate(PaginationConfig={"PageSize": 1}))
    assert [item["FunctionName"] for page in pages for item in page["Functions"]] == ["hello", "hello-2"]


def test_a_fetcher_that_cannot_list_its_functions_is_read_by_name():
    class ByName:
        def fetch(self, name, qualifier="$LATEST"):
            return handlers.hello

    with management.client(Application(ByName())) as aws:
        assert aws.get_function(FunctionName="any")["Configuration"]["FunctionName"] == "any"
        with pytest.raises(aws.exceptions.InvalidParameterValueException, match="ByName, finds functions by name"):
            aws.list_functions()


def test_a_message_about_a_long_value_is_short(tmp_path):
    with management.deployable(tmp_path, deploy_unsigned=True) as application:
        body = json.dumps({"FunctionName": "hello", "Role": "r" * 1_000_000, "Code": {}}).encode()
        response = call(application, Sent("POST", "/2015-03-31/functions", body=body).environ())
    assert response.headers["x-amzn-errortype"] == "ValidationException"
    assert len(message(response)) < 5000


@pytest.mark.parametrize(
    ("method", "path", "limit", "name"),
    [
        ("POST", "/2015-03-31/functions", 70_167_211, "CreateFunction"),
        ("PUT", "/2015-03-31/functions/hello/code", 70_167_211, "UpdateFunctionCode"),
        ("PUT", "/2015-03-31/functions/hello/configuration", 6_291_456, "UpdateFunctionConfiguration"),
    ],
)
@pytest.mark.parametrize("is_signed", [True, False])
def test_a_body_over_the_limit_of_its_operation_is_refused(tmp_path, method, path, limit, name, is_signed):
    with management.deployable(tmp_path, deploy_unsigned=True) as application:
        request = Sent(method, path)
        environ = request.environ(CONTENT_LENGTH=str(limit + 1))
        if is_signed:
            application, environ = management.signed(application), management.signed_environ(environ)
        response = call(application, environ)
    assert response.status == 413
    assert message(response) == f"Request must be smaller than {limit} bytes for the {name} operation"


def test_the_size_of_large_bodies_at_a_time_is_bounded(tmp_path):
    with management.deployable(tmp_path, deploy_unsigned=True) as application:
        request = Sent("POST", "/2015-03-31/functions", body=b" " * 6_291_457)
        with management.full_of_bodies():
            full = call(application, request.environ())
        free = call(application, request.environ())
    assert (full.status, full.headers["x-amzn-errortype"]) == (429, "TooManyRequestsException")
    assert free.status == 400  # not JSON


def test_a_large_body_gives_its_places_back(tmp_path):
    with management.deployable(tmp_path) as application, management.client(management.signed(application)) as aws:
        with pytest.raises(aws.exceptions.InvalidParameterValueException, match="Could not unzip"):
            management.create(aws, zip=b"\0" * 4_800_000)
        with management.client(management.signed(application), key="READER") as reader:
            with pytest.raises(ClientError, match="AccessDenied"):
                management.create(reader, zip=b"\0" * 4_800_000)
    with management.full_of_bodies() as size:
        assert size == PLACES * PIECE


def test_a_function_whose_package_is_large_is_created_from_a_body_in_chunks(tmp_path):
    package = management.large_package()
    with management.deployable(tmp_path, deploy_unsigned=True) as application:
        request = {"FunctionName": "hello", "Runtime": "python3.11", "Role": ROLE, "Handler": "app.handler"}
        body = json.dumps({**request, "Code": {"ZipFile": package}}).encode()
        environ = Sent("POST", "/2015-03-31/functions", body=body).environ(CONTENT_LENGTH=None)
        response = call(application, {**environ, "wsgi.input_terminated": True})
    assert len(body) > 6_291_456
    assert response.status == 201


def test_a_trailing_slash_means_nothing(application):
    assert call(application, Sent("GET", "/2015-03-31/functions/").environ()).status == 200


@pytest.mark.parametrize("method", ["HEAD", "PATCH", "OPTIONS"])
def test_a_method_without_an_operation_is_a_404(application, method):
    response = call(application, Sent(method, "/2015-03-31/functions").environ())
    assert response.headers["x-amzn-errortype"] == "UnknownOperationException"
