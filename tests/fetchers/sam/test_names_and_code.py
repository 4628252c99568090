"""Names that SAM generates, code in one file, and layers at AWS that a setting maps to folders."""

import os
import re
import stat
import zipfile

import pytest

from serverfull_wsgi import Application, ConfigurationError, Settings, create_app
from serverfull_wsgi.errors import ResourceConflictException
from serverfull_wsgi.executors.isolated.executor import ProcessExecutor
from serverfull_wsgi.fetchers.sam.fetcher import SamFetcher
from serverfull_wsgi.fetchers.sam.parameters import parse_layers
from tests.support.hosts import InProcess
from tests.support.isolated import needs_client

HELLO = "arn:aws:lambda:us-east-1:123456789012:function:Hello"
TEMPLATE = """
Globals: {Function: {Runtime: python3.11, Handler: app.handler, CodeUri: .}}
Resources:
  Hello:
    Type: AWS::Serverless::Function
    Properties:
      AutoPublishAlias: live
      FunctionUrlConfig: {AuthType: NONE}
      Events:
        Get: {Type: Api, Properties: {Path: /, Method: get}}
        Daily: {Type: Schedule, Properties: {Schedule: rate(1 day)}}
      EventInvokeConfig: {DestinationConfig: {OnFailure: {Type: SQS}}}
  Bare: {Type: AWS::Serverless::Function, Properties: {Role: arn:role}}
  Plain: {Type: AWS::Lambda::Function, Properties: {Handler: app.handler, Runtime: python3.11, Code: .}}
  Own: {Type: AWS::Serverless::Api, Properties: {StageName: beta}}
  Http: {Type: AWS::Serverless::HttpApi}
  User: {Type: AWS::Serverless::Function, Properties: {Environment: {Variables: {VALUE: %s}}}}
"""


@pytest.fixture
def value(tmp_path, monkeypatch):
    """Return the text that a function gets for a value: ``value("!Ref HelloRole")``."""
    monkeypatch.chdir(tmp_path)

    def value(written, **given):
        (tmp_path / "t.yaml").write_text(TEMPLATE % written)
        return SamFetcher("t.yaml", given).fetch("User").environment["VALUE"]

    return value


@pytest.mark.parametrize(
    ("written", "text"),
    [
        ("!Ref Hello.Alias", f"{HELLO}:live"),
        ('!Sub "${Hello.Alias}/x"', f"{HELLO}:live/x"),
        ("!Ref HelloAliaslive", f"{HELLO}:live"),
        ("!GetAtt HelloAliaslive.AliasArn", f"{HELLO}:live"),
        ("!Ref Hello.Version", f"{HELLO}:1"),
        ("!GetAtt Hello.Version.Version", "1"),
        ("!Ref HelloRole", "HelloRole"),
        ("!GetAtt HelloRole.Arn", "arn:aws:iam::123456789012:role/HelloRole"),
        ('!Sub "${HelloRole.Arn}"', "arn:aws:iam::123456789012:role/HelloRole"),
        ("!GetAtt HelloRole.RoleId", "unresolved:HelloRole.RoleId"),
        ("!Ref HelloUrl", HELLO),
        ("!GetAtt HelloUrl.FunctionArn", HELLO),
        ("!GetAtt HelloUrl.FunctionUrl", "unresolved:HelloUrl.FunctionUrl"),
        ("!Ref HelloDaily", "unresolved:HelloDaily"),
        ("!GetAtt HelloDaily.Arn", "unresolved:HelloDaily.Arn"),
        ("!Ref Hello.DestinationQueue", "unresolved:Hello.DestinationQueue"),
        ("!Ref ServerlessRestApi", "unresolved:ServerlessRestApi"),
        ("!GetAtt ServerlessRestApi.RootResourceId", "unresolved:ServerlessRestApi.RootResourceId"),
        ("!Ref ServerlessRestApi.Stage", "Prod"),
        ("!Ref ServerlessRestApiProdStage", "Prod"),
        (
            '!Sub "https://${ServerlessRestApi}.execute-api.${AWS::Region}.amazonaws.com/Prod/"',
            "https://unresolved:ServerlessRestApi.execute-api.us-east-1.amazonaws.com/Prod/",
        ),
        ("!Ref ServerlessHttpApi", "unresolved:ServerlessHttpApi"),
        ("!GetAtt ServerlessHttpApi.ApiEndpoint", "unresolved:ServerlessHttpApi.ApiEndpoint"),
        ("!Ref ServerlessHttpApi.Stage", "$default"),
        ("!Ref Own.Stage", "beta"),
        ('!Sub "${Own.Stage}"', "beta"),
        ("!Ref Http.Stage", "$default"),
        ("!Ref Own.Deployment", "unresolved:Own.Deployment"),
    ],
)
def test_a_name_that_sam_generates_resolves(value, written, text):
    assert value(written) == text


