"""Warnings about functions that run: features that are not served, and misspelt names."""

import platform

import pytest

from serverfull_wsgi.fetchers.sam.fetcher import SamFetcher
from tests.support.servers import ROOT, free_port, serverfull, serving
from tests.support.waiting import wait_until


@pytest.fixture
def load(tmp_path, monkeypatch):
    """Load a template: ``load("Resources: …")``. Messages begin with ``t.yaml``."""
    monkeypatch.chdir(tmp_path)

    def load(text):
        (tmp_path / "t.yaml").write_text(text)
        return SamFetcher("t.yaml")

    return load


def function(properties, type="AWS::Serverless::Function"):
    code = "CodeUri" if "Serverless" in type else "Code"
    return f"{{Type: {type}, Properties: {{{code}: ., Handler: app.handler, Runtime: python3.11, {properties}}}}}"


def one(properties, type="AWS::Serverless::Function"):
    return f"Resources:\n  Hello: {function(properties, type)}\n"


OTHER = "arm64" if platform.machine().lower() in ("x86_64", "amd64") else "x86_64"
SERVED = "x86_64" if OTHER == "arm64" else "arm64"


@pytest.mark.parametrize(
    ("properties", "path", "text"),
    [
        (
            "Events: {Get: {Type: Api, Properties: {Path: /, Method: get}}}",
            "Events.Get",
            "events of type Api are served ",
        ),
        ("Events: {Get: {Type: HttpApi}}", "Events.Get", "events of type HttpApi are served by "),
        ("Events: {Daily: {Type: Schedule}}", "Events.Daily", "events of type Schedule are not served"),
        ("Events: {Daily: {Type: ScheduleV2}}", "Events.Daily", "events of type ScheduleV2 are not served"),
        ("Events: {Queue: {Type: SQS}}", "Events.Queue", "events of type SQS are not served"),
        ("Events: {Topic: {Type: SNS}}", "Events.Topic", "events of type SNS are not served"),
        ("Events: {Files: {Type: S3}}", "Events.Files", "events of type S3 are not served"),
        ("Events: {Changes: {Type: DynamoDB}}", "Events.Changes", "events of type DynamoDB are not served"),
        ("Events: {Rule: {Type: EventBridgeRule}}", "Events.Rule", "events of type EventBridgeRule are not served"),
        ("FunctionUrlConfig: {AuthType: NONE}", "FunctionUrlConfig", "function URLs are served by "),
        ("VpcConfig: {SubnetIds: [!Ref Lost]}", "VpcConfig", "the function uses the network of this machine"),
        ("Tracing: Active", "Tracing", "no traces are sent to X-Ray"),
        ("Tracing: !If [Unknown, Active, PassThrough]", "Tracing", "no traces are sent to X-Ray"),
        ("EphemeralStorage: {Size: 2048}", "EphemeralStorage", "the size of /tmp is limited only where"),
        ("TenancyConfig: {TenantIsolationMode: PER_TENANT}", "TenancyConfig", "tenants share environments"),
        ("DurableConfig: {ExecutionTimeout: 60}", "DurableConfig", "durable executions are not supported"),
        ("CodeSigningConfigArn: arn", "CodeSigningConfigArn", "signatures of code are not checked"),
        ("RecursiveLoop: Allow", "RecursiveLoop", "loops of events are always stopped"),
        (f"Architectures: [{OTHER}]", "Architectures", f"this machine is {platform.machine()}, so native code"),
    ],
)
def test_a_feature_that_is_not_served_is_one_warning(load, properties, path, text):
    fetcher = load(one(properties))
    first, *others = [line for line in fetcher.notes() if "is not a property" not in line]
    assert first.startswith(f"t.yaml:2: Hello.{path}: {text}")
    assert ";" in first
    assert others == []
    assert fetcher.fetch("Hello")


@pytest.mark.parametrize(
    "properties",
    [
        "Tracing: PassThrough",
        "Tracing: !Ref AWS::NoValue",
        "VpcConfig: !Ref AWS::NoValue",
        "EphemeralStorage: {Size: 512}",
        "SnapStart: {ApplyOn: None}",
        "SnapStart: {ApplyOn: PublishedVersions}",
        "RecursiveLoop: Terminate",
        f"Architectures: [{SERVED}]",
        "Policies: [AWSLambdaExecute]",
        "FileSystemConfigs: [{Arn: a, LocalMountPath: /mnt/data}]",  # the start checks SERVERFULL_MOUNTS
        "Tags: {team: a, Timeot: b}",
        "Environment: {Variables: {Timeot: a}}",
        "Events: {}",
    ],
)
def test_a_value_that_changes_nothing_here_is_no_warning(load, properties):
    assert load(one(properties)).notes() == []


