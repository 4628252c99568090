"""Values that only AWS has: functions start with stand-ins, but not for secrets or for values that decide what runs."""

import pytest

from serverfull_wsgi import Settings, create_app
from serverfull_wsgi.domain import EventConfig
from serverfull_wsgi.errors import ResourceConflictException
from serverfull_wsgi.fetchers.sam.fetcher import SamFetcher
from tests.support.servers import serverfull

SETTING = "SERVERFULL_TEMPLATE_PARAMETERS"
TEMPLATE = """
Parameters:
  Domain: {Type: String}
  Subnets: {Type: List<AWS::EC2::Subnet::Id>}
  Ami: {Type: "AWS::SSM::Parameter::Value<String>", Default: /ami}
  Password: {Type: String, NoEcho: true}
  Hidden: {Type: String, NoEcho: true}
  JwtSecret: {Type: String}
  Given: {Type: String, Default: "{{resolve:ssm:/given}}"}
Mappings: {Sizes: {small: {Of: 1}}}
Conditions: {IsHome: !Equals [!Ref Domain, home.example]}
Resources:
  Pool: {Type: AWS::Cognito::UserPool}
  Client: {Type: AWS::Cognito::UserPoolClient}
  Key: {Type: AWS::IAM::AccessKey}
  Secret: {Type: AWS::SecretsManager::Secret}
  Machine: {Type: Custom::Machine}
  Table: {Type: AWS::DynamoDB::Table, Properties: {TableName: !Sub "${Domain}-users"}}
  AtHome: {Type: AWS::SNS::Topic, Condition: IsHome}
  Queue: {Type: AWS::SQS::Queue, Properties: {QueueName: !Ref Domain}}
"""


@pytest.fixture
def load(tmp_path, monkeypatch):
    """Load `TEMPLATE` with functions: ``load(Hello="Timeout: 3", strict=True, values={"Domain": "d"})``."""
    monkeypatch.chdir(tmp_path)

    def load(strict=False, values=None, **functions):
        text = TEMPLATE
        for name, properties in functions.items():
            common = ("Handler: app.handler", "Runtime: python3.11", "CodeUri: .")
            name_of_own = properties.partition(" ")[0]
            own = ", ".join([each for each in common if not each.startswith(name_of_own or "-")] + [properties])
            text += f"  {name}: {{Type: AWS::Serverless::Function, Properties: {{{own}}}}}\n"
        (tmp_path / "t.yaml").write_text(text)
        return SamFetcher("t.yaml", values, strict=strict)

    return load


def variable(value, name="VALUE"):
    return f"Environment: {{Variables: {{{name}: {value}}}}}"


VALUES = [  # value, text that the function gets, name in the setting
    ("!Ref Pool", "unresolved:Pool", "Pool"),
    ("!GetAtt Pool.ProviderName", "unresolved:Pool.ProviderName", "Pool.ProviderName"),
    ('!Sub "https://${Pool}.example/${AWS::Region}"', "https://unresolved:Pool.example/us-east-1", "Pool"),
    ("!GetAtt Table.StreamArn", "unresolved:Table.StreamArn", "Table.StreamArn"),
    ("!GetAtt Machine.Address", "unresolved:Machine.Address", "Machine.Address"),
    ("!ImportValue stack-VpcId", "unresolved:ImportValue.stack-VpcId", "ImportValue.stack-VpcId"),
    ('!ImportValue {"Fn::Sub": "${AWS::StackName}-Url"}', "unresolved:ImportValue.local-Url", "ImportValue.local-Url"),
    ("!Ref Domain", "unresolved:Domain", "Domain"),
    ("!Ref Ami", "unresolved:Ami", "Ami"),
    ('!Join [",", !Ref Subnets]', "unresolved:Subnets", "Subnets"),
    ('!Join [",", !GetAZs ""]', "unresolved:GetAZs", "GetAZs"),
    ('!Select [1, !GetAZs ""]', "unresolved:GetAZs", "GetAZs"),
    ('!Select [2, !Split ["/", !GetAtt Pool.Url]]', "unresolved:Pool.Url", "Pool.Url"),
    ('{"Fn::Base64": !Sub "key=${Domain}"}', "unresolved:Domain", "Domain"),
    ("!FindInMap [Sizes, !Ref Domain, Of]", "unresolved:Domain", "Domain"),
    ("!Ref Table", "unresolved:Domain-users", "Domain"),
    ("!GetAtt Queue.Arn", "arn:aws:sqs:us-east-1:123456789012:unresolved:Domain", "Domain"),
]


