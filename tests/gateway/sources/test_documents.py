"""OpenAPI documents of APIs in files: where they are read, and what happens to the routes if they cannot be read."""

import json

import pytest

pytest.importorskip("yaml")

from serverfull_wsgi import ConfigurationError, SamFetcher
from serverfull_wsgi.gateway.sources.templates import TemplateSites

pytestmark = pytest.mark.quick

URI = "arn:aws:apigateway:us-east-1:lambda:path/2015-03-31/functions/{}/invocations"
ARN = "arn:aws:lambda:us-east-1:123456789012:function:Pets"


def document(uri, version, path="/pets"):
    operation = {"x-amazon-apigateway-integration": {"type": "aws_proxy", "uri": uri}}
    return {**version, "paths": {path: {"get": operation}}}


OPENAPI, SWAGGER = {"openapi": "3.0.1"}, {"swagger": "2.0"}
YAML = """
openapi: 3.0.1
paths:
  /pets:
    get:
      x-amazon-apigateway-integration: {type: aws_proxy, uri: !Sub "${Pets.Arn}/invocations"}
"""
FILES = {
    "openapi.json": json.dumps(document(URI.format(ARN), OPENAPI)),
    "swagger.json": json.dumps(document({"Fn::Sub": URI.format("${Pets.Arn}")}, SWAGGER)),
    "docs/openapi.yaml": YAML,
    "list.yaml": "[1, 2]",
    "broken.yaml": "paths: {",
    "broken.json": '{"paths": ',
    "latin.yaml": b"title: \xff",
    "secured.yaml": YAML + "x-amazon-apigateway-policy: {}\n",
}


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "docs").mkdir()
    for name, content in FILES.items():
        (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return tmp_path


@pytest.fixture
def read(folder):
    def read(type, properties):
        rest = "RestApiId" if type.endswith(("RestApi", "::Api")) and "V2" not in type else "ApiId"
        event = "Api" if rest == "RestApiId" else "HttpApi"
        events = f"{{A: {{Type: {event}, Properties: {{Path: /own, Method: GET, {rest}: !Ref Shop}}}}}}"
        (folder / "template.yaml").write_text(
            f"Parameters: {{Unknown: {{Type: String}}, File: {{Type: String, Default: openapi.json}}}}\n"
            f"Resources:\n  Shop: {{Type: {type}, Properties: {{{properties}}}}}\n"
            "  Pets:\n    Type: AWS::Serverless::Function\n    Properties:\n"
            "      Handler: app.handler\n      Runtime: python3.12\n      InlineCode: 'def handler(*_): return 1'\n"
            + (f"      Events: {events}\n" if "Serverless" in type else "")
        )
        fetcher = SamFetcher(str(folder / "template.yaml"))
        return fetcher, TemplateSites(fetcher)

    return read


INCLUDE = "{{Fn::Transform: {{Name: AWS::Include, Parameters: {{Location: {}}}}}}}"
SERVERLESS = ("AWS::Serverless::Api", "AWS::Serverless::HttpApi")
PLAIN = ("AWS::ApiGateway::RestApi", "AWS::ApiGatewayV2::Api")


@pytest.mark.parametrize("name", ["openapi.json", "./swagger.json", "docs/openapi.yaml", "docs/../openapi.json"])
@pytest.mark.parametrize(
    ("types", "form"),
    [
        (SERVERLESS, "DefinitionUri: {}"),
        (SERVERLESS, f"DefinitionBody: {INCLUDE}"),
        (PLAIN, "BodyS3Location: {}"),
        (PLAIN, f"Body: {INCLUDE}"),
    ],
)
def test_a_file_beside_the_template_has_routes(types, form, name, read):
    for type in types:
        _, found = read(type, form.format(name))
        (site,) = found.sites
        assert site.endpoints["GET /pets"].route.function == "Pets"
        assert not site.endpoints["GET /pets"].access.unsupported
        assert found.warnings == []


def test_an_absolute_path_and_a_parameter_name_a_file_too(folder, read):
    for location in (str(folder / "openapi.json"), "!Ref File"):
        _, found = read("AWS::Serverless::Api", f"DefinitionUri: {location}")
        assert "GET /pets" in found.sites[0].endpoints


def test_members_beside_an_include_belong_to_the_document(read):
    transform = "Fn::Transform: {Name: AWS::Include, Parameters: {Location: openapi.json}}"
    cors = "x-amazon-apigateway-cors: {allowOrigins: ['*']}"
    _, found = read("AWS::Serverless::HttpApi", f"DefinitionBody: {{{transform}, {cors}}}")
    assert (found.sites[0].cors.origins, found.sites[0].endpoints["GET /pets"].route.function) == (("*",), "Pets")


UNREADABLE = [  # the property, the end of the warning
    ("DefinitionUri: nothing.yaml", "/nothing.yaml: No such file or directory; name an OpenAPI document"),
    ("DefinitionUri: docs", "/docs: Is a directory; name an OpenAPI document"),
    ("DefinitionUri: list.yaml", "/list.yaml:1: a document must be a mapping; name an OpenAPI document"),
    ("DefinitionUri: broken.yaml", ": not valid YAML: "),
    ("DefinitionUri: broken.json", "/broken.json:1: not valid JSON"),
    ("DefinitionUri: latin.yaml", "/latin.yaml:1: the file must be UTF-8 text, and byte 7 is not"),
    ("DefinitionUri: s3://bucket/key", "'s3://bucket/key' is at AWS; name a file of this machine"),
    ("DefinitionUri: {Bucket: a, Key: b}", "the location is at AWS; name a file of this machine"),
    ("DefinitionUri: !Ref Unknown", "the location is at AWS; name a file of this machine"),
    ("DefinitionBody: {Fn::Transform: {Name: AWS::Include}}", "the location is at AWS"),
    ("DefinitionBody: {Fn::Transform: {Name: Mine}}", "the macro 'Mine' is not run"),
    ("DefinitionBody: {Fn::Transform: [x]}", "the macro None is not run"),
    (
        "DefinitionBody: {paths: {}, Fn::Transform: {Name: AWS::Include, Parameters: {Location: openapi.json}}}",
        "both have 'paths'; remove one",
    ),
]


@pytest.mark.parametrize(("property", "message"), UNREADABLE)
def test_a_document_that_cannot_be_read_refuses_the_routes_and_has_a_warning(property, message, read):
    _, found = read("AWS::Serverless::Api", property)
    assert found.sites[0].endpoints["GET /own"].access.unsupported
    assert message in "\n".join(found.warnings)
    assert ": Shop.Definition" in "\n".join(found.warnings)


def test_a_document_at_aws_refuses_the_routes_of_resources(read):
    _, found = read("AWS::ApiGateway::RestApi", "BodyS3Location: {Bucket: b, Key: k}")
    assert found.sites == []
    assert "Shop.BodyS3Location: the location is at AWS" in "\n".join(found.warnings)


@pytest.mark.parametrize("property", ["DefinitionUri: deep.json", "DefinitionUri: deep.yaml"])
def test_a_document_that_is_nested_too_deeply_refuses_the_start(property, folder, read):
    for name in ("deep.json", "deep.yaml"):
        (folder / name).write_text(f'{{"paths": {"[" * 20_000}{"]" * 20_000}}}')
    with pytest.raises(ConfigurationError, match="an API is nested too deeply; write it flatter"):
        read("AWS::Serverless::Api", property)


def test_a_condition_in_a_file_is_a_condition(read):
    _, found = read("AWS::Serverless::Api", "DefinitionUri: secured.yaml")
    assert {endpoint.access.unsupported for endpoint in found.sites[0].endpoints.values()} == {
        "x-amazon-apigateway-policy"
    }


def test_the_files_are_watched_even_if_they_do_not_exist_yet(folder, read):
    fetcher, _ = read("AWS::Serverless::Api", "DefinitionUri: nothing.yaml")
    assert str(folder / "nothing.yaml") in fetcher.watched_paths()
