"""The application as those use it who mount, extend or embed it."""

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
from werkzeug.wrappers import Response

from serverfull_wsgi import (
    Application,
    Function,
    FunctionName,
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
from serverfull_wsgi.wsgi.requests import new_ids
from tests.support import handlers
from tests.support.hosts import InProcess

FUNCTIONS = {"hello": handlers.hello, "noisy": handlers.noisy, "echo": handlers.echo}


def post(application, name, payload=b"", **headers):
    headers = {header.replace("_", "-"): value for header, value in headers.items()}
    return InProcess(application).request("POST", f"/2015-03-31/functions/{name}/invocations", payload, headers)


def serving(**functions):
    return Application(StaticFetcher(functions))


def test_a_fetcher_is_any_object_that_fetches():
    class Upper:
        def fetch(self, name, qualifier="$LATEST"):
            if name != "upper":
                raise NotFoundError(name)
            return Function(lambda event, context: event.upper(), name=name)

    assert post(Application(Upper()), "upper", b'"x"').json == "X"
    assert post(Application(Upper()), "lower").status == 404


def test_a_fetcher_may_give_plain_handlers():
    class Plain:
        def fetch(self, name, qualifier="$LATEST"):
            return handlers.describe

    context = post(Application(Plain()), "any").json
    assert (context["function_name"], context["function_version"]) == ("any", "$LATEST")


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (ResourceConflictException("its code is gone"), 409),
        (InvalidRuntimeException("it wants COBOL"), 502),
        (ServiceException("its database is away"), 500),
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


def test_head_gets_the_headers_of_a_refusal_and_no_body():
    application = serving()
    get, head = (InProcess(application).request(method, "/nowhere") for method in ("GET", "HEAD"))
    assert (head.status, head.body) == (404, b"")
    assert head.headers["Content-Length"] == str(len(get.body))


def test_an_executor_of_ones_own_says_how_functions_run():
    class Canned:
        def execute(self, function, invocation):
            return Outcome(b"canned", executed_version="3")

        def close(self):
            pass

    response = post(Application(StaticFetcher(FUNCTIONS), executor=Canned()), "hello")
    assert (response.body, response.headers["X-Amz-Executed-Version"]) == (b"canned", "3")


def test_an_executor_without_room_is_a_429_with_its_reason():
    class Full:
        def execute(self, function, invocation):
            raise TooManyRequestsException("ReservedFunctionConcurrentInvocationLimitExceeded", retry_after=7)

        def close(self):
            pass

    response = post(Application(StaticFetcher(FUNCTIONS), executor=Full()), "hello")
    assert response.status == 429
    assert response.headers["Retry-After"] == "7"
    assert response.body == (
        b'{"Reason":"ReservedFunctionConcurrentInvocationLimitExceeded","Type":"User","message":"Rate Exceeded."}'
    )


def test_a_fault_of_ours_is_a_500_that_says_nothing_and_a_log_that_says_all(caplog):
    class Broken:
        def fetch(self, name, qualifier="$LATEST"):
            raise RuntimeError("the secret is 1234")

    response = post(Application(Broken()), "hello")
    assert (response.status, response.headers["x-amzn-ErrorType"]) == (500, "ServiceException")
    assert b"1234" not in response.body
    assert "the secret is 1234" in caplog.text


def test_further_routes_are_handed_their_values_decoded():
    def greet(environ, start_response):
        return Response(environ["wsgiorg.routing_args"][1]["name"])(environ, start_response)

    application = Application(StaticFetcher({}), routes=[Rule("/greet/<name>", endpoint=greet, methods=["GET"])])
    assert InProcess(application).request("GET", "/greet/a%2Fb%20c").body == b"a/b c"


def test_a_route_that_breaks_after_it_began_is_still_a_500():
    def half(environ, start_response):
        start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "0")])
        raise RuntimeError("half way")

    application = Application(StaticFetcher({}), routes=[Rule("/half", endpoint=half)])
    assert InProcess(application).request("GET", "/half").status == 500


def test_the_health_check_has_the_path_it_is_given():
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


def test_region_and_account_make_the_arns():
    application = Application(StaticFetcher({"d": handlers.describe}), region="cn-north-1", account_id="999999999999")
    assert post(application, "d").json["invoked_function_arn"] == "arn:aws-cn:lambda:cn-north-1:999999999999:function:d"


def test_start_and_close_may_be_called_more_than_once():
    application = serving(hello=handlers.hello)
    application.start()
    application.start()
    assert post(application, "hello").status == 200
    application.close()
    application.close()


