"""The application, mounted, extended and embedded."""

import asyncio
import base64
import contextlib
import contextvars
import io
import logging
import os
import signal
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from werkzeug.routing import Rule
from werkzeug.test import EnvironBuilder
from werkzeug.wrappers import Response

from serverfull_wsgi import (
    Application,
    Function,
    InProcessExecutor,
    InvalidRuntimeException,
    Invocation,
    Invoke,
    MemoryQueue,
    NotFoundError,
    Outcome,
    ResourceConflictException,
    ServiceException,
    StaticFetcher,
    TooManyRequestsException,
    logger_from_context,
    stat_from_context,
)
from serverfull_wsgi.wsgi.ids import new_request_id
from tests.support import handlers
from tests.support.hosts import InProcess, post
from tests.support.names import function_name

pytestmark = pytest.mark.quick

FUNCTIONS = {"hello": handlers.hello, "noisy": handlers.noisy, "echo": handlers.echo}


def serving(**functions):
    return Application(StaticFetcher(functions))


def test_a_fetcher_is_any_object_with_a_fetch_method():
    class Upper:
        def fetch(self, name, qualifier="$LATEST"):
            if name != "upper":
                raise NotFoundError(name)
            return Function(lambda event, context: event.upper(), name=name)

    assert post(Application(Upper()), "upper", b'"x"').json == "X"
    assert post(Application(Upper()), "lower").status == 404


def test_a_fetcher_may_return_plain_handlers():
    class Plain:
        def fetch(self, name, qualifier="$LATEST"):
            return handlers.describe

    context = post(Application(Plain()), "any").json
    assert (context["function_name"], context["function_version"]) == ("any", "$LATEST")


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (ResourceConflictException("its code is missing"), 409),
        (InvalidRuntimeException("COBOL is not installed"), 502),
        (ServiceException("the database is down"), 500),
        (TooManyRequestsException(), 429),
    ],
)
def test_callers_get_the_error_that_a_fetcher_raises(error, status):
    class Raising:
        def fetch(self, name, qualifier="$LATEST"):
            raise error

    response = post(Application(Raising()), "any")
    assert (response.status, response.headers["x-amzn-ErrorType"]) == (status, type(error).__name__)
    assert error.message in response.json.values()


def test_a_head_request_gets_the_headers_of_an_error_and_no_body():
    application = serving()
    get, head = (InProcess(application).request(method, "/nowhere") for method in ("GET", "HEAD"))
    assert (head.status, head.body) == (404, b"")
    assert head.headers["Content-Length"] == str(len(get.body))


def test_a_users_own_executor_runs_the_functions():
    class Canned:
        def execute(self, function, invocation):
            return Outcome(b"canned", executed_version="3")

    response = post(Application(StaticFetcher(FUNCTIONS), executor=Canned()), "hello")
    assert (response.body, response.headers["X-Amz-Executed-Version"]) == (b"canned", "3")


def test_an_executor_at_its_limit_is_a_429_with_its_reason():
    class Full:
        def execute(self, function, invocation):
            raise TooManyRequestsException("ReservedFunctionConcurrentInvocationLimitExceeded", retry_after=7)

    response = post(Application(StaticFetcher(FUNCTIONS), executor=Full()), "hello")
    assert response.status == 429
    assert response.headers["Retry-After"] == "7"
    assert response.body == (
        b'{"Reason":"ReservedFunctionConcurrentInvocationLimitExceeded","Type":"User","message":"Rate Exceeded."}'
    )


def test_a_failure_of_the_service_is_a_500_without_details_and_the_log_has_them(caplog):
    class Broken:
        def fetch(self, name, qualifier="$LATEST"):
            raise RuntimeError("the secret is 1234")

    response = post(Application(Broken()), "hello")
    assert (response.status, response.headers["x-amzn-ErrorType"]) == (500, "ServiceException")
    assert b"1234" not in response.body
    assert "the secret is 1234" in caplog.text


def test_further_routes_get_their_values_percent_decoded():
    def greet(environ, start_response):
        return Response(environ["wsgiorg.routing_args"][1]["name"])(environ, start_response)

    application = Application(StaticFetcher({}), routes=[Rule("/greet/<name>", endpoint=greet, methods=["GET"])])
    assert InProcess(application).request("GET", "/greet/a%2Fb%20c").body == b"a/b c"


