"""Settings: every name, every default, and the errors for bad values."""

import contextlib
import json
import logging
import os
import signal
import subprocess
import sys
from dataclasses import replace

import pytest

from serverfull_wsgi import ConfigurationError, Settings, create_app
from serverfull_wsgi.settings import reference
from serverfull_wsgi.settings.aliases import RENAMED, SYNONYMS, UNSUPPORTED
from serverfull_wsgi.settings.mapping_env import MappingEnv
from serverfull_wsgi.settings.plain_env import NotPlain, PlainEnv
from serverfull_wsgi.settings.settings import NAMES, SETTINGS
from tests.support.hosts import post
from tests.support.servers import ROOT

pytestmark = pytest.mark.quick


def of(**values):
    return Settings.from_mapping({f"SERVERFULL_{name}": value for name, value in values.items()})


def served(**values):
    """Make an application of these settings that leaves no file."""
    return create_app(of(**{"EVENTS": "memory", **values}))


def test_every_setting_is_optional():
    assert Settings.from_mapping({}) == Settings()


@pytest.mark.parametrize(
    ("name", "text", "field", "value"),
    [
        ("FUNCTIONS", "a=b.c", "functions", "a=b.c"),
        ("ALIASES", "a:p=1", "aliases", "a:p=1"),
        ("TEMPLATE", "t.yaml", "template", "t.yaml"),
        ("TEMPLATE_PARAMETERS", "Stage=prod", "template_parameters", "Stage=prod"),
        ("NODE_MODULES", "node", "node_modules", "node"),
        ("REGION", "eu-central-1", "region", "eu-central-1"),
        ("REGION", "us-gov-west-1", "region", "us-gov-west-1"),
        ("ACCOUNT_ID", "999999999999", "account_id", "999999999999"),
        ("HEALTHCHECK", "/alive", "healthcheck", "/alive"),
        ("MOCK", "true", "mock", True),
        ("MOCK", True, "mock", True),
        ("MOCK", "", "mock", False),
        ("MOCK_VALUES", "Random", "mock_values", "random"),
        ("MOCK_SEED", "7", "mock_seed", 7),
        ("EVENTS_WORKERS", "2", "events_workers", 2),
        ("EVENTS_QUEUE_SIZE", "5", "events_queue_size", 5),
        ("DRAIN", "1.5", "drain", 1.5),
        ("CREDENTIALS_FILE", "keys", "credentials_file", "keys"),
        ("REPLAY_GUARD", "1000", "replay_guard", 1000),
        (
            "ALLOWED_ORIGINS",
            "http://localhost:3000, https://b.test",
            "allowed_origins",
            ("http://localhost:3000", "https://b.test"),
        ),
        ("ALLOWED_HOSTS", "dev.test [::1] my_box", "allowed_hosts", ("dev.test", "::1", "my_box")),
        ("EVENTS", "memory", "events", "memory"),
        ("EVENTS", "sqlite:////var/lib/events", "events", "sqlite:////var/lib/events"),
        ("DATA_DIR", "/var/lib/serverfull", "data_dir", "/var/lib/serverfull"),
        ("EVENTS_OWNER", "orders", "events_owner", "orders"),
        ("EVENTS_QUEUE_NAME", "orders", "events_queue_name", "orders"),
        ("EVENTS_RETENTION", "60", "events_retention", 60.0),
        ("EVENTS_LEASE", "5", "events_lease", 5.0),
        ("EVENTS_RETRY_DELAYS", "1 2.5", "events_retry_delays", (1.0, 2.5)),
        ("EVENTS_THROTTLE_DELAYS", "0.1 3", "events_throttle_delays", (0.1, 3.0)),
        (
            "EVENTS_DESTINATIONS_ENDPOINT",
            "http://localhost:5000",
            "events_destinations_endpoint",
            "http://localhost:5000",
        ),
        ("ADMIN", "true", "admin", True),
        ("EXECUTOR", "Process", "executor", "process"),
        ("SANDBOX", "namespaces", "sandbox", "namespaces"),
        ("MAX_CONCURRENCY", "2", "max_concurrency", 2),
        ("ENVIRONMENT_IDLE", "0.5", "environment_idle", 0.5),
        ("ZYGOTE_PRELOAD", "json, email.message", "zygote_preload", ("json", "email.message")),
        ("RUNTIME_HTTPSERVER_ADDRESS", ":8080", "httpserver_address", ":8080"),
        ("RUNTIME_LOGGER_OUTPUT", "null", "logger_output", "NULL"),
        ("RUNTIME_LOGGER_LEVEL", "debug", "logger_level", logging.DEBUG),
        ("RUNTIME_LOGGING_LEVEL", "ERROR", "logger_level", logging.ERROR),
        ("RUNTIME_LOGGER_FORMAT", "json", "logger_format", "JSON"),
        ("RUNTIME_STATS_OUTPUT", "NULLSTAT", "stats_output", "NULL"),
        ("RUNTIME_STATS_OUTPUT", "DATADOG", "stats_output", "DATADOG"),
        ("RUNTIME_STATS_ADDRESS", "[::1]:9125", "stats_address", ("::1", 9125)),
        ("RUNTIME_STATS_DATADOG_ADDRESS", "collector:8125", "stats_address", ("collector", 8125)),
        ("RUNTIME_STATS_PREFIX", "mine", "stats_prefix", "mine"),
        ("RUNTIME_STATS_TAGS", "env:dev, team:a", "stats_tags", ("env:dev", "team:a")),
        ("RUNTIME_STATS_DATADOG_TAGS", "env:dev team:a", "stats_tags", ("env:dev", "team:a")),
        ("RUNTIME_SIGNALS_INSTALLED", "NONE", "signals", ()),
        ("RUNTIME_SIGNALS_OS_SIGNALS", "15 10", "signals", (signal.SIGTERM, signal.SIGUSR1)),
    ],
)
def test_each_setting_is_read(name, text, field, value):
    assert getattr(of(**{name: text}), field) == value


