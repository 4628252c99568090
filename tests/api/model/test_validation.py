"""AWS's texts for parameters that break the constraints of the model."""

import json

import pytest

from serverfull_wsgi.api.model import validation
from serverfull_wsgi.api.model.service import load
from serverfull_wsgi.errors import InvalidParameterValueException, ValidationException

pytestmark = pytest.mark.quick

OPERATIONS, SHAPES = load().operations, load().shapes
ROLE = "arn:aws:iam::123456789012:role/r"
CREATE = {"FunctionName": "f", "Role": ROLE, "Code": {}}
ALIAS = {"FunctionName": "f", "Name": "a"}
LAYER = {"LayerName": "a", "Content": {}}
WEIGHTS = "routingConfig.additionalVersionWeights"


def pattern(shape):
    return f"Member must satisfy regular expression pattern: {SHAPES[shape].pattern}"


def enum(shape):
    return f"Member must satisfy enum value set: [{', '.join(SHAPES[shape].enum)}]"


def at_most(number, noun="length"):
    return f"Member must have {noun} less than or equal to {number}"


def at_least(number, noun="length"):
    return f"Member must have {noun} greater than or equal to {number}"


def value(text, member, constraint):
    return f"Value '{text}' at '{member}' failed to satisfy constraint: {constraint}"


def null(member):
    return f"Value null at '{member}' failed to satisfy constraint: Member must not be null"


def weights(**more):
    return {**ALIAS, "RoutingConfig": {"AdditionalVersionWeights": more}}


ARCHITECTURE = f"Member must satisfy constraint: [{enum('Architecture')}, Member must not be null]"
LAYERS = (
    f"Member must satisfy constraint: [{at_most(2048)}, {at_least(1)}, {pattern('LayerVersionArn')}, "
    "Member must not be null]"
)
WEIGHT = (
    "Map value must satisfy constraint: [Member must have value less than or equal to 1.0, "
    "Member must have value greater than or equal to 0.0, Member must not be null]"
)
VERSION = (
    "Map keys must satisfy constraint: [Member must have length less than or equal to 1024, "
    "Member must have length greater than or equal to 1, Member must satisfy regular expression pattern: [0-9]+]"
)
LONG = "a" * 141

