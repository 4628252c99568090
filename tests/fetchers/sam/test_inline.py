"""The modules for custom resources that inline code can import, as on AWS."""

import json
import shutil

import pytest
from pytest_httpserver import HTTPServer
from werkzeug import Response

from serverfull_wsgi import SamFetcher
from tests.support.isolated import executing, needs_client, run

pytestmark = needs_client

TEMPLATE = """
Resources:
  Python:
    Type: AWS::Lambda::Function
    Properties:
      Handler: index.handler
      Runtime: python3.12
      Timeout: 30
      Role: arn:aws:iam::123456789012:role/r
      Code:
        ZipFile: |
          import cfnresponse
          def handler(event, context):
              cfnresponse.send(event, context, cfnresponse.SUCCESS, {"Answer": 42}, noEcho=True)
              return context.log_stream_name
  Node:
    Type: AWS::Serverless::Function
    Properties:
      Handler: index.handler
      Runtime: nodejs20.x
      Timeout: 30
      InlineCode: |
        const response = require("cfn-response");
        exports.handler = async (event, context) => {
          await response.send(event, context, response.SUCCESS, { Answer: 42 }, undefined, true);
          return context.logStreamName;
        };
"""
EVENT = {"StackId": "stack", "RequestId": "request", "LogicalResourceId": "Resource"}


@pytest.fixture(params=["Python", "Node"])
def send(request, tmp_path):
    """Run inline code that answers the event, and return its outcome and result."""
    if request.param == "Node" and not shutil.which("node"):
        pytest.skip("needs Node.js")
    (tmp_path / "template.yaml").write_text(TEMPLATE)
    fetcher = SamFetcher(str(tmp_path / "template.yaml"))
    with executing(init_timeout=30) as executor:
        yield lambda url: run(executor, fetcher.fetch(request.param), {**EVENT, "ResponseURL": url})


def test_an_answer_is_sent_to_the_address_in_the_event(send):
    with HTTPServer(threaded=True) as cloudformation:
        cloudformation.expect_request("/answer", method="PUT").respond_with_handler(lambda request: Response(""))
        outcome, _ = send(f"http://127.0.0.1:{cloudformation.port}/answer?X-Amz-Signature=secret")
        ((request, _),) = cloudformation.log
        body, content_type = json.loads(request.get_data()), request.headers["Content-Type"]
    assert outcome.function_error is None
    stream = body["PhysicalResourceId"]
    assert "[$LATEST]" in stream
    reason = f"See the details in CloudWatch Log Stream: {stream}"
    assert body == {
        "Status": "SUCCESS",
        "Reason": reason,
        "PhysicalResourceId": stream,
        **EVENT,
        "NoEcho": True,
        "Data": {"Answer": 42},
    }
    assert content_type == ""
    assert b"Status code: 200" in outcome.log


def test_an_answer_that_cannot_be_sent_is_logged_without_its_signature(send):
    outcome, _ = send("http://127.0.0.1:1/answer?X-Amz-Signature=secret&X-Amz-Credential=secret")
    assert b"send(..) failed executing http" in outcome.log
    assert b"secret" not in outcome.log
