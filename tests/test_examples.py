"""Each example, started by the commands of its docstring and called by real clients."""

import ast
import contextlib
import http.client
import importlib.util
import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from types import SimpleNamespace
from typing import NamedTuple

import boto3
import botocore
import botocore.session
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from pytest_httpserver import HTTPServer
from werkzeug import Response
from werkzeug.test import Client

from examples.directory_fetcher import DirectoryFetcher
from serverfull_wsgi import Application, ConfigurationError, NotFoundError
from tests.conftest import aws_client
from tests.support.servers import ROOT, Server, clean_environ, free_port, running
from tests.support.waiting import wait_until


class Call(NamedTuple):
    """A call that succeeds, below the path ``mount``."""

    function: str
    payload: str
    answer: object
    mount: str = ""


EXAMPLES = {
    "hello": Call("hello", "{}", "Hello ƛ!"),
    "flask_mount": Call("hello", '{"name": "Ada"}', "Hello Ada!", "/lambda"),
    "django_mount": Call("hello", '{"name": "Ada"}', "Hello Ada!", "/lambda"),
    "bearer_auth": Call("hello", "{}", "Hello ƛ!"),
    "sigv4": Call("hello", '{"name": "Ada"}', "Hello Ada!"),
    "directory_fetcher": Call("echo", '{"n": 1}', {"n": 1}),
    "serve_http": Call("hello:prod", '{"name": "Ada"}', "Hello Ada!"),
    "mock_mode": Call("order", '{"item": "tea"}', {"number": 0, "total": 0, "lines": []}),
    "native_lambda": Call("hello", '{"name": "Ada"}', "Hello Ada!"),
    "gunicorn.conf": Call("hello", "{}", "Hello ƛ!"),
}

COMMAND = r"(?:\w+=\S+ +)*(?:gunicorn|python|curl|mkdir|echo|printf|chmod) "
PASTED = re.compile(rf"^ {{4}}({COMMAND}.+)\n?(?: {{4}}(?!{COMMAND})(.+))?", re.MULTILINE)
HELLO = (
    "    SERVERFULL_FUNCTIONS=hello=examples.hello.handler gunicorn serverfull_wsgi:app"  # hello.py is only a handler
)


def docstring(name):
    return HELLO if name == "hello" else ast.get_docstring(ast.parse((ROOT / f"examples/{name}.py").read_text()))


def pasted(name):
    """Return the commands of a docstring: before the server, the server's, and after it with the documented answers."""
    lines = PASTED.findall(docstring(name))
    index = next(index for index, (line, _) in enumerate(lines) if re.search(r"(^| )(gunicorn|python) ", line))
    return [line for line, _ in lines[:index]], lines[index][0], lines[index + 1 :]


@contextlib.contextmanager
def serving(name, directory, **environ):
    """Run the example by its docstring's command, on a free port. Its files are in ``directory``."""
    before, line, _ = pasted(name)
    cwd = directory if before else ROOT
    for command in before:
        subprocess.run(command, shell=True, cwd=cwd, check=True)
    port = free_port()
    environ = {"GUNICORN_CMD_ARGS": f"--bind 127.0.0.1:{port} --no-control-socket", **environ}
    words = shlex.split(line)
    while "=" in words[0]:
        name, _, value = words.pop(0).partition("=")
        environ.setdefault(name, value)
    argv = words[1:] if words[0] == "python" else ["-m", *words]
    with running(Server(argv, directory / "log", port=port, cwd=cwd, env=environ)) as server:
        yield server


def client_of(name, server):
    """Return a boto3 client for an example, set up as its docstring says."""
    if name == "sigv4":
        return signing_client(server, "ada")
    if name != "bearer_auth":
        return aws_client(server.url + EXAMPLES[name].mount)
    code = re.search(r"^ {4}client = .+?(?=\n\n)", docstring(name), re.MULTILINE | re.DOTALL)[0]
    names = {"boto3": boto3, "botocore": botocore, "Config": Config}
    exec("if True:\n" + code.replace("http://localhost:8000", server.url), names)
    return names["client"]


