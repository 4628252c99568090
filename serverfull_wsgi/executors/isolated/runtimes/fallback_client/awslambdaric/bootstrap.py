"""The runtime: import the handler, then run it for one event after another, until the process ends.

Tools replace functions of this module, such as `handle_event_request`.
"""

from __future__ import annotations

import importlib
import json
import logging
import os
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Sequence
from itertools import dropwhile
from types import TracebackType
from typing import Any, NamedTuple, NoReturn, TextIO

from . import lambda_runtime_hooks_runner
from .lambda_context import LambdaContext
from .lambda_runtime_client import LambdaRuntimeClient
from .lambda_runtime_exception import FaultException
from .lambda_runtime_log_utils import (
    DATE_FORMAT,
    FramedTelemetryLogSink,
    JsonFormatter,
    StandardLogSink,
    frame_type,
)
from .lambda_runtime_marshaller import to_json

_OWN_FOLDER = os.path.join(os.path.dirname(__file__), "")
_NO_BREAK_SPACE = "\u00a0"  # CloudWatch does not trim it
_TEXT_FORMAT = "[%(levelname)s]\t%(asctime)s.%(msecs)03dZ\t%(aws_request_id)s\t%(message)s\n"
_INIT_FAILED, _BEFORE_SNAPSHOT_FAILED, _AFTER_RESTORE_FAILED = 1, 64, 65  # exit statuses
_Sink = StandardLogSink | FramedTelemetryLogSink
_ErrorDocument = dict[str, Any]


def run(handler: str, lambda_runtime_client: LambdaRuntimeClient) -> None:
    """Run the function that a Handler string names. Does not return while there are events."""
    sys.stdout, sys.stderr = Unbuffered(sys.stdout), Unbuffered(sys.stderr)
    with create_log_sink() as log_sink:
        try:
            _setup_logging(log_sink)
            request_handler = _get_handler(handler)
        except FaultException as fault:
            _end(lambda_runtime_client, log_sink, make_error(fault.msg, fault.exception_type, fault.trace))
        except Exception as error:
            _end(lambda_runtime_client, log_sink, _error_document(error))
        if os.environ.get("AWS_LAMBDA_INITIALIZATION_TYPE") == "snap-start":
            on_init_complete(lambda_runtime_client, log_sink)
        while True:
            event = lambda_runtime_client.wait_next_invocation()
            _running.request_id, _running.tenant_id = event.invoke_id, event.tenant_id
            update_xray_env_variable(event.x_amzn_trace_id)
            handle_event_request(
                lambda_runtime_client,
                request_handler,
                event.invoke_id,
                event.event_body,
                event.content_type,
                event.client_context,
                event.cognito_identity,
                event.invoked_function_arn,
                event.deadline_time_in_ms,
                event.tenant_id,
                log_sink,
                event.invocation_id,
            )


def _end(client: LambdaRuntimeClient, log_sink: _Sink, error: _ErrorDocument) -> NoReturn:
    log_error(error, log_sink)
    client.post_init_error(error)
    sys.exit(_INIT_FAILED)


# The handler


def _get_handler(handler: str) -> Callable[[Any, LambdaContext], Any]:
    """Import a handler. Raise `FaultException` with AWS's words if that fails."""
    try:
        module_name, name = handler.rsplit(".", 1)
    except ValueError as error:
        raise FaultException(FaultException.MALFORMED_HANDLER_NAME, f"Bad handler '{handler}': {error}") from error
    if module_name.partition(".")[0] in sys.builtin_module_names:
        message = f"Cannot use built-in module {module_name} as a handler module"
        raise FaultException(FaultException.BUILT_IN_MODULE_CONFLICT, message)
    try:
        module = importlib.import_module(module_name.replace("/", "."))
    except ImportError as error:
        message = f"Unable to import module '{module_name}': {error}"
        raise FaultException(FaultException.IMPORT_MODULE_ERROR, message) from error
    except SyntaxError as error:
        message = f"Syntax error in module '{module_name}': {error}"
        place = f'  File "{error.filename}" Line {error.lineno}\n    {error.text}'
        raise FaultException(FaultException.USER_CODE_SYNTAX_ERROR, message, [place]) from error
    try:
        found: Callable[[Any, LambdaContext], Any] = getattr(module, name)
    except AttributeError as error:
        message = f"Handler '{name}' missing on module '{module_name}'"
        raise FaultException(FaultException.HANDLER_NOT_FOUND, message) from error
    return found


