"""AWS's recorded behaviour of Invoke and InvokeAsync, row by row, in every place the application can be served from."""

import base64
import json
import re

import pytest

ARN = "arn:aws:lambda:us-east-1:123456789012:function:"
UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
TRACE = re.compile(r"root=1-[0-9a-f]{8}-[0-9a-f]{24};sampled=[01];lineage=[0-9a-f]+:\d+")
PATTERN = "satisfy regular expression pattern: (arn:(aws[a-zA-Z-]*)?:lambda:)?"


def refused(response, status, code, **members):
    """That this is AWS's refusal: code in the header, members of the body in their own case, a request id."""
    assert response.status == status, response
    assert response.headers["x-amzn-ErrorType"] == code
    assert response.headers["Content-Type"] == "application/json"
    assert UUID.fullmatch(response.headers["x-amzn-RequestId"])
    for name, expected in members.items():
        assert response.json[name] == expected
    return response.json


# Section 1: invocation types


def test_a_call_answers_200_with_the_runtimes_bytes_and_awss_headers(invoke):
    response = invoke("echo", b'{"a":   1}')
    assert (response.status, response.body) == (200, b'{"a": 1}')
    assert response.headers["Content-Type"] == "application/json"
    assert response.headers["Content-Length"] == "8"
    assert response.headers["X-Amz-Executed-Version"] == "$LATEST"
    assert response.headers["x-amzn-Remapped-Content-Length"] == "0"
    assert UUID.fullmatch(response.headers["x-amzn-RequestId"])
    assert TRACE.fullmatch(response.headers["X-Amzn-Trace-Id"])
    assert "X-Amz-Function-Error" not in response.headers
    assert "X-Amz-Log-Result" not in response.headers


def test_a_failing_handler_is_still_a_200_with_the_error_in_the_body(invoke):
    response = invoke("broken")
    assert response.status == 200
    assert response.headers["X-Amz-Function-Error"] == "Unhandled"
    assert response.headers["X-Amz-Executed-Version"] == "$LATEST"
    assert response.json["errorType"] == "ValueError"


def test_an_event_answers_202_with_nothing_in_it(invoke):
    response = invoke("hello", headers={"X-Amz-Invocation-Type": "Event", "X-Amz-Log-Type": "Tail"})
    assert (response.status, response.body) == (202, b"")
    assert "X-Amz-Executed-Version" not in response.headers
    assert "X-Amz-Log-Result" not in response.headers
    assert UUID.fullmatch(response.headers["x-amzn-RequestId"])


def test_a_dry_run_answers_204_and_runs_nothing(invoke, tmp_path):
    payload = json.dumps({"file": str(tmp_path / "ran")}).encode()
    response = invoke("record", payload, headers={"X-Amz-Invocation-Type": "DryRun"})
    assert (response.status, response.body) == (204, b"")
    assert not (tmp_path / "ran").exists()


def test_the_request_id_is_the_contexts_and_the_logs(invoke):
    response = invoke("describe", headers={"X-Amz-Log-Type": "Tail"})
    request_id = response.headers["x-amzn-RequestId"]
    log = base64.b64decode(response.headers["X-Amz-Log-Result"]).decode()
    assert response.json["aws_request_id"] == request_id
    assert re.findall(r"RequestId: (\S+)", log) == [request_id] * 3


def test_a_trace_that_the_client_began_goes_on(invoke):
    root = "1-64f7ba59-40378aa81e4eecc34002f96a"
    response = invoke("hello", headers={"X-Amzn-Trace-Id": f"Root={root};Parent=40378aa81e4eecc3;Sampled=1"})
    assert response.headers["X-Amzn-Trace-Id"].startswith(f"root={root};parent=40378aa81e4eecc3;sampled=1;lineage=")


def test_a_trace_header_that_is_none_is_not_passed_on(invoke):
    response = invoke("hello", headers={"X-Amzn-Trace-Id": "Root=<script>;Sampled=maybe"})
    assert TRACE.fullmatch(response.headers["X-Amzn-Trace-Id"])


