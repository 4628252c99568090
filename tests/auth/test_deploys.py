"""Deploying is running code: which requests may change functions, and which may see their variables."""

import json
import logging

import pytest
from botocore.exceptions import ClientError

from serverfull_wsgi import Application, ConfigurationError, Credential, Function, SigV4Middleware, StaticFetcher
from serverfull_wsgi.api.management import downloads
from serverfull_wsgi.auth.credentials import parse
from serverfull_wsgi.auth.principal import DEPLOY, READ, Principal
from serverfull_wsgi.auth.unsigned_deploys import ANNOUNCEMENT
from serverfull_wsgi.errors import AccessDeniedException
from serverfull_wsgi.names import FunctionName
from tests.support import handlers, management
from tests.support.registry import ROLE, code, registry_in
from tests.support.signing import Sent, call, message

pytestmark = pytest.mark.quick

FUNCTIONS = "/2015-03-31/functions"
VARIABLES = {"Variables": {"PASSWORD": "hunter2"}}


@pytest.fixture
def application(tmp_path):
    with management.deployable(tmp_path) as application:
        yield application


@pytest.fixture(scope="module")
def empty(tmp_path_factory):
    """Return an application that several tests share, since none of them may change it."""
    with management.deployable(tmp_path_factory.mktemp("empty")) as application:
        yield application


@pytest.fixture
def unsigned(tmp_path):
    with management.deployable(tmp_path, deploy_unsigned=True) as application:
        yield application


def denied(aws, operation, **parameters):
    with pytest.raises(ClientError) as caught:
        getattr(aws, operation)(**parameters)
    error = caught.value.response
    assert (error["Error"]["Code"], error["ResponseMetadata"]["HTTPStatusCode"]) == ("AccessDeniedException", 403)
    return error["Error"]["Message"]


WRITES = [
    ("create_function", {"Role": ROLE, "Handler": "app.handler", "Runtime": "python3.11", "Code": {"ZipFile": b"x"}}),
    ("update_function_code", {"ZipFile": b"x"}),
    ("update_function_configuration", {"Timeout": 4}),
    ("delete_function", {}),
    ("publish_version", {}),
    ("create_alias", {"Name": "prod", "FunctionVersion": "1"}),
    ("update_alias", {"Name": "prod", "FunctionVersion": "1"}),
    ("delete_alias", {"Name": "prod"}),
    ("put_function_concurrency", {"ReservedConcurrentExecutions": 1}),
    ("delete_function_concurrency", {}),
    ("tag_resource", {"Resource": "arn:aws:lambda:us-east-1:123456789012:function:hello", "Tags": {"a": "b"}}),
    ("untag_resource", {"Resource": "arn:aws:lambda:us-east-1:123456789012:function:hello", "TagKeys": ["a"]}),
]


def called(operation, parameters):
    return {"FunctionName": "hello", **parameters} if "Resource" not in parameters else parameters


@pytest.mark.parametrize(("operation", "parameters"), WRITES, ids=[name for name, _ in WRITES])
@pytest.mark.parametrize("key", ["READER", "CALLER", "OURS"])
def test_a_key_without_the_action_and_the_function_changes_nothing(empty, key, operation, parameters):
    with management.client(management.signed(empty), key=key) as aws:
        text = denied(aws, operation, **called(operation, parameters))
    assert ("must name 'deploy'" in text) is (key != "OURS")
    assert "is not authorized to perform: lambda:" in text


@pytest.mark.parametrize(("operation", "parameters"), WRITES, ids=[name for name, _ in WRITES])
def test_an_unsigned_request_changes_nothing(empty, operation, parameters):
    with management.client(empty) as aws:
        assert denied(aws, operation, **called(operation, parameters)).startswith("To change functions, sign")


@pytest.mark.parametrize(("operation", "parameters"), WRITES, ids=[name for name, _ in WRITES])
def test_a_server_without_a_registry_changes_nothing_and_names_the_setting(operation, parameters):
    application = Application(StaticFetcher({"hello": handlers.hello}))
    with management.client(management.signed(application)) as aws:
        assert "SERVERFULL_REGISTRY" in denied(aws, operation, **called(operation, parameters))
    application.close()


