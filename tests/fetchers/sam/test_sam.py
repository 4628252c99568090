"""Functions from templates shaped like real projects: exactly these functions and exactly these messages."""

import cProfile
import json
import os
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serverfull_wsgi import (
    Application,
    ConfigurationError,
    Function,
    LoggingConfig,
    NotFoundError,
    Settings,
    create_app,
)
from serverfull_wsgi.domain import EventConfig, Invocation
from serverfull_wsgi.errors import ResourceConflictException
from serverfull_wsgi.executors.inprocess import InProcessExecutor
from serverfull_wsgi.fetchers.sam.fetcher import SamFetcher
from tests.support.hosts import post
from tests.support.names import function_name
from tests.support.servers import ROOT, clean_environ, gunicorn

TEMPLATES = ROOT / "tests/templates"
RUNTIMES = "python3.x, nodejs*.x, provided.al2023, provided.al2, provided or go1.x"
SETTING = "SERVERFULL_TEMPLATE_PARAMETERS"


@pytest.fixture
def load(monkeypatch):
    """Load a template: ``load("api.yaml", Stage="prod")``. Messages then begin with the bare file name."""
    monkeypatch.chdir(TEMPLATES)
    return lambda name, region="us-east-1", **parameters: SamFetcher(name, parameters, region=region, strict=True)


def at(path):
    return str(TEMPLATES / path)


def function(name, handler, code, runtime, **values):
    return Function(handler, name, code=at(code) if isinstance(code, str) else None, runtime=runtime, **values)


ARN = "arn:aws:{}:us-east-1:123456789012:{}"
QUEUE = ARN.format("sqs", "jobs-dev")
TOPIC = ARN.format("sns", "news")
USERS = {"STAGE": "dev", "USERS_TABLE": "UsersTable", "ORIGINS": "https://a.example https://b.example"}
CREATE = function(
    "local-dev-create",
    "handlers.users.create",
    "src",
    "python3.11",
    timeout=60,
    memory_size=512,
    environment={
        **USERS,
        "QUEUE_URL": "https://sqs.us-east-1.amazonaws.com/123456789012/jobs-dev",
        "QUEUE_ARN": QUEUE,
        "TOPIC": TOPIC,
        "TABLE_ARN": ARN.format("dynamodb", "table/UsersTable"),
        "LIST_FUNCTION": "local-dev-list",
        "LIST_ARN": ARN.format("lambda", "function:local-dev-list:live"),
        "BUCKET": "123456789012-uploads",
        "LITERAL": "${Stage} is dev",
        "ACCOUNT": "aws/us-east-1/123456789012/amazonaws.com",
    },
    event_config=EventConfig(1, 600, on_success=TOPIC, on_failure=QUEUE, dead_letter=QUEUE),
)
LIST = function(
    "local-dev-list", "handlers.users.list_", "src", "python3.11", timeout=29, memory_size=512, environment=USERS
)
HELLO = function("HelloWorldFunction", "app.lambda_handler", "hello_world", "python3.12")
STAGED = {"code": "hello_world", "runtime": "python3.10"}
IMPORTS = "imports.yaml:8: Importer.Environment.Variables."
AT_AWS = "has a value at AWS only;"
NOT_SUPPORTED = "is not supported; write the value, or a parameter with a default"