def test_request_ids_are_never_those_of_another_request_or_of_another_process():
    mine = {new_ids() for _ in range(1_000)}
    reader, writer = os.pipe()
    if (child := os.fork()) == 0:
        os.write(writer, "\n".join(new_ids().request_id for _ in range(300)).encode())
        os._exit(0)
    os.close(writer)
    os.waitpid(child, 0)
    with os.fdopen(reader) as pipe:
        childs = set(pipe.read().split())
    mine |= {new_ids() for _ in range(300)}
    assert len(mine) == 1_300
    assert len({ids.trace for ids in mine}) == 1_300
    assert len(childs) == 300
    assert not childs & {ids.request_id for ids in mine}


def test_an_application_works_after_a_fork():
    application = serving(hello=handlers.hello)
    assert post(application, "hello").status == 200
    read, write = os.pipe()
    if (child := os.fork()) == 0:
        os.write(write, b"%d" % post(application, "hello", X_Amz_Invocation_Type="Event").status)
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(read, 10) == b"202"
    os.close(read)
    os.close(write)


# Capture


def test_eight_threads_capture_each_its_own_output():
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


def test_output_still_goes_where_it_went(capsys):
    post(serving(noisy=handlers.noisy), "noisy", X_Amz_Log_Type="Tail")
    captured = capsys.readouterr()
    assert "printed\n" in captured.out
    assert "to stderr\n" in captured.err


def test_a_handler_that_closes_its_output_closes_nobody_elses(capsys):
    def closing(event, context):
        sys.stdout.close()
        sys.stderr.close()
        print("still here")

    application = serving(closing=closing)
    assert post(application, "closing").status == 200
    print("and here")
    assert capsys.readouterr().out == "still here\nand here\n"


def test_an_output_that_nobody_reads_is_not_the_handlers_failure():
    class Gone(io.StringIO):
        def write(self, text):
            raise BrokenPipeError

    with contextlib.redirect_stdout(Gone()):
        response = post(serving(noisy=handlers.noisy), "noisy", X_Amz_Log_Type="Tail")
    assert response.json == "ok"


def test_the_root_loggers_level_is_left_alone():
    level = logging.getLogger().level
    post(serving(noisy=handlers.noisy), "noisy")
    assert logging.getLogger().level == level


def test_a_handler_runs_in_the_thread_of_its_request():
    """Which is not the main one under a threaded server: there neither of these two is to be had."""

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


def test_a_copied_context_is_captured_with_its_invocation():
    def spawn(event, context):
        thread = threading.Thread(target=contextvars.copy_context().run, args=(print, "from the thread"))
        thread.start()
        thread.join()

    response = post(serving(spawn=spawn), "spawn", X_Amz_Log_Type="Tail")
    assert b"from the thread\n" in base64.b64decode(response.headers["X-Amz-Log-Result"])


# What handlers reach through their context


def test_the_logger_in_a_handler_knows_its_invocation(caplog):
    def handler(event, context):
        logger_from_context().warning("at work", extra={"order": 7})

    response = post(serving(work=handler), "work")
    (record,) = [record for record in caplog.records if record.message == "at work"]
    assert (record.request_id, record.function_name, record.order) == (
        response.headers["x-amzn-RequestId"],
        "work",
        7,
    )


def test_the_logger_in_a_background_event_knows_it_too(caplog):
    application = serving(work=lambda event, context: logger_from_context().warning("in the background"))
    response = post(application, "work", X_Amz_Invocation_Type="Event")
    application.close()
    (record,) = [record for record in caplog.records if record.message == "in the background"]
    assert (record.request_id, record.function_name) == (response.headers["x-amzn-RequestId"], "work")


def test_the_logger_in_a_handler_is_part_of_the_tail():
    response = post(serving(work=at_work), "work", X_Amz_Log_Type="Tail")
    assert base64.b64decode(response.headers["X-Amz-Log-Result"]).count(b"at work") == 1


@pytest.mark.parametrize("name", ["alone", "alone.and.below"])
def test_the_logger_of_a_second_application_is_part_of_its_tail(name):
    """One that passes nothing on to the root logger, or is below one that does not."""
    post(serving(work=at_work), "work")
    alone = logging.getLogger(name.partition(".")[0])
    alone.handlers[:], alone.propagate = [logging.NullHandler()], False
    application = Application(StaticFetcher({"work": at_work}), logger=logging.getLogger(name))
    response = post(application, "work", X_Amz_Log_Type="Tail")
    assert base64.b64decode(response.headers["X-Amz-Log-Result"]).count(b"at work") == 1


