"""Functions, versions, aliases and tags of a registry change as AWS's do, and refuse with AWS's texts."""

import hashlib
import re
from base64 import b64encode

import pytest

from serverfull_wsgi.errors import (
    InvalidParameterValueException,
    PreconditionFailedException,
    RequestEntityTooLargeException,
    ResourceConflictException,
    ResourceNotFoundException,
)
from serverfull_wsgi.fetchers.registry import RegistryFetcher
from serverfull_wsgi.registry.documents import Change
from serverfull_wsgi.registry.layers import Layers
from tests.support.registry import ACCOUNT, ARN, ROLE, code, deploy, redeploy, registry_in, request

pytestmark = pytest.mark.quick
STALE = "11111111-2222-3333-4444-555555555555"
LAYER = "arn:aws:lambda:us-east-1:123456789012:layer:tools"


@pytest.fixture
def registry(tmp_path):
    return registry_in(tmp_path, clock=lambda: 1764037614.0, layers=Layers({LAYER: str(tmp_path)}))


def refusal(error, message):
    """Expect an error whose whole message is ``message``."""
    return pytest.raises(error, match=rf"\A{re.escape(message)}\Z")


def revision(registry, qualifier=None):
    return registry.function_configuration("hello", qualifier)["RevisionId"]


# Functions


def test_a_new_function_has_the_defaults_of_aws(registry):
    package = code("one").read()
    answer = deploy(registry)
    assert answer.pop("RevisionId") != revision(registry)
    assert answer == {
        "FunctionName": "hello",
        "FunctionArn": f"{ARN}:hello",
        "Runtime": "python3.11",
        "Role": ROLE,
        "Handler": "app.handler",
        "CodeSize": len(package),
        "CodeSha256": b64encode(hashlib.sha256(package).digest()).decode(),
        "Description": "",
        "Timeout": 3,
        "MemorySize": 128,
        "LastModified": "2025-11-25T02:26:54.000+0000",
        "Version": "$LATEST",
        "TracingConfig": {"Mode": "PassThrough"},
        "State": "Pending",
        "StateReason": "The function is being created.",
        "StateReasonCode": "Creating",
        "PackageType": "Zip",
        "Architectures": ["x86_64"],
        "EphemeralStorage": {"Size": 512},
        "SnapStart": {"ApplyOn": "None", "OptimizationStatus": "Off"},
        "RuntimeVersionConfig": answer["RuntimeVersionConfig"],
        "LoggingConfig": {"LogFormat": "Text", "LogGroup": "/aws/lambda/hello"},
    }
    assert answer["RuntimeVersionConfig"]["RuntimeVersionArn"].startswith("arn:aws:lambda:us-east-1::runtime:")


def test_a_change_is_complete_when_it_is_answered(registry):
    deploy(registry)
    after = registry.function_configuration("hello")
    assert (after["State"], after["LastUpdateStatus"]) == ("Active", "Successful")
    assert "StateReason" not in after
    answer = registry.update_configuration("hello", {"Timeout": 7}, "tester")
    assert (answer["State"], answer["LastUpdateStatus"], answer["Timeout"]) == ("Active", "InProgress", 7)
    last = registry.function_configuration("hello")
    assert (last["LastUpdateStatus"], last["Timeout"]) == ("Successful", 7)
    assert len({after["RevisionId"], answer["RevisionId"], last["RevisionId"]}) == 3


def test_snap_start_is_on_for_versions_only(registry, tmp_path):
    deploy(registry)
    registry.update_configuration("hello", {"SnapStart": {"ApplyOn": "PublishedVersions"}}, "tester")
    off, on = [{"ApplyOn": "PublishedVersions", "OptimizationStatus": status} for status in ("Off", "On")]
    assert registry.publish_version("hello", {}, "tester")["SnapStart"] == on
    assert registry.function_configuration("hello")["SnapStart"] == off
    assert {function.version: function.snap_start for function in RegistryFetcher(registry).functions()} == {
        "$LATEST": False,
        "1": True,
    }


def test_a_second_function_of_the_name_is_refused(registry):
    deploy(registry)
    with refusal(ResourceConflictException, "Function already exist: hello"):
        deploy(registry)


def test_the_package_is_kept_as_it_was_uploaded(registry):
    deploy(registry)
    with registry.packages.open(registry.package("hello")) as file:
        assert file.read() == code("one").read()