EXPECTED = {
    "sam_init_python.yaml": ([replace(HELLO, logging_config=LoggingConfig("JSON"))], []),
    "sam_init_node.yaml": (
        [
            function(
                "helloFromLambda",
                "app.lambdaHandler",
                "hello-world",
                "nodejs20.x",
                timeout=10,
                memory_size=256,
                description="A Lambda function that returns a static string.",
                environment={
                    "NODE_OPTIONS": "--enable-source-maps",
                    "TABLES": "",
                    "LOG_LEVEL": "debug",
                    "PORT": "8080",
                    "VERBOSE": "true",
                    "RATIO": "0.5",
                    "SINCE": "2024-01-01",
                },
            )
        ],
        [],
    ),
    "api.yaml": ([LIST, replace(LIST, version="1"), CREATE, replace(CREATE, version="1")], []),
    "layers.yaml": (
        [replace(HELLO, name="Both", layers=(at("layers/deps"), at("layers/tools")))],
        [
            "layers.yaml:37: Powertools.Layers: "
            "'arn:aws:lambda:us-east-1:017000801446:layer:AWSLambdaPowertoolsPythonV2:79' is a layer at AWS; "
            "unpack it into a folder, and set SERVERFULL_LAYERS="
            "'arn:aws:lambda:us-east-1:017000801446:layer:AWSLambdaPowertoolsPythonV2:79=FOLDER'",
            "layers.yaml:28: Lost.ContentUri: 'layers/lost' does not exist; "
            "name an existing folder, file or zip archive, or run 'sam build'",
        ],
    ),
    "stages.yaml": (
        [
            function(
                "worker-dev",
                "app.lambda_handler",
                timeout=30,
                environment={"DEBUG": "1", "HOME_REGION": "true"},
                **STAGED,
            )
        ],
        [
            "stages.yaml:47: Reporter.Condition: condition 'IsUnknown' does not exist; add it to Conditions",
            "stages.yaml:54: Collector.Environment.Variables.FAILED: "
            "'Failed' is not created: its condition 'IsLive' is false; use Fn::If",
        ],
    ),
    "mappings.yaml": (
        [],
        [
            "mappings.yaml:16: Resize.Environment.Variables.BUCKET: "
            "there is no Images → us-east-1 → Bucket in Mappings; add it"
        ],
    ),
    "inline.yaml": (
        [
            function(
                "custom-resource",
                "index.handler",
                None,
                "python3.9",
                timeout=30,
                description="answers CloudFormation",
                environment={"ROLE": "arn:aws:iam::123456789012:role/Role"},
                event_config=EventConfig(maximum_retry_attempts=0, dead_letter=ARN.format("sqs", "dead")),
            ),
            function("Edge", "index.handler", None, "nodejs18.x"),
            function("Serverless", "index.handler", None, "python3.9"),
        ],
        [
            f"inline.yaml:48: Sinatra.Runtime: 'ruby3.3' is not supported; use {RUNTIMES}",
            "inline.yaml:48: Sinatra.Code.ZipFile: code in a template must be Python or Node.js; "
            "name an existing folder, file or zip archive",
            "inline.yaml:57: Bare.Handler: is missing; name the function to call, such as app.handler",
            "inline.yaml:57: Bare.Code: is missing; name an existing folder, file or zip archive",
        ],
    ),
    "provided.yaml": (
        [
            function("GoFunction", "bootstrap", "bin", "provided.al2023", timeout=5),
            function("OldGoFunction", "bootstrap", "bin", "go1.x", timeout=5, environment={"GOGC": "50"}),
        ],
        [
            "provided.yaml:15: RustFunction.CodeUri: 'target/lambda/rust' does not exist; "
            "name an existing folder, file or zip archive, or run 'sam build'",
            f"provided.yaml:19: JavaFunction.Runtime: 'java21' is not supported; use {RUNTIMES}",
        ],
    ),
    "image.yaml": (
        [replace(HELLO, name="Beside")],
        [
            "image.yaml:4: InferenceFunction.PackageType: 'Image' is not supported; "
            "set it to Zip, with Runtime, Handler and code",
            "image.yaml:14: PlainImage.PackageType: 'Image' is not supported; "
            "set it to Zip, with Runtime, Handler and code",
        ],
    ),
    "imports.yaml": (
        [replace(HELLO, name="Healthy")],
        [
            f"{IMPORTS}DB: Fn::ImportValue local-host {AT_AWS} set {SETTING}='ImportValue.local-host=…'",
            f"{IMPORTS}ZONES: Fn::GetAZs {AT_AWS} set {SETTING}='GetAZs=…'",
            f"{IMPORTS}RANGE: Fn::Cidr {NOT_SUPPORTED}",
            f"{IMPORTS}PASSWORD: '{{{{resolve:secretsmanager:db:SecretString:password}}}}' is read "
            "from a store by CloudFormation only; write the value, or a parameter",
            f"{IMPORTS}AMI: parameter 'Ami' is stored in AWS Systems Manager; set {SETTING}='Ami=…'",
            f"{IMPORTS}SECRET: parameter 'Secret' has no default; set {SETTING}='Secret=…'",
            f"{IMPORTS}NOWHERE: there is no parameter or resource 'Nowhere'; add it, or set {SETTING}='Nowhere=…'",
            f"{IMPORTS}API: Ref ServerlessRestApi {AT_AWS} set {SETTING}='ServerlessRestApi=…'",
            f"{IMPORTS}STREAM: Table.StreamArn has a value at AWS only; set {SETTING}='Table.StreamArn=…'",
            f"{IMPORTS}STATES: Machine.Arn has a value at AWS only; set {SETTING}='Machine.Arn=…'",
            f"{IMPORTS}NOTHING: must be text, not null; write text",
            f"{IMPORTS}AWS_REGION: Lambda reserves this name; choose another name",
            f"{IMPORTS}2nd: a name must be a letter and at least one more letter, digit or '_'; choose another name",
            f"imports.yaml:31: Destined.FunctionName: Fn::ImportValue name {AT_AWS} set {SETTING}='ImportValue.name=…'",
            "imports.yaml:31: Destined.Timeout: condition 'Unknown' does not exist; add it to Conditions",
            "imports.yaml:31: Destined.MemorySize: 'lots' must be a whole number from 1 to 999,999,999; correct it",
            "imports.yaml:31: Destined.EventInvokeConfig.DestinationConfig.OnFailure: "
            "SAM would create the target; give its ARN as Destination",
            "imports.yaml:31: Destined.EventInvokeConfig: "
            "event_config: maximum_retry_attempts=3 must be a whole number, 0 to 2; correct it",
            "imports.yaml:31: Destined.AutoPublishAlias: "
            "'1' must be letters, digits, '-' and '_', and not a number; choose another name",
            "imports.yaml:41: Remote.FunctionName: "
            "'not a name' must be 1 to 64 letters, digits, '-', '_' and '.'; choose another name",
            "imports.yaml:41: Remote.CodeUri: "
            "'s3://bucket/key.zip' is not on this machine; name an existing folder, file or zip archive",
            "imports.yaml:41: Remote.Environment: must be a mapping; write 'Name: value' below it",
            "imports.yaml:55: Fn::ForEach::Functions: is not a resource with a Type; write the resource out",
        ],
    ),
    "build_output.yaml": (
        [
            function(
                "HelloWorldFunction",
                "app.lambda_handler",
                "HelloWorldFunction",
                "python3.12",
                layers=(at("DepsLayer"),),
            )
        ],
        [],
    ),
    "plain.json": (
        [
            function(
                "echo-us-east-1",
                "index.handler",
                "functions/resize",
                "python3.12",
                environment={"LEVEL": "😀 info", "SELF": ARN.format("cloudformation", "stack/local/local")},
            )
        ],
        [f"plain.json:17: Java.Runtime: 'java17' is not supported; use {RUNTIMES}"],
    ),
    "cdk.json": (
        [],
        [
            "cdk.json:7: Handler886CB40B.Code: "
            "'asset.1f8d' does not exist; name an existing folder, file or zip archive, or run 'cdk synth'"
        ],
    ),
}  # fmt: skip


