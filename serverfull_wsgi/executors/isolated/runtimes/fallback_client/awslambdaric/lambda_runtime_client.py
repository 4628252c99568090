"""The client of the Runtime API.

Source: https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from . import runtime_client
from .lambda_runtime_exception import FaultException
from .lambda_runtime_marshaller import LambdaMarshaller, to_json


class InvocationRequest(SimpleNamespace):
    """An event with the data of its invocation, as attributes."""


class LambdaRuntimeClientError(Exception):
    """The Runtime API has refused a request."""

    def __init__(self, endpoint: str, response_code: int, response_body: bytes) -> None:
        super().__init__(f"the Runtime API answered {endpoint} with {response_code}: {response_body!r}")
        self.endpoint, self.response_code, self.response_body = endpoint, response_code, response_body


class LambdaRuntimeClient:
    """The operations of the Runtime API.

    Args:
        lambda_runtime_address: the address of the API, which is the one in AWS_LAMBDA_RUNTIME_API.
        use_thread_for_polling_next: has no effect: handlers of signals run while this client waits.

    Attributes:
        marshaller: reads events and writes results; a function can replace it for all clients.
    """

    marshaller = LambdaMarshaller()

    def __init__(self, lambda_runtime_address: str, use_thread_for_polling_next: bool = False) -> None:
        self.lambda_runtime_address = lambda_runtime_address
        self.use_thread_for_polling_next = use_thread_for_polling_next

    def wait_next_invocation(self) -> InvocationRequest:
        """Wait for an event."""
        body, headers = runtime_client.next()
        return InvocationRequest(
            invoke_id=headers.get("Lambda-Runtime-Aws-Request-Id"),
            x_amzn_trace_id=headers.get("Lambda-Runtime-Trace-Id"),
            invoked_function_arn=headers.get("Lambda-Runtime-Invoked-Function-Arn"),
            deadline_time_in_ms=int(headers.get("Lambda-Runtime-Deadline-Ms", 0)),
            client_context=headers.get("Lambda-Runtime-Client-Context"),
            cognito_identity=headers.get("Lambda-Runtime-Cognito-Identity"),
            tenant_id=headers.get("Lambda-Runtime-Aws-Tenant-Id"),
            content_type=headers.get("Content-Type"),
            event_body=body,
            invocation_id=headers.get("Lambda-Runtime-Invocation-Id"),
        )

    def post_invocation_result(
        self,
        invoke_id: str,
        result_data: bytes | str,
        content_type: str = "application/json",
        invocation_id: str | None = None,
    ) -> None:
        """Send a result."""
        payload = result_data if isinstance(result_data, bytes) else result_data.encode()
        runtime_client.post_invocation_result(invoke_id, payload, content_type, invocation_id)

    def post_invocation_error(
        self, invoke_id: str, error_response_data: str, xray_fault: str, invocation_id: str | None = None
    ) -> None:
        """Send the error of an invocation, and its cause for X-Ray; both are JSON."""
        runtime_client.post_error(invoke_id, error_response_data, xray_fault, invocation_id)

    def post_init_error(self, error_response_data: dict[str, Any], error_type_override: str | None = None) -> None:
        """Send the error of the init phase."""
        self._report("/init/error", error_response_data, error_type_override or error_response_data["errorType"])

    def restore_next(self) -> None:
        """Report the end of the init phase with SnapStart, and return after a restore."""
        endpoint = "/restore/next"
        self._check(endpoint, 200, runtime_client.request("GET", endpoint))

    def report_restore_error(self, restore_error_data: dict[str, Any]) -> None:
        """Send the error of the hooks after a restore."""
        self._report("/restore/error", restore_error_data, FaultException.AFTER_RESTORE_ERROR)

    def _report(self, endpoint: str, error: dict[str, Any], error_type: str) -> None:
        headers = f"Content-Type: application/json\r\nLambda-Runtime-Function-Error-Type: {error_type}\r\n"
        response = runtime_client.request("POST", endpoint, to_json(error).encode("utf-8", "backslashreplace"), headers)
        self._check(endpoint, 202, response)

    def _check(self, endpoint: str, expected: int, response: runtime_client.Response) -> None:
        if response.status != expected:
            raise LambdaRuntimeClientError(endpoint, response.status, response.body)