@pytest.mark.parametrize(
    ("members", "message"),
    [
        (
            {"Runtime": "python3.7"},
            "The runtime parameter of python3.7 is no longer supported for creating or updating",
        ),
        ({"Runtime": "nodejs14.x"}, "The runtime parameter of nodejs14.x is no longer supported"),
        ({"Runtime": "nodejs"}, "The runtime parameter of nodejs is no longer supported"),
        ({"Runtime": "java21"}, "The runtime java21 is not supported by this server; use python3.8 and later"),
        (
            {"Handler": ""},
            "Runtime and Handler are mandatory parameters for functions created with deployment packages.",
        ),
        ({"PackageType": "Image"}, "PackageType Image is not supported"),
        (
            {"FileSystemConfigs": [{"Arn": "a", "LocalMountPath": "/mnt/a"}]},
            "FileSystemConfigs: no folder of this server has the LocalMountPath /mnt/a",
        ),
        ({"CapacityProviderConfig": {"a": 1}}, "CapacityProviderConfig is not supported by this server; leave it out"),
        ({"PublishTo": "LATEST_PUBLISHED"}, "PublishTo is not supported"),
        ({"Code": {"S3ObjectStorageMode": "REFERENCE"}}, "S3ObjectStorageMode REFERENCE is not supported"),
        ({"Code": {"SourceKMSKeyArn": "arn:aws:kms:key"}}, "SourceKMSKeyArn is not supported"),
        (
            {"Environment": {"Variables": {"A1": "x", "_HANDLER": "y"}}},
            ".*Reserved keys used in this request: _HANDLER",
        ),
        ({"Environment": {"Variables": {"AA": "a\0b"}}}, ".*have values with NUL or half a surrogate pair: AA"),
        ({"Tags": {str(number): "" for number in range(51)}}, "Number of tags exceeds resource tag limit."),
        ({"DeadLetterConfig": {"TargetArn": "arn:aws:s3:::b"}}, "event_config: dead_letter='arn:aws:s3:::b' must be"),
        ({"LoggingConfig": {"LogFormat": "Text", "SystemLogLevel": "INFO"}}, ".* needs log_format='JSON'"),
    ],
)
def test_members_that_cannot_be_in_force_are_refused(registry, members, message):
    with pytest.raises(InvalidParameterValueException, match=message):
        deploy(registry, **members)
    assert registry.names() == []


def test_file_systems_are_the_folders_that_the_server_shares(tmp_path):
    registry = registry_in(tmp_path, account=ACCOUNT._replace(mounts=frozenset({"/mnt/a", "/mnt/b"})))
    configs = [{"Arn": "arn:aws:elasticfilesystem:x", "LocalMountPath": "/mnt/b"}]
    assert deploy(registry, FileSystemConfigs=configs)["FileSystemConfigs"] == configs
    fetcher = RegistryFetcher(registry)
    assert fetcher.fetch("hello").mounts == ["/mnt/b"]
    with pytest.raises(InvalidParameterValueException, match="LocalMountPath /mnt/c"):
        registry.update_configuration(
            "hello", {"FileSystemConfigs": [{**configs[0], "LocalMountPath": "/mnt/c"}]}, "me"
        )
    registry.update_configuration("hello", {"FileSystemConfigs": []}, "me")
    assert fetcher.fetch("hello").mounts == []


@pytest.mark.parametrize("name", ["KMSKeyArn", "DeadLetterConfig", "Layers", "Environment", "VpcConfig", "ImageConfig"])
def test_an_empty_member_means_none(registry, name):
    empty = {"KMSKeyArn": "", "Layers": []}.get(name, {})
    deploy(registry, **{name: empty})
    assert name not in registry.function_configuration("hello")


def test_a_long_name_is_refused(registry):
    with pytest.raises(InvalidParameterValueException, match=r"1 validation error detected: .* equal to 64"):
        deploy(registry, "x" * 65)


def test_a_function_needs_code(registry):
    with refusal(InvalidParameterValueException, "Please provide a source for function code."):
        registry.create_function("hello", request(), None, "tester")


def test_the_limit_of_variables_counts_compact_json(registry):
    fitting = {"Variables": {"AA": "x" * (4096 - len('{"AA":""}'))}}
    deploy(registry, Environment=fitting)
    with pytest.raises(InvalidParameterValueException, match=r"exceeded the 4KB limit\. String measured: ") as refused:
        registry.update_configuration("hello", {"Environment": {"Variables": {"AA": "secret" * 700}}}, "tester")
    assert "secret" not in refused.value.evidence
    assert registry.function_configuration("hello")["Environment"] == fitting


