"""Deployed functions through the management API, as boto3 and AWS's own messages have them."""

import contextlib
import hashlib
import json
from base64 import b64encode

import pytest
from botocore.exceptions import ClientError

from serverfull_wsgi import StaticFetcher
from tests.support import handlers, management
from tests.support.isolated import needs_client
from tests.support.registry import ARN, ROLE, code, registry_in

HELLO = f"{ARN}:hello"
LATER = ["function_active", "function_updated", "function_active_v2", "function_updated_v2", "function_exists"]


@pytest.fixture
def application(tmp_path):
    with management.deployable(tmp_path) as application:
        yield management.signed(application)


@pytest.fixture
def aws(application):
    with management.client(application) as aws:
        yield aws


@pytest.fixture(scope="module")
def empty(tmp_path_factory):
    """Return a client of an application without functions, which several tests share."""
    with management.deployable(tmp_path_factory.mktemp("empty")) as application:
        with management.client(management.signed(application)) as aws:
            yield aws


def result(response):
    with response["Payload"] as payload:
        return json.loads(payload.read())


def refusal(aws, operation, **parameters):
    """Return the code and the message of a call that fails, and whether its body has a Type."""
    with pytest.raises(ClientError) as caught:
        getattr(aws, operation)(**parameters)
    response = caught.value.response
    return response["Error"]["Code"], response["Error"]["Message"], "Type" in response or "Type" in response["Error"]


@pytest.mark.quick
@needs_client
def test_a_function_is_created_called_updated_and_deleted(aws):
    created = management.create(aws)
    assert (created["State"], created["StateReasonCode"], created["Version"]) == ("Pending", "Creating", "$LATEST")
    assert "LastUpdateStatus" not in created
    for name in LATER:
        aws.get_waiter(name).wait(FunctionName="hello")
    assert result(aws.invoke(FunctionName="hello")) == ["one", "$LATEST"]
    updated = aws.update_function_code(FunctionName="hello", ZipFile=code("two").read())
    assert (updated["State"], updated["LastUpdateStatus"]) == ("Active", "InProgress")
    assert result(aws.invoke(FunctionName="hello")) == ["two", "$LATEST"]
    aws.delete_function(FunctionName="hello")
    assert refusal(aws, "get_function", FunctionName="hello")[:2] == (
        "ResourceNotFoundException",
        f"Function not found: {HELLO}",
    )
    with pytest.raises(aws.exceptions.ResourceNotFoundException):
        aws.invoke(FunctionName="hello")


@pytest.mark.quick
def test_a_new_function_has_the_members_and_defaults_of_aws(aws):
    package = code("one").read()
    created = management.create(aws, zip=package, Tags={"team": "a"})
    del created["ResponseMetadata"]
    constant = {name: created.pop(name) for name in ("RevisionId", "LastModified", "RuntimeVersionConfig")}
    assert created == {
        "FunctionName": "hello",
        "FunctionArn": HELLO,
        "Runtime": "python3.11",
        "Role": ROLE,
        "Handler": "app.handler",
        "CodeSize": len(package),
        "CodeSha256": b64encode(hashlib.sha256(package).digest()).decode(),
        "Description": "",
        "Timeout": 3,
        "MemorySize": 128,
        "Version": "$LATEST",
        "TracingConfig": {"Mode": "PassThrough"},
        "State": "Pending",
        "StateReason": "The function is being created.",
        "StateReasonCode": "Creating",
        "PackageType": "Zip",
        "Architectures": ["x86_64"],
        "EphemeralStorage": {"Size": 512},
        "SnapStart": {"ApplyOn": "None", "OptimizationStatus": "Off"},
        "LoggingConfig": {"LogFormat": "Text", "LogGroup": "/aws/lambda/hello"},
    }
    function = aws.get_function(FunctionName=f"{HELLO}:$LATEST", Qualifier="$LATEST")
    assert function["Configuration"]["FunctionArn"] == f"{HELLO}:$LATEST"
    assert function["Configuration"]["RevisionId"] != constant["RevisionId"]
    assert (function["Tags"], function["Code"]["RepositoryType"]) == ({"team": "a"}, "S3")
    assert "Concurrency" not in function