def test_no_body_is_an_empty_event(invoke):
    assert invoke("echo").body == b"{}"


def test_a_handler_that_returns_nothing_answers_null(invoke):
    assert invoke("nothing").body == b"null"


@pytest.mark.parametrize("payload", [b"1", b'"text"', b"[1, 2]", b"null", b"true", b' {"a": {}} \n'])
def test_any_json_type_is_an_event(invoke, payload):
    assert invoke("echo", payload).json == json.loads(payload)


# Section 1: limits


def test_a_payload_of_exactly_6_mib_passes(invoke):
    payload = b'"' + b"x" * (6_291_456 - 2) + b'"'
    assert len(invoke("nothing", payload).body) == 4


def test_a_larger_payload_is_refused_by_its_length(invoke):
    message = "Request must be smaller than 6291456 bytes for the InvokeFunction operation"
    response = invoke("nothing", b'"' + b"x" * (6_291_457 - 2) + b'"')
    body = refused(response, 413, "RequestEntityTooLargeException", message=message)
    assert "Type" not in body


def test_an_event_payload_over_1_mib_is_refused(invoke):
    message = "1048577 byte payload is too large for the Event invocation type (limit 1048576 bytes)"
    response = invoke("nothing", b" " * 1_048_577, headers={"X-Amz-Invocation-Type": "Event"})
    refused(response, 413, "RequestEntityTooLargeException", message=message)


def test_a_response_of_6_mib_passes(invoke):
    assert len(invoke("large", b"6291458").body) == 6_291_458


def test_a_response_of_6_mib_and_100_bytes_passes(invoke):
    assert len(invoke("large", b"6291556").body) == 6_291_556


def test_a_larger_response_is_a_function_error_and_the_next_call_works(invoke):
    response = invoke("large", b"6291557")
    assert response.status == 200
    assert response.headers["X-Amz-Function-Error"] == "Unhandled"
    assert response.body == (
        b'{"errorMessage":"Response payload size exceeded maximum allowed payload size (6291556 bytes).",'
        b'"errorType":"Function.ResponseSizeTooLarge"}'
    )
    assert invoke("large", b"10").status == 200


def test_a_client_context_over_3583_bytes_is_refused(invoke):
    context = base64.b64encode(json.dumps({"custom": {"k": "v" * 2700}}).encode()).decode()
    response = invoke("hello", headers={"X-Amz-Client-Context": context})
    assert "3583" in refused(response, 400, "InvalidRequestContentException")["message"]


# Section 2: errors on the wire


def test_an_unknown_function_is_a_404_with_a_capital_message(invoke):
    message = f"Function not found: {ARN}absent:$LATEST"
    assert refused(invoke("absent"), 404, "ResourceNotFoundException") == {"Type": "User", "Message": message}


def test_a_payload_that_is_no_json_is_refused_in_awss_words(invoke):
    body = refused(invoke("echo", b"{not json"), 400, "InvalidRequestContentException", Type="User")
    assert body["message"].startswith("Could not parse request body into json: Could not parse payload into json: ")


@pytest.mark.parametrize(
    "payload",
    [b"\x87", b"\x99", b'{"a": NaN}', b"Infinity", b"{'a': 1}", b"", b"[" * 100_000, b'"\xff"', b"1" * 5000, b"{} {}"],
    ids=["utf-8", "control", "nan", "infinity", "quotes", "empty", "depth", "utf-8-inside", "digits", "two"],
)
def test_what_is_no_json_reaches_no_handler(invoke, payload):
    if payload:
        refused(invoke("nothing", payload), 400, "InvalidRequestContentException")
    else:
        assert invoke("nothing", payload).status == 200


def test_an_event_that_is_no_json_is_refused_at_once(invoke):
    response = invoke("nothing", b"{", headers={"X-Amz-Invocation-Type": "Event"})
    refused(response, 400, "InvalidRequestContentException")


