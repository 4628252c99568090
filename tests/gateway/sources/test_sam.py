"""APIs and function URLs of SAM templates: which routes there are, and which of them refuse their requests."""

import pytest

pytest.importorskip("yaml")

from serverfull_wsgi import ConfigurationError, SamFetcher
from serverfull_wsgi.gateway.access import Access, JwtAuthorizer, LambdaAuthorizer
from serverfull_wsgi.gateway.missing_functions import missing_functions
from serverfull_wsgi.gateway.sources.templates import TemplateSites

FUNCTION = """
  Pets:
    Type: AWS::Serverless::Function
    Properties:
      Handler: app.handler
      Runtime: python3.12
      InlineCode: "def handler(event, context): return event"
"""


@pytest.fixture
def sites_of(tmp_path):
    def read(function, resources="", globals="", parameters=None):
        template = tmp_path / "template.yaml"
        body = f"Transform: AWS::Serverless-2016-10-31\n{globals}\nResources:\n{resources}{FUNCTION}"
        template.write_text(body + "".join(f"      {line}\n" for line in function.strip("\n").splitlines()))
        return TemplateSites(SamFetcher(str(template), parameters))

    return read


def routes(site):
    return {key: endpoint.route.function for key, endpoint in site.endpoints.items()}


EVENTS = [  # type, properties, kind, names, route, stage in the path
    ("Api", "{Path: /pets, Method: get}", "REST API", ("ServerlessRestApi",), "GET /pets", "Prod"),
    ("Api", "{Path: /pets/, Method: any}", "REST API", ("ServerlessRestApi",), "ANY /pets", "Prod"),
    ("Api", "{Path: /, Method: POST}", "REST API", ("ServerlessRestApi",), "POST /", "Prod"),
    ("HttpApi", "{Path: '/{proxy+}', Method: ANY}", "HTTP API", ("ServerlessHttpApi",), "ANY /{proxy+}", ""),
    ("HttpApi", "{Path: /pets}", "HTTP API", ("ServerlessHttpApi",), "ANY /pets", ""),
    ("HttpApi", "{}", "HTTP API", ("ServerlessHttpApi",), "$default", ""),
]


@pytest.mark.parametrize(("type", "properties", "kind", "names", "route", "stage"), EVENTS)
def test_an_event_without_an_api_is_a_route_of_the_implicit_api(type, properties, kind, names, route, stage, sites_of):
    found = sites_of(f"Events: {{A: {{Type: {type}, Properties: {properties}}}}}")
    (site,) = found.sites
    assert (site.kind, site.names, routes(site), site.stage) == (kind, names, {route: "Pets"}, stage)
    assert found.warnings == []


def test_an_event_without_properties_is_the_default_route_of_an_http_api(sites_of):
    (site,) = sites_of("Events: {A: {Type: HttpApi}}").sites
    assert routes(site) == {"$default": "Pets"}


API = """
  Shop:
    Type: AWS::Serverless::Api
    Properties: {StageName: !Ref Stage, Name: shop-api, BinaryMediaTypes: [image~1png], Variables: {table: pets}}
"""


def test_an_api_of_the_template_gives_stage_names_and_types(sites_of):
    found = sites_of(
        "AutoPublishAlias: live\nEvents: {A: {Type: Api, Properties: {Path: /a, Method: GET, RestApiId: !Ref Shop}}}",
        API,
        "Parameters: {Stage: {Type: String, Default: dev}}",
    )
    (site,) = found.sites
    stage = site.endpoints["GET /a"].route.stage
    assert (site.names, site.stage, routes(site)) == (("Shop", "shop-api"), "dev", {"GET /a": "Pets:live"})
    assert (stage.name, list(stage.binary_media_types), dict(stage.variables)) == (
        "dev",
        ["image/png"],
        {"table": "pets"},
    )


def test_binary_media_types_are_those_of_the_api_and_of_its_document(sites_of):
    document = "{x-amazon-apigateway-binary-media-types: ['image/*']}"
    (site,) = sites_of(
        "Events: {A: {Type: Api, Properties: {Path: /a, Method: GET, RestApiId: !Ref Shop}}}",
        "\n  Shop:\n    Type: AWS::Serverless::Api\n"
        f"    Properties: {{StageName: dev, BinaryMediaTypes: [a~1b], DefinitionBody: {document}}}\n",
    ).sites
    assert list(site.endpoints["GET /a"].route.stage.binary_media_types) == ["a/b", "image/*"]


