"""Each operation as boto3 calls it: boto3 → our parser → our serialiser → boto3, with nothing changed on the way."""

import contextlib

import pytest
from hypothesis import HealthCheck, given, seed, settings

from serverfull_wsgi.api.model import exceptions, pagination, parsing, recorded, responses, routing, validation
from serverfull_wsgi.errors import TooManyRequestsException
from tests.api.model import calls
from tests.support.battery import SEED, share

OPERATIONS = calls.SERVICE.operations
PAGINATED = [operation for operation in OPERATIONS.values() if operation.pagination]
STREAMED = "InvokeWithResponseStream"  # its response is an event stream, which is not one body


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    with contextlib.closing(calls.aws_client(tmp_path_factory.mktemp("data"))) as client:
        yield client


@pytest.fixture(scope="module")
def network(client):
    return calls.Network(client)


def received(request):
    """Return the operation and the parameters of a request, after their validation."""
    path, query, headers, body = calls.parts(request)
    operation, labels = routing.match(request.method, path, query)
    parameters = parsing.parse(operation, labels, query, headers, body)
    validation.validate(operation, parameters)
    return operation.name, parameters


@pytest.mark.battery
@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS)
def test_parameters_and_results_are_the_same_on_both_sides(operation, client, network):
    @seed(SEED)
    @settings(max_examples=share(100, 5), deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(calls.parameters(operation), calls.results(operation))
    def check(parameters, result):
        seen = []

        def answer(request):
            seen.append(received(request))
            return (200, [], b"") if operation.name == STREAMED else responses.respond(operation, result)

        network.answer = answer
        response = calls.call(client, operation, parameters)
        assert seen == [(operation.name, parameters)]
        if operation.name != STREAMED:
            assert content(operation, response) == {**always_there(operation), **result}

    check()


def content(operation, response):
    """Return boto3's response without its metadata, with the whole payload."""
    del response["ResponseMetadata"]
    payload = operation.output and operation.output.payload
    return {**response, payload: response[payload].read()} if payload else response


def always_there(operation):
    """Return the members that boto3 adds if a result lacks them: the status and an empty payload."""
    members = operation.output.members.values() if operation.output else ()
    status = recorded.STATUSES.get(operation.name, operation.status)
    added = {member.name: status for member in members if member.location == "statusCode"}
    return {**added, operation.output.payload: b""} if operation.output and operation.output.payload else added


@pytest.mark.quick
@pytest.mark.parametrize("operation", PAGINATED, ids=lambda operation: operation.name)
def test_a_paginator_of_boto3_gets_each_item_once(operation, client, network):
    items = [item(operation, number) for number in range(1, 8)]
    limits = []

    def answer(request):
        path, query, headers, body = calls.parts(request)
        parameters = parsing.parse(*routing.match(request.method, path, query), query, headers, body)
        limits.append(parameters["MaxItems"])
        return responses.respond(operation, pagination.page(operation, items, parameters, items.index))

    network.answer = answer
    required = {name: "x" * int(m.shape.minimum or 1) for name, m in operation.input.members.items() if m.is_required}
    pages = client.get_paginator(calls.xform_name(operation.name)).paginate(
        **required, PaginationConfig={"PageSize": 3}
    )
    assert pages.build_full_result()[operation.pagination.result_key] == items
    assert limits == [3, 3, 3]


def item(operation, number):
    """Return an item of a list: a text, or a structure with one text."""
    element = operation.output.members[operation.pagination.result_key].shape.element
    if element.type == "string":
        return f"item-{number}"
    return {next(name for name, member in element.members.items() if member.shape.type == "string"): f"item-{number}"}


EXCEPTIONS = calls.SERVICE.exceptions()


@pytest.mark.quick
@pytest.mark.parametrize("code", EXCEPTIONS)
def test_an_exception_arrives_as_the_class_of_boto3(code, client, network):
    error = exceptions.exception(code)("It happened.")
    message = error.message  # TooManyRequestsException takes a reason instead, and has a fixed message
    headers = [("x-amzn-ErrorType", error.code), *error.headers()]
    network.answer = lambda request: (error.status.value, headers, error.body())
    with pytest.raises(getattr(client.exceptions, code)) as raised:
        client.list_functions()
    response = raised.value.response
    assert (response["Error"]["Code"], response["Error"]["Message"]) == (code, message)
    assert response["ResponseMetadata"]["HTTPStatusCode"] == EXCEPTIONS[code].error_status
    assert response[error.message_key] == message
    assert response["Type"] == "User"


def test_the_members_of_an_exception_arrive(client, network):
    error = exceptions.exception("EC2UnexpectedException")("EC2 failed.", EC2ErrorCode="InsufficientCapacity")
    assert error.body() == b'{"EC2ErrorCode":"InsufficientCapacity","Type":"User","Message":"EC2 failed."}'
    network.answer = lambda request: (502, [("x-amzn-ErrorType", error.code)], error.body())
    with pytest.raises(client.exceptions.EC2UnexpectedException) as raised:
        client.list_functions()
    assert raised.value.response["EC2ErrorCode"] == "InsufficientCapacity"


def test_a_member_in_a_header_arrives(client, network):
    error = TooManyRequestsException("CallerRateLimitExceeded", retry_after=3)
    network.answer = lambda request: (429, [("x-amzn-ErrorType", error.code), *error.headers()], error.body())
    with pytest.raises(client.exceptions.TooManyRequestsException) as raised:
        client.list_functions()
    assert (raised.value.response["retryAfterSeconds"], raised.value.response["Reason"]) == ("3", error.reason)


@pytest.mark.parametrize(
    ("code", "key"),
    [
        ("ResourceNotFoundException", "Message"),
        ("CodeSigningConfigNotFoundException", "Message"),
        ("ServiceException", "Message"),
        ("KMSDisabledException", "Message"),
        ("ENILimitReachedException", "Message"),
        ("EFSIOException", "Message"),
        ("InvalidParameterValueException", "message"),
        ("InvalidRequestContentException", "message"),
        ("ResourceConflictException", "message"),
        ("PreconditionFailedException", "message"),
        ("TooManyRequestsException", "message"),
        ("ProvisionedConcurrencyConfigNotFoundException", "message"),
    ],
)
def test_the_key_of_the_message_is_as_recorded_from_aws(code, key):
    assert key in EXCEPTIONS[code].members
    assert exceptions.exception(code).message_key == key


def test_an_exception_has_no_member_that_the_model_lacks():
    with pytest.raises(TypeError, match="SnapStartNotReadyException has no member Reason"):
        exceptions.exception("SnapStartNotReadyException")("It happened.", Reason="x")
    with pytest.raises(KeyError):
        exceptions.exception("NoSuchException")