def test_every_template_has_an_expectation_here():
    assert {path.name for path in TEMPLATES.iterdir() if path.is_file()} == set(EXPECTED)


@pytest.mark.parametrize("name", EXPECTED)
def test_a_template_gives_exactly_these_functions(load, name):
    functions = [replace(f, code=None) if name == "inline.yaml" else f for f in load(name).functions()]
    assert functions == EXPECTED[name][0]


@pytest.mark.parametrize("name", EXPECTED)
def test_a_template_gives_exactly_these_problems(load, name):
    assert load(name).problems() == EXPECTED[name][1]


def test_fetching_a_function_that_cannot_run_raises_and_the_others_are_served(load):
    fetcher = load("image.yaml")
    with pytest.raises(ResourceConflictException) as caught:
        fetcher.fetch("plain", "prod")
    assert str(caught.value) == EXPECTED["image.yaml"][1][1]
    assert fetcher.fetch("Beside").handler == "app.lambda_handler"
    with pytest.raises(NotFoundError):
        fetcher.fetch("nobody")


def test_all_problems_of_a_function_are_reported_together(load):
    with pytest.raises(ResourceConflictException) as caught:
        load("inline.yaml").fetch("Sinatra")
    assert str(caught.value).splitlines() == EXPECTED["inline.yaml"][1][:2]


def test_an_alias_points_to_version_1(load):
    fetcher = load("api.yaml")
    assert fetcher.aliases() == {"local-dev-list:live": "1", "local-dev-create:live": "1"}
    assert fetcher.fetch("local-dev-list", "live").version == "1"


def test_inline_code_is_written_to_a_file(load):
    python, node, serverless = load("inline.yaml").functions()
    assert Path(python.code, "index.py").read_text().startswith("import json\n\n\ndef handler(event, context):")
    assert Path(node.code, "index.js").read_text() == (
        "exports.handler = async (event) => {\n  return 'us-east-1';\n};"
    )
    assert Path(serverless.code, "index.py").read_text() == "def handler(event, context): return 1"


def test_names_that_aws_would_generate_are_noted(load):
    assert load("api.yaml").notes() == [
        "api.yaml:73: UsersTable.TableName: is missing, so AWS would generate a name; the name here is 'UsersTable'; "
        f"set {SETTING}='UsersTable=…' for another name",
        "api.yaml:26: ListUsers.Events.Get: events of type Api are served by 'serverfull serve --api', or with "
        "SERVERFULL_FRONT; without them, invoke the function",
    ]
    assert load("imports.yaml").notes() == [
        "imports.yaml:50: Machine: state machines are not run; invoke the function instead",
        "imports.yaml:52: Nested: the functions of nested applications are not served",
    ]


# Parameters


def test_parameters_decide_conditions(load):
    fetcher = load("stages.yaml", Stage="prod", Replicas="2")
    worker, auditor, collector = fetcher.functions()
    failed = ARN.format("sqs", "failed")
    expected = function(
        "worker",
        "app.lambda_handler",
        timeout=300,
        memory_size=2048,
        environment={"HOME_REGION": "true"},
        event_config=EventConfig(dead_letter=failed),
        **STAGED,
    )
    assert worker == expected
    assert auditor.name == "Auditor"
    assert collector.environment == {"FAILED": "https://sqs.us-east-1.amazonaws.com/123456789012/failed"}
    with pytest.raises(NotFoundError):
        load("stages.yaml").fetch("Auditor")


def test_the_region_decides_a_map(load):
    (resize,) = load("mappings.yaml", region="eu-west-1", Stage="prod").functions()
    expected = function(
        "Resize",
        "index.handler",
        "functions/resize",
        "python3.13",
        timeout=15,
        memory_size=1024,
        environment={"ENDPOINT": "https://sandbox.example", "NAMES": "one,two", "BUCKET": "images-ireland"},
    )
    assert resize == expected


def test_a_layer_can_depend_on_a_condition(load):
    assert load("layers.yaml", WithTools="no").fetch("Both").layers == (at("layers/deps"),)


def test_parameters_can_give_values_that_only_aws_has(load):
    given = {"AWS::StackName": "shop", "UsersTable": "users", "Stage": "prod"}
    create = load("api.yaml", **given).fetch("shop-prod-create")
    assert create.environment["USERS_TABLE"] == "users"
    assert create.environment["TABLE_ARN"] == ARN.format("dynamodb", "table/users")
    given = {"Table.StreamArn": "arn:stream", "ServerlessRestApi": "api", "Ami": "ami-1", "Secret": "a,b"}
    lines = load("imports.yaml", **given).problems()
    assert not [line for line in lines if any(name in line for name in ("STREAM", "API", "AMI", "SECRET"))]


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"Stage": "test"}, f"{SETTING}: 'Stage' must be one of: dev, staging, prod"),
        ({"Replicas": "many"}, f"{SETTING}: 'Replicas' must be a number"),
        ({"Stag": "dev"}, f"{SETTING}: stages.yaml has no 'Stag'; its parameters are: Stage, Replicas"),
    ],
)
def test_parameters_that_the_template_does_not_allow_are_refused(load, parameters, message):
    with pytest.raises(ConfigurationError) as caught:
        load("stages.yaml", **parameters)
    assert str(caught.value) == message