def test_payload_version_and_timeout_are_those_of_the_event(sites_of):
    properties = "{Path: /a, Method: GET, PayloadFormatVersion: '1.0', TimeoutInMillis: 5000}"
    (site,) = sites_of(f"Events: {{A: {{Type: HttpApi, Properties: {properties}}}}}").sites
    endpoint = site.endpoints["GET /a"]
    assert (endpoint.format.__name__.rpartition(".")[2], endpoint.timeout) == ("http_v1", 5.0)


def test_a_function_url_has_the_names_of_its_function(sites_of):
    found = sites_of(
        "FunctionName: pets-fn\nFunctionUrlConfig: {AuthType: NONE, Cors: {AllowOrigins: ['https://a.example'], "
        "AllowMethods: [GET], MaxAge: 300, AllowCredentials: true}}"
    )
    (site,) = found.sites
    assert (site.kind, site.names, routes(site)) == (
        "function URL",
        ("pets-fn", "Pets"),
        {"$default": "pets-fn"},
    )
    assert (site.cors.origins, site.cors.methods, site.cors.max_age, site.cors.is_credentialed) == (
        ("https://a.example",),
        ("GET",),
        300,
        True,
    )


def test_the_url_of_an_alias_and_the_url_of_its_function_have_names_of_their_own(sites_of):
    found = sites_of(
        "AutoPublishAlias: live\nFunctionUrlConfig: {AuthType: NONE}",
        "\n  Latest: {Type: AWS::Lambda::Url, Properties: {TargetFunctionArn: !GetAtt Pets.Arn, AuthType: NONE}}\n",
    )
    assert [(site.names, routes(site)) for site in found.sites] == [
        (("Pets:live", "PetsUrl"), {"$default": "Pets:live"}),
        (("Pets", "Latest"), {"$default": "Pets"}),
    ]


AUTH = "DefaultAuthorizer: Mine, Authorizers: {Mine: {FunctionArn: !GetAtt Pets.Arn}}, ApiKeyRequired: true"


@pytest.mark.parametrize(
    ("more", "is_authorized", "needs_api_key"),
    [
        ("", True, True),
        (", AddDefaultAuthorizerToCorsPreflight: false", False, True),
        (", AddApiKeyRequiredToCorsPreflight: 'false'", True, False),
    ],
)
def test_a_preflight_has_the_conditions_of_the_api_unless_it_says_otherwise(
    more, is_authorized, needs_api_key, sites_of
):
    found = sites_of(
        "Events: {A: {Type: Api, Properties: {Path: /a, Method: GET}}}",
        globals=f"Globals: {{Api: {{Cors: \"'*'\", Auth: {{{AUTH}{more}}}}}}}",
    )
    access = found.sites[0].endpoints["OPTIONS /a"].access
    assert (access.authorizer is not None, access.needs_api_key) == (is_authorized, needs_api_key)
    assert found.sites[0].endpoints["GET /a"].access.needs_api_key


def test_a_preflight_of_an_api_with_a_condition_that_is_not_supported_refuses(sites_of):
    found = sites_of(
        "Events: {A: {Type: Api, Properties: {Path: /a, Method: GET}}}",
        globals="Globals: {Api: {Cors: \"'*'\", Auth: {ResourcePolicy: {}}}}",
    )
    assert found.sites[0].endpoints["OPTIONS /a"].access.unsupported


def unsupported(found):
    (site,) = found.sites
    (endpoint,) = site.endpoints.values()
    return endpoint.access.unsupported


