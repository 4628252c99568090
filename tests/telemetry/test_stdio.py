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

from serverfull_wsgi import Application, Settings, StaticFetcher, create_app
from serverfull_wsgi.telemetry.logs import JsonFormatter, TextFormatter, configure
from tests.support.hosts import InProcess
from tests.support.servers import ROOT


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


@contextlib.contextmanager
def beside(call, handler):
    """The block runs while ``handler`` is at the ``wait()`` it is given; the future of its answer."""
    waits, may_go_on = threading.Event(), threading.Event()

    def wait():
        waits.set()
        assert may_go_on.wait(30)

    with ThreadPoolExecutor() as pool:
        answer = pool.submit(call, lambda event, context: handler(wait))
        try:
            assert waits.wait(30)
            yield answer
        finally:
            may_go_on.set()


def redirects(wait):
    with contextlib.redirect_stdout(io.StringIO()) as caught:
        print("before")
        wait()
        print("after")
    return caught.getvalue()


def test_a_handler_that_redirects_output_catches_its_own_and_not_others_nor_the_log(call, capsys):
    with beside(call, redirects) as answer:
        call(prints)
        call(prints)
    assert answer.result() == "before\nafter\n"
    printed = capsys.readouterr().out
    assert printed.count("printed by another\n") == 2
    assert printed.count("REPORT RequestId") == 3


def test_redirections_that_cross_leave_nothing_behind(call, capsys):
    """Each puts back what it found: so the last to leave puts back what the first had put there."""
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
def test_a_handler_that_leaves_without_its_output_takes_nobody_elses(name, lose, call, capsys):
    def careless(event, context):
        lose(sys, name)
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


def test_a_handler_may_lose_what_it_prints_while_others_begin(call, capsys):
    def is_silent(wait):
        with contextlib.redirect_stdout(None):
            wait()
            print("not to be seen")

    with beside(call, is_silent):
        call(prints)
    printed = capsys.readouterr().out
    assert "printed by another\n" in printed
    assert "not to be seen" not in printed


def test_a_server_without_an_output_serves_and_has_a_tail(call, monkeypatch):
    monkeypatch.setattr(sys, "stdout", None)
    with beside(call, redirects) as answer:
        call(prints)
    assert answer.result() == "before\nafter\n"
    with contextlib.redirect_stdout(io.StringIO()) as out:
        call(prints)
    assert "printed by another\n" in out.getvalue()


def test_what_a_handler_leaves_is_nobodys_even_if_another_begins_as_it_ends(logger, tmp_path, monkeypatch):
    """However the two meet: what is left is taken away before its handler counts as gone."""
    left = []

    def leaves(event, context):
        left.append(io.StringIO())  # kept, since `print` in another thread may crash at one that is not
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
    """Has a host application do something while a handler runs, and then another begin."""

    def hosted(host):
        with beside(call, lambda wait: wait() or print("printed by a handler")):
            host()
        call(prints)

    return hosted


def test_a_host_that_puts_back_the_first_output_has_it_back(hosted, tmp_path, monkeypatch):
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


def test_a_handler_that_puts_back_the_first_output_has_its_proxy_again(call, tmp_path, monkeypatch):
    """Which loggers of other modules may have kept: the tail goes on to hear them."""
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


def test_a_host_that_closes_the_old_output_has_all_in_the_new(hosted, tmp_path, monkeypatch):
    with open(tmp_path / "old", "w") as old, open(tmp_path / "new", "w") as new:
        monkeypatch.setattr(sys, "stdout", old)

        def rotates():
            sys.stdout = new
            old.close()

        hosted(rotates)
        print("printed by the host")
    assert (tmp_path / "new").read_text().count("REPORT RequestId") == 2
    assert (tmp_path / "new").read_text().endswith("printed by the host\n")


def test_the_log_goes_to_the_first_output_where_the_place_of_all_is_closed(call, tmp_path, monkeypatch):
    with open(tmp_path / "first", "w") as first, open(tmp_path / "file", "w") as file:
        monkeypatch.setattr(sys, "__stdout__", first)
        monkeypatch.setattr(sys, "stdout", file)
        call(prints)
        file.close()
        call(prints)
    assert (tmp_path / "first").read_text().count("REPORT RequestId") == 1


def test_what_was_kept_of_a_redirected_output_prints_where_all_print_once_it_is_over(call, capsys):
    kept = []
    with beside(call, redirects):
        call(lambda event, context: kept.append(sys.stdout))
    print("printed later", file=kept[0])
    assert "printed later\n" in capsys.readouterr().out


FORKS = """
import io, os, sys, threading
from serverfull_wsgi.telemetry.scope import InvocationScope
from serverfull_wsgi.telemetry.stdio import running

class Waits(io.StringIO):  # is asked whether it is closed while the module holds its lock
    @property
    def closed(self):
        if threading.current_thread() is thread:
            holding.set()
            done.wait()
        return False

def scope():
    return InvocationScope("id", "it", None, None, None)

def redirects():
    with running(scope()):
        sys.stdout = io.StringIO()

holding, done = threading.Event(), threading.Event()
thread = threading.Thread(target=redirects)
sys.stdout = Waits()
with running(scope()):
    thread.start()
    holding.wait()
    if not (pid := os.fork()):
        sys.stdout = open(sys.argv[1], "w")
        with running(scope()):
            print("printed by the child", flush=True)
        os._exit(0)
    os.waitpid(pid, 0)
    done.set()
thread.join()
"""


def test_in_a_fork_nothing_of_its_parents_runs(tmp_path):
    subprocess.run([sys.executable, "-W", "ignore", "-c", FORKS, tmp_path / "out"], cwd=ROOT, check=True, timeout=30)
    assert (tmp_path / "out").read_text() == "printed by the child\n"


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


@pytest.fixture
def loggers():
    """All there are, which are enabled again at the end."""
    yield
    for logger in logging.root.manager.loggerDict.values():
        logger.disabled = False


@pytest.mark.usefixtures("loggers")
def test_a_handler_that_configures_logging_silences_nobody_elses(call, capsys):
    def configures(event, context):
        logging.config.dictConfig({"version": 1})
        raise ValueError("no")

    assert call(configures)["errorType"] == "ValueError"
    printed = capsys.readouterr().out
    assert "ERROR] ValueError: no" in printed
    assert "REPORT RequestId" in printed


@pytest.mark.usefixtures("loggers")
def test_a_module_that_configures_logging_silences_nobody_elses(tmp_path, monkeypatch, capsys):
    (tmp_path / "configuring.py").write_text(
        "import logging.config\nlogging.config.dictConfig({'version': 1})\ndef handler(event, context): 1 / 0\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    settings = {"SERVERFULL_FUNCTIONS": "it=configuring.handler", "SERVERFULL_EVENTS": "memory"}
    with contextlib.closing(create_app(Settings.from_mapping(settings))) as application:
        InProcess(application).request("POST", "/2015-03-31/functions/it/invocations", b"")
    assert "ZeroDivisionError" in capsys.readouterr().out


def test_a_logger_that_its_operator_disables_stays_so(call, logger, capsys):
    logger.disabled = True
    call(prints)
    assert capsys.readouterr().out == "printed by another\n"


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