# Templates that cannot be served at all

CURE = "name a SAM or CloudFormation template, in YAML or JSON"
NO_FUNCTION = f"there is no AWS::Serverless::Function and no AWS::Lambda::Function; {CURE}"
ALIASES = "".join(f"a{number}: &a{number} [{', '.join([f'*a{number - 1}'] * 9)}]\n" for number in range(1, 10))
ONE = "{Type: AWS::Lambda::Function, Properties: {FunctionName: f, PackageType: Image}}"


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("t.yaml", "Resources:\n  A: [\n", "t.yaml:3: not valid YAML: "),
        ("t.yaml", "Resources:\n  A: 1\n A: 2\n", "t.yaml:3: not valid YAML: "),
        ("t.yaml", "Resources:\n  A: !!python/object:os.system x\n", "t.yaml:2: not valid YAML: "),
        (
            "t.yaml",
            "Resources:\n\tA: 1\n",
            "t.yaml:2: not valid YAML: found character that cannot start any token; YAML allows no tabs before a key",
        ),
        ("t.yaml", "A: \0", "t.yaml:1: not valid YAML: "),
        ("t.yaml", "Resources:\n  A: 1\n  A: 2\n", "t.yaml:3: not valid YAML: the key 'A' is there twice; correct it"),
        ("t.yaml", "Resources:\n  A: {B: [{C: 1,\n C: 2}]}\n", "t.yaml:3: not valid YAML: the key 'C' is there twice"),
        (
            "t.json",
            '{"Resources": {"A": 1, "A": 2}}',
            "t.json:1: not valid JSON: the key 'A' is there twice; correct it",
        ),
        ("t.yaml", "Resources: &a {A: *a}", "t.yaml:1: not valid YAML: "),
        ("t.yaml", "a: 1\n---\nb: 1\n", "t.yaml:2: not valid YAML: "),
        ("t.yaml", f"a0: &a0 x\n{ALIASES}", "t.yaml:1: not valid YAML: its aliases stand for more than 500,000 values"),
        ("t.yaml", f"a0: &a0 {{x: y}}\n{ALIASES}Resources: {{<<: *a9}}", "t.yaml:1: not valid YAML: its aliases"),
        ("t.json", '{"Resources":\n {,}}', "t.json:2: not valid JSON: "),
        ("t.yaml", "", f"t.yaml:1: a template must be a mapping with 'Resources'; {CURE}"),
        ("t.yaml", "just text", f"t.yaml:1: a template must be a mapping with 'Resources'; {CURE}"),
        ("t.yaml", "apiVersion: v1\nkind: Pod\n", f"t.yaml:1: a template must be a mapping with 'Resources'; {CURE}"),
        ("t.yaml", "A: 1\nResources: {B: {Type: AWS::S3::Bucket}}", f"t.yaml:2: {NO_FUNCTION}"),
        (
            "t.yaml",
            f"Resources: {{A: {ONE}}}\nGlobals: [1]",
            "t.yaml:2: 'Globals' must be a mapping; write 'name: value' below it",
        ),
        (
            "t.yaml",
            f"Resources:\n  A: {ONE}\n  B: {ONE}",
            "t.yaml:3: B: another function has the name 'f'; rename one of them",
        ),
        ("t.yaml", b"\xff\xfe", f"t.yaml:1: the file must be UTF-8 text, and byte 0 is not; {CURE}"),
        ("t.yaml", None, f"t.yaml: No such file or directory; {CURE}"),
    ],
)
def test_a_file_that_is_not_a_template_is_refused_with_file_line_rule_and_cure(
    tmp_path, monkeypatch, name, text, message
):
    monkeypatch.chdir(tmp_path)
    if text is not None:
        Path(name).write_bytes(text.encode() if isinstance(text, str) else text)
    with pytest.raises(ConfigurationError) as caught:
        SamFetcher(name)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)
    assert ";" in str(caught.value)


_scalars = (
    st.none() | st.booleans() | st.integers() | st.sampled_from(["", "a", "1", "Stage", "Table.Arn", "${A}", "${"])
)
_names = st.sampled_from("Ref Fn::Sub Fn::If Fn::Join Fn::GetAtt Fn::FindInMap Fn::Equals Condition A".split())
_values = st.recursive(
    _scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_names, inner, max_size=2), max_leaves=8
)
_properties = st.dictionaries(
    st.sampled_from(
        """FunctionName Handler Runtime Timeout Environment CodeUri InlineCode Layers AutoPublishAlias PackageType
        EventInvokeConfig DeadLetterQueue Description""".split()
    ),
    _values | st.dictionaries(st.sampled_from(["Variables", "DestinationConfig", "TargetArn"]), _values),
)