def test_an_unknown_invocation_type_is_refused_with_the_known_ones(invoke):
    body = refused(invoke("hello", headers={"X-Amz-Invocation-Type": "event"}), 400, "ValidationException")
    assert body == {
        "message": "1 validation error detected: Value 'event' at 'invocationType' failed to satisfy constraint: "
        "Member must satisfy enum value set: [Event, RequestResponse, DryRun]"
    }


def test_an_unknown_log_type_is_refused_with_the_known_ones(invoke):
    body = refused(invoke("hello", headers={"X-Amz-Log-Type": "Head"}), 400, "ValidationException")
    assert body["message"].endswith("at 'logType' failed to satisfy constraint: Member must satisfy enum value set: "
                                    "[None, Tail]")  # fmt: skip


def test_several_broken_constraints_are_told_together(invoke):
    headers = {"X-Amz-Invocation-Type": "x", "X-Amz-Log-Type": "y"}
    message = refused(invoke("hello", headers=headers), 400, "ValidationException")["message"]
    assert message.startswith("2 validation errors detected: ")
    assert message.count("; ") == 1


def test_the_error_type_is_refused_outside_mock_mode(invoke):
    response = invoke("hello", headers={"X-Amz-Invocation-Type": "Error", "X-Error-Type": "ValueError"})
    assert "SERVERFULL_MOCK=true" in refused(response, 400, "InvalidParameterValueException")["message"]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/2015-03-31/functions/hello/invocations"),
        ("PUT", "/2015-03-31/functions/hello/invocations"),
        ("POST", "/2015-03-31/functions/hello/invocations/"),
        ("POST", "/2015-03-31/functions//invocations"),
        ("POST", "/2015-03-31/functions/hello/extra/invocations"),
        ("POST", "/2015-03-31%2Ffunctions/hello/invocations"),
        ("GET", "/2014-11-13/functions/hello/invoke-async"),
        ("GET", "/"),
        ("POST", "/healthcheck"),
        ("OPTIONS", "/2015-03-31/functions"),
        ("GET", "/%00/%ff/..%2f..%2fetc"),
    ],
)
def test_an_unknown_path_or_method_is_awss_404(host, request, method, path):
    if "no-raw-path" in request.node.callspec.id:
        path = path.replace("31%2F", "31/x/")  # a server that decodes the path cannot tell these apart
    body = refused(host.request(method, path), 404, "UnknownOperationException", Type="User")
    assert set(body) == {"Type", "message"}


# Section 3: names and qualifiers


@pytest.mark.parametrize(
    ("name", "query", "arn", "version"),
    [
        ("describe", "", "describe", "$LATEST"),
        ("describe:7", "", "describe:7", "7"),
        ("describe%3A7", "", "describe:7", "7"),
        ("describe", "Qualifier=7", "describe:7", "7"),
        ("describe:7", "Qualifier=7", "describe:7", "7"),
        ("describe", "Qualifier=live", "describe:live", "7"),
        ("describe:$LATEST", "", "describe:$LATEST", "$LATEST"),
        ("describe%3A%24LATEST", "", "describe:$LATEST", "$LATEST"),
        ("describe", "Qualifier=%24LATEST", "describe:$LATEST", "$LATEST"),
        ("function:describe", "", "describe", "$LATEST"),
        ("function%3Adescribe:live", "", "describe:live", "7"),
        ("123456789012:function:describe", "", "describe", "$LATEST"),
        ("123456789012:function:describe:7", "", "describe:7", "7"),
        (ARN + "describe", "", "describe", "$LATEST"),
        (ARN + "describe:live", "", "describe:live", "7"),
        (ARN.replace(":", "%3A") + "describe%3Alive", "Qualifier=live", "describe:live", "7"),
        ("d%65scribe", "", "describe", "$LATEST"),
    ],
)
def test_a_function_is_found_however_it_is_named(invoke, name, query, arn, version):
    response = invoke(name, query=query)
    assert response.status == 200, response
    assert response.json["invoked_function_arn"] == ARN + arn
    assert response.json["function_version"] == version
    assert response.headers["X-Amz-Executed-Version"] == version