def test_the_region_falls_back_to_awss_own_variable():
    assert Settings.from_mapping({"AWS_REGION": "eu-west-1"}).region == "eu-west-1"
    assert Settings.from_mapping({"AWS_REGION": "eu-west-1", "SERVERFULL_REGION": "us-west-2"}).region == "us-west-2"


BAD = {
    "REGION": "Mars",
    "ACCOUNT_ID": "12",
    "HEALTHCHECK": "alive",
    "MOCK": "maybe",
    "MOCK_VALUES": "some",
    "MOCK_SEED": "x",
    "EVENTS_WORKERS": "0",
    "EVENTS_QUEUE_SIZE": "-1",
    "DRAIN": "long",
    "REPLAY_GUARD": "yes",
    "ALLOWED_ORIGINS": "http://localhost:3000/path",
    "ALLOWED_HOSTS": "dev.test:80",
    "EVENTS": "kafka://localhost",
    "EVENTS_RETENTION": "-1",
    "EVENTS_LEASE": "0",
    "EVENTS_RETRY_DELAYS": "soon",
    "EVENTS_THROTTLE_DELAYS": "1",
    "EVENTS_DESTINATIONS_ENDPOINT": "localhost",
    "ADMIN": "maybe",
    "EXECUTOR": "thread",
    "SANDBOX": "docker",
    "MAX_CONCURRENCY": "0",
    "ENVIRONMENT_IDLE": "-1",
    "ZYGOTE_PRELOAD": "os; import sys",
    "RUNTIME_HTTPSERVER_ADDRESS": "8080",  # without a colon
    "RUNTIME_LOGGER_OUTPUT": "PRINTER",
    "RUNTIME_LOGGER_LEVEL": "LOUD",
    "RUNTIME_LOGGER_FORMAT": "XML",
    "RUNTIME_STATS_OUTPUT": "CARBON",
    "RUNTIME_STATS_ADDRESS": "collector:99999",
    "RUNTIME_STATS_PREFIX": "a b",
    "RUNTIME_STATS_TAGS": "café",
    "RUNTIME_SIGNALS_INSTALLED": "SOME",
    "RUNTIME_SIGNALS_OS_SIGNALS": "TERM",
}


