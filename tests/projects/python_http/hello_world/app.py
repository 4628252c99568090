"""The function of an HTTP API."""

import json


def lambda_handler(event, context):
    return {
        "statusCode": 200,
        "body": json.dumps(
            {"message": "hello world", "path": event["rawPath"], "stage": event["requestContext"]["stage"]}
        ),
    }
