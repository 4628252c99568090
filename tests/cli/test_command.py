"""The command ``serverfull``, and gunicorn's output if the application cannot start."""

import json
import os
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
from contextlib import closing, suppress
from urllib.request import urlopen

import pytest
from gunicorn.config import KNOWN_SETTINGS

from serverfull_wsgi import ConfigurationError
from serverfull_wsgi.assembly.application import import_application
from serverfull_wsgi.cli.main import SECTIONS, main
from tests.support import servers
from tests.support.event_store import fill
from tests.support.hosts import OverSocket
from tests.support.servers import ROOT, Server, clean_environ, free_port, gunicorn, running
from tests.support.small_disk import can_mount
from tests.support.waiting import wait_until

FUNCTIONS = ", ".join(
    ["hello=examples.hello.handler", *(f"{name}=tests.support.handlers.{name}" for name in ("broken", "echo", "noisy"))]
)


def serverfull(*argv, **more):
    return servers.serverfull(*argv, **{"SERVERFULL_FUNCTIONS": FUNCTIONS, **more})


@pytest.mark.quick
def test_invoke_prints_only_the_result():
    result = serverfull("invoke", "hello")
    assert (result.returncode, result.stdout) == (
        0,
        '"Hello \\u019b!"\n' if sys.version_info < (3, 12) else '"Hello ƛ!"\n',
    )
    assert "REPORT RequestId: " in result.stderr


def test_invoke_gives_isolated_functions_a_trace():
    if not sys.platform.startswith("linux"):
        pytest.skip("isolated functions need Linux")
    functions = "trace=tests.support.handlers.trace"
    result = serverfull("invoke", "trace", SERVERFULL_EXECUTOR="process", SERVERFULL_FUNCTIONS=functions)
    assert re.match(r"Root=1-[0-9a-f]{8}-[0-9a-f]{24};Parent=[0-9a-f]{16};Sampled=0", json.loads(result.stdout))


@pytest.mark.parametrize("source", ["argument", "stdin", "file"])
def test_invoke_reads_its_payload_from(source, tmp_path):
    (tmp_path / "event.json").write_text('{"n": 1}')
    argument = {"argument": '{"n": 1}', "stdin": "-", "file": f"@{tmp_path}/event.json"}[source]
    assert serverfull("invoke", "echo", argument, stdin='{"n": 1}').stdout == '{"n": 1}\n'


def test_invoke_prints_the_handlers_output_to_standard_error():
    result = serverfull("invoke", "noisy")
    assert result.stdout == '"ok"\n'
    assert "printed\n" in result.stderr
    assert "\twarned 1\n" in result.stderr


def test_invoke_exits_with_1_on_a_function_error():
    result = serverfull("invoke", "broken")
    assert result.returncode == 1
    assert '"errorType": "ValueError"' in result.stdout
    assert "[ERROR] ValueError: boom" in result.stderr


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (
            ["invoke", "absent"],
            "Error: there is no function 'absent'; there are: hello, broken, echo, noisy",
        ),
        (["invoke", "hello", "{"], "Error: Could not parse request body into json: "),
        (["invoke", "he!lo"], "Error: 1 validation error detected: "),
        (["invoke", "hello", "@/no/such/file"], "Error: payload @/no/such/file: No such file or directory"),
        (["functions", "--app", "no_such_module:app"], "Error: --app no_such_module:app: No module named"),
        (
            ["functions", "--app", "tests.support.handlers:hello"],
            "Error: --app tests.support.handlers:hello: this is a function with no application inside",
        ),
        (["lambda", "absent"], "Error: there is no function 'absent'; there are: hello, broken, echo, noisy"),
        (["lambda", "hello"], "Error: AWS_LAMBDA_RUNTIME_API is not set: native Lambda mode runs on AWS Lambda only"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_an_error_is_one_message_and_status_1(argv, message):
    result = serverfull(*argv)
    assert result.returncode == 1
    assert message in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.quick
def test_functions_lists_every_version():
    result = serverfull("functions", SERVERFULL_FUNCTIONS="b=json.loads, a=json.dumps, a:1=json.dumps")
    assert result.stdout.splitlines() == [
        "NAME\tTIMEOUT\tMEMORY\tDESCRIPTION",
        "b\t3 s\t128 MB",
        "a\t3 s\t128 MB",
        "a:1\t3 s\t128 MB",
    ]


def test_functions_are_listed_as_json():
    rows = json.loads(serverfull("functions", "--json", "--app", "tests.support.site:application").stdout)
    (row,) = [row for row in rows if row["name"] == "describe" and row["version"] == "7"]
    assert (row["timeout"], row["memorySize"], row["runtime"], row["description"]) == (60, 512, None, "")


def test_a_function_that_cannot_run_is_listed_with_its_reasons(tmp_path):
    pytest.importorskip("yaml")
    properties = "{Handler: a.b, Runtime: ruby3.3, CodeUri: nowhere}"
    resource = f"{{Type: 'AWS::Serverless::Function', Properties: {properties}}}"
    (tmp_path / "template.yaml").write_text(f"Resources: {{Broken: {resource}}}")
    environ = {"SERVERFULL_FUNCTIONS": "", "SERVERFULL_TEMPLATE": str(tmp_path / "template.yaml")}
    (row,) = json.loads(serverfull("functions", "--json", **environ).stdout)
    assert row["name"] == "Broken"
    assert len(row["problems"]) == 2
    listed = serverfull("functions", **environ).stdout.splitlines()[1]
    assert listed.startswith("Broken\t-\t-\tcannot run: ")


@pytest.mark.parametrize("command", [[], ["serve"], ["events"], ["events", "list"], ["functions"]], ids=" ".join)
def test_each_command_has_the_short_option_for_help(command):
    short, long = serverfull(*command, "-h"), serverfull(*command, "--help")
    assert short.stdout == long.stdout
    assert short.stdout.startswith("Usage: ")


def test_the_help_shows_each_command_in_one_section():
    lines = serverfull("--help").stdout.splitlines()
    titles = [line for line in lines if line and not line.startswith(" ")][1:]
    assert titles == ["Options:", "Develop:", "Operate:", "On AWS Lambda:"]
    assert sorted(name for names in SECTIONS.values() for name in names) == sorted(main.commands)


def test_the_help_of_serve_names_options_that_gunicorn_has():
    named = re.findall(r"(--[a-z-]+)", serverfull("serve", "--help").stdout)
    known = {option for setting in KNOWN_SETTINGS for option in setting.cli or ()}
    assert {"--bind", "--workers", "--threads", "--worker-class", "--reload", "--certfile"} <= set(named)
    assert set(named) - known == {"--api", "--app", "--env-vars", "--server", "--help"}


COMPLETION = "from serverfull_wsgi.__main__ import main; main(prog_name='serverfull')"


@pytest.mark.parametrize(("words", "expected"), [("ch", "check"), ("events l", "list"), ("functions --j", "--json")])
def test_a_shell_completes_commands_and_options(words, expected):
    words = f"serverfull {words}"
    completion = {
        "_SERVERFULL_COMPLETE": "bash_complete",
        "COMP_WORDS": words,
        "COMP_CWORD": str(len(words.split()) - 1),
    }
    result = subprocess.run(
        [sys.executable, "-c", COMPLETION],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**clean_environ(), **completion},
        check=True,
    )
    assert result.stdout == f"plain,{expected}\n"


