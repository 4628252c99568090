"""The vocabulary: functions, invocations and outcomes.

A request names a function. An `Invocation` has the name and the payload. A `Function` is the code and its
configuration. Running the function with the invocation gives an `Outcome`. The parts that find and run functions are in
`protocols`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn, cast

from serverfull_wsgi.env_vars import SERVER_VARIABLES, is_valid_value
from serverfull_wsgi.errors import ConfigurationError
from serverfull_wsgi.event_config import EventConfig
from serverfull_wsgi.names import LATEST, FunctionName
from serverfull_wsgi.payloads import parse_payload, render_payload, render_result

if TYPE_CHECKING:
    from serverfull_wsgi.logging_config import LoggingConfig

UNSET: Any = type("Unset", (), {"__repr__": lambda self: "UNSET"})()  # "not given", for values that may be None

Handler = Callable[[Any, Any], Any]  # handler(event, context) -> any value that JSON can represent

CONCURRENCY_LIMIT = 1_000_000  # invocations at the same time; AWS's accounts begin with 1,000
TIMEOUT_LIMIT = 100_000_000  # seconds (3 years): the operating system's timers accept it; AWS's limit is 900


@dataclass(frozen=True)
class Function:
    """A Lambda function: its code and its configuration, as AWS calls them.

    Args:
        handler: a callable, or an AWS Handler string (``"package.module.attribute"``) that is imported at the first
            invocation.
        name: the function's name, without a qualifier.
        version: ``"$LATEST"`` or a published version.
        timeout: seconds. Code in the server's own process is not stopped at its timeout, but its context shows it.
        memory_size: MiB. Code in the server's own process may use more, but its context shows it.
        description: a text for operators.
        code: the absolute path of the code's directory. The function then runs in isolated processes.
        runtime: ``"python3.12"``, ``"nodejs20.x"``, ``"provided.al2023"``, ``"go1.x"`` and others; with ``code`` only.
        environment: environment variables by name; for isolated functions only.
        layers: directories that stand for ``/opt``. Their ``python`` is on PYTHONPATH, their ``nodejs/node_modules``
            on NODE_PATH, their ``bin`` on PATH.
        errors: the exceptions that the function documents, classes or instances. Mock mode raises them.
        mock: the result in mock mode: a value, or a callable without parameters that returns one.
        source: the handler before a wrapper replaced it; by default ``handler``.
        mounts: paths ``/mnt/NAME`` at which the function sees folders of SERVERFULL_MOUNTS; isolated functions only.
        network: ``"host"``, the machine's network, or ``"none"``, a loopback interface only; ``""`` for the server's
            setting. For isolated functions only.
        ephemeral_storage: MiB of /tmp, where environments have a root directory of their own.
        logging_config: the format, levels and group of the function's log; for isolated functions only.
        event_config: the retries and destinations of the function's events; None for the defaults.
        handler_string: the Handler string by which an isolated process imports a callable. If empty, the process
            imports it from the module that defines it.
        snap_start: True to run the init phase once, and to start each environment from a snapshot of the process
            after that; for isolated Python functions only.
        is_mocked: True if ``handler`` only imitates ``source``, as in mock mode. It then runs in the server's own
            process, and needs neither ``code`` nor ``environment``.
        reserved: the reserved concurrency: the most invocations at the same time, of all versions together, over all
            processes of the machine. 0 stops the function, None is no limit.
        provisioned: the provisioned concurrency: the number of environments of this version that are initialised before
            the first call, over all processes of the machine; for isolated functions only.

    Raises:
        ConfigurationError: for values that no function can have.

    >>> Function(print, name="hello").timeout
    3.0
    """

    handler: Handler | str
    name: str = ""
    version: str = LATEST
    timeout: float = 3.0
    memory_size: int = 128
    description: str = ""
    code: str | None = None
    runtime: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)
    layers: Sequence[str] = ()
    errors: Sequence[BaseException | type[BaseException]] = ()
    mock: Any = UNSET
    source: Any = UNSET
    event_config: EventConfig | None = None
    handler_string: str = ""
    is_mocked: bool = False
    logging_config: LoggingConfig | None = None
    reserved: int | None = field(default=None, compare=False)  # a new limit makes no environment outdated
    provisioned: int | None = field(default=None, compare=False)  # likewise
    ephemeral_storage: int = 512
    mounts: Sequence[str] = ()
    snap_start: bool = False
    network: str = ""

    def __post_init__(self) -> None:
        if not callable(self.handler) and not isinstance(self.handler, str):
            self._refuse("handler", self.handler, "a callable or a Handler string such as 'module.function'")
        if not _is_number(self.timeout) or not 0 < self.timeout <= TIMEOUT_LIMIT:
            self._refuse("timeout", self.timeout, f"a number of seconds above 0, at most {TIMEOUT_LIMIT:,}")
        if not _is_number(self.memory_size) or not self.memory_size >= 1 or self.memory_size % 1:
            self._refuse("memory_size", self.memory_size, "a whole number of MiB, 1 or more")
        if not _is_number(self.ephemeral_storage) or not self.ephemeral_storage >= 1 or self.ephemeral_storage % 1:
            self._refuse("ephemeral_storage", self.ephemeral_storage, "a whole number of MiB, 1 or more")
        if not re.fullmatch(r"\$LATEST|[a-zA-Z0-9-_]{1,128}", self.version):
            self._refuse("version", self.version, "$LATEST, or letters, digits, '-' and '_'")
        if self.code is not None and not os.path.isabs(self.code):
            self._refuse("code", self.code, "the absolute path of a directory, or None")
        if self.reserved is not None and not _is_count(self.reserved):
            self._refuse("reserved", self.reserved, f"a whole number from 0 to {CONCURRENCY_LIMIT:,}, or None")
        if self.network not in ("", "host", "none"):
            self._refuse("network", self.network, "host or none")
        for path in self.mounts:
            if not re.fullmatch(r"/mnt/[a-zA-Z0-9_.-]+", path):
                self._refuse("mounts", path, "paths such as /mnt/data, which SERVERFULL_MOUNTS has")
        if self.provisioned is not None and not (_is_count(self.provisioned) and self.provisioned):
            self._refuse("provisioned", self.provisioned, f"a whole number from 1 to {CONCURRENCY_LIMIT:,}, or None")
        if self.provisioned and self.reserved is not None and self.provisioned > self.reserved:
            self._refuse("provisioned", self.provisioned, f"at most the reserved concurrency, {self.reserved}")
        if self.provisioned and self.snap_start:  # AWS refuses it too
            self._refuse("provisioned", self.provisioned, "None for a function with snap_start; choose one of the two")
        object.__setattr__(self, "memory_size", int(self.memory_size))  # 256.0 is shown as 256
        object.__setattr__(self, "ephemeral_storage", int(self.ephemeral_storage))
        self._check_environment()
        for error in self.errors:
            if not isinstance(error, BaseException) and not (
                isinstance(error, type) and issubclass(error, BaseException)
            ):
                self._refuse("errors", error, "a list of exceptions, classes or instances")
        if self.source is UNSET:
            object.__setattr__(self, "source", self.handler)
        elif self.source is not self.handler:  # a wrapper's handler; the string names the source, which must not run
            object.__setattr__(self, "handler_string", "")

    def _check_environment(self) -> None:
        for name, value in self.environment.items():
            if name in SERVER_VARIABLES:
                self._refuse("environment", name, "without the names that the server sets")
            if not re.fullmatch(r"[a-zA-Z_][a-zA-Z0-9_]*", name) or not is_valid_value(value):
                self._refuse("environment", name, "names of letters, digits and '_', with values that are text")

    def _refuse(self, field: str, value: object, rule: str) -> NoReturn:
        raise ConfigurationError(f"function {self.name or self.handler!r}: {field}={value!r} must be {rule}")

    @classmethod
    def of(cls, handler: FunctionLike, name: str, version: str = LATEST) -> Function:
        """Return ``handler``, a `Function` or a plain handler, as a `Function` of this name and version."""
        if isinstance(handler, Function):
            return replace(handler, name=name, version=version)
        return cls(handler, name=name, version=version)


FunctionLike = Function | Handler | str


def as_function(function: FunctionLike, name: str) -> Function:
    """Return a `Function` unchanged, and a plain handler as a `Function` of this name."""
    return function if isinstance(function, Function) else Function(function, name=name)


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= CONCURRENCY_LIMIT


class Invocation:
    """One attempt to run a function: the function's name, the event, and the caller's options.

    Treat it as frozen. Every request makes one: a frozen dataclass costs 1 µs, this class 0.2 µs.

    Args:
        function_name: the function as the caller addressed it.
        payload: JSON text as the caller sent it; empty means ``{}``. None if ``event`` is given.
        request_id: a UUID.
        trace_id: an X-Amzn-Trace-Id, or empty.
        tail: True if the response shall contain the end of the log.
        principal: the name of the authenticated caller; None without authentication.
        client_context: the decoded client context; None if the caller sent none, and for events.
        event: the payload as a value of this invocation alone, equal to the one that its JSON text gives. A function
            in the server's own process then needs no JSON text; all others receive ``payload``, made at the first
            access.
    """

    __slots__ = ("_event", "_payload", "client_context", "function_name", "principal", "request_id", "tail", "trace_id")

    def __init__(
        self,
        function_name: FunctionName,
        payload: bytes | None,
        request_id: str,
        trace_id: str = "",
        tail: bool = False,
        principal: str | None = None,
        *,
        client_context: dict[str, Any] | None = None,
        event: Any = UNSET,
    ) -> None:
        self.function_name = function_name
        self._payload = payload
        self.request_id = request_id
        self.client_context = client_context
        self.trace_id = trace_id
        self.tail = tail
        self.principal = principal
        self._event = event

    @property
    def payload(self) -> bytes:
        """The payload as JSON text. A handler may change the event, so read the text before the handler runs."""
        if self._payload is None:
            self._payload = render_payload(self._event)
        return self._payload

    @property
    def is_by_value(self) -> bool:
        """True if the caller gave the event as a value. Then the outcome may be a `ValueOutcome`."""
        return self._payload is None

    @property
    def event(self) -> Any:
        """The payload as a value. It is parsed at the first access. A handler may change the value.

        Raises `InvalidRequestContentException` if the payload is not valid JSON.
        """
        if self._event is UNSET:
            self._event = parse_payload(self.payload)
        return self._event


class ProvisionedUse(NamedTuple):
    """The use of a function's provisioned concurrency at the start of an invocation, in one server process."""

    is_spillover: bool  # whether the invocation runs in an environment that is not provisioned
    busy: int  # provisioned environments that run an invocation
    allocated: int  # provisioned environments