def on_init_complete(lambda_runtime_client: LambdaRuntimeClient, log_sink: _Sink) -> None:
    """Run the hooks of SnapStart before the snapshot; after a restore, run the other hooks."""
    try:
        lambda_runtime_hooks_runner.run_before_snapshot()
        lambda_runtime_client.restore_next()
    except BaseException as error:
        document = _error_document(error)
        log_error(document, log_sink)
        lambda_runtime_client.post_init_error(document, FaultException.BEFORE_SNAPSHOT_ERROR)
        sys.exit(_BEFORE_SNAPSHOT_FAILED)
    try:
        lambda_runtime_hooks_runner.run_after_restore()
    except BaseException as error:
        document = _error_document(error)
        log_error(document, log_sink)
        lambda_runtime_client.report_restore_error(document)
        sys.exit(_AFTER_RESTORE_FAILED)


# One event


def handle_event_request(
    lambda_runtime_client: LambdaRuntimeClient,
    request_handler: Callable[[Any, LambdaContext], Any],
    invoke_id: str,
    event_body: bytes,
    content_type: str | None,
    client_context_json: str | None,
    cognito_identity_json: str | None,
    invoked_function_arn: str | None,
    epoch_deadline_time_in_ms: int,
    tenant_id: str | None,
    log_sink: _Sink,
    invocation_id: str | None = None,
) -> None:
    """Call the handler, and send its result or its error."""
    try:
        context = create_lambda_context(
            client_context_json,
            cognito_identity_json,
            epoch_deadline_time_in_ms,
            invoke_id,
            invoked_function_arn,
            tenant_id,
        )
        event = lambda_runtime_client.marshaller.unmarshal_request(event_body, content_type)
        response = request_handler(event, context)
        result, result_content_type = lambda_runtime_client.marshaller.marshal_response(response)
    except FaultException as fault:
        document = make_error(fault.msg, fault.exception_type, fault.trace, invoke_id)
        cause = make_xray_fault("LambdaValidationError", fault.msg, os.getcwd(), [])
    except Exception as error:
        frames = extract_traceback(error.__traceback__)
        name = type(error).__name__
        document = make_error(str(error), name, traceback.format_list(frames), invoke_id)  # type: ignore[arg-type]
        cause = make_xray_fault(name, str(error), os.getcwd(), frames)
    else:
        lambda_runtime_client.post_invocation_result(invoke_id, result, result_content_type, invocation_id)
        return
    log_error(document, log_sink)
    lambda_runtime_client.post_invocation_error(invoke_id, to_json(document), to_json(cause), invocation_id)


def create_lambda_context(
    client_context_json: str | None,
    cognito_identity_json: str | None,
    epoch_deadline_time_in_ms: int,
    invoke_id: str,
    invoked_function_arn: str | None,
    tenant_id: str | None,
) -> LambdaContext:
    """Return the context of an invocation."""
    return LambdaContext(
        invoke_id,
        parse_json_header(client_context_json, "Client Context"),
        parse_json_header(cognito_identity_json, "Cognito Identity"),
        epoch_deadline_time_in_ms,
        invoked_function_arn,
        tenant_id,
    )


def parse_json_header(header: str | None, name: str) -> Any:
    """Return the value of a header, or None without the header."""
    if not header:
        return None
    try:
        return json.loads(header)
    except Exception as error:
        message = f"Unable to parse {name} JSON: {error}"
        raise FaultException(FaultException.LAMBDA_CONTEXT_UNMARSHAL_ERROR, message) from error


def update_xray_env_variable(xray_trace_id: str | None) -> None:
    """Set the variable with the trace id of the running invocation."""
    if xray_trace_id is None:
        os.environ.pop("_X_AMZN_TRACE_ID", None)
    else:
        os.environ["_X_AMZN_TRACE_ID"] = xray_trace_id


# Errors


class _Frame(NamedTuple):
    file: str
    line: int | None
    function: str
    code: str | None


def extract_traceback(tb: TracebackType | None) -> list[_Frame]:
    """Return the frames of a traceback. It begins in the user's code, and after files called bootstrap.py if it can."""
    frames = [_Frame(frame.filename, frame.lineno, frame.name, frame.line) for frame in traceback.extract_tb(tb)]
    frames = [*dropwhile(lambda frame: frame.file.startswith(_OWN_FOLDER), frames)]
    return [*dropwhile(lambda frame: "/bootstrap.py" in frame.file, frames)] or frames


def make_error(
    error_message: str, error_type: str, stack_trace: Sequence[str] | None, invoke_id: str | None = None
) -> _ErrorDocument:
    """Return the document that reports an error."""
    return {
        "errorMessage": error_message,
        "errorType": error_type,
        "requestId": invoke_id or "",
        "stackTrace": stack_trace or [],
    }


