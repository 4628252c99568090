"""Versions and aliases that are resources of their own, as in templates of CDK."""

import pytest

from serverfull_wsgi.errors import NotFoundError
from serverfull_wsgi.fetchers.sam.fetcher import SamFetcher

ARN = "arn:aws:lambda:us-east-1:123456789012:function:Hello"
TEMPLATE = """
Resources:
  Hello:
    Type: AWS::Lambda::Function
    Properties:
      Handler: app.handler
      Runtime: python3.11
      Code: .
      SnapStart: {ApplyOn: PublishedVersions}
  Now: {Type: AWS::Lambda::Version, Properties: {FunctionName: !Ref Hello}}
"""
LIVE = "{FunctionName: !Ref Hello, FunctionVersion: !GetAtt Now.Version, Name: live}"


@pytest.fixture
def load(tmp_path, monkeypatch):
    """Load `TEMPLATE` with the properties of an alias, and other YAML."""
    monkeypatch.chdir(tmp_path)

    def load(alias=LIVE, more="", **options):
        text = f"{TEMPLATE}  Live: {{Type: AWS::Lambda::Alias, Properties: {alias}}}\n{more}"
        (tmp_path / "t.yaml").write_text(text)
        return SamFetcher("t.yaml", **options)

    return load


@pytest.mark.parametrize("strict", [False, True])
def test_an_alias_and_its_version_are_served(load, strict):
    fetcher = load(strict=strict)
    assert fetcher.fetch("Hello", "live") == fetcher.fetch("Hello", "1")
    assert fetcher.fetch("Hello", "live").version == "1"
    assert fetcher.fetch("Hello").version == "$LATEST"
    assert fetcher.problems() == fetcher.notes() == []


@pytest.mark.parametrize("function", ["!GetAtt Hello.Arn", "Hello", f"'{ARN}'", "!Sub '${Hello.Arn}'"])
def test_the_function_of_an_alias_may_be_a_name_or_an_arn(load, function):
    fetcher = load(f"{{FunctionName: {function}, FunctionVersion: '1', Name: live}}")
    assert fetcher.aliases() == {"Hello:live": "1"}


def test_an_alias_may_be_of_the_latest_state(load):
    fetcher = load("{FunctionName: !Ref Hello, FunctionVersion: $LATEST, Name: dev}")
    assert fetcher.fetch("Hello", "dev").version == "$LATEST"


def test_a_version_without_an_alias_is_served(load):
    assert load("{}").fetch("Hello", "1").snap_start


@pytest.mark.parametrize(
    ("written", "text"),
    [
        ("!Ref Live", f"{ARN}:live"),
        ("!GetAtt Live.AliasArn", f"{ARN}:live"),
        ("!Ref Now", f"{ARN}:1"),
        ("!GetAtt Now.FunctionArn", f"{ARN}:1"),
        ("!Sub '${Now.Version}'", "1"),
    ],
)
def test_references_to_versions_and_aliases_have_values(load, written, text):
    user = f"Handler: app.handler, Runtime: python3.11, Code: ., Environment: {{Variables: {{VALUE: {written}}}}}"
    fetcher = load(more=f"  User: {{Type: AWS::Lambda::Function, Properties: {{{user}}}}}\n", strict=True)
    assert fetcher.fetch("User").environment == {"VALUE": text}


@pytest.mark.parametrize(
    ("alias", "reason"),
    [
        (
            "{FunctionName: !Ref Hello, FunctionVersion: '7', Name: live}",
            "the FunctionVersion '7' is at AWS only; refer to an AWS::Lambda::Version of this template, or to $LATEST",
        ),
        (
            "{FunctionName: !Ref Hello, FunctionVersion: '1', Name: '12'}",
            "the Name '12' must be letters, digits, '-' and '_', and not a number; correct it",
        ),
        (
            "{FunctionName: !Ref Gone, FunctionVersion: '1', Name: live}",
            "FunctionName: there is no parameter or resource 'Gone'; ",
        ),
        ("{}", "FunctionName: must be text, not null; write text; "),
    ],
)
def test_an_alias_that_cannot_be_served_is_a_warning(load, alias, reason):
    fetcher = load(alias)
    (note,) = fetcher.notes()
    assert note.startswith(f"t.yaml:11: Live: {reason}")
    assert note.endswith("the function cannot be called with this alias")
    with pytest.raises(NotFoundError):
        fetcher.fetch("Hello", "live")


def test_weights_and_provisioned_concurrency_of_an_alias_are_warnings(load):
    more = "RoutingConfig: {AdditionalVersionWeights: []}, ProvisionedConcurrencyConfig: {}"
    fetcher = load(f"{LIVE[:-1]}, {more}}}")
    assert [note.partition(";")[0] for note in fetcher.notes()] == [
        "t.yaml:11: Live.RoutingConfig: a template has one state of the code, so all calls go to FunctionVersion",
        "t.yaml:11: Live.ProvisionedConcurrencyConfig: only AWS::Serverless::Function provisions concurrency",
    ]


def test_an_alias_of_a_function_elsewhere_adds_nothing(load):
    assert load("{FunctionName: Elsewhere, FunctionVersion: $LATEST, Name: live}").aliases() == {}


def test_a_version_that_cannot_be_served_is_a_warning(load):
    more = "  Other: {Type: AWS::Lambda::Version, Properties: {FunctionName: !Ref Gone}}\n"
    (note,) = load(more=more).notes()
    assert note.startswith("t.yaml:12: Other: FunctionName: there is no parameter or resource 'Gone'")
    assert note.endswith("the function cannot be called with this version")
