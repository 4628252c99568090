"""Standard output of handlers in the server's own process: their tails, their redirections, and the server's log."""

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

from serverfull_wsgi import Application, Settings, StaticFetcher, create_app
from serverfull_wsgi.telemetry.logs import JsonFormatter, TextFormatter, configure
from tests.support.hosts import InProcess
from tests.support.servers import ROOT

pytestmark = pytest.mark.quick


@pytest.fixture
def logger():
    """Return a logger that is configured as a server's."""
    logger = logging.getLogger("tests.server")
    configure(logger, output="STDOUT", level="INFO", format="TEXT")
    yield logger
    logger.handlers.clear()
    logger.disabled, logger.propagate = False, True


@pytest.fixture
def call(logger):
    """Return a function that calls a handler in a server of its own and returns its result."""

    def call(handler):
        application = Application(StaticFetcher({"it": handler}), logger=logger)
        request = InProcess(application).request
        response = request("POST", "/2015-03-31/functions/it/invocations", b"", {"X-Amz-Log-Type": "Tail"})
        return response.json

    return call


def prints(event, context):
    print("printed by another")


@contextlib.contextmanager
def beside(call, handler):
    """Run the block while ``handler`` is in the ``wait()`` that it is given; yield the future of its result."""
    waiting, may_continue = threading.Event(), threading.Event()

    def wait():
        waiting.set()
        assert may_continue.wait(30)

    with ThreadPoolExecutor() as pool:
        answer = pool.submit(call, lambda event, context: handler(wait))
        try:
            assert waiting.wait(30)
            yield answer
        finally:
            may_continue.set()


def redirects(wait):
    with contextlib.redirect_stdout(io.StringIO()) as caught:
        print("before")
        wait()
        print("after")
    return caught.getvalue()


def test_a_redirection_catches_the_handlers_own_output_only(call, capsys):
    with beside(call, redirects) as answer:
        call(prints)
        call(prints)
    assert answer.result() == "before\nafter\n"
    printed = capsys.readouterr().out
    assert printed.count("printed by another\n") == 2
    assert printed.count("REPORT RequestId") == 3


def test_overlapping_redirections_leave_nothing_behind(call, capsys):
    """Each handler restores the stream it replaced, so the last one restores the first one's replacement."""
    with contextlib.ExitStack() as stack:
        with beside(call, redirects) as first:
            last = stack.enter_context(beside(call, redirects))
        assert first.result().startswith("before\n")
    assert last.result().startswith("before\n")
    call(prints)
    print("printed by the test")
    printed = capsys.readouterr().out
    assert "printed by another\n" in printed
    assert "printed by the test\n" in printed
    assert printed.count("REPORT RequestId") == 3


@pytest.mark.parametrize("lose", [delattr, lambda module, name: setattr(module, name, None)], ids=["deleted", "None"])
@pytest.mark.parametrize("name", ["stdout", "stderr"])
def test_a_handler_that_deletes_its_output_affects_no_other_handler(name, lose, call, capsys):
    def careless(event, context):
        lose(sys, name)
        logging.getLogger("of.the.handler").warning("still here")
        return "done"

    assert call(careless) == "done"
    call(prints)
    assert "printed by another\n" in capsys.readouterr().out
    assert getattr(sys, name) is not None


def test_a_replacement_while_no_handler_runs_applies_to_all(call):
    with contextlib.redirect_stdout(io.StringIO()) as out:
        call(prints)
    assert "printed by another\n" in out.getvalue()
    assert "REPORT RequestId" in out.getvalue()


def test_a_handler_may_discard_its_output_while_others_start(call, capsys):
    def is_silent(wait):
        with contextlib.redirect_stdout(None):
            wait()
            print("lost")

    with beside(call, is_silent):
        call(prints)
    printed = capsys.readouterr().out
    assert "printed by another\n" in printed
    assert "lost" not in printed


def test_a_server_without_standard_output_serves(call, monkeypatch):
    monkeypatch.setattr(sys, "stdout", None)
    with beside(call, redirects) as answer:
        call(prints)
    assert answer.result() == "before\nafter\n"
    with contextlib.redirect_stdout(io.StringIO()) as out:
        call(prints)
    assert "printed by another\n" in out.getvalue()


def test_a_replacement_left_by_a_handler_is_removed_even_if_another_starts_as_it_ends(logger, tmp_path, monkeypatch):
    """In any order: the replacement is removed before its invocation counts as ended."""
    left = []

    def leaves(event, context):
        left.append(io.StringIO())  # kept: `print` in another thread may crash if the stream is freed
        sys.stdout = left[-1]

    application = Application(StaticFetcher({"leaves": leaves, "prints": prints}), logger=logger)

    def call(name):
        InProcess(application).request("POST", f"/2015-03-31/functions/{name}/invocations", b"")

    out = tmp_path / "out"  # a real file: in-memory text streams are not safe for threads in CPython
    interval = sys.getswitchinterval()
    with open(out, "w") as file, ThreadPoolExecutor(3) as pool:
        monkeypatch.setattr(sys, "stdout", file)
        call("prints")
        sys.setswitchinterval(1e-6)
        try:
            for _ in pool.map(call, ["leaves", "leaves", "prints"] * 400):
                pass
        finally:
            sys.setswitchinterval(interval)
        call("prints")
    lines = out.read_text().splitlines()
    assert len([line for line in lines if "REPORT RequestId" in line]) == 1202
    assert lines[-2] == "printed by another"


