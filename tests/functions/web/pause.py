"""A function of an HTTP API that waits before it answers."""

import time


def handler(event, context):
    time.sleep(float(event["queryStringParameters"]["seconds"]))
    return {"statusCode": 200, "body": event["requestContext"]["requestId"]}