RESTRICTED = [  # the function's property, the resources, Globals
    ("FunctionUrlConfig: {Cors: {}}", "", ""),
    ("FunctionUrlConfig: {AuthType: !Ref Unknown}", "", ""),
    ("FunctionUrlConfig: {AuthType: NONE, AuthTyp: AWS_IAM}", "", ""),
    ("Events: {A: {Type: Api, Properties: {Path: /a, Method: GET, Auth: {Authoriser: Mine}}}}", "", ""),
    ("Events: {A: {Type: HttpApi, Properties: {Path: /a, Method: GET, Authorizer: Mine}}}", "", ""),
    ("Events: {A: {Type: Api, Properties: {Path: /a, Method: GET, Auth: {Authorizer: Mine}}}}", "", ""),
    ("Events: {A: {Type: Api, Properties: {Path: /a, Method: GET, Auth: {Authorizer: !Ref Unknown}}}}", "", ""),
    ("Events: {A: {Type: Api, Properties: {Path: /a, Method: GET, Auth: !Ref Unknown}}}", "", ""),
    ("Events: {A: {Type: HttpApi, Properties: {Path: /a, Method: GET, Auth: {ApiKeyRequired: true}}}}", "", ""),
    ("Events: {A: {Type: Api, Properties: {Path: /a, Method: GET, RequestModel: {ValidateBody: true}}}}", "", ""),
    ("Events: {A: {Type: Api, Properties: {Path: /a, Method: GET, Auth: {ResourcePolicy: {}}}}}", "", ""),
    (
        "Events: {A: {Type: HttpApi, Properties: {Path: /a, Method: GET}}}",
        "",
        "Globals: {HttpApi: {Auth: {DefaultAuthorizer: Mine}}}",
    ),
    (
        "Events: {A: {Type: Api, Properties: {Path: /a, Method: GET, RestApiId: !Ref Shop}}}",
        "\n  Shop: {Type: AWS::Serverless::Api, Properties: {StageName: a, Auth: !Ref Unknown}}",
        "",
    ),
    (
        "Events: {A: {Type: Api, Properties: {Path: /a, Method: GET, RestApiId: !Ref Shop}}}",
        "\n  Shop: {Type: AWS::Serverless::Api, Properties: {StageName: a, Domain: {MutualTlsAuthentication: {}}}}",
        "",
    ),
]


@pytest.mark.parametrize(("function", "resources", "globals"), RESTRICTED)
def test_a_route_with_a_restriction_that_is_not_supported_refuses_and_is_warned_about(
    function, resources, globals, sites_of
):
    found = sites_of(function, resources, globals)
    assert unsupported(found)
    assert "each request is refused" in "\n".join(found.warnings)


AUTHORIZERS = [  # type of the API, its Auth, the authorizer
    (
        "Api",
        "{FunctionArn: !GetAtt Pets.Arn}",
        LambdaAuthorizer("Pets", True, "TOKEN", sources=(("header", "Authorization"),), ttl=300),
    ),
    (
        "Api",
        "{FunctionArn: !GetAtt Pets.Arn, Identity: {Header: X-Token, ValidationExpression: ^a, ReauthorizeEvery: 0}}",
        LambdaAuthorizer("Pets", True, "TOKEN", sources=(("header", "X-Token"),), validation="^a", ttl=0),
    ),
    (
        "Api",
        "{FunctionArn: !GetAtt Pets.Arn, FunctionPayloadType: REQUEST, Identity: {Headers: [A], QueryStrings: [b]}}",
        LambdaAuthorizer("Pets", True, sources=(("header", "A"), ("querystring", "b")), ttl=300),
    ),
    (
        "HttpApi",
        "{FunctionArn: !GetAtt Pets.Arn, AuthorizerPayloadFormatVersion: 2.0, EnableSimpleResponses: true, "
        "Identity: {Headers: [Authorization], ReauthorizeEvery: 30}}",
        LambdaAuthorizer("Pets", False, "REQUEST", "2.0", True, (("header", "Authorization"),), ttl=30),
    ),
    (
        "HttpApi",
        "{FunctionArn: !GetAtt Pets.Arn, AuthorizerPayloadFormatVersion: 2.0, "
        "Identity: {StageVariables: [v], Context: [routeKey]}}",
        LambdaAuthorizer(
            "Pets", False, payload="2.0", sources=(("stageVariables", "v"), ("context", "routeKey")), ttl=0
        ),
    ),
]


@pytest.mark.parametrize(("type", "authorizer", "expected"), AUTHORIZERS)
def test_a_lambda_authorizer_of_an_api_decides_about_its_routes(type, authorizer, expected, sites_of):
    found = sites_of(
        f"Events: {{A: {{Type: {type}, Properties: {{Path: /a, Method: GET}}}}}}",
        globals=f"Globals: {{{type}: {{Auth: {{DefaultAuthorizer: Mine, Authorizers: {{Mine: {authorizer}}}}}}}}}",
    )
    assert found.sites[0].endpoints["GET /a"].access.authorizer == expected
    assert found.warnings == []