def test_an_arn_that_ends_in_function_is_the_function_called_function(invoke):
    assert invoke(ARN + "function").status == 200
    assert invoke(ARN.removesuffix(":")).status == 200


def test_a_name_may_have_a_dot(invoke):
    assert invoke("with.dot").status == 200


def test_versions_are_code_of_their_own(invoke):
    assert [invoke("hello", query=f"Qualifier={q}").json for q in ("1", "prod", "latest")] == ["one", "one", "Hello ƛ!"]


@pytest.mark.parametrize(
    ("name", "query"), [("hello:1", "Qualifier=2"), ("absent:1", "Qualifier=2"), ("hello:1", "Qualifier=%24LATEST")]
)
def test_two_qualifiers_that_differ_are_refused_before_the_function_is_looked_for(invoke, name, query):
    message = "The derived qualifier from the function name does not match the specified qualifier."
    refused(invoke(name, query=query), 400, "InvalidParameterValueException", message=message, Type="User")


@pytest.mark.parametrize(
    ("name", "query", "arn"),
    [
        ("absent", "", "absent:$LATEST"),
        ("absent:2", "", "absent:2"),
        ("hello:2", "", "hello:2"),
        ("hello", "Qualifier=2", "hello:2"),
        ("hello", "Qualifier=staging", "hello:staging"),
        ("hello", "Qualifier=%24latest", "hello:$latest"),
        ("hello:$LATEST.PUBLISHED", "", "hello:$LATEST.PUBLISHED"),
        ("x" * 65, "", "x" * 65 + ":$LATEST"),
    ],
    ids=["name", "name:version", "version", "qualifier", "alias", "lower-case latest", "published", "65 characters"],
)
def test_what_is_not_there_is_named_with_its_qualifier(invoke, name, query, arn):
    message = f"Function not found: {ARN}{arn}"
    refused(invoke(name, query=query), 404, "ResourceNotFoundException", Message=message, Type="User")


def test_another_regions_arn_is_not_reachable(invoke):
    message = "Functions from 'eu-west-1' are not reachable in this region ('us-east-1')"
    response = invoke(ARN.replace("us-east-1", "eu-west-1") + "hello")
    refused(response, 404, "ResourceNotFoundException", Message=message)


def test_another_accounts_arn_is_denied(invoke):
    body = refused(invoke(ARN.replace("1234", "9999") + "hello"), 403, "AccessDeniedException")
    assert set(body) == {"Message"}


@pytest.mark.parametrize(
    "name",
    [
        "he!lo",
        "he%20llo",
        "caf%C3%A9",
        "%FF",
        "hello%00",
        "a%252Fb",
        "hello:$LATES",
        "hello:1:2",
        "arn:aws:ec2:us-east-1:123456789012:function:hello",
        "arn:aws:lambda::123456789012:function:hello",
        "arn:aws:lambda:us-east-1::function:hello",
        "arn:aws:lambda:function:hello",
    ],
)
def test_what_is_no_function_name_is_refused_with_the_pattern(invoke, name):
    message = refused(invoke(name), 400, "ValidationException")["message"]
    assert message.startswith("1 validation error detected: Value '")
    assert f"at 'functionName' failed to satisfy constraint: Member must {PATTERN}" in message


def test_an_encoded_slash_is_part_of_the_name_where_the_server_tells(invoke, request):
    if "no-raw-path" in request.node.callspec.id:
        refused(invoke("a%2Fb"), 404, "UnknownOperationException")
    else:
        assert "Value 'a/b'" in refused(invoke("a%2Fb"), 400, "ValidationException")["message"]