def test_an_update_changes_only_the_members_that_it_gives(registry):
    deploy(registry, Environment={"Variables": {"AA": "1"}}, Description="first", Layers=[f"{LAYER}:1"])
    before = registry.function_configuration("hello")
    registry.update_configuration("hello", {"MemorySize": 512}, "tester")
    after = registry.function_configuration("hello")
    assert {name for name in after if after[name] != before.get(name)} == {"MemorySize", "RevisionId"}
    assert after["Layers"] == [{"Arn": f"{LAYER}:1", "CodeSize": 0}]
    registry.update_configuration("hello", {"Environment": {}, "Layers": [], "Description": ""}, "tester")
    assert not {"Environment", "Layers"} & registry.function_configuration("hello").keys()


def test_levels_of_the_log_belong_to_json(registry):
    deploy(registry)
    registry.update_configuration("hello", {"LoggingConfig": {"LogFormat": "JSON"}}, "tester")
    json_ = {
        "LogFormat": "JSON",
        "LogGroup": "/aws/lambda/hello",
        "ApplicationLogLevel": "INFO",
        "SystemLogLevel": "INFO",
    }
    assert registry.function_configuration("hello")["LoggingConfig"] == json_
    registry.update_configuration("hello", {"LoggingConfig": {"SystemLogLevel": "WARN"}}, "tester")
    assert registry.function_configuration("hello")["LoggingConfig"] == {**json_, "SystemLogLevel": "WARN"}
    registry.update_configuration("hello", {"LoggingConfig": {"LogFormat": "Text"}}, "tester")
    text = {"LogFormat": "Text", "LogGroup": "/aws/lambda/hello"}
    assert registry.function_configuration("hello")["LoggingConfig"] == text


def test_an_emptied_vpc_config_stays_in_the_answers(registry):
    deploy(registry, VpcConfig={"SubnetIds": ["subnet-1"], "SecurityGroupIds": ["sg-1"]})
    registry.update_configuration("hello", {"VpcConfig": {"SubnetIds": [], "SecurityGroupIds": []}}, "tester")
    empty = {"SubnetIds": [], "SecurityGroupIds": [], "VpcId": "", "Ipv6AllowedForDualStack": False}
    assert registry.function_configuration("hello")["VpcConfig"] == empty


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ([f"{LAYER}-{number}:1" for number in range(6)], "Cannot reference more than 5 layers."),
        (
            [f"{LAYER}:1", f"{LAYER}:2"],
            "Two different versions of the same layer are not allowed to be referenced in the same function. "
            f"{LAYER}:1 and {LAYER}:2 are versions of the same layer.",
        ),
        ([f"{LAYER}-other:1"], f"Layer version {LAYER}-other:1 does not exist."),
        (
            [f"{LAYER.replace('us-east-1', 'eu-west-1')}:1"],
            "Layers are not in the same region as the function. Layers are expected to be in region us-east-1.",
        ),
    ],
)
def test_layers_that_cannot_be_used_are_refused(registry, layers, message):
    with refusal(InvalidParameterValueException, message):
        deploy(registry, Layers=layers)


def test_a_function_runs_with_its_configuration(registry, tmp_path):
    target = "arn:aws:sqs:us-east-1:123456789012:dead"
    deploy(
        registry,
        Timeout=9,
        MemorySize=256,
        EphemeralStorage={"Size": 1024},
        Description="text",
        Environment={"Variables": {"AA": "1"}},
        DeadLetterConfig={"TargetArn": target},
        Layers=[f"{LAYER}:3"],
        LoggingConfig={"LogFormat": "JSON", "ApplicationLogLevel": "DEBUG"},
    )
    function = RegistryFetcher(registry).fetch("hello")
    assert (function.timeout, function.memory_size, function.description) == (9, 256, "text")
    assert function.ephemeral_storage == 1024
    assert (function.environment, function.layers) == ({"AA": "1"}, [str(tmp_path)])
    assert function.event_config.dead_letter == target
    assert function.logging_config.application_log_level == "DEBUG"


@pytest.mark.parametrize("operation", ["update_code", "update_configuration", "publish_version"])
def test_a_stale_revision_id_is_refused(registry, operation):
    deploy(registry)
    arguments = {"update_code": [registry.packages.add(code("two"))]}.get(operation, [])
    with pytest.raises(PreconditionFailedException, match="The Revision Id provided does not match the latest"):
        getattr(registry, operation)("hello", {"RevisionId": STALE}, *arguments, "tester")
    getattr(registry, operation)("hello", {"RevisionId": revision(registry)}, *arguments, "tester")