@settings(max_examples=150, deadline=None)
@given(_properties | _values, _values, _values, st.dictionaries(st.just("Type"), _values))
def test_any_template_is_served_or_refused_with_a_cure(tmp_path_factory, properties, condition, table, parameter):
    template = {
        "Parameters": {"Stage": parameter},
        "Conditions": {"A": condition},
        "Globals": {"Function": properties if isinstance(properties, dict) else {}},
        "Resources": {
            "F": {"Type": "AWS::Serverless::Function", "Properties": properties},
            "G": {"Type": "AWS::Lambda::Function", "Condition": condition, "Properties": {"Code": condition}},
            "Table": {"Type": "AWS::DynamoDB::Table", "Properties": table},
            "a": table,
        },
    }
    path = tmp_path_factory.getbasetemp() / "any.json"
    path.write_text(json.dumps(template))
    try:
        fetcher = SamFetcher(str(path))
    except ConfigurationError:
        return
    for line in fetcher.problems():
        assert line.startswith(f"{path}:")
        assert ";" in line


# Settings


def of(**values):
    values = {"EVENTS": "memory", **values}
    return Settings.from_mapping({f"SERVERFULL_{name}": value for name, value in values.items()})


def names(application):
    return [function.name for function in application.dispatcher.fetcher.functions()]


def test_the_settings_name_the_template(load, capsys):
    application = create_app(of(TEMPLATE="stages.yaml", TEMPLATE_PARAMETERS="Stage=prod", REGION="eu-west-1"))
    assert names(application) == ["worker", "Auditor", "Collector"]
    assert application.dispatcher.fetcher.fetch("worker").environment == {"HOME_REGION": "false"}
    out = capsys.readouterr().out
    assert "Reporter cannot run: calls are answered with 409; 'serverfull check' lists the reasons" in out


def test_functions_and_a_template_are_both_served(load):
    application = create_app(of(TEMPLATE="image.yaml", FUNCTIONS="hello=tests.support.handlers.hello"))
    assert names(application) == ["hello", "Beside"]
    assert post(application, "hello").json == "Hello ƛ!"
    assert post(application, "plain").status == 409
    assert post(application, "nobody").status == 404


@pytest.mark.parametrize("name", ["Beside", "plain"])
def test_a_name_in_both_is_refused(load, name):
    with pytest.raises(ConfigurationError) as caught:
        create_app(of(TEMPLATE="image.yaml", FUNCTIONS=f"{name}=tests.support.handlers.hello"))
    assert str(caught.value) == (
        f"function {name!r} is in both ImportFetcher and SamFetcher; give one of them another name"
    )


def test_an_alias_in_the_settings_must_be_of_a_function_in_the_settings(load):
    with pytest.raises(ConfigurationError, match="alias 'Beside:prod' points to version '1' of 'Beside'"):
        create_app(of(TEMPLATE="image.yaml", ALIASES="Beside:prod=1"))


@pytest.fixture
def project(tmp_path, monkeypatch):
    """Change to an empty directory; ``project("template.yaml")`` writes a template there."""
    monkeypatch.chdir(tmp_path)

    def put(path, source="sam_init_python.yaml"):
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_text((TEMPLATES / source).read_text())
        (Path(path).parent / "hello_world").mkdir(exist_ok=True)

    return put


FOUND = "since no SERVERFULL_TEMPLATE or SERVERFULL_FUNCTIONS is set"


def test_without_settings_the_template_in_the_working_directory_is_served_and_logged(project, tmp_path, capsys):
    project("template.yaml")
    application = create_app(of())
    assert application.dispatcher.fetcher.fetch("HelloWorldFunction").code == str(tmp_path / "hello_world")
    assert f"serving the functions of template.yaml, {FOUND}" in capsys.readouterr().out


def test_a_build_that_is_older_than_its_source_is_warned_about(project, capsys):
    project(".aws-sam/build/template.yaml")
    project("template.yaml")
    for path, time in ((".aws-sam/build/template.yaml", 1), ("template.yaml", 2)):
        os.utime(path, (time, time))
    create_app(of())
    assert "template.yaml is newer than its build, which is served; run 'sam build' again" in capsys.readouterr().out
    os.utime("template.yaml", (1, 1))
    create_app(of())
    assert "sam build" not in capsys.readouterr().out


@pytest.mark.parametrize("path", ["template.yml", "template.json"])
def test_the_other_names_of_a_template_are_found_too(project, path, capsys):
    project(path)
    assert names(create_app(of())) == ["HelloWorldFunction"]
    assert f"serving the functions of {path}, {FOUND}" in capsys.readouterr().out


def test_the_built_template_has_precedence_over_its_source(project, tmp_path, capsys):
    project("template.yaml")
    project(".aws-sam/build/template.yaml")
    application = create_app(of())
    code = str(tmp_path / ".aws-sam/build/hello_world")
    assert application.dispatcher.fetcher.fetch("HelloWorldFunction").code == code
    assert f"serving the functions of .aws-sam/build/template.yaml, {FOUND}" in capsys.readouterr().out


@pytest.mark.parametrize(
    "text",
    [
        "",
        "apiVersion: v1\nkind: Pod\n",
        "name: {{ .Values.name }}\n",
        b"\xff\xfe",
        "Resources:\n  Files:\n    Type: AWS::S3::Bucket\n",
    ],
    ids=["empty", "of Kubernetes", "no YAML", "no text", "without functions"],
)
def test_a_template_without_functions_in_the_working_directory_is_ignored_with_one_line(project, capsys, text):
    Path("template.yaml").write_bytes(text if isinstance(text, bytes) else text.encode())
    assert names(create_app(of())) == []
    lines = [line for line in capsys.readouterr().out.splitlines() if "template.yaml" in line]
    assert len(lines) == 1
    assert "[WARNING] template.yaml is not served: it is not a SAM or CloudFormation template" in lines[0]