@pytest.mark.parametrize(
    ("value", "expected"), [("PublishedVersions", True), ("None", False), ("!Ref AWS::NoValue", False)]
)
def test_a_function_of_a_template_counts_as_published_for_snap_start(load, value, expected):
    fetcher = load(one(f"SnapStart: {{ApplyOn: {value}}}"))
    assert fetcher.fetch("Hello").snap_start is expected
    assert fetcher.notes() == []


def test_another_value_of_snap_start_is_refused(load):
    (problem,) = load(one("SnapStart: {ApplyOn: Always}")).problems()
    assert problem.startswith(
        "t.yaml:2: Hello.SnapStart.ApplyOn: 'Always' must be PublishedVersions or None; correct it"
    )


@pytest.mark.parametrize(
    ("type", "text"),
    [
        ("AWS::Lambda::EventSourceMapping", "event source mappings are not served; invoke the function instead"),
        (
            "AWS::Lambda::Url",
            "function URLs are served by 'serverfull serve --api', or with SERVERFULL_FRONT; without them, invoke the "
            "function",
        ),
        ("AWS::Serverless::StateMachine", "state machines are not run; invoke the function instead"),
        ("AWS::Serverless::WebFunction", "this type of function is not served; declare an AWS::Serverless::Function"),
    ],
)
def test_a_resource_about_functions_that_is_not_served_is_one_warning(load, type, text):
    fetcher = load(f"{one('')}  First: {{Type: {type}}}\n  Second: {{Type: {type}}}\n")
    assert fetcher.notes() == [f"t.yaml:3: First (also Second): {text}"]


def test_a_service_that_may_call_functions_is_one_warning(load):
    permission = "{Type: AWS::Lambda::Permission, Properties: {Principal: s3.amazonaws.com}}"
    fetcher = load(f"{one('', 'AWS::Lambda::Function')}  May: {permission}\n  MayToo: {permission}\n")
    assert fetcher.notes() == [
        "t.yaml:3: May.Principal (also MayToo.Principal): events of s3.amazonaws.com are not served; "
        "invoke the function instead"
    ]


def test_a_feature_of_many_functions_is_one_warning(load):
    functions = "".join(f"  F{n}: {function('VpcConfig: {SubnetIds: [a]}')}\n" for n in range(7))
    assert load(f"Resources:\n{functions}").notes() == [
        "t.yaml:2: F0.VpcConfig (also F1.VpcConfig, F2.VpcConfig, F3.VpcConfig, 3 more): "
        "the function uses the network of this machine; restrict the network there"
    ]


def test_a_resource_that_is_not_created_causes_no_warning(load):
    url = "{Type: AWS::Lambda::Url, Condition: Never}"
    assert load(f"Conditions: {{Never: !Equals [a, b]}}\n{one('')}  Url: {url}\n").notes() == []


SERVERLESS = "is not a property of AWS::Serverless::Function, so it has no effect"
LAMBDA = "is not a property of AWS::Lambda::Function, so it has no effect"