def test_a_dry_run_changes_nothing(registry, tmp_path):
    deploy(registry)
    before = registry.function_configuration("hello")
    package = registry.packages.check(code("two"))
    answer = registry.update_code("hello", {"DryRun": True}, package, "tester")
    assert answer["CodeSha256"] == package.code_sha256
    assert registry.function_configuration("hello") == before
    assert len(list(tmp_path.glob("registry/code/*"))) == 1


def test_an_image_is_refused_with_the_text_of_aws(registry):
    deploy(registry)
    text = "Please don't provide ImageUri when updating a function with packageType Zip."
    with refusal(InvalidParameterValueException, text):
        registry.update_code("hello", {"ImageUri": "x"}, None, "tester")


@pytest.mark.parametrize(
    "call",
    [
        lambda it: it.get("hello"),
        lambda it: it.function_configuration("hello"),
        lambda it: it.update_configuration("hello", {}, "tester"),
        lambda it: it.publish_version("hello", {}, "tester"),
        lambda it: it.delete_function("hello", None, "tester"),
        lambda it: it.delete_function("hello", "1", "tester"),
        lambda it: it.concurrency("hello"),
        lambda it: it.tag("hello", {"a": "b"}, "tester"),
    ],
)
def test_an_unknown_function_is_not_found(registry, call):
    with refusal(ResourceNotFoundException, f"Function not found: {ARN}:hello"):
        call(registry)


def test_some_errors_name_a_qualifier_of_an_unknown_function(registry):
    with refusal(ResourceNotFoundException, f"Function not found: {ARN}:hello:$LATEST"):
        registry.put_concurrency("hello", 1, "tester")
    with refusal(ResourceNotFoundException, f"Function not found: {ARN}:hello:1"):
        registry.create_alias("hello", {"Name": "prod", "FunctionVersion": "1"}, "tester")


@pytest.mark.parametrize("name", ["..", "a/b", "x" * 256, ".lock", ""])
def test_a_name_that_no_function_can_have_is_not_found(registry, name):
    with pytest.raises(ResourceNotFoundException):
        registry.get(name)


# Packages


def test_a_file_that_is_not_an_archive_is_refused(registry, tmp_path):
    text = "Could not unzip uploaded file. Please check your file, then try to upload again."
    (tmp_path / "file").write_bytes(b"text")
    with open(tmp_path / "file", "rb") as file, refusal(InvalidParameterValueException, text):
        registry.packages.add(file)


def test_an_archive_over_the_limit_is_refused(registry, tmp_path):
    with open(tmp_path / "large.zip", "wb") as file:
        file.truncate(52_428_801)
    with open(tmp_path / "large.zip", "rb") as file:
        with refusal(RequestEntityTooLargeException, "Zipped size must be smaller than 52428800 bytes"):
            registry.packages.add(file)


# Versions


def test_a_version_is_active_at_once_and_changes_the_revision_of_latest(registry):
    deploy(registry, Description="first")
    before = revision(registry)
    version = registry.publish_version("hello", {}, "tester")
    assert (version["Version"], version["FunctionArn"], version["State"]) == ("1", f"{ARN}:hello:1", "Active")
    assert (version["LastUpdateStatus"], version["Description"]) == ("Successful", "first")
    assert len({version["RevisionId"], before, revision(registry)}) == 3
    assert revision(registry, "1") == version["RevisionId"]


def test_publishing_without_a_change_returns_the_last_version(registry):
    deploy(registry)
    first = registry.publish_version("hello", {}, "tester")
    registry.update_configuration("hello", {"Timeout": 3}, "tester")  # a redundant update is no change
    assert registry.publish_version("hello", {"Description": "ignored"}, "tester") == first
    registry.update_configuration("hello", {"Timeout": 4}, "tester")
    assert registry.publish_version("hello", {"Description": "second"}, "tester")["Version"] == "2"
    assert registry.function_configuration("hello", "2")["Description"] == "second"
    assert [each["Version"] for each in registry.all_configurations("hello")] == ["$LATEST", "1", "2"]


def test_publish_with_create_and_update(registry):
    created = deploy(registry, Publish=True)
    assert (created["Version"], created["FunctionArn"], created["State"]) == ("1", f"{ARN}:hello", "Pending")
    updated = redeploy(registry, Publish=True)
    assert (updated["Version"], updated["FunctionArn"], updated["State"]) == ("2", f"{ARN}:hello:2", "Pending")
    assert "LastUpdateStatus" not in updated
    assert registry.function_configuration("hello", "2")["State"] == "Active"


