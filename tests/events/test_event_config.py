"""`EventConfig`: the values that are accepted and refused."""

import pytest

from serverfull_wsgi import ConfigurationError, EventConfig

pytestmark = pytest.mark.quick


@pytest.mark.parametrize(
    "values",
    [
        {"maximum_retry_attempts": 3},
        {"maximum_retry_attempts": -1},
        {"maximum_retry_attempts": True},
        {"maximum_event_age": 59},
        {"maximum_event_age": 21_601},
        {"on_success": "ftp://example.com"},
        {"on_failure": ""},
        {"dead_letter": "arn:aws:s3:::bucket"},
    ],
)
def test_values_that_aws_refuses_are_refused(values):
    with pytest.raises(ConfigurationError, match=f"event_config: {next(iter(values))}="):
        EventConfig(**values)


@pytest.mark.parametrize(
    "target",
    [
        "next",
        "next:prod",
        "arn:aws:lambda:us-east-1:123456789012:function:next:1",
        "https://example.com/hook?x=1",
        "arn:aws:sqs:eu-west-1:123456789012:jobs.fifo",
        "arn:aws:sns:eu-west-1:123456789012:topic",
        "arn:aws:events:eu-west-1:123456789012:event-bus/default",
    ],
)
def test_functions_urls_and_arns_of_three_services_are_targets(target):
    assert EventConfig(on_failure=target).on_failure == target