def signing_client(server, profile, secret=None):
    """Return a boto3 client with a key of the example's file, or with another secret."""
    session = botocore.session.Session(profile=profile)
    session.set_config_variable("credentials_file", str(server.log.with_name("keys")))
    session = boto3.Session(botocore_session=session, region_name="us-east-1")
    return session.client(
        "lambda", endpoint_url=server.url, aws_access_key_id=secret and "AKIDADA", aws_secret_access_key=secret
    )


@pytest.fixture(scope="module", params=EXAMPLES)
def example(request, tmp_path_factory):
    name, directory = request.param, tmp_path_factory.mktemp(request.param)
    with serving(name, directory) as server:
        with contextlib.closing(client_of(name, server)) as client:
            yield SimpleNamespace(name=name, directory=directory, server=server, client=client, call=EXAMPLES[name])


def result(client, function, payload="{}", **parameters):
    response = client.invoke(FunctionName=function, Payload=payload, **parameters)
    with response["Payload"] as body:
        return json.load(body)


def request(server, method, target, body=None, headers=None):
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)) as connection:
        connection.request(method, target, body, headers or {})
        response = connection.getresponse()
        return SimpleNamespace(status=response.status, headers=response.headers, body=response.read())


def test_an_example_answers_a_real_client(example):
    assert result(example.client, example.call.function, example.call.payload) == example.call.answer


@pytest.mark.parametrize(
    ("bad", "status", "code"),
    [
        ({"Payload": '{"n":'}, 400, "InvalidRequestContentException"),
        ({"FunctionName": "no-such-function"}, 404, "ResourceNotFoundException"),
    ],
    ids=["malformed JSON", "unknown function"],
)
def test_an_example_still_answers_after_a_bad_request(example, bad, status, code):
    with pytest.raises(ClientError) as refusal:
        example.client.invoke(**{"FunctionName": example.call.function, **bad})
    assert refusal.value.response["ResponseMetadata"]["HTTPStatusCode"] == status
    assert refusal.value.response["Error"]["Code"] == code
    assert result(example.client, example.call.function, example.call.payload) == example.call.answer


@pytest.mark.skipif(not shutil.which("curl"), reason="curl is not installed")
def test_the_commands_of_the_docstring_print_the_documented_answers(example):
    _, _, after = pasted(example.name)
    for line, documented in after:
        if line.startswith(("curl", "echo")):
            line = re.sub(r"localhost:80[08]0", f"127.0.0.1:{example.server.port}", line).replace("curl", "curl -sS", 1)
            answer = subprocess.run(
                line, shell=True, cwd=example.directory, check=True, capture_output=True, text=True
            ).stdout.strip()
            assert answer == documented if documented else answer or line.startswith("echo"), line


# -- Flask and Django


@pytest.fixture(scope="module", params=["flask_mount", "django_mount"])
def mounted(request, tmp_path_factory):
    with serving(request.param, tmp_path_factory.mktemp(request.param)) as server:
        yield server


def test_the_hosts_pages_still_work(mounted):
    assert request(mounted, "GET", "/").body in (b"A Flask page.\n", b"A Django page.\n")


def test_a_path_outside_the_mount_is_the_hosts_404(mounted):
    response = request(mounted, "GET", "/2015-03-31/functions/hello/invocations")
    assert (response.status, response.headers.get_content_type()) == (404, "text/html")


def test_an_unknown_path_below_the_mount_is_refused_as_on_aws(mounted):
    response = request(mounted, "GET", "/lambda/2015-03-31/functions/hello/invocations")
    assert (response.status, response.headers["x-amzn-ErrorType"]) == (404, "UnknownOperationException")


def test_a_function_below_a_mount_can_be_named_by_its_arn(mounted):
    with contextlib.closing(aws_client(f"{mounted.url}/lambda")) as client:
        assert result(client, "arn:aws:lambda:us-east-1:123456789012:function:hello", '{"name": "Ada"}') == "Hello Ada!"


def test_djangos_secret_key_comes_from_the_environment_or_is_random():
    code = "import examples.django_mount; from django.conf import settings; print(settings.SECRET_KEY)"

    def key(**environ):
        argv = [sys.executable, "-c", code]
        return subprocess.check_output(argv, cwd=ROOT, env={**clean_environ(), **environ}, text=True).strip()

    assert key(DJANGO_SECRET_KEY="from outside") == "from outside"
    assert len({key(), key(), "from outside", ""}) == 4