def test_a_code_sha256_of_other_code_is_refused(registry):
    deploy(registry)
    present = registry.function_configuration("hello")["CodeSha256"]
    text = (
        f"CodeSHA256 (x) is different from current CodeSHA256 in $LATEST ({present}). "
        "Please try again with the CodeSHA256 in $LATEST."
    )
    with refusal(InvalidParameterValueException, text):
        registry.publish_version("hello", {"CodeSha256": "x"}, "tester")


def test_the_number_of_a_deleted_version_is_not_used_again(registry):
    deploy(registry, Publish=True)
    registry.delete_function("hello", "1", "tester")
    registry.delete_function("hello", "1", "tester")  # not an error
    assert registry.publish_version("hello", {}, "tester")["Version"] == "2"
    with refusal(ResourceNotFoundException, f"Function not found: {ARN}:hello:1"):
        registry.function_configuration("hello", "1")


@pytest.mark.parametrize(
    ("qualifier", "text"),
    [
        ("$LATEST", "$LATEST version cannot be deleted without deleting the function."),
        ("prod", "Deletion of aliases is not currently supported."),
    ],
)
def test_some_qualifiers_cannot_be_deleted_even_of_an_unknown_function(registry, qualifier, text):
    with refusal(InvalidParameterValueException, text):
        registry.delete_function("hello", qualifier, "tester")


def test_a_version_in_use_cannot_be_deleted(registry):
    deploy(registry, Publish=True)
    redeploy(registry, Publish=True)
    weights = {"AdditionalVersionWeights": {"2": 0.5}}
    registry.create_alias("hello", {"Name": "prod", "FunctionVersion": "1", "RoutingConfig": weights}, "tester")
    for version in ("1", "2"):
        with pytest.raises(ResourceConflictException, match=r"the following aliases reference it: \[prod\]"):
            registry.delete_function("hello", version, "tester")


# Aliases


@pytest.fixture
def aliased(registry):
    """A function with versions 1 and 2, and the alias prod of version 1."""
    deploy(registry, Publish=True)
    redeploy(registry, Publish=True)
    registry.create_alias("hello", {"Name": "prod", "FunctionVersion": "1"}, "tester")
    return registry


def test_an_alias_shows_its_version(aliased):
    alias = aliased.alias("hello", "prod")
    assert {**alias, "RevisionId": ""} == {
        "AliasArn": f"{ARN}:hello:prod",
        "Name": "prod",
        "FunctionVersion": "1",
        "Description": "",
        "RevisionId": "",
    }
    shown = aliased.function_configuration("hello", "prod")
    assert (shown["FunctionArn"], shown["Version"]) == (f"{ARN}:hello:prod", "1")
    assert shown["RevisionId"] == revision(aliased, "1")


def test_creating_an_alias_does_not_change_the_function(aliased):
    before = revision(aliased)
    aliased.create_alias("hello", {"Name": "test", "FunctionVersion": "$LATEST"}, "tester")
    assert revision(aliased) == before
    assert [each["Name"] for each in aliased.aliases("hello")] == ["prod", "test"]
    assert [each["Name"] for each in aliased.aliases("hello", "1")] == ["prod"]


def test_an_update_of_an_alias_keeps_what_it_does_not_give(aliased):
    weights = {"AdditionalVersionWeights": {"2": 0.1}}
    first = aliased.update_alias("hello", "prod", {"RoutingConfig": weights, "Description": "text"}, "tester")
    assert (first["FunctionVersion"], first["RoutingConfig"]) == ("1", weights)
    with pytest.raises(PreconditionFailedException):
        aliased.update_alias("hello", "prod", {"RevisionId": STALE}, "tester")
    second = aliased.update_alias("hello", "prod", {"RevisionId": first["RevisionId"]}, "tester")
    assert (second["RoutingConfig"], second["Description"]) == (weights, "text")
    for empty in ({}, {"AdditionalVersionWeights": {}}):
        aliased.update_alias("hello", "prod", {"RoutingConfig": weights}, "tester")
        assert "RoutingConfig" not in aliased.update_alias("hello", "prod", {"RoutingConfig": empty}, "tester")


