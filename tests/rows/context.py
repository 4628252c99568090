"""The context, the environment and the process of a handler."""

import base64
import json
from dataclasses import replace

from tests.rows.row import AS_EVENT, Between, Having, Like, Request, Row, accepted, answered, encoded, failed, refusal

APP = {
    "installation_id": "i",
    "app_title": "t",
    "app_version_name": "n",
    "app_version_code": "c",
    "app_package_name": "p",
}
STREAM = r"\d{4}/\d\d/\d\d/\[%s\][0-9a-f]{32}"
TIMED_OUT = failed(
    "",
    Request(),
    {"errorType": "Sandbox.Timedout", "errorMessage": "RequestId: ID Error: Task timed out after 0.01 seconds"},
).response


def nested(levels):
    return [nested(levels - 1)] if levels else []


def client_context(case, given, seen):
    request = Request("describe", headers=encoded(json.dumps(given)))
    return answered(f"a client context is decoded: {case}", request, Having(client_context=seen))


def invalid_client_context(case, header):
    message = "Client context must be a valid Base64-encoded JSON object."
    response = refusal(400, "InvalidRequestContentException", message)
    return Row(
        f"a client context is not valid: {case}", Request("hello", headers={"X-Amz-Client-Context": header}), response
    )


ROWS = [
    answered(
        "the context has AWS's attributes",
        Request("describe"),
        {
            "aws_request_id": "ID",
            "function_name": "describe",
            "function_version": "$LATEST",
            "invoked_function_arn": "arn:aws:lambda:us-east-1:123456789012:function:describe",
            "memory_limit_in_mb": "128",
            "log_group_name": "/aws/lambda/describe",
            "log_stream_name": Like(STREAM % r"\$LATEST"),
            "tenant_id": None,
            "identity": [None, None],
            "remaining": Between(0, 3000),
            "client_context": None,
            "repr": Like(
                r"LambdaContext\(\[aws_request_id=ID,log_group_name=/aws/lambda/describe,log_stream_name=.*\]\)"
            ),
            "class": "LambdaContext",
        },
    ),
    answered(
        "a version has its own context",
        Request("describe:7"),
        Having(memory_limit_in_mb="512", remaining=Between(3000, 60_000), log_stream_name=Like(STREAM % "7")),
        version="7",
    ),
    Row(
        "the context equals that of AWS's own runtime",
        test="executors/test_aws_runtime_client.py::test_the_context_is_as_on_aws",
    ),
    replace(
        answered("the remaining time is never below zero", Request("quick", b"0.1"), b"0"),
        where={"isolated": TIMED_OUT},
    ),
    client_context(
        "all members",
        {"custom": {"k": 1}, "env": {"e": 2}, "client": APP},
        {"custom": {"k": 1}, "env": {"e": 2}, "client": [*APP.values()]},
    ),
    client_context("missing members are None", {"client": {}}, {"custom": None, "env": None, "client": [None] * 5}),
    client_context("an empty object", {}, {"custom": None, "env": None, "client": None}),
    client_context(
        "unknown members are dropped",
        {"client": {"app_title": "t", "other": 1}, "unknown": 1},
        {"custom": None, "env": None, "client": [None, "t", None, None, None]},
    ),
    Row(
        "a client context equals that of AWS's own runtime",
        test="executors/test_aws_runtime_client.py::test_a_client_context_is_as_on_aws",
    ),
    invalid_client_context("not base64", "%%%"),
    invalid_client_context("base64 without its padding", "e30"),
    invalid_client_context("an array", "W10="),
    invalid_client_context("not JSON, which would fail in the runtime", "bm90IGpzb24="),
    invalid_client_context("not UTF-8", "IuKCrCI="),
    invalid_client_context("two in one header", "e30=e30="),
    invalid_client_context("NaN", "eyJhIjpOYU59"),
    invalid_client_context("nested too deep", base64.b64encode(b'{"a":' + b"[" * 985 + b"]" * 985 + b"}").decode()),
    client_context("nested objects and lists", {"custom": {"k": nested(90)}}, Having(custom={"k": nested(90)})),
    accepted(
        "an event drops its client context", Request("hello", headers={"X-Amz-Client-Context": "%%%", **AS_EVENT})
    ),
    Row("the context has the caller's Cognito identity", reason="`context.identity` is always empty"),
    Row(
        "the environment variables are those of Lambda and of the function",
        test="executors/isolated/test_environments.py::test_the_variables_are_those_of_lambda_and_of_the_function",
        reason="**Lambda's environment variables are not set**",
    ),
    Row(
        "a function has its own environment variables",
        test="executors/test_routing.py::test_variables_of_a_function_need_a_process_of_its_own",
        reason="**`environment=`** is refused",
    ),
    Row(
        "each invocation has its trace in an environment variable",
        test="executors/isolated/test_environments.py::test_the_trace_id_is_a_variable_during_its_invocation_only",
        reason="`_X_AMZN_TRACE_ID`",
    ),
    Row(
        "the trace has a root, a parent and the sampling decision",
        test="executors/isolated/test_environments.py::test_the_trace_of_a_function_has_a_root_a_parent_and_sampled",
        reason="`_X_AMZN_TRACE_ID`",
    ),
    Row(
        "the code is in /var/task, and layers are in /opt",
        test="executors/isolated/test_root.py::test_the_layers_are_merged_below_opt",
        reason="Without [a root directory of its own](guide/isolation.md#a-root-directory-of-its-own)",
    ),
    Row("the environment has credentials", reason="No credentials of a role"),
    Row(
        "an environment has its own standard output",
        test="telemetry/test_stdio.py::test_a_redirection_catches_the_handlers_own_output_only",
        reason="**Standard output is the process's.**",
    ),
    Row(
        "the handler runs in the main thread of its process",
        test="api/test_application.py::test_a_handler_runs_in_the_thread_of_its_request",
        reason="**Handlers run in the threads of the server**",
    ),
    Row(
        "an environment runs one invocation at a time",
        test="executors/isolated/test_pools.py::test_the_environment_used_last_serves_the_next_invocation_and_idle_ones_end",
        reason="**One process, many invocations at once.**",
    ),
]
