"""What a handler prints and logs, kept for the caller who asked for the end of the log."""

from __future__ import annotations

import logging
import threading
import time

from serverfull_wsgi.telemetry.proxies import put
from serverfull_wsgi.telemetry.scope import current_scope
from serverfull_wsgi.telemetry.stdio import standard

TAIL_SIZE = 4096  # bytes: what X-Amz-Log-Result holds on AWS
_KEPT = 16 * TAIL_SIZE  # what a tail may grow to before it is cut back


class Tail:
    """The last bytes written to it, at most 4,096."""

    def __init__(self) -> None:
        self._bytes = bytearray()

    def write(self, text: str) -> None:
        self.write_bytes(text[-_KEPT:].encode("utf-8", "backslashreplace"))

    def write_bytes(self, data: bytes) -> None:
        self._bytes += data[-TAIL_SIZE:]
        if len(self._bytes) > _KEPT:
            del self._bytes[:-TAIL_SIZE]

    def __bytes__(self) -> bytes:
        return bytes(self._bytes[-TAIL_SIZE:])


class TailHandler(logging.Handler):
    """Log records in the form AWS's Python runtime gives them, into the tail of the invocation that logs.

    It stands on the root logger, as AWS's does, and where the server's passes nothing on to it. Where it stands alone
    it also does what its logger would have done without it: inside an invocation the line goes to standard output,
    elsewhere warnings go to standard error.
    """

    def __init__(self, place: logging.Logger) -> None:
        super().__init__()
        self._place = place
        formatter = logging.Formatter(
            "[%(levelname)s]\t%(asctime)s.%(msecs)03dZ\t%(aws_request_id)s\t%(message)s\n", "%Y-%m-%dT%H:%M:%S"
        )
        formatter.converter = time.gmtime
        self.setFormatter(formatter)

    def handle(self, record: logging.LogRecord) -> bool:
        """Without the lock of handlers, and with nothing to do for the REPORT lines that a busy server logs."""
        if record.levelno >= logging.WARNING or current_scope.get() is not None:
            self.emit(record)
        return True

    def emit(self, record: logging.LogRecord) -> None:
        scope = current_scope.get()
        alone = self._place.handlers == [self]
        if scope is None:
            if alone and not _is_handled_below(self._place, record):
                _handle_at_last(record)
            return
        if scope.tail is None and not alone:
            return
        record.aws_request_id = scope.request_id
        line = self.format(record)  # raises for arguments that do not fit the message: so it is on AWS
        if scope.tail is not None:
            scope.tail.write(line)
        if alone:
            put(standard("stdout"), line)


def _is_handled_below(place: logging.Logger, record: logging.LogRecord) -> bool:
    """Whether the record has met a handler on its way up to ``place``."""
    logger = _root.manager.loggerDict.get(record.name)
    while isinstance(logger, logging.Logger) and logger is not place:
        if logger.handlers:
            return True
        logger = logger.parent
    return False


def _handle_at_last(record: logging.LogRecord) -> None:
    if logging.lastResort and record.levelno >= logging.lastResort.level:
        logging.lastResort.handle(record)


_root = logging.getLogger()
_handler = TailHandler(_root)
_placing = threading.Lock()


def attend(logger: logging.Logger) -> None:
    """Puts the log handler back where code in this process has taken it away; cheap enough to be asked each time."""
    if _handler not in _root.handlers:
        _root.addHandler(_handler)
        listen(logger)


def listen(logger: logging.Logger) -> None:
    """Has the tail hear ``logger``, a server's, where its records end, unless that is the root."""
    while logger.propagate and logger.parent:
        logger = logger.parent
    with _placing:
        if logger is not _root and not any(isinstance(it, TailHandler) for it in logger.handlers):
            logger.addHandler(TailHandler(logger))
