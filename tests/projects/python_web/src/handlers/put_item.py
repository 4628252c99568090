"""POST /: write an item to the table."""

import json
import os

import boto3

table = boto3.resource("dynamodb").Table(os.environ["SAMPLE_TABLE"])


def putItemHandler(event, context):
    item = json.loads(event["body"])
    table.put_item(Item={"id": item["id"], "name": item["name"]})
    return {"statusCode": 200, "body": json.dumps(item)}