def test_app_names_an_application_built_in_code():
    assert "describe:7\t60 s\t512 MB" in serverfull("functions", "--app", "tests.support.site:application").stdout
    assert serverfull("invoke", "--app", "tests.support.site:application", "hello:prod").stdout == '"one"\n'


@pytest.mark.quick
@pytest.mark.parametrize("target", ["", ":app", ".site:app", "tests/support/site.py:app"])
def test_a_name_that_is_not_a_module_is_refused_with_the_right_form(target):
    with pytest.raises(ConfigurationError, match=r"--app X: .* is not a valid module name; use MODULE:APPLICATION"):
        import_application(target, "--app X")


@pytest.mark.quick
def test_check_prints_the_number_of_functions():
    assert serverfull("check").stdout == "ok: 4 functions\n"


def test_check_counts_versions_of_a_function_once():
    assert serverfull("check", SERVERFULL_FUNCTIONS="a=json.dumps, a:1=json.dumps").stdout == "ok: 1 function\n"


def test_check_fails_without_functions(tmp_path):
    result = serverfull("check", SERVERFULL_FUNCTIONS="", cwd=tmp_path)
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.startswith("Error: serving no functions; name some with SERVERFULL_FUNCTIONS=")


def test_check_prints_warnings_of_the_settings_as_it_prints_its_own():
    result = serverfull("check", SERVERFULL_LAYERS="a=b", SERVERFULL_NOTHING="1", SERVERFULL_DRAIN="30")
    assert result.returncode == 0
    assert result.stderr.splitlines() == [
        "warning: SERVERFULL_NOTHING is not a setting",
        "warning: SERVERFULL_LAYERS has no effect: there is no template",
        "warning: SERVERFULL_DRAIN=30 is not below gunicorn's --graceful-timeout (30 s), so a stop may cut off running "
        "events; raise --graceful-timeout or lower SERVERFULL_DRAIN",
    ]


def test_check_warns_of_functions_that_a_stop_cuts_off():
    result = serverfull("check", "--app", "tests.support.site:application")
    assert "warning: function 'describe' may run for 60 s, but a stop cuts it off after 30 s" in result.stderr


def test_check_warns_of_provisioned_concurrency_without_effect_and_of_more_than_a_process_can_have(tmp_path):
    source = "def handler(event, context): pass\nmany = Function(handler, provisioned=9)\n"
    (tmp_path / "provisioned.py").write_text(f"from serverfull_wsgi import Function\n{source}")
    settings = {"cwd": tmp_path, "SERVERFULL_FUNCTIONS": "many=provisioned.many", "SERVERFULL_MAX_CONCURRENCY": "4"}
    result = serverfull("check", **settings)
    no_effect = "warning: provisioned concurrency has no effect on functions in the server's process: many"
    assert result.returncode == 0
    assert result.stderr.splitlines() == [no_effect]
    if sys.platform == "linux":
        result = serverfull("check", **settings, SERVERFULL_EXECUTOR="process")
        assert "warning: provisioned concurrency of 9 environments needs 3 processes or more" in result.stderr


