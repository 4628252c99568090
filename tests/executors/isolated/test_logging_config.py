"""The format, levels and group of a function's log: AWS's advanced logging controls."""

import json
import shutil

import pytest

from serverfull_wsgi import ConfigurationError, LoggingConfig, SamFetcher
from tests.support.isolated import executing, function, invocation, needs_client, run

pytestmark = needs_client

PYTHON = """
import logging, os
def handler(event, context):
    logging.getLogger().debug("detail")
    logging.getLogger().info("known")
    logging.getLogger().error("failed")
    print("printed")
    if event == "exit":
        os._exit(3)
    if event == "raise":
        raise LookupError("missing")
    return [os.environ.get(f"AWS_LAMBDA_LOG_{name}") for name in ("FORMAT", "LEVEL", "GROUP_NAME")]
"""
NODE = """
exports.handler = async () => {
  console.debug("detail"); console.info("known"); console.error("failed");
  return ["FORMAT", "LEVEL", "GROUP_NAME"].map((name) => process.env[`AWS_LAMBDA_LOG_${name}`] ?? null);
};
"""


@pytest.fixture(scope="module")
def executor():
    with executing() as executor:
        yield executor


@pytest.fixture(params=["python", "nodejs20.x"])
def logged(request, executor, tmp_path):
    """Return a function that runs code with a configuration, and returns its result and the lines of its log."""
    if request.param != "python" and not shutil.which("node"):
        pytest.skip("needs Node.js")
    (tmp_path / "index.py").write_text(PYTHON)
    (tmp_path / "index.js").write_text(NODE)

    def logged(event=None, **config):
        runtime = {"runtime": request.param} if request.param != "python" else {}
        given = function(
            "index.handler", code=tmp_path, name="logged", logging_config=LoggingConfig(**config), **runtime
        )
        outcome, value = run(executor, given, event)
        return value, outcome.log.decode().splitlines()

    return logged


def parsed(lines):
    return [json.loads(line) for line in lines if line.startswith("{")]


def platform(lines):
    return [(it["type"].removeprefix("platform."), it["record"]) for it in parsed(lines) if "type" in it]


def messages(lines):
    return [(it["level"], it["message"]) for it in parsed(lines) if "level" in it and it["message"] != "printed"]


def test_the_format_json_reaches_the_runtime_and_the_lines_of_the_platform(logged):
    value, lines = logged(log_format="JSON")
    assert value == ["JSON", "INFO", "/aws/lambda/logged"]
    assert messages(lines) == [("INFO", "known"), ("ERROR", "failed")]
    (_, start), (_, report) = platform(lines)
    assert [kind for kind, _ in platform(lines)] == ["start", "report"]
    arn = "arn:aws:lambda:us-east-1:123456789012:function:logged"
    assert start == {"requestId": start["requestId"], "functionArn": arn, "version": "$LATEST"}
    assert (report["requestId"], report["status"]) == (start["requestId"], "success")
    metrics = report["metrics"]
    assert set(metrics) == {"durationMs", "billedDurationMs", "memorySizeMB", "maxMemoryUsedMB", "initDurationMs"}
    assert metrics["durationMs"] <= metrics["billedDurationMs"] < metrics["durationMs"] + 1
    assert not [line for line in lines if line.startswith(("START", "END", "REPORT"))]


def test_levels_exclude_records_below(logged):
    _, lines = logged(log_format="JSON", application_log_level="ERROR", system_log_level="WARN")
    assert messages(lines) == [("ERROR", "failed")]
    assert platform(lines) == []


def test_the_level_debug_includes_all(logged):
    _, lines = logged(log_format="JSON", application_log_level="DEBUG", system_log_level="DEBUG")
    assert ("DEBUG", "detail") in messages(lines)
    assert [kind for kind, _ in platform(lines)] == ["start", "runtimeDone", "report"]


def test_a_group_and_the_format_text_change_the_name_only(logged):
    value, lines = logged(log_group="/team/orders")
    assert value == [None, None, "/team/orders"]
    assert lines[0].startswith("START RequestId: ")
    assert lines[-1].startswith("REPORT RequestId: ")


def test_the_end_of_a_process_is_in_the_report_in_json(executor, tmp_path):
    (tmp_path / "index.py").write_text(PYTHON)
    config = LoggingConfig("JSON", system_log_level="WARN")
    ending = function("index.handler", code=tmp_path, name="ending", logging_config=config)
    outcome = executor.execute(ending, invocation("exit", name="ending"))
    events = platform(outcome.log.decode().splitlines())
    assert [(kind, it["status"], it["errorType"]) for kind, it in events] == [
        ("runtimeDone", "error", "Runtime.ExitError"),
        ("report", "error", "Runtime.ExitError"),
    ]
    assert b"RequestId: " not in outcome.log


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        ({"log_format": "json"}, "log_format='json' must be Text, JSON"),
        ({"log_format": "JSON", "application_log_level": "WARNING"}, "application_log_level='WARNING' must be TRACE, "),
        ({"log_format": "JSON", "system_log_level": "ERROR"}, "system_log_level='ERROR' must be DEBUG, INFO, WARN"),
        ({"system_log_level": "WARN"}, "system_log_level needs log_format='JSON', not 'Text'"),
        ({"log_group": "a group"}, "log_group='a group' must be 1 to 512 letters"),
    ],
)
def test_values_that_aws_refuses_are_refused(config, reason):
    with pytest.raises(ConfigurationError, match="logging_config: ") as caught:
        LoggingConfig(**config)
    assert reason in str(caught.value)


TEMPLATE = """
Resources:
  Logged:
    Type: {type}
    Properties:
      Handler: index.handler
      Runtime: python3.12
      Role: arn:aws:iam::123456789012:role/r
      {code}
      LoggingConfig: {config}
"""


def load(folder, config, *, serverless=True):
    code = 'InlineCode: "def handler(e, c): pass"'
    kind = "AWS::Serverless::Function"
    if not serverless:
        kind, code = "AWS::Lambda::Function", 'Code: {ZipFile: "def handler(e, c): pass"}'
    (folder / "template.yaml").write_text(TEMPLATE.format(type=kind, code=code, config=config))
    return SamFetcher(str(folder / "template.yaml"))


@pytest.mark.parametrize("serverless", [True, False])
def test_the_property_of_a_template_is_applied(tmp_path, serverless):
    config = "{LogFormat: JSON, ApplicationLogLevel: DEBUG, SystemLogLevel: WARN, LogGroup: /team}"
    fetcher = load(tmp_path, config, serverless=serverless)
    assert fetcher.fetch("Logged").logging_config == LoggingConfig("JSON", "DEBUG", "WARN", "/team")
    assert not [note for note in fetcher.notes() if "LoggingConfig" in note]


def test_a_wrong_property_of_a_template_refuses_the_function(tmp_path):
    fetcher = load(tmp_path, "{LogFormat: JSON, SystemLogLevel: LOUD}")
    with pytest.raises(Exception, match="system_log_level='LOUD' must be DEBUG, INFO, WARN; correct it"):
        fetcher.fetch("Logged")