# -- the bearer token


@pytest.fixture
def collector():
    """Return a socket that receives statsd's datagrams."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        sock.settimeout(30)
        yield sock


INVOKE = "/2015-03-31/functions/hello/invocations"
BAD_TOKENS = {
    "none": {},
    "wrong": {"Authorization": "Bearer wrong"},
    "empty": {"Authorization": "Bearer "},
    "beginning": {"Authorization": "Bearer change"},
    "other scheme": {"Authorization": "Basic change-me"},
    "not ASCII": {"Authorization": "Bearer chänge-me"},
}


@pytest.fixture
def guarded(tmp_path, collector):
    """Return the running example. After a stop its work is done, and all its datagrams have arrived."""
    settings = {
        "SERVERFULL_RUNTIME_STATS_OUTPUT": "STATSD",
        "SERVERFULL_RUNTIME_STATS_ADDRESS": f"127.0.0.1:{collector.getsockname()[1]}",
    }
    with serving("bearer_auth", tmp_path, **settings) as server:
        yield server


def arrived(collector):
    """Yield the datagrams that have arrived."""
    collector.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        while True:
            yield collector.recv(65536).decode()


@pytest.mark.parametrize("headers", BAD_TOKENS.values(), ids=BAD_TOKENS)
def test_a_401_leaves_no_invocation_no_metric_and_no_event(guarded, collector, headers):
    for kind in ("RequestResponse", "Event"):
        response = request(guarded, "POST", INVOKE, b"{}", {**headers, "X-Amz-Invocation-Type": kind})
        assert (response.status, response.headers["WWW-Authenticate"]) == (401, "Bearer")
    guarded.stop()
    assert list(arrived(collector)) == []
    assert "REPORT" not in guarded.output()


def test_a_call_with_the_token_leaves_each(guarded, collector):
    with contextlib.closing(client_of("bearer_auth", guarded)) as client:
        client.invoke(FunctionName="hello")["Payload"].close()
        client.invoke(FunctionName="hello", InvocationType="Event")["Payload"].close()
    guarded.stop()
    metrics = sorted(line.partition(":")[0] for datagram in arrived(collector) for line in datagram.splitlines())
    assert [name for name in metrics if not name.endswith(("Duration", "ConcurrentExecutions", "AsyncEventAge"))] == [
        "serverfull.hello.AsyncEventsReceived",
        "serverfull.hello.Invocations",
        "serverfull.hello.Invocations",
    ]
    assert guarded.output().count("REPORT RequestId: ") == 2


def test_a_large_payload_without_the_token_is_answered_with_a_401(guarded):
    """The client sends it all before it reads the answer. If the server did not read it, the connection would break."""
    assert request(guarded, "POST", INVOKE, b"x" * 6_000_000).status == 401


def test_the_health_check_needs_no_token(guarded):
    assert request(guarded, "GET", "/healthcheck").body == b"."


def test_without_a_secret_the_start_is_refused(tmp_path):
    with (
        pytest.raises(RuntimeError, match="INVOKE_TOKEN is not set"),
        serving("bearer_auth", tmp_path, INVOKE_TOKEN=""),
    ):
        pass


# -- keys and signatures


@pytest.fixture(scope="module")
def keyed(tmp_path_factory):
    with serving("sigv4", tmp_path_factory.mktemp("sigv4")) as server:
        yield server


@pytest.mark.parametrize("profile", ["ada", "bob"])
def test_each_key_of_the_file_may_call(keyed, profile):
    with contextlib.closing(signing_client(keyed, profile)) as client:
        assert result(client, "hello", '{"name": "Ada"}') == "Hello Ada!"


def test_a_key_may_do_what_the_file_says_and_no_more(keyed):
    with contextlib.closing(signing_client(keyed, "bob")) as client:
        for refused in ({"FunctionName": "total"}, {"FunctionName": "hello", "InvocationType": "Event"}):
            with pytest.raises(
                ClientError, match=r"AccessDeniedException.*user/bob is not authorized to perform: lambda:"
            ):
                client.invoke(**refused)


def test_a_wrong_secret_is_refused(keyed):
    with contextlib.closing(signing_client(keyed, "ada", secret="guessed")) as client:
        with pytest.raises(ClientError, match="InvalidSignatureException") as refusal:
            client.invoke(FunctionName="hello")
    assert refusal.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403
    assert refusal.value.response["ResponseMetadata"]["RetryAttempts"] == 0


# -- a fetcher of your own


@pytest.fixture
def directory(tmp_path):
    (tmp_path / "functions").mkdir()
    return tmp_path / "functions"


@pytest.fixture
def from_directory(tmp_path, directory):
    """Return a function that calls a function of the directory through boto3."""
    with serving("directory_fetcher", tmp_path) as server, contextlib.closing(aws_client(server.url)) as client:
        yield lambda name: result(client, name)


def put(directory, name, body):
    """Write a function's file as the docstring advises."""
    new = directory / f"{name}.new"
    new.write_text(f"def handler(event, context):\n    {body}\n")
    new.rename(directory / f"{name}.py")