@pytest.mark.parametrize("written", ["!Ref BareRole", "!Ref BareUrl", "!Ref Bare.Alias", "!Ref PlainRole", "!Ref Nope"])
def test_a_name_that_sam_does_not_generate_is_a_problem(value, written):
    with pytest.raises(ResourceConflictException, match=f"there is no parameter or resource '{written.split()[1]}'"):
        value(written)


@pytest.mark.parametrize(
    ("written", "given", "text"),
    [
        ("!GetAtt HelloRole.Arn", {"HelloRole": "hello-1X"}, "arn:aws:iam::123456789012:role/hello-1X"),
        ("!Ref HelloRole", {"HelloRole": "hello-1X"}, "hello-1X"),
        ("!Ref ServerlessRestApi", {"ServerlessRestApi": "a1"}, "a1"),
        ("!GetAtt HelloUrl.FunctionUrl", {"HelloUrl.FunctionUrl": "http://h/"}, "http://h/"),
        ("x", {"ServerlessHttpApi": "unused"}, "x"),
    ],
)
def test_the_setting_gives_generated_names_values(value, written, given, text):
    assert value(written, **given) == text


def test_a_generated_role_is_noted(value, tmp_path):
    value("!GetAtt HelloRole.Arn")
    (note,) = [line for line in SamFetcher("t.yaml").notes() if "Hello.Role" in line]
    assert note == (
        "t.yaml:4: Hello.Role: is missing, so AWS would generate a role; the name here is 'HelloRole'; "
        "set SERVERFULL_TEMPLATE_PARAMETERS='HelloRole=…' for another name"
    )


# Code in one file


def load(folder, code, **layers):
    (folder / "t.yaml").write_text(
        f"Resources: {{Hello: {{Type: AWS::Serverless::Function, Properties: {{Handler: app.handler, Runtime: "
        f"python3.11, CodeUri: {code}, Layers: [{', '.join(layers.pop('names', []))}]}}}}}}"
    )
    return SamFetcher(str(folder / "t.yaml"), **layers)


@needs_client
def test_code_in_one_file_runs(tmp_path):
    (tmp_path / "src").mkdir()
    (tmp_path / "src/app.py").write_text("import os\ndef handler(event, context): return sorted(os.listdir())")
    (tmp_path / "src/other.py").touch()
    executor = ProcessExecutor()
    try:
        host = InProcess(Application(load(tmp_path, "src/app.py"), executor=executor))
        assert host.request("POST", "/2015-03-31/functions/Hello/invocations", b"", {}).json[-1:] == ["app.py"]
    finally:
        executor.close()


@pytest.mark.parametrize("name", ["bootstrap", "app.py", "code"])
def test_one_file_is_copied_with_its_mode(tmp_path, name):
    (tmp_path / name).write_text("#!/bin/sh")
    (tmp_path / name).chmod(0o755)
    code = load(tmp_path, name).fetch("Hello").code
    assert os.listdir(code) == [name]
    assert stat.S_IMODE(os.stat(f"{code}/{name}").st_mode) == 0o755


def test_a_link_to_one_file_is_followed(tmp_path):
    (tmp_path / "real.py").write_text("x = 1")
    (tmp_path / "app.py").symlink_to("real.py")
    code = load(tmp_path, "app.py").fetch("Hello").code
    assert not os.path.islink(f"{code}/app.py")


def test_an_archive_without_the_suffix_is_unpacked(tmp_path):
    with zipfile.ZipFile(tmp_path / "code", "w") as archive:
        archive.writestr("app.py", "")
    assert os.listdir(load(tmp_path, "code").fetch("Hello").code) == ["app.py"]


@pytest.mark.parametrize(
    ("name", "make", "reason"),
    [
        ("code.zip", lambda path: path.write_text("x"), "not a valid zip archive"),
        ("pipe", os.mkfifo, "it is not a directory, a file or a zip archive"),
    ],
)
def test_a_file_that_is_no_code_is_refused(tmp_path, name, make, reason):
    make(tmp_path / name)
    (problem,) = load(tmp_path, name).problems()
    assert reason in problem


# Assets of CDK

CDK = """
Resources:
  Fn: {Type: AWS::Lambda::Function, Metadata: %s, Properties: {
    Runtime: python3.11, Handler: app.handler, Code: {S3Bucket: {"Fn::Sub": "cdk-${AWS::Region}"}, S3Key: 1f8d.zip},
    Layers: [!Ref Layer]}}
  Layer: {Type: AWS::Lambda::LayerVersion, Metadata: {aws:asset:path: asset.2a, aws:asset:property: Content},
    Properties: {Content: {S3Bucket: cdk, S3Key: 2a.zip}}}
"""


def cdk(folder, metadata):
    (folder / "asset.1f8d").mkdir()
    (folder / "asset.2a").mkdir()
    (folder / "asset.1f8d/app.py").touch()
    with zipfile.ZipFile(folder / "asset.3c.zip", "w") as archive:
        archive.writestr("zipped.py", "")
    (folder / "Stack.template.json").write_text(CDK % metadata)
    return SamFetcher(folder / "Stack.template.json")


