"""Functions in processes of their own under gunicorn's workers: calls, stops, and a server that is killed."""

import base64
import json
import signal
import socket
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.support.hosts import OverSocket
from tests.support.isolated import FUNCTIONS, marked, needs_client
from tests.support.servers import STOP, gunicorn
from tests.support.waiting import wait_until

pytestmark = needs_client
SETTINGS = {
    "SERVERFULL_FUNCTIONS": "evaluate=app.evaluate, quick=isolated.quick, spawn=isolated.spawn",
    "SERVERFULL_EXECUTOR": "process",
    "SERVERFULL_DRAIN": "2",
}
ISOLATED = """
import app
from serverfull_wsgi import Function

quick, spawn = Function("app.sleep", timeout=0.5), Function("app.spawn", timeout=60)
"""
WORKERS = {
    "sync": ["--worker-class", "sync"],
    "gthread": ["--worker-class", "gthread", "--threads", "4"],
    "gevent": ["--worker-class", "gevent"],
    "granian": ["--worker-class", "serverfull_wsgi.workers.GranianWorker", "--threads", "4"],
}


EACH = pytest.mark.parametrize("server", WORKERS, indirect=True)


@pytest.fixture
def server(request, tmp_path):
    """Return gunicorn in a folder with tests/functions/app.py; `impatient` has a short --graceful-timeout."""
    worker, *more = request.param.split("-")
    preload, impatient = "preload" in more, "impatient" in more
    options = [*WORKERS[worker], *(["--preload"] if preload else [])]
    settings = SETTINGS
    if impatient:
        options += ["--graceful-timeout", "3"]
        settings = {**SETTINGS, "SERVERFULL_DRAIN": "25"}
    (tmp_path / "isolated.py").write_text(ISOLATED)
    (tmp_path / "app.py").write_text((FUNCTIONS / "app.py").read_text())
    (tmp_path / "hooks.py").write_text("from serverfull_wsgi.hooks import post_worker_init, worker_exit\n")
    if preload:
        options += ["-c", "hooks.py"]
    with gunicorn(tmp_path / "log", *options, application="serverfull_wsgi:app", env=settings, cwd=tmp_path) as it:
        it.kind = request.param
        yield it


def invoke(server, name, event):
    path = f"/2015-03-31/functions/{name}/invocations"
    return OverSocket(server).request("POST", path, json.dumps(event).encode(), {"X-Amz-Log-Type": "Tail"})


@pytest.mark.parametrize("server", [*WORKERS, "gthread-preload", "gevent-preload"], indirect=True)
def test_isolated_functions_run_concurrently_and_fail_as_on_aws(server):
    assert invoke(server, "evaluate", "os.getpid()").json != server.process.pid
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda number: invoke(server, "evaluate", f"{number} * 2"), range(12)))
    assert [answer.json for answer in answers] == [number * 2 for number in range(12)]
    failed = invoke(server, "evaluate", "os._exit(7)")
    assert (failed.status, failed.headers["X-Amz-Function-Error"]) == (200, "Unhandled")
    assert failed.json["errorMessage"].endswith("Runtime exited with error: exit status 7")
    late = invoke(server, "quick", 60)
    assert late.json["errorType"] == "Sandbox.Timedout"
    assert b"Status: timeout" in base64.b64decode(late.headers["X-Amz-Log-Result"])


@pytest.mark.parametrize("server", [*WORKERS, "sync-impatient", "gthread-impatient", "gevent-impatient"], indirect=True)
def test_a_stop_answers_a_long_invocation_with_a_complete_500(server):
    mark = f"mark-{uuid.uuid4()}"
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(invoke, server, "spawn", {"mark": mark, "seconds": 50})
        wait_until(lambda: marked(mark))
        server.process.send_signal(signal.SIGTERM)
        answer = running.result(60)
    assert answer.status == 500, answer
    assert answer.headers["x-amzn-ErrorType"] == "ServiceException"
    assert answer.headers["x-amzn-RequestId"]
    assert "stopping" in answer.json["Message"]
    assert server.process.wait(STOP) == 0
    wait_until(lambda: not marked(mark))


@EACH
def test_all_processes_end_and_the_port_is_free_after_the_master_is_killed(server):
    mark = f"mark-{uuid.uuid4()}"
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(invoke, server, "spawn", {"mark": mark, "seconds": 50})
        wait_until(lambda: marked(mark))
        server.process.kill()
        wait_until(lambda: not marked(mark))
        running.exception()  # either a response or a closed connection: the order is undefined
    wait_until(lambda: is_free(server.port))


def is_free(port):
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