def _error_document(error: BaseException) -> _ErrorDocument:
    """Return the document for an error outside of an invocation."""
    frames = extract_traceback(error.__traceback__)
    return make_error(str(error), type(error).__name__, traceback.format_list(frames))  # type: ignore[arg-type]


def make_xray_fault(ex_type: str, ex_msg: str, working_dir: str, tb_tuples: Iterable[_Frame]) -> dict[str, Any]:
    """Return the cause of an error in X-Ray's form."""
    stack = [{"label": frame.function, "path": frame.file, "line": frame.line} for frame in tb_tuples]
    return {
        "working_directory": working_dir,
        "exceptions": [{"message": ex_msg, "type": ex_type, "stack": stack}],
        "paths": list({frame["path"] for frame in stack}),
    }


def log_error(error_result: _ErrorDocument, log_sink: _Sink) -> None:
    """Log the document of an error, in the function's log format."""
    if _is_json():
        stamp = time.strftime(DATE_FORMAT, time.gmtime())
        log_sink.log_error([to_json({"timestamp": stamp, "level": "ERROR", **error_result})])
        return
    head = ": ".join(filter(None, (error_result["errorType"], error_result["errorMessage"])))
    lines = [line for entry in error_result["stackTrace"] for line in entry.splitlines() or [""]]
    log_sink.log_error([f"[ERROR] {head}", "Traceback (most recent call last):", *map(_indented, lines)])


def _indented(line: str) -> str:
    text = line.lstrip(" ")
    return _NO_BREAK_SPACE * (len(line) - len(text)) + text


# Logs


def _is_json() -> bool:
    return os.environ.get("AWS_LAMBDA_LOG_FORMAT", "").upper() == "JSON"


def _level() -> str:
    level = os.environ.get("AWS_LAMBDA_LOG_LEVEL", "").upper()
    return "DEBUG" if level == "TRACE" else level


class _Running:
    """The running invocation, for log records."""

    request_id: str | None = None
    tenant_id: str | None = None


_running = _Running()


class LambdaLoggerFilter(logging.Filter):
    """A filter that adds the ids of the running invocation to each record."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.aws_request_id, record.tenant_id = _running.request_id or "", _running.tenant_id
        return True


class LambdaLoggerHandler(logging.Handler):
    """A handler that passes records to a sink."""

    def __init__(self, log_sink: _Sink) -> None:
        super().__init__()
        self.log_sink = log_sink

    def emit(self, record: logging.LogRecord) -> None:
        self.log_sink.log(self.format(record))


class LambdaLoggerHandlerWithFrameType(LambdaLoggerHandler):
    """A handler that states the level of a record in its frame."""

    def emit(self, record: logging.LogRecord) -> None:
        message = self.format(record)  # `JsonFormatter` sets the type
        kind = getattr(record, "_frame_type", None) or frame_type(record.levelno, is_json=False)
        self.log_sink.log(message, frame_type=kind)


def _setup_logging(log_sink: _Sink) -> None:
    """Add a handler to the root logger, in the format and with the level of the function's configuration."""
    logging.Formatter.converter = time.gmtime
    level = _level()
    handler = (LambdaLoggerHandlerWithFrameType if _is_json() or level else LambdaLoggerHandler)(log_sink)
    handler.setFormatter(JsonFormatter() if _is_json() else logging.Formatter(_TEXT_FORMAT, "%Y-%m-%dT%H:%M:%S"))
    handler.addFilter(LambdaLoggerFilter())
    root = logging.getLogger()
    if isinstance(logging.getLevelName(level), int):
        root.setLevel(level)
    root.addHandler(handler)


def create_log_sink() -> _Sink:
    """Return the sink of the function's log: the descriptor in the environment, or else standard output."""
    fd = os.environ.pop("_LAMBDA_TELEMETRY_LOG_FD", None)
    return (
        StandardLogSink() if fd is None else FramedTelemetryLogSink(fd, frame_type(logging.ERROR, is_json=_is_json()))
    )


class Unbuffered:
    """A text stream that is flushed after each write."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)

    def __enter__(self) -> Unbuffered:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def write(self, msg: str) -> None:
        """Write a text and flush."""
        self.stream.write(msg)
        self.stream.flush()

    def writelines(self, msgs: Iterable[str]) -> None:
        """Write several texts and flush once."""
        self.stream.writelines(msgs)
        self.stream.flush()