def test_a_route_that_fails_after_start_response_is_a_500():
    def half(environ, start_response):
        start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "0")])
        raise RuntimeError("half way")

    application = Application(StaticFetcher({}), routes=[Rule("/half", endpoint=half)])
    assert InProcess(application).request("GET", "/half").status == 500


def test_the_health_check_has_a_configurable_path():
    application = Application(StaticFetcher({}), healthcheck="/alive")
    assert InProcess(application).request("GET", "/alive").body == b"."
    assert InProcess(application).request("GET", "/healthcheck").status == 404


def test_the_invoke_endpoint_serves_in_any_router():
    invoke = Invoke(Application(StaticFetcher(FUNCTIONS)).dispatcher)

    def router(environ, start_response):
        environ["wsgiorg.routing_args"] = (), {"FunctionName": environ["PATH_INFO"].lstrip("/")}
        return invoke(environ, start_response)

    assert InProcess(router).request("POST", "/hello").json == "Hello ƛ!"
    assert InProcess(router).request("POST", "/absent").status == 404


def test_region_and_account_are_part_of_the_arns():
    application = Application(StaticFetcher({"d": handlers.describe}), region="cn-north-1", account_id="999999999999")
    assert post(application, "d").json["invoked_function_arn"] == "arn:aws-cn:lambda:cn-north-1:999999999999:function:d"


def test_request_ids_differ_between_requests_and_processes():
    ids = {new_request_id() for _ in range(1_000)}
    reader, writer = os.pipe()
    if (child := os.fork()) == 0:
        os.write(writer, "\n".join(new_request_id() for _ in range(300)).encode())
        os._exit(0)
    os.close(writer)
    os.waitpid(child, 0)
    with os.fdopen(reader) as pipe:
        ids_of_child = set(pipe.read().split())
    ids |= {new_request_id() for _ in range(300)}
    assert len(ids) == 1_300
    assert len(ids_of_child) == 300
    assert not ids_of_child & ids


# The output of handlers


def test_the_tail_of_each_thread_has_only_its_own_output():
    barrier = threading.Barrier(8)

    def shout(event, context):
        barrier.wait()
        for number in range(50):
            print(f"<{event}:{number}>")
            logging.getLogger("of.the.handler").warning("<%s:%d>", event, number)
        return event

    application = serving(shout=shout)
    tails = {}

    def call(word):
        response = post(application, "shout", f'"{word}"'.encode(), X_Amz_Log_Type="Tail")
        tails[word] = base64.b64decode(response.headers["X-Amz-Log-Result"]).decode()

    words = ["abcdefgh"[n] * 3 for n in range(8)]
    for _ in range(8):
        threads = [threading.Thread(target=call, args=(word,)) for word in words]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for word in words:
            others = [other for other in words if other != word and f"<{other}:" in tails[word]]
            assert f"<{word}:49>" in tails[word]
            assert others == []


def test_output_still_reaches_the_servers_streams(capsys):
    post(serving(noisy=handlers.noisy), "noisy", X_Amz_Log_Type="Tail")
    captured = capsys.readouterr()
    assert "printed\n" in captured.out
    assert "to stderr\n" in captured.err


def test_a_handler_that_closes_its_output_does_not_close_the_servers(capsys):
    def closing(event, context):
        sys.stdout.close()
        sys.stderr.close()
        print("still here")

    application = serving(closing=closing)
    assert post(application, "closing").status == 200
    print("and here")
    assert capsys.readouterr().out == "still here\nand here\n"


def test_an_output_without_a_reader_is_not_a_function_error():
    class Gone(io.StringIO):
        def write(self, text):
            raise BrokenPipeError

    with contextlib.redirect_stdout(Gone()):
        response = post(serving(noisy=handlers.noisy), "noisy", X_Amz_Log_Type="Tail")
    assert response.json == "ok"


def test_the_root_loggers_level_does_not_change():
    level = logging.getLogger().level
    post(serving(noisy=handlers.noisy), "noisy")
    assert logging.getLogger().level == level