def test_a_changed_file_takes_effect_at_the_next_call(directory, from_directory):
    put(directory, "version", "return 1")
    assert from_directory("version") == 1
    put(directory, "version", "return 22")
    assert from_directory("version") == 22


def test_a_change_of_the_same_length_within_a_second_takes_effect(directory, from_directory):
    put(directory, "version", "return 1")
    os.utime(directory / "version.py", ns=(0, 1_000_000_000))
    assert from_directory("version") == 1
    put(directory, "version", "return 2")
    os.utime(directory / "version.py", ns=(0, 1_500_000_000))
    assert from_directory("version") == 2


def test_the_function_of_a_removed_file_is_not_found(directory, from_directory):
    put(directory, "passing", "return 1")
    assert from_directory("passing") == 1
    (directory / "passing.py").unlink()
    with pytest.raises(ClientError, match="Function not found"):
        from_directory("passing")


@pytest.mark.parametrize(
    ("text", "error_type"),
    [
        ("def handler(", "SyntaxError"),
        ("import no_such_module", "ModuleNotFoundError"),
        ("nothing = 1", "AttributeError"),
        ("import sys; sys.exit(3)", "Runtime.ExitError"),
    ],
)
def test_a_file_that_cannot_be_loaded_is_an_error_of_its_function(directory, from_directory, text, error_type):
    (directory / "broken.py").write_text(text)
    assert from_directory("broken")["errorType"] == error_type
    assert from_directory("echo") == {}


def test_a_file_may_define_dataclasses_with_postponed_annotations(directory, from_directory):
    """`dataclasses` looks the module of such a class up by its name."""
    (directory / "record.py").write_text(
        "from __future__ import annotations\n"
        "from dataclasses import dataclass\n"
        "@dataclass\n"
        "class Point:\n"
        "    x: int\n"
        "def handler(event, context):\n"
        "    return Point(1).x\n"
    )
    assert from_directory("record") == 1


def test_no_name_leads_out_of_the_directory_or_to_a_file_that_is_not_a_function(tmp_path, directory):
    files = ["../secret", "sub/inner", "dotted.name", "_private", "__init__", ".hidden", "-dash", "line\n", "x" * 65]
    (directory / "sub").mkdir()
    for name in files:
        (directory / f"{name}.py").write_text("handler = print")
    fetcher = DirectoryFetcher(directory)
    for name in [*files, str(tmp_path / "secret"), "", ".", "..", "null\0", "é"]:
        with pytest.raises(NotFoundError):
            fetcher.fetch(name)
    assert fetcher.functions() == []


def test_a_directory_has_one_version_of_each_function(directory):
    put(directory, "hello", "return 1")
    fetcher = DirectoryFetcher(directory)
    assert fetcher.fetch("hello", "$LATEST").name == "hello"
    with pytest.raises(NotFoundError):
        fetcher.fetch("hello", "1")


def test_the_functions_of_a_directory_can_be_listed(directory):
    put(directory, "second", "return 2")
    put(directory, "first", "return 1")
    assert [function.name for function in DirectoryFetcher(directory).functions()] == ["first", "second"]


def test_a_missing_directory_is_refused(tmp_path):
    with pytest.raises(ConfigurationError, match="is not a directory"):
        DirectoryFetcher(tmp_path / "nowhere")