@pytest.mark.quick
def test_check_lists_every_bad_setting():
    result = serverfull("check", SERVERFULL_MOCK="perhaps", SERVERFULL_REGION="x")
    assert result.returncode == 1
    assert "SERVERFULL_MOCK='perhaps'" in result.stderr
    assert "SERVERFULL_REGION='x'" in result.stderr


def test_check_lists_every_function_that_cannot_be_imported():
    result = serverfull("check", SERVERFULL_FUNCTIONS="a=nowhere.x, b=json.nothing")
    assert result.returncode == 1
    assert "'a=nowhere.x'" in result.stderr
    assert "'b=json.nothing'" in result.stderr


def test_check_warns_of_nodejs_functions_that_need_the_aws_sdk(tmp_path):
    (tmp_path / "index.mjs").write_text('import { S3Client } from "@aws-sdk/client-s3";')
    (tmp_path / "template.yaml").write_text(
        "Transform: AWS::Serverless-2016-10-31\n"
        "Resources: {Files: {Type: AWS::Serverless::Function, "
        "Properties: {Runtime: nodejs20.x, Handler: index.handler, CodeUri: .}}}\n"
    )
    settings = {"SERVERFULL_FUNCTIONS": "", "SERVERFULL_TEMPLATE": str(tmp_path / "template.yaml")}
    result = serverfull("check", **settings)
    assert "warning: Files: no @aws-sdk/client-s3 here; AWS's runtimes bring the AWS SDK." in result.stderr
    assert result.returncode == 0
    (tmp_path / "shared/node_modules/@aws-sdk/client-s3").mkdir(parents=True)
    result = serverfull("check", **settings, SERVERFULL_NODE_MODULES=str(tmp_path / "shared"))
    assert "client-s3" not in result.stderr


STORES = {
    "a log without its file": ({"events.sqlite3-wal": b"frames"}, "does not exist, but its -wal file does"),
    "an empty file": ({"events.sqlite3": b""}, "is damaged (the file is empty)"),
    "a text": ({"events.sqlite3": b"This is a text. " * 100}, "is damaged (file is not a database)"),
}


@pytest.mark.parametrize(("files", "message"), STORES.values(), ids=STORES)
def test_check_reports_an_event_store_that_serve_refuses(files, message, tmp_path):
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    _check_and_serve_refuse(message, SERVERFULL_EVENTS="", SERVERFULL_DATA_DIR=str(tmp_path))
    assert {path.name for path in tmp_path.iterdir()} - {"events.sqlite3.locks"} == set(files)


@pytest.mark.parametrize(
    ("statements", "message"),
    [
        (["CREATE TABLE mine (x)"], "is an SQLite file, but not an event store"),
        (
            ["PRAGMA application_id=1582239249", "PRAGMA user_version=99"],
            "has version 99, and this serverfull-wsgi reads",
        ),
    ],
)
def test_check_reports_an_sqlite_file_that_serve_refuses(statements, message, tmp_path):
    with closing(sqlite3.connect(tmp_path / "events.sqlite3")) as db:
        for statement in statements:
            db.execute(statement)
    _check_and_serve_refuse(message, SERVERFULL_EVENTS="", SERVERFULL_DATA_DIR=str(tmp_path))


def test_check_reports_damage_inside_of_a_store(tmp_path):
    path = tmp_path / "events.sqlite3"
    fill(path, 200)
    content = bytearray(path.read_bytes())
    for position in range(40_000, len(content), 4096):
        content[position : position + 100] = b"x" * 100
    path.write_bytes(content)
    before = {path.name for path in tmp_path.rglob("*")}
    environ = {"SERVERFULL_EVENTS": "", "SERVERFULL_DATA_DIR": str(tmp_path), "SERVERFULL_EVENTS_OWNER": "tests"}
    result = serverfull("check", **environ)
    assert result.returncode == 1
    assert {path.name for path in tmp_path.rglob("*")} - {"opening"} == before - {"opening"}
    assert f"the event store {path} is damaged (" in result.stderr
    _check_and_serve_refuse(f"the event store {path} is damaged (", **environ)


def _check_and_serve_refuse(message, **environ):
    for command in ("check", "serve"):
        result = serverfull(command, **environ)
        assert result.returncode != 0, command
        assert message in result.stderr + result.stdout, command


def test_check_reports_a_data_directory_that_cannot_be_written(tmp_path):
    if not can_mount(tmp_path):
        pytest.skip("this machine allows no private mounts")
    store = [
        "unshare",
        "--mount",
        "--map-root-user",
        "sh",
        "-c",
        'mount -t tmpfs -o ro tmpfs "$0" && exec "$@"',
        tmp_path,
    ]
    environ = {**clean_environ(), "SERVERFULL_EVENTS": "", "SERVERFULL_DATA_DIR": str(tmp_path)}
    for name in ("check", "serve"):
        argv = [*store, sys.executable, "-m", "serverfull_wsgi", name]
        result = subprocess.run(argv, capture_output=True, text=True, cwd=ROOT, env=environ, timeout=60, check=False)
        assert result.returncode != 0
        assert f"the event store {tmp_path}/events.sqlite3 cannot be opened: " in result.stderr + result.stdout