@pytest.mark.parametrize("principal", ["ada", Principal("ada")], ids=["a text", "a Principal"])
@pytest.mark.parametrize("operation", ["create", "list_functions"])
def test_a_principal_of_another_middleware_has_neither_action(tmp_path, principal, operation):
    def named(app):
        return lambda environ, start_response: app({**environ, "serverfull.principal": principal}, start_response)

    with management.deployable(tmp_path, authentication=named) as application:
        with management.client(application) as aws, pytest.raises(ClientError, match="AccessDenied"):
            management.create(aws) if operation == "create" else aws.list_functions()


def test_a_key_that_another_middleware_names_may_deploy(tmp_path):
    ada = Principal("ada", actions=frozenset({DEPLOY}))

    def named(app):
        return lambda environ, start_response: app({**environ, "serverfull.principal": ada}, start_response)

    with management.deployable(tmp_path, authentication=named) as application, management.client(application) as aws:
        assert management.create(aws)["Version"] == "$LATEST"


@pytest.mark.parametrize("key", ["CALLER", "OURS"])
def test_a_key_without_read_reads_no_function(application, key):
    with management.client(management.signed(application)) as aws:
        management.create(aws)
        management.create(aws, name="our-own")
    with management.client(management.signed(application), key=key) as aws:
        assert "lambda:GetFunction" in denied(aws, "get_function", FunctionName="hello")
        if key == "OURS":
            assert [it["FunctionName"] for it in aws.list_functions()["Functions"]] == ["our-own"]


@pytest.mark.parametrize(
    ("patterns", "name", "qualifier", "expected"),
    [
        (["*"], "hello", None, True),
        (["hello"], "hello", None, True),
        (["hello"], "hello", "1", True),
        (["hello:1"], "hello", "1", True),
        (["hello:1"], "hello", None, False),
        (["hello:$LATEST"], "hello", None, False),  # a change of $LATEST, but also a deletion of the whole function
        (["hello:*"], "hello", None, False),
        (["other"], "hello", None, False),
    ],
)
def test_a_pattern_with_a_qualifier_does_not_cover_the_whole_function(patterns, name, qualifier, expected):
    principal = Principal("ada", functions=tuple(patterns), actions=frozenset({READ, DEPLOY}))
    function = FunctionName.parse(name, qualifier)
    assert principal.may_manage(DEPLOY, function) is expected


@pytest.mark.parametrize("name", ["hello", "hello:$LATEST"])
def test_a_key_of_the_latest_version_changes_no_function(application, name):
    with management.client(management.signed(application)) as aws:
        management.create(aws)
    with management.client(management.signed(application), key="LATEST") as aws:
        assert "lambda:UpdateFunctionConfiguration" in denied(
            aws, "update_function_configuration", FunctionName=name, Timeout=9
        )
        denied(aws, "create_alias", FunctionName=name, Name="prod", FunctionVersion="$LATEST")
        assert aws.get_function(FunctionName="hello", Qualifier="$LATEST")["Configuration"]["Timeout"] == 3


def test_the_actions_read_and_deploy_have_to_be_named():
    for actions in (None, ["invoke", "event", "operate"]):
        principal = Credential("secret", actions=actions).principal("KEY", "arn:aws:iam::123456789012:user/")
        assert not principal.may_manage(READ)
        assert not principal.may_manage(DEPLOY)
    text = "[ada]\naws_access_key_id = A\naws_secret_access_key = s\nserverfull_actions = deploy read"
    assert parse(text)["A"].actions == ("deploy", "read")


# Environment variables and code


def test_variables_and_code_are_shown_to_signed_callers_only(tmp_path, application):
    with management.client(management.signed(application)) as aws:
        created = management.create(aws, Environment=VARIABLES)
        assert created["Environment"] == VARIABLES
        assert aws.get_function(FunctionName="hello")["Configuration"]["Environment"] == VARIABLES
        assert aws.list_functions()["Functions"][0]["Environment"] == VARIABLES
    with management.client(application) as aws:
        function = aws.get_function(FunctionName="hello")
        assert "Environment" not in function["Configuration"]
        assert "Location" not in function["Code"]
        for operation in ("get_function_configuration", "list_versions_by_function", "list_functions"):
            parameters = {} if operation == "list_functions" else {"FunctionName": "hello"}
            assert "hunter2" not in str(getattr(aws, operation)(**parameters))