@pytest.mark.parametrize(
    ("template", "warning"),
    [
        (one("Timeot: 3"), f"t.yaml:2: Hello.Timeot: {SERVERLESS}; did you mean 'Timeout'?"),
        (one("memorysize: 3"), f"t.yaml:2: Hello.memorysize: {SERVERLESS}; did you mean 'MemorySize'?"),
        (one("Zzzz: 3"), f"t.yaml:2: Hello.Zzzz: {SERVERLESS}; remove it"),
        (one("Code: ."), f"t.yaml:2: Hello.Code: {SERVERLESS}; did you mean 'CodeUri'?"),
        (one("CodeUri: .", "AWS::Lambda::Function"), f"t.yaml:2: Hello.CodeUri: {LAMBDA}; did you mean 'Code'?"),
        (
            one("Environment: {Variable: {}}"),
            f"t.yaml:2: Hello.Environment.Variable: {SERVERLESS}; did you mean 'Variables'?",
        ),
        (
            one("EventInvokeConfig: {DestinationConfig: {OnFail: {}}}"),
            f"t.yaml:2: Hello.EventInvokeConfig.DestinationConfig.OnFail: {SERVERLESS}; did you mean 'OnFailure'?",
        ),
        (
            f"Globals: {{Function: {{MemmorySize: 1}}}}\n{one('')}",
            f"t.yaml:1: Globals.Function.MemmorySize: {SERVERLESS}; did you mean 'MemorySize'?",
        ),
        (
            f"Globals: {{Functions: {{MemorySize: 1}}}}\n{one('')}",
            "t.yaml:1: Globals.Functions: is not a section of Globals, so it has no effect; did you mean 'Function'?",
        ),
        (
            f"Parameter: {{}}\n{one('')}",
            "t.yaml:1: Parameter: is not a section of a template, so it has no effect; did you mean 'Parameters'?",
        ),
        (
            f"{one('')}  Other: {{Type: AWS::Serverless::Funtion}}",
            "t.yaml:3: Other.Type: 'AWS::Serverless::Funtion' is not a type of AWS, so it has no effect; "
            "did you mean 'AWS::Serverless::Function'?",
        ),
        (
            f"{one('')}  Other: {{Type: AWS::Serverles::Function}}",
            "t.yaml:3: Other.Type: 'AWS::Serverles::Function' is not a type of AWS, so it has no effect; "
            "did you mean 'AWS::Serverless::Function'?",
        ),
        (
            f"{one('')}  Other: {{Type: AWS::Lambda::LayerVersion, Propertys: {{}}}}",
            "t.yaml:3: Other.Propertys: is not an attribute of a resource, so it has no effect; "
            "did you mean 'Properties'?",
        ),
        (
            f"{one('')}  Other: {{Type: AWS::Lambda::LayerVersion, LayerName: deps}}",
            "t.yaml:3: Other.LayerName: has no effect beside Properties; write it below Properties",
        ),
        (
            one("Events: {Get: {Type: HttpAPI}}"),
            "t.yaml:2: Hello.Events.Get.Type: 'HttpAPI' is not a type of event, so it has no effect; "
            "did you mean 'HttpApi'?",
        ),
        (
            one("Events: {Get: {Properties: {Path: /}}}"),
            "t.yaml:2: Hello.Events.Get: has no effect without a Type; add the type of event",
        ),
    ],
)
def test_a_name_that_aws_does_not_have_is_one_warning_with_a_suggestion(load, template, warning):
    assert load(template).notes() == [warning]


def test_an_unknown_name_in_globals_is_one_warning_for_all_functions(load):
    functions = "".join(f"  F{n}: {function('')}\n" for n in range(3))
    (warning,) = load(f"Globals: {{Function: {{Timeot: 3}}}}\nResources:\n{functions}").notes()
    assert warning.startswith("t.yaml:1: Globals.Function.Timeot: ")


def test_resources_of_other_services_and_intrinsic_functions_are_no_unknown_names(load):
    template = f"""
Transform: [AWS::Serverless-2016-10-31, AWS::LanguageExtensions]
Rules: {{}}
{one("Environment: !If [A, {Variables: {}}, !Ref AWS::NoValue], Tags: !Ref Anything")}
  Mine: {{Type: Custom::Function, Anything: 1}}
  Bucket: {{Type: AWS::S3::Bucket, Propertys: 1}}
  Api: {{Type: AWS::Serverless::Api, Properties: {{StageName: a}}}}
  Fn::ForEach::Functions: [X, [a], {{}}]
"""
    assert load(template).notes() == []


def test_ignore_globals_leaves_the_globals_out(load):
    template = """
Globals: {Function: {Timeout: 9, MemorySize: 512}}
Resources:
  All: {Type: AWS::Serverless::Function, IgnoreGlobals: "*", Properties: {Handler: a.b, Runtime: python3.11}}
  Some: {Type: AWS::Serverless::Function, IgnoreGlobals: [Timeout], Properties: {Handler: a.b, Runtime: python3.11}}
"""
    functions = load(template).functions()
    assert [(each.timeout, each.memory_size) for each in functions] == [(3, 128), (3, 512)]


WITH_WARNINGS = one("Timeot: 5, Tracing: Active")
LINES = [
    "t.yaml:2: Hello.Tracing: no traces are sent to X-Ray; send them from the function",
    f"t.yaml:2: Hello.Timeot: {SERVERLESS}; did you mean 'Timeout'?",
]


def test_check_shows_each_warning_once_and_exits_with_0(tmp_path):
    (tmp_path / "t.yaml").write_text(WITH_WARNINGS)
    result = serverfull("check", cwd=tmp_path, SERVERFULL_TEMPLATE="t.yaml")
    assert (result.returncode, result.stdout) == (0, "ok: 1 function\n")
    assert [result.stderr.count(line) for line in LINES] == [1, 1]