TEMPLATE = """
Resources:
  Hello: {Type: AWS::Serverless::Function, Properties: {Runtime: python3.11, Handler: hello.handler, CodeUri: code}}
"""
WITHOUT_NAMESPACES = [
    *["unshare", "--user", "--map-root-user", "sh", "-c"],
    *['echo 0 > /proc/sys/user/max_user_namespaces && exec "$@"', "sh"],
]


@pytest.mark.parametrize("source", ["a template", "SERVERFULL_EXECUTOR=process"])
def test_check_reports_namespaces_that_the_machine_does_not_allow(source, tmp_path):
    if not (shutil.which("unshare") and subprocess.run([*WITHOUT_NAMESPACES, "true"], check=False).returncode == 0):
        pytest.skip("this machine allows no namespaces")
    (tmp_path / "template.yaml").write_text(TEMPLATE)
    (tmp_path / "code").mkdir()
    (tmp_path / "code/hello.py").write_text("def handler(event, context):\n    return 1\n")
    environ = {**clean_environ(), "SERVERFULL_SANDBOX": "namespaces", "SERVERFULL_EVENTS": "memory"}
    if source == "a template":
        environ["SERVERFULL_TEMPLATE"] = str(tmp_path / "template.yaml")
    else:
        environ |= {"SERVERFULL_FUNCTIONS": FUNCTIONS, "SERVERFULL_EXECUTOR": "process"}
    for name in ("check", "serve"):
        argv = [*WITHOUT_NAMESPACES, sys.executable, "-m", "serverfull_wsgi", name]
        result = subprocess.run(argv, capture_output=True, text=True, cwd=ROOT, env=environ, timeout=60, check=False)
        assert result.returncode != 0, name
        assert "SERVERFULL_SANDBOX=namespaces: this machine does not allow namespaces" in result.stderr + result.stdout


@pytest.mark.parametrize("state", ["in use", "stopped"])
def test_check_reports_the_events_of_another_application(state, tmp_path):
    environ = {"SERVERFULL_EVENTS": "", "SERVERFULL_DATA_DIR": str(tmp_path)}
    with serving(tmp_path / "log", **environ, SERVERFULL_EVENTS_OWNER="orders") as server:
        if state == "in use":
            message = "belongs to the application 'orders' and is in use, and this application is 'billing'"
            _check_and_serve_refuse(message, **environ, SERVERFULL_EVENTS_OWNER="billing")
            return
        assert serverfull("check", **environ, SERVERFULL_EVENTS_OWNER="orders").returncode == 0
        event = {"X-Amz-Invocation-Type": "Event"}
        OverSocket(server).request("POST", "/2015-03-31/functions/broken/invocations", headers=event)
    message = "belongs to the application 'orders' and has 1 of its events, and this application is 'billing'"
    before = {path.name for path in tmp_path.iterdir()}
    _check_and_serve_refuse(message, **environ, SERVERFULL_EVENTS_OWNER="billing")
    assert {path.name for path in tmp_path.iterdir()} == before
    assert serverfull("check", **environ, SERVERFULL_EVENTS_OWNER="orders").returncode == 0


def test_check_accepts_a_store_in_use(tmp_path):
    environ = {"SERVERFULL_EVENTS": "", "SERVERFULL_DATA_DIR": str(tmp_path)}
    with serving(tmp_path / "log", **environ):
        assert serverfull("check", **environ).stdout == "ok: 4 functions\n"


def test_check_fails_if_events_cannot_be_kept(tmp_path):
    (tmp_path / "file").touch()
    result = serverfull("check", SERVERFULL_EVENTS="", SERVERFULL_DATA_DIR=str(tmp_path / "file/data"))
    assert result.returncode == 1
    store = f"{tmp_path}/file/data/events.sqlite3"
    assert f"the event store {store} cannot be opened: {tmp_path}/file is not a directory" in result.stderr


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="no file can be created in Linux's /proc")
@pytest.mark.parametrize("directory", ["/proc/x", "/proc/x/y", "/proc"])
def test_check_reports_a_data_directory_that_cannot_be_created(directory):
    _check_and_serve_refuse("cannot be opened: ", SERVERFULL_EVENTS="", SERVERFULL_DATA_DIR=directory)


@pytest.mark.parametrize("setting", ["REGISTRY", "NODE_MODULES", "PYTHON_MODULES", "TEMPLATE", "CREDENTIALS_FILE"])
@pytest.mark.parametrize("end", ["file/x", "loop/x", "x" * 300], ids=["below a file", "a loop of links", "too long"])
def test_a_path_that_cannot_be_followed_is_one_message(setting, end, tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "loop").symlink_to("loop")
    result = serverfull("check", **{f"SERVERFULL_{setting}": str(tmp_path / end)})
    assert (result.returncode, result.stderr.count("Traceback")) == (1, 0)
    assert str(tmp_path / end) in result.stderr