INVALID, CONFLICT, MISSING = "InvalidParameterValueException", "ResourceConflictException", "ResourceNotFoundException"
VIOLATION = "ValidationException"
ONE = "1 validation error detected: "
ELSEWHERE = "arn:aws:lambda:eu-west-1:123456789012:function:x"
LAYER = "arn:aws:lambda:us-east-1:123456789012:layer:l{}:1"
SIGNING = "arn:aws:lambda:us-east-1:123456789012:code-signing-config:csc-0123456789abcdefg"
FILES = "arn:aws:elasticfilesystem:us-east-1:123456789012:access-point/fsap-0123456789abcdef0"
VARIABLES = "Lambda was unable to configure your environment variables because the environment variables you have "


def broken(value, member, rule):
    return f"{ONE}Value {value} at '{member}' failed to satisfy constraint: Member must {rule}"


@pytest.mark.quick
@pytest.mark.parametrize(
    ("members", "code", "text"),
    [
        ({"Role": "r1"}, VIOLATION, broken("'r1'", "role", "satisfy regular expression pattern: arn:(aws[a-z")),
        ({"Role": None}, VIOLATION, broken("null", "role", "not be null")),
        (
            {"Architectures": ["x86_64", "arm64"]},
            VIOLATION,
            broken("'[x86_64, arm64]'", "architectures", "have length less than or equal to 1"),
        ),
        (
            {"Architectures": ["X86_64"]},
            VIOLATION,
            broken(
                "'[X86_64]'",
                "architectures",
                "satisfy constraint: [Member must satisfy enum value set: [x86_64, arm64], Member must not be null]",
            ),
        ),
        ({"Timeout": 0}, VIOLATION, broken("'0'", "timeout", "have value greater than or equal to 1")),
        ({"SnapStart": {"ApplyOn": "x"}, "Role": "r"}, VIOLATION, "2 validation errors detected: Value 'r' at 'role'"),
        (
            {"Runtime": "nodejs20.x", "SnapStart": {"ApplyOn": "PublishedVersions"}},
            INVALID,
            "nodejs20.x is not supported for SnapStart enabled functions.",
        ),
        ({"Runtime": "python9.9"}, INVALID, "Value python9.9 at 'runtime' failed to satisfy constraint: Member must"),
        ({"Runtime": "python3.7"}, INVALID, "The runtime parameter of python3.7 is no longer supported"),
        ({"zip": b"not a zip archive"}, INVALID, "Could not unzip uploaded file. Please check your file, then try"),
        ({"PackageType": "Image"}, INVALID, "This server runs no container images."),
        ({"FileSystemConfigs": [{"Arn": FILES, "LocalMountPath": "/mnt/a"}]}, INVALID, "FileSystemConfigs"),
        ({"CodeSigningConfigArn": SIGNING}, INVALID, "CodeSigningConfigArn"),
        ({"name": "x" * 65}, INVALID, ONE),
        ({"name": ELSEWHERE}, MISSING, "Functions from 'eu-west-1' are not reachable in this region ('us-east-1')"),
        ({"name": "hello:1"}, INVALID, "CreateFunction changes the function as a whole"),
        (
            {"Environment": {"Variables": {"LONG": "x" * 4096}}},
            INVALID,
            f"{VARIABLES}provided exceeded the 4KB limit. String measured: {{",
        ),
        ({"Tags": {f"key{number}": "" for number in range(51)}}, INVALID, "Number of tags exceeds resource tag limit."),
        ({"Layers": [LAYER.format(number) for number in range(6)]}, INVALID, "Cannot reference more than 5 layers."),
    ],
    ids=range(19),
)
def test_a_function_that_aws_refuses_is_refused_in_its_words(empty, members, code, text):
    with pytest.raises(ClientError) as caught:
        management.create(empty, **members)
    error = caught.value.response["Error"]
    assert (error["Code"], error["Message"][: len(text)]) == (code, text)
    assert empty.list_functions()["Functions"] == []