def test_a_handler_runs_in_the_thread_of_its_request():
    """This is not the main thread of a threaded server, so signal handlers are refused, and an event loop can run."""

    def wants(event, context):
        signal.signal(signal.SIGUSR1, signal.SIG_DFL)

    def runs(event, context):
        async def main():
            return "ran"

        return asyncio.run(main())

    application = serving(wants=wants, runs=runs)
    with ThreadPoolExecutor() as pool:
        refused = pool.submit(post, application, "wants").result().json
        assert "only works in main thread" in refused["errorMessage"]
        assert pool.submit(post, application, "runs").result().json == "ran"


def test_the_tail_has_the_output_of_a_copied_context():
    def spawn(event, context):
        thread = threading.Thread(target=contextvars.copy_context().run, args=(print, "from the thread"))
        thread.start()
        thread.join()

    response = post(serving(spawn=spawn), "spawn", X_Amz_Log_Type="Tail")
    assert b"from the thread\n" in base64.b64decode(response.headers["X-Amz-Log-Result"])


# Logger and metrics of handlers


def test_the_logger_in_a_handler_adds_the_request_id(caplog):
    def handler(event, context):
        logger_from_context().warning("at work", extra={"order": 7})

    response = post(serving(work=handler), "work")
    (record,) = [record for record in caplog.records if record.message == "at work"]
    assert (record.request_id, record.function_name, record.order) == (
        response.headers["x-amzn-RequestId"],
        "work",
        7,
    )


def test_the_logger_in_an_event_adds_the_request_id(caplog):
    application = serving(work=lambda event, context: logger_from_context().warning("in the background"))
    response = post(application, "work", X_Amz_Invocation_Type="Event")
    application.close()
    (record,) = [record for record in caplog.records if record.message == "in the background"]
    assert (record.request_id, record.function_name) == (response.headers["x-amzn-RequestId"], "work")


def test_the_logger_in_a_handler_is_part_of_the_tail():
    response = post(serving(work=at_work), "work", X_Amz_Log_Type="Tail")
    assert base64.b64decode(response.headers["X-Amz-Log-Result"]).count(b"at work") == 1


@pytest.mark.parametrize("name", ["alone", "alone.and.below"])
def test_the_tail_has_the_records_of_a_second_applications_logger(name):
    """The logger, or the one above it, does not propagate to the root logger."""
    post(serving(work=at_work), "work")
    alone = logging.getLogger(name.partition(".")[0])
    alone.handlers[:], alone.propagate = [logging.NullHandler()], False
    application = Application(StaticFetcher({"work": at_work}), logger=logging.getLogger(name))
    response = post(application, "work", X_Amz_Log_Type="Tail")
    assert base64.b64decode(response.headers["X-Amz-Log-Result"]).count(b"at work") == 1


def test_a_record_that_a_hosts_logger_writes_is_written_once(capsys, monkeypatch):
    """Flask's logger has a handler and propagates, to a root logger that has only our handler."""
    written, host = io.StringIO(), logging.getLogger("of.a.host")
    host.handlers[:] = [logging.StreamHandler(written)]
    monkeypatch.setattr(logging.root, "handlers", [])
    post(Application(StaticFetcher({"broken": handlers.broken}), logger=host), "broken")
    assert written.getvalue().count("ValueError: boom") == 1
    assert "boom" not in capsys.readouterr().err


def at_work(event, context):
    logger_from_context().warning("at work")


def test_logger_and_stats_are_usable_outside_an_invocation():
    logger_from_context().debug("no invocation")
    stat_from_context().incr("nothing")
    with stat_from_context().pipeline() as pipe:
        pipe.timing("nothing", 1)


# Exceptions that must not reach the server


def test_an_abort_by_the_server_ends_the_request(caplog):
    """gunicorn's sync worker raises SystemExit from a signal handler that runs while the function does."""
    module = type(sys)("gunicorn.workers.base")
    exec("def handle_abort(event, context):\n    import sys\n    sys.exit(1)", module.__dict__)
    with pytest.raises(SystemExit):
        post(serving(stuck=lambda event, context: module.handle_abort(event, context)), "stuck")


def test_an_exception_that_has_no_text_is_a_function_error():
    class Unshowable(Exception):
        def __str__(self):
            raise RuntimeError

    def handler(event, context):
        raise Unshowable

    assert post(serving(it=handler), "it").json["errorType"] == "Runtime.ExitError"


