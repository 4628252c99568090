"""The output of an environment, in the server's log."""

import itertools
import logging
import os

import pytest

from serverfull_wsgi.executors.isolated.output import LOGGED, Output, decode_output
from serverfull_wsgi.telemetry.logs import configure
from serverfull_wsgi.telemetry.tail import Tail

pytestmark = pytest.mark.quick


def test_bytes_that_are_not_utf8_are_escaped_as_python_escapes_them():
    odd = [0, 10, 65, 92, 127, 128, 163, 191, 192, 195, 224, 237, 240, 244, 255]
    for some in itertools.product(odd, repeat=3):
        assert decode_output(bytes(some)) == bytes(some).decode("utf-8", "backslashreplace")


def test_long_output_that_is_not_utf8_is_escaped_completely():
    much = "aƛ".encode() * 10_000 + b"\xff\xc3" * 10_000
    assert decode_output(much) == much.decode("utf-8", "backslashreplace")


def test_output_beyond_the_limit_is_counted_to_the_byte(caplog):
    reader, writer = os.pipe2(os.O_NONBLOCK)
    output, line = Output(reader, logging.getLogger("output")), b"x" * 1023 + b"\n"
    with caplog.at_level(logging.INFO):
        for _ in range(LOGGED // len(line) + 7):
            os.write(writer, line)
            assert output.read()
        output.end_invocation()
    assert len(caplog.records) == LOGGED // len(line) + 1
    assert caplog.records[-1].getMessage().startswith(f"{7 * len(line)} bytes of output were left out here")
    os.close(reader)
    os.close(writer)


def test_a_long_line_that_arrives_in_pieces_is_one_record(caplog):
    reader, writer = os.pipe2(os.O_NONBLOCK)
    output = Output(reader, logging.getLogger("output"))
    with caplog.at_level(logging.INFO):
        for piece in (b"a" * 30_000, b"b" * 30_000 + b"\nnext\n"):
            os.write(writer, piece)
            assert output.read()
    assert [record.getMessage() for record in caplog.records] == ["a" * 30_000 + "b" * 30_000, "next"]
    os.close(reader)
    os.close(writer)


def test_the_output_null_makes_no_records(monkeypatch):
    logger, records = logging.getLogger("output.null"), []
    configure(logger, output="NULL", level="INFO", format="TEXT")
    monkeypatch.setattr(logger, "handle", records.append)
    tail = Tail()
    reader, writer = os.pipe2(os.O_NONBLOCK)
    output = Output(reader, logger)
    output.start_invocation({}, tail)
    os.write(writer, b"printed\n" + frame(b"[ERROR]\ttime\tid\tbroken\n"))
    while output.read():
        pass
    output.end_invocation()
    os.close(reader)
    os.close(writer)
    assert records == []
    assert bytes(tail) == b"printed\n[ERROR]\ttime\tid\tbroken\n"


def frame(text, kind=0x03):
    """Return a frame as AWS's Python client writes it."""
    return bytes([0xA5, 0x5A, 0, kind]) + len(text).to_bytes(4, "big") + bytes(8) + text


@pytest.mark.parametrize("level", ["WARNING", "ERROR", "CRITICAL"])
def test_a_record_of_a_handler_has_its_level_in_the_log_of_the_server(caplog, level):
    text = f"[{level}]\t2026-01-01T00:00:00.000Z\tid\tfirst\n  second\n".encode()
    with caplog.at_level(logging.INFO):
        read(frame(text) + b"printed\n[ERROR]\tprinted too\n")
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        (level, "2026-01-01T00:00:00.000Z\tid\tfirst\n  second"),
        ("INFO", "printed"),
        ("INFO", "[ERROR]\tprinted too"),
    ]


def test_a_record_at_debug_is_in_the_log_of_the_server(caplog):
    with caplog.at_level(logging.INFO):
        read(frame(b"[DEBUG]\ttime\tid\tdetail\n"))
    assert [(it.levelname, it.getMessage()) for it in caplog.records] == [("INFO", "[DEBUG]\ttime\tid\tdetail")]


def test_a_failed_import_ends_in_a_readable_line(caplog):
    with caplog.at_level(logging.INFO):
        read(frame(b"[ERROR] Runtime.ImportModuleError: No module named 'x'\nTraceback (most recent call last):", 0x17))
        read(frame(b"[WARNING]\ttime\t\tLAMBDA_WARNING: Unhandled exception.\r\n"))
    assert [record.getMessage() for record in caplog.records] == [
        "Runtime.ImportModuleError: No module named 'x'",
        "time\t\tLAMBDA_WARNING: Unhandled exception.",
    ]


def read(data):
    reader, writer = os.pipe2(os.O_NONBLOCK)
    output = Output(reader, logging.getLogger("output"))
    os.write(writer, data)
    assert output.read()
    os.close(reader)
    os.close(writer)
