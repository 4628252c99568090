"""What handlers in the server's own process print, do to standard output, and cannot do to others' and the log."""

import contextlib
import io
import json
import logging
import logging.config
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from serverfull_wsgi import Application, StaticFetcher
from serverfull_wsgi.telemetry.logs import JsonFormatter, TextFormatter, configure
from tests.hosts import InProcess


@pytest.fixture
def logger():
    """As a server has its own set up."""
    logger = logging.getLogger("tests.server")
    configure(logger, output="STDOUT", level="INFO", format="TEXT")
    yield logger
    logger.handlers.clear()
    logger.disabled, logger.propagate = False, True


@pytest.fixture
def call(logger):
    """Calls a handler in a server of its own: the answer, and the end of the log."""

    def call(handler):
        application = Application(StaticFetcher({"it": handler}), logger=logger)
        request = InProcess(application).request
        response = request("POST", "/2015-03-31/functions/it/invocations", b"", {"X-Amz-Log-Type": "Tail"})
        return response.json

    return call


def prints(event, context):
    print("printed by another")


class Redirecting:
    """A handler that redirects standard output until it may end, and gives what it has caught."""

    def __init__(self):
        self.inside, self.may_end = threading.Event(), threading.Event()

    def __call__(self, event, context):
        with contextlib.redirect_stdout(io.StringIO()) as caught:
            print("before")
            self.inside.set()
            assert self.may_end.wait(30)
            print("after")
        return caught.getvalue()


def test_a_handler_that_redirects_output_catches_its_own_and_not_others_nor_the_log(call, capsys):
    handler = Redirecting()
    with ThreadPoolExecutor() as pool:
        answer = pool.submit(call, handler)
        assert handler.inside.wait(30)
        call(prints)
        call(prints)
        handler.may_end.set()
        assert answer.result() == "before\nafter\n"
    printed = capsys.readouterr().out
    assert printed.count("printed by another\n") == 2
    assert printed.count("REPORT RequestId") == 3


def test_redirections_that_cross_leave_nothing_behind(call, capsys):
    """Each puts back what it found: so the last to leave puts back what the first had put there."""
    first, last = Redirecting(), Redirecting()
    with ThreadPoolExecutor() as pool:
        answers = [pool.submit(call, first)]
        assert first.inside.wait(30)
        answers.append(pool.submit(call, last))
        assert last.inside.wait(30)
        first.may_end.set()
        assert answers[0].result().startswith("before\n")
        last.may_end.set()
        assert answers[1].result().startswith("before\n")
    call(prints)
    print("printed by the test")
    printed = capsys.readouterr().out
    assert "printed by another\n" in printed
    assert "printed by the test\n" in printed
    assert printed.count("REPORT RequestId") == 3


@pytest.mark.parametrize("name", ["stdout", "stderr"])
def test_a_handler_that_leaves_without_its_output_takes_nobody_elses(name, call, capsys, monkeypatch):
    def careless(event, context):
        setattr(sys, name, None)
        logging.getLogger("of.the.handler").warning("still here")
        return "done"

    assert call(careless) == "done"
    call(prints)
    assert "printed by another\n" in capsys.readouterr().out
    assert getattr(sys, name) is not None


def test_what_is_put_in_the_place_of_the_output_while_nothing_runs_is_for_all(call):
    with contextlib.redirect_stdout(io.StringIO()) as out:
        call(prints)
    assert "printed by another\n" in out.getvalue()
    assert "REPORT RequestId" in out.getvalue()


def test_the_binary_layer_can_be_wrapped_and_given_to_a_process(call, capfdbinary):
    def wraps(event, context):
        print("text", file=io.TextIOWrapper(sys.stdout.buffer, encoding="utf-16-le"), flush=True)
        subprocess.run(["echo", "a process"], stdout=sys.stdout.buffer, check=True)
        return sys.stdout.buffer.writable()

    assert call(wraps) is True
    printed = capfdbinary.readouterr().out
    assert "text\n".encode("utf-16-le") in printed
    assert b"a process\n" in printed


def test_a_character_that_the_output_does_not_know_is_escaped(call):
    out = io.TextIOWrapper(io.BytesIO(), encoding="ascii")

    def polite(event, context):
        print("grüezi")
        raise ValueError("für nichts")

    with contextlib.redirect_stdout(out):
        call(polite)
    printed = out.buffer.getvalue()
    assert rb"gr\xfcezi" in printed
    assert rb"ValueError: f\xfcr nichts" in printed


def test_a_handler_that_configures_logging_silences_nobody_elses(call, capsys):
    def configures(event, context):
        logging.config.dictConfig({"version": 1})
        raise ValueError("no")

    assert call(configures)["errorType"] == "ValueError"
    printed = capsys.readouterr().out
    assert "ERROR] ValueError: no" in printed
    assert "REPORT RequestId" in printed


def test_a_server_that_is_set_up_again_still_hears_its_logger(call, logger):
    call(prints)
    configure(logger, output="NULL", level="INFO", format="TEXT")
    assert [type(it).__name__ for it in logger.handlers] == ["NullHandler", "TailHandler"]


# The forms of a line


def record(message, **extra):
    record = logging.makeLogRecord({"name": "it", "levelname": "ERROR", "levelno": 40, "msg": message, **extra})
    record.created = 0.123
    return record


def test_a_message_of_several_lines_passes_for_no_other_record():
    forged = "one\n2026-01-01T00:00:00.000Z [INFO] two\rthree\x1b[1A\x85four\u2028five\tsix"
    line = TextFormatter().format(record(forged, function_name="it", request_id="ID"))
    assert line == (
        "1970-01-01T00:00:00.123Z [ERROR] one function_name=it request_id=ID\n"
        r"    2026-01-01T00:00:00.000Z [INFO] two\rthree\x1b[1A\x85four\u2028five" + "\tsix"
    )


def test_a_record_with_fields_that_json_has_no_form_for_is_written():
    class Shy:
        def __repr__(self):
            raise ValueError

    circle = []
    circle.append(circle)
    line = JsonFormatter().format(record("text", nan=float("nan"), circle=circle, shy=Shy(), keys={(1, 2): 3}, good=1))
    members = json.loads(line, parse_constant=pytest.fail)
    expected = {"nan": "nan", "circle": "[[...]]", "shy": "<Shy>", "keys": "{(1, 2): 3}", "good": 1}
    assert {name: members[name] for name in expected} == expected
    assert members["message"] == "text"
