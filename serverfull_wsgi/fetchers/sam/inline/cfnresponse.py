# ruff: noqa: T201  (a function's output is its log)
"""Answers of a custom resource to CloudFormation, with the interface of AWS's module of this name."""

import json
import re
import urllib.request

SUCCESS = "SUCCESS"
FAILED = "FAILED"


def send(  # type: ignore[no-untyped-def]
    event,
    context,
    responseStatus,  # noqa: N803  (the names are AWS's)
    responseData,  # noqa: N803
    physicalResourceId=None,  # noqa: N803
    noEcho=False,  # noqa: N803
    reason=None,
):
    """Send the status of a custom resource to the address in the event. An error is printed, and not raised."""
    body = json.dumps(
        {
            "Status": responseStatus,
            "Reason": reason or f"See the details in CloudWatch Log Stream: {context.log_stream_name}",
            "PhysicalResourceId": physicalResourceId or context.log_stream_name,
            "StackId": event["StackId"],
            "RequestId": event["RequestId"],
            "LogicalResourceId": event["LogicalResourceId"],
            "NoEcho": noEcho,
            "Data": responseData,
        }
    )
    print("Response body:")
    print(body)
    try:
        request = urllib.request.Request(  # noqa: S310  (the address is CloudFormation's)
            event["ResponseURL"], body.encode(), {"content-type": ""}, method="PUT"
        )
        with urllib.request.urlopen(request) as response:  # noqa: S310
            print("Status code:", response.status)
    except Exception as error:
        print("send(..) failed executing http.request(..):", _masked(error))


def _masked(error: Exception) -> str:
    return re.sub(r"(X-Amz-(?:Credential|Signature))=[^&\s]+", r"\1=*****", str(error), flags=re.IGNORECASE)