@pytest.mark.parametrize(("value", "text", "name"), VALUES)
def test_a_function_starts_with_a_stand_in_and_one_warning_that_names_the_setting(load, value, text, name):
    fetcher = load(Hello=variable(value))
    assert fetcher.problems() == []
    assert fetcher.fetch("Hello").environment == {"VALUE": text}
    (note,) = fetcher.notes()
    assert note.startswith("t.yaml:21: Hello.Environment.Variables.VALUE: ")
    assert note.endswith(f"; 'unresolved:{name}' stands for the value; set {SETTING}='{name}=…'")


@pytest.mark.parametrize(("value", "text", "name"), VALUES)
def test_the_setting_replaces_the_stand_in(load, value, text, name):
    given = {"GetAZs": "a, b", "Domain": "small"}.get(name, "given/it/self")
    fetcher = load(Hello=variable(value), values={name: given})
    assert "unresolved:" not in fetcher.fetch("Hello").environment["VALUE"]
    assert fetcher.notes() == []


@pytest.mark.parametrize(("value", "text", "name"), VALUES)
def test_strict_refuses_the_function(load, value, text, name):
    fetcher = load(Hello=variable(value), strict=True)
    with pytest.raises(ResourceConflictException, match=f"Hello.Environment.Variables.VALUE: .*; set {SETTING}="):
        fetcher.fetch("Hello")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("VALUE", "!Ref Password"),
        ("VALUE", "!Ref Hidden"),
        ("VALUE", '!Sub "db://user:${Hidden}@host"'),
        ("VALUE", "!Ref JwtSecret"),
        ("VALUE", '"{{resolve:secretsmanager:db:SecretString:password}}"'),
        ("VALUE", '!Sub "{{resolve:ssm-secure:${Domain}}}"'),
        ("VALUE", '!Join ["", ["{", "{resolve:ssm:/x}}"]]'),
        ("VALUE", "!Ref Given"),
        ("VALUE", "!GetAtt Key.SecretAccessKey"),
        ("VALUE", "!GetAtt Client.ClientSecret"),
        ("VALUE", "!ImportValue db-password"),
        ("SIGNING_KEY", "!Ref Domain"),
        ("ACCESS_TOKEN", "!GetAtt Machine.Value"),
        ("DB_PASSWORD", "!ImportValue x"),
    ],
)
def test_a_secret_has_no_stand_in(load, name, value):
    fetcher = load(Hello=variable(value, name), Other="")
    (problem,) = fetcher.problems()
    assert problem.startswith(f"t.yaml:21: Hello.Environment.Variables.{name}: ")
    assert "unresolved:" not in problem
    assert fetcher.fetch("Other")
    with pytest.raises(ResourceConflictException):
        fetcher.fetch("Hello")


@pytest.mark.parametrize("name", ["SECRET_ARN", "DB_SECRET"])
def test_the_arn_of_a_secret_is_not_a_secret(load, name):
    assert load(Hello=variable("!Ref Secret", name)).fetch("Hello").environment == {name: "unresolved:Secret"}