def test_a_jwt_authorizer_has_the_scopes_of_its_route(sites_of):
    configuration = "{issuer: 'https://issuer.example', audience: [shop]}"
    found = sites_of(
        "Events:\n"
        "  A: {Type: HttpApi, Properties: {Path: /a, Method: GET}}\n"
        "  B: {Type: HttpApi, Properties: {Path: /b, Method: GET, Auth: {AuthorizationScopes: [write]}}}\n",
        globals=f"Globals: {{HttpApi: {{Auth: {{DefaultAuthorizer: Mine, Authorizers: {{Mine: {{"
        f"JwtConfiguration: {configuration}, AuthorizationScopes: [read]}}}}}}}}}}",
    )
    expected = JwtAuthorizer("https://issuer.example", ("shop",), scopes=("read",))
    assert found.sites[0].endpoints["GET /a"].access == Access(token=expected)
    assert found.sites[0].endpoints["GET /b"].access.token.scopes == ("write",)


@pytest.mark.parametrize("issuer", ["!Ref Unknown", "ftp://issuer", "''"])
def test_a_jwt_authorizer_without_an_issuer_refuses_every_request(issuer, sites_of):
    found = sites_of(
        "Events: {A: {Type: HttpApi, Properties: {Path: /a, Method: GET}}}",
        globals=f"Globals: {{HttpApi: {{Auth: {{DefaultAuthorizer: Mine, Authorizers: {{Mine: {{"
        f"JwtConfiguration: {{issuer: {issuer}, audience: [a]}}}}}}}}}}}}",
    )
    assert unsupported(found)


BAD_AUTHORIZERS = [
    "{}",
    "{UserPoolArn: arn:aws:cognito-idp:us-east-1:123456789012:userpool/x}",
    "{FunctionArn: !Ref Unknown}",
    "{FunctionArn: nothing}",
    "{FunctionArn: !GetAtt Pets.Arn, FunctionPayloadType: OTHER}",
    "{FunctionArn: !GetAtt Pets.Arn, Identity: {ValidationExpression: '('}}",
    "{FunctionArn: !GetAtt Pets.Arn, Identity: {ReauthorizeEvery: never}}",
    "{FunctionArn: !GetAtt Pets.Arn, Identity: !Ref Unknown}",
    "{FunctionArn: !GetAtt Pets.Arn, FunctionPayloadType: REQUEST, Identity: {Context: [identity.cognitoIdentityId]}}",
]


@pytest.mark.parametrize("authorizer", BAD_AUTHORIZERS)
def test_an_authorizer_that_cannot_be_used_refuses_every_request(authorizer, sites_of):
    found = sites_of(
        "Events: {A: {Type: Api, Properties: {Path: /a, Method: GET}}}",
        globals=f"Globals: {{Api: {{Auth: {{DefaultAuthorizer: Mine, Authorizers: {{Mine: {authorizer}}}}}}}}}",
    )
    assert found.sites[0].endpoints["GET /a"].access.unsupported
    assert "each request is refused" in "\n".join(found.warnings)


@pytest.mark.parametrize(
    ("of_api", "own", "needs"), [("true", "", True), ("true", "false", False), ("false", "true", True)]
)
def test_an_api_key_is_needed_as_the_event_or_else_the_api_says(of_api, own, needs, sites_of):
    auth = f", Auth: {{ApiKeyRequired: {own}}}" if own else ""
    found = sites_of(
        f"Events: {{A: {{Type: Api, Properties: {{Path: /a, Method: GET{auth}}}}}}}",
        globals=f"Globals: {{Api: {{Auth: {{ApiKeyRequired: {of_api}}}}}}}",
    )
    assert found.sites[0].endpoints["GET /a"].access.needs_api_key is needs


OPEN = [
    ("Events: {A: {Type: Api, Properties: {Path: /a, Method: GET, Auth: {Authorizer: NONE}}}}", ""),
    (
        "Events: {A: {Type: Api, Properties: {Path: /a, Method: GET}}}",
        "Globals: {Api: {Auth: {ApiKeyRequired: false}}}",
    ),
    (
        "Events: {A: {Type: HttpApi, Properties: {Path: /a, Method: GET, Auth: {Authorizer: NONE}}}}",
        "Globals: {HttpApi: {Auth: {DefaultAuthorizer: Mine}}}",
    ),
    ("FunctionUrlConfig: {AuthType: NONE}", ""),
]