class ExitingFetcher:
    """A fetcher that, unlike the example's, runs a function's file when it looks the function up."""

    def fetch(self, name, qualifier="$LATEST"):
        sys.exit(3)


def test_a_fetcher_that_exits_fails_its_request_only():
    assert Client(Application(ExitingFetcher())).post(INVOKE).status_code == 500


# -- versions and aliases


@pytest.mark.parametrize(
    ("parameters", "version", "answer"),
    [
        ({}, "$LATEST", "Good day, Ada!"),
        ({"Qualifier": "1"}, "1", "Hello Ada!"),
        ({"Qualifier": "prod"}, "1", "Hello Ada!"),
    ],
    ids=["latest", "version", "alias"],
)
def test_callers_choose_a_version(serve_http, parameters, version, answer):
    response = serve_http.invoke(FunctionName="hello", Payload='{"name": "Ada"}', **parameters)
    with response["Payload"] as body:
        assert (response["ExecutedVersion"], json.load(body)) == (version, answer)


@pytest.fixture(scope="module")
def serve_http(tmp_path_factory):
    with serving("serve_http", tmp_path_factory.mktemp("serve_http")) as server:
        with contextlib.closing(aws_client(server.url)) as client:
            yield client


# -- mock mode


@pytest.fixture(scope="module")
def mocked(tmp_path_factory):
    with serving("mock_mode", tmp_path_factory.mktemp("mock_mode")) as server:
        yield server


def request_an_error(server, name):
    headers = {"X-Amz-Invocation-Type": "Error", "X-Error-Type": name}
    return request(server, "POST", "/2015-03-31/functions/order/invocations", b"{}", headers)


@pytest.mark.parametrize(
    ("name", "message"), [("OutOfStock", "no tea is left"), ("paymentrefused", "")], ids=["instance", "class"]
)
def test_a_documented_error_is_raised_on_request(mocked, name, message):
    response = request_an_error(mocked, name)
    assert (response.status, response.headers["X-Amz-Function-Error"]) == (200, "Unhandled")
    error = json.loads(response.body)
    assert (error["errorType"].lower(), error["errorMessage"]) == (name.lower(), message)


def test_an_undocumented_error_is_refused_with_the_list_of_documented_ones(mocked):
    response = request_an_error(mocked, "Fire")
    assert (response.status, response.headers["x-amzn-ErrorType"]) == (404, "UnknownRequestMockError")
    assert b"OutOfStock, PaymentRefused" in response.body


# -- native Lambda


class RuntimeApi:
    """AWS's Runtime API: it serves ``events``, keeps the results in ``answers``, and then ends the child."""

    def __init__(self, server):
        self.events, self.answers = [], []
        self.address = f"127.0.0.1:{server.port}"
        prefix = "/2018-06-01/runtime/invocation"
        server.expect_request(f"{prefix}/next").respond_with_handler(self._next)
        server.expect_request(re.compile(f"{prefix}/[^/]+/(response|error)"), method="POST").respond_with_handler(
            self._keep
        )

    def _next(self, request):
        if not self.events:
            return Response("{}", 410)
        headers = {
            "Lambda-Runtime-Aws-Request-Id": f"id-{len(self.events)}",
            "Lambda-Runtime-Deadline-Ms": str(int(time.time() * 1000) + 3000),
            "Lambda-Runtime-Invoked-Function-Arn": "arn:aws:lambda:us-east-1:123456789012:function:hello",
        }
        return Response(json.dumps(self.events.pop(0)), headers=headers, content_type="application/json")

    def _keep(self, request):
        self.answers.append((request.path.rpartition("/")[2], request.json))
        return Response("{}", 202)

    def run(self, *arguments, **environ):
        """Run the example as a native Lambda until all events are processed."""
        return subprocess.run(
            [sys.executable, "-m", "examples.native_lambda", *arguments],
            cwd=ROOT,
            env={**clean_environ(), "AWS_LAMBDA_RUNTIME_API": self.address, **environ},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )


@pytest.fixture
def runtime_api():
    with HTTPServer(host="127.0.0.1", threaded=True) as server:
        yield RuntimeApi(server)


