"""Deploy a function with boto3: from nothing to a weighted release, and back.

Start a server with an empty registry, on this machine only:

    SERVERFULL_REGISTRY=registry SERVERFULL_DEPLOY_UNSIGNED=true serverfull serve

and run the script:

    python examples/deploy/release.py

Under a server whose callers sign, the key in AWS_ACCESS_KEY_ID needs `serverfull_actions = deploy, read, invoke`.
"""

import io
import json
import os
import sys
import zipfile
from collections import Counter
from pathlib import Path

import boto3

CODE = Path(__file__).parent / "hello"
RUNTIME = "python{}.{}".format(*sys.version_info)
ROLE = "arn:aws:iam::123456789012:role/any"  # its form is checked, and no role is needed here


def package(replacements=()):
    """Return a zip archive of the folder with the code, after replacements in its texts."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(CODE.rglob("*.py")):
            text = path.read_text()
            for old, new in replacements:
                text = text.replace(old, new)
            archive.writestr(str(path.relative_to(CODE)), text)
    return file.getvalue()


def versions_of(client, calls):
    """Call the alias, and return how many calls each version had."""
    versions = Counter()
    for _ in range(calls):
        response = client.invoke(FunctionName="hello:live")
        versions[json.load(response["Payload"])["version"]] += 1
    return dict(sorted(versions.items()))


def main(client, calls=40):
    print("create the function, with version 1 behind the alias 'live'")
    client.create_function(
        FunctionName="hello",
        Runtime=RUNTIME,
        Handler="app.handler",
        Role=ROLE,
        Code={"ZipFile": package()},
        Publish=True,
    )
    client.get_waiter("function_active_v2").wait(FunctionName="hello")
    client.create_alias(FunctionName="hello", Name="live", FunctionVersion="1")
    print("calls by version:", versions_of(client, calls))

    print("release version 2 to half of the calls")
    client.update_function_code(FunctionName="hello", ZipFile=package([("release 1", "release 2")]))
    client.get_waiter("function_updated_v2").wait(FunctionName="hello")
    version = client.publish_version(FunctionName="hello")["Version"]
    weights = {"AdditionalVersionWeights": {version: 0.5}}
    client.update_alias(FunctionName="hello", Name="live", RoutingConfig=weights)
    print("calls by version:", versions_of(client, calls))

    print("go back to version 1 for all calls")
    client.update_alias(FunctionName="hello", Name="live", RoutingConfig={"AdditionalVersionWeights": {}})
    print("calls by version:", versions_of(client, calls))

    print("delete the function")
    client.delete_function(FunctionName="hello")


if __name__ == "__main__":
    main(
        boto3.client(
            "lambda",
            endpoint_url=os.environ.get("AWS_ENDPOINT_URL_LAMBDA", "http://127.0.0.1:8080"),
            region_name=os.environ.get("AWS_DEFAULT_REGION", "us-east-1"),
            aws_access_key_id=os.environ.get("AWS_ACCESS_KEY_ID", "unsigned"),
            aws_secret_access_key=os.environ.get("AWS_SECRET_ACCESS_KEY", "unsigned"),
        )
    )