@pytest.mark.parametrize(("function", "globals"), OPEN)
def test_a_route_that_lets_every_caller_in_is_served(function, globals, sites_of):
    assert unsupported(sites_of(function, globals=globals)) == ""


def test_sam_adds_preflights_to_the_paths_of_a_rest_api(sites_of):
    found = sites_of(
        "Events:\n"
        "  A: {Type: Api, Properties: {Path: /a, Method: GET}}\n"
        "  B: {Type: Api, Properties: {Path: /a, Method: POST}}\n"
        "  C: {Type: Api, Properties: {Path: /b, Method: OPTIONS}}\n"
        "  D: {Type: Api, Properties: {Path: /c, Method: any}}\n",
        globals="Globals: {Api: {Cors: {AllowOrigin: \"'https://a.example'\", AllowHeaders: \"'X-A'\", "
        "MaxAge: \"'600'\"}}}",
    )
    (site,) = found.sites
    fixed = site.endpoints["OPTIONS /a"].fixed
    assert (fixed.status, fixed.body, fixed.content_type) == (200, b"{}\n", "application/json")
    assert dict(fixed.headers) == {
        "Access-Control-Allow-Origin": "https://a.example",
        "Access-Control-Allow-Methods": "GET,OPTIONS,POST",
        "Access-Control-Allow-Headers": "X-A",
        "Access-Control-Max-Age": "600",
    }
    assert site.endpoints["OPTIONS /b"].route.function == "Pets"
    of_any = dict(site.endpoints["OPTIONS /c"].fixed.headers)
    assert of_any["Access-Control-Allow-Methods"] == "DELETE,GET,HEAD,OPTIONS,PATCH,POST,PUT"


NOT_SERVED = [
    "Events: {A: {Type: Api, Properties: {Path: /a}}}",
    "Events: {A: {Type: Api, Properties: {Path: /a, Method: FETCH}}}",
    "Events: {A: {Type: Api, Properties: {Path: /a, Method: GET, RestApiId: !GetAtt Other.Id}}}",
    "Events: {A: {Type: Api, Properties: {Path: /a, Method: GET, RestApiId: elsewhere}}}",
]


@pytest.mark.parametrize("function", NOT_SERVED)
def test_an_event_that_is_no_route_here_is_warned_about(function, sites_of):
    found = sites_of(function)
    assert found.sites == []
    assert "is not served" in "\n".join(found.warnings)


# Values that cannot be known must not open a route

CONDITIONS = """
Parameters: {Unknown: {Type: String}, Known: {Type: String, Default: "yes"}}
Conditions: {IsUnknown: !Equals [!Ref Unknown, "yes"], IsKnown: !Equals [!Ref Known, "yes"]}
"""
SIGNED = "\n  Shop: {Type: AWS::Serverless::Api, Properties: {StageName: dev, Auth: {DefaultAuthorizer: AWS_IAM}}}\n"
OF_SHOP = "{Path: /a, Method: GET, RestApiId: !Ref Shop}"


@pytest.mark.parametrize(
    "events",
    [
        f"!If [IsKnown, {{A: {{Type: Api, Properties: {OF_SHOP}}}}}, !Ref AWS::NoValue]",
        f"{{A: !If [IsKnown, {{Type: Api, Properties: {OF_SHOP}}}, !Ref AWS::NoValue]}}",
        f"{{A: {{Type: Api, Properties: !If [IsKnown, {OF_SHOP}, !Ref AWS::NoValue]}}}}",
        "{A: {Type: Api, Properties: {Path: /a, Method: GET, RestApiId: !If [IsKnown, !Ref Shop, x]}}}",
        "{A: {Type: HttpApi, Properties: {Path: !Ref Unknown}}}",
        "{A: {Type: HttpApi, Properties: {Path: !Sub '/${Unknown}', Method: !Ref Unknown}}}",
        "{A: {Type: HttpApi, Properties: {Path: /a, Method: !Ref Unknown}}}",
        "{A: {Type: HttpApi, Properties: !If [IsUnknown, {Path: /a}, {Path: /b}]}}",
        "{A: {Type: HttpApi, Properties: [/a]}}",
        "{A: {Type: HttpApi, Properties: {Fn::Transform: {Name: AWS::Include}}}}",
    ],
)
def test_an_event_whose_api_or_path_is_not_certain_is_not_served(events, sites_of):
    found = sites_of(f"Events: {events}", SIGNED, CONDITIONS)
    assert found.sites == []
    assert any("is not served" in line for line in found.warnings)


