"""Terraform deploys to a server as it deploys to AWS: apply, a change, a plan without a difference, destroy.

The test needs the command ``terraform``, and the provider ``hashicorp/aws`` in a folder of plugins. The folder is
/opt/tf-plugins, or the value of SERVERFULL_TEST_TERRAFORM_PLUGINS.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.isolated import needs_client
from tests.support.registry import zipped
from tests.support.servers import Server, clean_environ, free_port, running

PLUGINS = Path(os.environ.get("SERVERFULL_TEST_TERRAFORM_PLUGINS", "/opt/tf-plugins"))
HAS_TERRAFORM = shutil.which("terraform") and any(PLUGINS.glob("*/hashicorp/aws"))
pytestmark = [
    needs_client,
    pytest.mark.once,
    pytest.mark.skipif(not HAS_TERRAFORM, reason="no terraform with hashicorp/aws"),
]

CODE = "import os\ndef handler(event, context):\n    return os.environ['GREETING']\n"
CONFIGURATION = """
terraform {
  required_providers {
    aws = { source = "hashicorp/aws" }
  }
}
variable "greeting" {}
provider "aws" {
  region                      = "us-east-1"
  access_key                  = "key"
  secret_key                  = "secret"
  skip_credentials_validation = true
  skip_metadata_api_check     = true
  skip_requesting_account_id  = true
  endpoints {
    lambda = "URL"
  }
}
resource "aws_lambda_function" "hello" {
  function_name    = "hello"
  filename         = "code.zip"
  source_code_hash = filebase64sha256("code.zip")
  role             = "arn:aws:iam::123456789012:role/r"
  handler          = "app.handler"
  runtime          = "RUNTIME"
  publish          = true
  environment { variables = { GREETING = var.greeting } }
}
resource "aws_lambda_alias" "live" {
  name             = "live"
  function_name    = aws_lambda_function.hello.function_name
  function_version = aws_lambda_function.hello.version
}
"""


def test_terraform_applies_changes_and_destroys_a_function(tmp_path):
    port = free_port()
    environ = {
        "SERVERFULL_REGISTRY": str(tmp_path / "registry"),
        "SERVERFULL_DATA_DIR": str(tmp_path / "data"),
        "SERVERFULL_DEPLOY_UNSIGNED": "true",
    }
    argv = ["-m", "serverfull_wsgi", "serve", "--bind", f"127.0.0.1:{port}", "--no-control-socket"]
    runtime = "python{}.{}".format(*sys.version_info)
    text = CONFIGURATION.replace("URL", f"http://127.0.0.1:{port}").replace("RUNTIME", runtime)
    (tmp_path / "main.tf").write_text(text)
    (tmp_path / "code.zip").write_bytes(zipped(app=CODE).read())

    def terraform(*arguments):
        """Return the exit status of a command. 2 is a plan with a difference."""
        own = {**clean_environ(), "CHECKPOINT_DISABLE": "1"}
        own.pop("TF_CLI_CONFIG_FILE", None)
        done = subprocess.run(
            ["terraform", *arguments, "-no-color", "-input=false"],
            cwd=tmp_path,
            env=own,
            capture_output=True,
            text=True,
        )
        assert done.returncode in (0, 2), done.stdout + done.stderr
        return done.returncode

    def call():
        url = f"http://127.0.0.1:{port}/2015-03-31/functions/hello:live/invocations"
        return json.loads(subprocess.check_output(["curl", "-s", "-d", "{}", url], text=True))

    with running(Server(argv, tmp_path / "log", port=port, cwd=tmp_path, env=environ)):
        terraform("init", f"-plugin-dir={PLUGINS}")
        for greeting in ("one", "two"):
            given = ("-var", f"greeting={greeting}")
            assert terraform("apply", "-auto-approve", *given) == 0
            assert call() == greeting
            assert terraform("plan", "-detailed-exitcode", *given) == 0
        assert terraform("destroy", "-auto-approve", *given) == 0
        assert call()["Message"].startswith("Function not found")