@pytest.mark.quick
def test_a_second_function_of_a_name_is_a_conflict(aws):
    management.create(aws)
    with pytest.raises(aws.exceptions.ResourceConflictException, match="Function already exist: hello"):
        management.create(aws)


@pytest.mark.quick
def test_the_unzipped_size_of_a_package_is_limited(aws):
    with pytest.raises(ClientError, match="Unzipped size must be smaller than 262144000 bytes"):
        management.create(aws, zip=management.zip_that_states(262_144_001))


@pytest.mark.quick
def test_a_configured_function_is_neither_replaced_nor_hidden(tmp_path):
    configured = StaticFetcher({"hello": handlers.hello})
    registry = registry_in(tmp_path, is_served_elsewhere=lambda name: name == "hello")
    with management.served(registry, configured) as application:
        with management.client(management.signed(application)) as aws:
            with pytest.raises(aws.exceptions.ResourceConflictException, match="hoose another name"):
                management.create(aws)
            with pytest.raises(aws.exceptions.ResourceConflictException):
                aws.delete_function(FunctionName="hello")
            assert aws.get_function(FunctionName="hello")["Configuration"]["Handler"] == "tests.support.handlers.hello"


@pytest.mark.quick
def test_a_redundant_update_and_a_dry_run_have_a_new_revision_and_none(aws):
    first = management.create(aws)["RevisionId"]
    settled = aws.get_function_configuration(FunctionName="hello")["RevisionId"]
    dry = aws.update_function_code(FunctionName="hello", ZipFile=code("two").read(), DryRun=True)
    assert dry["CodeSha256"]
    assert aws.get_function_configuration(FunctionName="hello")["RevisionId"] == settled
    again = aws.update_function_configuration(FunctionName="hello", Timeout=3)["RevisionId"]
    after = aws.get_function_configuration(FunctionName="hello")["RevisionId"]
    assert len({first, settled, again, after}) == 4
    wrong = refusal(aws, "update_function_configuration", FunctionName="hello", RevisionId=again)
    assert wrong[:2] == (
        "PreconditionFailedException",
        "The Revision Id provided does not match the latest Revision Id. Call the GetFunction/GetAlias API to retrieve "
        "the latest Revision Id",
    )
    aws.update_function_configuration(FunctionName="hello", RevisionId=after, Timeout=9)
    assert aws.get_function_configuration(FunctionName="hello")["Timeout"] == 9


class Buckets:
    """Buckets whose objects are packages: their code returns the bucket, the key and the version."""

    @contextlib.contextmanager
    def download(self, bucket, key, version=None):
        yield code(f"{bucket} {key} {version}")


def stored(tmp_path):
    return sorted(path.name for path in tmp_path.glob("registry/code/*"))


@pytest.mark.quick
def test_a_package_in_s3_is_copied(tmp_path):
    with management.served(registry_in(tmp_path, source=Buckets())) as application:
        with management.client(management.signed(application)) as aws:
            place = {"S3Bucket": "bucket", "S3Key": "code.zip"}
            members = {"Runtime": "python3.11", "Role": ROLE, "Handler": "app.handler"}
            created = aws.create_function(FunctionName="hello", Code=place, **members)
            digest = hashlib.sha256(code("bucket code.zip None").read()).digest()
            assert created["CodeSha256"] == b64encode(digest).decode()
            before = stored(tmp_path)
            dry = aws.update_function_code(FunctionName="hello", **place, S3ObjectVersion="7", DryRun=True)
            assert (dry["CodeSha256"] != created["CodeSha256"], stored(tmp_path)) == (True, before)
            aws.update_function_code(FunctionName="hello", **place, S3ObjectVersion="7")
            after = aws.get_function_configuration(FunctionName="hello")
            assert (after["CodeSha256"], len(stored(tmp_path))) == (dry["CodeSha256"], 2)
            for more, message in (
                ({"S3Bucket": "bucket"}, "needs both S3Bucket and S3Key"),
                ({**place, "ZipFile": b"zip"}, "Please do not provide other FunctionCode parameters"),
            ):
                with pytest.raises(aws.exceptions.InvalidParameterValueException, match=message):
                    aws.update_function_code(FunctionName="hello", **more)