@pytest.mark.parametrize("name", ["{a: b}", "[a]", "null", "5", "!Ref Unknown"])
def test_an_authorizer_that_is_not_a_name_refuses(name, sites_of):
    found = sites_of(
        f"Events: {{A: {{Type: Api, Properties: {{Path: /a, Method: GET, Auth: {{Authorizer: {name}}}}}}}}}",
        globals=CONDITIONS,
    )
    assert found.sites[0].endpoints["GET /a"].access.unsupported


DOCUMENT = "paths: {/b: {get: {}}}"


@pytest.mark.parametrize(
    ("properties", "globals"),
    [
        ("{StageName: dev, DefinitionUri: api.yaml}", ""),
        ("{StageName: dev, DefinitionBody: {Fn::Transform: {Name: AWS::Include}}}", ""),
        (f"{{StageName: dev, DefinitionBody: {{{DOCUMENT}, Fn::Transform: {{Name: AWS::Include}}}}}}", ""),
        (f"{{StageName: dev, DefinitionBody: {{{DOCUMENT}, x-amazon-apigateway-policy: {{}}}}}}", ""),
        (f"{{StageName: dev, DefinitionBody: {{{DOCUMENT}, security: [{{unknown: []}}]}}}}", ""),
        ("{StageName: dev, DefinitionBody: {paths: {/a: !If [IsUnknown, {}, {get: {}}]}}}", ""),
        ("{StageName: dev, DefinitionBody: {paths: !If [IsUnknown, {}, {/a: {}}]}}", ""),
        ("{StageName: dev, Fn::Transform: {Name: AWS::Include}}", ""),
        ("{StageName: dev, Auth: {Fn::Transform: {Name: AWS::Include}}}", ""),
        ("[StageName]", ""),
        (
            "{StageName: dev, Auth: {UsagePlan: {CreateUsagePlan: NONE}}}",
            "Globals: {Api: {Auth: !If [IsKnown, {DefaultAuthorizer: AWS_IAM}, !Ref AWS::NoValue]}}",
        ),
        ("{StageName: dev, Auth: {UsagePlan: {CreateUsagePlan: NONE}}}", "Globals: {Api: {Auth: x}}"),
        ("{StageName: dev}", "Globals: {Api: !If [IsKnown, {Auth: {DefaultAuthorizer: AWS_IAM}}, {}]}"),
        ("{StageName: dev}", "Globals: !If [IsKnown, {Api: {Auth: {DefaultAuthorizer: AWS_IAM}}}, {}]"),
        ("!If [IsKnown, {StageName: dev, Auth: {DefaultAuthorizer: AWS_IAM}}, {}]", ""),
        ("{StageName: dev, DefinitionBody: api.yaml}", ""),
    ],
)
def test_an_event_of_an_api_with_conditions_that_are_not_read_refuses(properties, globals, sites_of):
    found = sites_of(
        f"Events: {{A: {{Type: Api, Properties: {OF_SHOP}}}}}",
        f"\n  Shop: {{Type: AWS::Serverless::Api, Properties: {properties}}}\n",
        CONDITIONS + globals,
    )
    assert found.sites[0].endpoints["GET /a"].access.unsupported
    assert any("is refused with 500" in line for line in found.warnings)


def test_globals_that_are_not_known_restrict_the_implicit_api_too(sites_of):
    found = sites_of(
        "Events: {A: {Type: Api, Properties: {Path: /a, Method: GET}}}",
        globals=f"{CONDITIONS}Globals: {{Api: !If [IsKnown, {{Auth: {{DefaultAuthorizer: AWS_IAM}}}}, {{}}]}}",
    )
    assert found.sites[0].endpoints["GET /a"].access.unsupported


def test_a_value_of_a_wrong_type_does_not_stop_the_server(sites_of):
    found = sites_of(
        f"Events: {{A: {{Type: Api, Properties: {OF_SHOP}}}}}",
        "\n  Shop: {Type: AWS::Serverless::Api, Properties: {StageName: dev, BinaryMediaTypes: 5, Variables: 7}}\n",
    )
    assert routes(found.sites[0]) == {"GET /a": "Pets"}