def test_check_shows_the_warnings_of_an_application_built_in_code(tmp_path):
    (tmp_path / "t.yaml").write_text(WITH_WARNINGS)
    (tmp_path / "site.py").touch()
    code = "from serverfull_wsgi import Application, SamFetcher\napp = Application(SamFetcher('t.yaml'))\n"
    (tmp_path / "built_in_code.py").write_text(code)
    result = serverfull("check", "--app", "built_in_code:app", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert [result.stderr.count(f"warning: {line}") for line in LINES] == [1, 1]


def test_the_server_logs_each_warning_at_its_start(tmp_path):
    (tmp_path / "t.yaml").write_text(WITH_WARNINGS)
    with serving(
        tmp_path / "log",
        SERVERFULL_TEMPLATE=str(tmp_path / "t.yaml"),
        SERVERFULL_RUNTIME_HTTPSERVER_ADDRESS=f"127.0.0.1:{free_port()}",
    ) as server:
        wait_until(lambda: "Timeot" in server.output())
    assert [server.output().count(line) for line in LINES] == [1, 1]


def test_the_example_causes_no_warnings():
    assert SamFetcher(str(ROOT / "examples/sam_project/template.yaml"), has_front=True).notes() == []


@pytest.mark.parametrize(
    ("value", "reserved"), [("0", 0), ("'7'", 7), ("!If [Busy, 5, !Ref AWS::NoValue]", None), ("!Ref Most", 12)]
)
def test_the_reserved_concurrency_is_the_functions(load, value, reserved):
    parameters = "Parameters: {Most: {Type: Number, Default: 12}}\nConditions: {Busy: !Equals [a, b]}\n"
    fetcher = load(parameters + one(f"ReservedConcurrentExecutions: {value}, AutoPublishAlias: live"))
    assert [fetcher.fetch("Hello", qualifier).reserved for qualifier in ("$LATEST", "live")] == [reserved] * 2
    assert fetcher.notes() == []


def test_a_reserved_concurrency_that_is_not_a_count_is_a_problem(load):
    fetcher = load(one("ReservedConcurrentExecutions: -1"))
    assert fetcher.problems() == [
        "t.yaml:2: Hello.ReservedConcurrentExecutions: '-1' must be a whole number from 0 to 1,000,000; correct it"
    ]


PROVISIONED = "ProvisionedConcurrencyConfig: {ProvisionedConcurrentExecutions: %s}"


def test_the_provisioned_concurrency_is_that_of_the_published_version(load):
    fetcher = load(one(f"AutoPublishAlias: live, {PROVISIONED % 3}"))
    assert [fetcher.fetch("Hello", qualifier).provisioned for qualifier in ("$LATEST", "1", "live")] == [None, 3, 3]
    assert fetcher.notes() == []


@pytest.mark.parametrize(
    ("properties", "problem"),
    [
        (PROVISIONED % 3, "SAM needs an alias to provision concurrency for; add AutoPublishAlias"),
        (f"AutoPublishAlias: live, {PROVISIONED % 0}", "'0' must be a whole number from 1 to 1,000,000; correct it"),
        (
            f"AutoPublishAlias: live, ReservedConcurrentExecutions: 2, {PROVISIONED % 3}",
            "3 must be at most ReservedConcurrentExecutions, 2",
        ),
        (
            f"AutoPublishAlias: live, SnapStart: {{ApplyOn: PublishedVersions}}, {PROVISIONED % 3}",
            "AWS provisions no concurrency for a function with SnapStart; remove one of them",
        ),
    ],
)
def test_a_provisioned_concurrency_that_aws_would_refuse_is_a_problem(load, properties, problem):
    path = "ProvisionedConcurrencyConfig.ProvisionedConcurrentExecutions"
    assert load(one(properties)).problems() == [f"t.yaml:2: Hello.{path}: {problem}"]


def test_the_storage_file_systems_and_network_of_a_function_are_read(load):
    text = one("EphemeralStorage: {Size: 2048}, FileSystemConfigs: [{Arn: a, LocalMountPath: /mnt/data}]")
    fetcher = load(text.replace("Properties:", "Metadata: {ServerfullNetwork: none}, Properties:"))
    hello = fetcher.fetch("Hello")
    assert (hello.ephemeral_storage, hello.mounts, hello.network) == (2048, ("/mnt/data",), "none")


def test_a_network_that_does_not_exist_is_a_problem(load):
    fetcher = load(one("Timeout: 3").replace("Properties:", "Metadata: {ServerfullNetwork: off}, Properties:"))
    assert fetcher.problems() == ["t.yaml:2: Hello.Metadata.ServerfullNetwork: False must be host or none; correct it"]
