"""Faults: errors that the runtime itself reports, with AWS's error types."""

from __future__ import annotations

from collections.abc import Sequence


class FaultException(Exception):
    """A fault.

    Args:
        exception_type: one of the constants below.
        msg: the message for the caller.
        trace: the entries of the stack trace, if any.
    """

    AFTER_RESTORE_ERROR = "Runtime.AfterRestoreError"
    BEFORE_SNAPSHOT_ERROR = "Runtime.BeforeSnapshotError"
    BUILT_IN_MODULE_CONFLICT = "Runtime.BuiltInModuleConflict"
    HANDLER_NOT_FOUND = "Runtime.HandlerNotFound"
    IMPORT_MODULE_ERROR = "Runtime.ImportModuleError"
    LAMBDA_CONTEXT_UNMARSHAL_ERROR = "Runtime.LambdaContextUnmarshalError"
    LAMBDA_RUNTIME_CLIENT_ERROR = "Runtime.LambdaRuntimeClientError"
    MALFORMED_HANDLER_NAME = "Runtime.MalformedHandlerName"
    MARSHAL_ERROR = "Runtime.MarshalError"
    UNMARSHAL_ERROR = "Runtime.UnmarshalError"
    USER_CODE_SYNTAX_ERROR = "Runtime.UserCodeSyntaxError"

    def __init__(self, exception_type: str, msg: str, trace: Sequence[str] | None = None) -> None:
        super().__init__(exception_type, msg)
        self.exception_type, self.msg, self.trace = exception_type, msg, trace