def test_one_error_lists_every_bad_value_with_its_name():
    with pytest.raises(ConfigurationError) as caught:
        of(**BAD)
    lines = str(caught.value).splitlines()
    assert [line.partition("=")[0] for line in lines] == sorted(f"SERVERFULL_{name}" for name in BAD)
    for line in (
        "SERVERFULL_MOCK='maybe': Must be true, yes, on, 1, or false, no, off, 0.",
        "SERVERFULL_MOCK_SEED='x': Must be an integer.",
        "SERVERFULL_DRAIN='long': Must be a number, 0 or more.",
        "SERVERFULL_RUNTIME_LOGGER_LEVEL='LOUD': Must be DEBUG, INFO, WARNING, ERROR, CRITICAL, or a number.",
        "SERVERFULL_RUNTIME_HTTPSERVER_ADDRESS='8080': Must be HOST:PORT, such as 127.0.0.1:8080.",
        "SERVERFULL_RUNTIME_STATS_ADDRESS='collector:99999': Must be HOST:PORT, such as localhost:8125.",
    ):
        assert line in lines


@pytest.mark.parametrize("url", ["amq://guest:se@cret@broker/", "amqp//guest:secret@broker/", "guest:secret@broker"])
def test_an_error_does_not_show_the_password_of_a_bad_url(url):
    with pytest.raises(ConfigurationError, match=r"SERVERFULL_EVENTS='…@broker/?': Must be") as caught:
        of(EVENTS=url)
    assert "cret" not in str(caught.value)


def test_a_misspelt_name_is_logged_with_the_most_similar_name():
    assert of(FUNCTION="a=b.c").notices == ("SERVERFULL_FUNCTION is not a setting; did you mean SERVERFULL_FUNCTIONS?",)


@pytest.mark.parametrize("key", ["SERVERFUL_FUNCTIONS", "SERVER_FULL_FUNCTIONS", "serverfull_FUNCTIONS"])
def test_a_misspelt_prefix_is_logged_with_the_right_name(key):
    (notice,) = Settings.from_mapping({key: "a=b.c"}).notices
    assert notice == f"{key} is not a setting; did you mean SERVERFULL_FUNCTIONS?"


@pytest.mark.parametrize("key", ["AWS_REGION", "SERVERLESS_REGION", "FUNCTIONS", "PULL_REGION", "SERVER_DATA_DIR"])
def test_a_variable_of_another_program_is_no_notice(key):
    assert Settings.from_mapping({key: "us-east-1"}).notices == ()


def test_a_replay_guard_without_a_credentials_file_is_logged_as_having_no_effect():
    (notice,) = of(REPLAY_GUARD="5").notices
    assert notice == "SERVERFULL_REPLAY_GUARD has no effect without SERVERFULL_CREDENTIALS_FILE"
    assert of(REPLAY_GUARD="5", CREDENTIALS_FILE="keys").notices == ()


def test_a_setting_of_the_go_original_that_has_no_effect_is_logged_with_the_reason():
    (notice,) = of(RUNTIME_STATS_DATADOG_PACKETSIZE="32768").notices
    assert notice.startswith("SERVERFULL_RUNTIME_STATS_DATADOG_PACKETSIZE has no effect: ")


# Old names

GOOD = {"EVENT_RETRY_DELAYS": "1", "EVENT_THROTTLE_DELAYS": "1 2", "DESTINATIONS_ENDPOINT": "http://localhost:5000"}