def test_a_name_is_decoded_once(invoke):
    assert "Value 'a%2Fb'" in refused(invoke("a%252Fb"), 400, "ValidationException")["message"]


def test_a_name_over_256_characters_is_refused_by_its_length(invoke):
    message = refused(invoke("x" * 257), 400, "ValidationException")["message"]
    assert message.endswith("at 'functionName' failed to satisfy constraint: "
                            "Member must have length less than or equal to 256")  # fmt: skip


@pytest.mark.parametrize("qualifier", ["a.b", "a%20b", "", "%24LATEST.PUBLISHE"])
def test_what_is_no_qualifier_is_refused_with_the_pattern(invoke, qualifier):
    message = refused(invoke("hello", query=f"Qualifier={qualifier}"), 400, "ValidationException")["message"]
    assert "at 'qualifier' failed to satisfy constraint: Member must satisfy regular expression pattern: " in message


def test_a_qualifier_over_128_characters_is_refused_by_its_length(invoke):
    message = refused(invoke("hello", query=f"Qualifier={'x' * 129}"), 400, "ValidationException")["message"]
    assert message.endswith("Member must have length less than or equal to 128")


# Section 4: function errors


def test_an_exception_is_four_members_in_order_with_awss_stack_trace(invoke):
    response = invoke("broken", b'{"message": "nope"}')
    error = response.json
    assert list(error) == ["errorMessage", "errorType", "requestId", "stackTrace"]
    assert (error["errorMessage"], error["errorType"]) == ("nope", "ValueError")
    assert error["requestId"] == response.headers["x-amzn-RequestId"]
    assert len(error["stackTrace"]) == 1
    assert re.fullmatch(
        r'  File ".*/tests/handlers\.py", line \d+, in broken\n    raise ValueError\(.*\n', error["stackTrace"][0]
    )
    assert response.body.startswith(b'{"errorMessage": "nope", "errorType": "ValueError", "requestId": "')


@pytest.mark.parametrize(
    ("name", "error_type", "message"),
    [
        ("nameless", "NamelessError", ""),
        ("missing_key", "KeyError", "'absent'"),
        ("caused", "RuntimeError", "outer"),
        ("unserialisable", "Runtime.MarshalError",
         "Unable to marshal response: Object of type set is not JSON serializable"),
        ("no-module", "Runtime.ImportModuleError",
         "Unable to import module 'no_such_module': No module named 'no_such_module'"),
        ("no-handler", "Runtime.HandlerNotFound", "Handler 'no_such_handler' missing on module 'tests.handlers'"),
        ("no-dot", "Runtime.MalformedHandlerName",
         "Bad handler 'handler': not enough values to unpack (expected 2, got 1)"),
        ("builtin", "Runtime.BuiltInModuleConflict", "Cannot use built-in module sys as a handler module"),
        ("raises-at-import", "RuntimeError", "no database"),
    ],
    ids=lambda value: value if " " not in value else "",
)  # fmt: skip
def test_each_failure_has_awss_type_and_message(invoke, name, error_type, message):
    response = invoke(name)
    assert response.headers["X-Amz-Function-Error"] == "Unhandled"
    assert (response.json["errorType"], response.json["errorMessage"]) == (error_type, message)
    assert list(response.json) == ["errorMessage", "errorType", "requestId", "stackTrace"]


def test_a_syntax_error_shows_its_line(invoke):
    error = invoke("syntax").json
    assert error["errorType"] == "Runtime.UserCodeSyntaxError"
    assert error["errorMessage"].startswith("Syntax error in module 'tests.broken_syntax': ")
    assert re.fullmatch(
        r'  File ".*broken_syntax\.py" Line 1\n    def handler\(event, context:\n', error["stackTrace"][0]
    )