def test_a_template_with_functions_in_the_working_directory_must_be_valid(project):
    Path("template.yaml").write_text("Resources:\n  A:\n    Type: AWS::Serverless::Function\n B: 1\n")
    with pytest.raises(ConfigurationError, match=r"template\.yaml:4: not valid YAML"):
        create_app(of())


def test_an_unrelated_file_named_in_the_settings_is_refused(project):
    Path("template.yaml").write_text("kind: Pod\n")
    with pytest.raises(ConfigurationError, match="a template must be a mapping with 'Resources'"):
        create_app(of(TEMPLATE="template.yaml"))


def test_with_functions_in_the_settings_the_template_in_the_working_directory_is_not_served(project, capsys):
    project("template.yaml")
    assert names(create_app(of(FUNCTIONS="a=json.dumps", TEMPLATE_PARAMETERS="A=1"))) == ["a"]
    assert f"{SETTING} has no effect: there is no template" in capsys.readouterr().out


def test_a_server_without_functions_logs_a_warning(project, capsys):
    assert names(create_app(of())) == []
    assert "serving no functions; name some with SERVERFULL_FUNCTIONS=" in capsys.readouterr().out


def test_a_fetcher_given_in_code_replaces_the_functions_of_the_settings(project):
    project("template.yaml")
    fetcher = SamFetcher("template.yaml")
    assert create_app(of(TEMPLATE="absent.yaml"), fetcher).dispatcher.fetcher is fetcher


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Stage", "'Stage' must begin with 'Name=value'; put a value with a comma in double quotes"),
        ("Stage=a, b", "'b' must begin with 'Name=value'; put a value with a comma in double quotes"),
        ('Stage="a', "'Stage=\"a' must begin with 'Name=value'; put a value with a comma in double quotes"),
        ("Stage=dev, Stage=prod", "'Stage' is given twice; remove one of the entries"),
    ],
)
def test_parameters_that_cannot_be_read_are_refused(load, text, message):
    with pytest.raises(ConfigurationError) as caught:
        create_app(of(TEMPLATE="stages.yaml", TEMPLATE_PARAMETERS=text, RUNTIME_LOGGER_OUTPUT="NULL"))
    assert str(caught.value) == f"{SETTING}: {message}"


# Answers to callers and output for operators


def test_a_function_that_cannot_run_answers_409(load):
    application = Application(load("image.yaml"))
    response = post(application, "plain")
    assert (response.status, response.headers["x-amzn-ErrorType"]) == (409, "ResourceConflictException")
    assert response.json == {"Type": "User", "message": EXPECTED["image.yaml"][1][1]}
    assert post(application, "plain", X_Amz_Invocation_Type="Event").status == 409
    assert post(application, "plain", X_Amz_Invocation_Type="DryRun").status == 409


def test_a_function_with_code_of_its_own_never_runs_in_the_servers_process(load):
    function = load("sam_init_python.yaml").fetch("HelloWorldFunction")
    name = function_name(function.name)
    with pytest.raises(ResourceConflictException, match="has a code directory of its own"):
        InProcessExecutor().execute(function, Invocation(name, b"{}", "id"))


def test_mock_mode_answers_409_for_a_function_that_cannot_run(load):
    application = create_app(of(TEMPLATE="image.yaml", MOCK="true", RUNTIME_LOGGER_OUTPUT="NULL"))
    assert post(application, "Beside").json is None
    assert post(application, "plain").status == 409


def serverfull(*argv, cwd=TEMPLATES, code="from serverfull_wsgi.__main__ import main; main()", **environ):
    environ = {**clean_environ(), **environ}
    return subprocess.run(
        [sys.executable, "-c", code, *argv], capture_output=True, text=True, cwd=cwd, env=environ, check=False
    )


def test_check_lists_every_problem_and_exits_with_1():
    result = serverfull("check", SERVERFULL_TEMPLATE="imports.yaml", SERVERFULL_TEMPLATE_STRICT="true")
    assert result.returncode == 1
    assert result.stderr.splitlines()[-len(EXPECTED["imports.yaml"][1]) :] == EXPECTED["imports.yaml"][1]
    assert "Error: these functions cannot run:\n" in result.stderr
    assert "'serverfull check' lists the reasons" not in result.stderr  # it does so here


def test_check_accepts_a_project_that_can_run(tmp_path):
    result = serverfull("check", cwd=ROOT / "examples/sam_project", TMPDIR=str(tmp_path))
    assert (result.returncode, result.stdout) == (0, "ok: 2 functions\n")
    assert f"serving the functions of template.yaml, {FOUND}" in result.stderr


def test_the_functions_command_marks_functions_that_cannot_run():
    result = serverfull("functions", SERVERFULL_TEMPLATE="image.yaml", SERVERFULL_FUNCTIONS="a=json.dumps")
    assert result.stdout.splitlines()[1:] == [
        "a\t3 s\t128 MB",
        "Beside\t3 s\t128 MB",
        f"InferenceFunction\t-\t-\tcannot run: {EXPECTED['image.yaml'][1][0]}",
        f"plain\t-\t-\tcannot run: {EXPECTED['image.yaml'][1][1]}",
    ]