def test_check_creates_no_files(tmp_path):
    result = serverfull("check", SERVERFULL_EVENTS="", SERVERFULL_DATA_DIR=str(tmp_path / "new/data"))
    assert result.stdout == "ok: 4 functions\n"
    assert list(tmp_path.iterdir()) == []


def test_random_mock_values_without_polyfactory_are_an_error_that_names_the_cure():
    code = "import sys; sys.modules['polyfactory'] = None; from serverfull_wsgi.__main__ import main; main(['check'])"
    environ = {**clean_environ(), "SERVERFULL_MOCK": "1", "SERVERFULL_MOCK_VALUES": "random"}
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, env=environ, check=False
    )
    assert result.returncode == 1
    assert "SERVERFULL_MOCK_VALUES=random needs polyfactory: pip install 'serverfull-wsgi[mock]'" in result.stderr


# serve


def serving(log, *options, **environ):
    return servers.serving(log, *options, **{"SERVERFULL_FUNCTIONS": FUNCTIONS, **environ})


def test_serve_uses_threads_and_no_control_socket(tmp_path):
    with serving(tmp_path / "log") as server:
        assert "Using worker: gthread" in server.output()
        assert "Control socket" not in server.output()


def test_serve_passes_options_on_to_gunicorn(tmp_path):
    with serving(tmp_path / "log", "--worker-class", "sync", "--workers=2") as server:
        assert "Using worker: sync" in server.output()
        wait_until(lambda: server.output().count("Booting worker") == 2)


def test_serve_reads_gunicorns_own_variable_and_file(tmp_path):
    (tmp_path / "conf.py").write_text("workers = 2\nproc_name = 'functions'\n")
    environ = {"GUNICORN_CMD_ARGS": f"--config {tmp_path / 'conf.py'} --worker-class sync"}
    with serving(tmp_path / "log", **environ) as server:
        assert "Using worker: sync" in server.output()
        wait_until(lambda: server.output().count("Booting worker") == 2)


def test_serve_serves_an_application_built_in_code(tmp_path):
    with serving(tmp_path / "log", "--app", "tests.support.site:application") as server:
        assert "function 'describe' may run for 60 s, but a stop cuts it off after 30 s" in server.output()


WRAPPED = """
from werkzeug.middleware.proxy_fix import ProxyFix
from serverfull_wsgi import Application, SqliteQueue, StaticFetcher
inner = Application(StaticFetcher({"hello": lambda event, context: "Hello!"}), queue=SqliteQueue("events.sqlite3"))
wrapped = ProxyFix(inner)

class Opaque:
    def __call__(self, environ, start_response):
        return inner(environ, start_response)

opaque = Opaque()
named = Opaque()
named.serverfull_application = inner
"""
FOUND = "no serverfull_wsgi.Application was found inside of this Opaque"


@pytest.mark.parametrize(("name", "is_found"), [("inner", True), ("wrapped", True), ("named", True), ("opaque", False)])
def test_serve_starts_the_application_inside_of_a_callable(name, is_found, tmp_path):
    (tmp_path / "wrapped_site.py").write_text(WRAPPED)
    port = free_port()
    environ = {"SERVERFULL_RUNTIME_HTTPSERVER_ADDRESS": f"127.0.0.1:{port}"}
    argv = ["-m", "serverfull_wsgi", "serve", "--app", f"wrapped_site:{name}"]
    with running(Server(argv, tmp_path / "log", port=port, cwd=tmp_path, env=environ, ready="/no-function")) as server:
        if is_found:
            wait_until((tmp_path / "events.sqlite3").exists)
        assert call(server, "hello") == b'"Hello!"'
        assert server.stop() == 0
    assert (FOUND in server.output()) is not is_found


FRONT = """
from serverfull_wsgi import Application, StaticFetcher
from serverfull_wsgi.front import Front, Route
application = Application(StaticFetcher({"pet": lambda event, context: "pet"}))
front = Front(application, [Route("GET /pets/{id}", "pet"), Route("$default", "pte")])
"""


def test_serve_lists_the_routes_of_a_front_and_those_without_a_function(tmp_path):
    (tmp_path / "shop.py").write_text(FRONT)
    port = free_port()
    environ = {"SERVERFULL_RUNTIME_HTTPSERVER_ADDRESS": f"127.0.0.1:{port}"}
    argv = ["-m", "serverfull_wsgi", "serve", "--app", "shop:front"]
    with running(Server(argv, tmp_path / "log", port=port, cwd=tmp_path, env=environ, ready="/pets/7")) as server:
        lines = [f"    GET {server.url}/pets/{{id}}", f"    ANY {server.url}/{{proxy+}}"]
        assert "\n".join(["serving these routes, to every caller if no condition is given:", *lines]) in server.output()
        assert "there is no function 'pte', so requests to $default of HTTP API 'routes'" in server.output()


def test_commands_use_the_application_inside_of_a_callable():
    assert "describe:7" in serverfull("functions", "--app", "tests.support.site:in_flask").stdout
    assert serverfull("invoke", "--app", "tests.support.site:in_django", "hello:prod").stdout == '"one"\n'