@pytest.mark.parametrize("old", RENAMED)
def test_an_old_name_is_read_as_its_new_names_and_logged(old):
    value = GOOD.get(old, "7")
    settings = of(**{old: value})
    expected = of(**dict.fromkeys(RENAMED[old], value))
    assert replace(settings, notices=()) == expected
    assert settings != Settings()
    names = " and ".join(f"SERVERFULL_{name}" for name in RENAMED[old])
    assert settings.notices == (f"SERVERFULL_{old} is the old name of {names}; it is still read, but use the new name",)


def test_an_old_name_is_ignored_if_the_new_one_is_set():
    settings = of(EVENT_LEASE="5", EVENTS_LEASE="6")
    assert settings.events_lease == 6.0
    assert settings.notices == ("SERVERFULL_EVENT_LEASE is ignored, since SERVERFULL_EVENTS_LEASE is set",)


def test_a_bad_value_is_reported_by_the_name_that_was_set():
    with pytest.raises(ConfigurationError, match=r"SERVERFULL_EVENT_LEASE='0': Must be 1 or more\."):
        of(EVENT_LEASE="0")


def test_an_old_name_is_logged_when_an_application_is_made(capsys):
    served(EVENT_WORKERS="2")
    assert (
        "[WARNING] SERVERFULL_EVENT_WORKERS is the old name of SERVERFULL_EVENTS_WORKERS; " in capsys.readouterr().out
    )


# Documentation


def test_the_settings_page_is_up_to_date():
    """After a change of the settings: ``python -m serverfull_wsgi.settings.reference > docs/settings.md``."""
    assert (ROOT / "docs/settings.md").read_text() == reference.page()


def test_the_settings_page_has_every_name_and_every_section():
    page = reference.page()
    for name in [*NAMES, *SYNONYMS, *RENAMED, *UNSUPPORTED]:
        assert f"`SERVERFULL_{name}`" in page
    for title in reference.SECTIONS.values():
        assert f"\n## {title}\n" in page


# Applications made of settings


def test_functions_and_aliases_are_served_as_set():
    settings = of(
        EVENTS="memory",
        FUNCTIONS="hello=tests.support.handlers.hello, hello:1=tests.support.handlers:version_one",
        ALIASES="hello:prod=1",
    )
    application = create_app(settings)
    assert post(application, "hello").json == "Hello ƛ!"
    assert post(application, "hello:prod").json == "one"


def test_region_and_account_are_set():
    application = create_app(
        of(
            EVENTS="memory",
            FUNCTIONS="d=tests.support.handlers.describe",
            REGION="eu-west-1",
            ACCOUNT_ID="111122223333",
        )
    )
    arn = "arn:aws:lambda:eu-west-1:111122223333:function:d"
    assert post(application, "d").json["invoked_function_arn"] == arn


def test_without_functions_one_line_is_logged_and_every_call_is_404(capsys):
    response = post(served(), "hello")
    lines = [line for line in capsys.readouterr().out.splitlines() if "serving no functions" in line]
    assert response.status == 404
    assert len(lines) == 1
    assert "SERVERFULL_FUNCTIONS=" in lines[0]


def test_the_log_has_one_report_line_an_invocation_and_no_payload(capsys):
    application = served(FUNCTIONS="echo=tests.support.handlers.echo")
    response = post(application, "echo", b'{"password": "hunter2"}')
    out = capsys.readouterr().out
    assert [line for line in out.splitlines() if "REPORT" in line] == [
        line for line in out.splitlines() if response.headers["x-amzn-RequestId"] in line
    ]
    assert out.count("REPORT RequestId: ") == 1
    assert "hunter2" not in out


