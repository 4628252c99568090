"""Resources with names and ARNs that are known before AWS creates the resource."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple


class ResourceType(NamedTuple):
    """The forms of a resource's name, Ref and ARN.

    Forms have the fields ``{name}``, ``{region}``, ``{account}``, ``{suffix}`` (amazonaws.com) and ``{arn}``.
    Source: "Return values" of each type in
    https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/introduction.html
    """

    name_property: str
    reference: str  # the form of its Ref
    arn_attribute: str  # the attribute of Fn::GetAtt that is the ARN
    arn: str  # the form of its ARN after ``arn:aws:``
    attributes: Mapping[str, str] = {}  # the forms of its other attributes that are known


_FUNCTION = ResourceType("FunctionName", "{name}", "Arn", "lambda:{region}:{account}:function:{name}")
_LAYER = ResourceType("LayerName", "{arn}", "LayerVersionArn", "lambda:{region}:{account}:layer:{name}:1")
_TABLE = ResourceType("TableName", "{name}", "Arn", "dynamodb:{region}:{account}:table/{name}")
_QUEUE = "https://sqs.{region}.{suffix}/{account}/{name}"

RESOURCE_TYPES = {
    "AWS::Serverless::Function": _FUNCTION,
    "AWS::Lambda::Function": _FUNCTION,
    "AWS::Serverless::LayerVersion": _LAYER,
    "AWS::Lambda::LayerVersion": _LAYER,
    "AWS::DynamoDB::Table": _TABLE,
    "AWS::Serverless::SimpleTable": _TABLE,
    "AWS::Events::EventBus": ResourceType(
        "Name", "{name}", "Arn", "events:{region}:{account}:event-bus/{name}", {"Name": "{name}"}
    ),
    "AWS::IAM::Role": ResourceType("RoleName", "{name}", "Arn", "iam::{account}:role/{name}"),
    "AWS::Kinesis::Stream": ResourceType("Name", "{name}", "Arn", "kinesis:{region}:{account}:stream/{name}"),
    "AWS::S3::Bucket": ResourceType(
        "BucketName",
        "{name}",
        "Arn",
        "s3:::{name}",
        {
            "DomainName": "{name}.s3.{suffix}",
            "DualStackDomainName": "{name}.s3.dualstack.{region}.{suffix}",
            "RegionalDomainName": "{name}.s3.{region}.{suffix}",
        },
    ),
    "AWS::SNS::Topic": ResourceType(
        "TopicName", "{arn}", "TopicArn", "sns:{region}:{account}:{name}", {"TopicName": "{name}"}
    ),
    "AWS::SQS::Queue": ResourceType(
        "QueueName", _QUEUE, "Arn", "sqs:{region}:{account}:{name}", {"QueueName": "{name}", "QueueUrl": _QUEUE}
    ),
}