def test_values_of_cors_that_no_header_can_have_are_left_out(sites_of):
    found = sites_of(
        f"Events: {{A: {{Type: Api, Properties: {OF_SHOP}}}}}\n"
        'FunctionUrlConfig: {AuthType: NONE, Cors: {AllowOrigins: ["*"], AllowHeaders: ["a\\nb", c]}}',
        "\n  Shop: {Type: AWS::Serverless::Api, Properties: {StageName: dev, Cors: {AllowOrigin: \"'a\\nb: c'\"}}}\n",
    )
    fixed = next(site.endpoints["OPTIONS /a"].fixed for site in found.sites if site.is_api)
    assert fixed.headers == (("Access-Control-Allow-Methods", "GET,OPTIONS"),)
    assert next(site.cors.headers for site in found.sites if not site.is_api) == ("c",)


# Two routes for the same requests


@pytest.mark.parametrize("type", ["Api", "HttpApi"])
@pytest.mark.parametrize("path", ["/pets/{id}", "/pets/{name}", "/pets/{id}/"])
def test_two_events_with_the_same_route_are_refused_with_both_names(type, path, sites_of):
    with pytest.raises(ConfigurationError) as error:
        sites_of(
            f"Events:\n  A: {{Type: {type}, Properties: {{Path: '/pets/{{id}}', Method: GET}}}}\n"
            f"  B: {{Type: {type}, Properties: {{Path: '{path}', Method: get}}}}\n"
        )
    assert "Pets.Events.A" in str(error.value)
    assert "Pets.Events.B" in str(error.value)


def test_an_event_may_name_a_route_of_the_document(sites_of):
    found = sites_of(
        f"Events: {{A: {{Type: Api, Properties: {OF_SHOP}}}}}",
        "\n  Shop:\n    Type: AWS::Serverless::Api\n"
        "    Properties: {StageName: dev, DefinitionBody: {paths: {/a: {get: {}}}}}\n",
    )
    assert list(found.sites[0].endpoints) == ["GET /a"]


def test_a_route_of_the_document_has_its_integration_and_the_conditions_of_the_event_too(sites_of):
    uri = "arn:aws:lambda:us-east-1:123456789012:function:Other:live/invocations"
    found = sites_of(
        "Events: {A: {Type: Api, Properties: {Path: /a, Method: GET, RestApiId: !Ref Shop, "
        "Auth: {ApiKeyRequired: true}}}}",
        "\n  Shop:\n    Type: AWS::Serverless::Api\n    Properties:\n      StageName: dev\n      DefinitionBody:\n"
        "        paths: {/a: {get: {operationId: list, x-amazon-apigateway-integration: "
        f"{{type: aws_proxy, timeoutInMillis: 500, uri: '{uri}'}}}}}}}}\n",
    )
    endpoint = found.sites[0].endpoints["GET /a"]
    assert (endpoint.route.function, endpoint.route.operation_name, endpoint.timeout) == ("Other:live", "list", 0.5)
    assert endpoint.access == Access(needs_api_key=True)


def test_functions_of_routes_and_authorizers_that_do_not_exist_are_warned_about(tmp_path, sites_of):
    arn = "arn:aws:lambda:us-east-1:123456789012:function"
    integration = f"{{type: aws_proxy, uri: '{arn}:lost/invocations'}}"
    sites_of(
        "Events: {A: {Type: HttpApi, Properties: {Path: /a, Method: GET}}}",
        "\n  Shop:\n    Type: AWS::Serverless::Api\n    Properties:\n      StageName: dev\n"
        f"      DefinitionBody: {{paths: {{/b: {{get: {{x-amazon-apigateway-integration: {integration}}}}}}}}}\n",
        "Globals: {HttpApi: {Auth: {DefaultAuthorizer: Mine, Authorizers: {Mine: {AuthorizerPayloadFormatVersion: 2.0, "
        f"FunctionArn: '{arn}:gone'}}}}}}}}}}",
    )
    fetcher = SamFetcher(str(tmp_path / "template.yaml"))
    lines = [line.partition(" are answered")[0] for line in missing_functions(TemplateSites(fetcher).sites, fetcher)]
    assert lines == [
        "there is no function 'lost', so requests to GET /b of REST API 'Shop'",
        "there is no function 'gone', so requests to GET /a of HTTP API 'ServerlessHttpApi'",
    ]