@pytest.mark.quick
def test_a_refused_deploy_stores_no_package(aws, tmp_path):
    management.create(aws)
    before = stored(tmp_path)
    other = code("two").read()
    with pytest.raises(aws.exceptions.ResourceConflictException):
        management.create(aws, zip=other)
    with pytest.raises(aws.exceptions.ResourceNotFoundException):
        aws.update_function_code(FunctionName="other", ZipFile=other)
    aws.update_function_code(FunctionName="hello", ZipFile=other, DryRun=True)
    assert stored(tmp_path) == before


@pytest.mark.quick
def test_empty_members_stand_for_none(aws):
    management.create(aws, Environment={"Variables": {"NAME": "1"}}, KMSKeyArn="", Layers=[], DeadLetterConfig={})
    empty = {"VpcConfig": {"SubnetIds": [], "SecurityGroupIds": []}, "KMSKeyArn": "", "TracingConfig": {}}
    aws.update_function_configuration(FunctionName="hello", **empty, DeadLetterConfig={}, Layers=[], Environment={})
    configuration = aws.get_function_configuration(FunctionName="hello")
    assert not {"Environment", "KMSKeyArn", "DeadLetterConfig", "Layers"} & configuration.keys()
    assert configuration["TracingConfig"] == {"Mode": "PassThrough"}


@pytest.mark.quick
def test_functions_are_listed_in_pages_of_at_most_50(aws):
    package = code("one").read()
    names = sorted(f"{start}{number}" for start in ("a", "a-", "b_") for number in range(18))
    for name in names:
        management.create(aws, name=name, zip=package)
    pages = list(aws.get_paginator("list_functions").paginate())
    assert [len(page["Functions"]) for page in pages] == [50, 4]
    assert sorted(item["FunctionName"] for page in pages for item in page["Functions"]) == names
    every = aws.get_paginator("list_functions").paginate(FunctionVersion="ALL", PaginationConfig={"PageSize": 20})
    assert sorted(item["FunctionName"] for page in every for item in page["Functions"]) == names
    assert aws.get_account_settings()["AccountUsage"] == {
        "FunctionCount": 54,
        "TotalCodeSize": 54 * len(package),
    }


@pytest.mark.quick
def test_versions_are_published_once_and_called(aws):
    management.create(aws)
    first = aws.publish_version(FunctionName="hello", Description="d")
    assert (first["Version"], first["FunctionArn"], first["State"], first["LastUpdateStatus"]) == (
        "1", f"{HELLO}:1", "Active", "Successful",
    )  # fmt: skip
    assert aws.publish_version(FunctionName="hello", Description="other")["RevisionId"] == first["RevisionId"]
    wrong = refusal(aws, "publish_version", FunctionName="hello", CodeSha256="x")
    assert wrong[1].startswith("CodeSHA256 (x) is different from current CodeSHA256 in $LATEST (")
    second = aws.update_function_code(FunctionName="hello", ZipFile=code("two").read(), Publish=True)
    assert (second["Version"], second["FunctionArn"], second["State"]) == ("2", f"{HELLO}:2", "Pending")
    aws.get_waiter("published_version_active").wait(FunctionName="hello", Qualifier="2")
    pages = aws.get_paginator("list_versions_by_function").paginate(
        FunctionName="hello", PaginationConfig={"PageSize": 1}
    )
    assert [it["FunctionArn"] for page in pages for it in page["Versions"]] == [
        f"{HELLO}:$LATEST", f"{HELLO}:1", f"{HELLO}:2",
    ]  # fmt: skip
    aws.delete_function(FunctionName="hello", Qualifier="1")
    assert [it["Version"] for it in aws.list_versions_by_function(FunctionName="hello")["Versions"]] == ["$LATEST", "2"]