def test_a_record_that_a_hosts_logger_has_written_is_not_written_again(capsys, monkeypatch):
    """As Flask's has a handler and passes its records on, to a root logger without any but ours."""
    written, host = io.StringIO(), logging.getLogger("of.a.host")
    host.handlers[:] = [logging.StreamHandler(written)]
    monkeypatch.setattr(logging.root, "handlers", [])
    post(Application(StaticFetcher({"broken": handlers.broken}), logger=host), "broken")
    assert written.getvalue().count("ValueError: boom") == 1
    assert "boom" not in capsys.readouterr().err


def at_work(event, context):
    logger_from_context().warning("at work")


def test_logger_and_stats_are_usable_outside_an_invocation():
    logger_from_context().debug("nobody runs")
    stat_from_context().incr("nothing")
    with stat_from_context().pipeline() as pipe:
        pipe.timing("nothing", 1)


# Shielding


def test_a_servers_abort_is_not_the_handlers(caplog):
    """gunicorn's sync worker raises SystemExit out of its signal handler, which runs inside the handler."""
    module = type(sys)("gunicorn.workers.base")
    exec("def handle_abort(event, context):\n    import sys\n    sys.exit(1)", module.__dict__)
    with pytest.raises(SystemExit):
        post(serving(stuck=lambda event, context: module.handle_abort(event, context)), "stuck")


def test_an_exception_that_cannot_be_shown_is_shielded():
    class Unshowable(Exception):
        def __str__(self):
            raise RuntimeError

    def handler(event, context):
        raise Unshowable

    assert post(serving(it=handler), "it").json["errorType"] == "Runtime.ExitError"


def test_a_coroutine_function_is_no_handler():
    async def handler(event, context): ...

    with pytest.warns(RuntimeWarning, match="never awaited"):
        response = post(serving(it=handler), "it")
    assert response.json["errorMessage"] == (
        "Unable to marshal response: Object of type coroutine is not JSON serializable"
    )


def test_an_overrun_is_logged_and_its_result_stands(caplog):
    response = post(Application(StaticFetcher({"s": Function(handlers.slow, timeout=0.001)})), "s", b"0.01")
    assert response.json == 0
    assert "over its timeout of 0.00 s" in caplog.text


# Events


def test_a_full_pool_refuses_with_a_reason_and_when_to_come_again():
    release = threading.Event()
    application = Application(
        StaticFetcher({"wait": lambda event, context: release.wait(30)}), queue=MemoryQueue(size=1, workers=1)
    )
    responses = [post(application, "wait", X_Amz_Invocation_Type="Event") for _ in range(4)]
    release.set()
    application.close()
    refusal = max(responses, key=lambda response: response.status)  # not the last, if its thread was late to begin
    assert refusal.status == 429
    assert refusal.json["Reason"] == "ConcurrentInvocationLimitExceeded"
    assert refusal.headers["Retry-After"] == "1"


def test_close_drains_what_was_accepted():
    ran = []
    application = serving(add=lambda event, context: ran.append(event))
    for number in range(100):
        assert post(application, "add", b"%d" % number, X_Amz_Invocation_Type="Event").status == 202
    application.close()
    assert sorted(ran) == list(range(100))


def test_a_closed_application_takes_no_events():
    application = serving(add=handlers.echo)
    post(application, "add", X_Amz_Invocation_Type="Event")
    application.close()
    assert post(application, "add", X_Amz_Invocation_Type="Event").status == 500


def test_what_the_drain_time_leaves_is_told(caplog):
    release = threading.Event()
    queue = MemoryQueue(workers=1, drain=0)
    application = Application(StaticFetcher({"wait": lambda event, context: release.wait(30)}), queue=queue)
    for _ in range(3):
        post(application, "wait", X_Amz_Invocation_Type="Event")
    application.close()
    release.set()
    assert "was dropped" in caplog.text


def test_the_in_process_executor_can_be_used_alone():
    from serverfull_wsgi import FunctionName, Invocation

    name = FunctionName.parse("hello", region="us-east-1", account_id="123456789012")
    outcome = InProcessExecutor().execute(Function(handlers.echo, name="hello"), Invocation(name, b"[1]", "id"))
    assert (outcome.payload, outcome.function_error) == (b"[1]", None)


def test_the_tail_has_what_is_printed_after_another_has_redirected_the_output():
    inside, leave = threading.Event(), threading.Event()

    def redirects(event, context):
        with contextlib.redirect_stdout(io.StringIO()):
            inside.set()
            leave.wait(30)

    def prints(event, context):
        print("hello")

    def tail(handler):
        name = FunctionName.parse("f", region="us-east-1", account_id="123456789012")
        return InProcessExecutor().execute(Function(handler, name="f"), Invocation(name, b"", "id", tail=True)).log

    other = threading.Thread(target=tail, args=[redirects])
    other.start()
    assert inside.wait(30)
    tail(prints)
    leave.set()
    other.join()
    assert b"\nhello\n" in tail(prints)