def test_native_mode_refuses_a_function_with_a_code_directory():
    result = serverfull("lambda", "Beside", SERVERFULL_TEMPLATE="image.yaml")
    assert result.returncode == 1
    assert "Error: function 'Beside' has a code directory, which native mode cannot run" in result.stderr


@pytest.mark.parametrize(
    ("setting", "origin"),
    [
        ({"SERVERFULL_TEMPLATE": "template.yaml"}, "SERVERFULL_TEMPLATE=template.yaml"),
        ({}, "the template template.yaml"),
    ],
    ids=["set", "found"],
)
def test_without_pyyaml_one_line_names_the_template_and_the_cure(setting, origin):
    code = "import sys; sys.modules['yaml'] = None; from serverfull_wsgi.__main__ import main; main()"
    result = serverfull("check", cwd=ROOT / "examples/sam_project", code=code, **setting)
    assert result.returncode == 1
    assert result.stderr.splitlines()[-1] == (f"Error: {origin} needs PyYAML: pip install 'serverfull-wsgi[sam]'")


def zipped(folder):
    (folder / "template.yaml").write_text(
        "Resources: {F: {Type: AWS::Serverless::Function, Properties:"
        " {CodeUri: code.zip, Handler: app.handler, Runtime: python3.12}}}"
    )
    with zipfile.ZipFile(folder / "code.zip", "w") as archive:
        archive.writestr("app.py", "def handler(event, context): return 'unpacked'")
    (folder / "tmp").mkdir()
    return {"TMPDIR": str(folder / "tmp")}


def unpacked(environ):
    return [name for name in os.listdir(environ["TMPDIR"]) if name.startswith("serverfull-code-")]


def kept(folder):
    return [path for path in folder.glob(".serverfull/packages/*") if path.is_dir()]


def test_check_leaves_no_unpacked_archives(tmp_path):
    environ = zipped(tmp_path)
    assert serverfull("check", cwd=tmp_path, **environ).stdout == "ok: 1 function\n"
    assert unpacked(environ) == []
    assert not (tmp_path / ".serverfull").exists()


def test_an_archive_is_unpacked_for_the_first_process_only(tmp_path):
    environ = zipped(tmp_path)
    for _ in range(2):
        assert serverfull("invoke", "F", cwd=tmp_path, **environ).stdout == '"unpacked"\n'
        (folder,) = kept(tmp_path)
        (folder / "app.py").write_text("def handler(event, context): return 'unpacked'")
    assert serverfull("check", cwd=tmp_path, **environ).stdout == "ok: 1 function\n"
    assert unpacked(environ) == []


def test_without_a_usable_data_directory_archives_are_unpacked_for_the_process(tmp_path):
    environ = zipped(tmp_path)
    (tmp_path / ".serverfull").touch()
    assert serverfull("invoke", "F", cwd=tmp_path, **environ).stdout == '"unpacked"\n'
    assert unpacked(environ) == []


@pytest.mark.parametrize("options", [["--workers=3"], ["--preload"]])
def test_all_workers_of_gunicorn_share_an_unpacked_archive(tmp_path, options):
    environ = zipped(tmp_path)
    with gunicorn(tmp_path / "log", *options, application="serverfull_wsgi:app", cwd=tmp_path, env=environ) as server:
        assert len(kept(tmp_path)) == 1
        assert server.process.poll() is None
    assert len(kept(tmp_path)) == 1
    assert unpacked(environ) == []


def test_the_example_declares_the_functions_of_its_readme():
    folder = ROOT / "examples/sam_project"
    fetcher = SamFetcher(str(folder / "template.yaml"), has_front=True)
    layer = (str(folder / "layer"),)
    environment = {"GREETING": "Hello"}
    common = {"timeout": 5, "environment": environment}
    assert fetcher.problems() == fetcher.notes() == []
    assert fetcher.functions() == [
        Function("app.handler", "hello", code=str(folder / "hello"), runtime="python3.12", layers=layer, **common),
        Function("index.handler", "shout", code=str(folder / "shout"), runtime="nodejs20.x", **common),
    ]


UNKNOWN_LAYER = """
Parameters: {Stage: {Type: String}}
Resources:
  Unused: {Type: AWS::Serverless::LayerVersion, Properties: {LayerName: !Sub "${Stage}-l", ContentUri: .}}
  Layer: {Type: AWS::Serverless::LayerVersion, Properties: {ContentUri: .}}
  Hello:
    Type: AWS::Serverless::Function
    Properties: {CodeUri: ., Handler: app.handler, Runtime: python3.11, Layers: [!Ref Layer]}
"""
UNKNOWN_CONDITION = """
Parameters: {Stage: {Type: String}}
Conditions: {InProd: !Equals [!Ref Stage, prod]}
Resources:
  Hello: {Type: AWS::Lambda::Function, Properties: {Code: ., Handler: app.handler, Runtime: python3.11}}
  Other: {Type: AWS::Lambda::Function, Properties: {Code: ., Handler: app.handler, Runtime: python3.11}}
  Config:
    Type: AWS::Lambda::EventInvokeConfig
    Condition: InProd
    Properties: {FunctionName: !Ref Hello, Qualifier: $LATEST, MaximumRetryAttempts: 0}
"""