@pytest.mark.parametrize(
    ("properties", "path"),
    [
        ("Handler: !Ref Domain", "Handler"),
        ("Runtime: !Ref Domain", "Runtime"),
        ("CodeUri: !Ref Domain", "CodeUri"),
        ('InlineCode: !Sub "x = ${Domain}"', "InlineCode"),
        ("Layers: [!Ref Domain]", "Layers"),
        ("Layers: !Ref Subnets", "Layers"),
        ("Timeout: !Ref Domain", "Timeout"),
        ("MemorySize: !Ref Domain", "MemorySize"),
        ("AutoPublishAlias: !Ref Domain", "AutoPublishAlias"),
        ("PackageType: !Ref Domain", "PackageType"),
        ("EventInvokeConfig: {MaximumRetryAttempts: !Ref Domain}", "EventInvokeConfig.MaximumRetryAttempts"),
        ("Environment: {Variables: !Ref Pool}", "Environment.Variables"),
        (variable("!If [IsHome, a, b]"), "Environment.Variables.VALUE"),
        (variable("!Ref AtHome"), "Environment.Variables.VALUE"),
    ],
)
def test_a_value_that_decides_what_runs_has_no_stand_in(load, properties, path):
    fetcher = load(Hello=properties, Other="")
    assert f"t.yaml:21: Hello.{path}: " in fetcher.problems()[0]
    assert f"set {SETTING}='" in fetcher.problems()[0]
    assert fetcher.fetch("Other")
    with pytest.raises(ResourceConflictException):
        fetcher.fetch("Hello")


def test_a_function_with_a_condition_on_an_unknown_value_cannot_run(tmp_path, load):
    load(Hello="")
    text = (tmp_path / "t.yaml").read_text().replace("Hello: {", "Hello: {Condition: IsHome, ")
    (tmp_path / "t.yaml").write_text(text)
    with pytest.raises(ResourceConflictException, match="parameter 'Domain' has no default"):
        SamFetcher("t.yaml").fetch("Hello")


def test_a_description_may_have_a_stand_in(load):
    assert load(Hello="Description: !Sub 'of ${Domain}'").fetch("Hello").description == "of unresolved:Domain"


def test_a_value_of_many_functions_is_one_warning(load):
    fetcher = load(**{f"F{n}": variable("!Ref Pool") for n in range(6)})
    assert fetcher.notes() == [
        "t.yaml:21: F0.Environment.Variables.VALUE (also F1.Environment.Variables.VALUE, "
        "F2.Environment.Variables.VALUE, F3.Environment.Variables.VALUE, 2 more): Ref Pool has a value at AWS only; "
        f"'unresolved:Pool' stands for the value; set {SETTING}='Pool=…'"
    ]


def test_variables_in_an_intrinsic_function_have_stand_ins_of_their_own(load):
    chosen = "Environment: {Fn::If: [IsHome, {}, {Variables: {AA: !Ref Pool, BB: b, TOKEN: c, CC: !Ref Domain}}]}"
    fetcher = load(Hello=chosen, values={"Domain": "d"})
    assert fetcher.fetch("Hello").environment == {"AA": "unresolved:Pool", "BB": "b", "TOKEN": "c", "CC": "d"}


@pytest.mark.parametrize(
    "properties",
    [
        "DeadLetterQueue: {Type: SQS, TargetArn: !GetAtt Machine.Arn}",
        "DeadLetterQueue: {Type: SQS, TargetArn: !GetAtt Queue.Arn}",
        "EventInvokeConfig: {DestinationConfig: {OnFailure: {Type: SQS, Destination: !ImportValue dead}}}",
        'EventInvokeConfig: {DestinationConfig: {OnSuccess: {Type: Lambda, Destination: !Ref Pool}}}',
        'EventInvokeConfig: {DestinationConfig: {OnSuccess: {Type: SQS, Destination: !Sub "https://${Domain}/"}}}',
    ],
)  # fmt: skip
def test_a_target_with_a_stand_in_is_never_used(load, properties):
    fetcher = load(Hello=properties)
    assert fetcher.fetch("Hello").event_config in (None, EventConfig())
    (note,) = fetcher.notes()
    assert f"; no records are sent to this target; set {SETTING}='" in note