def test_serve_refuses_an_object_that_cannot_be_called():
    result = serverfull("serve", "--app", "tests.support.handlers:__doc__")
    assert result.returncode != 0
    assert (
        "--app tests.support.handlers:__doc__: this is a str; name a serverfull_wsgi.App"
        in result.stderr + result.stdout
    )


OLD = {"SERVERFULL_EVENT_WORKERS": "2", "SERVERFULL_MOK": "1"}
NOTICES = [
    "SERVERFULL_EVENT_WORKERS is the old name of SERVERFULL_EVENTS_WORKERS; it is still read, but use the new name",
    "SERVERFULL_MOK is not a setting; did you mean SERVERFULL_MOCK?",
]
LISTINGS = [
    ["functions"],
    *(["functions", "--app", name] for name in ("tests.support.site:application", "serverfull_wsgi:app")),
]


@pytest.mark.parametrize("argv", LISTINGS, ids=" ".join)
def test_notices_about_old_and_misspelt_names_are_logged_once(argv):
    result = serverfull(*argv, **OLD)
    assert [result.stderr.count(notice) + result.stdout.count(notice) for notice in NOTICES] == [1, 1]


@pytest.mark.parametrize("target", ["tests.support.site:application", "serverfull_wsgi:app"])
def test_serve_logs_notices_about_old_and_misspelt_names_for_an_application_built_in_code(target, tmp_path):
    with serving(tmp_path / "log", "--app", target, **OLD) as server:
        output = server.output()
    assert [output.count(notice) for notice in NOTICES] == [1, 1]


def test_serve_warns_of_an_address_that_other_machines_can_reach(tmp_path):
    address = f"0.0.0.0:{free_port()}"
    with serving(tmp_path / "log", SERVERFULL_RUNTIME_HTTPSERVER_ADDRESS=address) as server:
        assert f"listening on {address}: " in server.output()


def test_serve_lists_the_functions_with_their_urls(tmp_path):
    with serving(tmp_path / "log", SERVERFULL_FUNCTIONS="a=json.dumps, a:1=json.dumps, b=json.loads") as server:
        wait_until(lambda: "/functions/b/" in server.output())
    urls = [f"    POST {server.url}/2015-03-31/functions/{name}/invocations" for name in "ab"]
    assert "\n".join([f"serving 2 functions at {server.url}", *urls]) in server.output()


def test_serve_lists_no_more_than_20_functions(tmp_path):
    with serving(tmp_path / "log", SERVERFULL_FUNCTIONS=",".join(f"f{n}=json.dumps" for n in range(23))) as server:
        wait_until(lambda: "and 3 more; 'serverfull functions' lists all of them" in server.output())
    assert server.output().count("/invocations\n") == 20


def test_serve_lists_the_functions_once_for_all_workers(tmp_path):
    with serving(tmp_path / "log", "--workers=2") as server:
        wait_until(lambda: server.output().count("Booting worker") == 2)
    assert server.output().count("serving 4 functions") == 1


def test_serve_at_a_unix_socket_lists_paths(tmp_path):
    environ = {**clean_environ(), "SERVERFULL_FUNCTIONS": FUNCTIONS}
    argv = [sys.executable, "-m", "serverfull_wsgi", "serve", "--bind", f"unix:{tmp_path}/socket"]
    with (
        open(tmp_path / "log", "wb") as log,
        subprocess.Popen(argv, cwd=ROOT, env=environ, stderr=log, stdout=log) as it,
    ):
        wait_until(lambda: "POST /2015-03-31/functions/echo/invocations" in (tmp_path / "log").read_text())
        it.terminate()


@pytest.mark.parametrize("argument", ["examples.serve_http:app", "template.yaml", "hello.py"])
def test_serve_refuses_an_argument_with_the_options_that_may_be_meant(argument):
    result = serverfull("serve", argument, "--workers", "2")
    assert result.returncode == 1
    assert result.stderr.strip() == (
        f"Error: serverfull serve does not take the argument {argument!r}; --app MODULE:APPLICATION names an "
        "application, and SERVERFULL_TEMPLATE=FILE names a template"
    )


@pytest.mark.parametrize(
    ("option", "cure"),
    [("--treads", "did you mean --threads?"), ("--aap", "did you mean --app?"), ("--zzz", "'serverfull serve --help'")],
)
def test_serve_refuses_an_unknown_option_with_a_similar_one(option, cure):
    for result in (serverfull("serve", option, "2"), serverfull("serve", GUNICORN_CMD_ARGS=f"{option}=2")):
        assert result.returncode == 2
        assert f"error: there is no option {option}; {cure}" in result.stderr


