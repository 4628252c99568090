"""The service model: complete, usable without botocore, and its addresses, patterns and recorded facts."""

import json
import re
import subprocess
import sys
import unicodedata

import pytest

from serverfull_wsgi import names
from serverfull_wsgi.api.model import exceptions, recorded, routing, validation
from serverfull_wsgi.api.model.service import FILE, load
from tests.support.servers import ROOT, clean_environ

pytestmark = pytest.mark.quick

SERVICE = load()


def test_the_model_has_each_operation_and_exception_of_its_botocore():
    assert SERVICE.botocore_version == "1.44.8"
    assert (len(SERVICE.operations), len(SERVICE.shapes), len(SERVICE.exceptions())) == (91, 612, 58)
    assert sum(operation.pagination is not None for operation in SERVICE.operations.values()) == 16


def test_no_step_needs_botocore():
    code = """
import sys
from serverfull_wsgi.api.model import exceptions, pagination, parsing, recorded, responses, routing, service, validation
exceptions.exception("SnapStartNotReadyException")("x")
assert not [name for name in sys.modules if name.startswith(("boto", "jmespath"))]
"""
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=clean_environ(), check=True)


def test_importing_reads_no_file():
    code = """
import sys
from serverfull_wsgi.api.model import exceptions, pagination, parsing, recorded, responses, routing, service, validation
assert service.load.cache_info().currsize == 0
"""
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=clean_environ(), check=True)


# Each trait of the model is one that this package knows. A newer model may have others.

TRAITS = {
    "operations": {"name", "http", "input", "output", "errors", "readonly", "idempotent", "deprecated"},
    "http": {"method", "requestUri", "responseCode"},
    "shapes": {
        *("type", "members", "required", "payload", "member", "key", "value"),
        *("min", "max", "pattern", "enum", "sensitive", "box", "deprecated"),
        *("error", "exception", "fault", "streaming", "event", "eventstream"),
    },
    "members": {"shape", "location", "locationName", "idempotencyToken", "eventpayload"},
    "locations": {"uri", "querystring", "header", "statusCode"},
}


def test_the_model_has_no_unknown_trait():
    model = json.loads(FILE.read_text())
    operations, shapes = model["operations"].values(), model["shapes"].values()
    members = [member for shape in shapes for member in shape.get("members", {}).values()]
    assert {key for operation in operations for key in operation} <= TRAITS["operations"]
    assert {key for operation in operations for key in operation["http"]} <= TRAITS["http"]
    assert {key for shape in shapes for key in shape} <= TRAITS["shapes"]
    assert {key for member in members for key in member} <= TRAITS["members"]
    assert {member["location"] for member in members if "location" in member} <= TRAITS["locations"]


def test_the_model_has_no_shape_whose_violations_would_be_missed():
    for shape in SERVICE.shapes.values():
        assert not (shape.type == "map" and shape.element.type in ("map", "structure"))
        assert not (shape.type == "list" and shape.element.type in ("map", "list"))


# Addresses


@pytest.mark.parametrize("operation", SERVICE.operations.values(), ids=SERVICE.operations)
def test_an_address_belongs_to_one_operation(operation):
    path = re.sub(r"\{(\w+)\}", r"value-of-\1", operation.path)
    query = {name: [value] for name, value in operation.fixed_query}
    for form in (path, f"{path}/"):
        found = routing.match(operation.method, form, query)
        assert found.operation is operation
        assert found.labels == {name: f"value-of-{name}" for name in re.findall(r"\{(\w+)\}", operation.path)}


FUNCTION = "/2015-03-31/functions/hello"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("PATCH", FUNCTION),
        ("get", FUNCTION),
        ("GET", "/2015-03-30/functions/hello"),
        ("GET", f"{FUNCTION}/nothing"),
        ("GET", f"{FUNCTION}//"),
        ("GET", "/2015-03-31/functions//configuration"),
        ("GET", f"prefix{FUNCTION}"),
        ("GET", ""),
        ("GET", "/"),
    ],
)
def test_another_address_belongs_to_no_operation(method, path):
    assert routing.match(method, path, {}) is None


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/2015-03-31/functions/a%3Ab", "a:b"),
        ("/2015-03-31/functions/a:b", "a:b"),
        ("/2015-03-31/functions/a%2Fb", "a/b"),
        ("/2015-03-31/functions/a%252Fb", "a%2Fb"),
        ("/2015-03-31/functions/%24LATEST", "$LATEST"),
        ("/2015-03-31/functions/%C3%BC", "ü"),
        ("/2015-03-31/functions/a%FFb", "a\ufffdb"),
        ("/2015-03-31/%66unctions/a", "a"),
    ],
)
def test_a_label_is_decoded_once_and_after_the_path_was_split(path, name):
    assert routing.match("GET", path, {}).labels == {"FunctionName": name}


# Patterns and facts beside the model


def test_each_pattern_of_the_model_is_one_of_python():
    patterns = [shape.pattern for shape in SERVICE.shapes.values() if shape.pattern]
    assert len(patterns) == 86
    assert all(validation.compiled(pattern) for pattern in patterns)


def test_the_classes_of_java_are_those_of_unicode():
    tag = validation.compiled(SERVICE.shapes["TagKey"].pattern)
    others = set("_.:/=+-@")
    for code in range(0x20000):
        character = chr(code)
        assert bool(tag.fullmatch(character)) == (unicodedata.category(character)[0] in "LZN" or character in others)


def test_names_of_functions_have_the_patterns_of_the_model():
    assert SERVICE.shapes["NamespacedFunctionName"].pattern == names.FUNCTION_NAME
    assert SERVICE.shapes["NamespacedFunctionName"].maximum == names.NAME_LENGTH
    assert SERVICE.operations["Invoke"].input.members["Qualifier"].shape.pattern == names.QUALIFIER
    assert SERVICE.operations["Invoke"].input.members["Qualifier"].shape.maximum == names.QUALIFIER_LENGTH


def test_the_recorded_facts_name_operations_and_shapes_of_the_model():
    tables = (recorded.BODY_LIMITS, recorded.STATUSES, recorded.PAGE_SIZES, recorded.NAMES_IN_MESSAGES)
    assert {name for table in (*tables, recorded.RUNTIME_OPERATIONS) for name in table} <= set(SERVICE.operations)
    assert set(recorded.FLAT_LISTS) <= set(SERVICE.shapes)
    assert set(recorded.NOT_IN_LISTS) < set(SERVICE.shapes["FunctionConfiguration"].members)


@pytest.mark.parametrize("name", SERVICE.operations)
def test_a_body_has_the_limit_of_its_operation(name):
    takes_code = name in ("CreateFunction", "UpdateFunctionCode", "PublishLayerVersion")
    assert recorded.body_limit(name) == (70_167_211 if takes_code else 6_291_456)
    assert f"{recorded.body_limit(name)} bytes" in str(recorded.too_large(name))


def test_the_errors_of_the_core_agree_with_the_model():
    for code, shape in SERVICE.exceptions().items():
        kind = exceptions.exception(code)
        assert (kind.code, kind.status, kind.message_key in shape.members) == (code, shape.error_status, True)