def test_an_error_of_loading_comes_without_a_request_id_on_every_call(invoke):
    assert [invoke("raises-at-import").json["requestId"] for _ in range(2)] == ["", ""]


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        (0, "Runtime exited without providing a reason"),
        ("none", "Runtime exited without providing a reason"),
        (127, "Runtime exited with error: exit status 127"),
        (256 + 3, "Runtime exited with error: exit status 3"),
        ("a message", "Runtime exited with error: exit status 1"),
        ("generator", "Runtime exited with error: exit status 1"),
        ("interrupt", "Runtime exited with error: signal: interrupt"),
    ],
)
def test_a_handler_that_leaves_is_a_function_error_and_the_server_stays(invoke, how, reason):
    response = invoke("leave", json.dumps({"how": how}).encode())
    message = f"RequestId: {response.headers['x-amzn-RequestId']} Error: {reason}"
    assert response.status == 200
    assert response.headers["X-Amz-Function-Error"] == "Unhandled"
    assert response.json == {"errorType": "Runtime.ExitError", "errorMessage": message}
    assert invoke("hello").status == 200


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("decimal", b'{"n": 1.10}'),
        ("tuple", b"[1, 2]"),
        ("namedtuple", b'{"x": 1, "y": 2}'),
        ("keys", b'{"1": "a", "null": "b", "false": "c", "1.5": "d"}'),
        ("intenum", b"1"),
        ("nan", b"NaN"),
        ("decimal nan", b"NaN"),
        ("bytes", b"\x00raw\xff"),
        ("empty", b"{}"),
    ],
)
def test_results_are_marshalled_as_awss_runtime_does(invoke, value, expected):
    assert invoke("marshal", json.dumps(value).encode()).body == expected


def test_bytes_are_of_unknown_type(invoke):
    assert invoke("marshal", b'"bytes"').headers["Content-Type"] == "application/unknown"


# Section 5: the context


def test_the_context_has_awss_attributes(invoke):
    context = invoke("describe").json
    assert context["class"] == "LambdaContext"
    assert context["function_name"] == "describe"
    assert context["memory_limit_in_mb"] == "128"
    assert context["log_group_name"] == "/aws/lambda/describe"
    assert re.fullmatch(r"\d{4}/\d\d/\d\d/\[\$LATEST\][0-9a-f]{32}", context["log_stream_name"])
    assert context["identity"] == [None, None]
    assert context["tenant_id"] is context["client_context"] is None
    assert 0 < context["remaining"] <= 3000
    assert context["repr"].startswith(f"LambdaContext([aws_request_id={context['aws_request_id']},log_group_name=/aws/")


def test_a_versions_configuration_is_its_own(invoke):
    context = invoke("describe:7").json
    assert context["memory_limit_in_mb"] == "512"
    assert 3000 < context["remaining"] <= 60_000
    assert "/[7]" in context["log_stream_name"]


def test_the_remaining_time_never_falls_below_zero(invoke):
    assert invoke("quick", b"0.02").json == 0


def encoded(context):
    return {"X-Amz-Client-Context": base64.b64encode(json.dumps(context).encode()).decode()}


def test_the_client_context_reaches_the_handler(invoke):
    context = {"custom": {"k": 1}, "env": {"e": 2}, "client": {"app_title": "t", "other": 1}, "unknown": 1}
    seen = invoke("describe", headers=encoded(context)).json["client_context"]
    assert seen == {"custom": {"k": 1}, "env": {"e": 2}, "client": "t"}


def test_what_a_client_context_leaves_out_is_none(invoke):
    seen = invoke("describe", headers=encoded({})).json["client_context"]
    assert seen == {"custom": None, "env": None, "client": None}


@pytest.mark.parametrize("header", ["%%%", "e30", "W10=", "bm90IGpzb24=", "IuKCrCI=", "e30=e30="])
def test_a_bad_client_context_is_refused(invoke, header):
    message = "Client context must be a valid Base64-encoded JSON object."
    response = invoke("hello", headers={"X-Amz-Client-Context": header})
    refused(response, 400, "InvalidRequestContentException", message=message, Type="User")