def test_the_log_can_be_json(capsys):
    response = post(served(FUNCTIONS="broken=tests.support.handlers.broken", RUNTIME_LOGGER_FORMAT="JSON"), "broken")
    records = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    error, report = records[-2:]
    assert error["message"].startswith("ValueError: boom\nTraceback")
    assert error["level"] == "ERROR"
    assert report["message"].startswith("REPORT RequestId: ")
    assert {record["request_id"] for record in (error, report)} == {response.headers["x-amzn-RequestId"]}
    assert (report["function_name"], report["level"]) == ("broken", "INFO")


def test_a_function_errors_first_line_has_level_function_and_request_id_once(capsys):
    response = post(served(FUNCTIONS="broken=tests.support.handlers.broken"), "broken")
    (first, second) = capsys.readouterr().out.partition("Z [ERROR] ")[2].splitlines()[:2]
    assert first == f"ValueError: boom function_name=broken request_id={response.headers['x-amzn-RequestId']}"
    assert second == "    Traceback (most recent call last):"


@pytest.mark.parametrize(("setting", "value"), [("OUTPUT", "NULL"), ("LEVEL", "CRITICAL")])
def test_the_log_can_be_silenced(capsys, setting, value):
    post(served(FUNCTIONS="broken=tests.support.handlers.broken", **{f"RUNTIME_LOGGER_{setting}": value}), "broken")
    captured = capsys.readouterr()
    assert captured.out + captured.err == ""


def test_one_error_lists_every_bad_function():
    entries = (
        "a=nowhere.handler, b=tests.support.handlers.absent, c=tests.support.handlers.Colour.RED, "
        "d=tests.support.broken_syntax.handler"
    )
    with pytest.raises(ConfigurationError) as caught:
        create_app(of(FUNCTIONS=entries, RUNTIME_LOGGER_OUTPUT="NULL"))
    lines = str(caught.value).splitlines()
    assert lines[0] == (
        "SERVERFULL_FUNCTIONS: entry 'a=nowhere.handler': Unable to import module 'nowhere': No module named 'nowhere'"
    )
    assert lines[1] == (
        "SERVERFULL_FUNCTIONS: entry 'b=tests.support.handlers.absent': "
        "Handler 'absent' missing on module 'tests.support.handlers'"
    )
    assert lines[2].startswith("SERVERFULL_FUNCTIONS: entry 'c=tests.support.handlers.Colour.RED'")
    assert lines[3].startswith(
        "SERVERFULL_FUNCTIONS: entry 'd=tests.support.broken_syntax.handler': Syntax error in module"
    )


@pytest.mark.parametrize(
    ("functions", "aliases", "message"),
    [
        ("hello", "", "SERVERFULL_FUNCTIONS: entry 'hello' must have the form 'name=package.module.handler'"),
        ("a=json.dumps, a=json.loads", "", "SERVERFULL_FUNCTIONS: 'a' is given twice; remove one of the entries"),
        ("he llo=json.dumps", "", "function 'he llo': a name must be 1 to 64 letters, digits, '-', '_' and '.'"),
        ("a:b=json.dumps", "", "a version must be a number, as in 'a:1'; an alias belongs to SERVERFULL_ALIASES"),
        ("a:1=json.dumps", "", "function 'a:1': a version needs its function; add 'a'"),
        ("a=json.dumps", "a:p", "SERVERFULL_ALIASES: entry 'a:p' must have the form 'name:alias=version'"),
        ("a=json.dumps", "a:1=1", "alias 'a:1' must be 'function:alias'"),
        ("a=json.dumps", "a:p=9", "alias 'a:p' points to version '9' of 'a', which does not exist"),
        ("a=json.dumps", "b:p=1", "alias 'b:p' points to version '1' of 'b', which does not exist"),
        (
            "a=json.__doc__",
            "",
            "'a=json.__doc__': a value of type str cannot be called; name a function",
        ),
        ("a=handler", "", "'a=handler': 'handler' does not name a module and a function; write module.function"),
        ("a=app.", "", "'a=app.': 'app.' does not name a module and a function; write module.function"),
        ("a=:app", "", "'a=:app': ':app' does not name a module and a function; write module.function"),
        ("a=app/handler", "", "'app/handler' does not name a module and a function; write module.function"),
        ("a=json.dumps;b=json.loads", "", "write module.function, and a comma between entries"),
        ("a=/app.handler", "", "'/app.handler' does not name a module and a function; write module.function"),
        ("a=tests.support.broken_import.x", "", "the import raised RuntimeError: no database"),
    ],
)
def test_a_bad_function_or_alias_fails_the_start_with_the_reason(functions, aliases, message):
    with pytest.raises(ConfigurationError) as caught:
        create_app(of(FUNCTIONS=functions, ALIASES=aliases, RUNTIME_LOGGER_OUTPUT="NULL"))
    assert message in str(caught.value)