def test_serve_names_the_cure_for_an_address_in_use(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        result = serverfull("serve", "--bind", f"127.0.0.1:{port}")
    assert result.returncode == 1
    assert (
        "name an address of this machine with --bind HOST:PORT, and a port above 1023 that is not in use"
        in result.stderr
    )


def test_serve_refuses_a_certificate_that_does_not_exist_in_one_line():
    result = serverfull("serve", "--bind", "127.0.0.1:0", "--certfile", "none.pem")
    assert result.returncode == 1
    assert result.stderr.strip().endswith('Error: certfile "none.pem" does not exist; correct --certfile and --keyfile')


def test_serve_prints_gunicorns_configuration():
    result = serverfull("serve", "--workers", "3", "--print-config")
    assert result.returncode == 0
    assert re.search(r"^workers += 3$", result.stdout, re.MULTILINE)


def test_serve_refuses_gunicorns_check_and_names_its_own(tmp_path):
    result = serverfull("serve", "--check-config", SERVERFULL_EVENTS="", SERVERFULL_DATA_DIR=str(tmp_path / "data"))
    assert result.returncode == 1
    assert result.stderr.strip() == "Error: serverfull serve does not take --check-config; run 'serverfull check'"
    assert list(tmp_path.iterdir()) == []


def test_serve_imports_functions_from_gunicorns_python_path(tmp_path):
    (tmp_path / "on_the_path.py").write_text("def handler(event, context):\n    return 'found'\n")
    argv = ["--pythonpath", str(tmp_path)]
    with serving(tmp_path / "log", *argv, SERVERFULL_FUNCTIONS="it=on_the_path.handler") as server:
        assert call(server, "it") == b'"found"'


def test_serve_runs_in_the_background_as_gunicorn_does(tmp_path):
    port = free_port()
    argv = ["--daemon", "--pid", str(tmp_path / "pid"), "--bind", f"127.0.0.1:{port}"]
    result = serverfull("serve", *argv, SERVERFULL_EVENTS="", SERVERFULL_DATA_DIR=str(tmp_path / "data"))
    assert result.returncode == 0
    pid = int(wait_until(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text()))
    try:
        assert wait_until(lambda: _answer(port)) == b"."
    finally:
        os.kill(pid, signal.SIGTERM)
    wait_until(lambda: not (tmp_path / "pid").exists())


def _answer(port):
    with suppress(OSError):
        return urlopen(f"http://127.0.0.1:{port}/healthcheck").read()


def serve_without_extras(*options):
    code = "import sys; sys.modules.update(gevent=None, granian=None); from serverfull_wsgi.__main__ import main; "
    argv = [sys.executable, "-c", f"{code} main({['serve', *options]})"]
    return subprocess.run(argv, capture_output=True, text=True, cwd=ROOT, env=clean_environ(), timeout=60, check=False)


@pytest.mark.parametrize(
    ("name", "cure"),
    [
        ("gevent", "pip install 'serverfull-wsgi[gevent]'"),
        ("gevent_pywsgi", "pip install 'serverfull-wsgi[gevent]'"),
        ("gunicorn.workers.ggevent.GeventWorker", "pip install 'serverfull-wsgi[gevent]'"),
        ("eventlet", "name another, such as gthread or sync"),
        ("json.Worker", "name another, such as gthread or sync"),
        ("no_such_module.Worker", "name another, such as gthread or sync"),
    ],
)
def test_a_worker_class_that_cannot_be_imported_is_one_line(name, cure):
    result = serve_without_extras("--worker-class", name)
    assert result.returncode == 1
    line = result.stderr.strip()
    assert line.startswith(f"Error: the worker class {name!r} cannot be imported: ")
    assert line.endswith(f"; {cure}")
    assert "\n" not in line


GRANIAN = "serverfull_wsgi.workers.GranianWorker"


@pytest.mark.parametrize(
    ("options", "origin"), [(["--server", "granian"], "--server granian"), (["--worker-class", GRANIAN], GRANIAN)]
)
def test_a_server_that_is_not_installed_is_one_line(options, origin):
    result = serve_without_extras(*options)
    assert result.returncode == 1
    assert result.stderr.strip() == f"Error: {origin} needs granian: pip install 'serverfull-wsgi[granian]'"


HOST = """
import logging
logging.basicConfig(level=logging.INFO)
from serverfull_wsgi import create_app
application = create_app()
"""


@pytest.mark.parametrize("start", ["serve", "gunicorn", "host"])
def test_each_log_line_is_written_once(start, tmp_path):
    (tmp_path / "host.py").write_text(HOST)
    environ = {"SERVERFULL_FUNCTIONS": "complain=tests.support.handlers.complain", "PYTHONPATH": f"{ROOT}:{tmp_path}"}
    application = "host:application" if start == "host" else "serverfull_wsgi:app"
    served = (
        serving(tmp_path / "log", **environ)
        if start == "serve"
        else gunicorn(tmp_path / "log", application=application, env=environ)
    )
    with served as server:
        call(server, "complain")
    assert server.output().count("warned through the context") == 1
    assert server.output().count("ValueError: failed") == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_serve_exits_with_status_0_on_the_configured_signals(tmp_path, number):
    with serving(tmp_path / "log") as server:
        assert server.stop(number) == 0


@pytest.mark.quick
@pytest.mark.parametrize("address", ["127.0.0.1:notaport", "127.0.0.1:99999", "[::1]:x", ":-1"])
def test_serve_refuses_an_address_without_a_valid_port_in_one_line(address):
    result = serverfull("serve", "--bind", address)
    assert result.returncode == 1
    assert result.stderr.strip().startswith("Error: the address of --bind: ")
    assert len(result.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize("start", [["-m", "serverfull_wsgi", "serve"], ["-m", "gunicorn", "serverfull_wsgi:app"]])
def test_a_drain_time_that_a_stop_cuts_off_is_one_warning(start, tmp_path):
    port = free_port()
    environ = {**clean_environ(), "SERVERFULL_FUNCTIONS": FUNCTIONS, "SERVERFULL_DRAIN": "10"}
    options = ["--bind", f"127.0.0.1:{port}", "--graceful-timeout", "8", "--workers", "2"]
    with running(Server([*start, *options], tmp_path / "log", port=port, env=environ)) as server:
        wait_until(lambda: "SERVERFULL_DRAIN=10 is not below" in server.log.read_text())
    assert server.log.read_text().count("is not below gunicorn's --graceful-timeout (8 s)") == 1


def test_the_timeouts_of_gunicorns_configuration_file_count(tmp_path):
    (tmp_path / "conf.py").write_text("graceful_timeout = 8\n")
    options, environ = ["--config", str(tmp_path / "conf.py")], {"SERVERFULL_DRAIN": "10", "SERVERFULL_MOCK": "true"}
    with gunicorn(tmp_path / "log", *options, application="serverfull_wsgi:app", env=environ) as server:
        assert server.output().count("is not below gunicorn's --graceful-timeout (8 s)") == 1


def test_serve_refuses_bad_settings_before_gunicorn_starts():
    result = serverfull("serve", SERVERFULL_MOCK="perhaps")
    assert result.returncode == 1
    assert result.stderr == "Error: SERVERFULL_MOCK='perhaps': Must be true, yes, on, 1, or false, no, off, 0.\n"


def test_serve_fails_to_start_when_a_function_cannot_be_imported():
    result = serverfull("serve", "--bind", f"127.0.0.1:{free_port()}", SERVERFULL_FUNCTIONS="a=nowhere.x")
    assert result.returncode != 0
    assert "SERVERFULL_FUNCTIONS: entry 'a=nowhere.x': Unable to import module 'nowhere'" in result.stderr
    assert "Traceback" not in result.stderr


def test_gunicorn_fails_to_start_with_the_same_message(tmp_path):
    with pytest.raises(RuntimeError) as caught:
        with gunicorn(tmp_path / "log", application="serverfull_wsgi:app", env={"SERVERFULL_FUNCTIONS": "a=nowhere.x"}):
            pass
    assert "SERVERFULL_FUNCTIONS: entry 'a=nowhere.x': Unable to import module 'nowhere'" in str(caught.value)
    assert "Traceback" not in str(caught.value)


def test_a_reload_serves_the_new_code(tmp_path):
    module = tmp_path / "reloaded.py"
    module.write_text("def handler(event, context):\n    return 'old'\n")
    environ = {
        "SERVERFULL_FUNCTIONS": "it=reloaded.handler",
        "PYTHONPATH": f"{ROOT}:{tmp_path}",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    with serving(tmp_path / "log", **environ) as server:
        assert call(server, "it") == b'"old"'
        module.write_text("def handler(event, context):\n    return 'newer'\n")
        server.process.send_signal(signal.SIGHUP)
        wait_until(lambda: call(server, "it") == b'"newer"')


def test_functions_with_long_timeouts_are_one_warning_for_all_workers(tmp_path):
    names = [f"f{n}=tests.support.handlers.patient" for n in range(6)]
    environ = {"SERVERFULL_FUNCTIONS": ", ".join([*names, "f0:1=tests.support.handlers.patient"])}
    shown = "'f0' for 60 s, 'f1' for 60 s, 'f2' for 60 s, 3 more"
    line = f"6 functions may run long ({shown}), but a stop cuts them off after 30 s"
    result = serverfull("check", **environ)
    assert result.stderr.count("may run") == result.stderr.count(f"warning: {line}") == 1
    with serving(tmp_path / "log", "--workers=2", **environ) as server:
        wait_until(lambda: server.output().count("Booting worker") == 2 and line in server.output())
    assert server.output().count("may run") == server.output().count(line) == 1
    options = ["--workers=2", "--worker-class=gthread"]
    with gunicorn(tmp_path / "log", *options, application="serverfull_wsgi:app", env=environ) as server:
        wait_until(lambda: server.output().count("Booting worker") == 2 and line in server.output())
    assert server.output().count("may run") == server.output().count(line) == 1


def call(server, name):
    return OverSocket(server).request("POST", f"/2015-03-31/functions/{name}/invocations").body


def test_a_log_warns_of_functions_that_may_run_longer_than_gunicorns_timeouts(tmp_path):
    environ = {"SERVERFULL_FUNCTIONS": "slow=tests.support.handlers.patient"}
    with gunicorn(tmp_path / "log", "--timeout", "20", application="serverfull_wsgi:app", env=environ) as server:
        output = server.output()
    assert "function 'slow' may run for 60 s, but a stop cuts it off after 30 s" in output
    assert "function 'slow' may run for 60 s, but a sync worker is killed after 20 s" in output