def test_a_coroutine_function_is_not_a_handler():
    async def handler(event, context): ...

    with pytest.warns(RuntimeWarning, match="never awaited"):
        response = post(serving(it=handler), "it")
    assert response.json["errorMessage"] == (
        "Unable to marshal response: Object of type coroutine is not JSON serializable"
    )


def test_a_result_after_the_timeout_is_returned_and_logged(caplog):
    response = post(Application(StaticFetcher({"s": Function(handlers.slow, timeout=0.001)})), "s", b"0.01")
    assert response.json == 0
    assert "over its timeout of 0.00 s" in caplog.text


# Events


def test_a_full_queue_is_a_429_with_a_reason_and_retry_after():
    release = threading.Event()
    application = Application(
        StaticFetcher({"wait": lambda event, context: release.wait(30)}), queue=MemoryQueue(size=1, workers=1)
    )
    responses = [post(application, "wait", X_Amz_Invocation_Type="Event") for _ in range(4)]
    release.set()
    application.close()
    refusal = max(responses, key=lambda response: response.status)  # any of them: the worker thread may start late
    assert refusal.status == 429
    assert refusal.json["Reason"] == "ConcurrentInvocationLimitExceeded"
    assert refusal.headers["Retry-After"] == "1"


def test_close_waits_for_accepted_events():
    ran = []
    application = serving(add=lambda event, context: ran.append(event))
    for number in range(100):
        assert post(application, "add", b"%d" % number, X_Amz_Invocation_Type="Event").status == 202
    application.close()
    assert sorted(ran) == list(range(100))


def test_a_closed_application_refuses_events():
    application = serving(add=handlers.echo)
    post(application, "add", X_Amz_Invocation_Type="Event")
    application.close()
    assert post(application, "add", X_Amz_Invocation_Type="Event").status == 500


def test_events_left_after_the_drain_time_are_logged(caplog):
    release = threading.Event()
    queue = MemoryQueue(workers=1, drain=0)
    application = Application(StaticFetcher({"wait": lambda event, context: release.wait(30)}), queue=queue)
    for _ in range(3):
        post(application, "wait", X_Amz_Invocation_Type="Event")
    application.close()
    release.set()
    assert "was dropped" in caplog.text


def test_the_in_process_executor_can_be_used_alone():
    from serverfull_wsgi import Invocation

    name = function_name("hello")
    outcome = InProcessExecutor().execute(Function(handlers.echo, name="hello"), Invocation(name, b"[1]", "id"))
    assert (outcome.payload, outcome.function_error) == (b"[1]", None)


def test_the_tail_has_output_printed_while_another_handler_redirects_its_own():
    inside, leave = threading.Event(), threading.Event()

    def redirects(event, context):
        with contextlib.redirect_stdout(io.StringIO()):
            inside.set()
            leave.wait(30)

    def prints(event, context):
        print("hello")

    def tail(handler):
        name = function_name("f")
        return InProcessExecutor().execute(Function(handler, name="f"), Invocation(name, b"", "id", tail=True)).log

    other = threading.Thread(target=tail, args=[redirects])
    other.start()
    assert inside.wait(30)
    tail(prints)
    leave.set()
    other.join()
    assert b"\nhello\n" in tail(prints)


INVOKE = "/2015-03-31/functions/hello/invocations"


@pytest.mark.parametrize(
    ("method", "path", "headers"),
    [
        ("POST", INVOKE, {"HTTP_X_AMZ_INVOCATION_TYPE": "Event"}),
        ("POST", INVOKE, {"HTTP_X_AMZ_INVOCATION_TYPE": "DryRun"}),
        ("HEAD", "/healthcheck", {}),
        ("HEAD", "/nothing", {}),
    ],
)
def test_a_response_without_a_body_has_one_empty_piece(method, path, headers):
    """Hypercorn sends the head of a response with the first piece of its body."""
    application = Application(StaticFetcher({"hello": lambda event, context: None}))
    environ = EnvironBuilder(path, method=method).get_environ() | headers
    statuses = []
    assert list(application(environ, lambda status, *_: statuses.append(status))) == [b""]
    assert len(statuses) == 1
    application.close()