def test_entries_may_be_separated_by_line_breaks():
    settings = of(FUNCTIONS="a=json.dumps,\n  b=json.loads,\n")
    assert [function.name for function in create_app(settings).dispatcher.fetcher.functions()] == ["a", "b"]


def test_from_environ_reads_this_process():
    name = "SERVERFULL_REGION"
    assert Settings.from_environ().region == os.environ.get(name, os.environ.get("AWS_REGION", "us-east-1"))


def test_a_folder_without_node_modules_is_refused_with_the_cure(tmp_path):
    (tmp_path / "node_modules").touch()
    for path in (tmp_path, tmp_path / "absent"):
        with pytest.raises(ConfigurationError, match=f"npm install --prefix {path} PACKAGE"):
            served(NODE_MODULES=str(path))


# The import of environs, which takes as long as the import of gunicorn


@pytest.mark.parametrize("field", SETTINGS)
def test_a_reader_returns_the_default_if_nothing_is_given(field):
    setting = SETTINGS[field]
    assert setting.read(MappingEnv({}), setting.name, setting.default) == setting.default


SPELLINGS = [
    *("true", "yes", "on", "ON", "false", "no", "off", "t", "None"),
    *("0", "1", "007", "3.5", ".5", "5.", "-1", "1_0", " 2 ", "1e3", "nan", "٣", "9" * 20, "0x1F", "2\n"),
    *(
        "process",
        "Process",
        "auto",
        "zero",
        "STATSD",
        "socket",
        "INFO",
        "JSON",
        "NULL",
        "memory",
        "paths",
        "/health",
        "15 2",
        "60 120",
        "1 300",
    ),
    *("localhost:8125", ":80", "::1", "10.0.0.0/8", "a.b, c", "http://localhost:3000", "eu-west-1", "123456789012"),
]


@pytest.mark.parametrize("field", SETTINGS)
def test_a_plain_value_is_read_as_environs_reads_it(field):
    it, count = SETTINGS[field], 0
    for text in SPELLINGS:
        given = {f"SERVERFULL_{it.name}": text}
        with contextlib.suppress(NotPlain):
            value = it.read(PlainEnv(dict(given)), it.name, it.default)
            env = MappingEnv(dict(given))
            assert value == it.read(env, it.name, it.default)
            assert env.problems() == {}
            count += 1
    assert count


def test_environs_is_imported_only_for_values_that_are_not_spelled_plainly():
    code = """
import sys
from serverfull_wsgi import Settings
plain = {"FUNCTIONS": "a=b.c", "REGION": " ", "DRAIN": "3.5", "MAX_CONCURRENCY": "8", "MOCK": "on"}
more = {"SANDBOX": "PROCESS", "RUNTIME_HTTPSERVER_ADDRESS": ":8080", "RUNTIME_LOGGER_LEVEL": "WARNING"}
Settings.from_mapping({f"SERVERFULL_{name}": value for name, value in (plain | more).items()})
assert "environs" not in sys.modules
Settings.from_mapping({"SERVERFULL_MOCK": "True"})
assert "environs" in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT, timeout=60)