class Outcome(NamedTuple):
    """The result of an invocation. A failure of the handler is an outcome too, with a ``function_error``."""

    payload: bytes  # JSON text, or the bytes that the function's runtime sent
    executed_version: str = LATEST
    function_error: str | None = None  # "Unhandled" if the handler failed
    log: bytes = b""  # the end of the log if the caller requested it; at most 4,096 bytes
    duration: float = 0.0  # seconds
    content_type: str = "application/json"
    memory: int | None = None  # MiB, the environment's peak of resident memory; None in the server's own process
    init_duration: float | None = None  # seconds for the environment's start; None if it was running already
    status: str | None = None  # the Status in REPORT if the server ended the invocation: "timeout" or "error"
    provisioned: ProvisionedUse | None = None  # None for a function without provisioned concurrency
    restore_duration: float | None = None  # seconds for the environment's start from a snapshot; else None


class ValueOutcome(Outcome):
    """The outcome of a handler in the server's own process, for a caller that reads the result as a value.

    The first field has the result, an object that its JSON text would not change. ``payload`` is that text, made when
    it is read: to write and to read a page of 10 KB takes 45 µs.
    """

    __slots__ = ()

    @property
    def value(self) -> dict[str, Any]:
        """The result."""
        return cast("dict[str, Any]", self[0])

    @property
    def payload(self) -> bytes:
        """The result as JSON text."""
        return render_result(self.value)