@pytest.fixture
def hosted(call):
    """Return a function that calls ``host`` while a handler runs, and then starts another invocation."""

    def hosted(host):
        with beside(call, lambda wait: wait() or print("printed by a handler")):
            host()
        call(prints)

    return hosted


def test_a_host_application_can_restore_the_first_output(hosted, tmp_path, monkeypatch):
    with open(tmp_path / "first", "w") as first:
        monkeypatch.setattr(sys, "__stdout__", first)
        with open(tmp_path / "file", "w") as file:
            monkeypatch.setattr(sys, "stdout", file)

            def puts_back():
                sys.stdout = first

            hosted(puts_back)
            print("printed by the host")
    assert "REPORT RequestId" in (tmp_path / "first").read_text()
    assert (tmp_path / "first").read_text().endswith("printed by the host\n")


def test_a_handler_that_restores_the_first_output_gets_the_same_proxy_again(call, tmp_path, monkeypatch):
    """Log handlers of other modules may hold the proxy; the tail still gets their lines."""
    kept = []

    def puts_back(event, context):
        kept.append(sys.stdout)
        sys.stdout = sys.__stdout__

    with open(tmp_path / "first", "w") as first:
        monkeypatch.setattr(sys, "__stdout__", first)
        monkeypatch.setattr(sys, "stdout", first)
        for _ in range(3):
            call(puts_back)
    assert kept[0] is kept[1] is kept[2]
    assert not kept[0].retired


def test_output_moves_to_the_hosts_new_stream_once_the_old_one_is_closed(hosted, tmp_path, monkeypatch):
    with open(tmp_path / "old", "w") as old, open(tmp_path / "new", "w") as new:
        monkeypatch.setattr(sys, "stdout", old)

        def rotates():
            sys.stdout = new
            old.close()

        hosted(rotates)
        print("printed by the host")
    assert (tmp_path / "new").read_text().count("REPORT RequestId") == 2
    assert (tmp_path / "new").read_text().endswith("printed by the host\n")


def test_the_log_goes_to_the_first_output_if_the_real_stream_is_closed(call, tmp_path, monkeypatch):
    with open(tmp_path / "first", "w") as first, open(tmp_path / "file", "w") as file:
        monkeypatch.setattr(sys, "__stdout__", first)
        monkeypatch.setattr(sys, "stdout", file)
        call(prints)
        file.close()
        call(prints)
    assert (tmp_path / "first").read_text().count("REPORT RequestId") == 1


def test_a_kept_redirection_prints_to_the_real_stream_once_it_is_over(call, capsys):
    kept = []
    with beside(call, redirects):
        call(lambda event, context: kept.append(sys.stdout))
    print("printed later", file=kept[0])
    assert "printed later\n" in capsys.readouterr().out


def test_a_kept_redirection_prints_to_the_real_stream_during_a_later_redirection(call, capsys):
    """For example the stream of a log handler, which a module made while another handler redirected its output."""
    kept = []

    def prints_to_kept(wait):
        with contextlib.redirect_stdout(io.StringIO()) as caught:
            wait()
            print("printed later", file=kept[0])
        return caught.getvalue()

    with beside(call, redirects):
        call(lambda event, context: kept.append(sys.stdout))
    with beside(call, prints_to_kept) as answer:
        call(prints)
    assert answer.result() == ""
    assert "printed later\n" in capsys.readouterr().out


FORKS = """
import contextlib, io, os, sys, threading
from serverfull_wsgi.telemetry.stdio import RunningScope

class Waits(io.StringIO):  # a stream whose `closed` is read while the module holds its lock
    @property
    def closed(self):
        if threading.current_thread() is thread:
            holding.set()
            done.wait()
        return False

@contextlib.contextmanager
def scope():
    it = RunningScope("id", "it", None, None, None)
    it.start()
    try:
        yield
    finally:
        it.end()

def redirects():
    with scope():
        sys.stdout = io.StringIO()

holding, done = threading.Event(), threading.Event()
thread = threading.Thread(target=redirects)
sys.stdout = Waits()
with scope():
    thread.start()
    holding.wait()
    if not (pid := os.fork()):
        sys.stdout = open(sys.argv[1], "w")
        with scope():
            print("printed by the child", flush=True)
        os._exit(0)
    os.waitpid(pid, 0)
    done.set()
thread.join()
"""


def test_a_forked_child_forgets_its_parents_invocations_and_lock(tmp_path):
    subprocess.run([sys.executable, "-W", "ignore", "-c", FORKS, tmp_path / "out"], cwd=ROOT, check=True, timeout=30)
    assert (tmp_path / "out").read_text() == "printed by the child\n"