CASES = {
    # patterns
    "a pattern": ("CreateFunction", {**CREATE, "Role": "r1"}, [value("r1", "role", pattern("RoleArn"))]),
    "a pattern in a list": ("CreateFunction", {**CREATE, "Layers": ["x", "y"]}, [value("[x, y]", "layers", LAYERS)]),
    "a pattern of a key": ("UpdateAlias", weights(**{"$LATEST": 0.5}), [value("{$LATEST=0.5}", WEIGHTS, VERSION)]),
    "a nested pattern": (
        "PutFunctionEventInvokeConfig",
        {"FunctionName": "f", "DestinationConfig": {"OnFailure": {"Destination": "x"}}},
        [value("x", "destinationConfig.onFailure.destination", pattern("DestinationArn"))],
    ),
    "a pattern in a list of structures": (
        "CreateFunction",
        {**CREATE, "FileSystemConfigs": [{"Arn": "x", "LocalMountPath": "/mnt/a"}]},
        [value("x", "fileSystemConfigs.1.member.arn", pattern("FileSystemArn"))],
    ),
    "a name in capitals": (
        "CreateFunction",
        {**CREATE, "KMSKeyArn": "x"},
        [value("x", "kMSKeyArn", pattern("KMSKeyArn"))],
    ),
    "a statement id": (
        "AddPermission",
        {"FunctionName": "f", "StatementId": "a.b", "Action": "*", "Principal": "*"},
        [value("a.b", "statementId", "Member must satisfy regular expression pattern: ([a-zA-Z0-9-_]+)")],
    ),
    "a qualifier of a function URL": (
        "GetFunctionUrlConfig",
        {"FunctionName": "f", "Qualifier": "1"},
        [value("1", "qualifier", r"Member must satisfy regular expression pattern: ((?!^\d+$)^[0-9a-zA-Z-_]+$)")],
    ),
    "a line break at the end": ("GetAlias", {**ALIAS, "Name": "a\n"}, [value("a\n", "name", pattern("Alias"))]),
    "a digit of another script": (
        "AddLayerVersionPermission",
        {
            "LayerName": "a",
            "VersionNumber": 1,
            "StatementId": "s",
            "Action": "lambda:GetLayerVersion",
            "Principal": "١" * 12,
        },
        [value("١" * 12, "principal", pattern("LayerPermissionAllowedPrincipal"))],
    ),
    "a resource": ("ListTags", {"Resource": "x"}, [value("x", "resource", pattern("TaggableResource"))]),
    "a layer without version": (
        "GetLayerVersionByArn",
        {"Arn": "arn:aws:lambda:us-east-1:123456789012:layer:a"},
        [value("arn:aws:lambda:us-east-1:123456789012:layer:a", "arn", pattern("LayerVersionArn"))],
    ),
    # names of functions
    "a name": (
        "GetFunction",
        {"FunctionName": "a b"},
        [value("a b", "functionName", pattern("NamespacedFunctionName"))],
    ),
    "an ARN without region": (
        "GetFunction",
        {"FunctionName": "arn:aws:lambda:123456789012:function:a"},
        [value("arn:aws:lambda:123456789012:function:a", "functionName", pattern("NamespacedFunctionName"))],
    ),
    "an ARN without account": (
        "CreateAlias",
        {"FunctionName": "arn:aws:lambda:us-east-1:function:a", "Name": "a", "FunctionVersion": "1"},
        [value("arn:aws:lambda:us-east-1:function:a", "functionName", pattern("FunctionName"))],
    ),
    # lengths
    "a text that is too long": (
        "CreateFunction",
        {**CREATE, "Description": "x" * 257},
        [value("x" * 257, "description", at_most(256))],
    ),
    "a text that is too short": (
        "ListFunctions",
        {"MasterRegion": ""},
        [value("", "masterRegion", pattern("MasterRegion")), value("", "masterRegion", at_least(1))],
    ),
    "a list that is too long": (
        "CreateFunction",
        {**CREATE, "Architectures": ["x86_64", "arm64"]},
        [value("[x86_64, arm64]", "architectures", at_most(1))],
    ),
    "a list that is too short": (
        "CreateFunction",
        {**CREATE, "Architectures": []},
        [value("[]", "architectures", at_least(1))],
    ),
    "a list of structures that is too long": (
        "CreateFunction",
        {
            **CREATE,
            "FileSystemConfigs": [
                {
                    "Arn": "arn:aws:elasticfilesystem:us-east-1:123456789012:access-point/fsap-0123456789abcdef0",
                    "LocalMountPath": path,
                }
                for path in ("/mnt/a", "/mnt/b")
            ],
        },
        [
            value(
                "[FileSystemConfig(arn=arn:aws:elasticfilesystem:us-east-1:123456789012:access-point/"
                "fsap-0123456789abcdef0, "
                "localMountPath=/mnt/a, s3FilesConfig=null), FileSystemConfig(arn=arn:aws:elasticfilesystem:us-east-1:"
                "123456789012:access-point/fsap-0123456789abcdef0, localMountPath=/mnt/b, s3FilesConfig=null)]",
                "fileSystemConfigs",
                at_most(1),
            )
        ],
    ),
    # ranges
    "a number that is too small": (
        "PutProvisionedConcurrencyConfig",
        {"FunctionName": "f", "Qualifier": "1", "ProvisionedConcurrentExecutions": 0},
        [value("0", "provisionedConcurrentExecutions", at_least(1, "value"))],
    ),
    "a number that is too great": (
        "ListFunctions",
        {"MaxItems": 10001},
        [value("10001", "maxItems", at_most(10000, "value"))],
    ),
    "a number in a map": ("UpdateAlias", weights(**{"2": 2.0}), [value("{2=2.0}", WEIGHTS, WEIGHT)]),
    "a negative number in a map": ("UpdateAlias", weights(**{"2": -1.0}), [value("{2=-1.0}", WEIGHTS, WEIGHT)]),
    # enumerations
    "an enumeration": (
        "CreateFunction",
        {**CREATE, "SnapStart": {"ApplyOn": "x"}},
        [value("x", "snapStart.applyOn", "Member must satisfy enum value set: [PublishedVersions, None]")],
    ),
    "an enumeration in a query": (
        "ListFunctions",
        {"FunctionVersion": "all"},
        [value("all", "functionVersion", "Member must satisfy enum value set: [ALL]")],
    ),
    "an enumeration in a header": (
        "Invoke",
        {"FunctionName": "f", "LogType": "Tale"},
        [value("Tale", "logType", enum("LogType"))],
    ),
    "an enumeration in a list": (
        "CreateFunction",
        {**CREATE, "Architectures": ["X86_64"]},
        [
            value(
                "[X86_64]",
                "architectures",
                "Member must satisfy constraint: [Member must satisfy enum value set: [x86_64, arm64], "
                "Member must not be null]",
            )
        ],
    ),
    "a runtime in a filter": (
        "ListLayers",
        {"CompatibleRuntime": "x"},
        [value("x", "compatibleRuntime", enum("Runtime"))],
    ),
    # required members
    "no member": ("GetFunction", {}, [null("functionName")]),
    "no nested member": (
        "CreateFunction",
        {
            **CREATE,
            "FileSystemConfigs": [
                {"Arn": "arn:aws:elasticfilesystem:us-east-1:123456789012:access-point/fsap-0123456789abcdef0"}
            ],
        },
        [null("fileSystemConfigs.1.member.localMountPath")],
    ),
    "no tag keys": (
        "UntagResource",
        {"Resource": "arn:aws:lambda:us-east-1:123456789012:function:f"},
        [null("tagKeys")],
    ),
    "null in a list": (
        "CreateFunction",
        {**CREATE, "Architectures": [None]},
        [value("[null]", "architectures", ARCHITECTURE)],
    ),
    "null in a map": ("UpdateAlias", weights(**{"2": None}), [value("{2=null}", WEIGHTS, WEIGHT)]),
    "null in a list of structures": (
        "CreateFunction",
        {**CREATE, "FileSystemConfigs": [None]},
        [null("fileSystemConfigs.1.member")],
    ),
    # sensitive members: the message does not repeat them
    "a name of an environment variable": (
        "CreateFunction",
        {**CREATE, "Environment": {"Variables": {"1A": "secret"}}},
        [
            "Value at 'environment.variables' failed to satisfy constraint: Map keys must satisfy constraint: "
            "[Member must satisfy regular expression pattern: [a-zA-Z]([a-zA-Z0-9_])+]"
        ],
    ),
    # lists in a map
    "a list in a map": (
        "UpdateEventSourceMapping",
        {"UUID": "u" * 36, "SelfManagedKafkaEventSourceConfig": {}},
        [],
    ),
    "an endpoint": (
        "CreateEventSourceMapping",
        {"FunctionName": "f", "SelfManagedEventSource": {"Endpoints": {"KAFKA_BOOTSTRAP_SERVERS": ["x"]}}},
        [
            value(
                "{KAFKA_BOOTSTRAP_SERVERS=[x]}",
                "selfManagedEventSource.endpoints",
                f"Map value must satisfy constraint: [{at_most(10)}, {at_least(1)}, Member must satisfy constraint: "
                f"[{at_most(300)}, {at_least(1)}, {pattern('Endpoint')}, Member must not be null], "
                "Member must not be null]",
            )
        ],
    ),
    # several at once
    "two rules of one member": (
        "CreateAlias",
        {"FunctionName": f"{LONG} ", "Name": "a", "FunctionVersion": "1"},
        [value(f"{LONG} ", "functionName", pattern("FunctionName")), value(f"{LONG} ", "functionName", at_most(140))],
    ),
    "runtimes and architectures of a layer": (
        "PublishLayerVersion",
        {**LAYER, "CompatibleRuntimes": ["x"], "CompatibleArchitectures": ["y"]},
        [value("[x]", "compatibleRuntimes", enum("Runtime")), value("[y]", "compatibleArchitectures", ARCHITECTURE)],
    ),
    "all members": ("CreateFunction", {}, [null("functionName"), null("role"), null("code")]),
    "a key and a value of a map": (
        "UpdateAlias",
        weights(x=2.0),
        [value("{x=2.0}", WEIGHTS, VERSION), value("{x=2.0}", WEIGHTS, WEIGHT)],
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_parameters_that_break_the_model_are_refused_in_the_words_of_aws(name):
    operation, parameters, violations = CASES[name]
    if not violations:
        validation.validate(OPERATIONS[operation], parameters)
        return
    with pytest.raises(ValidationException) as raised:
        validation.validate(OPERATIONS[operation], parameters)
    assert list(raised.value.violations) == violations
    noun = "error" if len(violations) == 1 else "errors"
    message = f"{len(violations)} validation {noun} detected: {'; '.join(violations)}"
    assert json.loads(raised.value.body()) == {"message": message}


VALID = [
    ("CreateFunction", CREATE),
    ("CreateFunction", {**CREATE, "KMSKeyArn": "", "Layers": [], "Tags": {}, "Environment": {"Variables": {}}}),
    ("CreateFunction", {**CREATE, "DeadLetterConfig": {"TargetArn": ""}, "VpcConfig": {"SubnetIds": []}}),
    ("UpdateAlias", weights()),
    ("UpdateAlias", weights(**{"2": 0.0, "3": 1.0})),
    (
        "GetFunction",
        {"FunctionName": "arn:aws:lambda:us-east-1:123456789012:function:a:$LATEST", "Qualifier": "$latest"},
    ),
    ("CreateAlias", {"FunctionName": "f", "Name": "2024-01-02", "FunctionVersion": "$LATEST"}),
    ("TagResource", {"Resource": "arn:aws:lambda:us-east-1:123456789012:function:a", "Tags": {"Größe 3": "é/+=@"}}),
    ("CreateFunction", {**CREATE, "Description": "ü" * 256}),
]


@pytest.mark.parametrize(("operation", "parameters"), VALID)
def test_valid_parameters_are_accepted(operation, parameters):
    validation.validate(OPERATIONS[operation], parameters)


@pytest.mark.parametrize("operation", ["CreateFunction", "UpdateFunctionConfiguration"])
@pytest.mark.parametrize("runtime", ["x", "PYTHON3.12", ""])
def test_an_unknown_runtime_of_a_function_is_another_error(operation, runtime):
    with pytest.raises(InvalidParameterValueException) as raised:
        validation.validate(OPERATIONS[operation], {**CREATE, "Runtime": runtime})
    expected = f"Value {runtime} at 'runtime' failed to satisfy constraint: {enum('Runtime')} or be a valid ARN"
    assert json.loads(raised.value.body()) == {"Type": "User", "message": expected}


def test_violations_come_before_an_unknown_runtime():
    with pytest.raises(ValidationException) as raised:
        validation.validate(OPERATIONS["CreateFunction"], {**CREATE, "Runtime": "x", "Role": "r"})
    assert [text.partition(" failed")[0] for text in raised.value.violations] == ["Value 'r' at 'role'"]


def test_a_long_text_takes_each_pattern_a_moment():
    texts = ["a" * 100_000, "a-" * 50_000, "a." * 50_000, "arn:aws:lambda:" + ":" * 100_000, "1" * 100_000 + "\n"]
    for shape in SHAPES.values():
        if shape.pattern:
            for text in texts:
                validation.compiled(shape.pattern).fullmatch(
                    text
                )  # a pattern with catastrophic backtracking hangs here