@pytest.mark.quick
@needs_client
def test_an_alias_moves_from_version_to_version(aws):
    management.create(aws, Publish=True)
    aws.update_function_code(FunctionName="hello", ZipFile=code("two").read(), Publish=True)
    alias = aws.create_alias(FunctionName="hello", Name="prod", FunctionVersion="1")
    assert (alias["AliasArn"], alias["FunctionVersion"], alias["Description"]) == (f"{HELLO}:prod", "1", "")
    assert result(aws.invoke(FunctionName="hello", Qualifier="prod")) == ["one", "1"]
    moved = aws.update_alias(FunctionName="hello", Name="prod", FunctionVersion="2", RevisionId=alias["RevisionId"])
    assert moved["RevisionId"] != alias["RevisionId"]
    called = aws.invoke(FunctionName=f"{HELLO}:prod")
    assert (result(called), called["ExecutedVersion"]) == (["two", "2"], "2")
    function = aws.get_function(FunctionName="hello", Qualifier="prod")
    assert function["Configuration"]["FunctionArn"] == f"{HELLO}:prod"
    assert [it["Name"] for it in aws.list_aliases(FunctionName="hello", FunctionVersion="2")["Aliases"]] == ["prod"]
    aws.delete_alias(FunctionName="hello", Name="prod")
    aws.delete_alias(FunctionName="hello", Name="prod")
    assert aws.list_aliases(FunctionName="hello")["Aliases"] == []


@pytest.mark.quick
@needs_client
def test_a_weighted_alias_sends_calls_to_both_versions(aws):
    management.create(aws, Publish=True)
    aws.update_function_code(FunctionName="hello", ZipFile=code("two").read(), Publish=True)
    weights = {"AdditionalVersionWeights": {"2": 0.5}}
    alias = aws.create_alias(FunctionName="hello", Name="prod", FunctionVersion="1", RoutingConfig=weights)
    assert alias["RoutingConfig"] == weights
    versions = {aws.invoke(FunctionName="hello:prod", InvocationType="DryRun")["StatusCode"]}
    called = [aws.invoke(FunctionName="hello:prod") for _ in range(40)]
    assert {(result(it)[1], it["ExecutedVersion"]) for it in called} == {("1", "1"), ("2", "2")}
    assert versions == {204}
    cleared = aws.update_alias(FunctionName="hello", Name="prod", RoutingConfig={"AdditionalVersionWeights": {}})
    assert "RoutingConfig" not in cleared


@pytest.mark.quick
@pytest.mark.parametrize(
    ("parameters", "code", "text", "has_type"),
    [
        ({"Name": "prod", "FunctionVersion": "9"}, "ResourceNotFoundException", f"Function not found: {HELLO}:9", True),
        ({"Name": "live", "FunctionVersion": "1"}, CONFLICT, f"Alias already exists: {HELLO}:live", True),
        (
            {"Name": "x", "FunctionVersion": "$LATEST", "RoutingConfig": {"AdditionalVersionWeights": {"1": 0.1}}},
            INVALID,
            "$LATEST is not supported for an alias pointing to more than 1 version",
            False,
        ),
        (
            {"Name": "x", "FunctionVersion": "1", "RoutingConfig": {"AdditionalVersionWeights": {"1": 0.1}}},
            INVALID,
            "Invalid function version 1. Function version 1 is already included in routing configuration.",
            True,
        ),
        (
            {"Name": "x", "FunctionVersion": "1", "RoutingConfig": {"AdditionalVersionWeights": {"2": 2.0}}},
            "ValidationException",
            ONE + "Value '{2=2.0}' at 'routingConfig.additionalVersionWeights' failed to satisfy constraint: "
            "Map value must satisfy constraint: [Member must have value less than or equal to 1.0, "
            "Member must have value greater than or equal to 0.0, Member must not be null]",
            False,
        ),
    ],
    ids=range(5),
)
def test_an_alias_that_aws_refuses_is_refused_in_its_words(aws, parameters, code, text, has_type):
    management.create(aws, Publish=True)
    aws.create_alias(FunctionName="hello", Name="live", FunctionVersion="1")
    assert refusal(aws, "create_alias", FunctionName="hello", **parameters) == (code, text, has_type)