@pytest.mark.parametrize(
    ("version", "weights", "error", "text"),
    [
        ("1", {"1": 0.1}, InvalidParameterValueException, "Invalid function version 1. Function version 1 is already "),
        (
            "1",
            {"2": 0.1, "3": 0.1},
            InvalidParameterValueException,
            "Number of items in AdditionalVersionWeights cannot",
        ),
        ("$LATEST", {"2": 0.1}, InvalidParameterValueException, r"\$LATEST is not supported for an alias pointing to"),
        ("1", {"7": 0.1}, ResourceNotFoundException, f"Function not found: {ARN}:hello:7"),
        ("7", {}, ResourceNotFoundException, f"Function not found: {ARN}:hello:7"),
    ],
)
def test_weights_and_versions_that_an_alias_cannot_have(aliased, version, weights, error, text):
    members = {"FunctionVersion": version, "RoutingConfig": {"AdditionalVersionWeights": weights}}
    with pytest.raises(error, match=text) as refused:
        aliased.create_alias("hello", {"Name": "test", **members}, "tester")
    assert (refused.value.fault is None) == (version == "$LATEST")
    with pytest.raises(error, match=text):
        aliased.update_alias("hello", "prod", members, "tester")


def test_unknown_and_repeated_aliases(aliased):
    with refusal(ResourceConflictException, f"Alias already exists: {ARN}:hello:prod"):
        aliased.create_alias("hello", {"Name": "prod", "FunctionVersion": "2"}, "tester")
    with refusal(ResourceNotFoundException, f"Cannot find alias arn: {ARN}:hello:test"):
        aliased.alias("hello", "test")
    with refusal(ResourceNotFoundException, f"Alias not found: {ARN}:hello:test"):
        aliased.update_alias("hello", "test", {}, "tester")
    with refusal(ResourceNotFoundException, f"Function not found: {ARN}:hello:test"):
        aliased.function_configuration("hello", "test")
    aliased.delete_alias("hello", "prod", "tester")
    aliased.delete_alias("hello", "prod", "tester")  # not an error
    assert aliased.aliases("hello") == []


# Tags, concurrency, account


def test_tags_are_merged_and_removed(registry):
    deploy(registry, Tags={"a": "1", "b": "2"})
    registry.tag("hello", {"b": "3", "c": "4"}, "tester")
    registry.untag("hello", ["a", "unknown"], "tester")
    assert registry.tags("hello") == {"b": "3", "c": "4"}
    with refusal(InvalidParameterValueException, "An error occurred and the request cannot be processed."):
        registry.tag("hello", {}, "tester")
    with refusal(InvalidParameterValueException, "Number of tags exceeds resource tag limit."):
        registry.tag("hello", {str(number): "" for number in range(49)}, "tester")


def test_reserved_concurrency_is_kept_and_removed(registry):
    deploy(registry)
    assert registry.concurrency("hello") == {}
    assert registry.put_concurrency("hello", 0, "tester") == {"ReservedConcurrentExecutions": 0}
    assert registry.concurrency("hello") == {"ReservedConcurrentExecutions": 0}
    registry.delete_concurrency("hello", "tester")
    assert registry.concurrency("hello") == {}


def test_a_reserved_concurrency_over_the_limit_is_refused(registry):
    deploy(registry)
    with pytest.raises(InvalidParameterValueException, match="UnreservedConcurrentExecution below its minimum") as it:
        registry.put_concurrency("hello", 1_000_001, "tester")
    assert it.value.fault is None
    assert registry.put_concurrency("hello", 1_000_000, "tester") == {"ReservedConcurrentExecutions": 1_000_000}


def test_a_change_after_which_the_function_cannot_run_is_not_written(registry):
    deploy(registry)
    before = registry.read("hello")

    def change(document, moment):
        latest = {**document["latest"], "Timeout": 0}
        return Change({**document, "latest": latest}, {})

    with pytest.raises(InvalidParameterValueException, match="function 'hello': timeout=0 must be"):
        registry.change("hello", change, "tester", "test")
    assert registry.read("hello") == before


def test_a_summary_counts_the_packages_of_all_versions(registry, tmp_path):
    assert registry.summaries() == {}
    size = deploy(registry, Publish=True)["CodeSize"]
    deploy(registry, "other")
    registry.put_concurrency("other", 7, "tester")
    assert registry.summaries() == {"hello": (2 * size, 0), "other": (size, 7)}
    assert registry.summaries() == {"hello": (2 * size, 0), "other": (size, 7)}
    registry_in(tmp_path).delete_concurrency("other", "another")  # another process
    registry_in(tmp_path).delete_function("hello", None, "another")
    assert registry.summaries() == {"other": (size, 0)}
