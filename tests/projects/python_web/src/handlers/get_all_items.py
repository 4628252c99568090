"""GET /: all items of the table."""

import json
import os

import boto3

table = boto3.resource("dynamodb").Table(os.environ["SAMPLE_TABLE"])


def getAllItemsHandler(event, context):
    if event["httpMethod"] != "GET":
        raise ValueError(f"getAllItems only accepts GET, and not {event['httpMethod']}")
    return {"statusCode": 200, "body": json.dumps(table.scan()["Items"])}