def test_a_target_that_sam_would_create_is_not_used(load):
    properties = "EventInvokeConfig: {MaximumRetryAttempts: 1, DestinationConfig: {OnFailure: {Type: SQS}}}"
    fetcher = load(Hello=properties)
    assert fetcher.fetch("Hello").event_config == EventConfig(1)
    assert fetcher.notes() == [
        "t.yaml:21: Hello.EventInvokeConfig.DestinationConfig.OnFailure: "
        "SAM would create the target; no records are sent to it; give its ARN as Destination"
    ]


def test_a_function_with_an_unknown_name_has_its_logical_id(load):
    fetcher = load(Hello='FunctionName: !Sub "${Domain}-hello"', Other=variable("!GetAtt Hello.Arn"))
    arn = "arn:aws:lambda:us-east-1:123456789012:function:Hello"
    assert fetcher.fetch("Hello").name == "Hello"
    assert fetcher.fetch("Other").environment == {"VALUE": arn}
    assert fetcher.notes() == [
        "t.yaml:21: Hello.FunctionName: parameter 'Domain' has no default; the function's name is 'Hello' here; "
        f"set {SETTING}='Domain=…'"
    ]


def test_an_unknown_name_does_not_take_the_name_of_another_function(load):
    functions = {"Hello": 'FunctionName: !Sub "${Domain}-hello"', "Other": "FunctionName: Hello, Timeout: 9"}
    for names in (["Hello", "Other"], ["Other", "Hello"]):
        fetcher = load(**{name: functions[name] for name in names})
        assert fetcher.fetch("Hello").timeout == 9
        (problem,) = fetcher.problems()
        assert f".FunctionName: parameter 'Domain' has no default; set {SETTING}='Domain=…'" in problem


def test_a_layer_with_an_unknown_name_is_found(tmp_path, load):
    load(Hello="Layers: [!Ref Deps]")
    (tmp_path / "deps").mkdir()
    layer = '{Type: AWS::Serverless::LayerVersion, Properties: {LayerName: !Sub "${Domain}-deps", ContentUri: deps}}'
    with (tmp_path / "t.yaml").open("a") as file:
        file.write(f"  Deps: {layer}\n")
    assert SamFetcher("t.yaml").fetch("Hello").layers == (str(tmp_path / "deps"),)


def test_check_lists_each_stand_in_and_exits_with_0(tmp_path, load):
    load(Hello=f"{variable('!Ref Pool')[:-2]}, OTHER: !GetAtt Pool.Arn}}}}")
    result = serverfull("check", cwd=tmp_path, SERVERFULL_TEMPLATE="t.yaml")
    assert (result.returncode, result.stdout) == (0, "ok: 1 function\n")
    assert f"'unresolved:Pool' stands for the value; set {SETTING}='Pool=…'" in result.stderr
    assert f"'unresolved:Pool.Arn' stands for the value; set {SETTING}='Pool.Arn=…'" in result.stderr
    result = serverfull("check", cwd=tmp_path, SERVERFULL_TEMPLATE="t.yaml", SERVERFULL_TEMPLATE_STRICT="true")
    assert result.returncode == 1
    assert "unresolved:" not in result.stderr


@pytest.mark.parametrize(("strict", "runs"), [("true", False), ("false", True)])
def test_a_setting_refuses_stand_ins(load, strict, runs):
    load(Hello=variable("!Ref Pool"))
    settings = {"SERVERFULL_TEMPLATE": "t.yaml", "SERVERFULL_TEMPLATE_STRICT": strict}
    fetcher = create_app(Settings.from_mapping(settings)).dispatcher.fetcher
    assert [function.name for function in fetcher.functions()] == (["Hello"] if runs else [])


@pytest.mark.parametrize("name", ["ImportValue.other", "Nothing", "HelloNothing"])
def test_a_value_for_a_name_that_the_template_does_not_use_is_refused(load, name):
    with pytest.raises(Exception, match=f"t.yaml has no '{name}'"):
        load(Hello=variable("!ImportValue mine"), values={name: "x"})
