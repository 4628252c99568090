"""Warnings about Node.js functions that need the AWS SDK."""

from dataclasses import replace

import pytest

from serverfull_wsgi import Function
from serverfull_wsgi.executors.isolated.runtimes.node_sdk import sdk_warnings

pytestmark = pytest.mark.quick


def warnings(code, node_modules="", runtime="nodejs20.x", **more):
    return sdk_warnings([Function("index.handler", name="f", code=str(code), runtime=runtime, **more)], node_modules)


@pytest.mark.parametrize(
    ("file", "text", "packages"),
    [
        ("index.js", "const S3 = require('aws-sdk/clients/s3');", "aws-sdk"),
        ("index.js", 'const{S3}=require("@aws-sdk/client-s3"),b=1', "@aws-sdk/client-s3"),
        ("index.mjs", 'import{S3Client as a}from"@aws-sdk/client-s3";', "@aws-sdk/client-s3"),
        ("index.mjs", "import '@aws-sdk/client-s3';", "@aws-sdk/client-s3"),
        ("lib/deep/index.cjs", "await import(`@aws-sdk/lib-storage`)", "@aws-sdk/lib-storage"),
        ("index.js", "require('@aws-sdk/client-sqs/dist/x'); require('aws-sdk')", "@aws-sdk/client-sqs, aws-sdk"),
        ("index.js", "require('aws-sdk-mock'); require('./aws-sdk'); 'from aws-sdk'", None),
        ("index.ts", "import '@aws-sdk/client-s3'", None),
        ("node_modules/x/index.js", "require('@aws-sdk/client-s3')", None),
        ("index.js", "\xff\x00", None),
    ],
)
def test_code_that_names_a_package_of_the_sdk_is_warned_about(file, text, packages, tmp_path):
    (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / file).write_text(text, encoding="latin-1")
    found = warnings(tmp_path)
    assert len(found) == (packages is not None)
    assert all(f"f: no {packages} here" in line for line in found)


@pytest.mark.parametrize(
    "place",
    [
        "code/node_modules",
        "code/lib/node_modules",
        "node_modules",
        "layer/nodejs/node_modules",
        "layer/nodejs/node20/node_modules",
        "own/path",
        "shared/node_modules",
    ],
)
def test_a_package_that_node_would_find_is_not_warned_about(place, tmp_path):
    (tmp_path / "code/lib").mkdir(parents=True)
    (tmp_path / "code/lib/index.js").write_text("require('@aws-sdk/client-s3')")
    options = {"layers": [str(tmp_path / "layer")], "environment": {"NODE_PATH": f"/absent:{tmp_path}/own/path"}}
    (tmp_path / "layer").mkdir()
    assert warnings(tmp_path / "code", str(tmp_path / "shared/node_modules"), **options)
    (tmp_path / place / "@aws-sdk/client-s3").mkdir(parents=True)
    assert not warnings(tmp_path / "code", str(tmp_path / "shared/node_modules"), **options)


def test_functions_of_other_runtimes_are_not_read(tmp_path):
    (tmp_path / "index.js").write_text("require('aws-sdk')")
    assert not warnings(tmp_path, runtime="provided.al2023")
    assert not sdk_warnings([Function(print, name="f")], "")


def test_functions_that_lack_the_same_packages_share_a_warning(tmp_path):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "index.js").write_text('require("@aws-sdk/client-s3")')
    functions = [
        Function("index.handler", name=f"f{number}", code=str(tmp_path / "ab"[number % 2]), runtime="nodejs20.x")
        for number in range(5)
    ]
    (line,) = sdk_warnings([*functions, replace(functions[0], version="1")], "")
    assert line.startswith("f0, f1, f2 and 2 more: no @aws-sdk/client-s3 here; ")
    assert "Install it in their code directories or a layer" in line
    (line,) = sdk_warnings(functions[:1], "")
    assert line.startswith("f0: ")
    assert f"Install it in {tmp_path}/a or a layer" in line