@pytest.mark.parametrize("asset", ["asset.1f8d", "asset.3c.zip"])
def test_assets_of_cdk_are_code_and_layers(tmp_path, asset):
    (function,) = cdk(tmp_path, f"{{aws:asset:path: {asset}, aws:asset:property: Code}}").functions()
    assert os.listdir(function.code) == (["app.py"] if asset == "asset.1f8d" else ["zipped.py"])
    assert function.layers == (str(tmp_path / "asset.2a"),)


@pytest.mark.parametrize(
    ("metadata", "reason"),
    [
        ("{aws:asset:path: asset.9, aws:asset:property: Code}", "'asset.9' does not exist; .* or run 'cdk synth'"),
        ("{aws:asset:path: asset.1f8d, aws:asset:property: Other}", "code in S3 is not supported"),
        ("{aws:asset:path: [asset.1f8d], aws:asset:property: Code}", "code in S3 is not supported"),
        ("{aws:asset:property: Code}", "code in S3 is not supported"),
        ("[aws:asset:path]", "code in S3 is not supported"),
    ],
)
def test_a_function_of_cdk_without_its_asset_is_refused(tmp_path, metadata, reason):
    (problem,) = cdk(tmp_path, metadata).problems()
    assert re.search(rf"Fn\.Code: {reason}", problem)


# Layers at AWS

TOOLS = "arn:aws:lambda:us-east-1:017000801446:layer:Tools"


@pytest.mark.parametrize("arn", [f"{TOOLS}:3", TOOLS])
def test_a_layer_at_aws_is_a_folder_by_its_arn(tmp_path, arn):
    (tmp_path / "tools").mkdir()
    fetcher = load(tmp_path, ".", names=[f"{TOOLS}:3"], layers={arn: str(tmp_path / "tools")})
    assert fetcher.fetch("Hello").layers == (str(tmp_path / "tools"),)
    assert fetcher.notes() == []


def test_the_arn_with_the_version_has_precedence(tmp_path):
    for name in "ab":
        (tmp_path / name).mkdir()
    layers = {TOOLS: str(tmp_path / "a"), f"{TOOLS}:3": str(tmp_path / "b")}
    assert load(tmp_path, ".", names=[f"{TOOLS}:3"], layers=layers).fetch("Hello").layers == (str(tmp_path / "b"),)


def test_a_layer_at_aws_may_be_an_archive(tmp_path):
    with zipfile.ZipFile(tmp_path / "tools.zip", "w") as archive:
        archive.writestr("python/tools.py", "")
    (layer,) = (
        load(tmp_path, ".", names=[f"{TOOLS}:3"], layers={TOOLS: str(tmp_path / "tools.zip")}).fetch("Hello").layers
    )
    assert os.listdir(layer) == ["python"]


def test_a_layer_that_does_not_exist_stops_its_function_only(tmp_path):
    (problem,) = load(tmp_path, ".", names=[f"{TOOLS}:3"], layers={TOOLS: "/no/such"}).problems()
    assert problem.endswith(
        "Hello.Layers: '/no/such', which SERVERFULL_LAYERS names, cannot be used: it does not exist; "
        "name an existing folder, file or zip archive"
    )


def test_an_unmapped_layer_names_the_setting(tmp_path):
    (problem,) = load(tmp_path, ".", names=[f"{TOOLS}:3"]).problems()
    assert problem.endswith(f"unpack it into a folder, and set SERVERFULL_LAYERS='{TOOLS}:3=FOLDER'")


def test_a_layer_that_no_function_has_is_noted(tmp_path):
    assert load(tmp_path, ".", layers={TOOLS: str(tmp_path)}).notes() == [
        f"SERVERFULL_LAYERS: no function has the layer '{TOOLS}'; correct the ARN, or remove the entry"
    ]


def test_the_setting_maps_layers(tmp_path, monkeypatch):
    (tmp_path / "tools").mkdir()
    load(tmp_path, ".", names=[f"{TOOLS}:3"])
    monkeypatch.chdir(tmp_path)
    settings = {"SERVERFULL_TEMPLATE": "t.yaml", "SERVERFULL_LAYERS": f"{TOOLS}:3=tools"}
    fetcher = create_app(Settings.from_mapping(settings)).dispatcher.fetcher
    assert fetcher.fetch("Hello").layers == (str(tmp_path / "tools"),)


def test_the_setting_without_a_template_has_no_effect(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    create_app(Settings.from_mapping({"SERVERFULL_LAYERS": f"{TOOLS}=x"}))
    assert "SERVERFULL_LAYERS has no effect: there is no template" in capsys.readouterr().out


@pytest.mark.parametrize("text", ["Tools=x", f"{TOOLS}=", f"{TOOLS}:latest=x", "arn:aws:s3:::bucket=x", TOOLS])
def test_an_entry_that_is_not_a_layer_is_refused(text):
    with pytest.raises(ConfigurationError, match=r"SERVERFULL_LAYERS: .* must be"):
        parse_layers(text)