def test_an_event_drops_the_client_context(invoke):
    headers = {"X-Amz-Client-Context": "%%%", "X-Amz-Invocation-Type": "Event"}
    assert invoke("hello", headers=headers).status == 202


# Section 6: the log tail


def tail_of(response):
    return base64.b64decode(response.headers["X-Amz-Log-Result"])


def test_the_tail_has_start_output_end_and_report(invoke):
    response = invoke("noisy", headers={"X-Amz-Log-Type": "Tail"})
    request_id = response.headers["x-amzn-RequestId"]
    assert re.fullmatch(
        rf"START RequestId: {request_id} Version: \$LATEST\n"
        r"printed\n"
        r"to stderr\n"
        r"as bytes\n"
        rf"\[WARNING\]\t\d{{4}}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{{3}}Z\t{request_id}\twarned 1\n"
        r"through the context\n"
        rf"END RequestId: {request_id}\n"
        rf"REPORT RequestId: {request_id}\tDuration: \d+\.\d\d ms\tBilled Duration: \d+ ms\tMemory Size: 128 MB\t"
        r"Max Memory Used: \d+ MB\t\n",
        tail_of(response).decode(),
    )


def test_the_tail_is_the_last_4096_bytes(invoke):
    response = invoke("chatty", headers={"X-Amz-Log-Type": "Tail"})
    assert len(tail_of(response)) == 4096
    assert b"line 0999\n" in tail_of(response)
    assert tail_of(response).endswith(b" MB\t\n")


def test_the_tail_comes_with_a_function_error_and_shows_it(invoke):
    response = invoke("broken", headers={"X-Amz-Log-Type": "Tail"})
    log = tail_of(response).decode()
    assert "[ERROR] ValueError: boom\nTraceback (most recent call last):\n\u00a0\u00a0File " in log
    assert log.count("ValueError: boom") == 1


def test_no_tail_is_sent_unasked(invoke):
    assert "X-Amz-Log-Result" not in invoke("noisy", headers={"X-Amz-Log-Type": "None"}).headers


# Section 14: InvokeAsync


@pytest.mark.parametrize("path", ["invoke-async", "invoke-async/"])
def test_invoke_async_answers_202_and_runs_the_function(host, tmp_path, path, eventually):
    file = tmp_path / "ran"
    payload = json.dumps({"file": str(file)}).encode()
    response = host.request("POST", f"/2014-11-13/functions/record/{path}", payload)
    assert response.status == 202
    eventually(lambda: file.exists() and file.read_text() == f"{response.headers['x-amzn-RequestId']}\n")


def test_an_event_runs_with_the_request_id_of_its_202(invoke, tmp_path, eventually):
    file = tmp_path / "ran"
    payload = json.dumps({"file": str(file)}).encode()
    response = invoke("record", payload, headers={"X-Amz-Invocation-Type": "Event"})
    eventually(lambda: file.exists() and file.read_text() == f"{response.headers['x-amzn-RequestId']}\n")


def test_invoke_async_takes_256_kib(host):
    path = "/2014-11-13/functions/nothing/invoke-async"
    assert host.request("POST", path, b" " * 262_142 + b"{}").status == 202
    refused(host.request("POST", path, b" " * 262_143 + b"{}"), 413, "RequestEntityTooLargeException")


@pytest.mark.parametrize(
    ("name", "payload", "status"),
    [("absent", b"", 404), ("hello", b"{", 400), ("he!lo", b"", 400), ("hello:9", b"", 404)],
)
def test_invoke_async_refuses_at_once(host, name, payload, status):
    assert host.request("POST", f"/2014-11-13/functions/{name}/invoke-async", payload).status == status


# The health check


def test_the_health_check_answers_a_dot(host):
    response = host.request("GET", "/healthcheck")
    assert (response.status, response.body) == (200, b".")


def test_the_health_check_answers_head(host):
    response = host.request("HEAD", "/healthcheck")
    assert (response.status, response.body) == (200, b"")