needs_awslambdaric = pytest.mark.skipif(
    not importlib.util.find_spec("awslambdaric"), reason="awslambdaric has wheels for Linux on x86-64 and aarch64 only"
)


@needs_awslambdaric
def test_the_program_runs_the_function_that_its_argument_names(runtime_api):
    runtime_api.events = [[1, 2, 3]]
    runtime_api.run("total")
    assert runtime_api.answers == [("response", 6)]


@needs_awslambdaric
def test_without_an_argument_the_program_runs_the_function_with_the_name_of_awss(runtime_api):
    runtime_api.events = [{"name": "Ada"}]
    child = runtime_api.run(AWS_LAMBDA_FUNCTION_NAME="hello")
    assert runtime_api.answers == [("response", "Hello Ada!")]
    assert "greeting Ada" in child.stdout


@needs_awslambdaric
def test_a_native_function_survives_a_handlers_error(runtime_api):
    runtime_api.events = [{"no": "name"}, {"name": "Ada"}]
    runtime_api.run("hello")
    (kind, error), answer = runtime_api.answers
    assert (kind, error["errorType"], error["errorMessage"]) == ("error", "KeyError", "'name'")
    assert answer == ("response", "Hello Ada!")


def test_a_missing_target_is_one_clear_line(runtime_api):
    child = runtime_api.run("good-bye")
    assert child.returncode == 1
    assert child.stderr == "native_lambda: there is no function 'good-bye'; there are: hello, total\n"


def test_outside_of_aws_a_native_start_is_refused(runtime_api):
    child = runtime_api.run("hello", AWS_LAMBDA_RUNTIME_API="")
    assert child.returncode == 1
    assert child.stderr.startswith("native_lambda: AWS_LAMBDA_RUNTIME_API is not set")


# -- the gunicorn configuration file


@pytest.mark.parametrize(
    "setting", ["bind = ['127.0.0.1:8000']", "control_socket_disable = True"], ids=["loopback", "no control socket"]
)
def test_the_configuration_file_opens_only_the_loopback(setting):
    argv = [sys.executable, "-m", "gunicorn", "--config", "examples/gunicorn.conf.py", "--print-config", "x:y"]
    printed = subprocess.run(argv, cwd=ROOT, env=clean_environ(), capture_output=True, text=True, check=False).stdout
    assert setting in [re.sub(" += ", " = ", line) for line in printed.splitlines()]


def test_the_configuration_file_warns_about_a_timeout_longer_than_a_stop(tmp_path):
    (tmp_path / "patient.py").write_text(
        "from serverfull_wsgi import Function\nfunction = Function(lambda event, context: None, timeout=60)\n"
    )
    settings = {"SERVERFULL_FUNCTIONS": "patient=patient.function", "PYTHONPATH": f"{ROOT}:{tmp_path}"}
    with serving("gunicorn.conf", tmp_path, **settings) as server:
        assert "function 'patient' may run for 60 s, but a stop cuts it off after 30 s" in server.output()


def test_with_the_configuration_file_a_stop_lets_accepted_events_end(tmp_path):
    (tmp_path / "patient.py").write_text(
        "import pathlib, time\n"
        "here = pathlib.Path(__file__).parent\n"
        "def handler(event, context):\n"
        "    while not (here / 'go').exists():\n"
        "        time.sleep(0.01)\n"
        "    (here / 'done').touch()\n"
    )
    settings = {"SERVERFULL_FUNCTIONS": "patient=patient.handler", "PYTHONPATH": f"{ROOT}:{tmp_path}"}
    with serving("gunicorn.conf", tmp_path, **settings) as server:
        with contextlib.closing(aws_client(server.url)) as client:
            client.invoke(FunctionName="patient", InvocationType="Event")["Payload"].close()
        server.process.send_signal(signal.SIGTERM)
        wait_until(lambda: "Worker exiting" in server.output())
        (tmp_path / "go").touch()
    assert (tmp_path / "done").exists()


def test_with_the_configuration_file_a_refused_start_is_a_message_without_a_traceback(tmp_path):
    with pytest.raises(RuntimeError, match="no_such_module") as refusal:
        with serving("gunicorn.conf", tmp_path, SERVERFULL_FUNCTIONS="hello=no_such_module.handler"):
            pass
    assert "Traceback" not in str(refusal.value)