@pytest.mark.quick
def test_messages_about_an_unknown_alias_differ_by_operation(aws):
    management.create(aws)
    assert refusal(aws, "get_alias", FunctionName="hello", Name="a")[1] == f"Cannot find alias arn: {HELLO}:a"
    assert refusal(aws, "update_alias", FunctionName="hello", Name="a")[1] == f"Alias not found: {HELLO}:a"
    assert refusal(aws, "get_function", FunctionName="hello", Qualifier="a")[1] == f"Function not found: {HELLO}:a"


@pytest.mark.quick
def test_a_deletion_of_an_alias_or_of_the_latest_version_is_refused(aws):
    management.create(aws)
    text = "$LATEST version cannot be deleted without deleting the function."
    assert refusal(aws, "delete_function", FunctionName="hello", Qualifier="$LATEST")[1] == text
    text = "Deletion of aliases is not currently supported."
    assert refusal(aws, "delete_function", FunctionName="absent", Qualifier="prod")[1] == text
    for parameters in ({}, {"Qualifier": "1"}):
        unknown = refusal(aws, "delete_function", FunctionName="absent", **parameters)
        assert unknown[1] == f"Function not found: {ARN}:absent"
    assert aws.delete_function(FunctionName="hello", Qualifier="7")["ResponseMetadata"]["HTTPStatusCode"] == 204


@pytest.mark.quick
def test_tags_are_merged_listed_and_removed(aws):
    management.create(aws)
    aws.tag_resource(Resource=HELLO, Tags={"a": "1", "b": "2"})
    aws.tag_resource(Resource=HELLO, Tags={"b": "3"})
    assert aws.list_tags(Resource=HELLO)["Tags"] == {"a": "1", "b": "3"}
    aws.untag_resource(Resource=HELLO, TagKeys=["a", "absent"])
    assert aws.get_function(FunctionName="hello")["Tags"] == {"b": "3"}
    assert refusal(aws, "tag_resource", Resource=HELLO, Tags={})[:2] == (
        INVALID,
        "An error occurred and the request cannot be processed.",
    )
    many = {f"key{number}": "" for number in range(50)}
    assert refusal(aws, "tag_resource", Resource=HELLO, Tags=many)[1] == "Number of tags exceeds resource tag limit."
    mapping = "arn:aws:lambda:us-east-1:123456789012:event-source-mapping:00000000-0000-0000-0000-000000000000"
    assert refusal(aws, "list_tags", Resource=mapping)[:2] == (
        "ResourceNotFoundException",
        f"Event source mapping not found: {mapping}",
    )


@pytest.mark.quick
@needs_client
def test_reserved_concurrency_is_in_force_shown_and_removed(aws):
    management.create(aws)
    assert aws.put_function_concurrency(FunctionName="hello", ReservedConcurrentExecutions=0)[
        "ReservedConcurrentExecutions"
    ] == 0  # fmt: skip
    assert refusal(aws, "invoke", FunctionName="hello")[0] == "TooManyRequestsException"
    aws.put_function_concurrency(FunctionName="hello", ReservedConcurrentExecutions=7)
    assert result(aws.invoke(FunctionName="hello")) == ["one", "$LATEST"]
    assert aws.get_function(FunctionName="hello")["Concurrency"] == {"ReservedConcurrentExecutions": 7}
    assert aws.get_function_concurrency(FunctionName="hello")["ReservedConcurrentExecutions"] == 7
    assert aws.get_account_settings()["AccountLimit"]["UnreservedConcurrentExecutions"] == 993
    for _ in range(2):
        aws.delete_function_concurrency(FunctionName="hello")
    assert "ReservedConcurrentExecutions" not in aws.get_function_concurrency(FunctionName="hello")
    assert refusal(aws, "put_function_concurrency", FunctionName="hello", ReservedConcurrentExecutions=901) == (
        INVALID,
        "Specified ReservedConcurrentExecutions for function decreases account's UnreservedConcurrentExecution "
        "below its minimum value of [100].",
        False,
    )
    unknown = refusal(aws, "put_function_concurrency", FunctionName="absent", ReservedConcurrentExecutions=1)
    assert unknown[1] == f"Function not found: {ARN}:absent:$LATEST"
