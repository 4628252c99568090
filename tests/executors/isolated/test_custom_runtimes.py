"""Custom runtimes: a bootstrap in any language."""

import subprocess

import pytest

from serverfull_wsgi import Function
from tests.support.isolated import (
    needs_client,
    run,
)

pytestmark = needs_client


BOOTSTRAP = """#!/bin/sh
api="http://$AWS_LAMBDA_RUNTIME_API/2018-06-01/runtime/invocation"
while :; do
  headers=$(mktemp)
  event=$(curl -sS -D "$headers" "$api/next")
  id=$(grep -i '^lambda-runtime-aws-request-id' "$headers" | tr -d '\\r' | cut -d' ' -f2)
  echo "shell says $event"
  case $event in
    *fail*) curl -sS -o "$headers" -d '{"errorMessage":"no","errorType":"Shell"}' "$api/$id/error" ;;
    *) curl -sS -o "$headers" -d "{\\"shell\\":$event}" "$api/$id/response" ;;
  esac
done
"""


@pytest.fixture
def bootstrap(tmp_path):
    path = tmp_path / "bootstrap"
    path.write_text(BOOTSTRAP)
    path.chmod(0o755)
    return tmp_path


@pytest.mark.skipif(
    subprocess.run(["sh", "-c", "command -v curl"], capture_output=True).returncode, reason="needs curl"
)
def test_a_shell_script_can_be_a_runtime(executor, bootstrap):
    shell = Function("none", name="shell", code=str(bootstrap), runtime="provided.al2023", timeout=30)
    for number in range(3):
        outcome, value = run(executor, shell, {"n": number})
        assert value == {"shell": {"n": number}}
        assert outcome.content_type == "application/json"
        assert f'shell says {{"n": {number}}}'.encode() in outcome.log
    outcome, error = run(executor, shell, "fail")
    assert (outcome.function_error, error["errorType"]) == ("Unhandled", "Shell")
