"""The names that a template may use: sections, resource types, and the properties of functions and layers.

A name that is not here is misspelt or unknown, and would have no effect. Sources, as of 2026: the schemas of
aws-sam-translator 1.115 (the Serverless types, Globals and events) and of cfn-lint 1.58 (the Lambda types, which are
CloudFormation's own schemas). A new property of AWS is a new word in this module.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterator, Mapping
from typing import Any

SECTIONS = frozenset(
    "AWSTemplateFormatVersion Conditions Description Globals Hooks Mappings Metadata Outputs Parameters Resources "
    "Rules Transform".split()
)
GLOBALS = frozenset(
    "Api CapacityProvider Function HttpApi LayerVersion MicrovmImage NetworkConnector SimpleTable StateMachine "
    "WebSocketApi".split()
)
ATTRIBUTES = frozenset(  # of a resource, beside its Properties
    "Condition Connectors CreationPolicy DeletionPolicy DependsOn IgnoreGlobals Metadata Properties Type UpdatePolicy "
    "UpdateReplacePolicy".split()
)
EVENT_TYPES = frozenset(
    "AlexaSkill Api CloudWatchEvent CloudWatchLogs Cognito DocumentDB DynamoDB EventBridgeRule HttpApi IoTRule Kinesis "
    "MQ MSK S3 SNS SQS Schedule ScheduleV2 SelfManagedKafka".split()
)
TYPES = frozenset(
    f"AWS::{service}::{name}"
    for service, names in {
        "Lambda": "Alias CapacityProvider CodeSigningConfig EventInvokeConfig EventSourceMapping Function LayerVersion "
        "LayerVersionPermission MicrovmImage NetworkConnector Permission ResourcePolicy Url Version WebFunction "
        "WebFunctionEndpoint WebFunctionRevision",
        "Serverless": "Api Application CapacityProvider Connector Function GraphQLApi HttpApi LayerVersion "
        "MicrovmImage NetworkConnector SimpleTable StateMachine WebFunction WebSocketApi",
    }.items()
    for name in names.split()
)

_Tree = Mapping[str, "_Tree"]  # a property's name, with the names below it; empty if any name may be below it


def _names(text: str, **inner: _Tree) -> _Tree:
    return {**{name: {} for name in text.split()}, **inner}


_DESTINATION = _names("Destination Type")
_INVOKE = _names(
    "MaximumEventAgeInSeconds MaximumRetryAttempts",
    DestinationConfig=_names("", OnFailure=_DESTINATION, OnSuccess=_DESTINATION),
)
_S3 = "S3Bucket S3Key S3ObjectStorageMode S3ObjectVersion"
_FUNCTION = _names(  # both types of functions
    "Architectures CapacityProviderConfig CodeSigningConfigArn Description FileSystemConfigs FunctionName Handler "
    "KmsKeyArn Layers MemorySize PackageType PublishToLatestPublished RecursiveLoop ReservedConcurrentExecutions Role "
    "Runtime Tags Timeout",
    DurableConfig=_names("ExecutionTimeout KMSKeyArn RetentionPeriodInDays"),
    Environment=_names("Variables"),
    EphemeralStorage=_names("Size"),
    FunctionScalingConfig=_names("MaxExecutionEnvironments MinExecutionEnvironments"),
    ImageConfig=_names("Command EntryPoint WorkingDirectory"),
    LoggingConfig=_names("ApplicationLogLevel LogFormat LogGroup SystemLogLevel"),
    RuntimeManagementConfig=_names("RuntimeVersionArn UpdateRuntimeOn"),
    SnapStart=_names("ApplyOn"),
    TenancyConfig=_names("TenantIsolationMode"),
    VpcConfig=_names("Ipv6AllowedForDualStack SecurityGroupIds SubnetIds"),
)
_LAYER = _names("CompatibleArchitectures CompatibleRuntimes Description LayerName LicenseInfo")

PROPERTIES: Mapping[str, _Tree] = {
    "AWS::Serverless::Function": {
        **_FUNCTION,
        **_names(
            "AssumeRolePolicyDocument AutoPublishAlias AutoPublishAliasAllProperties AutoPublishCodeSha256 "
            "DeploymentPreference Events ImageUri InlineCode PermissionsBoundary Policies PropagateTags "
            "RolePath SourceKMSKeyArn Tracing VersionDeletionPolicy VersionDescription",
            ProvisionedConcurrencyConfig=_names("ProvisionedConcurrentExecutions"),
            CodeUri=_names("Bucket Key StorageMode Version"),
            DeadLetterQueue=_names("TargetArn Type"),
            EventInvokeConfig=_INVOKE,
            FunctionUrlConfig=_names("AuthType Cors InvokeMode"),
        ),
    },
    "AWS::Lambda::Function": {
        **_FUNCTION,
        "Code": _names(f"ImageUri SourceKMSKeyArn ZipFile {_S3}"),
        "DeadLetterConfig": _names("TargetArn"),
        "TracingConfig": _names("Mode"),
    },
    "AWS::Lambda::EventInvokeConfig": {**_INVOKE, **_names("FunctionName Qualifier")},
    "AWS::Lambda::LayerVersion": {**_LAYER, "Content": _names(_S3)},
    "AWS::Serverless::LayerVersion": {
        **_LAYER,
        **_names("PublishLambdaVersion RetentionPolicy", ContentUri=_names("Bucket Key StorageMode Version")),
    },
}


def unknown_names(values: Any, names: _Tree, path: str = "") -> Iterator[tuple[str, str]]:
    """Yield the path of each name in ``values`` that is not among ``names``, and a similar name or an empty text.

    An intrinsic function has no names of properties.

    >>> list(unknown_names({"Timeot": 3, "Environment": {"Variable": {}}}, PROPERTIES["AWS::Lambda::Function"]))
    [('Timeot', 'Timeout'), ('Environment.Variable', 'Variables')]
    """
    for name, value in values.items() if isinstance(values, dict) else ():
        if name in names:
            yield from unknown_names(value, names[name], f"{path}{name}.")
        elif names and name != "Ref" and not name.startswith("Fn::"):
            yield f"{path}{name}", similar_name(name, names)


def similar_name(name: str, names: Collection[str], likeness: float = 0.6) -> str:
    """Return the most similar of ``names``, or an empty text.

    ``likeness`` is difflib's ratio, from 0 to 1; 0.6 is difflib's default.

    >>> similar_name("handler", ["Handler", "Runtime"])
    'Handler'
    """
    by_lower = {each.lower(): each for each in sorted(names)}
    close = difflib.get_close_matches(name.lower(), by_lower, 1, likeness)
    return by_lower[close[0]] if close else ""