def test_a_layer_without_a_resolvable_name_does_not_affect_other_layers(tmp_path):
    (tmp_path / "template.yaml").write_text(UNKNOWN_LAYER)
    fetcher = SamFetcher(str(tmp_path / "template.yaml"))
    assert fetcher.problems() == []
    assert fetcher.fetch("Hello").layers


def test_an_event_config_without_a_resolvable_condition_stops_only_its_function(tmp_path):
    (tmp_path / "template.yaml").write_text(UNKNOWN_CONDITION)
    fetcher = SamFetcher(str(tmp_path / "template.yaml"))
    (problem,) = fetcher.problems()
    assert "Config" in problem
    assert "parameter 'Stage' has no default" in problem
    assert fetcher.fetch("Other")
    with pytest.raises(ResourceConflictException, match="'Stage' has no default"):
        fetcher.fetch("Hello")


def written(tmp_path, resources):
    path = tmp_path / "template.json"
    path.write_text(json.dumps({"Resources": resources}))
    (tmp_path / "code").mkdir(exist_ok=True)
    return SamFetcher(str(path))


def declared(**more):
    properties = {"Handler": "app.handler", "Runtime": "python3.12", "CodeUri": "code", **more}
    return {"Type": "AWS::Serverless::Function", "Properties": properties}


@pytest.mark.parametrize("value", ["a\0b", "\ud800"])
def test_a_variable_that_no_process_can_have_stops_only_its_function(value, tmp_path):
    with_variable = declared(Environment={"Variables": {"TOKEN": value}})
    fetcher = written(tmp_path, {"Good": declared(), "Bad": with_variable})
    assert fetcher.fetch("Good")
    with pytest.raises(
        ResourceConflictException, match=r"Variables\.TOKEN: a value must not contain NUL or half .*; remove"
    ):
        fetcher.fetch("Bad")
    with pytest.raises(ConfigurationError, match="environment='TOKEN' must be"):
        Function("app.handler", code="/srv/app", environment={"TOKEN": value})


@pytest.mark.parametrize("depth", [5_000, 50_000])
def test_a_template_that_is_nested_too_deeply_is_refused_with_one_line(depth, tmp_path):
    path = tmp_path / "template.json"
    deep = json.dumps({"Resources": {"F": declared(Description="DEEP")}})
    path.write_text(deep.replace('"DEEP"', "[" * depth + "]" * depth))
    with pytest.raises(
        ConfigurationError, match=r"template\.json:1: the template is nested too deeply; write it flatter"
    ):
        SamFetcher(str(path))


def test_a_function_with_an_invalid_name_does_not_take_the_name_of_another(tmp_path):
    for resources in (
        {"One": declared(FunctionName="Two"), "Two": declared(FunctionName="no name")},
        {"Two": declared(FunctionName="no name"), "One": declared(FunctionName="Two")},
    ):
        fetcher = written(tmp_path, resources)
        assert fetcher.fetch("Two").handler == "app.handler"
        assert list(fetcher.refused()) == ["no name"]
        (problem,) = fetcher.problems()
        assert "'no name' must be 1 to 64 letters" in problem


def large(count, type):
    """Return a template with ``count`` functions that share a layer, each with an EventInvokeConfig."""
    layer = {"Type": "AWS::Serverless::LayerVersion", "Properties": {"ContentUri": "code"}}
    resources = {"Layer": layer}
    for n in range(count):
        more = {"Layers": [{"Ref": "Layer"}], "FunctionName": {"Fn::Sub": f"${{AWS::StackName}}-{n}"}}
        resources[f"F{n}"] = {**declared(**more), "Type": type}
        resources[f"F{n}"]["Properties"]["Code"] = "code"
        config = {"FunctionName": {"Ref": f"F{n}"}, "Qualifier": "$LATEST", "MaximumRetryAttempts": 0}
        resources[f"Config{n}"] = {"Type": "AWS::Lambda::EventInvokeConfig", "Properties": config}
    return resources


@pytest.mark.parametrize("type", ["AWS::Serverless::Function", "AWS::Lambda::Function"])
def test_the_work_for_a_template_grows_in_proportion_to_its_functions(tmp_path, type):
    def calls(count):
        profile = cProfile.Profile()
        fetcher = profile.runcall(written, tmp_path, large(count, type))
        assert fetcher.problems() == []
        assert {function.event_config for function in fetcher.functions()} == {EventConfig(0)}
        return sum(entry.callcount for entry in profile.getstats())

    calls(1)  # imports and caches
    assert calls(400) < 2.1 * calls(200)


def test_a_problem_in_json_has_the_line_of_its_resource(tmp_path):
    text = """{
"Outputs": {"Bad": {"Value": "{\\"Bad\\": ["}},
"Parameters": {
  "Bad": {"Type": "String", "Default": "\\\\"}},
"Resources": {"Good": {"Type": "AWS::S3::Bucket", "Metadata": {"Bad": [{"Bad" : 1}]}},

  "Bad"
  : {"Type": "AWS::Lambda::Function"},
  "W\\u00f6rse": {"Type": "AWS::Lambda::Function", "Properties": {"Bad": 1}}
}}"""
    (tmp_path / "t.json").write_text(text)
    fetcher = SamFetcher(str(tmp_path / "t.json"))
    lines = {
        line.removeprefix(f"{tmp_path}/").partition(".Runtime")[0] for line in fetcher.problems() if "Runtime" in line
    }
    assert lines == {"t.json:7: Bad", "t.json:9: Wörse"}
