"""Log records of handlers, written to the tail of their invocation."""

from __future__ import annotations

import logging
import threading
import time

from serverfull_wsgi.telemetry.scope import current_scope
from serverfull_wsgi.telemetry.stdio import line_formatters, real_stream, write_quietly


def ensure_root_handler(logger: logging.Logger) -> None:
    """Add the `TailHandler` to the root logger again if code in this process removed it.

    Called at each invocation. `logging.basicConfig(force=True)` and `logging.config` in a handler remove it.
    """
    if _root_handler not in _root.handlers:
        _root.addHandler(_root_handler)
        attach(logger)


def attach(logger: logging.Logger) -> None:
    """Add a `TailHandler` to the logger that records of ``logger`` propagate to, unless that is the root logger."""
    while logger.propagate and logger.parent:
        logger = logger.parent
    with _attaching:
        if logger is not _root and not any(isinstance(it, TailHandler) for it in logger.handlers):
            logger.addHandler(TailHandler(logger))


class TailHandler(logging.Handler):
    """A log handler that writes records to the tail of the current invocation, in the form of AWS's Python runtime.

    It is attached to the root logger, as AWS's is, and to a server's logger that does not propagate.

    `logging` prints warnings to standard error if there is no handler at all, and AWS prints every record. If the
    `TailHandler` is the only handler of its logger, it does the same: inside an invocation it prints the record to
    standard output, elsewhere it passes the record to `logging.lastResort`.
    """

    def __init__(self, logger: logging.Logger) -> None:
        super().__init__()
        self._logger = logger
        formatter = logging.Formatter(
            "[%(levelname)s]\t%(asctime)s.%(msecs)03dZ\t%(aws_request_id)s\t%(message)s\n", "%Y-%m-%dT%H:%M:%S"
        )
        formatter.converter = time.gmtime
        self.setFormatter(formatter)

    def handle(self, record: logging.LogRecord) -> bool:
        """Emit a record without the handler's lock, and skip records below WARNING outside invocations.

        `logging.lastResort` would drop them, and a busy server logs a REPORT line for each invocation.
        """
        if record.levelno >= logging.WARNING or current_scope.get() is not None:
            self.emit(record)
        return True

    def emit(self, record: logging.LogRecord) -> None:
        scope = current_scope.get()
        alone = self._logger.handlers == [self]
        if scope is None:
            if alone and not _was_handled_below(self._logger, record):
                _handle_as_last_resort(record)
            return
        if scope.tail is None and not alone:
            return
        record.aws_request_id = scope.request_id
        line = self.format(record)  # raises for arguments that do not fit the message, as on AWS
        if scope.tail is not None:
            scope.tail.write(line)
        if alone:
            if formatter := line_formatters.get(scope.logger):
                record.request_id, record.function_name = scope.request_id, scope.function_name
                line = formatter.format(record) + "\n"
            write_quietly(real_stream("stdout"), line)


def _was_handled_below(top: logging.Logger, record: logging.LogRecord) -> bool:
    """Return True if a logger between the record's own and ``top`` has a handler."""
    logger = _root.manager.loggerDict.get(record.name)
    while isinstance(logger, logging.Logger) and logger is not top:
        if logger.handlers:
            return True
        logger = logger.parent
    return False


def _handle_as_last_resort(record: logging.LogRecord) -> None:
    if logging.lastResort and record.levelno >= logging.lastResort.level:
        logging.lastResort.handle(record)


_root = logging.getLogger()
_root_handler = TailHandler(_root)
_attaching = threading.Lock()