def test_variables_of_a_configured_function_are_not_shown_without_a_signature():
    function = Function("app.handler", code="/nowhere", runtime="python3.11", environment=VARIABLES["Variables"])
    application = Application(StaticFetcher({"hello": function}))
    with management.client(application) as aws:
        assert "Environment" not in aws.get_function_configuration(FunctionName="hello")
    with management.client(management.signed(application), key="READER") as aws:
        shown = aws.get_function_configuration(FunctionName="hello")
    assert shown["Environment"] == VARIABLES
    assert "/nowhere" not in str(shown)
    application.close()


def test_the_credentials_of_a_function_are_never_shown():
    variables = {**VARIABLES["Variables"], "AWS_SECRET_ACCESS_KEY": "hunter3"}
    function = Function("app.handler", code="/nowhere", runtime="python3.11", environment=variables)
    with management.client(management.signed(Application(StaticFetcher({"hello": function}))), key="READER") as aws:
        shown = aws.get_function_configuration(FunctionName="hello")
    assert shown["Environment"] == VARIABLES


@pytest.mark.parametrize("variables", [{"PASSWORD": "hunter2" * 1000}, {"PASSWORD": 7}, {"-": "hunter2"}])
def test_no_log_line_has_a_variable(application, caplog, variables):
    with caplog.at_level(logging.DEBUG, "serverfull_wsgi"), management.client(management.signed(application)) as aws:
        with pytest.raises(ClientError):
            management.create(aws, Environment={"Variables": variables})
        management.create(aws, Environment=VARIABLES)
    assert "deployer" in caplog.text
    assert "hunter2" not in caplog.text


def test_the_link_to_the_code_needs_no_signature_and_is_good_for_one_package(tmp_path, application):
    package = code("one").read()
    server = management.signed(application)
    with management.client(server) as aws:
        management.create(aws, zip=package)
        management.create(aws, name="other", text="two")
        location = aws.get_function(FunctionName="hello")["Code"]["Location"]
        other = aws.get_function(FunctionName="other")["Code"]["Location"]
    assert location.startswith(management.URL + "/serverfull/code/")
    assert management.get(server, location).body == package
    assert management.get(server, location, "HEAD").headers["content-length"] == str(len(package))
    assert management.get(server, location, "POST").status == 403
    mixed = other.partition("?")[0] + "?" + location.partition("?")[2]
    for url in (mixed, location[:-1], location.replace("Expires=", "Expires=9"), location.partition("?")[0]):
        assert management.get(server, url).status == 403
    with management.deployable(tmp_path) as elsewhere:  # another process of the same registry
        assert management.get(elsewhere, location).body == package


def test_the_link_to_a_package_that_was_removed_is_a_404(tmp_path, unsigned):
    with management.client(unsigned) as aws:
        management.create(aws)
        location = aws.get_function(FunctionName="hello")["Code"]["Location"]
    (package,) = (tmp_path / "registry/code").iterdir()
    package.unlink()
    assert management.get(unsigned, location).status == 404


def test_the_link_expires_after_ten_minutes():
    url = downloads.link(management.URL, "0" * 64, b"key", now=1000)
    path, _, query = url.removeprefix(management.URL).partition("?")
    assert downloads.verified(path, query, b"key", now=1600) == "0" * 64
    with pytest.raises(AccessDeniedException, match="has expired"):
        downloads.verified(path, query, b"key", now=1601)
    with pytest.raises(AccessDeniedException, match="not valid"):
        downloads.verified(path, query, b"other", now=1600)


def test_the_link_is_below_the_mount_and_has_the_clients_host(unsigned):
    with management.client(unsigned) as aws:
        management.create(aws)
    request = Sent("GET", f"/lambda{FUNCTIONS}/hello", host="dev.localhost:8080")
    response = call(unsigned, request.environ("/lambda", REMOTE_ADDR="127.0.0.1"))
    assert json.loads(response.body)["Code"]["Location"].startswith("http://dev.localhost:8080/lambda/serverfull/code/")


# SERVERFULL_DEPLOY_UNSIGNED