def test_the_binary_layer_can_be_wrapped_and_passed_to_a_process(call, capfdbinary):
    def wraps(event, context):
        print("text", file=io.TextIOWrapper(sys.stdout.buffer, encoding="utf-16-le"), flush=True)
        subprocess.run(["echo", "a process"], stdout=sys.stdout.buffer, check=True)
        return sys.stdout.buffer.writable()

    assert call(wraps) is True
    printed = capfdbinary.readouterr().out
    assert "text\n".encode("utf-16-le") in printed
    assert b"a process\n" in printed


STANDARD_ERROR = {
    "text": lambda: print("second", file=sys.stderr),
    "bytes": lambda: sys.stderr.buffer.write(b"second\n"),
    "log": lambda: logging.getLogger("tests.server").error("second"),
}


@pytest.mark.parametrize("write", STANDARD_ERROR.values(), ids=STANDARD_ERROR)
def test_standard_error_keeps_its_place_in_a_file_with_buffered_standard_output(write, call, tmp_path, monkeypatch):
    configure(logging.getLogger("tests.server"), output="STDERR", level="ERROR", format="TEXT")

    def handler(event, context):
        print("first")
        write()
        print("third")

    with open(tmp_path / "log", "a") as stdout, open(tmp_path / "log", "a", buffering=1) as stderr:
        monkeypatch.setattr(sys, "stdout", stdout)
        monkeypatch.setattr(sys, "stderr", stderr)
        call(handler)
    lines = (tmp_path / "log").read_text().split()
    assert [line for line in lines if line in ("first", "second", "third")] == ["first", "second", "third"]


def test_a_character_outside_the_outputs_encoding_is_escaped(call):
    out = io.TextIOWrapper(io.BytesIO(), encoding="ascii")

    def polite(event, context):
        print("grüezi")
        raise ValueError("für nichts")

    with contextlib.redirect_stdout(out):
        call(polite)
    printed = out.buffer.getvalue()
    assert rb"gr\xfcezi" in printed
    assert rb"ValueError: f\xfcr nichts" in printed


@pytest.fixture
def loggers():
    """Enable all loggers again at the end."""
    yield
    for logger in logging.root.manager.loggerDict.values():
        logger.disabled = False


@pytest.mark.usefixtures("loggers")
def test_a_handler_that_configures_logging_does_not_silence_the_servers_log(call, capsys):
    def configures(event, context):
        logging.config.dictConfig({"version": 1})
        raise ValueError("no")

    assert call(configures)["errorType"] == "ValueError"
    printed = capsys.readouterr().out
    assert "ERROR] ValueError: no" in printed
    assert "REPORT RequestId" in printed


@pytest.mark.usefixtures("loggers")
def test_a_module_that_configures_logging_does_not_silence_the_servers_log(tmp_path, monkeypatch, capsys):
    (tmp_path / "configuring.py").write_text(
        "import logging.config\nlogging.config.dictConfig({'version': 1})\ndef handler(event, context): 1 / 0\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    settings = {"SERVERFULL_FUNCTIONS": "it=configuring.handler", "SERVERFULL_EVENTS": "memory"}
    with contextlib.closing(create_app(Settings.from_mapping(settings))) as application:
        InProcess(application).request("POST", "/2015-03-31/functions/it/invocations", b"")
    assert "ZeroDivisionError" in capsys.readouterr().out


def test_a_logger_that_its_operator_disabled_stays_disabled(call, logger, capsys):
    logger.disabled = True
    call(prints)
    assert capsys.readouterr().out == "printed by another\n"


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda handler: handler.setLevel("WARNING"), []),
        (lambda handler: handler.addFilter(lambda record: "REPORT" not in record.getMessage()), []),
        (lambda handler: handler.setFormatter(logging.Formatter("mine: %(message).6s")), ["mine: REPORT"]),
    ],
    ids=["level", "filter", "formatter"],
)
def test_a_change_of_the_servers_log_handler_holds_for_report_lines(change, expected, call, logger, capsys):
    change(logger.handlers[0])
    call(lambda event, context: None)
    assert [line for line in capsys.readouterr().out.splitlines() if "REPORT" in line] == expected


def test_a_logger_that_is_configured_again_keeps_its_tail_handler(call, logger):
    call(prints)
    configure(logger, output="NULL", level="INFO", format="TEXT")
    assert [type(it).__name__ for it in logger.handlers] == ["NullHandler", "TailHandler"]


# The forms of a line


def record(message, **extra):
    record = logging.makeLogRecord({"name": "it", "levelname": "ERROR", "levelno": 40, "msg": message, **extra})
    record.created = 0.123
    return record


def test_a_message_of_several_lines_cannot_imitate_another_record():
    forged = "one\n2026-01-01T00:00:00.000Z [INFO] two\rthree\x1b[1A\x85four\u2028five\tsix"
    line = TextFormatter().format(record(forged, function_name="it", request_id="ID"))
    assert line == (
        "1970-01-01T00:00:00.123Z [ERROR] one function_name=it request_id=ID\n"
        r"    2026-01-01T00:00:00.000Z [INFO] two\rthree\x1b[1A\x85four\u2028five" + "\tsix"
    )


def test_a_record_with_fields_without_a_json_form_is_written():
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
