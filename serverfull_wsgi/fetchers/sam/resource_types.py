"""What stands for a resource of a template that AWS would make: the names and ARNs that can be told beforehand."""

from __future__ import annotations

from typing import NamedTuple


class Kind(NamedTuple):
    """A type of resource. ``reference`` is what its Ref is, ``arn`` what follows ``arn:aws:`` in its ARN.

    Both are formats of ``{name}``, ``{region}``, ``{account}``, ``{suffix}`` (amazonaws.com) and ``{arn}``.
    Source: "Return values" of each type in
    https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/introduction.html
    """

    name_property: str
    reference: str
    arn_attribute: str
    arn: str


_FUNCTION = Kind("FunctionName", "{name}", "Arn", "lambda:{region}:{account}:function:{name}")
_LAYER = Kind("LayerName", "{arn}", "LayerVersionArn", "lambda:{region}:{account}:layer:{name}:1")
_TABLE = Kind("TableName", "{name}", "Arn", "dynamodb:{region}:{account}:table/{name}")
_QUEUE = "https://sqs.{region}.{suffix}/{account}/{name}"

KINDS = {
    "AWS::Serverless::Function": _FUNCTION,
    "AWS::Lambda::Function": _FUNCTION,
    "AWS::Serverless::LayerVersion": _LAYER,
    "AWS::Lambda::LayerVersion": _LAYER,
    "AWS::DynamoDB::Table": _TABLE,
    "AWS::Serverless::SimpleTable": _TABLE,
    "AWS::Events::EventBus": Kind("Name", "{name}", "Arn", "events:{region}:{account}:event-bus/{name}"),
    "AWS::IAM::Role": Kind("RoleName", "{name}", "Arn", "iam::{account}:role/{name}"),
    "AWS::Kinesis::Stream": Kind("Name", "{name}", "Arn", "kinesis:{region}:{account}:stream/{name}"),
    "AWS::S3::Bucket": Kind("BucketName", "{name}", "Arn", "s3:::{name}"),
    "AWS::SNS::Topic": Kind("TopicName", "{arn}", "TopicArn", "sns:{region}:{account}:{name}"),
    "AWS::SQS::Queue": Kind("QueueName", _QUEUE, "Arn", "sqs:{region}:{account}:{name}"),
}