def test_a_server_on_the_loopback_may_let_unsigned_requests_deploy(unsigned):
    with management.client(unsigned) as aws:
        management.create(aws, Environment=VARIABLES)
        function = aws.get_function(FunctionName="hello")
    assert function["Configuration"]["Environment"] == VARIABLES
    assert management.get(unsigned, function["Code"]["Location"]).status == 200


@pytest.fixture(scope="module")
def unsigned_and_empty(tmp_path_factory):
    with management.deployable(tmp_path_factory.mktemp("unsigned"), deploy_unsigned=True) as application:
        yield application


def created(application, **changes):
    body = json.dumps({"FunctionName": "hello", "Role": ROLE, "Code": {}}).encode()
    environ = Sent("POST", FUNCTIONS, body=body).environ(**{"REMOTE_ADDR": "127.0.0.1", **changes})
    return call(application, environ)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"HTTP_ORIGIN": "http://127.0.0.1:8080"}, "A web page may not"),
        ({"HTTP_ORIGIN": "null"}, "A web page"),
        ({"HTTP_SEC_FETCH_SITE": "same-origin"}, "A web page may not"),
        ({"HTTP_HOST": "evil.example"}, "Host 'evil.example'"),
        ({"HTTP_FORWARDED": "for=10.0.0.1"}, "through a proxy"),
        ({"HTTP_VIA": "1.1 nginx"}, "through a proxy"),
        ({"HTTP_X_FORWARDED_FOR": "10.0.0.1"}, "through a proxy"),
        ({"HTTP_X_FORWARDED_PROTO": "https"}, "through a proxy"),
        ({"HTTP_X_FORWARDED_HOST": "evil.example"}, "through a proxy"),
        ({"HTTP_X_REAL_IP": "10.0.0.1"}, "through a proxy"),
        ({"REMOTE_ADDR": "10.0.0.1"}, "clients on the same machine"),
    ],
)
def test_an_unsigned_request_of_a_page_or_a_proxy_changes_nothing(unsigned_and_empty, changes, reason):
    response = created(unsigned_and_empty, **changes)
    assert (response.status, response.headers["x-amzn-errortype"]) == (403, "AccessDeniedException")
    assert reason in message(response)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"SERVER_NAME": "127.0.0.1"}, 400),  # the request itself is not valid
        ({"SERVER_NAME": "localhost"}, 400),
        ({"SERVER_NAME": "::1"}, 400),
        ({"SERVER_NAME": "localhost", "REMOTE_ADDR": ""}, 403),  # some servers take SERVER_NAME from the Host
        ({"SERVER_NAME": "0.0.0.0"}, 403),
        ({"SERVER_NAME": "10.0.0.1"}, 403),
        ({"SERVER_NAME": "waitress.invalid"}, 403),
    ],
)
def test_without_a_hook_the_request_must_show_that_the_server_is_on_the_loopback(tmp_path, changes, expected):
    with management.deployable(tmp_path, binds=(), deploy_unsigned=True) as application:
        assert created(application, **changes).status == expected


@pytest.mark.parametrize("bind", [("0.0.0.0", 8080), ("10.0.0.1", 8080), "/run/serverfull.sock"])
def test_a_server_that_others_can_reach_does_not_start_with_unsigned_deploys(bind):
    application = Application(StaticFetcher({}), deploy_unsigned=True)
    with pytest.raises(ConfigurationError, match=r"^SERVERFULL_DEPLOY_UNSIGNED=true: the server listens on "):
        application.warn_if_exposed([("127.0.0.1", 8080), bind])
    application.close()


def test_unsigned_deploys_beside_signatures_are_refused():
    def authentication(app):
        return SigV4Middleware(app, management.KEYS, "us-east-1")

    with pytest.raises(ConfigurationError, match="callers of this server sign"):
        Application(StaticFetcher({}), deploy_unsigned=True, authentication=authentication)


@pytest.mark.parametrize("binds", [[("127.0.0.1", 8080)], []], ids=["by a hook", "by the first request"])
def test_unsigned_deploys_are_announced_once(tmp_path, caplog, binds):
    with management.served(registry_in(tmp_path), binds=binds, deploy_unsigned=True) as application:
        for _ in range(2):
            created(application)
    assert caplog.text.count(ANNOUNCEMENT) == 1
